"""A network whose links lose every packet for a while; how soon is it well when they do not?

    python tests/e2e/lost_packets.py --cuts 40 --seed 1
    python tests/e2e/lost_packets.py --cuts 40 --seed 2 --record

`nemesis.py` holds bytes up at a proxy; here the kernel's own TCP has to send them again, whose
pauses grow with the cut. Each of four validators runs in a network namespace of its own, on Linux
where a user may make such (`unshare --map-root-user`); the program makes them by itself, and they
go with it. Their links hang on a bridge, and to cut one is to hang it on another. After each cut
the time is taken until every node has made a new payment final. The exit status is 1 where one took
longer than 5 s, or a payment was lost. `--record` adds the run to those before it in
benchmarks/results/lost_packets.md.
"""

import argparse
import json
import os
import shutil
import subprocess
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
from local_network import COMMAND, LocalNetwork, NodeProcess, until
from payer import Payer
from payments_under_way import settle

INSIDE = "LOST_PACKETS_INSIDE"  # set in the namespace that holds the bridges
NODES = 4
BOUND_S = 5.0
CUTS_S = (0.5, 60.0)  # drawn between, short ones as often as long ones
WHOLE, APART = "whole", "apart"  # two bridges; what hangs on the second is cut off from the first


def ip(*words: str) -> None:
    """One command of iproute2."""
    subprocess.run(["ip", *words], check=True)


class Cables:
    """Namespaces, one for each node, with a link that can be cut and one to ask the node over."""

    def __init__(self) -> None:
        subprocess.run(["mount", "-t", "tmpfs", "none", "/run"], check=True)
        ip("link", "set", "lo", "up")
        for bridge in (WHOLE, APART, "asking"):
            ip("link", "add", bridge, "type", "bridge")
            ip("link", "set", bridge, "up")
        ip("address", "add", "10.8.0.1/24", "dev", "asking")
        for number in range(NODES):
            ip("netns", "add", f"node{number}")
            self._plug(number, "link", WHOLE, f"{peer_host(number)}/24")
            self._plug(number, "ask", "asking", f"{api_host(number)}/24")
            ip("-n", f"node{number}", "link", "set", "lo", "up")

    def _plug(self, number: int, name: str, bridge: str, address: str) -> None:
        inside, outside = f"{name}-in{number}", f"{name}{number}"
        ip("link", "add", outside, "type", "veth", "peer", "name", inside)
        ip("link", "set", inside, "netns", f"node{number}")
        ip("link", "set", outside, "master", bridge, "up")
        ip("-n", f"node{number}", "address", "add", address, "dev", inside)
        ip("-n", f"node{number}", "link", "set", inside, "up")

    def hang(self, numbers: Sequence[int], bridge: str) -> None:
        """Move the links of these nodes to a bridge: `APART` cuts, `WHOLE` heals."""
        for number in numbers:
            ip("link", "set", f"link{number}", "master", bridge)


def peer_host(number: int) -> str:
    """Where a node is dialled."""
    return f"10.7.0.{number + 10}"


def api_host(number: int) -> str:
    """Where a node is asked, over a link that is never cut."""
    return f"10.8.0.{number + 10}"


def in_namespace(node: NodeProcess, number: int, ports: Sequence[int]) -> None:
    """Make a node run there, with peers at their addresses."""
    peers = [f"{peer_host(other)}:{port}" for other, port in enumerate(ports) if other != number]
    node.command = ["ip", "netns", "exec", f"node{number}", *COMMAND]
    node.url = f"http://{api_host(number)}:{node.api_port}"
    node.peers = []
    node.extra = {
        "CHAIND_NETWORK_HOST": peer_host(number),
        "CHAIND_NETWORK_PEERS": ",".join(peers),
        "CHAIND_API_HOST": api_host(number),
        "CHAIND_API_ALLOWED_HOSTS": api_host(number),
        "CHAIND_CUSTODY_ENABLED": "false",
    }


class Campaign:
    """The network, its cables, and how long each healing took."""

    def __init__(self, directory: Path, dice: Random) -> None:
        self._dice = dice
        self._cables = Cables()
        self._network = LocalNetwork(directory / "net", NODES)
        self._nodes = self._network.nodes
        ports = [node.p2p_port for node in self._nodes]
        for number, node in enumerate(self._nodes):
            in_namespace(node, number, ports)
        self._record = (directory / "record").open("a")
        self._payer = Payer(self._network.genesis, self._record)
        self._taken: set[bytes] = set()

    def run(self, cuts: int) -> dict[str, Any]:
        """All of it; the figures."""
        begun = time.monotonic()
        healed: list[tuple[float, float]] = []
        try:
            self._network.start()
            for number in range(cuts):
                healed.append(self._cut())
                show(f"{number + 1} of {cuts} cuts, final after {healed[-1][1]} s")
            self._network.await_ready()
            settle(self._nodes)
            for node in self._nodes:
                assert node.end() == 0, "a node did not end cleanly"
            lost = set().union(*(self._taken - audit(node.home).txids for node in self._nodes))
        except BaseException:
            for node in self._nodes:
                print(f"--- {node.home.name}\n{node.log_tail()}", file=sys.stderr)
            raise
        finally:
            self._network.close()
            self._record.close()
        return {
            "cuts": cuts,
            "payments": len(self._taken),
            "lost": len(lost),
            "healed": healed,
            "seconds": time.monotonic() - begun,
        }

    def _cut(self) -> tuple[float, float]:
        """Cut some off under payments; how long that was, and until all is final everywhere."""
        apart = self._dice.sample(range(NODES), self._dice.choice((1, 2)))
        short, long = CUTS_S
        lasts_s = round(short * (long / short) ** self._dice.random(), 2)
        self._pay(self._nodes[0])
        self._cables.hang(apart, APART)
        for node in self._nodes:  # what they have to tell each other is under way, and lost
            self._pay(node)
        time.sleep(lasts_s)
        self._cables.hang(apart, WHOLE)
        healed = time.monotonic()
        txids = self._pay(self._dice.choice(self._nodes))
        for node in self._nodes:
            path = f"/api/v1/transactions/{txids[-1].hex()}"
            until(
                lambda node=node, path=path: (node.get(path) or {}).get("status") == "final",
                f"a payment after the cut final at {node.home.name}",
            )
        return lasts_s, round(time.monotonic() - healed, 3)

    def _pay(self, node: NodeProcess) -> list[bytes]:
        """Some signed payments that the node takes."""
        batch = self._payer.batch()
        body = [{"raw": transaction.raw.hex()} for transaction in batch]
        status, answer, _ = node.post("/api/v1/transactions", body)
        assert status in (200, 202), answer
        txids = [bytes.fromhex(result["tx_id"]) for result in answer["results"]]
        self._taken.update(txids)
        return txids


def faultless(figures: long_runs.Run) -> bool:
    """Whether nothing was lost, and every healing quick."""
    return not figures["lost"] and all(taken <= BOUND_S for _, taken in figures["healed"])


def record(figures: long_runs.Run, *, seed: int, results: Path = long_runs.RESULTS) -> None:
    """Add a run to the page."""
    long_runs.add_run(
        figures,
        name="lost_packets",
        title="Links that lose every packet for a while, four nodes in network namespaces",
        seed=seed,
        fill=_fill,
        sentence=lambda run: f"{run['cuts']} cuts, {run['lost']} lost",
        results=results,
    )


def _fill(table: long_runs.Table, runs: Sequence[long_runs.Run]) -> None:
    healed = [pair for run in runs for pair in run["healed"]]
    table.add("cuts, of one node or of halves", len(healed), "")
    table.add("payments", long_runs.total(runs, "payments"), "")
    table.add("of these lost", long_runs.total(runs, "lost"), "", "0")
    for share, what in ((0.5, "p50"), (0.99, "p99"), (1.0, "longest")):
        value = long_runs.percentile([taken for _, taken in healed], share)
        table.add(f"healed to final everywhere, {what}", value, "s", f"≤ {BOUND_S:.0f}")
    for least, most in ((0.0, 3.0), (3.0, 6.0), (6.0, 15.0), (15.0, CUTS_S[1] + 1)):
        found = [taken for lasted, taken in healed if least <= lasted < most]
        if found:
            shown = f"{max(found)} of {len(found)}"
            table.add(f"longest after a cut of {least:.0f} to {most:.0f} s", shown, "s")


def main() -> int:
    """The command."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--cuts", type=int, default=10)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--record", action="store_true", help="add to results/lost_packets.md")
    options = parser.parse_args()
    if not os.environ.get(INSIDE):
        missing = [name for name in ("ip", "unshare") if shutil.which(name) is None]
        if missing:
            parser.error(f"not installed: {', '.join(missing)} (packages iproute2, util-linux)")
        os.environ[INSIDE] = "yes"
        words = ["unshare", "--map-root-user", "--mount", "--net", sys.executable, *sys.argv]
        os.execvp(words[0], words)  # the same program, as root of new namespaces
    with tempfile.TemporaryDirectory(prefix="chaind-packets-") as directory:
        figures = Campaign(Path(directory), Random(options.seed)).run(options.cuts)
    show("")
    if options.record:
        record(figures, seed=options.seed)
    if options.json:
        print(json.dumps(figures))
    else:
        for name, value in figures.items():
            print(f"{name:<12}{value}")
    return 0 if faultless(figures) else 1


if __name__ == "__main__":
    sys.exit(main())
