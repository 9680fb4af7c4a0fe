"""Does to the machines and links what a plan says, and undoes it again."""

import asyncio
from collections.abc import Callable, Sequence
from contextlib import suppress

from chaind.simulation.disk import CrashDisk
from chaind.simulation.faults import Fault
from chaind.simulation.machine import Machine
from chaind.simulation.program import Program
from chaind.simulation.wire import LinkState
from chaind.simulation.world import World

STOP_S = 30.0  # an orderly end takes a second, more where the disk is slow or the program paused
WRITE_S = 5.0  # in which a machine writes as much as its power cut waits for, or is spared


class MessageFaults:
    """Chances that befall each message between connections and routers."""

    def __init__(self) -> None:
        self.lost = 0.0
        self.twice = 0.0
        self.late = 0.0  # chance, and seconds at most


class Nemesis:
    """Runs a plan. `applied` counts faults that took hold."""

    def __init__(
        self,
        world: World,
        programs: Sequence[Program],
        down_max: int,
        boot: Callable[[Program], None],
        forget: Callable[[Program], None],
    ) -> None:
        self.messages = MessageFaults()
        self.applied = 0
        self.sick: dict[str, float] = {}  # machine → until when its disk excuses its end
        self._world = world
        self._programs = programs
        self._down_max = down_max
        self._boot = boot
        self._forget = forget  # what a program promised: its disk is lost
        self._cuts: dict[tuple[str, str], int] = {}
        self._normal: dict[tuple[str, str], tuple[float, float, float]] = {}

    async def run(self, faults: Sequence[Fault]) -> None:
        """Until all have come and gone."""
        loop = self._world.loop
        self._normal = {
            pair: (link.delay_s, link.jitter_s, link.bytes_per_s)
            for pair, link in self._world.wires.links.items()
        }
        running = []
        for fault in faults:
            await asyncio.sleep(fault.at_s - loop.time())
            running.append(asyncio.ensure_future(self._do(fault)))
        for task in running:
            await task

    async def _do(self, fault: Fault) -> None:
        world = self._world
        programs = [self._programs[index] for index in fault.targets]
        if fault.kind in _DOWN and len(programs) == 1 and not self._may_go(programs[0]):
            return
        if fault.kind == "disk lost" and programs[0].key is not None:
            return  # a validator must not vote again without its log
        if fault.kind == "disk lost" and len(self._programs) == 1:
            return  # nobody else has the chain
        self.applied += 1
        world.point(f"fault: {fault.kind}")
        world.trace.note("nemesis", f"begins {fault}")
        await _HOW[fault.kind](self, fault, programs)
        world.trace.note("nemesis", f"ends {fault}")

    def _may_go(self, program: Program) -> bool:
        """Whether so many stay up that the others can go on without it."""
        down = sum(one.machine.process is None for one in self._programs)
        return program.machine.process is not None and down < self._down_max

    # Machines.

    async def _power_cut(self, fault: Fault, programs: Sequence[Program]) -> None:
        for program in programs:
            if program.machine.process is not None:
                program.machine.power_cut(torn=True)
        await self._up_again(fault, programs)

    async def _cut_while_writing(self, fault: Fault, programs: Sequence[Program]) -> None:
        [program] = programs
        machine = program.machine
        disk = machine.disk
        disk.operations_left = int(fault.size)
        with suppress(TimeoutError):  # it did not write so much
            async with asyncio.timeout(WRITE_S):
                await machine.down.wait()
        disk.operations_left = None
        await self._up_again(fault, programs)

    async def _kill(self, fault: Fault, programs: Sequence[Program]) -> None:
        for program in programs:
            program.machine.kill()
        await self._up_again(fault, programs)

    async def _restart(self, fault: Fault, programs: Sequence[Program]) -> None:
        [program] = programs
        process = program.machine.process
        if program.node is not None and process is not None:
            process.context.run(program.node.stop)
            try:
                async with asyncio.timeout(STOP_S):
                    await program.machine.down.wait()
            except TimeoutError:
                self._world.fail(f"{program.machine.name} did not stop within {STOP_S:.0f} s")
        await self._up_again(fault, programs)

    async def _up_again(self, fault: Fault, programs: Sequence[Program]) -> None:
        await asyncio.sleep(fault.for_s)
        for program in programs:
            if program.machine.process is None:
                self._boot(program)

    async def _pause(self, fault: Fault, programs: Sequence[Program]) -> None:
        for program in programs:
            if program.machine.process is not None:
                program.machine.process.pause(fault.for_s)
        await asyncio.sleep(fault.for_s)

    async def _slow_processor(self, fault: Fault, programs: Sequence[Program]) -> None:
        process = programs[0].machine.process
        if process is not None:
            process.callback_s += fault.size
            await asyncio.sleep(fault.for_s)
            process.callback_s -= fault.size

    async def _clock(self, fault: Fault, programs: Sequence[Program]) -> None:
        [program] = programs
        offset_ms = fault.size if fault.number % 2 else -fault.size
        program.machine.clock.offset_ms += offset_ms
        await asyncio.sleep(fault.for_s)
        program.machine.clock.offset_ms -= offset_ms

    # Links.

    def _pairs(self, sources: Sequence[str], targets: Sequence[str]) -> list[tuple[str, str]]:
        return [(one, other) for one in sources for other in targets if one != other]

    async def _partition(self, fault: Fault, programs: Sequence[Program]) -> None:
        inside = [program.machine.host for program in programs]
        outside = [one.machine.host for one in self._programs if one.machine.host not in inside]
        await self._cut(fault, self._pairs(inside, outside) + self._pairs(outside, inside))

    async def _one_way(self, fault: Fault, programs: Sequence[Program]) -> None:
        await self._cut(fault, [(programs[0].machine.host, programs[-1].machine.host)])

    async def _deaf(self, fault: Fault, programs: Sequence[Program]) -> None:
        hosts = [program.machine.host for program in self._programs]
        await self._cut(fault, self._pairs(hosts, [programs[0].machine.host]))

    async def _mute(self, fault: Fault, programs: Sequence[Program]) -> None:
        hosts = [program.machine.host for program in self._programs]
        await self._cut(fault, self._pairs([programs[0].machine.host], hosts))

    async def _cut(self, fault: Fault, pairs: Sequence[tuple[str, str]]) -> None:
        """Cuts may lie on top of each other: the last one to end heals."""
        wires = self._world.wires
        pairs = [pair for pair in pairs if pair in wires.links]
        for pair in pairs:
            self._cuts[pair] = self._cuts.get(pair, 0) + 1
            wires.links[pair].cut = True
        await asyncio.sleep(fault.for_s)
        for pair in pairs:
            self._cuts[pair] -= 1
            if not self._cuts[pair]:
                wires.heal(*pair)

    async def _reset(self, fault: Fault, programs: Sequence[Program]) -> None:
        hosts = {program.machine.host for program in programs}
        for stream in list(self._world.wires.streams.values()):
            if stream.host in hosts and stream.peer_host in hosts:
                stream.lose(ConnectionResetError(104, "reset"))
        await asyncio.sleep(fault.for_s)

    async def _links(
        self, fault: Fault, programs: Sequence[Program], worsen: Callable[[LinkState], None]
    ) -> None:
        links = self._world.wires.links
        hosts = {program.machine.host for program in programs}
        pairs = [pair for pair in links if pair[0] in hosts]
        for pair in pairs:
            worsen(links[pair])
        await asyncio.sleep(fault.for_s)
        for pair in pairs:
            link = links[pair]
            link.delay_s, link.jitter_s, link.bytes_per_s = self._normal[pair]
            link.loss = 0.0

    async def _lossy(self, fault: Fault, programs: Sequence[Program]) -> None:
        def worsen(link: LinkState) -> None:
            link.loss = fault.size

        await self._links(fault, programs, worsen)

    async def _slow(self, fault: Fault, programs: Sequence[Program]) -> None:
        def worsen(link: LinkState) -> None:
            link.delay_s *= fault.size
            link.jitter_s *= fault.size

        await self._links(fault, programs, worsen)

    async def _narrow(self, fault: Fault, programs: Sequence[Program]) -> None:
        def worsen(link: LinkState) -> None:
            link.bytes_per_s = fault.size

        await self._links(fault, programs, worsen)

    # Messages.

    async def _lost(self, fault: Fault, _programs: Sequence[Program]) -> None:
        self.messages.lost = fault.size
        await asyncio.sleep(fault.for_s)
        self.messages.lost = 0.0

    async def _twice(self, fault: Fault, _programs: Sequence[Program]) -> None:
        self.messages.twice = fault.size
        await asyncio.sleep(fault.for_s)
        self.messages.twice = 0.0

    async def _late(self, fault: Fault, _programs: Sequence[Program]) -> None:
        self.messages.late = fault.size
        await asyncio.sleep(fault.for_s)
        self.messages.late = 0.0

    # Disks.

    async def _failing(self, fault: Fault, programs: Sequence[Program]) -> None:
        [program] = programs
        operation = fault.kind.split()[0]
        await self._sick(
            fault, program.machine, lambda sick: _fail(program.machine, operation, sick)
        )

    async def _full(self, fault: Fault, programs: Sequence[Program]) -> None:
        [program] = programs

        def fill(sick: bool) -> None:
            program.machine.disk.full = sick

        await self._sick(fault, program.machine, fill)

    async def _sick(self, fault: Fault, machine: Machine, make: Callable[[bool], None]) -> None:
        now = self._world.loop.time()
        self.sick[machine.name] = max(self.sick.get(machine.name, 0.0), now + fault.for_s + 5.0)
        make(True)
        await asyncio.sleep(fault.for_s)
        make(False)

    async def _disk_lost(self, fault: Fault, programs: Sequence[Program]) -> None:
        [program] = programs
        program.machine.power_cut(torn=True)
        program.machine.disk = CrashDisk()
        self._forget(program)
        await self._up_again(fault, programs)

    async def _slow_disk(self, fault: Fault, programs: Sequence[Program]) -> None:
        [program] = programs
        program.machine.disk_s *= fault.size
        await asyncio.sleep(fault.for_s)
        program.machine.disk_s /= fault.size


def _fail(machine: Machine, operation: str, sick: bool) -> None:
    machine.disk.failing = operation if sick else ""


_DOWN = frozenset(
    (
        "power cut",
        "cut while writing",
        "kill",
        "restart",
        "read error",
        "write error",
        "sync error",
        "disk full",
        "disk lost",
    )
)
_HOW = {
    "power cut": Nemesis._power_cut,
    "cut while writing": Nemesis._cut_while_writing,
    "kill": Nemesis._kill,
    "restart": Nemesis._restart,
    "blackout": Nemesis._power_cut,
    "pause": Nemesis._pause,
    "slow processor": Nemesis._slow_processor,
    "partition": Nemesis._partition,
    "one way": Nemesis._one_way,
    "deaf": Nemesis._deaf,
    "mute": Nemesis._mute,
    "reset": Nemesis._reset,
    "lossy links": Nemesis._lossy,
    "slow links": Nemesis._slow,
    "narrow links": Nemesis._narrow,
    "messages lost": Nemesis._lost,
    "messages twice": Nemesis._twice,
    "messages late": Nemesis._late,
    "clock": Nemesis._clock,
    "read error": Nemesis._failing,
    "write error": Nemesis._failing,
    "sync error": Nemesis._failing,
    "disk full": Nemesis._full,
    "disk lost": Nemesis._disk_lost,
    "slow disk": Nemesis._slow_disk,
}
