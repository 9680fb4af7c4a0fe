"""`chaind stress` against a devnet of its own, and what came of it kept.

    python tests/e2e/stress_runs.py --keys 10000 --duplicates 32 --kill 100 --record
    python tests/e2e/stress_runs.py --keys 10000 --duplicates 32 --kill 100 --spread --record
    python tests/e2e/stress_runs.py --conflicts 1000 --spends 64 --record

The exit status is 1 where a promise was broken, and 75 where not everything was seen. `--record`
adds the run to those before it in benchmarks/results/stress.md: 10,000 keys may be ten runs of
1,000 with different seeds.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import long_runs
from local_network import COMMAND

from chaind.cli.stress_verdict import KEY_FAULTS, SPEND_FAULTS, SUPPLY

BASE_PORT = 8600
DEVNET_S_MAX = 120.0
FAULTS = tuple(dict.fromkeys((*KEY_FAULTS, *SPEND_FAULTS, SUPPLY)))
WORDS = {
    "charged_twice": "keys charged twice",
    "answers_differ": "keys whose answers differ",
    "acknowledged_lost": "acknowledged payments lost",
    "refused_but_paid": "keys refused everywhere, and paid",
    "too_many_final": "rounds with more spends than the balance affords",
    "too_few_final": "rounds with fewer",
    "rejected_but_final": "spends reported rejected, and final",
    "balance_wrong": "rounds with a balance that is negative or wrong",
    SUPPLY: "runs whose supply does not add up",
}


def campaign(directory: Path, words: Sequence[str], seed: int, nodes: int, port: int) -> Any:
    """Start a devnet, run the command there, and end it; its figures."""
    home = directory / "net"
    mine = {key: value for key, value in os.environ.items() if not key.startswith("CHAIND_")}
    devnet = [*COMMAND, "devnet", "--home", str(home)]
    size = ("--validators", str(nodes), "--base-port", str(port))
    subprocess.run(
        [*devnet, *size, "--detach"],
        env=mine,
        cwd=directory,
        check=True,
        stdout=sys.stderr,
        timeout=DEVNET_S_MAX,
    )
    try:
        begun = time.monotonic()
        done = subprocess.run(
            [*COMMAND, "stress", "--home", str(home), "--seed", str(seed), "--json", *words],
            env=mine,
            cwd=directory,
            stdout=subprocess.PIPE,
        )
        seconds = time.monotonic() - begun
    finally:
        subprocess.run(
            [*devnet, "--stop"], env=mine, check=True, stdout=sys.stderr, timeout=DEVNET_S_MAX
        )
    if not done.stdout:
        raise SystemExit(done.returncode)  # it has said why
    figures = json.loads(done.stdout)
    return {**figures, "options": list(words), "nodes": nodes, "seconds": seconds}


def record(figures: long_runs.Run, *, seed: int, results: Path = long_runs.RESULTS) -> None:
    """Add a run to the page."""
    long_runs.add_run(
        figures,
        name="stress",
        title="One key asked for many times at once under kills; many spends of one balance",
        seed=seed,
        fill=_fill,
        sentence=_sentence,
        results=results,
    )


def _sentence(run: long_runs.Run) -> str:
    if "rounds" in run:
        what = f"{run['rounds']:,} rounds of spends"
    else:
        spread = ", each duplicate at another node" if "--spread" in run["options"] else ""
        what = f"{run['keys']:,} keys, {run['requests']:,} requests, {run['kills']} kills{spread}"
    return f"{what}, {run['nodes']} nodes, {run['verdict']}"


def _fill(table: long_runs.Table, runs: Sequence[long_runs.Run]) -> None:
    keys = [run for run in runs if "keys" in run]
    rounds = [run for run in runs if "rounds" in run]
    for name, words, budget in (
        ("keys", "keys", "10,000, each way"),
        ("paid_once", "keys that paid once on every node", "all"),
        ("requests", "requests, each answered or asked again", ""),
        ("unanswered", "requests that nobody answered in time", "0"),
        ("kills", "kills of a node meanwhile", "100, each way"),
    ):
        table.add(words, long_runs.total(keys, name), "", budget)
    for name, words, budget in (
        ("rounds", "rounds of conflicting spends", "1,000"),
        ("spends", "spends", ""),
        ("affordable", "of these affordable", ""),
        ("final", "of these final", "as many"),
    ):
        table.add(words, long_runs.total(rounds, name), "", budget)
    faults = long_runs.total_of_each(runs, "faults")
    for name in FAULTS:
        table.add(WORDS[name], faults[name], "", "0")
    table.add("payments refused, or not answered to all", long_runs.total(runs, "open"), "", "0")


def main() -> int:
    """The command."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--nodes", type=int, default=4)
    parser.add_argument("--base-port", type=int, default=BASE_PORT)
    parser.add_argument("--record", action="store_true", help="add the run to results/stress.md")
    options, words = parser.parse_known_args()  # the rest are options of `chaind stress`
    with tempfile.TemporaryDirectory(prefix="chaind-stress-") as directory:
        figures = campaign(Path(directory), words, options.seed, options.nodes, options.base_port)
    if options.record:
        record(figures, seed=options.seed)
    print(json.dumps(figures, indent=1))
    return {"held": 0, "incomplete": 75}.get(figures["verdict"], 1)


if __name__ == "__main__":
    sys.exit(main())
