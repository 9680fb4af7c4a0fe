"""Kill -9 at random instants under load, one node at a time and all at once; nothing may be lost.

    python tests/e2e/kill_loop.py --kills 500 --seed 1
    python tests/e2e/kill_loop.py --kills 100 --seed 2 --record

Prints how long nodes took from the start of their process to serving, and what was lost. The exit
status is 1 where anything acknowledged was. `--record` adds the run to those before it in
benchmarks/results/kills.md: 500 kills may be five runs of 100 with different seeds.
"""

import argparse
import json
import os
import signal
import sys
import tempfile
import time
import urllib.request
from collections.abc import Sequence
from pathlib import Path
from random import Random
from typing import Any

import long_runs
from local_network import LocalNetwork, NodeProcess, until
from payments_under_way import Load, lost, settle

RATE = 300
ALL_EVERY = 10  # every so many kills, all nodes at once
INSTANT_S = 0.7  # kills come at random within so long after all were ready


def answers(node: NodeProcess, path: str) -> bool:
    """Whether the node answers with 200, asked without patience."""
    try:
        with urllib.request.urlopen(node.url + path, timeout=1) as answer:
            return bool(answer.status == 200)
    except OSError:
        return False


def restart(nodes: list[NodeProcess]) -> list[tuple[float, float]]:
    """Start processes; seconds to alive and to a first read, for each of them."""
    begun = time.monotonic()
    for node in nodes:
        node.start()
    alive: dict[str, float] = {}
    served: dict[str, float] = {}
    while len(served) < len(nodes):
        for node in nodes:
            if node.url not in alive and answers(node, "/health/live"):
                alive[node.url] = time.monotonic() - begun
            if node.url in alive and node.url not in served and answers(node, "/balance/alice"):
                served[node.url] = time.monotonic() - begun
        assert time.monotonic() < begun + 60, "a killed node does not come back"
        time.sleep(0.005)
    return [(alive[node.url], served[node.url]) for node in nodes]


def kill(nodes: list[NodeProcess]) -> None:
    """SIGKILL to all of them at once."""
    for node in nodes:
        assert node.process is not None
        os.kill(node.process.pid, signal.SIGKILL)
    for node in nodes:
        assert node.process is not None
        node.process.wait()
        node.process = None


def campaign(directory: Path, kills: int, dice: Random) -> dict[str, Any]:
    """Run it; the figures, with every single time."""
    begun = time.monotonic()
    network = LocalNetwork(directory / "net", 4)
    load = Load(network, directory, RATE)
    times: list[tuple[float, float]] = []
    done = together = 0
    try:
        network.start()
        load.start()
        load.grows(RATE)
        while done < kills:
            time.sleep(dice.random() * INSTANT_S)
            everyone = (done + 1) % ALL_EVERY == 0
            victims = network.nodes if everyone else [dice.choice(network.nodes)]
            kill(victims)
            done += 1
            together += everyone
            times += restart(victims)
            network.await_ready()
            show(f"{done} of {kills} kills, {load.answered():,} acknowledged")
        until(lambda: load.answered() > 0, "payments acknowledged")
        load.stop()
        settle(network.nodes)
        for node in network.nodes:
            assert node.end() == 0, "a node did not end cleanly"
        missing = lost(load, network.nodes)
    finally:
        load.kill()
        network.close()
    return {
        "kills": done,
        "all_at_once": together,
        "acknowledged": load.answered(),
        "lost": len(missing),
        "alive_s": [round(alive, 3) for alive, _ in times],
        "serving_s": [round(served, 3) for _, served in times],
        "seconds": time.monotonic() - begun,
    }


def record(figures: long_runs.Run, *, seed: int, results: Path = long_runs.RESULTS) -> None:
    """Add a run to the page."""
    long_runs.add_run(
        figures,
        name="kills",
        title="Kill -9 at random instants under load, four nodes",
        seed=seed,
        fill=_fill,
        sentence=lambda run: f"{run['kills']} kills, {run['lost']} lost",
        results=results,
    )


def _fill(table: long_runs.Table, runs: Sequence[long_runs.Run]) -> None:
    table.add("kills", long_runs.total(runs, "kills"), "", "500")
    table.add("of these all nodes at once", long_runs.total(runs, "all_at_once"), "")
    table.add("acknowledged payments", long_runs.total(runs, "acknowledged"), "")
    table.add("of these lost", long_runs.total(runs, "lost"), "", "0")
    for name, words in (("alive_s", "alive"), ("serving_s", "serving")):
        times = [value for run in runs for value in run[name]]
        for share, budget in ((0.5, ""), (0.99, "≤ 3" if name == "serving_s" else "")):
            what = f"start of the process to {words}, p{share * 100:.0f}"
            table.add(what, long_runs.percentile(times, share), "s", budget)
        table.add(f"start of the process to {words}, longest", max(times), "s")


def _shown(value: object) -> object:
    """A figure; of many times, the percentiles."""
    if not isinstance(value, list):
        return value
    shares = (0.5, 0.99, 1.0)
    return ", ".join(f"p{share * 100:.0f} {long_runs.percentile(value, share)}" for share in shares)


def show(text: str) -> None:
    """Progress, on one line of a terminal."""
    if sys.stderr.isatty():
        sys.stderr.write(f"\r\x1b[K{text}")
        sys.stderr.flush()


def main() -> int:
    """The command."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--kills", type=int, default=50)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--record", action="store_true", help="add the run to results/kills.md")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="chaind-kills-") as directory:
        figures = campaign(Path(directory), options.kills, Random(options.seed))
    show("")
    if options.record:
        record(figures, seed=options.seed)
    if options.json:
        print(json.dumps(figures))
    else:
        for name, value in figures.items():
            print(f"{name:<14}{_shown(value)}")
    return 1 if figures["lost"] else 0


if __name__ == "__main__":
    sys.exit(main())
