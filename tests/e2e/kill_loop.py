"""Kill -9 at random instants under load, one node at a time and all at once; nothing may be lost.

    python tests/e2e/kill_loop.py --kills 500 --seed 1

Prints how long nodes took from the start of their process to serving, and what was lost. The exit
status is 1 where anything acknowledged was.
"""

import argparse
import json
import os
import signal
import sys
import tempfile
import time
import urllib.request
from pathlib import Path
from random import Random

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


def percentile(values: list[float], share: float) -> float:
    """Nearest rank."""
    ranked = sorted(values)
    return ranked[min(len(ranked) - 1, int(share * len(ranked)))]


def campaign(directory: Path, kills: int, dice: Random) -> dict[str, object]:
    """Run it; the figures."""
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
    alive, served = zip(*times, strict=True)
    return {
        "kills": done,
        "all_at_once": together,
        "acknowledged": load.answered(),
        "lost": len(missing),
        "alive_s": {"p50": percentile(list(alive), 0.5), "p99": percentile(list(alive), 0.99)},
        "serving_s": {"p50": percentile(list(served), 0.5), "p99": percentile(list(served), 0.99)},
    }


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
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="chaind-kills-") as directory:
        figures = campaign(Path(directory), options.kills, Random(options.seed))
    show("")
    if options.json:
        print(json.dumps(figures))
    else:
        for name, value in figures.items():
            print(f"{name:<14}{value}")
    return 1 if figures["lost"] else 0


if __name__ == "__main__":
    sys.exit(main())
