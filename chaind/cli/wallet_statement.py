"""`chaind wallet statement`: what moved an account of a wallet, and the balances that it comes to.

Law: as of `chaind.wallet.statement`: the sums are checked here, whatever the node says. All
addresses of an account are read up to one block, so that they fit together.
"""

import json
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import click

from chaind.cli.wallet_online import chain_of, online
from chaind.cli.wallet_options import (
    account_option,
    json_option,
    urls_option,
    wallet_file,
    wallet_option,
)

if TYPE_CHECKING:
    from chaind.wallet.client import Client
    from chaind.wallet.statement import Statement

DATE = click.DateTime(["%Y-%m-%d", "%Y-%m-%dT%H:%M:%S"])


@click.command()
@wallet_option
@account_option
@urls_option
@click.option("--asset", help="Of which asset.  [default: the chain's own]")
@click.option("--from", "start", type=DATE, help="Blocks of this time and later, in UTC.")
@click.option("--to", "end", type=DATE, help="Blocks before this time, in UTC.")
@click.option("--csv", "as_csv", is_flag=True, help="Print for a spreadsheet.")
@json_option
def statement(
    name: str,
    account: str,
    urls: tuple[str, ...],
    asset: str | None,
    start: datetime | None,
    end: datetime | None,
    as_csv: bool,
    as_json: bool,
) -> None:
    """Print an account's opening balance, every movement, and its closing balance.

    Account and coins count together, of all addresses of the account. To the last unit, opening
    balance and changes come to the closing balance.

    \b
    Examples:
      chaind wallet statement
      chaind wallet statement --from 2026-05-01 --to 2026-06-01 --csv > may.csv
      chaind wallet statement --account savings --asset GOLD --json
    """
    from chaind.wallet.accounts import find_account
    from chaind.wallet.scan import scan
    from chaind.wallet.statement import merged, to_csv

    if as_csv and as_json:
        raise click.UsageError("Give one of --csv and --json.")
    public = wallet_file(name).read_open()
    owner = find_account(public, account)

    async def work(client: "Client") -> "Statement":
        genesis = await chain_of(client, public)
        last = (await client.status()).height
        found = await scan(client, owner, genesis.addresses)
        own = [entry.text for entry in found.found]
        parts = [
            await client.statement(
                text, asset=asset, to_height=last, from_ms=_ms(start), to_ms=_ms(end)
            )
            for text in own
        ]
        return merged(parts, frozenset(own), client.url)

    told = online(urls, work)
    if as_csv:
        click.echo(to_csv(told), nl=False)
    elif as_json:
        click.echo(json.dumps({"account": account, **_form(told)}))
    else:
        click.echo(_table(told))


def _ms(moment: datetime | None) -> int | None:
    return None if moment is None else int(moment.replace(tzinfo=UTC).timestamp() * 1000)


def _form(told: "Statement") -> dict[str, Any]:
    from chaind.primitives.amounts import format_amount

    return {
        "asset": told.asset,
        "from_height": told.from_height,
        "to_height": told.to_height,
        "opening_balance": format_amount(told.opening),
        "entries": [
            {
                "kind": line.kind,
                "tx_id": line.tx_id,
                "height": line.height,
                "time_ms": line.time_ms,
                "change": format_amount(line.change),
                "fee": format_amount(line.fee),
                "balance": format_amount(line.balance),
                "counterparties": line.counterparties,
                "memo": line.memo,
                "memo_hex": line.memo_hex,
            }
            for line in told.lines
        ],
        "closing_balance": format_amount(told.closing),
    }


def _table(told: "Statement") -> str:
    from chaind.cli.status import table
    from chaind.primitives.amounts import format_amount
    from chaind.wallet.errors import printable

    rows: list[tuple[str, ...]] = [("time", "change", "fee", "balance", "memo", "tx_id")]
    rows.append(("opening balance", "", "", format_amount(told.opening), "", ""))
    for line in told.lines:
        when = datetime.fromtimestamp(line.time_ms / 1000, UTC).strftime("%Y-%m-%d %H:%M:%S")
        amounts = (format_amount(units) for units in (line.change, line.fee, line.balance))
        memo = line.memo if line.memo is not None else line.memo_hex
        rows.append((when, *amounts, printable(memo or "-"), line.tx_id or line.kind))
    rows.append(("closing balance", "", "", format_amount(told.closing), "", ""))
    return table(rows)
