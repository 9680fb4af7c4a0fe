"""The throttle lets bursts pass and holds the rate."""

import pytest

from chaind.network.throttle import BURST_S, Throttle


def test_burst_passes_then_the_rate_holds() -> None:
    throttle = Throttle(0, messages_per_s=1_000, bytes_per_s=10_000)
    assert throttle.charge(messages=1_000 * BURST_S, size=0, now_ms=0) == 0
    assert throttle.charge(messages=100, size=0, now_ms=0) == pytest.approx(100)
    assert throttle.charge(messages=0, size=0, now_ms=100) == 0


def test_bytes_count_by_themselves() -> None:
    throttle = Throttle(0, messages_per_s=1_000, bytes_per_s=10_000)
    assert throttle.charge(messages=1, size=10_000 * BURST_S + 500, now_ms=0) == pytest.approx(50)


def test_sustained_rate_is_the_limit() -> None:
    """Whatever is offered, no more than rate and burst passes in ten seconds."""
    throttle = Throttle(0, messages_per_s=1_000, bytes_per_s=1_000_000)
    now_ms, passed = 0.0, 0
    while now_ms < 10_000:
        passed += 50
        now_ms += max(1.0, throttle.charge(messages=50, size=1, now_ms=now_ms))
    assert 11_900 <= passed <= 12_100


def test_idle_time_saves_no_more_than_the_burst() -> None:
    throttle = Throttle(0, messages_per_s=1_000, bytes_per_s=1_000_000)
    assert throttle.charge(messages=0, size=0, now_ms=1_000_000) == 0
    assert throttle.charge(messages=1_000 * BURST_S + 1, size=0, now_ms=1_000_000) > 0
