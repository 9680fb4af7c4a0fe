"""A segment's file, read from its beginning to its end a stretch at a time.

A file of 64 MiB that is read at once leaves its size behind in the process that read it.
"""

from collections.abc import Callable

from chaind.storage.segment import RECORD_BYTES, Segment, record_size

WINDOW_BYTES = 1 << 20  # more than most records take, and few reads


class Window:
    """The records of `segment`, whose first `end` bytes `read(offset, length)` gives."""

    __slots__ = ("_base", "_data", "_end", "_read", "_segment")

    def __init__(self, segment: Segment, end: int, read: Callable[[int, int], bytes]) -> None:
        self._segment = segment
        self._end = end
        self._read = read
        self._base = 0
        self._data = b""

    def payload(self, offset: int) -> bytes | None:
        """Of the record at `offset`; None unless a whole, valid record lies there."""
        self._hold(offset, RECORD_BYTES)
        at = offset - self._base
        if len(self._data) - at >= RECORD_BYTES:
            self._hold(offset, record_size(self._data[at : at + RECORD_BYTES]))
        return self._segment.decode(self._data, offset, base=self._base)

    def find(self, start: int) -> int | None:
        """Where the first valid record at or behind `start` begins; reads all that is left."""
        self._hold(start, self._end - start)
        return self._segment.find_record(self._data, start, base=self._base)

    def _hold(self, offset: int, length: int) -> None:
        """Have these bytes in memory, as far as there are so many."""
        until = min(offset + length, self._end)
        if self._base <= offset and until <= self._base + len(self._data):
            return
        self._base = offset
        self._data = self._read(offset, min(max(length, WINDOW_BYTES), self._end - offset))
