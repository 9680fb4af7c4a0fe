"""`chaind exchange place`, `orders`, `cancel`: what an account asks of the books.

Orders are of an account whose key the node keeps, or with --wallet of one's own, signed here.
"""

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from chaind.cli.exchange_online import NoSuchMarket, timeout_option, trading
from chaind.cli.parameters import FilePath, Filled, Whole
from chaind.cli.wallet_options import json_option, password_option, urls_option

if TYPE_CHECKING:
    from chaind.wallet.client_trading import TradingClient
    from chaind.wallet.trading_answers import OrderInfo

REASONS = {  # why an order, or the rest of it, is no longer open
    "filled": "",
    "cancelled": ": its account took it back",
    "expired": ": its time passed",
    "unfilled": ": the book had no more at its price, or within the price band",
    "fills_exceeded": ": it met as many orders as one may",
    "self_trade": ": it would have traded with its own account's order",
    "amended": ": its account asked for less than had traded",
    "out_of_band": ": when triggered its price was outside the price band",
}

F = TypeVar("F", bound=Callable[..., Any])

LISTED_MAX = 10_000
TYPES = ("limit", "market", "stop_loss", "stop_limit", "take_profit", "take_profit_limit")


def trading_options(command: F) -> F:
    """Whose orders: of the node's account, or of a wallet."""
    for option in (
        click.option(
            "--account",
            help="An account of the node, by name, number or address.  [default: the first trader; "
            "of orders named by their ids, their own]",
        ),
        click.option("--wallet", type=Filled(), help="Sign with this wallet instead."),
        click.option("--wallet-account", help="Which account of the wallet.  [default: main]"),
        password_option,
        click.option(
            "--token-file",
            type=FilePath(path_type=Path, exists=True, dir_okay=False),
            help="The node's token; a development chain on this machine asks for none.",
        ),
        urls_option,
        timeout_option,
        json_option,
    ):
        command = option(command)
    return command


def _check_whose(choices: dict[str, Any]) -> None:
    """Options of a wallet and of the node's accounts do not go together."""
    if choices["wallet"] is None:
        for name, given in (
            ("wallet_account", "--wallet-account"),
            ("password_fd", "--password-fd"),
        ):
            if choices[name] is not None:
                raise click.UsageError(f"{given} goes with --wallet.")
        return
    for name in ("account", "key"):
        if choices.get(name) is not None:
            raise click.UsageError(f"--{name} goes with accounts of the node, not --wallet.")


class _TakesNumbers(click.Command):
    """A negative number is a value, which the node refuses in its own words, and no option."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        if any(re.fullmatch(r"-\.?[0-9].*", word) for word in args):
            ctx.ignore_unknown_options = True
        return super().parse_args(ctx, args)


@click.command(cls=_TakesNumbers)
@click.argument("symbol")
@click.argument("side", type=click.Choice(["buy", "sell"]))
@click.argument("quantity")
@click.argument("price", required=False)
@click.option(
    "--type", "kind", type=click.Choice(TYPES), help="[default: limit, market if no PRICE]"
)
@click.option("--stop-price", help="Of the types that wait for a price.")
@click.option("--time-in-force", type=click.Choice(["gtc", "gtt", "ioc", "fok"]))
@click.option("--expires-ms", type=Whole(1), help="With gtt: until when, since 1970.")
@click.option("--post-only", is_flag=True, help="Rest, or be refused; never take.")
@click.option("--client-order-id", default="", help="Unique among the account's open orders.")
@click.option("--key", help="Idempotency key: the same command with it never orders twice.")
@trading_options
def place(symbol: str, side: str, quantity: str, price: str | None, **choices: Any) -> None:
    """Place an order and wait until it is final. Without PRICE it is a market order.

    Of an account of the node the order's idempotency key is shown before anything is sent: whatever
    happens, the same command with that --key finds the order or places it, and never twice.

    \b
    Examples:
      chaind exchange place BTC-USD buy 0.5 44000
      chaind exchange place BTC-USD sell 0.1
      chaind exchange place COIN-USD buy 100 0.95 --account trader2 --post-only
      chaind exchange place BTC-USD sell 1 --type stop_loss --stop-price 43000
    """
    kind = choices["kind"] or ("market" if price is None else "limit")
    _check_whose(choices)
    fields = {
        "symbol": symbol,
        "side": side,
        "quantity": quantity,
        "price": price,
        "type": kind,
        "stop_price": choices["stop_price"],
        "time_in_force": choices["time_in_force"],
        "expires_ms": choices["expires_ms"],
        "post_only": choices["post_only"],
        "client_order_id": choices["client_order_id"],
        "account": choices["account"],
    }
    given = {name: value for name, value in fields.items() if value not in (None, "", False)}

    async def work(client: "TradingClient") -> "OrderInfo":
        if choices["wallet"] is None:
            key = choices["key"] or client.draw_key()
            click.echo(f"key {key}", err=True)
            return await client.place(given, key=key)
        from chaind.cli.exchange_signed import sign_and_submit, terms_of
        from chaind.primitives.orders import PlaceOrder
        from chaind.wallet.client_trading import market_of

        market = market_of(await client.markets(), symbol)
        if market is None:
            raise NoSuchMarket(symbol=symbol)
        terms = terms_of(market, given)
        txid = await sign_and_submit(client, choices, lambda owner: PlaceOrder(owner, terms))
        return await client.order(txid)

    urls, timeout_s, token_file = (choices[name] for name in ("urls", "timeout_s", "token_file"))
    show_order(trading(urls, work, timeout_s, token_file), choices["as_json"])


def show_order(order: "OrderInfo", as_json: bool) -> None:
    """Print what became of an order."""
    import msgspec

    values: dict[str, Any] = msgspec.to_builtins(order)
    if as_json:
        click.echo(json.dumps(values))
        return
    price = "the market's price" if order.price is None else order.price
    why = "" if order.reason is None else REASONS.get(order.reason, f": {order.reason}")
    click.echo(
        f"{order.side} {order.quantity} {order.symbol} at {price}: {order.status}, "
        f"{order.filled} filled{why}\norder {order.order_id}"
    )
    if order.code is not None:
        click.echo(f"refused: {order.code}")


@click.command()
@click.option("--account", help="Whose: a name, number or address.  [default: the first trader]")
@click.option(
    "--status",
    type=click.Choice(["active", "filled", "cancelled", "expired", "rejected"]),
    help="Only those; active ones are open.",
)
@click.option("--limit", type=Whole(1, 10_000), default=20, show_default=True)
@urls_option
@timeout_option
@json_option
def orders(
    account: str | None,
    status: str | None,
    limit: int,
    urls: tuple[str, ...],
    timeout_s: float,
    as_json: bool,
) -> None:
    """List orders of an account, newest first.

    \b
    Examples:
      chaind exchange orders
      chaind exchange orders --account trader2 --status active
    """
    import msgspec

    from chaind.cli.status import table

    found = trading(
        urls, lambda client: client.orders(account, status=status, limit=limit), timeout_s
    )
    if as_json:
        click.echo(json.dumps({"orders": msgspec.to_builtins(found)}))
        return
    columns = ("order_id", "symbol", "side", "price", "quantity", "filled", "status")
    rows = [tuple(str(getattr(order, name) or "-") for name in columns) for order in found]
    click.echo(table([columns, *rows]))


@click.command()
@click.argument("order_ids", nargs=-1, metavar="[ORDER]...")
@click.option("--all", "everything", is_flag=True, help="All open orders of the account.")
@click.option("--symbol", help="With --all: of this market alone.")
@click.option("--side", type=click.Choice(["buy", "sell"]), help="With --all: of this side alone.")
@trading_options
def cancel(order_ids: tuple[str, ...], everything: bool, **choices: Any) -> None:
    """Take open orders back, and wait until that is final.

    \b
    Examples:
      chaind exchange cancel 9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08
      chaind exchange cancel --all --account trader2
      chaind exchange cancel --all --symbol BTC-USD --side buy
    """
    import msgspec

    if everything == bool(order_ids):
        raise click.UsageError("Give ids of orders, or --all.")
    if not everything and (choices["symbol"] or choices["side"]):
        raise click.UsageError("--symbol and --side go with --all.")
    _check_whose(choices)

    done: list[Any] = []

    async def work(client: "TradingClient") -> None:
        from chaind.cli.exchange_signed import cancel_all_signed, cancel_signed

        signed = choices["wallet"] is not None
        if everything:
            cancel_all = cancel_all_signed if signed else _cancel_all
            done.append(await cancel_all(client, choices))
        for order_id in order_ids:
            if signed:
                done.append(await cancel_signed(client, order_id, choices))
            else:
                done.append(await client.cancel(order_id, choices["account"]))

    urls, timeout_s, token_file = (choices[name] for name in ("urls", "timeout_s", "token_file"))
    try:
        trading(urls, work, timeout_s, token_file)
    finally:  # what was taken back before an error is told, too
        if done:
            _show_cancelled(msgspec.to_builtins(done), as_json=choices["as_json"])


def _show_cancelled(done: list[dict[str, Any]], *, as_json: bool) -> None:
    if as_json:
        click.echo(json.dumps({"cancelled": done}))
        return
    for one in done:
        count = one.get("count")
        what = "all" if count is None else "1 order" if count == 1 else f"{count} orders"
        click.echo(f"{one.get('order_id') or what}: {one['status']}")


async def _cancel_all(client: "TradingClient", choices: dict[str, Any]) -> dict[str, Any]:
    """As `Acted`, with how many of the open orders are open no longer."""
    import msgspec

    account, wanted = choices["account"], {name: choices[name] for name in ("symbol", "side")}

    async def still_open() -> set[str]:
        found = await client.orders(account, status="active", limit=LISTED_MAX)
        return {order.order_id for order in found}

    before = await still_open()
    done: dict[str, Any] = msgspec.to_builtins(await client.cancel_all(account, **wanted))
    return {**done, "count": len(before - await still_open())}
