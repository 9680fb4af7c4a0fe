"""What can befall a network of real nodes: drawn from given dice, begun, and healed again."""

import signal
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from random import Random
from typing import NamedTuple

from kill_loop import kill
from links import Link, Links, both_ways
from local_network import LocalNetwork, NodeProcess, until
from skewed_node import set_wrong

HOUR_MS = 3_600_000
OFFSETS_MS = (1_000, 4_000, 7_000, 60_000, 3 * HOUR_MS, 48 * HOUR_MS)  # 5 s are allowed
APART_MS = 2_400  # to either side: any two are less than the allowed drift apart


class Fault(NamedTuple):
    """`lasts` is the fault while it is entered. `goes_on` says whether the rest of the network has
    what it needs to make blocks final meanwhile, None where that may be so or not. The processes
    of `started` begin anew at its end, or before."""

    lasts: AbstractContextManager[None]
    lasts_s: float
    words: str
    goes_on: bool | None
    started: tuple[int, ...] = ()


class Faults:
    """Draws faults of a network. Each node reads its clock from a file of `clocks`; a cut lasts as
    long as one of `cuts_s`."""

    def __init__(
        self,
        network: LocalNetwork,
        links: Links,
        clocks: Sequence[Path],
        dice: Random,
        cuts_s: Sequence[float],
    ) -> None:
        self._nodes = network.nodes
        self._all = range(len(network.nodes))
        self._links = links
        self._clocks = clocks
        self._dice = dice
        self._cuts_s = cuts_s

    def draw(self, kind: str) -> Fault:
        """A fault of one of `KINDS`."""
        return KINDS[kind](self)

    def _some(self, count: int) -> list[int]:
        return sorted(self._dice.sample(self._all, count))

    # Processes

    def kill_one(self) -> Fault:
        """SIGKILL, and started again at once or after a while."""
        return self._killing(self._some(1), self._dice.choice((0.0, 0.5, 4.0)))

    def kill_two(self) -> Fault:
        """No quorum is left."""
        return self._killing(self._some(2), self._dice.choice((0.0, 0.5, 3.0)))

    def kill_all(self) -> Fault:
        """At once."""
        return self._killing(list(self._all), 0.0)

    def stop_one(self) -> Fault:
        """SIGSTOP, and later SIGCONT: a machine that freezes, and does not know it."""
        return self._stopping(self._some(1), self._dice.choice((0.5, 2.0, 4.0, 8.0)))

    def stop_two(self) -> Fault:
        """No quorum moves."""
        return self._stopping(self._some(2), self._dice.choice((0.5, 2.0, 8.0)))

    def _killing(self, victims: list[int], lasts_s: float) -> Fault:
        lasts, goes_on = self._killed(victims), len(victims) == 1
        return Fault(lasts, lasts_s, f"{victims}", goes_on, tuple(victims))

    def _stopping(self, victims: list[int], lasts_s: float) -> Fault:
        return Fault(self._stopped(victims), lasts_s, f"{victims}", len(victims) == 1)

    @contextmanager
    def _killed(self, victims: Sequence[int]) -> Iterator[None]:
        kill([self._nodes[number] for number in victims])
        yield
        for number in victims:
            self._nodes[number].start()

    @contextmanager
    def _stopped(self, victims: Sequence[int]) -> Iterator[None]:
        stopped = [self._nodes[number].process for number in victims]
        for process in stopped:
            assert process is not None
            process.send_signal(signal.SIGSTOP)
        for number in victims:
            until(lambda node=self._nodes[number]: not moves(node), f"node {number} is stopped")
        yield
        for process in stopped:
            assert process is not None
            process.send_signal(signal.SIGCONT)

    @contextmanager
    def _started_again(self, victim: int) -> Iterator[None]:
        node = self._nodes[victim]
        kill([node])
        node.start()
        yield

    # Links

    def halves(self) -> Fault:
        """Two and two."""
        inside = self._some(2)
        return self._partition(both_ways(inside, self._all), f"{inside} from the others", False)

    def alone(self) -> Fault:
        """One from all others."""
        victims = self._some(1)
        return self._partition(both_ways(victims, self._all), f"{victims} from the others", True)

    def one_way(self) -> Fault:
        """One is not heard by some, or does not hear them."""
        [victim] = self._some(1)
        others = [number for number in self._all if number != victim]
        links = [(other, victim) for other in self._dice.sample(others, self._dice.randint(1, 3))]
        if self._dice.random() < 0.5:
            links = [(target, source) for source, target in links]
        words = ", ".join(f"{source}→{target}" for source, target in sorted(links))
        return self._partition(links, words, True)

    def ring(self) -> Fault:
        """Everybody is cut off from one other, and no two see the same network."""
        a, b, c, d = self._dice.sample(self._all, 4)
        links = [*both_ways([a], [c]), *both_ways([b], [d])]
        return self._partition(links, f"{a} from {c}, {b} from {d}", True)

    def _partition(self, links: list[Link], words: str, goes_on: bool | None) -> Fault:
        reset = self._dice.random() < 0.5
        lasts_s = self._dice.choice(self._cuts_s)
        end = "connections lost" if reset else "connections held up"
        return Fault(self._cut(links, reset), lasts_s, f"{words}, {end}", goes_on)

    @contextmanager
    def _cut(self, links: Sequence[Link], reset: bool) -> Iterator[None]:
        self._links.cut(links)
        yield
        self._links.heal(reset=reset)

    # Clocks

    def clock(self) -> Fault:
        """One clock steps: within what the chain allows, beyond it, by hours."""
        return self._clock_of(self._some(1)[0])

    def clocks_apart(self) -> Fault:
        """All clocks, no two of them further apart than the chain allows."""
        offsets_ms = {number: self._dice.randint(-APART_MS, APART_MS) for number in self._all}
        lasts_s = self._dice.choice((1.0, 3.0))
        return Fault(self._wrong(offsets_ms), lasts_s, f"{[*offsets_ms.values()]} ms", True)

    def _clock_of(self, victim: int) -> Fault:
        offset_ms = self._dice.choice(OFFSETS_MS) * self._dice.choice((-1, 1))
        words = f"[{victim}] by {offset_ms / 1000:+.0f} s"
        return Fault(
            self._wrong({victim: offset_ms}), self._dice.choice((1.0, 3.0, 5.0)), words, True
        )

    @contextmanager
    def _wrong(self, offsets_ms: dict[int, int]) -> Iterator[None]:
        for number, offset_ms in offsets_ms.items():
            set_wrong(self._clocks[number], offset_ms)
        yield
        for number in offsets_ms:
            set_wrong(self._clocks[number], 0)

    # Two at once

    def kill_in_halves(self) -> Fault:
        """A node is down while the network is cut in two, and back when it is whole again."""
        cut, [victim] = self.halves(), self._some(1)
        lasts = _both(cut.lasts, self._killed([victim]))
        words = f"{cut.words}; [{victim}] killed"
        return cut._replace(lasts=lasts, words=words, started=(victim,))

    def wrong_start(self) -> Fault:
        """A node is started by a wrong clock, which is set right later."""
        [victim] = self._some(1)
        wrong = self._clock_of(victim)
        lasts = _both(wrong.lasts, self._started_again(victim))
        return wrong._replace(lasts=lasts, started=(victim,))

    def stopped_alone(self) -> Fault:
        """A node freezes while a link between two others is cut: the fourth alone sees a quorum."""
        victim, one, other = self._dice.sample(self._all, 3)
        cut = self._partition(both_ways([one], [other]), f"{one} from {other}", None)
        lasts = _both(cut.lasts, self._stopped([victim]))
        return cut._replace(lasts=lasts, words=f"{cut.words}; [{victim}] stopped")


def moves(node: NodeProcess) -> bool:
    """Whether the process is there, and not stopped."""
    if node.process is None:
        return False
    status = Path(f"/proc/{node.process.pid}/stat").read_text()
    return status.rpartition(")")[2].split()[0] != "T"


@contextmanager
def _both(
    first: AbstractContextManager[None], second: AbstractContextManager[None]
) -> Iterator[None]:
    with first, second:
        yield


KINDS: dict[str, Callable[[Faults], Fault]] = {
    "kill one": Faults.kill_one,
    "stop one": Faults.stop_one,
    "cut off one": Faults.alone,
    "set a clock wrong": Faults.clock,
    "cut in halves": Faults.halves,
    "cut one way": Faults.one_way,
    "kill two": Faults.kill_two,
    "stop two": Faults.stop_two,
    "cut to a ring": Faults.ring,
    "set all clocks apart": Faults.clocks_apart,
    "kill all": Faults.kill_all,
    "kill one in halves": Faults.kill_in_halves,
    "start by a wrong clock": Faults.wrong_start,
    "stop one, cut another": Faults.stopped_alone,
}
