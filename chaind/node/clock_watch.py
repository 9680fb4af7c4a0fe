"""Whether this machine's clock is right, as far as the chain can tell.

Law: a final block's time stands for the clocks of a quorum, each within `max_drift_ms`. A clock is
called wrong when that is shown for `PATIENCE_MS` without a break, and right again at the first
block that fits it. Slow shows in a final block that is ahead of the clock, whenever one looks. Fast
shows only in blocks that have just become final: an old tip may as well mean that none is made.
"""

import structlog

from chaind.node.clock import Clock

PATIENCE_MS = 10_000.0  # one proposer's clock may be as wrong as this one, but not all in turn
BLOCKS_MIN = 3  # of that time, where blocks are rare

_UNITS = ((86_400_000, "days"), (3_600_000, "h"), (60_000, "min"))

log = structlog.get_logger("chaind.node")


class ClockWatch:
    """`offset_ms` is how far the clock is ahead of the chain's time, negative where it is behind;
    0 while it is not called wrong."""

    def __init__(self, clock: Clock, max_drift_ms: int) -> None:
        self.offset_ms = 0
        self._clock = clock
        self._max_drift_ms = max_drift_ms
        self._slow_since_ms: float | None = None
        self._fast_since_ms: float | None = None
        self._fast_blocks = 0

    def look(self, final_ms: int) -> None:
        """The last final block has this time: is the clock slow?"""
        ahead_ms, monotonic_ms = self._clock.now_ms() - final_ms, self._clock.monotonic_ms()
        if ahead_ms >= -self._max_drift_ms:
            self._slow_since_ms = None
            if self.offset_ms < 0:
                self._call(0)
            return
        if self._slow_since_ms is None:
            self._slow_since_ms = monotonic_ms
        if monotonic_ms - self._slow_since_ms >= PATIENCE_MS:
            self._call(ahead_ms)

    def became_final(self, final_ms: int, *, catching_up: bool) -> None:
        """A block of this time has become final here now: is the clock fast? While the node catches
        up, blocks are old by right."""
        if catching_up:
            self._fast_since_ms = None
            return
        ahead_ms, monotonic_ms = self._clock.now_ms() - final_ms, self._clock.monotonic_ms()
        if ahead_ms <= self._max_drift_ms:
            self._fast_since_ms = None
            if self.offset_ms > 0:
                self._call(0)
            return
        if self._fast_since_ms is None:
            self._fast_since_ms, self._fast_blocks = monotonic_ms, 0
        self._fast_blocks += 1
        lasted_ms = monotonic_ms - self._fast_since_ms
        if lasted_ms >= PATIENCE_MS and self._fast_blocks >= BLOCKS_MIN:
            self._call(ahead_ms)

    def _call(self, offset_ms: int) -> None:
        """Wrong by so much, or right; news is logged once."""
        is_news = bool(offset_ms) != bool(self.offset_ms)
        self.offset_ms = offset_ms
        reason = self.reason()
        if is_news and reason is not None:
            log.error("clock_wrong", advice=reason)
        elif is_news:
            log.info("clock_right")

    def reason(self) -> str | None:
        """What is wrong and what to do; None where nothing is."""
        if not self.offset_ms:
            return None
        offset, allowed = in_words(abs(self.offset_ms)), in_words(self._max_drift_ms)
        if self.offset_ms < 0:
            return (
                f"this machine's clock is {offset} behind the chain's time, and {allowed} are "
                f"allowed: set it right, best by NTP"
            )
        return (
            f"blocks are {offset} old by this machine's clock when they become final: unless the "
            f"network is so slow, the clock is ahead, and {allowed} are allowed: set it right, "
            f"best by NTP"
        )


def in_words(time_ms: int) -> str:
    """A time in the largest unit of which there are at least two."""
    for unit_ms, name in _UNITS:
        if time_ms >= 2 * unit_ms:
            return f"{time_ms / unit_ms:.1f} {name}"
    return f"{time_ms / 1000:.1f} s"
