"""One seed: a network, clients, faults, then peace; what came of it.

First the safety phase: faults come and go, nothing may ever be wrong. Then the liveness phase: all
faults have ended, all machines are up, and within a bound everybody agrees and serves again.
"""

import asyncio
from collections.abc import Sequence
from contextlib import suppress
from functools import lru_cache
from random import Random
from typing import Any

from chaind.node.node import Node
from chaind.node.signatures import Verify
from chaind.primitives import keys
from chaind.primitives.errors import LocalFault
from chaind.primitives.hashes import display_hash
from chaind.primitives.keys import SecretKey
from chaind.simulation.bft_mode import BftMode
from chaind.simulation.client import Promises
from chaind.simulation.faults import Fault
from chaind.simulation.loop import current_process
from chaind.simulation.machine import VERIFY_S
from chaind.simulation.modes import Mode
from chaind.simulation.nemesis import Nemesis
from chaind.simulation.options import Options, Outcome
from chaind.simulation.pow_mode import LONG_PARTITION, PowMode
from chaind.simulation.program import Program, Setup, Tap
from chaind.simulation.split_mode import SplitMode
from chaind.simulation.trading import Trader, with_market
from chaind.simulation.wire import LinkState
from chaind.simulation.workload import Client
from chaind.simulation.world import Violation, World
from chaind.storage.errors import DiskDenied, DiskFailed, DiskFull
from chaind.wallet.derivation import DEVELOPMENT_MNEMONIC, seed_from_mnemonic

ADVERSARY_SHARE = 0.5  # of seeds that have one
FULL_NODE_SHARE = 0.3  # of seeds that have one, which follows and makes no blocks
QUIET_HEIGHTS = 3  # final everywhere after peace has come
MODES: dict[str, type[BftMode] | type[PowMode]] = {"bft": BftMode, "pow": PowMode}
SHORT = "falls short"
DISK_FAULTS = (DiskFailed, DiskFull, DiskDenied)


@lru_cache(maxsize=1)
def _custody_seed() -> bytes:
    return seed_from_mnemonic(DEVELOPMENT_MNEMONIC)


class Simulation:
    """See the module. Construct and `run`."""

    def __init__(self, options: Options) -> None:
        self.options = options
        self.world = world = World(options.seed)
        rng = world.dice()
        self.mode: Mode = MODES[options.mode](options, world)
        self.genesis = self.mode.genesis(world.dice())
        if options.traders:
            self.genesis = with_market(self.genesis, options.traders)
        self.genesis.check()
        setup = Setup(
            segment_bytes=rng.choice((8 << 10, 32 << 10, 1 << 20)),
            pool_transactions=rng.choice(self.mode.pools),
        )
        self.adversary = self._choose_adversary(world.dice())
        if self.adversary == LONG_PARTITION and isinstance(self.mode, PowMode):
            self.mode = SplitMode.of(self.mode)
        mode = self.mode
        self.seconds = mode.lengths.seconds if options.seconds is None else options.seconds
        self.checks = mode.checks(self.genesis)
        floor = self.floor()
        can_reach = self.seconds >= floor["virtual seconds"]
        self.promises = Promises(world, self.checks, floor["client operations"] if can_reach else 0)
        self.programs: list[Program] = []
        self.honest: list[Program] = []
        self.liars = rng.sample(range(options.nodes), self._liar_count())
        down_max = max(1, (options.nodes - 1) // 3)
        self.nemesis = Nemesis(world, self.programs, down_max, self.boot, self._forget)
        world.excuses = lambda process, error: self._excused(process.name.split(".")[0], error)
        seats = mode.seats()
        if options.plan is None and rng.random() < FULL_NODE_SHARE:
            seats.append(None)
            world.point("full node")
        self.targets = len(seats)
        seats += mode.twin_seats(self.adversary, self.liars)
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
        given: Sequence[Fault] | None = options.plan
        if given is None:
            given = mode.plan(world.dice(), self.targets, self.seconds)
        kept = [fault for fault in given if fault.number not in options.skip]
        self.plan = sorted(kept, key=lambda fault: fault.at_s)

    def _choose_adversary(self, rng: Random) -> str:
        """The kind of Byzantine validator of this run, empty for none."""
        options = self.options
        if (options.nodes - 1) // 3 == 0 or options.adversary == "none":
            return ""
        if options.adversary != "any":
            return options.adversary
        return rng.choice(self.mode.kinds) if rng.random() < ADVERSARY_SHARE else ""

    def _liar_count(self) -> int:
        """Byzantine validators: as many as the network bears, unless told otherwise."""
        options = self.options
        if not self.adversary:
            return 0
        return self.mode.liars() if options.liars is None else options.liars

    def _tap(self, index: int, key: SecretKey | None) -> Tap:
        kind = self.adversary if index in self.liars else ""
        if kind:
            self.world.point(f"adversary: {kind}")
        return self.mode.tap(index, key, kind, self.nemesis.messages, self.checks)

    def _verify(self) -> Verify:
        """Signature checks of votes: each is computed once for all nodes, and charged to each."""
        cached = lru_cache(maxsize=1 << 16)(keys.verify)

        def verify(public_key: bytes, digest: bytes, signature: bytes) -> bool:
            process = current_process()
            if process is not None:
                process.charge(VERIFY_S)
            return cached(public_key, digest, signature)

        return verify

    # Machines.

    def boot(self, program: Program) -> None:
        """Start the program of a machine, and keep it running."""
        machine = program.machine

        def ready(node: Node) -> None:
            self.world.trace.note(machine.name, f"up, height {node.chain.final.height}")
            if program in self.honest:
                self.checks.started(program, node)
            self.mode.started(program, node)

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
        await asyncio.sleep(max(0.0, self.seconds - world.loop.time()))
        world.trace.note("world", "peace")
        peace_s = world.loop.time()
        for program in self.programs:
            if program.machine.process is None:
                self.boot(program)
        await self._converge(peace_s)
        with suppress(TimeoutError):  # then it falls short, and `_outcome` says so
            async with asyncio.timeout(self.mode.lengths.more_s_max):
                await self.promises.enough.wait()
        stop.set()
        for client in clients:
            await client
        await self._converge(world.loop.time())
        self.mode.in_the_end(self.honest)
        self.mode.audit(self.genesis, self.checks, self.promises).all(self.honest)

    def _clients(self) -> list[Client]:
        habits = self.mode.habits
        shared: dict[str, Any] = {
            "world": self.world,
            "genesis": self.genesis,
            "programs": self.honest,
            "promises": self.promises,
            "habits": habits,
        }
        clients = [Client(number=number, **shared) for number in range(habits.clients)]
        traders = self.options.traders if clients else 0  # where nobody pays, nobody trades
        return [*clients, *(Trader(number=number, **shared) for number in range(traders))]

    async def _converge(self, since_s: float) -> None:
        """Every node at one tip, above what was final before, within the bound."""
        world = self.world
        wanted = len(self.checks.blocks) + QUIET_HEIGHTS
        bound_s = self.mode.lengths.heal_s_max
        while True:
            if self.mode.agreed(self.honest, wanted):
                took_s = world.loop.time() - since_s
                self.agreed_s = max(self.agreed_s, took_s)
                world.trace.note("world", f"agreed after {took_s:.2f} s")
                return
            if world.loop.time() - since_s > bound_s:
                stand = [_stand(program.node) for program in self.honest]
                world.fail(f"no agreement {bound_s:.0f} s after peace: {', '.join(stand)}")
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
        floor = self.mode.lengths.floor
        if self.options.plan is not None:
            return dict.fromkeys(floor, 0)
        return {**floor, "faults": floor["faults"] if self.options.groups else 0}


_LINKS: Sequence[
    tuple[float, float]
] = (  # one-way delay and mean jitter: a room, a city, a continent; and beyond what Δ allows
    (0.0003, 0.0001),
    (0.003, 0.001),
    (0.015, 0.005),
    (0.03, 0.01),
    (0.12, 0.03),
)


def _stand(node: Node | None) -> str:
    """Where a node stands, for people."""
    if node is None:
        return "down"
    chain = node.chain
    return (
        f"{chain.final.height} final, head {chain.head.height} {display_hash(chain.head.hash)[:8]}"
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
