"""The table of workers tells their rates, forgets who is gone, and stays small."""

import pytest

from chaind.miner import roster as roster_module
from chaind.miner.roster import EXPIRY_S, RATE_S, Roster


@pytest.mark.parametrize("seconds", [60, 600, 6_000])
def test_a_steady_rate_is_told_from_the_first_minute_on(seconds: int) -> None:
    table = Roster()
    table.came("a", 0.0)
    for second in range(1, seconds + 1):
        table.accepted("a", 1e6, float(second))
    [worker] = table.all(float(seconds))
    assert worker.hashes_per_second == pytest.approx(1e6, rel=0.02)
    assert worker.work == pytest.approx(1e6 * seconds)


def test_a_miner_that_stopped_fades_and_goes() -> None:
    table = Roster()
    table.came("a", 0.0)
    for second in range(1, 3_000):
        table.accepted("a", 1e6, float(second))
    table.mined("a")
    table.mined("nobody")
    now_s = 2_999 + RATE_S
    assert table.all(now_s)[0].hashes_per_second == pytest.approx(0.5e6, rel=0.02)
    assert len(table.all(2_999 + 2 * EXPIRY_S)) == 1, "it is still connected"
    table.left("a", now_s)
    assert table.all(2_999 + EXPIRY_S - 1)[0].blocks == 1
    assert table.all(2_999 + EXPIRY_S) == []


def test_a_miner_that_left_keeps_its_last_rate_and_counts_no_more() -> None:
    table = Roster()
    table.came("a", 0.0)
    table.came("a", 0.0)
    for second in range(1, 601):
        table.accepted("a", 1e6, float(second))
    table.left("a", 600.0)
    assert len(table.connected(600.0)) == 1, "it has another connection"
    table.left("a", 600.0)
    assert table.connected(600.0) == []
    [away] = table.all(900.0)
    assert (away.connections, away.hashes_per_second) == (0, pytest.approx(1e6, rel=0.02))
    table.came("a", 900.0)
    [back] = table.connected(900.0)
    assert 0.4e6 < back.hashes_per_second < 0.6e6, "while away it did nothing"


def test_names_are_bounded_and_the_connected_ones_stay(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(roster_module, "WORKERS_MAX", 3)
    table = Roster()
    table.came("kept", 0.0)
    for number in range(10):
        table.came(f"gone{number}", 1.0 + number)
        table.left(f"gone{number}", 1.0 + number)
    names = [one.name for one in table.all(20.0)]
    assert names == ["gone9", "gone8", "kept"]


def test_a_table_full_of_connected_names_takes_no_more(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(roster_module, "WORKERS_MAX", 2)
    table = Roster()
    assert table.came("a", 0.0)
    assert table.came("b", 0.0)
    assert not table.came("c", 0.0)
    table.accepted("c", 1.0, 1.0)
    table.refused("c", stale=False)
    table.left("c", 1.0)
    assert [one.name for one in table.all(1.0)] == ["b", "a"]
    assert table.came("a", 1.0), "another connection of a listed name needs no place"
    table.left("b", 2.0)
    assert table.came("c", 2.0)
    assert [one.name for one in table.all(2.0)] == ["c", "a"]


def test_a_silent_miner_keeps_no_other_name_beyond_its_hour() -> None:
    table = Roster()
    for name in ("silent", "gone", "back"):
        table.came(name, 0.0)
        table.accepted(name, 1.0, 1.0)
    table.left("gone", 1.0)
    table.left("back", 1.0)
    table.came("back", 1.0 + EXPIRY_S)
    told = {one.name: one.accepted for one in table.all(1.0 + EXPIRY_S)}
    assert told == {"back": 0, "silent": 1}, "who comes after its hour is new"
