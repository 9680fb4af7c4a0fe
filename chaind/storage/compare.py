"""Two stores side by side: where their rows differ.

Law: each store is scanned once, in order, so that memory is bounded whatever they hold.
"""

from collections.abc import Iterator
from typing import NamedTuple

from chaind.storage.kv import Reader, Row


class Difference(NamedTuple):
    """A key, and its value in either store; None where it has no such row."""

    key: bytes
    ours: bytes | None
    theirs: bytes | None


class Comparison:
    """Counts the keys that it has looked at, by their first byte, while it yields differences."""

    def __init__(self, ours: Reader, theirs: Reader) -> None:
        self._ours = ours
        self._theirs = theirs
        self.rows: dict[bytes, int] = {}

    def differences(self, start: bytes, stop: bytes | None) -> Iterator[Difference]:
        """Keys of [start, stop) whose rows are not the same, in order."""
        left, right = self._ours.scan(start, stop), self._theirs.scan(start, stop)
        ours, theirs = next(left, None), next(right, None)
        while ours is not None or theirs is not None:
            key = min(row[0] for row in (ours, theirs) if row is not None)
            mine, yours = _value_at(ours, key), _value_at(theirs, key)
            self.rows[key[:1]] = self.rows.get(key[:1], 0) + 1
            if mine != yours:
                yield Difference(key, mine, yours)
            if mine is not None:
                ours = next(left, None)
            if yours is not None:
                theirs = next(right, None)


def _value_at(row: Row | None, key: bytes) -> bytes | None:
    return row[1] if row is not None and row[0] == key else None
