"""Messages, bytes, signature checks and time to finality against the number of validators.

    python benchmarks/overlay.py --nodes 64,1000 --network wan --record

Real consensus cores and gossip on a virtual clock and network, without the nodes around them;
what is modelled `chaind/simulation/crowd.py` says, and `costs.py` beside it at which price. Rows
are kept one by one, so that a table can be measured in pieces.
"""

import gc
import json
import time
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor, as_completed
from multiprocessing import get_context
from typing import Any

import click
from common import RESULTS, machine

from chaind.simulation.crowd import Crowd, Scene

# One-way delays of links in ms, drawn evenly between the two; and what Δ has to bound: a vote's way
# over the overlay, some five links and as many flushes.
NETWORKS = {"lan": ((0.4, 0.6), 150), "wan": ((20.0, 100.0), 500)}
MANY = 500  # validators from which on fewer blocks have to do
HEAD = """# Validators and traffic

Consensus cores and gossip alone, on a virtual clock: real votes over the real overlay, with made-up
signatures that cost 35 µs each to check, 20 µs for every message, 100 Mbit/s outwards, 1 ms for a
sync, 2 ms to build or execute a block that names 500 transactions. `lan`: 0.4 to 0.6 ms one way,
Δ = 150 ms; `wan`: 20 to 100 ms one way, Δ = 500 ms; both with 0.1 ms of jitter. Up to 64 validators
everyone talks to everyone; more use the overlay (budget at 1,000: under 400 messages per node and
block). Silent validators take messages and say nothing, and lead no view; `views` is how many it
took. Final: from proposed to final, over all live nodes and all blocks. Messages, bytes, checks and
duplicates (votes dropped by bitmap, unchecked) are per live node and block, as sent or done until
the last node had the last block.
"""
COLUMNS = (
    ("network", "network"),
    ("n", "n"),
    ("silent", "silent"),
    ("way", "way"),
    ("blocks", "blocks"),
    ("views", "views"),
    ("messages", "messages"),
    ("kB", "kB"),
    ("checks", "checks"),
    ("duplicates", "duplicates"),
    ("p50 ms", "final_p50_ms"),
    ("p99 ms", "final_p99_ms"),
    ("CPU s", "cpu_s"),
    ("date", "date"),
)


def measure(network: str, nodes: int, silent: int, blocks: int) -> dict[str, Any]:
    """One row."""
    gc.disable()  # a thousand nodes are many objects, and hardly any cycle
    far_ms, delta_ms = NETWORKS[network]
    begun_s = time.process_time()
    crowd = Crowd(Scene(nodes, silent, blocks, far_ms, delta_ms))
    way = "mesh" if crowd.graph is None else "overlay"
    totals = crowd.run()
    latencies_ms = totals.latencies_ms
    assert totals.blocks >= blocks, f"{totals.blocks} blocks in {totals.virtual_ms} virtual ms"
    assert len(latencies_ms) == blocks * (nodes - silent)
    return {
        "network": network,
        "n": nodes,
        "silent": silent,
        "way": way,
        "blocks": totals.blocks,
        "views": totals.views,
        "messages": round(totals.messages),
        "kB": round(totals.bytes / 1000),
        "checks": round(totals.signatures),
        "duplicates": round(totals.duplicates),
        "final_p50_ms": round(latencies_ms[len(latencies_ms) // 2]),
        "final_p99_ms": round(latencies_ms[len(latencies_ms) * 99 // 100]),
        "cpu_s": round(time.process_time() - begun_s),
        "kinds": {kind: round(count, 1) for kind, count in totals.kinds.items()},
    }


def line(cells: list[str]) -> str:
    """A row of the table."""
    return f"| {' | '.join(cells)} |"


def page(rows: list[dict[str, Any]]) -> str:
    """The results page."""
    rows = sorted(rows, key=lambda row: (row["network"], row["n"], row["silent"]))
    lines = [HEAD, line([title for title, _ in COLUMNS]), line(["---"] * len(COLUMNS))]
    for row in rows:
        shown = [row[key] for _, key in COLUMNS]
        lines.append(line([f"{cell:,}" if isinstance(cell, int) else cell for cell in shown]))
    lines += ["", f"- cpu: {rows[0]['cpu']}", f"- python: {rows[0]['python']}"]
    lines.append("- command: `python benchmarks/overlay.py --network wan|lan --nodes N,… --record`")
    return "\n".join(lines) + "\n"


def keep(row: dict[str, Any]) -> None:
    """Put a row in the place of the one of the same scene."""
    path = RESULTS / "overlay.jsonl"
    kept = [json.loads(text) for text in path.read_text().splitlines()] if path.exists() else []
    same = ("network", "n", "silent")
    kept = [one for one in kept if any(one[key] != row[key] for key in same)] + [row]
    path.write_text("".join(json.dumps(one) + "\n" for one in kept))
    (RESULTS / "overlay.md").write_text(page(kept))


def scenes(nodes: str, network: str, silent: str, blocks: int | None) -> Iterator[tuple[Any, ...]]:
    """The largest first."""
    for count in sorted(map(int, nodes.split(",")), reverse=True):
        for share in silent.split(","):
            quiet = (count - 1) // 3 if share == "f" else 0
            yield network, count, quiet, blocks or (3 if count >= MANY else 6)


@click.command()
@click.option("--nodes", default="16,64,128,256,512,1000", show_default=True)
@click.option("--network", type=click.Choice(sorted(NETWORKS)), default="wan", show_default=True)
@click.option("--silent", default="0,f", show_default=True, help="0, f or both.")
@click.option("--blocks", type=int, help="[default: 6; 3 for 500 validators and more]")
@click.option("--jobs", type=click.IntRange(1, 64), default=1, show_default=True)
@click.option("--record", is_flag=True, help="Keep the rows under results/.")
def main(
    nodes: str, network: str, silent: str, blocks: int | None, jobs: int, record: bool
) -> None:
    """Traffic and time to finality, by number of validators."""
    about = machine()
    found = []
    with ProcessPoolExecutor(jobs, mp_context=get_context("spawn"), max_tasks_per_child=1) as pool:
        running = [pool.submit(measure, *one) for one in scenes(nodes, network, silent, blocks)]
        for done in as_completed(running):
            row = {
                **done.result(),
                **{key: about[key] for key in ("cpu", "python", "date")},
            }
            found.append(row)
            click.echo(json.dumps(row))
            if record:
                keep(row)
    click.echo(page(found))


if __name__ == "__main__":
    main()
