"""Time and workers, as the node takes them: given, never reached for.

A simulator hands over virtual ones; everything above asks only these.
"""

import time
from collections.abc import Callable, Sequence
from typing import Protocol, TypeVar

T = TypeVar("T")


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

    async def verify(self, checks: Sequence[bytes]) -> bytes:
        """A byte for each packed signature check, in order: 1 where it verifies."""
        ...
