"""Books by price, and what traded within a day: what final blocks made of them, kept as they come.

Law: pure and incremental. `take` is given every final block that did anything to books, in order;
nothing here is durable, because all of it follows from the rows that the same blocks wrote.
"""

from collections import deque
from collections.abc import Iterable
from itertools import islice
from typing import NamedTuple, Protocol

from sortedcontainers import SortedDict

from chaind.market.book_feed import (
    CHECKSUM_LEVELS,
    FeedFrame,
    FeedLevel,
    book_checksum,
)
from chaind.market.errors import MarketUnknown
from chaind.market.exchange import Exchange
from chaind.primitives.amounts import format_amount
from chaind.primitives.orders import BUY, SELL, Market, Side
from chaind.storage.market_index import Candle, MarketChange
from chaind.storage.market_rows import MINUTE, CandleRow, Interval, TradeRow

DAY_MS = 86_400_000
DAY_MINUTES = DAY_MS // MINUTE.length_ms


class Rules(Protocol):
    """Where the rules of markets and yesterday's candles are."""

    def market(self, symbol: str) -> Market | None:
        """A market's rules."""

    def candles(
        self, symbol: str, interval: Interval, start_ms: int, stop_ms: int | None, limit: int
    ) -> list[tuple[int, CandleRow]]:
        """The newest candles that begin within [start, stop), oldest first."""


class Day(NamedTuple):
    """What traded within a day: prices in ticks, None where nothing did."""

    open: int
    high: int
    low: int
    last: int
    base_units: int
    quote_units: int
    trades: int


class Level:
    """What is open at a price."""

    __slots__ = ("lots", "orders")

    def __init__(self, lots: int, orders: int) -> None:
        self.lots = lots
        self.orders = orders


Place = tuple[Side, int]  # a price of one side


class BookView:
    """One market's levels, both sides best first, and its last day. `seq` is the height of the
    last block that changed a level."""

    def __init__(self, market: Market, seq: int) -> None:
        self.market = market
        self.seq = seq
        self.last_ticks: int | None = None
        self._sides: dict[Side, SortedDict[int, Level]] = {BUY: SortedDict(), SELL: SortedDict()}
        self._minutes: deque[tuple[int, CandleRow]] = deque()
        self._base_units = self._quote_units = self._trades = 0

    # Levels.

    def change(self, side: Side, ticks: int, lots: int, orders: int) -> None:
        """Add to a price, or take from it."""
        levels = self._sides[side]
        key = -ticks if side is BUY else ticks
        level = levels.get(key)
        if level is None:
            level = levels[key] = Level(0, 0)
        level.lots += lots
        level.orders += orders
        assert level.lots >= 0, "no more leaves a level than stood there"
        if not level.lots:
            del levels[key]

    def levels(self, side: Side, limit: int | None = None) -> list[FeedLevel]:
        """The best levels of a side, all of them without `limit`."""
        return [
            self._shown(abs(key), level) for key, level in islice(self._sides[side].items(), limit)
        ]

    def best(self, side: Side) -> FeedLevel | None:
        """The best level of a side."""
        return next(iter(self.levels(side, 1)), None)

    def count(self, side: Side) -> int:
        """How many prices a side has."""
        return len(self._sides[side])

    def checksum(self) -> int:
        """See `market.book_feed`."""
        best = [
            [(level.price, level.quantity) for level in self.levels(side, CHECKSUM_LEVELS)]
            for side in (BUY, SELL)
        ]
        return book_checksum(best[0], best[1])

    def snapshot(self, limit: int | None = None) -> FeedFrame:
        """All levels, or the best of each side."""
        return FeedFrame(
            self.seq,
            None,
            tuple(self.levels(BUY, limit)),
            tuple(self.levels(SELL, limit)),
            self.checksum(),
        )

    def delta(self, prev_seq: int, changed: Iterable[Place]) -> FeedFrame:
        """What these levels are now; gone ones have a quantity of zero."""
        sides: dict[Side, list[FeedLevel]] = {BUY: [], SELL: []}
        for side, ticks in sorted(changed):
            level = self._sides[side].get(-ticks if side is BUY else ticks)
            sides[side].append(self._shown(ticks, level))
        return FeedFrame(self.seq, prev_seq, tuple(sides[BUY]), tuple(sides[SELL]), self.checksum())

    def _shown(self, ticks: int, level: Level | None) -> FeedLevel:
        price = self.price(ticks)
        if level is None:
            return FeedLevel(price, "0", 0)
        return FeedLevel(price, self.quantity(level.lots), level.orders)

    def price(self, ticks: int) -> str:
        """Ticks as a price."""
        return format_amount(ticks * self.market.tick_units)

    def quantity(self, lots: int) -> str:
        """Lots as a quantity."""
        return format_amount(lots * self.market.lot_units)

    # The day.

    def remember(self, minutes: Iterable[tuple[int, CandleRow]]) -> None:
        """Take in candles of a minute each, oldest first, before any trade."""
        for start_ms, row in minutes:
            self._minutes.append((start_ms, row))
            self._sum(row, 1)
            self.last_ticks = row.close

    def traded(self, time_ms: int, trade: TradeRow) -> None:
        """One more trade, the newest."""
        start_ms = time_ms - time_ms % MINUTE.length_ms
        one = CandleRow.of(trade)
        if self._minutes and self._minutes[-1][0] == start_ms:
            self._minutes[-1] = (start_ms, self._minutes[-1][1].joined(trade))
        else:
            self._minutes.append((start_ms, one))
        self._sum(one, 1)
        self.last_ticks = trade.ticks
        self._forget(time_ms)

    def day(self, time_ms: int) -> Day | None:
        """The last `DAY_MINUTES` minutes up to a chain time; None where nothing traded."""
        self._forget(time_ms)
        rows = [row for _, row in self._minutes]
        if not rows:
            return None
        return Day(
            rows[0].open,
            max(row.high for row in rows),
            min(row.low for row in rows),
            rows[-1].close,
            self._base_units,
            self._quote_units,
            self._trades,
        )

    def _forget(self, time_ms: int) -> None:
        while self._minutes and self._minutes[0][0] <= time_ms - DAY_MS:
            self._sum(self._minutes.popleft()[1], -1)

    def _sum(self, row: CandleRow, sign: int) -> None:
        self._base_units += sign * row.base_units
        self._quote_units += sign * row.quote_units
        self._trades += sign * row.trades


class MarketData:
    """All markets at the final tip, whose height and chain time are `height` and `time_ms`."""

    def __init__(self, rules: Rules, height: int, time_ms: int) -> None:
        self.height = height
        self.time_ms = time_ms
        self.candles: dict[tuple[str, str], Candle] = {}  # newest since start, by interval's name
        self._rules = rules
        self._views: dict[str, BookView] = {}

    @classmethod
    def load(cls, exchange: Exchange, rules: Rules, height: int, time_ms: int) -> "MarketData":
        """From books that stand at the final tip."""
        data = cls(rules, height, time_ms)
        for symbol, book in exchange.journal.books.items():
            view = data._open(symbol)  # one that opens later has not traded before
            since_ms = max(0, time_ms - DAY_MS)
            view.remember(rules.candles(symbol, MINUTE, since_ms, None, DAY_MINUTES + 1))
            view.last_ticks = book.last_ticks or None
            for side, levels in ((BUY, book.bids), (SELL, book.asks)):
                for level in levels:
                    view.change(side, level.ticks, level.lots, level.count)
        return data

    def view(self, symbol: str) -> BookView:
        """A market. Raises `MarketUnknown`."""
        return self._views.get(symbol) or self._open(symbol)

    def take(self, height: int, time_ms: int, change: MarketChange) -> None:
        """The next final block."""
        self.height, self.time_ms = height, time_ms
        for symbol, side, ticks, lots, orders in change.levels:
            view = self.view(symbol)
            view.change(side, ticks, lots, orders)
            view.seq = height
        for trade in change.trades:
            self.view(trade.symbol).traded(time_ms, trade.row)
        for candle in change.candles:
            self.candles[candle.symbol, candle.interval.name] = candle

    def _open(self, symbol: str) -> BookView:
        market = self._rules.market(symbol)
        if market is None:
            raise MarketUnknown(symbol=repr(symbol[:32]))
        view = self._views[symbol] = BookView(market, self.height)
        return view
