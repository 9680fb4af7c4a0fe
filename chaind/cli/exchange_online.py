"""`chaind exchange markets`, `book`, `trades`, `watch`: what the nodes say of their books."""

import json
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from chaind.cli.parameters import Number, Whole
from chaind.cli.wallet_options import json_option, urls_option
from chaind.primitives.errors import Unknown

if TYPE_CHECKING:
    from chaind.wallet.client_trading import TradingClient
    from chaind.wallet.trading_answers import Orderbook

R = TypeVar("R")

DEPTH = 10


timeout_option = click.option(
    "--timeout",
    "timeout_s",
    type=Number(1, 3_600),
    default=10.0,
    show_default=True,
    help="Seconds until nodes that do not answer are given up.",
)


class NoSuchMarket(Unknown):
    """The node has no market of that name."""

    code = "no-such-market"
    text = "the node has no market {symbol}"
    advice = "`chaind exchange markets` lists those that it has."


def trading(
    urls: tuple[str, ...],
    work: "Callable[[TradingClient], Coroutine[Any, Any, R]]",
    timeout_s: float,
    token_file: Path | None = None,
) -> R:
    """The result of `work` with a client of these nodes. A node's silence is told at once."""
    import asyncio

    from chaind.api.guards import read_token
    from chaind.wallet.client_trading import TradingClient
    from chaind.wallet.secret import Secret

    token = None if token_file is None else Secret(read_token(token_file))

    def tell(text: str) -> None:
        click.echo(text, err=True)

    async def run() -> R:
        opened = TradingClient.open(urls, patience_s=timeout_s, token=token, tell=tell)
        async with opened as client:
            assert isinstance(client, TradingClient)
            return await work(client)

    return asyncio.run(run())


@click.command()
@urls_option
@timeout_option
@json_option
def markets(urls: tuple[str, ...], timeout_s: float, as_json: bool) -> None:
    """List the markets and their rules.

    \b
    Example:
      chaind exchange markets
    """
    from chaind.cli.status import table
    from chaind.wallet.trading_answers import MarketInfo

    found = trading(urls, lambda client: client.markets(), timeout_s)
    columns = MarketInfo.__struct_fields__
    rows = [{name: getattr(market, name) for name in columns} for market in found.markets]
    if as_json:
        digest = {"height": found.height, "books_digest": found.books_digest}
        click.echo(json.dumps({"markets": rows, **digest}))
        return
    shown = ("symbol", "tick", "lot", "min_notional", "maker_fee", "taker_fee", "last_price")
    click.echo(table([shown, *(tuple(str(row[name] or "-") for name in shown) for row in rows)]))


@click.command()
@click.argument("symbol")
@click.option("--depth", type=Whole(1, 5_000), default=DEPTH, show_default=True)
@urls_option
@timeout_option
@json_option
def book(symbol: str, depth: int, urls: tuple[str, ...], timeout_s: float, as_json: bool) -> None:
    """Show the best prices of a market.

    \b
    Examples:
      chaind exchange book BTC-USD
      chaind exchange book COIN/USD --depth 50 --json
    """
    import msgspec

    found = trading(urls, lambda client: client.orderbook(symbol, depth), timeout_s)
    click.echo(json.dumps(msgspec.to_builtins(found)) if as_json else book_text(found))


def book_text(found: "Orderbook") -> str:
    """Asks above bids, the best prices in the middle."""
    from chaind.cli.status import table

    rows: list[tuple[str, ...]] = [("side", "price", "quantity", "orders")]
    rows += [("ask", one.price, one.quantity, str(one.orders)) for one in reversed(found.asks)]
    rows += [("bid", one.price, one.quantity, str(one.orders)) for one in found.bids]
    return f"{found.symbol} at height {found.height}\n{table(rows)}"


@click.command()
@click.argument("symbol")
@click.option("--limit", type=Whole(1, 1_000), default=20, show_default=True)
@urls_option
@timeout_option
@json_option
def trades(symbol: str, limit: int, urls: tuple[str, ...], timeout_s: float, as_json: bool) -> None:
    """Show the newest trades of a market, newest first.

    \b
    Example:
      chaind exchange trades BTC-USD
    """
    import msgspec

    from chaind.cli.status import table

    found = trading(urls, lambda client: client.trades(symbol, limit), timeout_s)
    if as_json:
        click.echo(json.dumps({"trades": msgspec.to_builtins(found)}))
        return
    columns = ("id", "side", "price", "quantity", "value", "time_ms")
    click.echo(table([columns, *(tuple(str(getattr(t, c)) for c in columns) for t in found)]))


@click.command()
@click.argument("symbol")
@click.option("--count", type=Whole(1), help="End after so many lines.")
@urls_option
@timeout_option
@json_option
def watch(
    symbol: str, count: int | None, urls: tuple[str, ...], timeout_s: float, as_json: bool
) -> None:
    """Follow a market live: its best prices as they change, and every trade.

    The book is made of the node's frames alone, and each frame's checksum is compared.

    \b
    Examples:
      chaind exchange watch BTC-USD
      chaind exchange watch BTC-USD --json --count 10
    """
    from chaind.wallet.client_trading import market_of

    async def work(client: "TradingClient") -> None:
        if market_of(await client.markets(), symbol) is None:
            raise NoSuchMarket(symbol=symbol)
        left = count
        async for line in _lines(client, symbol):
            click.echo(json.dumps(line) if as_json else _line_text(line))
            left = None if left is None else left - 1
            if left == 0:
                return

    trading(urls, work, timeout_s)


async def _lines(client: "TradingClient", symbol: str) -> Any:
    """What changes of a market, as it does."""
    import msgspec

    from chaind.market.book_feed import BookFollower
    from chaind.wallet.trading_answers import BookNews, TradesList

    follower, best = BookFollower(), None
    name = symbol.replace("/", "-", 1)
    async for news in client.watch([f"book:{name}", f"trades:{name}"]):
        if news.type in ("snapshot", "delta"):
            frame = msgspec.json.decode(news.data, type=BookNews)
            if not follower.take(frame.frame):
                continue  # a new connection, or a new snapshot, brings it back
            sides = [level[0] if level else None for level in (follower.bids, follower.asks)]
            now = [None if level is None else list(level) for level in sides]
            if now != best:
                best = now
                yield {"seq": frame.seq, "bid": now[0], "ask": now[1]}
        elif news.type == "trades":
            for trade in msgspec.json.decode(news.data, type=TradesList).trades:
                yield {"trade": msgspec.to_builtins(trade)}


def _line_text(line: dict[str, Any]) -> str:
    if "trade" in line:
        trade = line["trade"]
        return f"trade {trade['side']:<4}  {trade['quantity']} at {trade['price']}"
    bid, ask = (
        "none" if level is None else f"{level[1]} at {level[0]}"
        for level in (line["bid"], line["ask"])
    )
    return f"bid {bid}, ask {ask}"
