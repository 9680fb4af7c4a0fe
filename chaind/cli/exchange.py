"""`chaind exchange`: the order books at the command line."""

import json
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from chaind.cli.exchange_online import book, markets, trades, watch
from chaind.cli.exchange_orders import cancel, orders, place
from chaind.primitives.errors import LocalFault

if TYPE_CHECKING:
    from chaind.market.lobster import Report


class NotMessages(LocalFault):
    """Another kind of file, or one that was cut."""

    code = "not-messages"
    text = "{path} is no LOBSTER message file: {reason}"
    advice = "Give a file of lines that are time,type,order id,size,price,direction."
    exit_code = 65  # EX_DATAERR


@click.group()
def exchange() -> None:
    """Order books of a chain, and what happened on others.

    \b
    Examples:
      chaind exchange markets
      chaind exchange book BTC-USD
      chaind exchange place BTC-USD buy 0.5 44000
      chaind exchange watch BTC-USD
      chaind exchange replay AMZN_2012-06-21_message.csv
    """


for command in (markets, book, trades, place, orders, cancel, watch):
    exchange.add_command(command)


@exchange.command()
@click.argument("file", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
@click.pass_context
def replay(ctx: click.Context, file: Path, as_json: bool) -> None:
    """Take a LOBSTER message file through the matching engine.

    Every line is `time,type,order id,size,price,direction`. For each execution the engine trades
    an order of that size and price: it agrees where price-time priority picks the order that was
    executed. Orders from before the file are unknown and left out. The exit status is 1 where an
    execution, or an order that rests, disagrees.

    \b
    Examples:
      chaind exchange replay AMZN_2012-06-21_message.csv
      chaind exchange replay messages.csv --json
    """
    from chaind.market.lobster import MessageMalformed, Replay

    begun_s = time.monotonic()
    run = Replay()
    try:
        with file.open(encoding="ascii", errors="replace") as lines:
            for number, text in enumerate(lines, 1):
                run.take(number, text)
    except MessageMalformed as error:
        raise NotMessages(path=file, reason=str(error)) from None
    report = run.report()
    if not report.messages:
        raise NotMessages(path=file, reason="it is empty")
    seconds = time.monotonic() - begun_s
    click.echo(json.dumps(_as_json(report)) if as_json else _as_text(report, seconds))
    if report.disagreed:
        ctx.exit(1)


def _as_json(report: "Report") -> dict[str, Any]:
    values = report._asdict()
    values["disagreements"] = [one._asdict() for one in report.disagreements]
    return values


def _as_text(report: "Report", seconds: float) -> str:
    share = f" ({report.agreed / report.executions:.2%})" if report.executions else ""
    rows = (
        ("messages", f"{report.messages:,} in {seconds:.1f} s"),
        ("orders", f"{report.orders:,}, {report.resting:,} open at the end"),
        ("executions", f"{report.executions:,}"),
        ("agreed", f"{report.agreed:,}{share}"),
        ("disagreed", f"{report.disagreed:,}"),
        ("of earlier orders", f"{report.unknown:,}, left out"),
        ("hidden or crosses", f"{report.hidden:,}, left out"),
        ("halts", f"{report.halts:,}"),
    )
    width = max(len(name) for name, _ in rows)
    lines = [f"{name:<{width}}  {value}" for name, value in rows]
    lines += [f"line {one.line}: {one.reason}" for one in report.disagreements]
    more = report.disagreed - len(report.disagreements)
    if more:
        lines.append(f"and {more:,} more")
    return "\n".join(lines)
