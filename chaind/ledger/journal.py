"""The live state: a write-back cache over a store of final rows, journaled per block.

Each executed block leaves a `Delta`: its net writes and their undo. A proposal on another parent
undoes and redoes; `settle` forgets the oldest delta once its writes are durable below. Execution
owns the state alone; everyone else reads between blocks, `get` for the head and `get_final` for
what is final.

Order books are an index of the rows of markets and orders. They stand at the head too: every call
here moves their journal along, and what a block did to them is written as rows when it is sealed.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Protocol

from chaind.ledger.keys import BOOKS_DIGEST, encode_units
from chaind.market.exchange import Exchange
from chaind.market.journal import Delta as BooksDelta
from chaind.market.rows import MARKET, ORDER
from chaind.primitives.codec import encode
from chaind.primitives.hashes import ZERO_HASH, sha256
from chaind.primitives.orders import Limits

CACHE_ROWS_MAX = 150_000  # about 30 MiB of Python objects for each of two generations

Writes = tuple[tuple[bytes, bytes | None], ...]


class Reader(Protocol):
    """Where final rows come from."""

    def get(self, key: bytes) -> bytes | None:
        """Value of a row, None where there is none."""
        ...


class View(Reader, Protocol):
    """Rows, and the books at the head."""

    @property
    def books(self) -> Exchange:
        """To be read; who applies a block changes them."""
        ...


class Delta:
    """One block's effect: `writes` are its net writes in key order, `undo` the values before.

    `books` is what it did to order books; their rows are among the writes.
    """

    __slots__ = ("books", "undo", "writes")

    def __init__(
        self, writes: Writes, undo: Mapping[bytes, bytes | None], books: BooksDelta
    ) -> None:
        self.writes = writes
        self.undo = undo
        self.books = books


def next_root(root: bytes, writes: Writes) -> bytes:
    """root(h) = sha256(root(h−1) ‖ sha256(net writes of block h in key order))."""
    return sha256(root + sha256(encode(writes)))


class State:
    """Rows at the head of executed blocks. Between `begin` and `seal` a block is being applied."""

    def __init__(
        self,
        base: Reader,
        cache_rows_max: int = CACHE_ROWS_MAX,
        books: Exchange | None = None,
    ) -> None:
        self.books = books or Exchange()  # what the rows of `base` say: see `load_books`
        self._get_base = base.get
        self._cache_rows_max = cache_rows_max
        self._live: dict[bytes, bytes | None] = {}
        self._older: dict[bytes, bytes | None] = {}  # the generation before; read, never written
        self._deltas: list[Delta] = []
        self._undo: dict[bytes, bytes | None] | None = None

    def get(self, key: bytes) -> bytes | None:
        """Value at the head."""
        live = self._live
        if key in live:
            return live[key]
        value = self._older[key] if key in self._older else self._get_base(key)
        live[key] = value
        return value

    def put(self, key: bytes, value: bytes | None) -> None:
        """Write a row of the block being applied; None deletes."""
        undo = self._undo
        assert undo is not None, "no block is being applied"
        live = self._live
        if key not in undo:
            undo[key] = live[key] if key in live else self.get(key)
        live[key] = value

    def add(self, key: bytes, units: int) -> int:
        """Add to a row that holds units, within the block being applied; the sum."""
        undo, live = self._undo, self._live
        assert undo is not None, "no block is being applied"
        value = live[key] if key in live else self.get(key)
        if key not in undo:
            undo[key] = value
        total = (int.from_bytes(value, "big") if value else 0) + units
        live[key] = encode_units(total)
        return total

    def get_final(self, key: bytes) -> bytes | None:
        """Value below every delta: what is final, even while a settled batch is being written."""
        for delta in self._deltas:
            if key in delta.undo:
                return delta.undo[key]
        if self._undo is not None and key in self._undo:
            return self._undo[key]
        return self.get(key)

    def begin(self) -> None:
        """Start applying a block on top of the head."""
        assert self._undo is None, "a block is being applied already"
        self.books.journal.begin()
        self._trim()
        self._undo = {}

    def seal(self) -> Delta:
        """End the block; its delta becomes the newest."""
        undo = self._undo
        assert undo is not None, "no block is being applied"
        books = self.books.journal.seal()
        for key, value in books.writes:
            self.put(key, value)
        if books.writes:
            self.put(BOOKS_DIGEST, books.digest)
        live = self._live
        writes = tuple([(key, live[key]) for key in sorted(undo) if live[key] != undo[key]])
        delta = Delta(writes, {key: undo[key] for key, _ in writes}, books)
        self._undo = None
        self._deltas.append(delta)
        return delta

    def abandon(self) -> None:
        """Take back everything since `begin`."""
        assert self._undo is not None, "no block is being applied"
        self.books.journal.abandon()
        self._live.update(self._undo)
        self._undo = None

    def undo(self) -> Delta:
        """Take the newest block back; the delta can be given to `redo` on the same parent."""
        assert self._undo is None, "a block is being applied"
        delta = self._deltas.pop()
        self.books.journal.undo()
        self._live.update(delta.undo)
        return delta

    def redo(self, delta: Delta) -> None:
        """Apply a delta that was made on exactly this head."""
        assert self._undo is None, "a block is being applied"
        self.books.journal.redo(delta.books)
        self._live.update(delta.writes)
        self._deltas.append(delta)

    def settle(self, delta: Delta) -> None:
        """The oldest delta's writes are durable in the base: forget how to undo them."""
        oldest = self._deltas.pop(0)
        assert oldest is delta, "blocks settle in order"
        self.books.journal.settle(delta.books)

    @property
    def depth(self) -> int:
        """Number of blocks that can be undone."""
        return len(self._deltas)

    def changed_since_final(self) -> Iterator[bytes]:
        """Keys that differ, or may differ, between head and final."""
        for delta in self._deltas:
            yield from delta.undo

    def _trim(self) -> None:
        """Start a new generation when the cache is full; rows above the base always stay."""
        if len(self._live) <= self._cache_rows_max:
            return
        dirty = {key: self._live[key] for key in self.changed_since_final()}
        self._older, self._live = self._live, dirty


class FinalState:
    """What is final of a live state, with the books at its head."""

    def __init__(self, state: State) -> None:
        self.get = state.get_final
        self.books = state.books


def load_books(
    scan: Callable[[bytes], Iterable[tuple[bytes, bytes]]], base: Reader, limits: Limits
) -> Exchange:
    """The books that final rows make; `scan` gives all rows whose keys begin with a prefix."""
    rows = (*scan(MARKET), *scan(ORDER))
    return Exchange.load(rows, base.get(BOOKS_DIGEST) or ZERO_HASH, limits)
