"""Orders and the queues they stand in: linked lists, one for each price, in price order.

Law: what is taken out of a queue keeps its neighbours, so that putting things back in the reverse
order restores every queue exactly, at a cost that no queue's length changes (Knuth's dancing
links). Nothing here decides anything: these are places and sums.
"""

from collections.abc import Iterator
from itertools import takewhile
from typing import TYPE_CHECKING

from sortedcontainers import SortedDict

from chaind.market.checks import band_edge
from chaind.primitives.orders import BUY, NONE, SELL, STOP, Market, Side, Terms

if TYPE_CHECKING:
    from typing import TypeAlias

    Place: TypeAlias = "Order | Level"


class Level:
    """The queue at one price, oldest first; it is the head of its own circular list.

    `key` grows with a worse price: the better of two levels has the lower one.
    """

    __slots__ = ("count", "key", "lots", "next", "prev", "queue", "ticks")

    def __init__(self, queue: "Levels", ticks: int) -> None:
        self.queue = queue
        self.ticks = ticks
        self.key = ticks * queue.sign
        self.lots = 0
        self.count = 0
        self.next: Place = self
        self.prev: Place = self

    def __iter__(self) -> "Iterator[Order]":
        """Its orders, oldest first; the queue may not change meanwhile."""
        node = self.next
        while isinstance(node, Order):
            yield node
            node = node.next


class Levels:
    """Levels in price order; `best` is the first. `sign` is −1 where the highest price leads."""

    __slots__ = ("_sorted", "best", "sign")

    def __init__(self, sign: int) -> None:
        self.sign = sign
        self.best: Level | None = None
        self._sorted: SortedDict[int, Level] = SortedDict()

    def __iter__(self) -> Iterator[Level]:
        return iter(self._sorted.values())

    def __len__(self) -> int:
        return len(self._sorted)

    def at(self, ticks: int) -> Level:
        """The level of a price. A new one joins the others with its first order."""
        level = self._sorted.get(ticks * self.sign)
        return level if level is not None else Level(self, ticks)

    def join(self, level: Level) -> None:
        """A level has its first order."""
        self._sorted[level.key] = level
        if self.best is None or level.key < self.best.key:
            self.best = level

    def leave(self, level: Level) -> None:
        """A level's last order is gone."""
        del self._sorted[level.key]
        if level is self.best:
            self.best = self._sorted.peekitem(0)[1] if self._sorted else None


class Book:
    """One market: both sides, the orders that wait for a price, and the last price."""

    __slots__ = (
        "asks",
        "bids",
        "edges_ticks",
        "falls",
        "last_ticks",
        "lot_units",
        "market",
        "opened",
        "reference_ticks",
        "rises",
        "step_units",
    )

    def __init__(self, market: Market, last_ticks: int = 0) -> None:
        self.market = market
        self.lot_units = market.lot_units
        self.step_units = market.step_units
        self.bids = Levels(-1)
        self.asks = Levels(1)
        self.falls = Levels(-1)  # trigger where the last price is at or below theirs
        self.rises = Levels(1)  # or at or above it
        self.last_ticks = last_ticks  # zero before the first trade
        self.opened = 0  # the last block that touched it, by the journal's count
        self.open_band()

    def open_band(self) -> None:
        """Take the last price as what a block's price band is around."""
        self.reference_ticks = self.last_ticks or self.market.reference_ticks
        self.edges_ticks = (
            band_edge(self.market, BUY, self.reference_ticks),
            band_edge(self.market, SELL, self.reference_ticks),
        )

    def out_of_band(self, side: Side, ticks: int) -> bool:
        """Whether an order of that side would reach further than its block allows."""
        top, bottom = self.edges_ticks
        return ticks > top if side is BUY else ticks < bottom

    def level_for(self, terms: Terms, ticks: int) -> Level:
        """Where an order of these terms waits: at its price, or for its stop price."""
        buys = terms.side is BUY
        if terms.trigger is NONE:
            return (self.bids if buys else self.asks).at(ticks)
        rising = buys is (terms.trigger is STOP)
        return (self.rises if rising else self.falls).at(terms.stop_ticks)

    def triggered(self) -> Iterator[Level]:
        """Levels whose orders the last price triggers: falls before rises, nearest first.

        Nearest means reached first on the way to the last price.
        """
        last = self.last_ticks
        if last:
            yield from takewhile(lambda level: last <= level.ticks, self.falls)
            yield from takewhile(lambda level: last >= level.ticks, self.rises)


class Owner:
    """An account that has open orders."""

    __slots__ = ("account", "by_client_id", "orders")

    def __init__(self, account: bytes) -> None:
        self.account = account
        self.orders: dict[bytes, Order] = {}
        self.by_client_id: dict[str, Order] = {}


class Order:
    """An open order, or one that is arriving; the same object while it keeps its place."""

    __slots__ = (
        "book",
        "buys",
        "expires_ms",
        "fee_ppm_units",
        "filled",
        "id",
        "level",
        "lots",
        "next",
        "owner",
        "prev",
        "rank",
        "terms",
        "ticks",
    )
    next: "Place"
    prev: "Place"
    level: Level

    def __init__(
        self, order_id: bytes, owner: Owner, book: Book, terms: Terms, ticks: int, rank: int
    ) -> None:
        self.id = order_id
        self.owner = owner
        self.book = book
        self.terms = terms
        self.buys = terms.side is BUY
        self.ticks = ticks  # its worst price, which its reserve is for
        self.lots = terms.lots  # open
        self.filled = 0
        self.fee_ppm_units = 0  # base units times ppm: fees since it was made or read, exactly
        self.rank = rank  # height and index of its arrival; lower is older
        self.expires_ms = terms.expires_ms

    def moved(self, terms: Terms, ticks: int, lots: int, rank: int) -> "Order":
        """The same order as the newest. `terms` tell what was placed, `ticks` and `lots` what is
        left of it."""
        order = Order(self.id, self.owner, self.book, terms, ticks, rank)
        order.lots, order.filled, order.fee_ppm_units = lots, self.filled, self.fee_ppm_units
        return order

    def reserve(self, lots: int) -> int:
        """Base units held for so many of its lots, in quote for a buyer and base for a seller."""
        if self.buys:
            return lots * self.ticks * self.book.step_units
        return lots * self.book.lot_units
