"""Index rows of the order books: what became of orders, trades, fills and candles.

    Q ‖ order id                              what a final order asked for and what became of it
    N ‖ len ‖ account ‖ height(8) ‖ index(4)  id of an order of an account, by its transaction
    F ‖ len ‖ account ‖ trade(8)              one side of a trade: what an account had of it
    T ‖ len ‖ symbol ‖ trade(8)               a trade
    I ‖ len ‖ symbol ‖ interval ‖ start(8)    a candle, its start in ms
    D ‖ height(8)                             digest of all books after a block that changed one

A trade's number is its height in the upper half and an index in the lower one, so that rows go by
time. Prices are whole ticks and quantities whole lots, as the market's rules give them meaning.
What many trades sum up to is no amount: the same units may move any number of times, so that no
64 bits bound it (`Sum`).
The books themselves are state, not index: `market.rows`.
"""

from enum import IntEnum
from typing import NamedTuple

import msgspec

from chaind.ledger.trading import Refused
from chaind.market.events import Reason
from chaind.primitives.codec import Decoder, encode
from chaind.primitives.orders import NONE, Side, Terms

ORDER_RECORD = b"Q"
ORDERS_OF = b"N"
FILLS_OF = b"F"
TRADE = b"T"
CANDLE = b"I"
DIGEST = b"D"

TRADE_INDEX_BITS = 32


Sum = int | bytes  # what fits MessagePack's integers as such, more as its big-endian bytes
_INTEGERS_END = 1 << 64


def _sum_of(units: int) -> Sum:
    if units < _INTEGERS_END:
        return units
    return units.to_bytes((units.bit_length() + 7) // 8, "big")


def _units_of(total: Sum) -> int:
    return total if isinstance(total, int) else int.from_bytes(total, "big")


class Interval(NamedTuple):
    """A length of candles. `mark` is its byte in a key."""

    name: str
    length_ms: int
    mark: bytes


INTERVALS: tuple[Interval, ...] = (
    Interval("1s", 1_000, b"s"),
    Interval("1m", 60_000, b"m"),
    Interval("5m", 300_000, b"f"),
    Interval("1h", 3_600_000, b"h"),
    Interval("1d", 86_400_000, b"d"),
)
BY_NAME = {interval.name: interval for interval in INTERVALS}
MINUTE = BY_NAME["1m"]


class OrderStatus(IntEnum):
    """Where an order is. What is DONE has a reason; what was REFUSED never stood in a book."""

    OPEN = 0
    DONE = 1
    REFUSED = 2


class OrderRecord(msgspec.Struct, array_like=True):
    """What a final order asked for and what became of it.

    `terms` are as placed, but for the stop price and post-only of an amendment; `ticks` is its
    worst price now and `lots` what is open. `quantity` is what it asks for in all, what has traded
    included; `quote` and `fees` are what its trades moved. Not frozen: an order that
    trades a thousand times in a block is written once.
    """

    account: bytes
    terms: Terms
    height: int
    place: int
    time_ms: int
    ticks: int
    quantity: int
    lots: int
    waits: bool  # for its stop price
    filled: int = 0
    quote: Sum = 0
    fees: Sum = 0
    status: OrderStatus = OrderStatus.OPEN
    reason: Reason | None = None
    refused: Refused | None = None
    changed_height: int = 0
    changed_ms: int = 0

    @property
    def quote_units(self) -> int:
        """What its trades moved of the quote asset."""
        return _units_of(self.quote)

    @property
    def fee_units(self) -> int:
        """What its trades cost it, in the asset that it received."""
        return _units_of(self.fees)

    def traded(self, lots: int, quote_units: int, fee_units: int) -> None:
        """One more trade."""
        self.lots -= lots
        self.filled += lots
        self.quote = _sum_of(self.quote_units + quote_units)
        self.fees = _sum_of(self.fee_units + fee_units)

    @property
    def shown(self) -> tuple[int, int]:
        """The level that it stands at, and what is open there: (ticks, lots), (0, 0) for none."""
        if self.status is OrderStatus.OPEN and not self.waits and self.lots:
            return self.ticks, self.lots
        return 0, 0

    @classmethod
    def of(
        cls, terms: Terms, account: bytes, *, height: int, place: int, time_ms: int
    ) -> "OrderRecord":
        """An order as it was placed."""
        return cls(
            account=account,
            terms=terms,
            height=height,
            place=place,
            time_ms=time_ms,
            ticks=terms.ticks,
            quantity=terms.lots,
            lots=terms.lots,
            waits=terms.trigger is not NONE,
            changed_height=height,
            changed_ms=time_ms,
        )


class TradeRow(msgspec.Struct, array_like=True, frozen=True, gc=False):
    """A trade at the maker's price."""

    ticks: int
    lots: int
    base_units: int
    quote_units: int
    taker_side: Side
    taker_id: bytes
    maker_id: bytes
    time_ms: int


class FillRow(msgspec.Struct, array_like=True, frozen=True, gc=False):
    """One side of a trade. The fee is in what this side receives."""

    symbol: str
    order_id: bytes
    side: Side
    is_maker: bool
    ticks: int
    lots: int
    base_units: int
    quote_units: int
    fee_units: int
    time_ms: int


class CandleRow(msgspec.Struct, array_like=True, frozen=True, gc=False):
    """What traded within an interval: prices in ticks, volumes in base units of both assets."""

    open: int
    high: int
    low: int
    close: int
    base: Sum
    quote: Sum
    trades: int

    @property
    def base_units(self) -> int:
        """Volume in the base asset."""
        return _units_of(self.base)

    @property
    def quote_units(self) -> int:
        """Volume in the quote asset."""
        return _units_of(self.quote)

    def joined(self, trade: TradeRow) -> "CandleRow":
        """With one more trade, the newest."""
        return CandleRow(
            self.open,
            max(self.high, trade.ticks),
            min(self.low, trade.ticks),
            trade.ticks,
            _sum_of(self.base_units + trade.base_units),
            _sum_of(self.quote_units + trade.quote_units),
            self.trades + 1,
        )

    @classmethod
    def of(cls, trade: TradeRow) -> "CandleRow":
        """A candle of one trade."""
        ticks = trade.ticks
        return cls(ticks, ticks, ticks, ticks, trade.base_units, trade.quote_units, 1)


order_record: Decoder[OrderRecord] = Decoder("order record", OrderRecord)
trade_row: Decoder[TradeRow] = Decoder("trade row", TradeRow)
fill_row: Decoder[FillRow] = Decoder("fill row", FillRow)
candle_row: Decoder[CandleRow] = Decoder("candle row", CandleRow)


def trade_number(height: int, index: int) -> int:
    """Height and index in one integer."""
    return height << TRADE_INDEX_BITS | index


def trade_place(number: int) -> tuple[int, int]:
    """Inverse of `trade_number`."""
    return number >> TRADE_INDEX_BITS, number & ((1 << TRADE_INDEX_BITS) - 1)


def trades_prefix(symbol: str) -> bytes:
    """Prefix of a market's trades; 8 bytes of the trade's number follow."""
    return TRADE + _sized(symbol.encode("ascii"))


def fills_prefix(account: bytes) -> bytes:
    """Prefix of an account's fills; 8 bytes of the trade's number follow."""
    return FILLS_OF + _sized(account)


def orders_prefix(account: bytes) -> bytes:
    """Prefix of an account's orders; `schema.location_suffix` follows."""
    return ORDERS_OF + _sized(account)


def candles_prefix(symbol: str, interval: Interval) -> bytes:
    """Prefix of a market's candles; 8 bytes of the start in ms follow."""
    return CANDLE + _sized(symbol.encode("ascii")) + interval.mark


def _sized(name: bytes) -> bytes:
    return bytes([len(name)]) + name


def value_of(row: OrderRecord | TradeRow | FillRow | CandleRow) -> bytes:
    """Row value."""
    return encode(row)
