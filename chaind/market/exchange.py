"""The exchange: actions in, events out. Every check of an action comes before its first change.

A block is `begin`, then actions in the order of `turns`, then `trigger`, then the journal's `seal`
(or `abandon`). Expiries run first and triggers last, each at most so many a block, from queues in
order; what is left over waits for the next block, and an expired order cannot trade meanwhile.

What the engine does not know is balances. `reserve_for` and `reserve_to_amend` say what an action
will hold, for the ledger to compare before it applies the action; afterwards the events say what
to book (`events.moves`).
"""

from collections.abc import Iterable, Iterator, Sequence
from itertools import islice, takewhile
from typing import NamedTuple

from msgspec.structs import replace

from chaind.market.checks import (
    band_edge,
    check_form,
    check_market,
    check_size,
    check_terms,
    check_worth,
)
from chaind.market.errors import (
    AmendmentEmpty,
    ClientOrderIdTaken,
    ExpiryPassed,
    FillOrKillUnfilled,
    MarketExists,
    MarketUnknown,
    OpenOrdersExceeded,
    OrderNotOpen,
    PostOnlyWouldTake,
    PriceOutOfBand,
)
from chaind.market.events import Accepted, Amended, Event, Reason, Triggered
from chaind.market.journal import Journal
from chaind.market.matching import Matching
from chaind.market.orders import Book, Order
from chaind.market.rows import market_key, market_value, order_key, order_value
from chaind.primitives.orders import (
    BUY,
    FOK,
    LIMIT,
    MARKET,
    NEVER_MS,
    NONE,
    SELL,
    AmendOrder,
    CancelOrder,
    Limits,
    Market,
    OrderAction,
    PlaceOrder,
    Side,
    Terms,
)

Events = Sequence[Event]


class Held(NamedTuple):
    """What an action adds to the reserve of its order, or takes from it where negative."""

    asset: str
    units: int


class Quote(NamedTuple):
    """A price and what is open there."""

    ticks: int
    lots: int
    orders: int


class Exchange:
    """All books. `journal` seals, abandons, undoes, redoes and settles blocks."""

    def __init__(self, limits: Limits | None = None) -> None:
        self.limits = limits or Limits()
        self.journal = Journal()
        self._matching = Matching(self.journal, self.limits)
        self._height = 0

    @classmethod
    def load(
        cls, rows: Iterable[tuple[bytes, bytes]], digest: bytes, limits: Limits | None = None
    ) -> "Exchange":
        """The exchange that has these rows and this digest; rows may come in any order."""
        exchange = cls(limits)
        exchange.journal.restore(rows)
        exchange.journal.digest = digest
        return exchange

    # --- blocks

    def begin(self, height: int, chain_time_ms: int) -> Events:
        """Start a block; see `open_block`."""
        self.journal.begin()
        return self.open_block(height, chain_time_ms)

    def open_block(self, height: int, chain_time_ms: int) -> Events:
        """What a begun block does first: orders whose time has passed are done, oldest expiry
        first."""
        self._height = height
        self._matching.open_block(height, chain_time_ms)
        events: list[Event] = []
        due = takewhile(self._matching.expired, self.journal.expiring.values())
        for order in list(islice(due, self.limits.expiries_per_block_max)):
            self._matching.take_out(order, Reason.EXPIRED, events)
        return events

    def trigger(self) -> Events:
        """After a block's actions: orders whose stop price the last price has reached arrive.

        The last price is read once, before any of them trades: what their own trades trigger
        waits for the next block, when others have had a chance to answer. Markets take turns at
        being first.
        """
        due = self.journal.due()
        first = self._height % len(due) if due else 0
        orders = (
            order
            for book in due[first:] + due[:first]
            for level in book.triggered()
            for order in level
        )
        events: list[Event] = []
        for order in list(islice(orders, self.limits.triggers_per_block_max)):
            self._trigger(order, events)
        return events

    # --- actions

    def list_market(self, market: Market) -> None:
        """Open a market."""
        check_market(market)
        if market.symbol in self.journal.books:
            raise MarketExists(symbol=market.symbol)
        self.journal.list_market(Book(market))

    def apply(self, action_id: bytes, action: OrderAction) -> Events:
        """An action of its owner; a new order is named by `action_id`."""
        if isinstance(action, PlaceOrder):
            return self.place(action.owner, action_id, action.terms)
        if isinstance(action, AmendOrder):
            return self.amend(action)
        if isinstance(action, CancelOrder):
            return self.cancel(action.owner, action.order_id)
        return self.cancel_all(action.owner, action.symbol, action.side)

    def place(self, account: bytes, order_id: bytes, terms: Terms) -> Events:
        """A new order arrives. `order_id` is one that no order has had."""
        journal = self.journal
        assert order_id not in journal.orders, "an order id is used once"
        book = self._book(terms.symbol)
        check_terms(book.market, terms)
        journal.touch(book)
        owner = journal.owner(account)
        taken = owner.by_client_id.get(terms.client_id)
        if taken is not None:
            raise ClientOrderIdTaken(client_id=terms.client_id, order_id=taken.id.hex())
        self.check_open_orders(account, terms)
        if NEVER_MS != terms.expires_ms <= self._matching.chain_time_ms:
            raise ExpiryPassed(
                expires_ms=terms.expires_ms, chain_time_ms=self._matching.chain_time_ms
            )
        ticks = _worst_ticks(book, terms, book.edges_ticks)
        self._check_arrival(book, account, terms, terms.lots, ticks)
        order = Order(order_id, owner, book, terms, ticks, self._matching.next_place())
        events: list[Event] = [
            Accepted(
                terms.symbol,
                order_id,
                account,
                terms.side,
                terms.lots,
                ticks,
                order.reserve(terms.lots),
            )
        ]
        self._enter(order, events)
        return events

    def cancel(self, account: bytes, order_id: bytes) -> Events:
        """An open order is taken back."""
        events: list[Event] = []
        self._matching.take_out(self._open_order(account, order_id), Reason.CANCELLED, events)
        return events

    def cancel_all(self, account: bytes, symbol: str = "", side: Side | None = None) -> Events:
        """All open orders of an account (of a market, of a side) are taken back, oldest first."""
        if symbol:
            self._book(symbol)
        events: list[Event] = []
        for order in self.open_orders(account):
            terms = order.terms
            if symbol in ("", terms.symbol) and side in (None, terms.side):
                self._matching.take_out(order, Reason.CANCELLED, events)
        return events

    def amend(self, amendment: AmendOrder) -> Events:
        """An open order changes; see `AmendOrder`. Of one that has traded its new quantity or more,
        the rest is cancelled."""
        order = self._open_order(amendment.owner, amendment.order_id)
        terms, lots, ticks = self._amended(order, amendment)
        book, matching = order.book, self._matching
        events: list[Event] = []
        if lots <= 0:
            matching.take_out(order, Reason.AMENDED, events)
            return events
        if ticks == order.ticks and terms.stop_ticks == order.terms.stop_ticks:
            if lots == order.lots:
                raise AmendmentEmpty(order_id=order.id.hex())
            if lots < order.lots:
                matching.reduce(order, order.lots - lots, Reason.AMENDED, events)
                return events
        self.journal.touch(book)
        self._check_arrival(book, amendment.owner, terms, lots, ticks)
        self.journal.leave(order)
        newer = order.moved(terms, ticks, lots, matching.next_place())
        events.append(
            Amended(
                terms.symbol,
                order.id,
                amendment.owner,
                terms.side,
                lots,
                ticks,
                terms.stop_ticks,
                newer.reserve(lots) - order.reserve(order.lots),
            )
        )
        self._enter(newer, events)
        return events

    # --- what the ledger asks before an action

    def reserve_for(self, terms: Terms) -> Held:
        """What an order holds when it arrives; raises what its form alone forbids."""
        book = self._book(terms.symbol)
        check_terms(book.market, terms)
        return _held(book, terms, terms.lots, _worst_ticks(book, terms, self._edges(book)))

    def reserve_to_amend(self, amendment: AmendOrder) -> Held:
        """What an amended order holds more than before; raises what its form alone forbids."""
        order = self._open_order(amendment.owner, amendment.order_id)
        terms, lots, ticks = self._amended(order, amendment)
        asset, units = _held(order.book, terms, max(lots, 0), ticks)
        return Held(asset, units - order.reserve(order.lots))

    def check_open_orders(self, account: bytes, terms: Terms) -> None:
        """Raise `OpenOrdersExceeded` where an account has no room for one that may rest."""
        count, limit = self.count_open(account), self.limits.open_orders_max
        if count >= limit and terms.rests:
            raise OpenOrdersExceeded(count=count, limit=limit)

    def check_symbol(self, symbol: str) -> None:
        """Raise `MarketUnknown` where there is no such market."""
        self._book(symbol)

    # --- reading

    def order(self, order_id: bytes) -> Order | None:
        """An open order; to be read, not changed."""
        return self.journal.orders.get(order_id)

    def named(self, account: bytes, client_id: str) -> Order | None:
        """The open order that an account calls so."""
        owner = self.journal.owners.get(account)
        return owner.by_client_id.get(client_id) if owner else None

    def count_open(self, account: bytes) -> int:
        """How many open orders an account has."""
        owner = self.journal.owners.get(account)
        return len(owner.orders) if owner else 0

    def open_orders(self, account: bytes) -> Sequence[Order]:
        """An account's open orders, oldest first."""
        owner = self.journal.owners.get(account)
        return sorted(owner.orders.values(), key=lambda order: order.rank) if owner else ()

    def markets(self) -> Sequence[Market]:
        """All markets, by symbol."""
        return [book.market for book in self.journal.books.values()]

    def last_ticks(self, symbol: str) -> int | None:
        """Price of the last trade."""
        return self._book(symbol).last_ticks or None

    def depth(self, symbol: str, side: Side, levels: int) -> Sequence[Quote]:
        """The best prices of a side."""
        book = self._book(symbol)
        found = islice(book.bids if side is BUY else book.asks, levels)
        return [Quote(level.ticks, level.lots, level.count) for level in found]

    def rows(self) -> Iterator[tuple[bytes, bytes]]:
        """All rows that the books follow from, in key order."""
        for symbol, book in self.journal.books.items():
            yield market_key(symbol), market_value(book)
        for order_id, order in sorted(self.journal.orders.items()):
            yield order_key(order_id), order_value(order)

    # --- inside

    def _book(self, symbol: str) -> Book:
        book = self.journal.books.get(symbol)
        if book is None:
            raise MarketUnknown(symbol=repr(symbol[:32]))
        return book

    def _open_order(self, account: bytes, order_id: bytes) -> Order:
        order = self.journal.orders.get(order_id)
        if order is None or order.owner.account != account:
            raise OrderNotOpen(order_id=order_id.hex())
        return order

    def _edges(self, book: Book) -> tuple[int, int]:
        """Of the price band, for a block that touches the book and for the next one."""
        if self.journal.is_open and book.opened == self.journal.blocks:
            return book.edges_ticks
        reference = book.last_ticks or book.market.reference_ticks
        return (
            band_edge(book.market, BUY, reference),
            band_edge(book.market, SELL, reference),
        )

    def _check_arrival(
        self, book: Book, account: bytes, terms: Terms, lots: int, ticks: int
    ) -> None:
        """Raise what the book says against an order that arrives now, or waits for a trigger."""
        if terms.trigger is not NONE:
            return
        if terms.kind is MARKET:
            check_worth(book.market, lots, ticks, book.reference_ticks)
        elif book.out_of_band(terms.side, ticks):
            raise PriceOutOfBand(ticks=ticks, edge_ticks=book.edges_ticks[terms.side])
        if terms.post_only:
            best = self._matching.first_live(book, terms, ticks)
            if best is not None:
                raise PostOnlyWouldTake(ticks=ticks, best_ticks=best)
        elif terms.time_in_force is FOK:
            fillable = self._matching.fillable(book, terms, account, ticks)
            if fillable < lots:
                raise FillOrKillUnfilled(lots=lots, available_lots=fillable)

    def _enter(self, order: Order, events: list[Event]) -> None:
        """Wait for the stop price, or meet the book."""
        if order.terms.trigger is NONE:
            self._matching.arrive(order, order.ticks, events)
        else:
            order.level = order.book.level_for(order.terms, order.ticks)
            self.journal.join(order)

    def _amended(self, order: Order, amendment: AmendOrder) -> tuple[Terms, int, int]:
        """What an order's terms, its open lots and its worst price would be."""
        if self._matching.expired(order):  # though nobody has cleared it away yet
            raise OrderNotOpen(order_id=order.id.hex())
        terms, market = order.terms, order.book.market
        if amendment.stop_ticks or amendment.post_only:
            terms = replace(
                terms,
                stop_ticks=amendment.stop_ticks or terms.stop_ticks,
                post_only=amendment.post_only or terms.post_only,
            )
            check_form(terms)
        whole = amendment.lots or order.lots + order.filled
        ticks = amendment.ticks
        if terms.kind is LIMIT:
            ticks = ticks or order.ticks
        check_size(market, terms, whole, ticks)
        worst = ticks or band_edge(market, terms.side, terms.stop_ticks)
        return terms, whole - order.filled, worst

    def _trigger(self, order: Order, events: list[Event]) -> None:
        """An order's stop price has been reached: it arrives as the newest, or is done."""
        book, matching = order.book, self._matching
        if matching.expired(order):
            matching.take_out(order, Reason.EXPIRED, events)
            return
        self.journal.touch(book)
        terms, side = order.terms, order.terms.side
        events.append(Triggered(terms.symbol, order.id, order.owner.account, side, order.lots))
        if terms.kind is LIMIT and book.out_of_band(side, order.ticks):
            matching.take_out(order, Reason.OUT_OF_BAND, events)
            return
        self.journal.leave(order)
        arriving = replace(terms, trigger=NONE, stop_ticks=0)
        newer = order.moved(arriving, order.ticks, order.lots, matching.next_place())
        limit = order.ticks
        if terms.kind is MARKET:
            edge = book.edges_ticks[side]
            limit = min(limit, edge) if side is BUY else max(limit, edge)
        matching.arrive(newer, limit, events)


def _worst_ticks(book: Book, terms: Terms, edges_ticks: tuple[int, int]) -> int:
    """The worst price that an order can trade at, which is what its reserve is for."""
    if terms.kind is LIMIT:
        return terms.ticks
    if terms.trigger is not NONE:
        return band_edge(book.market, terms.side, terms.stop_ticks)
    return edges_ticks[terms.side]


def _held(book: Book, terms: Terms, lots: int, ticks: int) -> Held:
    if terms.side is BUY:
        return Held(book.market.quote, lots * ticks * book.step_units)
    return Held(book.market.base, lots * book.lot_units)
