"""Time rules of mined headers. Times are Unix seconds, rules in ms; a rule of 0 is off."""

from collections.abc import Sequence

from chaind.consensus.pow.errors import TimeTooNew, TimeTooOld, TimeTooSoon, TimeWarped
from chaind.primitives.work import WorkParameters

MEDIAN_SPAN = 11
WARP_MAX_S = 600  # BIP-94's MAX_TIMEWARP


def median_time_past(times: Sequence[int]) -> int:
    """Median of the last (up to) eleven header times; of an even number, the upper one."""
    span = sorted(times[-MEDIAN_SPAN:])
    return span[len(span) // 2]


def check_after(*, height: int, time: int, times: Sequence[int]) -> None:
    """Later than the median of the headers before it, whose `times` end with the parent's.

    Raises `TimeTooOld`.
    """
    median = median_time_past(times)
    if time <= median:
        raise TimeTooOld(height=height, time=time, median=median)


def check_against_parent(
    *, height: int, time: int, parent_time: int, parameters: WorkParameters
) -> None:
    """Not too close to the parent, and no time warp at a window's start.

    Raises `TimeTooSoon` or `TimeWarped`.
    """
    interval_ms = parameters.min_block_interval_ms
    if interval_ms and (time - parent_time) * 1000 < interval_ms:
        raise TimeTooSoon(height=height, time=time, interval_ms=interval_ms)
    opens_window = parameters.retarget == "bitcoin-bip94" and height % parameters.window == 0
    if opens_window and time < parent_time - WARP_MAX_S:
        raise TimeWarped(height=height, time=time, parent_time=parent_time)


def check_not_ahead(*, height: int, time: int, now: int, parameters: WorkParameters) -> None:
    """At most `max_future_ms` ahead of `now`, the asker's clock. Raises `TimeTooNew`."""
    future_ms = parameters.max_future_ms
    if future_ms and (time - now) * 1000 > future_ms:
        raise TimeTooNew(height=height, time=time, future_ms=future_ms, now=now)
