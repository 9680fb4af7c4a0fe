"""One seed: a network, clients, faults, then peace; what came of it.

First the safety phase: faults come and go, nothing may ever be wrong. Then the liveness phase: all
faults have ended, all machines are up, and within a bound everybody agrees and serves again.
"""

import asyncio
from collections.abc import Sequence
from contextlib import suppress
from functools import lru_cache
from random import Random
from typing import NamedTuple

import msgspec

from chaind.node.node import Node
from chaind.node.signatures import Verify
from chaind.primitives import keys
from chaind.primitives.address import key_address
from chaind.primitives.errors import LocalFault
from chaind.primitives.genesis import (
    Allocation,
    ConsensusParameters,
    Genesis,
    Parameters,
    Validator,
)
from chaind.primitives.hashes import sha256
from chaind.primitives.keys import SecretKey
from chaind.simulation.adversaries import KINDS, Adversary
from chaind.simulation.audit import Audit
from chaind.simulation.checks import Checks
from chaind.simulation.client import Promises
from chaind.simulation.faults import GROUPS, Fault, plan
from chaind.simulation.loop import current_process
from chaind.simulation.machine import EPOCH_MS, VERIFY_S
from chaind.simulation.nemesis import Nemesis
from chaind.simulation.program import Program, Setup
from chaind.simulation.taps import HonestTap
from chaind.simulation.wire import LinkState
from chaind.simulation.workload import COIN_UNITS, Client, client_key
from chaind.simulation.world import Violation, World
from chaind.storage.errors import DiskDenied, DiskFailed, DiskFull
from chaind.wallet.derivation import (
    DEVELOPMENT_MNEMONIC,
    DEVELOPMENT_NAMES,
    development_key,
    seed_from_mnemonic,
)

CLIENTS = 12
WINDOW_MS = 30_000  # short, so that deadlines pass and leases end within a run
LEASE_MS = 60_000  # beyond the time for which any client repeats a request
COINS_PER_CLIENT = 12
UNITS_PER_COIN = 10**8
HEAL_S_MAX = 20.0  # from the end of all faults to agreement: back-off, reconnection, catch-up
ADVERSARY_SHARE = 0.5  # of seeds that have one
FULL_NODE_SHARE = 0.3  # of seeds that have one, which follows and does not vote
MORE_S_MAX = 120.0  # for which clients go on where they have done too little
QUESTIONS_MAX = 6  # of one node, for single blocks, per final one; 2 is the worst seen
QUIET_HEIGHTS = 3  # final everywhere after peace has come
FLOOR = {"virtual seconds": 60, "final blocks": 30, "client operations": 300, "faults": 5}
SHORT = "falls short"
DISK_FAULTS = (DiskFailed, DiskFull, DiskDenied)


class Options(NamedTuple):
    """What one run is asked to be. `skip` leaves out faults of the plan by number.

    `adversary` is a kind of `adversaries.KINDS`, "none", or "any": the seed decides.
    So it does on the faults, unless there is a `plan`. `liars` is
    how many validators lie; None: f, as many as must not matter. `overlay` has votes
    passed on as in a large network.
    """

    seed: int
    nodes: int = 4
    groups: tuple[str, ...] = GROUPS
    seconds: float = 62.0
    skip: frozenset[int] = frozenset()
    adversary: str = "any"
    plan: tuple[Fault, ...] | None = None
    liars: int | None = None
    overlay: bool = False


class Outcome(NamedTuple):
    """What came of it. `violation` is None where all held."""

    options: Options
    violation: str | None
    trace_hash: str
    counts: dict[str, float]
    points: dict[str, int]
    trace: list[str]
    faults: list[Fault]


@lru_cache(maxsize=1)
def _custody_seed() -> bytes:
    return seed_from_mnemonic(DEVELOPMENT_MNEMONIC)


class Simulation:
    """See the module. Construct and `run`."""

    def __init__(self, options: Options) -> None:
        self.options = options
        self.world = world = World(options.seed)
        rng = world.dice()
        self.keys = [SecretKey(sha256(b"validator %d" % n)) for n in range(options.nodes)]
        self.genesis = self._genesis(world.dice())
        setup = Setup(
            segment_bytes=rng.choice((8 << 10, 32 << 10, 1 << 20)),
            pool_transactions=rng.choice((12, 40, 200_000)),
        )
        self.checks = Checks(world, self.genesis)
        floor = self.floor()
        can_reach = options.seconds >= floor["virtual seconds"]
        self.promises = Promises(world, self.checks, floor["client operations"] if can_reach else 0)
        self.programs: list[Program] = []
        self.honest: list[Program] = []
        self.adversary = self._choose_adversary(world.dice())
        self.liars = rng.sample(range(options.nodes), self._liar_count())
        down_max = max(1, (options.nodes - 1) // 3)
        self.nemesis = Nemesis(world, self.programs, down_max, self.boot, self._forget)
        world.excuses = lambda process, error: self._excused(process.name.split(".")[0], error)
        seats: list[SecretKey | None] = list(self.keys)
        if options.plan is None and rng.random() < FULL_NODE_SHARE:
            seats.append(None)
            world.point("full node")
        self.targets = len(seats)
        if self.adversary == "twins":  # a second machine with the same key
            seats += [self.keys[index] for index in self.liars]
            self.liars += range(self.targets, len(seats))
        for _ in seats:
            world.add_machine()
        base_s, jitter_s = rng.choice(_LINKS)
        world.link_all(
            lambda: LinkState(base_s * rng.uniform(0.5, 1.5), jitter_s, bytes_per_s=12.5e6)
        )
        hosts = [machine.host for machine in world.machines]
        verify = self._verify()
        for machine, key in zip(world.machines, seats, strict=True):
            machine.disk_s = rng.choice((0.0005, 0.001, 0.003))
            tap = self._tap(machine.index, key)
            program = Program(
                machine=machine,
                genesis=self.genesis,
                key=key,
                peers=hosts,
                tap=tap,
                rng=world.dice(),
                custody_seed=_custody_seed(),
                verify=verify,
                setup=setup,
            )
            tap.program = program
            self.programs.append(program)
            if machine.index not in self.liars:
                self.honest.append(program)
        self.agreed_s = 0.0  # from peace to agreement
        given = self._drawn(world.dice()) if options.plan is None else options.plan
        kept = [fault for fault in given if fault.number not in options.skip]
        self.plan = sorted(kept, key=lambda fault: fault.at_s)

    def _choose_adversary(self, rng: Random) -> str:
        """The kind of Byzantine validator of this run, empty for none."""
        options = self.options
        if (options.nodes - 1) // 3 == 0 or options.adversary == "none":
            return ""
        if options.adversary != "any":
            return options.adversary
        return rng.choice(tuple(KINDS)) if rng.random() < ADVERSARY_SHARE else ""

    def _drawn(self, rng: Random) -> list[Fault]:
        options = self.options
        return plan(rng, nodes=self.targets, until_s=options.seconds, groups=options.groups)

    def _liar_count(self) -> int:
        """Byzantine validators: as many as the network bears, unless told otherwise."""
        options = self.options
        if not self.adversary:
            return 0
        return (options.nodes - 1) // 3 if options.liars is None else options.liars

    def _tap(self, index: int, key: SecretKey | None) -> HonestTap | Adversary:
        if index not in self.liars or key is None:
            return HonestTap(self.nemesis.messages, self.checks, self.world.dice())
        self.world.point(f"adversary: {self.adversary}")
        return Adversary(self.adversary, self.genesis, key, self.world.dice())

    def _verify(self) -> Verify:
        """Signature checks of votes: each is computed once for all nodes, and charged to each."""
        cached = lru_cache(maxsize=1 << 16)(keys.verify)

        def verify(public_key: bytes, digest: bytes, signature: bytes) -> bool:
            process = current_process()
            if process is not None:
                process.charge(VERIFY_S)
            return cached(public_key, digest, signature)

        return verify

    def _degree(self) -> int:
        """Of a small overlay: twice f, so that not everybody is everybody's neighbour."""
        return max(2, 2 * ((self.options.nodes - 1) // 3))

    def _genesis(self, rng: Random) -> Genesis:
        base = Genesis(
            name="simulation",
            dev=True,
            time_ms=EPOCH_MS,
            validators=tuple(Validator(public_key=key.public.hex()) for key in self.keys),
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
                mesh_max=1 if self.options.overlay else msgspec.UNSET,
                overlay_degree=self._degree() if self.options.overlay else msgspec.UNSET,
            ),
        )
        show = base.addresses.show
        owners = [key_address(client_key(n).public) for n in range(CLIENTS + 4)]
        coins = [
            Allocation(address=show(owner), amount=str(COIN_UNITS // UNITS_PER_COIN), coin=True)
            for owner in owners[:CLIENTS]
            for _ in range(COINS_PER_CLIENT)
        ]
        named = [
            key_address(development_key(index).public) for index in range(len(DEVELOPMENT_NAMES))
        ]
        accounts = [Allocation(address=show(who), amount="1000") for who in (*owners, *named)]
        genesis = msgspec.structs.replace(base, allocations=(*coins, *accounts))
        genesis.check()
        return genesis

    # Machines.

    def boot(self, program: Program) -> None:
        """Start the program of a machine, and keep it running."""
        machine = program.machine

        def ready(node: Node) -> None:
            self.world.trace.note(machine.name, f"up, height {node.chain.final.height}")
            if program in self.honest:
                self.checks.started(program, node)

        def over(error: BaseException | None) -> None:
            self._ended(program, error)

        program.boot(ready, over)

    def _ended(self, program: Program, error: BaseException | None) -> None:
        """A program has ended by itself: a disk that fails excuses it, and nothing else does."""
        world, machine = self.world, program.machine
        if error is None:
            world.trace.note(machine.name, "ended as it was asked to")
            return  # whoever asked starts it again
        world.trace.note(machine.name, f"ended: {_leaves(error)}")
        if not self._excused(machine.name, error):
            world.fail(f"{machine.name} ended by itself: {_leaves(error)}")
            return
        if program in self.honest:
            world.point("ended by a disk fault")

        def again() -> None:
            if machine.process is None:
                self.boot(program)

        world.loop.call_later(world.rng.uniform(0.3, 1.0), again)

    def _excused(self, name: str, error: BaseException | None) -> bool:
        """Whether a fault of its disk, or its lies, explain what a program there has raised."""
        if int(name[1:]) in self.liars:
            return True
        sick = self.world.loop.time() < self.nemesis.sick.get(name, 0.0)
        return sick and error is not None and _only_disk_faults(error)

    def _forget(self, program: Program) -> None:
        """The disk of a machine is lost, and with it what it knew for its clients."""
        self.checks.heights.pop(program.machine.name, None)
        self.promises.void(program)

    # The run.

    def run(self) -> Outcome:
        """Everything, to the end or to the first violation."""
        with suppress(Violation):  # `world.violation` says which
            self.world.run(self._play())
        return self._outcome()

    async def _play(self) -> None:
        world = self.world
        for program in self.programs:
            self.boot(program)
        stop = asyncio.Event()
        clients = [asyncio.ensure_future(client.run(stop)) for client in self._clients()]
        await self.nemesis.run(self.plan)
        await asyncio.sleep(max(0.0, self.options.seconds - world.loop.time()))
        world.trace.note("world", "peace")
        peace_s = world.loop.time()
        for program in self.programs:
            if program.machine.process is None:
                self.boot(program)
        await self._converge(peace_s)
        with suppress(TimeoutError):  # then it falls short, and `_outcome` says so
            async with asyncio.timeout(MORE_S_MAX):
                await self.promises.enough.wait()
        stop.set()
        for client in clients:
            await client
        await self._converge(world.loop.time())
        self._no_storm_of_questions()
        Audit(world, self.genesis, self.checks, self.promises).all(self.honest)

    def _no_storm_of_questions(self) -> None:
        """A liar costs honest nodes a few questions a block, and not ever more of them."""
        asked, blocks = self.world.points["block fetched"], len(self.checks.blocks)
        if asked > QUESTIONS_MAX * blocks * len(self.honest):
            self.world.fail(f"{asked} questions for single blocks, {blocks} blocks became final")

    def _clients(self) -> list[Client]:
        return [
            Client(
                number=number,
                world=self.world,
                genesis=self.genesis,
                programs=self.honest,
                promises=self.promises,
                first_coin=number * COINS_PER_CLIENT,
                coins=COINS_PER_CLIENT,
            )
            for number in range(CLIENTS)
        ]

    async def _converge(self, since_s: float) -> None:
        """Every node at one tip, above what was final before, within the bound."""
        world = self.world
        wanted = len(self.checks.blocks) + QUIET_HEIGHTS
        while True:
            nodes = [program.node for program in self.honest]
            heights = [-1 if node is None else node.chain.final.height for node in nodes]
            if min(heights) >= wanted:
                took_s = world.loop.time() - since_s
                self.agreed_s = max(self.agreed_s, took_s)
                world.trace.note("world", f"agreed after {took_s:.2f} s")
                return
            if world.loop.time() - since_s > HEAL_S_MAX:
                world.fail(f"no agreement {HEAL_S_MAX:.0f} s after peace: heights {heights}")
                return
            await asyncio.sleep(0.1)

    def _outcome(self) -> Outcome:
        world = self.world
        counts = {
            "virtual seconds": world.loop.time(),
            "final blocks": len(self.checks.blocks),
            "final transactions": len(self.checks.final_txids),
            "client operations": self.promises.operations,
            "client answers": self.promises.answers,
            "faults": self.nemesis.applied,
            "seconds to agree": self.agreed_s,
            "trace events": world.trace.events_total,
            "callbacks": world.loop.callbacks_total,
        }
        violation = world.violation
        if violation is None and not self.options.skip:
            short = [
                f"{counts[name]:.0f} {name} of {least}"
                for name, least in self.floor().items()
                if counts[name] < least
            ]
            violation = f"{SHORT}: {', '.join(short)}" if short else None
        return Outcome(
            self.options,
            violation,
            world.trace.hash,
            counts,
            dict(sorted(world.points.items())),
            world.trace.lines() if violation else [],
            self.plan,
        )

    def floor(self) -> dict[str, int]:
        """What a run has to reach to count."""
        if self.options.plan is not None:
            return dict.fromkeys(FLOOR, 0)
        return {**FLOOR, "faults": FLOOR["faults"] if self.options.groups else 0}


_LINKS: Sequence[
    tuple[float, float]
] = (  # one-way delay and mean jitter: a room, a city, a continent; and beyond what Δ allows
    (0.0003, 0.0001),
    (0.003, 0.001),
    (0.015, 0.005),
    (0.03, 0.01),
    (0.12, 0.03),
)


def _only_disk_faults(error: BaseException) -> bool:
    if isinstance(error, BaseExceptionGroup):
        return all(map(_only_disk_faults, error.exceptions))
    return isinstance(error, DISK_FAULTS)


def _leaves(error: BaseException) -> str:
    if isinstance(error, BaseExceptionGroup):
        return "; ".join(map(_leaves, error.exceptions))
    text = str(error) if isinstance(error, LocalFault) else repr(error)
    tail = error.__traceback__
    while tail is not None and tail.tb_next is not None:
        tail = tail.tb_next
    where = "" if tail is None else f" ({tail.tb_frame.f_code.co_qualname}:{tail.tb_lineno})"
    return text + where
