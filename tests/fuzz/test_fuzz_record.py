"""The page of fuzzing results: what it says can be read back, and which row gives way to which."""

from pathlib import Path

import pytest
from fuzz_record import Row, keep, missing, recorded

ORDER = ("transaction", "block", "vote")
OLD, LATER = "aaaaaaaaaaaa", "bbbbbbbbbbbb"


def descends(commit: str, other: str) -> bool:
    return (commit, other) == (LATER, OLD)


def row(decoder: str, *, executions: int = 1_000, findings: int = 0, commit: str = OLD) -> Row:
    return Row(
        decoder=decoder,
        executions=executions,
        seconds=12_345,
        edges=1_500,
        features=7,
        corpus=0,
        findings=findings,
        date="2026-01-02",
        commit=commit,
        machine="x86_64, 2 cores, Python 3.11.0",
    )


def test_rows_are_merged_in_the_order_of_the_decoders(tmp_path: Path) -> None:
    page = tmp_path / "results" / "fuzz.md"
    for name in ("vote", "transaction", "block"):
        assert keep(row(name, executions=10_000_000), page, ORDER, descends)
    found = recorded(page)
    assert tuple(found) == ORDER
    assert found["vote"] == row("vote", executions=10_000_000)
    assert [path.name for path in page.parent.iterdir()] == ["fuzz.md"]


def test_a_decoder_that_is_gone_leaves_the_page(tmp_path: Path) -> None:
    page = tmp_path / "fuzz.md"
    keep(row("block"), page, ORDER, descends)
    keep(row("vote"), page, ("transaction", "vote"), descends)
    assert tuple(recorded(page)) == ("vote",)


@pytest.mark.parametrize(
    ("new", "goes_in"),
    [
        (row("vote", executions=999), False),
        (row("vote", executions=1_000), True),
        (row("vote", executions=5, commit=LATER), True),
        (row("vote", executions=5, commit="cccccccccccc"), False),
        (row("vote", executions=5, findings=1), True),
    ],
    ids=["fewer", "as many", "later commit", "unrelated commit", "a finding"],
)
def test_which_row_gives_way(tmp_path: Path, new: Row, goes_in: bool) -> None:
    page = tmp_path / "fuzz.md"
    keep(row("vote"), page, ORDER, descends)
    assert keep(new, page, ORDER, descends) is goes_in
    assert recorded(page)["vote"] == (new if goes_in else row("vote"))


def test_missing_are_those_without_a_row_of_so_many_executions() -> None:
    rows = {"transaction": row("transaction"), "block": row("block", executions=999)}
    assert missing(ORDER, rows, 1_000) == ["block", "vote"]
    assert missing(ORDER, rows, 999) == ["vote"]
    assert missing(ORDER, {}, 1) == list(ORDER)
