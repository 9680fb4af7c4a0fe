"""What nodes answer about order books, as types. Fields that a newer node adds are passed over."""

import msgspec

from chaind.market.book_feed import FeedFrame, FeedLevel
from chaind.wallet.answers import ProblemForm


class _Answer(msgspec.Struct, frozen=True, kw_only=True):
    pass


class MarketInfo(_Answer, frozen=True):
    """The rules of a market, as decimal texts."""

    symbol: str
    base: str
    quote: str
    tick: str
    lot: str
    min_notional: str
    reference_price: str
    maker_fee: str
    taker_fee: str
    price_band: str
    last_price: str | None


class MarketList(_Answer, frozen=True):
    """All markets, and a digest of all books at a height."""

    markets: list[MarketInfo]
    height: int
    books_digest: str


class Orderbook(_Answer, frozen=True):
    """The best levels of a book."""

    symbol: str
    seq: int
    height: int
    bids: list[FeedLevel]
    asks: list[FeedLevel]
    checksum: int


class TradeInfo(_Answer, frozen=True):
    """A trade; `side` is the taker's."""

    id: str
    price: str
    quantity: str
    value: str
    side: str
    time_ms: int
    taker_order_id: str
    maker_order_id: str


class TradesList(_Answer, frozen=True):
    """Trades."""

    trades: list[TradeInfo]


class Ticker(_Answer, frozen=True):
    """The last day of a market, and its best prices."""

    symbol: str
    last: str | None
    open: str | None
    high: str | None
    low: str | None
    volume: str
    trades: int
    bid: str | None
    ask: str | None


class OrderInfo(_Answer, frozen=True):
    """An order as it is now."""

    order_id: str
    status: str
    timestamp: int | None
    account: str
    symbol: str
    side: str
    type: str
    price: str | None
    quantity: str
    filled: str
    remaining: str
    client_order_id: str | None = None
    reason: str | None = None
    code: str | None = None


class OrdersList(_Answer, frozen=True):
    """Orders of an account, newest first."""

    orders: list[OrderInfo]
    next_cursor: str | None


class Acted(_Answer, frozen=True):
    """An amendment or a cancellation."""

    status: str
    tx_id: str
    order_id: str | None = None


class BookNews(_Answer, frozen=True):
    """A frame of a book's channel."""

    symbol: str
    seq: int
    prev_seq: int | None
    time_ms: int
    bids: list[FeedLevel]
    asks: list[FeedLevel]
    checksum: int

    @property
    def frame(self) -> FeedFrame:
        """As `market.book_feed` follows it."""
        return FeedFrame(self.seq, self.prev_seq, tuple(self.bids), tuple(self.asks), self.checksum)


class News(_Answer, frozen=True):
    """A message of a channel, whose data is still to be read, or the answer to a command, which may
    have been refused."""

    type: str
    channel: str = ""
    data: msgspec.Raw = msgspec.Raw(b"null")
    problem: ProblemForm | None = None
