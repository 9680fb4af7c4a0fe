"""Routes that read order books: markets, levels, trades, candles, tickers. All of them final."""

from aiohttp import web

from chaind.api.answers import respond
from chaind.api.bodies import query_cursor, query_integer
from chaind.api.context import Api
from chaind.api.order_forms import (
    CandlesAnswer,
    MarketsAnswer,
    TradesPage,
    candle_form,
    market_form,
    orderbook_form,
    ticker_form,
    trade_form,
    trade_id,
)
from chaind.api.problems import QueryInvalid
from chaind.node.orders import market_name
from chaind.primitives.errors import Unknown
from chaind.storage.market_rows import BY_NAME, trade_number

DEPTH, DEPTH_MAX = 50, 5_000
TRADES_PAGE, TRADES_PAGE_MAX = 100, 1_000
CANDLES, CANDLES_MAX = 500, 1_500
TIME_MS_MAX = HEIGHT_MAX = 2**53 - 1
INDEX_MAX = 2**32 - 1  # of a trade within its block


class HeightNotFinal(Unknown):
    code = "height-not-final"
    text = "there are no books of height {height} yet: the newest final block is {final_height}"
    advice = "Ask again when that block is final, or leave the height out to get the newest."


async def get_markets(api: Api, request: web.Request) -> web.Response:
    """Their rules as they are now, and a digest of all books as they were at a height."""
    data, reads = api.node.market_data, api.node.orders.reads
    height = query_integer(request, "height", data.height, 0, HEIGHT_MAX)
    if height > data.height:
        raise HeightNotFinal(height=height, final_height=data.height)
    markets = [
        market_form(api.forms, market, data.view(market.symbol).last_ticks)
        for market in reads.markets()
    ]
    return respond(MarketsAnswer(markets, height, reads.digest(height).hex()))


async def get_orderbook(api: Api, request: web.Request) -> web.Response:
    """The best prices of both sides."""
    data = api.node.market_data
    depth = query_integer(request, "depth", DEPTH, 1, DEPTH_MAX)
    view = data.view(market_name(request.match_info["symbol"]))
    return respond(orderbook_form(view, view.snapshot(depth), data.height, data.time_ms))


async def get_trades(api: Api, request: web.Request) -> web.Response:
    """Newest first; a cursor is the last trade of the page before."""
    limit = query_integer(request, "limit", TRADES_PAGE, 1, TRADES_PAGE_MAX)
    market = api.node.orders.market(request.match_info["symbol"])
    found = api.node.orders.reads.trades(market.symbol, trade_cursor(request), limit + 1)
    page = found[:limit]
    following = trade_id(page[-1][0]) if len(found) > limit else None
    trades = [trade_form(market, trade, row) for trade, row in page]
    return respond(TradesPage(market.symbol, trades, len(trades), following))


def trade_cursor(request: web.Request) -> int | None:
    """The number of the trade that a cursor names. Raises `QueryInvalid`."""
    cursor = query_cursor(request, 2)
    if cursor is None:
        return None
    height, index = cursor
    if height > INDEX_MAX or index > INDEX_MAX:
        raise QueryInvalid(
            name="cursor", value=f"{height}.{index}", allowed="the next_cursor of a page"
        )
    return trade_number(height, index)


async def get_candles(api: Api, request: web.Request) -> web.Response:
    """The newest candles within a time, oldest first."""
    name = request.query.get("interval", "1m")
    interval = BY_NAME.get(name)
    if interval is None:
        raise QueryInvalid(name="interval", value=name[:80], allowed=" or ".join(BY_NAME))
    limit = query_integer(request, "limit", CANDLES, 1, CANDLES_MAX)
    from_ms = query_integer(request, "from_ms", 0, 0, TIME_MS_MAX)
    to_ms = query_integer(request, "to_ms", TIME_MS_MAX, 0, TIME_MS_MAX)
    market = api.node.orders.market(request.match_info["symbol"])
    found = api.node.orders.reads.candles(market.symbol, interval, from_ms, to_ms, limit)
    candles = [candle_form(market, start_ms, row) for start_ms, row in found]
    return respond(CandlesAnswer(market.symbol, interval.name, candles, len(candles)))


async def get_ticker(api: Api, request: web.Request) -> web.Response:
    """The last day, and the best prices."""
    data = api.node.market_data
    view = data.view(market_name(request.match_info["symbol"]))
    return respond(ticker_form(view, data.time_ms, data.height))
