"""A deterministic network of cores for random schedules: one seed replays everything.

Virtual milliseconds, a heap of events, no real clock. Before GST messages are lost, duplicated,
late and reordered, nodes crash at any point (between two effects of a step too) and lose what was
not synced; after it every honest node runs and messages take at most Δ. Byzantine validators stay.
The laws are checked as the run goes: one chain, nobody contradicts what it said, nothing is said
before it is durable. After GST everybody must finalise new blocks within a bound.
"""

import heapq
from collections import Counter
from collections.abc import Callable
from random import Random

from simplex_adversary import Chaos, Library
from simplex_node import DELTA_MS, Node
from simplex_world import Broken, World

from chaind.consensus.core import Certificates, CoreMessage, Message, Votes
from chaind.consensus.quorums import Quorums, check_certificate
from chaind.consensus.simplex import Simplex
from chaind.primitives.votes import VoteKind, check_certificate_form

AFTER_GST_BLOCKS = 4  # new final blocks that every honest node must reach after GST
LIVENESS_MS = 400_000  # within; f Byzantine leaders in a row at the longest timer, several times
EVENTS_MAX = 60_000  # a schedule needs a few thousand; more is a storm of messages


class Network:
    """n validators, an observer, and an adversary, on one heap of events.

    The seed draws the adversary, unless `mode` names it; it has f validators, or `faults`.
    """

    def __init__(
        self,
        seed: int,
        n: int,
        *,
        kind: type[Simplex] = Simplex,
        quorums: Callable[[int], Quorums] = lambda n: Quorums([1] * n),
        mode: str | None = None,
        faults: int | None = None,
    ) -> None:
        self.random = random = Random(seed)
        self.seed, self.n, self.kind = seed, n, kind
        self.quorums = lambda: quorums(n)
        self.honest_quorums = quorums(n)
        self.world = World()
        self.now = 0
        self.serial = 0
        self.heap: list[tuple[int, int, Callable[[], None]]] = []
        self.crash_rate = random.choice((0.0, 0.002, 0.01))
        self.loss = random.choice((0.0, 0.05, 0.3))
        self.busy = random.choice((0.0, 0.5, 1.0, 1.0))  # share of nodes that have work
        self.untimely = random.choice((0.0, 0.0, 0.2))  # share of bodies that come too early
        self.slow_ms = random.choice((5, 50, 600))
        self.stopped_at_gst = False
        self.silenced = False
        self.hostile_bodies = Library()
        if faults is None:
            faults = self.honest_quorums.byzantine
        drawn = random.choice(("honest", "silent", "twins", "chaos"))
        self.mode = drawn if mode is None else mode
        bad = set(random.sample(range(n), faults)) if self.mode != "honest" else set()
        self.bad = bad
        self.chaos = Chaos(self, sorted(bad)) if self.mode == "chaos" else None
        self.nodes: list[Node] = []
        places: list[tuple[int | None, bool]] = [(i, True) for i in range(n) if i not in bad]
        places.append((None, True))
        if self.mode == "twins":
            places.extend((i, False) for i in sorted(bad) for _ in range(2))
        for index, honest in places:
            # A node may crash while it starts, so it must be known before it is.
            node = Node.__new__(Node)
            self.nodes.append(node)
            node.__init__(self, len(self.nodes) - 1, index, honest)  # type: ignore[misc]

    def byzantine(self, index: int) -> bool:
        """Whether the validator is in the adversary's hand."""
        return index in self.bad

    def later(self, delay_ms: int, action: Callable[[], None]) -> None:
        """Put an action on the heap."""
        self.serial += 1
        heapq.heappush(self.heap, (self.now + delay_ms, self.serial, action))

    def delay(self) -> int:
        """How long a message takes."""
        if self.stopped_at_gst:
            return self.random.randrange(1, DELTA_MS // 4)
        return self.random.randrange(1, self.slow_ms)

    def send(self, sender: Node, to: int | None, message: CoreMessage) -> None:
        """From one node to one or all; twins tell each half of the network its own story."""
        for node in self.nodes:
            if node is sender or (to is not None and node.number != to):
                continue
            if not sender.honest and (self.silenced or (node.number + sender.number) % 2 == 0):
                continue
            self.post(sender.number, node, message)
        if self.chaos is not None and to is None and not self.silenced:
            self.chaos.receive(sender.number, message)

    def post(self, sender: int, node: Node, message: CoreMessage) -> None:
        """One copy of a message, perhaps lost, late or twice."""
        lossy = not self.stopped_at_gst
        if lossy and self.random.random() < self.loss:
            return
        for _ in range(2 if lossy and self.random.random() < 0.05 else 1):
            self.later(self.delay(), lambda: self.arrive(sender, node, message))

    def arrive(self, sender: int, node: Node, message: CoreMessage) -> None:
        """What the shell does: drop what is not wanted, then step."""
        if not node.up:
            return
        core = node.core
        if isinstance(message, Votes):
            votes = tuple(filter(core.wants_vote, message.votes))
            if not votes:
                return
            message = Votes(votes)
        elif isinstance(message, Certificates):
            wanted = tuple(filter(core.wants_certificate, message.certificates))
            if not wanted:
                return
            for certificate in wanted:
                check_certificate_form(certificate)
                check_certificate(certificate, self.honest_quorums)
            message = Certificates(wanted)
        before = core.status().view
        node.step(Message(sender, message))
        if node.honest and core.status().view > before + 1:
            self.world.seen["jump"] += 1

    def random_honest(self) -> Node:
        """Any honest node."""
        return self.random.choice([node for node in self.nodes if node.honest])

    def drain(self, until_ms: int, done: Callable[[], bool]) -> bool:
        """Run until the time, or until done."""
        events = 0
        while self.heap and self.heap[0][0] <= until_ms:
            self.now, _, action = heapq.heappop(self.heap)
            action()
            events += 1
            if events % 16 == 0 and done():
                return True
            if events > EVENTS_MAX:
                raise Broken(f"{events} events and no end")
        return done()

    def calm(self) -> None:
        """GST. In some schedules all honest nodes fail at once before it, what was on the way is
        lost, and the adversary, who had a hand in the certificates, falls silent for good."""
        disaster = self.random.random() < 0.5
        if disaster:
            for node in self.nodes:
                if node.up:
                    node.crash()
            self.heap.clear()
        self.silenced = disaster and self.random.random() < 0.7
        self.stopped_at_gst, self.crash_rate = True, 0.0
        for node in self.nodes:
            node.reboot()

    def run(self) -> Counter[str]:
        """A storm, then calm; the counters of what was reached. Raises `Broken`."""
        storm_ms = self.random.choice((0, 1500, 6000))
        self.drain(storm_ms, lambda: max(node.height for node in self.nodes) >= 30)
        self.calm()
        honest = [node for node in self.nodes if node.honest]
        goal = max(node.height for node in honest) + AFTER_GST_BLOCKS
        if not self.drain(self.now + LIVENESS_MS, lambda: min(n.height for n in honest) >= goal):
            stand = [(n.number, n.core.status().view, n.height) for n in honest]
            raise Broken(f"not live: {stand}, goal {goal}, mode {self.mode}")
        for (_, _), said in self.world.said.items():
            if any(vote.kind is VoteKind.NULLIFY for vote in said):
                self.world.seen["nullify"] += 1
            if any(vote.kind is VoteKind.FIRST and vote.block is None for vote in said):
                self.world.seen["bottom"] += 1
        return self.world.seen


def run_seed(
    seed: int,
    *,
    kind: type[Simplex] = Simplex,
    quorums: Callable[[int], Quorums] = lambda n: Quorums([1] * n),
) -> Counter[str]:
    """One schedule; the seed is in the message of whatever breaks."""
    n = (4, 4, 7, 4, 5)[seed % 5]
    try:
        return Network(seed, n, kind=kind, quorums=quorums).run()
    except AssertionError as error:
        raise Broken(f"seed {seed}, n = {n}: {error}") from error
