"""Rows of the route table about order books: markets and what trades on them, and orders."""

from chaind.api import markets, orders
from chaind.api.answers import HEX_ID
from chaind.api.fields import FieldInvalid
from chaind.api.guards import Access
from chaind.api.order_forms import (
    MARKET_NAME,
    CandlesAnswer,
    FillsPage,
    MarketsAnswer,
    OrderAnswer,
    OrderbookAnswer,
    OrdersPage,
    TickerAnswer,
    TradesPage,
)
from chaind.api.problems import QueryInvalid
from chaind.api.refusals import NAMES, PAYING, leaves
from chaind.api.route import (
    CHAOS,
    DB_HIT,
    HIT,
    IDEMPOTENCY_KEY,
    PREFER,
    V1,
    WAIT,
    Follow,
    Parameter,
    Route,
    cursor,
    number,
    page,
    segment,
)
from chaind.market import errors as market
from chaind.node import orders as node_orders
from chaind.storage.chain_store import BlockDamaged
from chaind.storage.market_rows import BY_NAME

_SYMBOL = segment("symbol", "A market: BASE-QUOTE or BASE/QUOTE", "BTC-USD")
_ORDER = segment("id", "The id of an order: its transaction's", "0" * 64, HEX_ID)
_ACCOUNT = Parameter(
    "account",
    "An address, the name of an account that this node keeps, or its number; by default the first "
    "trader of a development chain",
    example="trader1",
)
_MARKET = Parameter("symbol", "Only this market", limits={"pattern": MARKET_NAME})
_OF_MARKETS = (market.MarketUnknown,)
_OF_ORDERS = tuple(kind for kind in leaves(market) if kind is not market.MarketExists)
_TRADING = (
    *PAYING,
    *_OF_ORDERS,
    *leaves(node_orders),
    FieldInvalid,
    QueryInvalid,
    BlockDamaged,
)
_ASKING = (WAIT, PREFER, IDEMPOTENCY_KEY, CHAOS)
_HEADERS = (HIT, DB_HIT)
_PLACED = (
    Follow("get_order", "id", "order_id"),
    Follow("patch_order", "id", "order_id"),
    Follow("put_order", "id", "order_id"),
    Follow("delete_order", "id", "order_id"),
)

MARKET_ROUTES: tuple[Route, ...] = (
    Route(
        "GET",
        f"{V1}/markets",
        markets.get_markets,
        "Markets and their rules, and a digest of all books",
        {200: MarketsAnswer},
        parameters=(
            number(
                "height",
                "Of which the digest is, by default the newest",
                0,
                markets.HEIGHT_MAX,
            ),
        ),
        errors=(markets.HeightNotFinal,),
    ),
    Route(
        "GET",
        f"{V1}/orderbook/{{symbol}}",
        markets.get_orderbook,
        "The best prices of both sides, with what is open at each, after the final block",
        {200: OrderbookAnswer},
        parameters=(
            _SYMBOL,
            number("depth", "Most prices of a side", 1, markets.DEPTH_MAX, default=markets.DEPTH),
        ),
        errors=_OF_MARKETS,
    ),
    Route(
        "GET",
        f"{V1}/trades/{{symbol}}",
        markets.get_trades,
        "Trades of a market in final blocks, newest first",
        {200: TradesPage},
        parameters=(_SYMBOL, page(markets.TRADES_PAGE, markets.TRADES_PAGE_MAX), cursor(2)),
        errors=_OF_MARKETS,
    ),
    Route(
        "GET",
        f"{V1}/candles/{{symbol}}",
        markets.get_candles,
        "What traded by interval: open, high, low, close, volumes",
        {200: CandlesAnswer},
        parameters=(
            _SYMBOL,
            Parameter(
                "interval",
                "How long each is",
                limits={"enum": list(BY_NAME), "default": "1m"},
                example="1m",
            ),
            number("from_ms", "Of this time and later, since 1970", 0, markets.TIME_MS_MAX),
            number("to_ms", "Before this time, since 1970", 0, markets.TIME_MS_MAX),
            page(markets.CANDLES, markets.CANDLES_MAX),
        ),
        errors=_OF_MARKETS,
    ),
    Route(
        "GET",
        f"{V1}/ticker/{{symbol}}",
        markets.get_ticker,
        "The last day of a market, and its best prices",
        {200: TickerAnswer},
        parameters=(_SYMBOL,),
        errors=_OF_MARKETS,
    ),
    Route(
        "POST",
        f"{V1}/orders",
        orders.post_order,
        "Place an order for an account whose key this node keeps",
        {200: OrderAnswer, 202: OrderAnswer},
        request=orders.OrderRequest,
        parameters=_ASKING,
        errors=_TRADING,
        headers=_HEADERS,
        examples={
            "at the market": {
                "symbol": "BTC-USD",
                "side": "sell",
                "quantity": "0.5",
                "type": "market",
            },
            "a bid": {"symbol": "BTC/USD", "side": "buy", "quantity": 1.5, "price": 45000.00},
        },
        follows=_PLACED,
        access=Access.DEVELOPMENT,
    ),
    Route(
        "GET",
        f"{V1}/orders",
        orders.get_orders,
        "Orders of an account as final blocks left them, newest first",
        {200: OrdersPage},
        parameters=(
            _ACCOUNT,
            _MARKET,
            Parameter(
                "status",
                "Only those; active means open, untriggered or partially filled",
                limits={"enum": [*orders.STATUSES, orders.ACTIVE]},
            ),
            page(orders.PAGE, orders.PAGE_MAX),
            cursor(2),
        ),
        errors=(*NAMES, *_OF_MARKETS),
    ),
    Route(
        "GET",
        f"{V1}/orders/{{id}}",
        orders.get_order,
        "What became of an order",
        {200: OrderAnswer},
        parameters=(_ORDER,),
        errors=(orders.OrderIdInvalid, node_orders.OrderUnknown, BlockDamaged, *_OF_MARKETS),
    ),
    Route(
        "PATCH",
        f"{V1}/orders/{{id}}",
        orders.patch_order,
        "Amend an open order of an account whose key this node keeps",
        {200: orders.ActedAnswer, 202: orders.ActedAnswer},
        request=orders.AmendRequest,
        parameters=(_ORDER, _ACCOUNT, *_ASKING),
        errors=(*_TRADING, orders.OrderIdInvalid),
        headers=_HEADERS,
        examples={"a better price": {"price": "45100"}},
        access=Access.DEVELOPMENT,
    ),
    Route(
        "PUT",
        f"{V1}/orders/{{id}}",
        orders.put_order,
        "The same as PATCH: what is left out stays",
        {200: orders.ActedAnswer, 202: orders.ActedAnswer},
        request=orders.AmendRequest,
        parameters=(_ORDER, _ACCOUNT, *_ASKING),
        errors=(*_TRADING, orders.OrderIdInvalid),
        headers=_HEADERS,
        examples={"a better price": {"price": "45200"}},
        access=Access.DEVELOPMENT,
    ),
    Route(
        "DELETE",
        f"{V1}/orders/{{id}}",
        orders.delete_order,
        "Cancel an open order of an account whose key this node keeps",
        {200: orders.ActedAnswer, 202: orders.ActedAnswer},
        parameters=(_ORDER, _ACCOUNT, *_ASKING),
        errors=(*_TRADING, orders.OrderIdInvalid),
        headers=_HEADERS,
        access=Access.DEVELOPMENT,
    ),
    Route(
        "DELETE",
        f"{V1}/orders",
        orders.delete_orders,
        "Cancel all open orders of an account, or those of a market or a side",
        {200: orders.ActedAnswer, 202: orders.ActedAnswer},
        parameters=(
            _ACCOUNT,
            _MARKET,
            Parameter("side", "Only this side", limits={"enum": ["buy", "sell"]}),
            *_ASKING,
        ),
        errors=_TRADING,
        headers=_HEADERS,
        access=Access.DEVELOPMENT,
    ),
    Route(
        "GET",
        f"{V1}/fills",
        orders.get_fills,
        "Trades of an account in final blocks, newest first",
        {200: FillsPage},
        parameters=(_ACCOUNT, page(orders.PAGE, orders.PAGE_MAX), cursor(2)),
        errors=(*NAMES, *_OF_MARKETS),
    ),
)
