"""What a book's feed carries, as whoever publishes it and whoever follows it must understand it.

A level is a price, the whole quantity open there, and how many orders that is. A snapshot has all
levels; a delta those that changed, with what they are now; a quantity of zero takes a level away.
`seq` is the height of the newest block that a frame knows, `prev_seq` that of the frame before. A
follower at `seq` s takes a delta with prev_seq ≤ s < seq; after any other it takes a new snapshot.

The checksum of a frame is CRC-32 (zlib, ISO 3309) of the best `CHECKSUM_LEVELS` levels of each
side as the frames write them: `price:quantity` of each bid, best first, then of each ask, best
first, all joined by `:`; an empty book has 0.
"""

from collections.abc import Iterable
from decimal import Decimal
from typing import NamedTuple
from zlib import crc32

from sortedcontainers import SortedDict

CHECKSUM_LEVELS = 25


class FeedLevel(NamedTuple):
    """A price as it is written, with what is open there."""

    price: str
    quantity: str
    orders: int


class FeedFrame(NamedTuple):
    """A snapshot where `prev_seq` is None, a delta otherwise."""

    seq: int
    prev_seq: int | None
    bids: tuple[FeedLevel, ...]
    asks: tuple[FeedLevel, ...]
    checksum: int


def book_checksum(bids: Iterable[tuple[str, str]], asks: Iterable[tuple[str, str]]) -> int:
    """See the module's law; (price, quantity) of the best levels, best first."""
    return crc32(":".join([part for level in (*bids, *asks) for part in level]).encode("ascii"))


class BookFollower:
    """A book made of frames alone."""

    def __init__(self) -> None:
        self.seq: int | None = None  # None before the first snapshot
        self.mismatches = 0  # frames whose checksum was not that of the book they led to
        self._bids: SortedDict[Decimal, FeedLevel] = SortedDict(lambda price: -price)
        self._asks: SortedDict[Decimal, FeedLevel] = SortedDict()

    def take(self, frame: FeedFrame) -> bool:
        """Apply a frame; False where the follower needs a new snapshot, having lost its place."""
        if frame.prev_seq is None:
            self._bids.clear()
            self._asks.clear()
        elif self.seq is None or frame.prev_seq > self.seq:
            self.seq = None
            return False
        elif frame.seq <= self.seq:
            return True  # the snapshot knew it
        for side, levels in ((self._bids, frame.bids), (self._asks, frame.asks)):
            for level in levels:
                price = Decimal(level.price)
                if Decimal(level.quantity):
                    side[price] = level
                else:
                    side.pop(price, None)
        self.seq = frame.seq
        if self.checksum() != frame.checksum:
            self.mismatches += 1
            self.seq = None
            return False
        return True

    @property
    def bids(self) -> list[FeedLevel]:
        """All bids, best first."""
        return list(self._bids.values())

    @property
    def asks(self) -> list[FeedLevel]:
        """All asks, best first."""
        return list(self._asks.values())

    def checksum(self) -> int:
        """Of the book as it stands."""
        best = [
            [(level.price, level.quantity) for level in side.values()[:CHECKSUM_LEVELS]]
            for side in (self._bids, self._asks)
        ]
        return book_checksum(best[0], best[1])
