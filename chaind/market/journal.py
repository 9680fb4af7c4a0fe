"""Open orders and books, journaled per block, so that a block leaves no trace when it is undone.

Every change is one of four entries, and each of them can be played back and forth: an order joins
its queue, leaves it, trades, or loses quantity. Queues, sums and indexes follow from these, so
nothing else has to be remembered. The live state's own calls (`begin`, `seal`, `abandon`, `undo`,
`redo`, `settle`) mean the same here.
"""

from collections.abc import Iterable, Sequence
from typing import NamedTuple

from sortedcontainers import SortedDict

from chaind.market.orders import Book, Order, Owner
from chaind.market.rows import (
    MARKET,
    ORDER,
    Writes,
    market_decoder,
    market_key,
    market_value,
    next_digest,
    order_decoder,
    order_key,
    order_of,
    order_value,
)
from chaind.primitives.hashes import ZERO_HASH
from chaind.primitives.orders import NEVER_MS

JOIN, LEAVE, FILL, SHRINK = range(4)

Entry = tuple[int, Order, int, int]  # what, whose, lots, fee in ppm units


class Delta(NamedTuple):
    """One block's effect on all books. `writes` are its net rows in key order."""

    writes: Writes
    entries: tuple[Entry, ...]
    lasts: tuple[tuple[Book, int, int], ...]  # last price before and after
    listed: tuple[Book, ...]
    digest: bytes
    digest_before: bytes


class Journal:
    """See the module's law. Between `begin` and `seal` a block is being applied."""

    def __init__(self, digest: bytes = ZERO_HASH) -> None:
        self.books: SortedDict[str, Book] = SortedDict()
        self.orders: dict[bytes, Order] = {}
        self.owners: dict[bytes, Owner] = {}
        self.expiring: SortedDict[tuple[int, int], Order] = SortedDict()  # (expires_ms, rank)
        self.pressing: set[str] = set()  # markets whose last price triggers orders, between blocks
        self.digest = digest
        self.blocks = 0  # begun so far, undone ones included: no two are the same
        self.is_open = False
        self._entries: list[Entry] = []
        self._lasts: list[tuple[Book, int]] = []
        self._listed: list[Book] = []
        self._deltas: list[Delta] = []

    # --- changes, within a block

    def list_market(self, book: Book) -> None:
        """A market opens."""
        self.books[book.market.symbol] = book
        self._listed.append(book)

    def touch(self, book: Book) -> None:
        """A block reaches this market: its price band is set, its last price remembered."""
        if book.opened != self.blocks:
            book.opened = self.blocks
            book.open_band()
            self._lasts.append((book, book.last_ticks))

    def join(self, order: Order) -> None:
        """An order becomes the newest of its level."""
        if order.book.opened != self.blocks:
            self.touch(order.book)
        level = order.level
        order.prev = level.prev
        order.next = level
        self._entries.append((JOIN, order, 0, 0))
        self._enter(order)

    def leave(self, order: Order) -> None:
        """An order leaves its level."""
        if order.book.opened != self.blocks:
            self.touch(order.book)
        self._entries.append((LEAVE, order, 0, 0))
        self._exit(order)

    def fill(self, order: Order, lots: int, fee_ppm_units: int) -> None:
        """An order trades and stays, if only with nothing left."""
        self._entries.append((FILL, order, lots, fee_ppm_units))
        order.lots -= lots
        order.filled += lots
        order.fee_ppm_units += fee_ppm_units
        order.level.lots -= lots

    def shrink(self, order: Order, lots: int) -> None:
        """An order loses quantity and keeps its place."""
        self._entries.append((SHRINK, order, lots, 0))
        order.lots -= lots
        order.level.lots -= lots

    def due(self) -> list[Book]:
        """Markets whose last price triggers orders, by symbol."""
        near = {book.market.symbol for book, _ in self._lasts} | self.pressing
        books = [self.books[symbol] for symbol in sorted(near)]
        return [book for book in books if next(book.triggered(), None) is not None]

    # --- blocks

    def begin(self) -> None:
        """Start a block on top of the head."""
        assert not self.is_open, "a block is being applied already"
        self.is_open = True
        self.blocks += 1

    def seal(self) -> Delta:
        """End the block; its delta becomes the newest."""
        assert self.is_open, "no block is being applied"
        before = self.digest
        writes = self._net_writes()
        lasts = tuple([(book, last, book.last_ticks) for book, last in self._lasts])
        digest = next_digest(before, writes) if writes else before
        delta = Delta(writes, tuple(self._entries), lasts, tuple(self._listed), digest, before)
        self._close()
        self._deltas.append(delta)
        self.digest = delta.digest
        self._press(delta)
        return delta

    def abandon(self) -> None:
        """Take back everything since `begin`."""
        assert self.is_open, "no block is being applied"
        self._take_back(self._entries, self._lasts, self._listed)
        self._close()

    def undo(self) -> Delta:
        """Take the newest block back; the delta can be given to `redo` on the same parent."""
        assert not self.is_open, "a block is being applied"
        delta = self._deltas.pop()
        lasts = [(book, before) for book, before, _ in delta.lasts]
        self._take_back(delta.entries, lasts, delta.listed)
        self.digest = delta.digest_before
        self._press(delta)
        return delta

    def redo(self, delta: Delta) -> None:
        """Apply a delta that was made on exactly this head."""
        assert not self.is_open, "a block is being applied"
        assert self.digest == delta.digest_before, "made on another head"
        for book in delta.listed:
            self.books[book.market.symbol] = book
        for entry in delta.entries:
            self._play(entry, 1)
        for book, _, after in delta.lasts:
            book.last_ticks = after
        self._deltas.append(delta)
        self.digest = delta.digest
        self._press(delta)

    def settle(self, delta: Delta) -> None:
        """The oldest delta is final: forget how to undo it."""
        oldest = self._deltas.pop(0)
        assert oldest is delta, "blocks settle in order"

    @property
    def depth(self) -> int:
        """Number of blocks that can be undone."""
        return len(self._deltas)

    def restore(self, rows: Iterable[tuple[bytes, bytes]]) -> None:
        """Take in the rows of a state, in any order."""
        assert not self.books, "there are books already"
        found = []
        for key, value in rows:
            if key.startswith(MARKET):
                market = market_decoder.decode(value)
                self.books[market.market.symbol] = Book(market.market, market.last_ticks)
            elif key.startswith(ORDER):
                found.append((key[len(ORDER) :], order_decoder.decode(value)))
        found.sort(key=lambda one: one[1].rank)
        for order_id, row in found:
            order = order_of(order_id, row, self.books[row.terms.symbol], self.owner(row.account))
            order.prev, order.next = order.level.prev, order.level
            self._enter(order)
        self.pressing = {
            symbol
            for symbol, book in self.books.items()
            if next(book.triggered(), None) is not None
        }

    def owner(self, account: bytes) -> Owner:
        """The account, which is forgotten again where nothing of it comes to stand open."""
        return self.owners.get(account) or Owner(account)

    # --- inside

    def _enter(self, order: Order) -> None:
        """Into every index, between the neighbours that it names."""
        owner, order_id, name = order.owner, order.id, order.terms.client_id
        self.orders[order_id] = order
        if not owner.orders:
            self.owners[owner.account] = owner
        owner.orders[order_id] = order
        if name:
            owner.by_client_id[name] = order
        if order.expires_ms != NEVER_MS:
            self.expiring[(order.expires_ms, order.rank)] = order
        order.prev.next = order.next.prev = order
        level = order.level
        level.lots += order.lots
        level.count += 1
        if level.count == 1:
            level.queue.join(level)

    def _exit(self, order: Order) -> None:
        """Out of every index; it keeps its neighbours."""
        owner, order_id, name = order.owner, order.id, order.terms.client_id
        del self.orders[order_id]
        del owner.orders[order_id]
        if not owner.orders:
            del self.owners[owner.account]
        if name:
            del owner.by_client_id[name]
        if order.expires_ms != NEVER_MS:
            del self.expiring[(order.expires_ms, order.rank)]
        before, after = order.prev, order.next
        before.next, after.prev = after, before
        level = order.level
        level.lots -= order.lots
        level.count -= 1
        if not level.count:
            level.queue.leave(level)

    def _play(self, entry: Entry, way: int) -> None:
        """An entry once more (`way` 1), or back (−1)."""
        what, order, lots, fee_ppm_units = entry
        if what in (JOIN, LEAVE):
            if (what == JOIN) is (way == 1):
                self._enter(order)
            else:
                self._exit(order)
            return
        order.lots -= lots * way
        order.level.lots -= lots * way
        if what == FILL:
            order.filled += lots * way
            order.fee_ppm_units += fee_ppm_units * way

    def _take_back(
        self,
        entries: Sequence[Entry],
        lasts: Sequence[tuple[Book, int]],
        listed: Sequence[Book],
    ) -> None:
        for entry in reversed(entries):
            self._play(entry, -1)
        for book, before in lasts:
            book.last_ticks = before
        for book in listed:
            del self.books[book.market.symbol]

    def _close(self) -> None:
        self.is_open = False
        self._entries, self._lasts, self._listed = [], [], []

    def _press(self, delta: Delta) -> None:
        """A market that a block did not touch presses as before."""
        for book, _, _ in delta.lasts:
            symbol = book.market.symbol
            if symbol in self.books and next(book.triggered(), None) is not None:
                self.pressing.add(symbol)
            else:
                self.pressing.discard(symbol)

    def _net_writes(self) -> Writes:
        """Rows that differ from before the block, in key order.

        An order that a block touches never ends as it began: quantity only shrinks while its
        rank stays.
        """
        orders = self.orders
        first = {order.id: what for what, order, _, _ in reversed(self._entries)}
        rows: dict[bytes, bytes | None] = {}
        for order_id, what in first.items():
            now = orders.get(order_id)
            if now is not None:
                rows[order_key(order_id)] = order_value(now)
            elif what != JOIN:  # it stood before the block
                rows[order_key(order_id)] = None
        changed = {book.market.symbol: book for book in self._listed}
        changed |= {b.market.symbol: b for b, before in self._lasts if b.last_ticks != before}
        for symbol, book in changed.items():
            rows[market_key(symbol)] = market_value(book)
        return tuple([(key, rows[key]) for key in sorted(rows)])
