"""A network of miners parted for longer than its final depth: two chains, and nobody silent of it.

What became final on both sides cannot be brought together by any rule. Each side has to stay of one
mind, and every node has to say that it refuses the chain of the others.
"""

from collections.abc import Sequence
from random import Random

from chaind.node.node import Node
from chaind.primitives.genesis import Genesis
from chaind.simulation.audit import Audit
from chaind.simulation.checks import Checks
from chaind.simulation.client import Promises
from chaind.simulation.faults import Fault
from chaind.simulation.modes import Lengths
from chaind.simulation.pow_audit import PowAudit
from chaind.simulation.pow_checks import PowChecks
from chaind.simulation.pow_mode import LONG_PARTITION, PowMode
from chaind.simulation.program import Program
from chaind.simulation.workload import Habits
from chaind.simulation.world import World

BEGIN_S = 20.0
PARTED_S = 160.0  # the weaker side buries a block in less, even with a quarter of all hashes


class SplitMode(PowMode):
    """See the module's law, and `Mode`. Nobody pays: what is final differs from side to side."""

    lengths = Lengths(
        seconds=BEGIN_S + PARTED_S + 2.0,
        gap_s=PARTED_S,
        heal_s_max=40.0,
        more_s_max=0.0,
        floor={"virtual seconds": 180, "final blocks": 30, "client operations": 0, "faults": 1},
    )
    habits = Habits(clients=0)
    _split: "SplitChecks"

    @classmethod
    def of(cls, mode: PowMode) -> "SplitMode":
        """The same miners on the same chain."""
        made = cls(mode._options, mode._world)
        made._rates = mode._rates
        made._world.point(f"adversary: {LONG_PARTITION}")
        return made

    def liars(self) -> int:
        """See `Mode`: it takes none."""
        return 0

    def checks(self, genesis: Genesis) -> Checks:
        """See `Mode`."""
        nodes = self._options.nodes
        inside = self._world.dice().sample(range(nodes), nodes // 2)
        self._genesis, self._split = genesis, SplitChecks(self._world, genesis, inside)
        self._checks = self._split
        return self._split

    def plan(self, _rng: Random, _nodes: int, until_s: float) -> list[Fault]:
        """See `Mode`: one partition, whatever faults are asked for."""
        inside = tuple(sorted(self._split.inside))
        return [Fault(0, BEGIN_S, "partition", inside, min(PARTED_S, until_s - BEGIN_S), 1.0)]

    def agreed(self, programs: Sequence[Program], _height: int) -> bool:
        """See `Mode`: each side with itself, and all about what parts them."""
        split = self._split
        one_mind = all(
            super(SplitMode, self).agreed(split.members(side, programs), len(side.blocks))
            for side in split.sides
        )
        told = all(program.machine.name in split.refused for program in programs)
        return one_mind and (told or not split.contradict)

    def audit(self, genesis: Genesis, _checks: Checks, promises: Promises) -> Audit:
        """See `Mode`."""
        return SplitAudit(self._world, genesis, self._split, promises)

    def in_the_end(self, _honest: Sequence[Program]) -> None:
        """See `Mode`."""
        if self._split.contradict:
            self._world.point("a chain split for good, and told")


class SplitChecks(PowChecks):
    """The checks of each side, and one memory of what nodes log. `inside` are indices of one side.

    `blocks` are those of the first side.
    """

    def __init__(self, world: World, genesis: Genesis, inside: Sequence[int]) -> None:
        self.inside = frozenset(inside)
        self.sides = (PowChecks(world, genesis), PowChecks(world, genesis))
        super().__init__(world, genesis)  # last, for logs are heard by whoever comes last
        self.blocks = self.sides[0].blocks

    @property
    def contradict(self) -> bool:
        """Whether both sides have a final block of their own."""
        one, other = (side.blocks for side in self.sides)
        return any(ours.hash != theirs.hash for ours, theirs in zip(one, other, strict=False))

    def side_of(self, program: Program) -> PowChecks:
        """The side that a program is on."""
        return self.sides[program.machine.index in self.inside]

    def members(self, side: PowChecks, programs: Sequence[Program]) -> list[Program]:
        """Those of these programs that are on a side."""
        return [program for program in programs if self.side_of(program) is side]

    def started(self, program: Program, node: Node) -> None:
        """See `Checks`."""
        self.programs[program.machine.name] = program
        self.side_of(program).started(program, node)


class SplitAudit(PowAudit):
    """An audit of each side."""

    def __init__(
        self, world: World, genesis: Genesis, split: SplitChecks, promises: Promises
    ) -> None:
        super().__init__(world, genesis, split, promises)
        self._split = split

    def all(self, programs: Sequence[Program]) -> None:
        """See `Audit`."""
        for side in self._split.sides:
            audit = PowAudit(self._world, self._genesis, side, self._promises)
            audit.all(self._split.members(side, programs))
