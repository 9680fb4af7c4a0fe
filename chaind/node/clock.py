"""Time and worker threads, as the node takes them: given, never reached for.

A simulator hands over virtual ones; everything above asks only these.
"""

import asyncio
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Protocol, TypeVar

T = TypeVar("T")
DISK_THREADS = 3  # votes and bodies, the intake journal, the database


class Clock(Protocol):
    """Wall time for chain time and deadlines, monotonic time for durations. Both in ms."""

    def now_ms(self) -> int:
        """Milliseconds since the Unix epoch."""
        ...

    def monotonic_ms(self) -> float:
        """Milliseconds from an arbitrary start, never going back."""
        ...


class SystemClock:
    """The machine's clocks."""

    def now_ms(self) -> int:
        """See `Clock`."""
        return time.time_ns() // 1_000_000

    def monotonic_ms(self) -> float:
        """See `Clock`."""
        return time.monotonic_ns() / 1_000_000


class Workers(Protocol):
    """Where work goes that would hold up the loop."""

    async def disk(self, work: Callable[[], T]) -> T:
        """Run blocking disk work; calls run side by side, an owner awaits its own."""
        ...

    async def compute(self, work: Callable[[], T]) -> T:
        """Run work that releases the GIL (signature checks); calls run side by side."""
        ...


class ThreadWorkers:
    """Threads: one for each kind of disk work, as many for signatures as there are cores."""

    def __init__(self, compute_threads: int) -> None:
        self._disk = ThreadPoolExecutor(DISK_THREADS, thread_name_prefix="disk")
        self._compute = ThreadPoolExecutor(compute_threads, thread_name_prefix="compute")

    async def disk(self, work: Callable[[], T]) -> T:
        """See `Workers`."""
        return await asyncio.get_running_loop().run_in_executor(self._disk, work)

    async def compute(self, work: Callable[[], T]) -> T:
        """See `Workers`."""
        return await asyncio.get_running_loop().run_in_executor(self._compute, work)

    def close(self) -> None:
        """Wait for what runs and end the threads."""
        self._disk.shutdown()
        self._compute.shutdown()
