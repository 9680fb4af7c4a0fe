"""A machine whose clock is wrong: it says so, and what to do, and pays all the same."""

from pathlib import Path

import pytest
from harness import FUNDED, Cluster, order
from parts import ManualClock
from structlog.testing import capture_logs

from chaind.node import clock_watch
from chaind.node.clock_watch import BLOCKS_MIN, PATIENCE_MS, ClockWatch, in_words

DRIFT_MS = 5_000
HOUR_MS = 3_600_000


class Watch:
    """A watch whose two clocks a test moves: `passes` moves both, `wall_ms` is an error of one."""

    def __init__(self) -> None:
        self.time = ManualClock()
        self.wall_ms = 0
        self.watch = ClockWatch(self, DRIFT_MS)

    def now_ms(self) -> int:
        return self.time.now_ms() + self.wall_ms

    def monotonic_ms(self) -> float:
        return self.time.monotonic_ms()

    def passes(self, time_ms: float) -> None:
        self.time.ms += int(time_ms)

    def block(self, age_ms: int = 0, *, catching_up: bool = False) -> int:
        """One that was made so long ago has become final now; what is said then."""
        time_ms = self.time.now_ms() - age_ms
        self.watch.became_final(time_ms, catching_up=catching_up)
        self.watch.look(time_ms)
        return self.watch.offset_ms

    def blocks(self, **how: object) -> int:
        """Enough of them in enough time to be sure."""
        for _ in range(BLOCKS_MIN):
            self.block(**how)  # type: ignore[arg-type]
            self.passes(PATIENCE_MS)
        return self.block(**how)  # type: ignore[arg-type]


@pytest.mark.parametrize("wrong_ms", [-3 * HOUR_MS, -6_000, 6_000, 50 * HOUR_MS])
def test_a_clock_that_no_block_fits_is_wrong_until_one_does(wrong_ms: int) -> None:
    watch = Watch()
    assert watch.blocks() == 0
    watch.wall_ms = wrong_ms
    assert watch.block() == 0, "one block may be its proposer's fault"
    with capture_logs() as logs:
        assert watch.blocks() == wrong_ms
        assert watch.blocks() == wrong_ms
    assert [(line["event"], line["advice"]) for line in logs] == [
        ("clock_wrong", watch.watch.reason())
    ]
    watch.wall_ms = 0
    assert watch.block() == 0
    assert watch.watch.reason() is None


@pytest.mark.parametrize("wrong_ms", [-DRIFT_MS, DRIFT_MS])
def test_what_the_chain_allows_is_not_wrong(wrong_ms: int) -> None:
    watch = Watch()
    watch.wall_ms = wrong_ms
    assert watch.blocks() == 0


def test_blocks_that_fit_now_and_then_call_no_clock_wrong() -> None:
    for wrong_ms in (-8_000, 8_000):
        watch = Watch()
        for number in range(20):
            watch.wall_ms = wrong_ms if number % 2 else 0
            watch.passes(PATIENCE_MS * 0.9)
            assert watch.block() == 0


def test_old_blocks_are_right_while_a_node_catches_up() -> None:
    watch = Watch()
    assert watch.blocks(age_ms=HOUR_MS, catching_up=True) == 0
    assert watch.block(age_ms=HOUR_MS) == 0, "the last of them"
    assert watch.blocks() == 0


def test_an_old_tip_alone_calls_no_clock_fast() -> None:
    watch = Watch()
    watch.block()
    for _ in range(10):  # no quorum: nothing becomes final
        watch.passes(HOUR_MS)
        watch.watch.look(watch.time.now_ms() - 9 * HOUR_MS)
        assert watch.watch.offset_ms == 0


def test_a_stored_tip_ahead_of_the_clock_needs_no_new_block() -> None:
    """A single validator whose clock was set back makes none until it has caught up."""
    watch = Watch()
    tip_ms = watch.now_ms() + 3 * HOUR_MS
    watch.watch.look(tip_ms)
    watch.passes(PATIENCE_MS)
    watch.watch.look(tip_ms)
    assert watch.watch.reason() == (
        "this machine's clock is 3.0 h behind the chain's time, and 5.0 s are allowed: set it "
        "right, best by NTP"
    )


def test_times_in_words() -> None:
    given = (5_000, 119_999, 120_000, 90 * 60_000, 2 * HOUR_MS, 47 * HOUR_MS, 50 * HOUR_MS)
    shown = ["5.0 s", "120.0 s", "2.0 min", "90.0 min", "2.0 h", "47.0 h", "2.1 days"]
    assert [in_words(time_ms) for time_ms in given] == shown


@pytest.mark.parametrize(
    ("wrong_ms", "told"),
    [
        (-3 * HOUR_MS, "this machine's clock is 3.0 h behind the chain's time"),
        (3 * HOUR_MS, "blocks are 3.0 h old by this machine's clock when they become final"),
    ],
)
async def test_a_node_with_a_wrong_clock_pays_and_is_not_ready(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, wrong_ms: int, told: str
) -> None:
    monkeypatch.setattr(clock_watch, "PATIENCE_MS", 300.0)
    async with Cluster(tmp_path, validators=4) as cluster:
        await cluster.connected()
        await cluster[1].payments.transfer(order("alice", "bob", 1, key="before"))
        cluster.seats[0].clock.set_ms = wrong_ms
        for number in range(BLOCKS_MIN + 1):
            paid = await cluster[0].payments.transfer(order("alice", "bob", 1, key=f"k{number}"))
            assert paid.info.status == "final"
        node = cluster[0]
        await cluster.until(lambda: told in " ".join(node.vitals.health().reasons))
        assert not node.vitals.health().ready
        assert abs(node.clock_watch.offset_ms - wrong_ms) < 60_000
        assert node.vitals.uptime_ms() < 60_000
        cluster.seats[0].clock.set_ms = 0
        await cluster[1].payments.transfer(order("alice", "bob", 1, key="after"))
        await cluster.until(lambda: node.vitals.health().ready)
        expected = FUNDED + BLOCKS_MIN + 3
        await cluster.until(lambda: set(cluster.balances("bob")) == {expected})
