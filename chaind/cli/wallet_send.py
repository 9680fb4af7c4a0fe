"""`chaind wallet send`: a payment from a wallet, exactly once for its key.

Law: a payment is planned and shown without the password, which is asked for when there is something
to sign: whoever types it has seen what it is for.
"""

import json
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, TypeVar

import click

from chaind.cli.parameters import FilePath, Number
from chaind.cli.wallet_online import chain_of, online
from chaind.cli.wallet_options import (
    account_option,
    json_option,
    password_option,
    urls_option,
    wallet_file,
    wallet_option,
)
from chaind.cli.wallet_payees import parse_payees, read_payees

if TYPE_CHECKING:
    from chaind.primitives.genesis import Genesis
    from chaind.wallet.client import Client
    from chaind.wallet.keystore import Account
    from chaind.wallet.payment import Order
    from chaind.wallet.selection import Funds
    from chaind.wallet.sending import Draft, Sender, Sent

WAIT_S = 60.0
KEY_CHARS_MAX = 255
SOURCES = ("auto", "accounts", "coins")

F = TypeVar("F", bound=Callable[..., Any])


_SENDING_OPTIONS = (
    wallet_option,
    password_option,
    account_option,
    urls_option,
    click.option("--key", help="Idempotency key: a retry with it never pays twice."),
    click.option(
        "--from",
        "source",
        type=click.Choice(SOURCES),
        default="auto",
        show_default=True,
        help="Pay from account balances, with coins, or as it comes out best.",
    ),
    click.option(
        "--fee-rate",
        type=click.IntRange(0, 10**9),
        help="Base units for each byte.  [default: what brings it into the next block]",
    ),
    click.option(
        "--wait",
        "wait_s",
        type=Number(1, 3_600),
        default=WAIT_S,
        show_default=True,
        help="Seconds for which nodes are asked until it is final.",
    ),
    click.option("--dry-run", is_flag=True, help="Show the payment and its fee, and make none."),
    json_option,
)


class Wanted(NamedTuple):
    """A payment to make, and its idempotency key."""

    order: "Order"
    key: str


def sending_options(command: F) -> F:
    """What every command that pays takes, whomever it pays."""
    for option in reversed(_SENDING_OPTIONS):
        command = option(command)
    return command


@click.command()
@click.argument("payees", nargs=-1, metavar="[TO AMOUNT]...")
@click.option(
    "--file",
    "file",
    type=FilePath(path_type=Path, exists=True, dir_okay=False),
    help="Pay the rows of this CSV file, whose first line is to,amount or to,amount,asset.",
)
@sending_options
@click.option("--asset", help="What to pay in.  [default: the chain's own]")
@click.option("--memo", default="", help="Up to 256 bytes, for all to read.")
@click.option("--coin", "as_coin", is_flag=True, help="Pay as a coin, not into an account.")
def send(
    payees: tuple[str, ...],
    file: Path | None,
    name: str,
    account: str,
    urls: tuple[str, ...],
    **choices: Any,
) -> None:
    """Pay AMOUNT to the address TO, and wait until it is final.

    Several pairs, or the rows of a file, are paid in one transaction: all of them or none.

    Every payment has an idempotency key. It is shown before anything is sent: whatever happens,
    the same command with --key and that key finds the payment or makes it, at any node, and never
    makes it twice while the chain remembers keys: a day, unless its genesis says otherwise.

    \b
    Examples:
      chaind wallet send chd1qwzhz43c6jtrmvukh37ufl4063can757nh8yvg4 12.5
      chaind wallet send chd1qwzhz43c6jtrmvukh37ufl4063can757nh8yvg4 12.5 --dry-run
      chaind wallet send chd1qwzhz43c6jtrmvukh37ufl4063can757nh8yvg4 1 --key rent-may
      chaind wallet send --file wages.csv --key wages-may --dry-run
    """
    found = read_payees(payees, file)

    async def order_of(_client: "Client", genesis: "Genesis", _payer: "Account") -> Wanted:
        return Wanted(make_order(genesis, found, choices), choices["key"] or draw_key())

    if choices["key"] is not None:
        check_key(choices["key"])
    pay_order(name, account, urls, order_of, choices)


def draw_key() -> str:
    """An idempotency key of its own."""
    import secrets

    from chaind.wallet.client_paying import KEY_BYTES

    return secrets.token_hex(KEY_BYTES)


def check_key(key: str) -> None:
    """Raise `UsageError` for what is no idempotency key."""
    if not 1 <= len(key) <= KEY_CHARS_MAX or not all(" " <= char <= "~" for char in key):
        raise click.UsageError("--key is 1 to 255 printable ASCII characters.")


def pay_order(
    name: str,
    account: str,
    urls: tuple[str, ...],
    order_of: "Callable[[Client, Genesis, Account], Awaitable[Wanted | Sent]]",
    choices: dict[str, Any],
) -> None:
    """Pay what `order_of` finds out, under its key, and print what became of it.

    It may find out that this was paid before. `choices` are the values of `sending_options`.
    """
    from chaind.wallet.accounts import WatchOnly, find_account

    file = wallet_file(name)
    public = file.read_open()
    payer = find_account(public, account)
    if not (payer.keyed or choices["dry_run"]):
        raise WatchOnly(name=account)

    async def work(client: "Client") -> "Sent | None":
        genesis = await chain_of(client, public)
        wanted = await order_of(client, genesis, payer)
        if not isinstance(wanted, Wanted):
            return wanted
        order, key = wanted
        sender = make_sender(client, genesis, payer, choices["wait_s"])
        use = _uses(choices["source"])
        if choices["dry_run"]:
            draft = await sender.draft(order, key, use=use, rate=choices["fee_rate"])
            _show_draft(draft, genesis, choices["as_json"], err=False)
            return None

        def unlock(draft: "Draft") -> Any:
            from chaind.cli.wallet_secrets import read_password
            from chaind.wallet.accounts import key_at

            _show_draft(draft, genesis, as_json=False, err=True)
            contents = file.unseal(read_password(choices["password_fd"], new=False))
            return lambda place: key_at(contents, payer, place)

        return await sender.pay(order, key, unlock=unlock, use=use, rate=choices["fee_rate"])

    sent = online(urls, work)
    if sent is not None:
        _show_sent(sent, choices["as_json"])


def make_order(
    genesis: "Genesis", payees: list[tuple[str, str, str]], choices: dict[str, Any]
) -> "Order":
    """The payment that the arguments ask for. Raises what `parse_payees` raises."""
    from chaind.primitives.transaction import NATIVE
    from chaind.wallet.payment import Order

    first, *more = parse_payees(payees, genesis, choices["asset"])
    as_coin = choices["as_coin"]
    if as_coin and any(part.asset != NATIVE for part in (first, *more)):
        raise click.UsageError(f"--coin goes with {genesis.native_symbol}: other assets have none.")
    return Order(*first, choices["memo"].encode(), as_coin, tuple(more))


def make_sender(client: "Client", genesis: "Genesis", payer: "Account", wait_s: float) -> "Sender":
    """Who pays, with the clock and the dice of this machine."""
    import os
    import time

    from chaind.wallet.sending import Sender

    return Sender(
        client,
        genesis,
        payer,
        now_ms=lambda: time.time_ns() // 1_000_000,
        entropy=os.urandom,
        wait_s=wait_s,
    )


def _uses(source: str) -> "Callable[[Funds], Funds]":
    if source == "accounts":
        return lambda funds: funds._replace(coins=())
    if source == "coins":
        return lambda funds: funds.without_native_balances()
    return lambda funds: funds


def _show_draft(draft: "Draft", genesis: "Genesis", as_json: bool, err: bool) -> None:
    from chaind.primitives.amounts import format_amount

    order, plan = draft.order, draft.plan
    lines = [
        {
            "to": genesis.addresses.show(part.target),
            "amount": format_amount(part.units),
            "asset": part.asset or genesis.native_symbol,
        }
        for part in order.parts
    ]
    if as_json:
        click.echo(
            json.dumps(
                {
                    **(lines[0] if len(lines) == 1 else {"outputs": lines}),
                    "fee": format_amount(plan.selection.fee_units),
                    "bytes": plan.size,
                    "inputs": len(plan.body.inputs),
                    "coins": len(plan.selection.coins),
                    "change": format_amount(plan.selection.change_units),
                    "key": draft.key,
                }
            )
        )
        return
    click.echo(
        "\n".join(f"{line['amount']} {line['asset']} to {line['to']}" for line in lines)
        + ("\n" if len(lines) > 1 else ", ")
        + f"fee {format_amount(plan.selection.fee_units)} {genesis.native_symbol} "
        f"({plan.size} bytes, inputs {len(plan.body.inputs)}, "
        f"change {format_amount(plan.selection.change_units)})\nkey {draft.key}",
        err=err,
    )


def _show_sent(sent: "Sent", as_json: bool) -> None:
    if as_json:
        answer = {
            "status": "final",
            "tx_id": sent.txid.hex(),
            "height": sent.height,
            "key": sent.key,
            "earlier": sent.earlier,
        }
        click.echo(json.dumps(answer))
        return
    when = "was paid before with this key" if sent.earlier else "is final"
    where = "" if sent.height is None else f", in block {sent.height}"
    click.echo(f"{sent.txid.hex()} {when}{where}")
