"""`chaind audit`: does the ledger hold what it promises, by a replay of it from genesis."""

import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

import click

from chaind.cli.parameters import FilePath, NodeUrl, Whole
from chaind.cli.variables import refuse_given

if TYPE_CHECKING:
    from chaind.node.audit import Report

QUIET_S = 0.5  # shorter audits need no progress bar
SAMPLES = 200  # addresses whose holdings a running node is asked for


@click.command()
@click.option(
    "--home",
    type=FilePath(path_type=Path, file_okay=False, exists=True),
    help="Data directory of a stopped node.",
)
@click.option("--url", type=NodeUrl(), help="API of a running node, which is not trusted.")
@click.option(
    "--genesis",
    type=FilePath(path_type=Path, dir_okay=False, exists=True),
    help="With --url: the chain it must be.  [default: what the node says]",
)
@click.option(
    "--samples",
    type=Whole(0),
    default=SAMPLES,
    show_default=True,
    help="With --url: addresses whose holdings are compared.",
)
@click.option("--json", "as_json", is_flag=True, help="Print the report for machines.")
def audit(
    home: Path | None, url: str | None, genesis: Path | None, samples: int, as_json: bool
) -> None:
    """Replay a chain from its blocks and check that the ledger is sound.

    Conservation per asset, bounds, state and indexes byte for byte, one effect per lease and one
    spend per coin, every signature and certificate, the work of mined headers. It ends with the
    last final block; those above it on a chain of miners are counted and not checked. Exit status 1
    where anything is wrong.

    \b
    Examples:
      chaind audit --home devnet/node0
      chaind audit --url http://127.0.0.1:8080 --genesis genesis.json
      chaind audit --home devnet/node0 --json
    """
    if (home is None) == (url is None):
        raise click.UsageError("Give either --home or --url.")
    if home is not None:
        refuse_given(["genesis"], "goes with --url: a home has its own")
        refuse_given(["samples"], "goes with --url: of a home everything is compared")
    bar = ProgressBar()
    if home is not None:
        from chaind.node.audit_home import audit_home

        report = audit_home(home, bar.show)
    else:
        from chaind.cli.audit_url import audit_url

        assert url is not None
        report = audit_url(url, genesis, samples, bar)
    bar.close()
    click.echo(to_json(report) if as_json else describe(report))
    sys.exit(0 if report.consistent else 1)


def to_json(report: "Report") -> str:
    """The report as one JSON object; `consistent` beside its fields."""
    import msgspec

    fields = {"consistent": report.consistent, **msgspec.structs.asdict(report)}
    return msgspec.json.encode(fields).decode()


def describe(report: "Report") -> str:
    """What was counted, for people, and the verdict."""
    from chaind.primitives.amounts import format_amount

    above = f"{report.unchecked or 0:,} blocks that are not final were not checked"
    unchecked = [] if report.unchecked is None else [("above", above)]
    rows = [
        ("chain", report.chain),
        ("tip", f"{report.height} ({report.hash})"),
        ("blocks", f"{report.blocks:,}"),
        *unchecked,
        ("transactions", f"{report.transactions:,}"),
        ("signatures", f"{report.signatures:,}"),
        ("certificates", f"{report.certificates:,}, covering {report.uncertified:,} more blocks"),
        ("accounts", f"{report.accounts:,} with {report.balances:,} balances"),
        ("coins", f"{report.coins:,} unspent, {report.coins_spent:,} spent"),
        ("open orders", f"{report.orders:,}"),
        ("leases taken", f"{report.leases:,}"),
    ]
    rows += [
        (f"supply {asset}", format_amount(units)) for asset, units in sorted(report.supply.items())
    ]
    if report.rows:
        tables = ", ".join(f"{table} {count:,}" for table, count in sorted(report.rows.items()))
        rows.append(("rows compared", f"{sum(report.rows.values()):,} ({tables})"))
        rows.append(("log records", f"{report.records:,}"))
    if report.samples:
        rows.append(("samples", f"{report.samples:,}"))
    rows.append(("seconds", f"{report.seconds:.1f}"))
    width = max(len(name) for name, _ in rows)
    lines = [f"{name:<{width}}  {value}" for name, value in rows]
    for found in report.violations:
        where = "" if found.height is None else f" at height {found.height}"
        lines.append(f"VIOLATION of {found.invariant}{where}: {found.what}")
    lines.append("consistent" if report.consistent else "NOT consistent")
    return "\n".join(lines)


class ProgressBar:
    """On a terminal's standard error, once a replay takes longer than a moment."""

    def __init__(self) -> None:
        self._wanted = sys.stderr.isatty()
        self._next_s = time.monotonic() + QUIET_S
        self._shown = False

    def show(self, done: int, total: int) -> None:
        """Draw, at most twice a second."""
        if not self._wanted or time.monotonic() < self._next_s:
            return
        self._next_s = time.monotonic() + QUIET_S
        self._shown = True
        filled = 40 * done // max(1, total)
        line = f"\r[{'#' * filled}{'.' * (40 - filled)}] block {done:,} of {total:,}"
        click.echo(line, nl=False, err=True)

    def close(self) -> None:
        """Leave the line clean."""
        if self._shown:
            click.echo("\r\x1b[K", nl=False, err=True)
