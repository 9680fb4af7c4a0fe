"""chaind beside what a user would pick instead, in one run on one machine.

python benchmarks/compare.py
"""

from collections.abc import Callable

import anvil
import click
import postgres
from common import Table, output_options, running
from throughput import measure


@click.command()
@click.option("--seconds", type=float, default=25.0, show_default=True, help="Of each.")
@click.option("--accounts", type=int, default=1_000, show_default=True)
@click.option("--anvil-count", type=int, default=50_000, show_default=True, help="Transfers.")
@click.option(
    "--rate-guess", type=int, default=25_000, show_default=True, help="Sizes chaind's stock."
)
@output_options
def main(
    seconds: float, accounts: int, anvil_count: int, rate_guess: int, as_json: bool, record: bool
) -> None:
    """Transfers per second of chaind, PostgreSQL and anvil."""
    table = Table("compare", "chaind beside PostgreSQL and anvil")
    ours = {}
    for count, guess in ((1, rate_guess), (4, rate_guess // 2)):
        with running(count) as nodes:
            ours[count] = measure(nodes, seconds, guess).final_per_s
    table.add("chaind, one validator: signed, durable", ours[1], "transfers/s", "≥ 20,000")
    table.add("chaind, four validators: and agreed", ours[4], "transfers/s", "≥ 6,000")
    others: dict[str, Callable[[], tuple[float, str]]] = {
        "PostgreSQL, serializable, 32 clients: durable": lambda: postgres.transfers_per_s(
            accounts, seconds
        ),
        "anvil, instant blocks, 32 clients: signed": lambda: anvil.transfers_per_s(anvil_count),
    }
    for name, measured in others.items():
        short = name.partition(",")[0]
        try:
            rate, version = measured()
        except postgres.Unavailable as reason:
            click.echo(f"SKIPPED {short}: {reason}", err=True)
            table.add(name, "skipped", "")
            table.note(f"{short} was skipped: {reason}")
            continue
        table.add(name, rate, "transfers/s")
        table.add(f"chaind, one validator, over {short}", ours[1] / rate, "times")
        table.add(f"chaind, four validators, over {short}", ours[4] / rate, "times")
        table.note(f"{short}: {version}")
    table.note("All programs and their clients share the cores, one after the other.")
    table.finish(as_json=as_json, record=record)


if __name__ == "__main__":
    main()
