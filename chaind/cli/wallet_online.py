"""The commands of `chaind wallet` that read from nodes: balance, history, utxos.

Law: none of them needs a password.
"""

import json
from collections.abc import Callable, Coroutine
from typing import TYPE_CHECKING, Any, TypeVar

import click

from chaind.cli.wallet_options import (
    accounts_option,
    json_option,
    urls_option,
    wallet_file,
    wallet_option,
)
from chaind.primitives.errors import LocalFault

if TYPE_CHECKING:
    from chaind.primitives.genesis import Genesis
    from chaind.wallet.client import Client
    from chaind.wallet.keystore import Account, OpenPart
    from chaind.wallet.scan import Scan

R = TypeVar("R")

PATIENCE_S = 3.0  # of reads, until a person is told that nobody answers
HISTORY_LINES = 20


class AddressesDiffer(LocalFault):
    """The node's chain writes addresses in another way than this wallet."""

    code = "addresses-differ"
    text = "{url} follows {chain}, whose addresses begin with {theirs}; this wallet's with {ours}"
    advice = "Name a node of the wallet's chain with --url, or restore with that chain's --genesis."
    exit_code = 78  # EX_CONFIG


def online(urls: tuple[str, ...], work: "Callable[[Client], Coroutine[Any, Any, R]]") -> R:
    """The result of `work` with a client of these nodes."""
    import asyncio

    from chaind.wallet.client import Client

    async def run() -> R:
        async with Client.open(urls, patience_s=PATIENCE_S) as client:
            return await work(client)

    return asyncio.run(run())


async def chain_of(client: "Client", public: "OpenPart") -> "Genesis":
    """The nodes' chain, which must be one that the wallet has addresses of."""
    genesis = await client.genesis()
    if genesis.addresses != public.addresses:
        raise AddressesDiffer(
            url=client.url, chain=genesis.name, theirs=genesis.addresses.hrp, ours=public.hrp
        )
    return genesis


def chosen(public: "OpenPart", names: tuple[str, ...]) -> "list[Account]":
    """The named accounts, all where none is named. Raises `AccountUnknown`."""
    from chaind.wallet.accounts import find_account

    return [find_account(public, name) for name in names] or list(public.accounts)


async def scan_all(
    client: "Client", public: "OpenPart", names: tuple[str, ...]
) -> "tuple[Genesis, list[tuple[Account, Scan]]]":
    """The chain, and what each of these accounts has."""
    from chaind.wallet.scan import scan

    genesis = await chain_of(client, public)
    accounts = chosen(public, names)
    return genesis, [(entry, await scan(client, entry, genesis.addresses)) for entry in accounts]


@click.command()
@wallet_option
@accounts_option
@urls_option
@json_option
def balance(name: str, names: tuple[str, ...], urls: tuple[str, ...], as_json: bool) -> None:
    """Show what the accounts of a wallet hold.

    \b
    Examples:
      chaind wallet balance
      chaind wallet balance --account savings --url http://127.0.0.1:8081 --json
    """
    from chaind.cli.status import table
    from chaind.primitives.amounts import format_amount

    public = wallet_file(name).read_open()
    genesis, scans = online(urls, lambda client: scan_all(client, public, names))
    native = genesis.native_symbol
    lines: list[dict[str, str]] = []
    for entry, found in scans:
        coins = sum(held.coin_units for held in found.found)
        totals = {native: 0, **found.totals()}
        for symbol, units in totals.items():
            own = coins if symbol == native else 0
            lines.append(
                {
                    "account": entry.name,
                    "asset": symbol,
                    "balance": format_amount(units + own),
                    "in_account": format_amount(units),
                    "in_coins": format_amount(own),
                }
            )
    if as_json:
        click.echo(json.dumps({"balances": lines}))
        return
    columns = ("account", "asset", "balance", "in_account", "in_coins")
    click.echo(table([columns, *(tuple(line[key] for key in columns) for line in lines)]))


@click.command()
@wallet_option
@accounts_option
@urls_option
@json_option
def utxos(name: str, names: tuple[str, ...], urls: tuple[str, ...], as_json: bool) -> None:
    """List the unspent coins of a wallet.

    \b
    Example:
      chaind wallet utxos
    """
    from chaind.cli.status import table

    public = wallet_file(name).read_open()

    async def work(client: "Client") -> list[dict[str, Any]]:
        _, scans = await scan_all(client, public, names)
        return [
            {
                "account": entry.name,
                "tx_id": coin.tx_id,
                "output_index": coin.output_index,
                "amount": coin.amount,
                "address": held.text,
                "height": coin.height,
            }
            for entry, found in scans
            for held in found.found
            if held.coin_count
            for coin in await client.coins(held.text)
        ]

    lines = online(urls, work)
    if as_json:
        click.echo(json.dumps({"utxos": lines}))
        return
    columns = ("account", "amount", "height", "tx_id", "output_index")
    click.echo(table([columns, *(tuple(str(line[key]) for key in columns) for line in lines)]))


@click.command()
@wallet_option
@accounts_option
@urls_option
@click.option(
    "--limit",
    type=click.IntRange(1, 100_000),
    default=HISTORY_LINES,
    show_default=True,
    help="Most payments shown.",
)
@json_option
def history(
    name: str, names: tuple[str, ...], urls: tuple[str, ...], limit: int, as_json: bool
) -> None:
    """List payments of a wallet, newest first: to each of its addresses, and from it.

    \b
    Examples:
      chaind wallet history
      chaind wallet history --account savings --limit 100 --json
    """
    from datetime import UTC, datetime

    from chaind.cli.status import table
    from chaind.primitives.amounts import format_amount
    from chaind.wallet.errors import printable
    from chaind.wallet.history import merge

    public = wallet_file(name).read_open()

    async def work(client: "Client") -> list[dict[str, Any]]:
        genesis, scans = await scan_all(client, public, names)
        lines: list[dict[str, Any]] = []
        for entry, found in scans:
            own = [held.text for held in found.found]
            pages = [await client.history(text, limit) for text in own]
            activities = [activity for page in pages for activity in page]
            for item in merge(activities, frozenset(own), genesis.native_symbol, client.url):
                amounts = {"amount": item.units, "fee": item.fee_units}
                shown = {key: format_amount(units) for key, units in amounts.items()}
                line = {"account": entry.name, **item._asdict(), **shown}
                del line["units"], line["fee_units"]
                lines.append(line)
        return sorted(lines, key=lambda line: -int(line["height"]))[:limit]

    lines = online(urls, work)
    if as_json:
        click.echo(json.dumps({"history": lines}))
        return
    columns = ("account", "time", "direction", "amount", "asset", "fee", "memo", "tx_id")
    rows: list[tuple[str, ...]] = [columns]
    for line in lines:
        when = datetime.fromtimestamp(line["time_ms"] / 1000, UTC).strftime("%Y-%m-%d %H:%M:%S")
        cells = {**line, "time": when, "memo": line["memo"] or line["memo_hex"] or "-"}
        rows.append(tuple(printable(str(cells[key])) for key in columns))
    click.echo(table(rows))
