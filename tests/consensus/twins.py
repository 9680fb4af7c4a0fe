"""Twins: Byzantine validators as two honest copies with one key, in schedules of partitions.

    python tests/consensus/twins.py --schedules 20000 --nodes 4
    python tests/consensus/twins.py --schedules 200 --nodes 4 --twins 2      the control: it forks

After Bano et al., "Twins: BFT Systems Made Robust" (2020): rounds follow each other, and in each of
them all copies fall into groups that hear only themselves; the dice of one seed draw rounds and
groups. Later everybody hears everybody, and new blocks must become final. With f twins nothing may
break; with one pair more than the network bears, two blocks of one height must become final
somewhere, or the schedules show nothing.
"""

import argparse
import sys
import time
from collections import Counter
from collections.abc import Callable
from multiprocessing import Pool
from typing import NamedTuple

from simplex_network import Network
from simplex_node import Node

from chaind.consensus.core import CoreMessage
from chaind.consensus.quorums import Quorums

ROUND_MS = (40, 150, 600)  # a few messages, a view, a timer
GROUPS_MAX = 3
FORK = "two final blocks"


class TwinsNetwork(Network):
    """Copies in groups that change from round to round, until GST."""

    def __init__(self, seed: int, n: int, twins: int) -> None:
        self.groups: dict[int, int] = {}  # by number of node
        super().__init__(seed, n, mode="twins", faults=twins)
        self.round_ms = self.random.choice(ROUND_MS)
        self.begin_round()

    def begin_round(self) -> None:
        """Draw who hears whom."""
        count = self.random.randrange(1, GROUPS_MAX + 1)
        self.groups = {node.number: self.random.randrange(count) for node in self.nodes}
        if not self.stopped_at_gst:
            self.later(self.round_ms, self.begin_round)

    def send(self, sender: Node, to: int | None, message: CoreMessage) -> None:
        """Within the group."""
        group = self.groups.get(sender.number)
        for node in self.nodes:
            if node is sender or (to is not None and node.number != to):
                continue
            if self.stopped_at_gst or self.groups.get(node.number) == group:
                self.post(sender.number, node, message)


class Schedule(NamedTuple):
    """One run."""

    seed: int
    nodes: int
    twins: int


def run(schedule: Schedule) -> tuple[int, str, Counter[str]]:
    """(seed, what broke or "", what was reached)."""
    network = TwinsNetwork(schedule.seed, schedule.nodes, schedule.twins)
    try:
        return schedule.seed, "", network.run()
    except AssertionError as broken:
        return schedule.seed, str(broken), network.world.seen


def campaign(
    first: int, schedules: int, nodes: int, twins: int, jobs: int, show: Callable[[str], None]
) -> tuple[dict[int, str], Counter[str]]:
    """What broke, by seed, and what was reached."""
    broken: dict[int, str] = {}
    seen: Counter[str] = Counter()
    work = (Schedule(seed, nodes, twins) for seed in range(first, first + schedules))
    with Pool(jobs) as pool:
        for done, (seed, words, reached) in enumerate(pool.imap_unordered(run, work, 16), 1):
            seen += reached
            if words:
                broken[seed] = words
            if done % 1_000 == 0:
                show(f"{done} schedules, {len(broken)} broken")
    return broken, seen


def main() -> int:
    """The command; 1 where f twins break anything, or more of them fork nothing."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--schedules", type=int, default=1_000)
    parser.add_argument("--first", type=int, default=0, help="the first seed")
    parser.add_argument("--nodes", type=int, default=4)
    parser.add_argument("--twins", type=int, help="pairs; default f")
    parser.add_argument("--jobs", type=int, default=1)
    given = parser.parse_args()
    bearable = Quorums([1] * given.nodes).byzantine
    twins = bearable if given.twins is None else given.twins
    begun = time.monotonic()
    broken, seen = campaign(
        given.first, given.schedules, given.nodes, twins, given.jobs, lambda text: print(text)
    )
    forks = [seed for seed, words in sorted(broken.items()) if FORK in words]
    print(
        f"{given.schedules} schedules of {given.nodes} validators with {twins} twins, seeds from "
        f"{given.first}: {len(forks)} forks, {len(broken)} broken in all, "
        f"{time.monotonic() - begun:.0f} s"
    )
    print("reached: " + ", ".join(f"{point} {count}" for point, count in sorted(seen.items())))
    for seed in sorted(broken)[:5]:
        print(f"seed {seed}: {broken[seed]}")
    return int(bool(broken)) if twins <= bearable else int(not forks)


if __name__ == "__main__":
    sys.exit(main())
