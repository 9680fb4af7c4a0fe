"""From what a final block did to order books to index rows, levels, trades and candles.

Law: a function of the blocks alone, in order, whoever writes them: a node, an audit, a repair. The
rows of a block go into its own batch. Between blocks this remembers what the next one may need
before the last one is on disk: open orders that it has seen, and the newest candles.
"""

from bisect import bisect_left
from collections.abc import Callable, Iterable, Mapping, Sequence
from copy import copy
from operator import itemgetter
from typing import NamedTuple

from msgspec.structs import replace

from chaind.ledger.block import Told
from chaind.ledger.execute import Receipt
from chaind.ledger.journal import Writes
from chaind.ledger.keys import BOOKS_DIGEST
from chaind.market.events import (
    Accepted,
    Amended,
    Done,
    Event,
    Matched,
    Reduced,
    Triggered,
)
from chaind.primitives.orders import AmendOrder, PlaceOrder, Side
from chaind.storage.kv import Change, KeyValue
from chaind.storage.market_rows import (
    DIGEST,
    INTERVALS,
    ORDER_RECORD,
    CandleRow,
    FillRow,
    Interval,
    OrderRecord,
    OrderStatus,
    TradeRow,
    candle_row,
    candles_prefix,
    fills_prefix,
    order_record,
    orders_prefix,
    trades_prefix,
    value_of,
)
from chaind.storage.schema import location_suffix, number


class LevelChange(NamedTuple):
    """What a block added to a price of a book, or took from it."""

    symbol: str
    side: Side
    ticks: int
    lots: int
    orders: int


class Trade(NamedTuple):
    """A trade of a market, with its number."""

    symbol: str
    number: int
    row: TradeRow


class Candle(NamedTuple):
    """A candle of a market."""

    symbol: str
    interval: Interval
    start_ms: int
    row: CandleRow


class MarketChange(NamedTuple):
    """All that a block did to books. `orders` are copies: (id, as it is after the block)."""

    rows: tuple[Change, ...]
    levels: tuple[LevelChange, ...]
    trades: tuple[Trade, ...]
    candles: tuple[Candle, ...]
    orders: tuple[tuple[bytes, OrderRecord], ...]


UNCHANGED = MarketChange((), (), (), (), ())


class MarketIndex:
    """See the module's law. Reads `database` for what it has not seen since it was made."""

    def __init__(self, database: KeyValue) -> None:
        self._database = database
        self._open: dict[bytes, OrderRecord] = {}
        self._newest: dict[tuple[str, bytes], tuple[int, CandleRow]] = {}

    def take(
        self, height: int, time_ms: int, receipts: Sequence[Receipt], told: Told
    ) -> MarketChange:
        """The next final block; `told` are its events. Blocks without any cost nothing."""
        if not told:
            return UNCHANGED
        block = _Block(self._find, height, time_ms, _order_receipts(receipts))
        for txid, events in told:
            block.tell(txid, events)
        for order_id, order in block.touched.items():
            if order.status is OrderStatus.OPEN:
                self._open[order_id] = order
            else:
                self._open.pop(order_id, None)
        candles = self._candles(time_ms, block.trades)
        rows = (*block.rows(), *map(_candle_change, candles))
        return MarketChange(
            rows, block.levels(), tuple(block.trades), tuple(candles), block.copies()
        )

    def _find(self, order_id: bytes) -> OrderRecord:
        order = self._open.get(order_id)
        if order is None:
            value = self._database.get(ORDER_RECORD + order_id)
            assert value is not None, "an order is recorded when it is accepted"
            order = order_record.decode(value)
        return order

    def _candles(self, time_ms: int, trades: Iterable[Trade]) -> list[Candle]:
        by_symbol: dict[str, list[TradeRow]] = {}
        for trade in trades:
            by_symbol.setdefault(trade.symbol, []).append(trade.row)
        found = []
        for symbol, rows in by_symbol.items():
            for interval in INTERVALS:
                start_ms = time_ms - time_ms % interval.length_ms
                row = self._newest_candle(symbol, interval, start_ms)
                for trade_row in rows:
                    row = CandleRow.of(trade_row) if row is None else row.joined(trade_row)
                assert row is not None, "there are trades"
                self._newest[symbol, interval.mark] = (start_ms, row)
                found.append(Candle(symbol, interval, start_ms, row))
        return found

    def _newest_candle(self, symbol: str, interval: Interval, start_ms: int) -> CandleRow | None:
        newest = self._newest.get((symbol, interval.mark))
        if newest is not None:
            return newest[1] if newest[0] == start_ms else None
        value = self._database.get(candles_prefix(symbol, interval) + number(start_ms))
        return candle_row.decode(value) if value is not None else None


class _Block:
    """One block being taken in: every order that it touches, once."""

    def __init__(
        self,
        find: Callable[[bytes], OrderRecord],
        height: int,
        time_ms: int,
        receipts: Mapping[bytes, tuple[int, Receipt]],
    ) -> None:
        self.touched: dict[bytes, OrderRecord] = {}
        self.trades: list[Trade] = []
        self._before: dict[bytes, tuple[int, int]] = {}  # where an order stood in its book
        self._rows: list[Change] = []
        self._find = find
        self._height = height
        self._time_ms = time_ms
        self._receipts = receipts

    def tell(self, txid: bytes | None, events: Sequence[Event]) -> None:
        """One entry of what a block told: of a transaction, or of nobody."""
        if txid is not None:
            place, receipt = self._receipts[txid]
            order = receipt.checked.order
            if isinstance(order, PlaceOrder):
                self._placed(txid, order, place, receipt)
            elif isinstance(order, AmendOrder) and receipt.refused is None:
                self._amended(order, events)
        for event in events:
            self._apply(event)

    def rows(self) -> list[Change]:
        """Index rows, without those of candles."""
        records = (
            (ORDER_RECORD + order_id, value_of(order)) for order_id, order in self.touched.items()
        )
        return [*self._rows, *records]

    def levels(self) -> tuple[LevelChange, ...]:
        """What changed at each price, summed."""
        sums: dict[tuple[str, Side, int], list[int]] = {}
        for order_id, order in self.touched.items():
            before, after = self._before.get(order_id, (0, 0)), order.shown
            if before == after:
                continue
            for (ticks, lots), sign in ((before, -1), (after, 1)):
                if lots:
                    level = sums.setdefault((order.terms.symbol, order.terms.side, ticks), [0, 0])
                    level[0] += sign * lots
                    level[1] += sign
        return tuple(LevelChange(*key, *level) for key, level in sums.items() if any(level))

    def copies(self) -> tuple[tuple[bytes, OrderRecord], ...]:
        """Orders as they are now; later blocks change only their own."""
        return tuple((order_id, copy(order)) for order_id, order in self.touched.items())

    def _placed(self, txid: bytes, action: PlaceOrder, place: int, receipt: Receipt) -> None:
        order = OrderRecord.of(
            action.terms, action.owner, height=self._height, place=place, time_ms=self._time_ms
        )
        self.touched[txid] = order
        where = location_suffix(self._height, place)
        self._rows.append((orders_prefix(action.owner) + where, txid))
        if receipt.refused is not None:
            order.status, order.refused = OrderStatus.REFUSED, receipt.refused

    def _amended(self, action: AmendOrder, events: Sequence[Event]) -> None:
        """What no event of an amendment says. One that only takes quantity away leaves terms."""
        order = self._order(action.order_id)
        terms = order.terms
        if any(isinstance(event, Amended) for event in events):
            order.terms = replace(
                terms,
                stop_ticks=action.stop_ticks or terms.stop_ticks,
                post_only=action.post_only or terms.post_only,
            )
        if action.lots:
            order.quantity = action.lots

    def _order(self, order_id: bytes) -> OrderRecord:
        order = self.touched.get(order_id)
        if order is None:
            order = self.touched[order_id] = self._find(order_id)
            self._before[order_id] = order.shown
        order.changed_height, order.changed_ms = self._height, self._time_ms
        return order

    def _apply(self, event: Event) -> None:
        match event:
            case Accepted():
                self._order(event.order_id).ticks = event.ticks
            case Matched():
                self._trade(event)
            case Reduced():
                self._order(event.order_id).lots -= event.lots
            case Amended():
                order = self._order(event.order_id)
                order.ticks, order.lots = event.ticks, event.lots
            case Triggered():
                self._order(event.order_id).waits = False
            case Done():
                order = self._order(event.order_id)
                order.status, order.reason, order.lots = OrderStatus.DONE, event.reason, 0

    def _trade(self, event: Matched) -> None:
        row = TradeRow(
            event.ticks,
            event.lots,
            event.base_units,
            event.quote_units,
            event.taker_side,
            event.taker_id,
            event.maker_id,
            self._time_ms,
        )
        self.trades.append(Trade(event.symbol, event.trade, row))
        key = number(event.trade)
        self._rows.append((trades_prefix(event.symbol) + key, value_of(row)))
        maker_side = Side(1 - event.taker_side)
        for order_id, account, side, is_maker, fee_units in (
            (event.taker_id, event.taker, event.taker_side, False, event.taker_fee_units),
            (event.maker_id, event.maker, maker_side, True, event.maker_fee_units),
        ):
            self._order(order_id).traded(event.lots, event.quote_units, fee_units)
            fill = FillRow(
                event.symbol,
                order_id,
                side,
                is_maker,
                event.ticks,
                event.lots,
                event.base_units,
                event.quote_units,
                fee_units,
                self._time_ms,
            )
            self._rows.append((fills_prefix(account) + key, value_of(fill)))


def _order_receipts(receipts: Sequence[Receipt]) -> dict[bytes, tuple[int, Receipt]]:
    """Receipts of order actions, with their places in the block."""
    return {
        receipt.checked.txid: (place, receipt)
        for place, receipt in enumerate(receipts)
        if receipt.checked.order is not None
    }


def digest_rows(height: int, writes: Writes) -> list[Change]:
    """The digest of all books, where a block's net writes, which are in key order, change it."""
    at = bisect_left(writes, BOOKS_DIGEST, key=itemgetter(0))
    if at == len(writes) or writes[at][0] != BOOKS_DIGEST:
        return []
    return [(DIGEST + number(height), writes[at][1])]


def _candle_change(candle: Candle) -> Change:
    prefix = candles_prefix(candle.symbol, candle.interval)
    return prefix + number(candle.start_ms), value_of(candle.row)
