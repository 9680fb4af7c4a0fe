"""Simulations of validators: their genesis, their liars, and what they may ask of each other."""

from collections.abc import Sequence
from random import Random

import msgspec

from chaind.node.node import Node
from chaind.primitives.genesis import ConsensusParameters, Genesis, Parameters, Validator
from chaind.primitives.hashes import sha256
from chaind.primitives.keys import SecretKey
from chaind.simulation.adversaries import KINDS, Adversary
from chaind.simulation.audit import Audit
from chaind.simulation.checks import Checks
from chaind.simulation.client import Promises
from chaind.simulation.faults import Fault, plan
from chaind.simulation.machine import EPOCH_MS
from chaind.simulation.modes import Lengths
from chaind.simulation.nemesis import MessageFaults
from chaind.simulation.options import Options
from chaind.simulation.program import Program, Tap
from chaind.simulation.taps import HonestTap
from chaind.simulation.vote_checks import VoteChecks
from chaind.simulation.workload import Habits, allocations
from chaind.simulation.world import World

WINDOW_MS = 30_000  # short, so that deadlines pass and leases end within a run
LEASE_MS = 60_000  # beyond the time for which any client repeats a request
QUESTIONS_MAX = 6  # of one node, for single blocks, per final one; 2 is the worst seen


class BftMode:
    """See `Mode`."""

    lengths = Lengths(
        seconds=62.0,
        gap_s=3.3,
        heal_s_max=20.0,  # back-off, reconnection, catch-up
        more_s_max=120.0,
        floor={"virtual seconds": 60, "final blocks": 30, "client operations": 300, "faults": 5},
    )
    habits = Habits()
    kinds: tuple[str, ...] = tuple(KINDS)
    points: tuple[str, ...] = (
        "FALLBACK",
        "FIRST(⊥)",
        "NULLIFY",
        "announced transaction fetched",
        "asset minted",
        "block fetched",
        "compact block completed",
        "conflicting spend rejected",
        "ended by a disk fault",
        "fast path",
        "finalised by a descendant",
        "full node",
        "invalid transaction refused",
        "jump",
        "nullified view",
        "payment retried through another node",
        "policy spent",
        "slow path",
        "state catch-up",
        "told expired",
        "told rejected",
        "transaction replaced",
        "view without a block",
    )
    pools: tuple[int, ...] = (12, 40, 200_000)

    def __init__(self, options: Options, world: World) -> None:
        self._options = options
        self._world = world
        self._keys = [SecretKey(sha256(b"validator %d" % n)) for n in range(options.nodes)]
        self._checks: VoteChecks
        self._genesis: Genesis

    def seats(self) -> list[SecretKey | None]:
        """See `Mode`."""
        return list(self._keys)

    def genesis(self, rng: Random) -> Genesis:
        """See `Mode`."""
        base = Genesis(
            name="simulation",
            dev=True,
            time_ms=EPOCH_MS,
            validators=tuple(Validator(public_key=key.public.hex()) for key in self._keys),
            allocations=(),
            parameters=Parameters(
                min_fee_per_byte=1,
                validity_window_ms=WINDOW_MS,
                lease_ms=LEASE_MS,
                min_block_interval_ms=rng.choice((100, 150, 300)),
                subsidy_units=rng.choice((0, 1_000)),
                halving_interval=100,
            ),
            consensus=ConsensusParameters(
                delta_ms=rng.choice((60, 100, 200)),
                block_budget_ms=20,
                empty_block_interval_ms=rng.choice((300, 1_000, 2_000)),
                mesh_max=1 if self._options.overlay else msgspec.UNSET,
                overlay_degree=self._degree() if self._options.overlay else msgspec.UNSET,
            ),
        )
        return msgspec.structs.replace(base, allocations=allocations(base, self.habits))

    def _degree(self) -> int:
        """Of a small overlay: twice f, so that not everybody is everybody's neighbour."""
        return max(2, 2 * ((self._options.nodes - 1) // 3))

    def checks(self, genesis: Genesis) -> Checks:
        """See `Mode`."""
        self._genesis, self._checks = genesis, VoteChecks(self._world, genesis)
        return self._checks

    def audit(self, genesis: Genesis, checks: Checks, promises: Promises) -> Audit:
        """See `Mode`."""
        return Audit(self._world, genesis, checks, promises)

    def tap(
        self, _index: int, key: SecretKey | None, kind: str, faults: MessageFaults, _checks: Checks
    ) -> Tap:
        """See `Mode`."""
        if not kind:
            return HonestTap(faults, self._checks, self._world.dice())
        assert key is not None, "who does not vote has nothing to lie about"
        return Adversary(kind, self._genesis, key, self._world.dice())

    def twin_seats(self, kind: str, liars: Sequence[int]) -> list[SecretKey | None]:
        """See `Mode`."""
        return [self._keys[index] for index in liars] if kind == "twins" else []

    def started(self, program: Program, node: Node) -> None:
        """See `Mode`."""

    def liars(self) -> int:
        """See `Mode`: f."""
        return (self._options.nodes - 1) // 3

    def plan(self, rng: Random, nodes: int, until_s: float) -> list[Fault]:
        """See `Mode`."""
        groups, gap_s = self._options.groups, self.lengths.gap_s
        return plan(rng, nodes=nodes, until_s=until_s, groups=groups, gap_s=gap_s)

    def agreed(self, programs: Sequence[Program], height: int) -> bool:
        """See `Mode`."""
        nodes = [program.node for program in programs]
        return all(node is not None and node.chain.final.height >= height for node in nodes)

    def in_the_end(self, honest: Sequence[Program]) -> None:
        """A liar costs honest nodes a few questions a block, and not ever more of them."""
        asked, blocks = self._world.points["block fetched"], len(self._checks.blocks)
        if asked > QUESTIONS_MAX * blocks * len(honest):
            self._world.fail(f"{asked} questions for single blocks, {blocks} blocks became final")
