"""Comparison: every difference of two stores, in order, and the count of what was looked at."""

from chaind.storage.compare import Comparison, Difference
from chaind.storage.kv import MemoryStore


def store(**rows: str) -> MemoryStore:
    made = MemoryStore()
    made.write([(key.encode(), value.encode()) for key, value in rows.items()], sync=True)
    return made


def test_missing_surplus_and_changed_rows_are_found_in_order() -> None:
    ours = store(a1="x", a3="y", b1="z", b2="same", c9="beyond")
    theirs = store(a1="x", a2="q", a3="Y", b2="same")
    comparison = Comparison(ours, theirs)
    assert list(comparison.differences(b"a", b"c")) == [
        Difference(b"a2", None, b"q"),
        Difference(b"a3", b"y", b"Y"),
        Difference(b"b1", b"z", None),
    ]
    assert comparison.rows == {b"a": 3, b"b": 2}


def test_an_empty_store_differs_in_every_row() -> None:
    comparison = Comparison(store(), store(a="1", b="2"))
    assert [found.key for found in comparison.differences(b"", None)] == [b"a", b"b"]
    same = Comparison(store(a="1"), store(a="1"))
    assert list(same.differences(b"", None)) == []
