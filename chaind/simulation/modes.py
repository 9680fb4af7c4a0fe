"""What differs between simulations of validators and of miners, and nothing else does.

A mode makes the genesis, says who lies and how, stands its taps between nodes and connections, and
knows when nodes agree. `simulation` runs it and knows no modes.
"""

from collections.abc import Sequence
from random import Random
from typing import NamedTuple, Protocol

from chaind.node.node import Node
from chaind.primitives.genesis import Genesis
from chaind.primitives.keys import SecretKey
from chaind.simulation.audit import Audit
from chaind.simulation.checks import Checks
from chaind.simulation.client import Promises
from chaind.simulation.faults import Fault
from chaind.simulation.nemesis import MessageFaults
from chaind.simulation.program import Program, Tap
from chaind.simulation.workload import Habits


class Lengths(NamedTuple):
    """How long a run of a mode is, and what it has to reach. Seconds are virtual."""

    seconds: float  # of faults
    gap_s: float  # mean time from one fault to the next
    heal_s_max: float  # from the end of all faults to agreement
    more_s_max: float  # for which clients go on where they have done too little
    floor: dict[str, int]


class Mode(Protocol):
    """See the module's law. One object for one run."""

    lengths: Lengths
    habits: Habits
    kinds: tuple[str, ...]  # of adversaries
    points: tuple[str, ...]  # that many seeds have to reach
    pools: tuple[int, ...]  # bounds of pools, in transactions

    def seats(self) -> list[SecretKey | None]:
        """The keys of the nodes that make the network, None for one that has none."""
        ...

    def genesis(self, rng: Random) -> Genesis:
        """The chain of this run."""
        ...

    def checks(self, genesis: Genesis) -> Checks:
        """What is looked at while it happens."""
        ...

    def audit(self, genesis: Genesis, checks: Checks, promises: Promises) -> Audit:
        """What is looked at in the end."""
        ...

    def tap(
        self, index: int, key: SecretKey | None, kind: str, faults: MessageFaults, checks: Checks
    ) -> Tap:
        """Between node `index` and its connections; `kind` is its way to lie, empty for none."""
        ...

    def twin_seats(self, kind: str, liars: Sequence[int]) -> list[SecretKey | None]:
        """Second machines with keys of liars, where that is how they lie."""
        ...

    def started(self, program: Program, node: Node) -> None:
        """A node serves."""
        ...

    def liars(self) -> int:
        """How many nodes lie where there is an adversary and nothing else is said."""
        ...

    def plan(self, rng: Random, nodes: int, until_s: float) -> list[Fault]:
        """Faults of the groups that the run asks for."""
        ...

    def agreed(self, programs: Sequence[Program], height: int) -> bool:
        """Whether the nodes of these agree, with `height` blocks final everywhere."""
        ...

    def in_the_end(self, honest: Sequence[Program]) -> None:
        """What holds over a whole run, beside the audit."""
        ...
