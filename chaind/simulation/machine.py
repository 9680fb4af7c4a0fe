"""One machine: a disk, a clock, a processor, and the program that runs on it now.

Law: a program that is killed or loses power has no more effect from that instant on. What it still
does while it unwinds happens on a disk that nobody reads again and on streams that lead nowhere.
"""

import asyncio
from collections.abc import Callable, Sequence
from pathlib import Path
from random import Random
from typing import TypeVar

from chaind.primitives.keys import verify_packed
from chaind.simulation.disk import CrashDisk
from chaind.simulation.loop import Process, VirtualLoop
from chaind.simulation.wire import Wires

T = TypeVar("T")
EPOCH_MS = 1_700_000_000_000  # what a right clock shows when the simulation begins
VERIFY_S = 40e-6  # processor time of one signature check


class MachineClock:
    """`Clock` with an error: an offset. Durations are right."""

    def __init__(self, loop: VirtualLoop) -> None:
        self._loop = loop
        self.offset_ms = 0.0

    def now_ms(self) -> int:
        """See `Clock`."""
        return EPOCH_MS + int(self._loop.time() * 1000 + self.offset_ms)

    def monotonic_ms(self) -> float:
        """See `Clock`."""
        return self._loop.time() * 1000


class MachineWorkers:
    """`Workers` on virtual time: the disk takes a while, signatures take the processor."""

    def __init__(self, machine: "Machine", rng: Random) -> None:
        self._machine = machine
        self._rng = rng

    async def disk(self, work: Callable[[], T]) -> T:
        """The work itself is done at some instant between question and answer."""
        await asyncio.sleep(self._delay())
        self._machine.on_thread = True
        try:
            result = work()
        finally:
            self._machine.on_thread = False
        await asyncio.sleep(self._delay())
        return result

    def _delay(self) -> float:
        """Half of what the disk takes."""
        return self._rng.expovariate(2 / self._machine.disk_s)

    async def verify(self, checks: Sequence[bytes]) -> bytes:
        """A core of its own checks signatures, one after the other."""
        await asyncio.sleep(len(checks) * VERIFY_S)
        return verify_packed(b"".join(checks))


class Machine:
    """See the module's law. `index` numbers machines, `host` is where they are reached."""

    def __init__(self, index: int, loop: VirtualLoop, wires: Wires, rng: Random) -> None:
        self.index = index
        self.name = f"n{index}"
        self.host = f"10.0.{index >> 8}.{index & 255}"
        self.loop = loop
        self.wires = wires
        self.rng = rng
        self.clock = MachineClock(loop)
        self.disk = CrashDisk()
        self.disk_s = 0.001  # mean of a sync
        self.on_thread = False  # whether disk work is being done beside the loop
        self.process: Process | None = None
        self.runs = 0  # programs started so far
        self.down = asyncio.Event()  # no program runs
        self.down.set()
        self.on_end: Callable[[str], None] = _nothing  # a program has ended, and how

    def start(self) -> Process:
        """A new program."""
        assert self.process is None, "one at a time"
        self.runs += 1
        self.down.clear()
        process = self.process = Process(self.loop, f"{self.name}.{self.runs}")
        self.wires.hosts[process.name] = self.host
        self.wires.reset(self.host)
        self.disk.heard = self._heard
        self.disk.on_power_loss = lambda: self.power_cut(torn=True)
        return process

    def _heard(self, operation: str, _path: Path) -> None:
        """Who syncs on its loop waits for the disk and does nothing else."""
        if operation == "sync" and not self.on_thread and self.process is not None:
            self.process.charge(self.rng.expovariate(1 / self.disk_s))

    def power_cut(self, *, torn: bool) -> None:
        """The machine is off; what no sync reached is lost, in part where `torn`."""
        self._end("power cut", told=False)
        if torn:
            self.disk.crash(self.rng)
        else:
            self.disk.kill()

    def kill(self) -> None:
        """The program ends without a chance to clean up; the kernel keeps its files."""
        self._end("kill", told=True)
        self.disk.kill()

    def ended(self) -> None:
        """The program has ended by itself, with all that it wanted to write."""
        self._end("end", told=True)

    def _end(self, how: str, *, told: bool) -> None:
        process = self.process
        assert process is not None
        self.process = None
        self.down.set()
        old, self.disk = self.disk, self.disk.copied()
        old.heard, old.on_power_loss, old.operations_left = CrashDisk().heard, None, None
        process.end()
        self.wires.drop(process, told=told)
        self.on_end(how)


def _nothing(_how: str) -> None:
    pass
