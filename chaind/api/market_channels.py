"""Channels of order books: what final blocks did to them, one frame for every reader of a channel.

    book:SYMBOL              a snapshot, then deltas (`market.book_feed` says how to follow them)
    trades:SYMBOL            the newest trades, or those from a height on, then each as it is final
    ticker:SYMBOL            the last day and the best prices, again whenever they change
    candles:SYMBOL:INTERVAL  the newest candles, then those that change
    orders:ACCOUNT           an account's open orders, then each order as it changes

A frame is encoded once, however many read it, and tells of all blocks since the last one: at most
`FRAMES_PER_S` a second, the first of them at once.
"""

import asyncio
from collections.abc import Callable, Iterator
from typing import Any

import msgspec

from chaind.api.answers import Answer, encode_json
from chaind.api.forms import Forms
from chaind.api.order_forms import (
    CandleForm,
    LevelForm,
    OrderAnswer,
    TradeForm,
    candle_form,
    levels_form,
    order_form,
    ticker_form,
    trade_form,
)
from chaind.market.book_feed import FeedFrame
from chaind.node.events import FinalEvent
from chaind.node.market_data import Place
from chaind.node.node import Node
from chaind.node.orders import OrderState, market_name
from chaind.primitives.errors import Malformed
from chaind.storage.market_index import MarketChange
from chaind.storage.market_rows import BY_NAME, CandleRow, OrderRecord, OrderStatus, trade_number

KINDS = ("book", "trades", "ticker", "candles", "orders")
FRAMES_PER_S = 20
TRADES_FIRST, CANDLES_FIRST = 50, 100
TRADES_REPLAYED_MAX = 1_000  # there are pages for more

Subject = tuple[Any, ...]  # (kind, symbol), ("candles", symbol, interval), ("orders", address)
First = tuple[str, msgspec.Raw]  # type and data of a message


class IntervalUnknown(Malformed):
    code = "interval-unknown"
    text = "{interval!r} is no interval of candles"
    advice = "Intervals are 1s, 1m, 5m, 1h and 1d, as in candles:BTC-USD:1m."


class BookFrame(Answer, frozen=True):
    """A snapshot, whose `prev_seq` is null, or a delta. `seq` is the height of the last block that
    changed the book."""

    symbol: str
    seq: int
    prev_seq: int | None
    time_ms: int
    bids: list[LevelForm]
    asks: list[LevelForm]
    checksum: int


class TradesFrame(Answer, frozen=True):
    """Trades, oldest first; `more` where a replay ended before the present."""

    symbol: str
    trades: list[TradeForm]
    more: bool = False


class CandlesFrame(Answer, frozen=True):
    """Candles that are new or have changed, oldest first."""

    symbol: str
    interval: str
    candles: list[CandleForm]


class OrdersFrame(Answer, frozen=True):
    """Orders as they are now."""

    account: str
    orders: list[OrderAnswer]


class MarketChannels:
    """See the module's law. `has_reader` and `tell` are the hub's."""

    def __init__(
        self,
        node: Node,
        forms: Forms,
        has_reader: Callable[[Any], bool],
        tell: Callable[[Any, str, msgspec.Raw], None],
    ) -> None:
        self._node = node
        self._forms = forms
        self._has_reader = has_reader
        self._tell = tell
        self._levels: dict[str, set[Place]] = {}
        self._told_seq: dict[str, int] = {}  # of each book: what its readers have
        self._trades: dict[str, list[TradeForm]] = {}
        self._tickers: dict[str, None] = {}
        self._candles: dict[tuple[str, str], dict[int, CandleRow]] = {}
        self._orders: dict[bytes, dict[bytes, OrderRecord]] = {}
        self._snapshots: dict[str, tuple[int, msgspec.Raw]] = {}
        self._timer: asyncio.TimerHandle | None = None
        self._told_s = float("-inf")

    def parse(self, kind: str, rest: str) -> Subject:
        """The subject of a channel. Raises `MarketUnknown`, `IntervalUnknown`, or what a name of an
        account may raise."""
        if kind == "orders":
            return kind, self._node.payments.resolve(rest)
        name, _, interval = rest.partition(":")
        symbol = self._node.market_data.view(market_name(name)).market.symbol
        if kind != "candles":
            if interval:
                raise IntervalUnknown(interval=interval[:20])
            return kind, symbol
        if interval not in BY_NAME:
            raise IntervalUnknown(interval=interval[:20])
        return kind, symbol, interval

    def first(self, subject: Subject, from_height: int | None) -> Iterator[First]:
        """What a new reader is told at once."""
        match subject:
            case ("book", symbol):
                yield "snapshot", self._snapshot(symbol)
            case ("trades", symbol):
                yield "trades", self._first_trades(symbol, from_height)
            case ("ticker", symbol):
                yield "ticker", self._ticker(symbol)
            case ("candles", symbol, name):
                rows = self._node.orders.reads.candles(
                    symbol, BY_NAME[name], 0, None, CANDLES_FIRST
                )
                yield "candles", self._candles_frame(symbol, name, dict(rows))
            case ("orders", account):
                yield "snapshot", self._orders_frame(account, self._open_orders(account))

    def take(self, event: FinalEvent) -> None:
        """A final block; its market data is known to the node already."""
        change = event.market
        if change.orders and self._note(change):
            loop = asyncio.get_running_loop()
            wait_s = self._told_s + 1 / FRAMES_PER_S - loop.time()
            if self._timer is None and wait_s > 0:
                self._timer = loop.call_later(wait_s, self._flush)
            elif self._timer is None:
                self._flush()

    def close(self) -> None:
        """Tell nothing more."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _note(self, change: MarketChange) -> bool:
        """Keep what somebody reads for the next frame; whether there is anything."""
        noted = False
        for level in change.levels:
            if self._has_reader(("book", level.symbol)):
                self._levels.setdefault(level.symbol, set()).add((level.side, level.ticks))
                noted = True
        touched = [one.symbol for one in change.levels] + [one.symbol for one in change.trades]
        for symbol in dict.fromkeys(touched):
            if self._has_reader(("ticker", symbol)):
                self._tickers[symbol] = None
                noted = True
        for trade in change.trades:
            if self._has_reader(("trades", trade.symbol)):
                market = self._node.market_data.view(trade.symbol).market
                form = trade_form(market, trade.number, trade.row)
                self._trades.setdefault(trade.symbol, []).append(form)
                noted = True
        for candle in change.candles:
            name = candle.interval.name
            if self._has_reader(("candles", candle.symbol, name)):
                self._candles.setdefault((candle.symbol, name), {})[candle.start_ms] = candle.row
                noted = True
        for order_id, record in change.orders:
            if self._has_reader(("orders", record.account)):
                self._orders.setdefault(record.account, {})[order_id] = record
                noted = True
        return noted

    def _flush(self) -> None:
        self._timer = None
        self._told_s = asyncio.get_running_loop().time()
        for symbol, changed in drained(self._levels):
            view = self._node.market_data.view(symbol)
            frame = view.delta(self._told_seq.get(symbol, view.seq), changed)
            self._told_seq[symbol] = view.seq
            self._send(("book", symbol), "delta", self._book_frame(symbol, frame))
        for symbol, trades in drained(self._trades):
            self._send(("trades", symbol), "trades", _raw(TradesFrame(symbol, trades)))
        for symbol, _ in drained(self._tickers):
            self._send(("ticker", symbol), "ticker", self._ticker(symbol))
        for (symbol, name), rows in drained(self._candles):
            data = self._candles_frame(symbol, name, rows)
            self._send(("candles", symbol, name), "candles", data)
        for account, orders in drained(self._orders):
            self._send(("orders", account), "orders", self._orders_frame(account, orders))

    def _send(self, subject: Subject, kind: str, data: msgspec.Raw) -> None:
        if self._has_reader(subject):  # the last one may have gone since
            self._tell(subject, kind, data)

    def _snapshot(self, symbol: str) -> msgspec.Raw:
        view = self._node.market_data.view(symbol)
        if symbol not in self._levels:  # nobody lacks anything of it
            self._told_seq[symbol] = view.seq
        known = self._snapshots.get(symbol)
        if known is None or known[0] != view.seq:
            known = view.seq, self._book_frame(symbol, view.snapshot())
            self._snapshots[symbol] = known
        return known[1]

    def _book_frame(self, symbol: str, frame: FeedFrame) -> msgspec.Raw:
        bids, asks = levels_form(frame.bids), levels_form(frame.asks)
        time_ms = self._node.market_data.time_ms
        return _raw(
            BookFrame(symbol, frame.seq, frame.prev_seq, time_ms, bids, asks, frame.checksum)
        )

    def _first_trades(self, symbol: str, from_height: int | None) -> msgspec.Raw:
        reads = self._node.orders.reads
        market = self._node.market_data.view(symbol).market
        more = False
        if from_height is None:
            found = reads.trades(symbol, None, TRADES_FIRST)[::-1]
        else:
            start = trade_number(min(from_height, 2**32 - 1), 0)
            found = reads.trades_from(symbol, start, TRADES_REPLAYED_MAX + 1)
            more = len(found) > TRADES_REPLAYED_MAX
        trades = [trade_form(market, trade, row) for trade, row in found[:TRADES_REPLAYED_MAX]]
        return _raw(TradesFrame(symbol, trades, more))

    def _ticker(self, symbol: str) -> msgspec.Raw:
        data = self._node.market_data
        return _raw(ticker_form(data.view(symbol), data.time_ms, data.height))

    def _candles_frame(self, symbol: str, name: str, rows: dict[int, CandleRow]) -> msgspec.Raw:
        market = self._node.market_data.view(symbol).market
        candles = [candle_form(market, start_ms, row) for start_ms, row in sorted(rows.items())]
        return _raw(CandlesFrame(symbol, name, candles))

    def _open_orders(self, account: bytes) -> dict[bytes, OrderRecord]:
        """Final ones, oldest first; one that is done above the final tip is told of in a moment."""
        reads = self._node.orders.reads
        found: dict[bytes, OrderRecord] = {}
        for order in self._node.chain.state.books.open_orders(account):
            record = reads.order(order.id)
            if record is not None and record.status is OrderStatus.OPEN:
                found[order.id] = record
        return found

    def _orders_frame(self, account: bytes, orders: dict[bytes, OrderRecord]) -> msgspec.Raw:
        view = self._node.market_data.view
        forms = [
            order_form(
                self._forms,
                view(record.terms.symbol).market,
                OrderState(order_id, record, final=True),
            )
            for order_id, record in orders.items()
        ]
        return _raw(OrdersFrame(self._forms.show(account), forms))


def drained(pending: dict[Any, Any]) -> list[tuple[Any, Any]]:
    """What waits to be told, which then waits no longer."""
    found = list(pending.items())
    pending.clear()
    return found


def _raw(value: object) -> msgspec.Raw:
    return msgspec.Raw(encode_json(value))
