"""Pay, die when the payment is final and before the answer, start again, ask again with the key.

    python tests/e2e/chaos_loop.py --rounds 500
    python tests/e2e/chaos_loop.py --rounds 100 --nodes 4 --seed 2 --record

The exit status is 1 where an answer was not recovered from the state, or a payment was made twice
or lost. `--record` adds the run to those before it in benchmarks/results/chaos.md.
"""

import argparse
import json
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from random import Random
from typing import Any

import long_runs
from kill_loop import show
from ledger_audit import audit
from local_network import PATIENCE_S, LocalNetwork, NodeProcess, until
from payments_under_way import settle

DEATH_STATUS = 137  # as chaind.toml says
CHAOS = {"X-Simulate-Chaos": "true"}
FAULTS = ("not_recovered", "paid_twice", "lost")


def pay_and_die(node: NodeProcess, body: object, headers: dict[str, str]) -> None:
    """Ask for a payment whose answer never comes, and see the process end by itself."""
    assert node.process is not None
    try:
        status, answer, _ = node.post("/transfer", body, headers | CHAOS)
    except OSError:  # the connection ended
        found = node.process.wait(PATIENCE_S)
        assert found == DEATH_STATUS, f"ended with {found}\n{node.log_tail()}"
        node.process = None
        return
    raise AssertionError(f"answered {status} {answer} instead of dying")


def recover(node: NodeProcess, body: object, headers: dict[str, str]) -> str | None:
    """The id of the payment, asked for again with its key; None where it is no answer from state.

    Asks twice: the second answer, which wishes for death once more, has to be the same.
    """
    status, first, found = node.post("/transfer", body, headers)
    marked = found.get("X-Idempotency-Hit") == "true" and found.get("X-Db-Hit") == "true"
    again = node.post("/transfer", body, headers | CHAOS)
    same = again[:2] == (status, first)
    return str(first["tx_id"]) if status == 200 and marked and same else None


def campaign(directory: Path, rounds: int, nodes: int, dice: Random) -> dict[str, Any]:
    """Run it; the figures, with the seconds from each start to ready."""
    begun = time.monotonic()
    network = LocalNetwork(directory / "net", nodes)
    for node in network.nodes:
        node.extra = {"CHAIND_CHAOS_ENABLED": "true"}
    recovered: set[str] = set()
    ready_s: list[float] = []
    try:
        network.start()
        for number in range(rounds):
            node = dice.choice(network.nodes)
            body = {"from": "alice", "to": "bob", "amount": f"0.{dice.randrange(1, 10**6):06}"}
            headers = {"Idempotency-Key": f"chaos-{number}"}
            pay_and_die(node, body, headers)
            started = time.monotonic()
            node.start()
            until(node.ready, f"{node.home.name} ready after round {number}")
            ready_s.append(round(time.monotonic() - started, 3))
            txid = recover(node, body, headers)
            if txid is not None:
                recovered.add(txid)
            show(f"{number + 1} of {rounds} rounds, {len(recovered)} recovered")
        settle(network.nodes)
        for node in network.nodes:
            assert node.end() == 0, "a node did not end cleanly"
        paid = [audit(node.home).txids for node in network.nodes]
    finally:
        network.close()
    expected = {bytes.fromhex(txid) for txid in recovered}
    missing = rounds - len(recovered)
    return {
        "rounds": rounds,
        "nodes": nodes,
        "recovered": len(recovered),
        "not_recovered": missing,
        "paid_twice": max(0, *(len(txids - expected) - missing for txids in paid)),
        "lost": len(set().union(*(expected - txids for txids in paid))),
        "ready_s": ready_s,
        "seconds": time.monotonic() - begun,
    }


def faultless(figures: long_runs.Run) -> bool:
    """Whether every payment was made once and its answer recovered."""
    return not any(figures[name] for name in FAULTS)


def record(figures: long_runs.Run, *, seed: int, results: Path = long_runs.RESULTS) -> None:
    """Add a run to the page."""
    long_runs.add_run(
        figures,
        name="chaos",
        title="Die after the payment is final and before the answer; ask again with the key",
        seed=seed,
        fill=_fill,
        sentence=lambda run: f"{run['rounds']} deaths of {run['nodes']} node(s)",
        results=results,
    )


def _fill(table: long_runs.Table, runs: Sequence[long_runs.Run]) -> None:
    table.add("deaths before the answer", long_runs.total(runs, "rounds"), "", "500")
    recovered = long_runs.total(runs, "recovered")
    table.add("answers recovered from state", recovered, "", "all")
    for name, words in zip(FAULTS, ("answers not recovered", "paid twice", "lost"), strict=True):
        table.add(words, long_runs.total(runs, name), "", "0")
    times = [value for run in runs for value in run["ready_s"]]
    for share in (0.5, 0.99):
        value = long_runs.percentile(times, share)
        table.add(f"start of the process to ready, p{share * 100:.0f}", value, "s")


def main() -> int:
    """The command."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=50)
    parser.add_argument("--nodes", type=int, default=1)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--record", action="store_true", help="add the run to results/chaos.md")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="chaind-chaos-") as directory:
        dice = Random(options.seed)
        figures = campaign(Path(directory), options.rounds, options.nodes, dice)
    show("")
    if options.record:
        record(figures, seed=options.seed)
    if options.json:
        print(json.dumps(figures))
    else:
        for name, value in figures.items():
            if name != "ready_s":
                print(f"{name:<14}{value}")
    return 0 if faultless(figures) else 1


if __name__ == "__main__":
    sys.exit(main())
