"""Latency from submission to finality of four real validators: idle, light load, half of maximum.

python benchmarks/latency.py
"""

from typing import Any

import click
from common import Table, output_options, running
from throughput import measure

LIGHT_PER_S = 50
BUDGETS = {"p50": "≤ 10", "p99": "≤ 50"}  # light load, four local validators


@click.command()
@click.option("--nodes", "count", type=click.IntRange(1, 16), default=4, show_default=True)
@click.option("--seconds", type=float, default=20.0, show_default=True, help="Of each part.")
@click.option("--idle-count", type=int, default=500, show_default=True, help="One at a time.")
@click.option(
    "--rate-guess", type=int, default=12_000, show_default=True, help="Sizes the signed stock."
)
@output_options
def main(
    count: int, seconds: float, idle_count: int, rate_guess: int, as_json: bool, record: bool
) -> None:
    """Latency percentiles by load."""
    table = Table("latency", f"Latency of {count} validator(s), submitted to final")
    one_by_one = ("--rate", "max", "--door", "single", "--connections", "1", "--in-flight", "1")
    light = ("--rate", str(LIGHT_PER_S), "--door", "single", "--duration", str(seconds))
    with running(count) as nodes:
        nodes.load(*one_by_one, "--count", "50")  # connections, caches, code paths
        add(table, "one at a time", nodes.load(*one_by_one, "--count", str(idle_count)))
        add(table, f"{LIGHT_PER_S}/s", nodes.load(*light), BUDGETS)
        maximum = measure(nodes, seconds, rate_guess).final_per_s
        half = max(1, int(maximum / 2))
        found = nodes.load("--rate", str(half), "--duration", str(seconds))
        add(table, f"half of maximum, {half:,}/s", found)
    table.note(f"Maximum of the same run: {maximum:,.0f} transfers/s.")
    table.note("Measured by the client on the node that it submitted to; samples where many.")
    table.finish(as_json=as_json, record=record)


def add(
    table: Table, name: str, told: dict[str, Any], budgets: dict[str, str] | None = None
) -> None:
    """Rows of one run."""
    for kind in ("final_ms", "accepted_ms"):
        for part in ("p50", "p95", "p99", "max"):
            budget = (budgets or {}).get(part, "") if kind == "final_ms" else ""
            value = told[kind].get(part, "–")
            table.add(f"{name}: {kind.removesuffix('_ms')} {part}", value, "ms", budget)
    table.add(f"{name}: samples of finality", told["final_ms"].get("count", 0), "")
    table.add(f"{name}: behind schedule at most", told["behind_ms_max"], "ms")


if __name__ == "__main__":
    main()
