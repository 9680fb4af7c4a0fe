"""What the index rows of order books answer: synchronous reads of what is final.

A cursor of a list is the place of its last entry, so that new blocks shift no page.
"""

from typing import NamedTuple

from chaind.market.rows import MARKET, market_decoder, market_key
from chaind.primitives.hashes import ZERO_HASH
from chaind.primitives.orders import Market
from chaind.storage.kv import KeyValue, prefix_end
from chaind.storage.market_rows import (
    DIGEST,
    ORDER_RECORD,
    CandleRow,
    FillRow,
    Interval,
    OrderRecord,
    TradeRow,
    candle_row,
    candles_prefix,
    fill_row,
    fills_prefix,
    order_record,
    orders_prefix,
    trade_row,
    trades_prefix,
)
from chaind.storage.schema import STATE, location_suffix, number

_NUMBER_BYTES = 8


class PlacedOrder(NamedTuple):
    """An order of an account, and where it stands among its orders."""

    height: int
    place: int
    order_id: bytes
    record: OrderRecord


class MarketReads:
    """See the module's law."""

    def __init__(self, database: KeyValue) -> None:
        self._database = database

    def markets(self) -> list[Market]:
        """All markets, by symbol."""
        prefix = STATE + MARKET
        rows = self._database.scan(prefix, prefix_end(prefix))
        return [market_decoder.decode(value).market for _, value in rows]

    def market(self, symbol: str) -> Market | None:
        """A market's rules."""
        if not symbol.isascii():
            return None
        value = self._database.get(STATE + market_key(symbol))
        return market_decoder.decode(value).market if value is not None else None

    def digest(self, height: int) -> bytes:
        """What all changes of all books up to a height hash to, one block after the other."""
        rows = self._database.scan(DIGEST, DIGEST + number(height + 1), reverse=True, limit=1)
        return next((value for _, value in rows), ZERO_HASH)

    def order(self, order_id: bytes) -> OrderRecord | None:
        """A final order, open or not."""
        value = self._database.get(ORDER_RECORD + order_id)
        return order_record.decode(value) if value is not None else None

    def orders(
        self, account: bytes, before: tuple[int, int] | None, limit: int
    ) -> list[PlacedOrder]:
        """Orders of an account, newest first, strictly before (height, place)."""
        prefix = orders_prefix(account)
        stop = prefix_end(prefix) if before is None else prefix + location_suffix(*before)
        found = []
        for key, order_id in self._database.scan(prefix, stop, reverse=True, limit=limit):
            record = self.order(order_id)
            assert record is not None, "both rows are of one batch"
            where = key[len(prefix) :]
            height, place = (int.from_bytes(part, "big") for part in (where[:8], where[8:]))
            found.append(PlacedOrder(height, place, order_id, record))
        return found

    def fills(self, account: bytes, before: int | None, limit: int) -> list[tuple[int, FillRow]]:
        """Fills of an account with their trades' numbers, newest first, before a number."""
        return [
            (trade, fill_row.decode(value))
            for trade, value in self._newest_first(fills_prefix(account), before, limit)
        ]

    def trades(self, symbol: str, before: int | None, limit: int) -> list[tuple[int, TradeRow]]:
        """Trades of a market with their numbers, newest first, before a number."""
        return [
            (trade, trade_row.decode(value))
            for trade, value in self._newest_first(trades_prefix(symbol), before, limit)
        ]

    def trades_from(self, symbol: str, start: int, limit: int) -> list[tuple[int, TradeRow]]:
        """Trades of a market with their numbers, oldest first, from a number on."""
        prefix = trades_prefix(symbol)
        rows = self._database.scan(prefix + number(start), prefix_end(prefix), limit=limit)
        return [(_number_of(key), trade_row.decode(value)) for key, value in rows]

    def candles(
        self, symbol: str, interval: Interval, start_ms: int, stop_ms: int | None, limit: int
    ) -> list[tuple[int, CandleRow]]:
        """The newest candles of a market that begin within [start, stop), oldest first."""
        prefix = candles_prefix(symbol, interval)
        stop = prefix_end(prefix) if stop_ms is None else prefix + number(stop_ms)
        rows = self._database.scan(prefix + number(start_ms), stop, reverse=True, limit=limit)
        found = [(_number_of(key), candle_row.decode(value)) for key, value in rows]
        return found[::-1]

    def _newest_first(
        self, prefix: bytes, before: int | None, limit: int
    ) -> list[tuple[int, bytes]]:
        stop = prefix_end(prefix) if before is None else prefix + number(before)
        rows = self._database.scan(prefix, stop, reverse=True, limit=limit)
        return [(_number_of(key), value) for key, value in rows]


def _number_of(key: bytes) -> int:
    return int.from_bytes(key[-_NUMBER_BYTES:], "big")
