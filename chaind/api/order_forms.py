"""How markets, books, trades, candles and orders look outside: decimal strings, ids in hex."""

from enum import IntEnum
from typing import Annotated, Any, Literal

import msgspec

from chaind.api.answers import Answer
from chaind.api.forms import Forms, maybe
from chaind.market.book_feed import FeedFrame, FeedLevel
from chaind.node.market_data import BookView
from chaind.node.orders import OrderState, status_word
from chaind.primitives.amounts import format_amount
from chaind.primitives.orders import (
    BUY,
    GTT,
    LIMIT,
    NONE,
    PPM,
    SELL,
    Kind,
    Market,
    Side,
    Terms,
    Trigger,
)
from chaind.storage.market_rows import CandleRow, FillRow, OrderStatus, TradeRow, trade_place

FinalName = Literal["final"]
SideName = Literal["buy", "sell"]
TypeName = Literal["limit", "market", "stop_loss", "stop_limit", "take_profit", "take_profit_limit"]
TimeName = Literal["gtc", "gtt", "ioc", "fok"]
SelfTradeName = Literal["cancel_newest", "cancel_oldest", "cancel_both", "decrement"]
MARKET_NAME = "^[A-Z0-9]{1,12}[-/][A-Z0-9]{1,12}$"
MarketName = Annotated[str, msgspec.Meta(extra_json_schema={"pattern": MARKET_NAME})]
ClientOrderId = Annotated[
    str, msgspec.Meta(extra_json_schema={"pattern": "^[A-Za-z0-9_.:/-]{0,36}$"})
]

TYPES: dict[str, tuple[Kind, Trigger]] = {
    "limit": (Kind.LIMIT, Trigger.NONE),
    "market": (Kind.MARKET, Trigger.NONE),
    "stop_loss": (Kind.MARKET, Trigger.STOP),
    "stop_limit": (Kind.LIMIT, Trigger.STOP),
    "take_profit": (Kind.MARKET, Trigger.TAKE_PROFIT),
    "take_profit_limit": (Kind.LIMIT, Trigger.TAKE_PROFIT),
}
_TYPE_NAMES: dict[tuple[Kind, Trigger], Any] = {value: name for name, value in TYPES.items()}
_DAY_PERCENT = 100


class MarketAnswer(Answer, frozen=True, kw_only=True):
    """The rules of a market. Prices are quote for a whole unit of base; fees are shares of what is
    received. A price may be as far from the last one as `price_band` of it."""

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
    fee_account: str
    last_price: str | None


class MarketsAnswer(Answer, frozen=True):
    """All markets by symbol. `books_digest` is what every change of every book up to `height`
    hashes to: equal at equal heights on all nodes."""

    markets: list[MarketAnswer]
    height: int
    books_digest: str


LevelForm = Annotated[
    list[str | int],
    msgspec.Meta(
        description="[price, quantity open at it, number of orders]", min_length=3, max_length=3
    ),
]


class OrderbookAnswer(Answer, frozen=True):
    """A book at the final tip (`at`), both sides best first. `checksum` is CRC-32 of the best 25
    levels of each side, `price:quantity` joined by colons, bids first; `seq` is that of the book's
    channel."""

    symbol: str
    seq: int
    height: int
    time_ms: int
    bids: list[LevelForm]
    asks: list[LevelForm]
    checksum: int
    at: FinalName = "final"


class TradeForm(Answer, frozen=True):
    """A trade at the maker's price. `side` is the taker's; `id` is height and index."""

    id: str
    price: str
    quantity: str
    value: str
    side: SideName
    time_ms: int
    taker_order_id: str
    maker_order_id: str


class TradesPage(Answer, frozen=True):
    """Trades, newest first."""

    symbol: str
    trades: list[TradeForm]
    count: int
    next_cursor: str | None


class CandleForm(Answer, frozen=True):
    """What traded within an interval from `time_ms` on; intervals without trades have none."""

    time_ms: int
    open: str
    high: str
    low: str
    close: str
    volume: str
    quote_volume: str
    trades: int


class CandlesAnswer(Answer, frozen=True):
    """The newest candles asked for, oldest first."""

    symbol: str
    interval: str
    candles: list[CandleForm]
    count: int


class TickerAnswer(Answer, frozen=True, kw_only=True):
    """The last day of a market to the minute, and the best prices. Null is what nothing traded or
    stands for; `change_percent` is cut to hundredths."""

    symbol: str
    seq: int
    time_ms: int
    last: str | None
    open: str | None
    high: str | None
    low: str | None
    change: str | None
    change_percent: str | None
    volume: str
    quote_volume: str
    trades: int
    bid: str | None
    bid_quantity: str | None
    ask: str | None
    ask_quantity: str | None


class OrderAnswer(Answer, frozen=True, kw_only=True):
    """An order as it is now. `timestamp` is the time of its block, in ms; it, `height` and
    `changed_ms` are null while it is pending. `reason` says why it is done, and `code` which rule
    the book had against it."""

    order_id: str
    status: str
    timestamp: int | None
    account: str
    symbol: str
    side: SideName
    type: TypeName
    time_in_force: TimeName
    price: str | None
    stop_price: str | None
    quantity: str
    filled: str
    remaining: str
    value: str
    fee: str
    fee_asset: str
    post_only: bool
    expires_ms: int | None
    self_trade_prevention: SelfTradeName
    client_order_id: str | None
    height: int | None
    changed_ms: int | None
    reason: str | None
    code: str | None


class OrdersPage(Answer, frozen=True):
    """Orders of an account, newest first; a page may be short where a status was asked for. They
    are as final blocks left them (`at`): a chain of miners has balances of its head, and both are
    of one block where balances are asked for with `at=final`."""

    account: str
    orders: list[OrderAnswer]
    count: int
    next_cursor: str | None
    at: FinalName = "final"


class FillForm(Answer, frozen=True, kw_only=True):
    """An account's side of a trade. The fee is of what this side received."""

    id: str
    order_id: str
    symbol: str
    side: SideName
    role: Literal["maker", "taker"]
    price: str
    quantity: str
    value: str
    fee: str
    fee_asset: str
    time_ms: int


class FillsPage(Answer, frozen=True):
    """Fills of an account, newest first."""

    account: str
    fills: list[FillForm]
    count: int
    next_cursor: str | None


def side_name(side: Side) -> SideName:
    """How a side is written."""
    return "buy" if side is BUY else "sell"


def market_form(forms: Forms, market: Market, last_ticks: int | None) -> MarketAnswer:
    """The form of a market's rules."""
    return MarketAnswer(
        symbol=market.symbol,
        base=market.base,
        quote=market.quote,
        tick=format_amount(market.tick_units),
        lot=format_amount(market.lot_units),
        min_notional=format_amount(market.min_notional_units),
        reference_price=format_amount(market.reference_ticks * market.tick_units),
        maker_fee=_share(market.maker_fee_ppm),
        taker_fee=_share(market.taker_fee_ppm),
        price_band=_share(market.band_ppm),
        fee_account=forms.show(market.fee_account),
        last_price=maybe(lambda ticks: format_amount(ticks * market.tick_units), last_ticks),
    )


def _share(ppm: int) -> str:
    """Millionths as a decimal: amounts have two places more."""
    return format_amount(ppm * 10**8 // PPM)


def levels_form(levels: tuple[FeedLevel, ...]) -> list[LevelForm]:
    """The form of levels."""
    return [list(level) for level in levels]


def orderbook_form(view: BookView, frame: FeedFrame, height: int, time_ms: int) -> OrderbookAnswer:
    """The form of a book."""
    return OrderbookAnswer(
        view.market.symbol,
        frame.seq,
        height,
        time_ms,
        levels_form(frame.bids),
        levels_form(frame.asks),
        frame.checksum,
    )


def trade_form(market: Market, trade: int, row: TradeRow) -> TradeForm:
    """The form of a trade."""
    return TradeForm(
        trade_id(trade),
        format_amount(row.ticks * market.tick_units),
        format_amount(row.base_units),
        format_amount(row.quote_units),
        side_name(row.taker_side),
        row.time_ms,
        row.taker_id.hex(),
        row.maker_id.hex(),
    )


def trade_id(trade: int) -> str:
    """Height and index of a trade."""
    height, index = trade_place(trade)
    return f"{height}.{index}"


def candle_form(market: Market, start_ms: int, row: CandleRow) -> CandleForm:
    """The form of a candle."""
    first, high, low, last = (
        format_amount(ticks * market.tick_units)
        for ticks in (row.open, row.high, row.low, row.close)
    )
    return CandleForm(
        start_ms,
        first,
        high,
        low,
        last,
        format_amount(row.base_units),
        format_amount(row.quote_units),
        row.trades,
    )


def ticker_form(view: BookView, time_ms: int, seq: int) -> TickerAnswer:
    """The form of a market's last day."""
    day = view.day(time_ms)
    bid, ask = view.best(BUY), view.best(SELL)
    price = view.price
    return TickerAnswer(
        symbol=view.market.symbol,
        seq=seq,
        time_ms=time_ms,
        last=maybe(price, view.last_ticks),
        open=None if day is None else price(day.open),
        high=None if day is None else price(day.high),
        low=None if day is None else price(day.low),
        change=None if day is None else price(day.last - day.open),
        change_percent=None if day is None else _percent(day.last - day.open, day.open),
        volume=format_amount(0 if day is None else day.base_units),
        quote_volume=format_amount(0 if day is None else day.quote_units),
        trades=0 if day is None else day.trades,
        bid=None if bid is None else bid.price,
        bid_quantity=None if bid is None else bid.quantity,
        ask=None if ask is None else ask.price,
        ask_quantity=None if ask is None else ask.quantity,
    )


def _percent(part: int, whole: int) -> str:
    """With two places, the rest cut off: a fall looks as steep as a rise of the same size."""
    hundredths = abs(part) * _DAY_PERCENT * 100 // whole
    return format_amount((hundredths if part > 0 else -hundredths) * 10**6)


def order_form(forms: Forms, market: Market, state: OrderState) -> OrderAnswer:
    """The form of an order."""
    record = state.record
    terms = record.terms
    buys = terms.side is BUY
    refused = record.refused
    reason = record.reason
    return OrderAnswer(
        order_id=state.order_id.hex(),
        status=status_word(record) if state.final else "pending",
        timestamp=record.time_ms if state.final else None,
        account=forms.show(record.account),
        symbol=terms.symbol,
        side=side_name(terms.side),
        type=_TYPE_NAMES[terms.kind, terms.trigger],
        time_in_force=_lower(terms.time_in_force),
        price=format_amount(record.ticks * market.tick_units) if terms.kind is LIMIT else None,
        stop_price=_stop_price(market, terms),
        quantity=format_amount(record.quantity * market.lot_units),
        filled=format_amount(record.filled * market.lot_units),
        remaining=format_amount(record.lots * market.lot_units)
        if record.status is OrderStatus.OPEN
        else "0",
        value=format_amount(record.quote_units),
        fee=format_amount(record.fee_units),
        fee_asset=market.base if buys else market.quote,
        post_only=terms.post_only,
        expires_ms=terms.expires_ms if terms.time_in_force is GTT else None,
        self_trade_prevention=_lower(terms.self_trade),
        client_order_id=terms.client_id or None,
        height=record.height if state.final else None,
        changed_ms=record.changed_ms if state.final else None,
        reason=None if reason is None else reason.name.lower(),
        code=None if refused is None else refused.code,
    )


def _stop_price(market: Market, terms: Terms) -> str | None:
    if terms.trigger is NONE:
        return None
    return format_amount(terms.stop_ticks * market.tick_units)


def _lower(value: IntEnum) -> Any:
    return value.name.lower()


def fill_form(market: Market, trade: int, row: FillRow) -> FillForm:
    """The form of a fill."""
    return FillForm(
        id=trade_id(trade),
        order_id=row.order_id.hex(),
        symbol=row.symbol,
        side=side_name(row.side),
        role="maker" if row.is_maker else "taker",
        price=format_amount(row.ticks * market.tick_units),
        quantity=format_amount(row.base_units),
        value=format_amount(row.quote_units),
        fee=format_amount(row.fee_units),
        fee_asset=market.base if row.side is BUY else market.quote,
        time_ms=row.time_ms,
    )
