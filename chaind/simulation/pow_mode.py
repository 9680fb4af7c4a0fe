"""Simulations of miners: their genesis, their hash rates, their liars, and when they agree."""

import asyncio
from collections.abc import Sequence
from random import Random

import msgspec

from chaind.node.node import Node
from chaind.primitives.address import key_address
from chaind.primitives.genesis import Genesis, Parameters, ProofOfWork
from chaind.primitives.keys import SecretKey
from chaind.primitives.work import WorkParameters, to_bits
from chaind.simulation.audit import Audit
from chaind.simulation.checks import Checks
from chaind.simulation.client import Promises
from chaind.simulation.faults import Fault, plan
from chaind.simulation.machine import EPOCH_MS
from chaind.simulation.miners import Miner
from chaind.simulation.modes import Lengths
from chaind.simulation.nemesis import MessageFaults
from chaind.simulation.options import Options
from chaind.simulation.pow_audit import PowAudit
from chaind.simulation.pow_checks import PowChecks
from chaind.simulation.pow_kinds import KINDS
from chaind.simulation.pow_liars import LyingMiner, MiningLiar
from chaind.simulation.program import Program, Tap
from chaind.simulation.taps import HonestTap
from chaind.simulation.workload import Habits, allocations, client_key
from chaind.simulation.world import World

SPACING_MS = 1_000
FINAL_DEPTH = 24  # no fault of a plan parts the network for as long as half of it needs for that
HASHES = 256  # for a block at the start, in the mean: real ones, a fraction of a millisecond
LIAR_SHARE_MAX = 0.3  # of all hashes, for one: with half of them it would own the chain
LIMIT_BITS = 0x207FFFFF  # one hash in two
WINDOW_MS = 120_000  # chain time is that of the final block, half a minute ago and more
LEASE_MS = 240_000  # beyond the time for which any client repeats a request
LONG_PARTITION = "long partition"  # no liar, but what the final depth is no answer to


class PowMode:
    """See `Mode`."""

    lengths = Lengths(
        seconds=182.0,
        gap_s=6.0,
        heal_s_max=40.0,  # silent peers are passed over after 10 s; then back-off and catch-up
        more_s_max=240.0,
        floor={"virtual seconds": 180, "final blocks": 100, "client operations": 200, "faults": 5},
    )
    habits = Habits(clients=48, coins=5, follow_s=80.0, rewards=True)
    kinds: tuple[str, ...] = (*KINDS, LONG_PARTITION)
    points: tuple[str, ...] = (
        "a chain split for good, and told",
        "announced transaction fetched",
        "asset minted",
        "compact block completed",
        "conflicting spend rejected",
        "ended by a disk fault",
        "full node",
        "headers from the future refused",
        "headers-first sync",
        "invalid block refused",
        "invalid transaction refused",
        "lying peer dropped",
        "orphan resolved",
        "payment retried through another node",
        "policy spent",
        "private branch published",
        "reorganisation of depth 2 or more",
        "reorganisation of depth 5 or more",
        "retarget moved bits",
        "reward of a block spent",
        "stale work refused",
        "told expired",
        "told rejected",
        "transaction of a lost branch mined again",
        "transaction replaced",
        "withheld body fetched elsewhere",
    )
    pools: tuple[int, ...] = (60, 200, 200_000)  # what is mined stays there until it is final

    def __init__(self, options: Options, world: World) -> None:
        self._options = options
        self._world = world
        self._checks: PowChecks
        self._genesis: Genesis
        self._liars: dict[int, MiningLiar] = {}  # by machine
        self._miners: dict[int, Miner] = {}  # by machine
        self._rates: list[float] = []  # hashes a second, by machine

    def seats(self) -> list[SecretKey | None]:
        """See `Mode`: nobody votes."""
        return [None] * self._options.nodes

    def genesis(self, rng: Random) -> Genesis:
        """See `Mode`; hash rates are drawn with it, so that the first bits may be off."""
        shares = [rng.uniform(0.5, 1.5) for _ in range(self._options.nodes)]
        total = rng.choice((0.6, 1.0, 1.8)) * HASHES * 1000 / SPACING_MS
        self._rates = [total * share / sum(shares) for share in shares]
        rules = WorkParameters(
            retarget=rng.choice(("asert", "asert", "asert", "bitcoin", "bitcoin-bip94")),
            limit_bits=LIMIT_BITS,
            target_spacing_ms=SPACING_MS,
            window=rng.choice((16, 30)),
            half_life_ms=rng.choice((60_000, 120_000)),
            max_future_ms=rng.choice((10_000, 30_000)),
        )
        base = Genesis(
            name="simulation",
            dev=True,
            mode="pow",
            time_ms=EPOCH_MS,
            validators=(),
            allocations=(),
            parameters=Parameters(
                min_fee_per_byte=1,
                validity_window_ms=WINDOW_MS,
                lease_ms=LEASE_MS,
                subsidy_units=rng.choice((0, 100_000, 10**9)),
                halving_interval=100,
                coinbase_maturity=rng.choice((5, 40)),
            ),
            work=ProofOfWork(
                rules=rules,
                start_bits=to_bits((1 << 256) // HASHES - 1),
                final_depth=FINAL_DEPTH,
            ),
        )
        return msgspec.structs.replace(base, allocations=allocations(base, self.habits))

    def checks(self, genesis: Genesis) -> Checks:
        """See `Mode`."""
        self._genesis, self._checks = genesis, PowChecks(self._world, genesis)
        return self._checks

    def audit(self, genesis: Genesis, checks: Checks, promises: Promises) -> Audit:
        """See `Mode`."""
        return PowAudit(self._world, genesis, checks, promises)

    def tap(
        self, index: int, _key: SecretKey | None, kind: str, faults: MessageFaults, _: Checks
    ) -> Tap:
        """See `Mode`."""
        rng = self._world.dice()
        if not kind:
            return HonestTap(faults, self._checks, rng)
        liar = MiningLiar(
            KINDS[kind], self._genesis, _key_of(index), rng, self._world, self._checks
        )
        liar.slow = kind == "slow peer"
        self._liars[index] = liar
        return liar

    def twin_seats(self, _kind: str, _liars: Sequence[int]) -> list[SecretKey | None]:
        """See `Mode`: there are no keys to share."""
        return []

    def started(self, program: Program, node: Node) -> None:
        """See `Mode`: its miner goes to work."""
        index, process = program.machine.index, program.machine.process
        assert process is not None
        if index >= len(self._rates):
            return  # it only follows
        miner = self._miners.get(index)
        if miner is None:
            miner = self._miners[index] = self._miner(program)
        task = process.spawn(miner.run(node), "miner")

        def over(done: "asyncio.Task[None]") -> None:
            if process.alive and not done.cancelled():
                self._world.fail(f"the miner of {process.name} ended: {done.exception()!r}")

        task.add_done_callback(over)

    def _miner(self, program: Program) -> Miner:
        index = program.machine.index
        address, rate = key_address(_key_of(index).public), self._rates[index]
        liar = self._liars.get(index)
        if liar is not None:
            rate = min(rate, LIAR_SHARE_MAX * sum(self._rates))
            return LyingMiner(liar, program=program, address=address, rate=rate)
        return Miner(
            world=self._world,
            program=program,
            checks=self._checks,
            address=address,
            rate=rate,
            rng=self._world.dice(),
        )

    def liars(self) -> int:
        """See `Mode`: as many as validators would bear."""
        return (self._options.nodes - 1) // 3

    def plan(self, rng: Random, nodes: int, until_s: float) -> list[Fault]:
        """See `Mode`."""
        groups, gap_s = self._options.groups, self.lengths.gap_s
        return plan(rng, nodes=nodes, until_s=until_s, groups=groups, gap_s=gap_s)

    def agreed(self, programs: Sequence[Program], height: int) -> bool:
        """See `Mode`: one tip, which two blocks found at once part for a moment."""
        up = [program.node for program in programs if program.node is not None]
        heads = {node.chain.head.hash for node in up}
        least = min((node.chain.final.height for node in up), default=0)
        return len(up) == len(programs) and len(heads) == 1 and least >= height

    def in_the_end(self, honest: Sequence[Program]) -> None:
        """See `Mode`."""


def _key_of(index: int) -> SecretKey:
    """Whose coins a miner's blocks pay: a client's, who spends them."""
    return client_key(index)
