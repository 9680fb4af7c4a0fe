"""Sustained transfers per second, submitted to final, of real processes, and what they cost.

python benchmarks/throughput.py --nodes 1
python benchmarks/throughput.py --nodes 4 --seconds 30
"""

from typing import Any, NamedTuple

import click
from common import CpuUse, Nodes, Table, output_options, running

WARM_UP = 5_000
BUDGETS = {1: "≥ 20,000", 4: "≥ 6,000 (2 cores), ≥ 10,000 (8 cores)"}


class Throughput(NamedTuple):
    """`told` is what `chaind load` printed; `cpu` is of each validator while it ran."""

    told: dict[str, Any]
    cpu: list[CpuUse]

    @property
    def final_per_s(self) -> float:
        """Transfers."""
        return float(self.told["final_per_s"])

    def cpu_us(self, part: str) -> list[float]:
        """Microseconds per transfer of a part of `CpuUse`, by validator."""
        count = max(1, self.told["final"])
        return [getattr(use, part) * 1e6 / count for use in self.cpu]


def measure(nodes: Nodes, seconds: float, rate_guess: int) -> Throughput:
    """Warm up, then as many as become final for `seconds`. `rate_guess` sizes the stock."""
    nodes.load("--rate", "max", "--count", str(WARM_UP))
    before = [node.cpu() for node in nodes]
    count = int(seconds * rate_guess)
    told = nodes.load("--rate", "max", "--duration", str(seconds), "--count", str(count))
    return Throughput(
        told, [node.cpu().since(use) for node, use in zip(nodes, before, strict=True)]
    )


@click.command()
@click.option("--nodes", "count", type=click.IntRange(1, 16), default=1, show_default=True)
@click.option("--seconds", type=float, default=25.0, show_default=True)
@click.option(
    "--rate-guess", type=int, default=25_000, show_default=True, help="Sizes the signed stock."
)
@output_options
def main(count: int, seconds: float, rate_guess: int, as_json: bool, record: bool) -> None:
    """Throughput of one or more validators on this machine."""
    table = Table(f"throughput-{count}", f"Throughput of {count} validator(s), MessagePack batches")
    with running(count) as nodes:
        found = measure(nodes, seconds, rate_guess)
    told = found.told
    table.add("final, sustained", found.final_per_s, "transfers/s", BUDGETS.get(count, ""))
    table.add("answered 202", told["accepted_per_s"], "transfers/s")
    table.add("transfers", told["final"], "")
    table.add("sent for", told["seconds"], "s", "≥ 20")
    for code, refused in told["refused"].items():
        table.add(f"refused: {code}", refused, "")
    for name, budget in (("accepted_ms", ""), ("final_ms", "")):
        for part in ("p50", "p99"):
            if part in told[name]:
                table.add(f"{name.removesuffix('_ms')} {part}", told[name][part], "ms", budget)
    parts = ("loop_s", "threads_s", "checks_s")
    for index, us in enumerate(zip(*map(found.cpu_us, parts), strict=True)):
        table.add(f"node {index}: CPU of the event loop", us[0], "µs/transfer")
        table.add(f"node {index}: CPU of its threads", us[1], "µs/transfer")
        table.add(f"node {index}: both", us[0] + us[1], "µs/transfer", "≤ 30")
        table.add(f"node {index}: CPU of its signature checks", us[2], "µs/transfer")
    table.note("The client runs on the same cores; its signing is done before.")
    table.note("Threads sync, write large batches and compact; processes check signatures.")
    table.note("A node's CPU includes funding the accounts and idling while the client signs.")
    if told["seconds"] < seconds * 0.9:
        table.note("The signed stock ran out before the time: give a larger --rate-guess.")
    table.finish(as_json=as_json, record=record)


if __name__ == "__main__":
    main()
