"""Four real processes under load: SIGKILL one, two, all; nothing acknowledged is ever lost.

CHAIND_TEST_ROUNDS sets how often all four are killed at once (default 3).
"""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from ledger_audit import audit
from local_network import LocalNetwork, NodeProcess, until

ROUNDS = int(os.environ.get("CHAIND_TEST_ROUNDS", "3"))
RATE = 500  # transfers per second, all nodes together
PAYER = Path(__file__).with_name("payer.py")


class Load:
    """The payer process and its record."""

    def __init__(self, network: LocalNetwork, directory: Path) -> None:
        self.network = network
        self.record = directory / "record"
        self.record.touch()
        self.process: subprocess.Popen[bytes] | None = None
        self.begun = 0.0
        self.lasted = 0.0

    def start(self) -> None:
        """Pay through all living nodes."""
        urls = [node.url for node in self.network.living()]
        genesis = self.network.nodes[0].home / "genesis.json"
        self.begun = time.monotonic()
        self.process = subprocess.Popen(
            [sys.executable, str(PAYER), str(genesis), str(self.record), str(RATE), *urls]
        )

    def stop(self) -> None:
        """End the payer in good order."""
        if self.process is not None:
            self.process.send_signal(signal.SIGTERM)
            assert self.process.wait(30) == 0, "the payer failed"
            self.lasted += time.monotonic() - self.begun
            self.process = None

    def lines(self, kind: str) -> list[str]:
        """Ids of one kind of line."""
        rows = (line.split() for line in self.record.read_text().splitlines())
        return [row[1] for row in rows if row[0] == kind]

    def answered(self) -> int:
        """Number of acknowledged payments so far."""
        return len(self.lines("answered"))

    def grows(self, by: int) -> None:
        """Wait until so many more payments were acknowledged."""
        goal = self.answered() + by
        until(lambda: self.answered() >= goal, f"{by} more payments acknowledged")


@pytest.fixture
def network(tmp_path: Path) -> Iterator[LocalNetwork]:
    found = LocalNetwork(tmp_path / "net", 4)
    try:
        found.start()
        yield found
    except BaseException:
        for node in found.nodes:
            print(f"--- {node.home.name}\n{node.log_tail()}")
        raise
    finally:
        found.close()


@pytest.fixture
def load(network: LocalNetwork, tmp_path: Path) -> Iterator[Load]:
    found = Load(network, tmp_path)
    yield found
    if found.process is not None:
        found.process.kill()
        found.process.wait()


def same_chain(nodes: list[NodeProcess]) -> bool:
    """Whether the nodes agree on the block at the lowest of their final heights."""
    heights = [node.height() for node in nodes]
    if min(heights) < 1:
        return False
    hashes = {node.get(f"/block/{min(heights)}")["hash"] for node in nodes}
    assert len(hashes) == 1, f"two final blocks at height {min(heights)}"
    return True


def advanced(node: NodeProcess, beyond: int) -> bool:
    return node.height() > beyond


def test_killed_nodes_lose_nothing(network: LocalNetwork, load: Load) -> None:
    nodes = network.nodes
    load.start()
    load.grows(RATE)

    # One killed: the rest go on; restarted, it catches up to the same chain.
    nodes[3].kill()
    height = nodes[0].height()
    until(lambda: all(advanced(node, height + 5) for node in nodes[:3]), "three nodes go on")
    nodes[3].start()
    until(nodes[3].ready, "the killed node is ready again")
    until(lambda: advanced(nodes[3], height + 5), "the killed node catches up")
    assert same_chain(nodes)

    # Two killed: nothing becomes final, reads answer, readiness says why.
    nodes[2].kill()
    nodes[3].kill()
    until(lambda: not nodes[0].ready(), "a node without quorum says so")
    reasons = " ".join(nodes[0].get("/health/ready")["reasons"])
    assert "no quorum" in reasons, reasons
    stalled = nodes[0].height()
    load.grows(RATE // 4)
    assert nodes[0].height() == stalled, "final without a quorum"
    assert nodes[1].get("/balance/alice")["balance"]
    nodes[2].start()
    until(lambda: advanced(nodes[0], stalled + 5), "finality resumes by itself")
    nodes[3].start()
    network.await_ready()

    # All killed at once, again and again.
    for _ in range(ROUNDS):
        load.grows(RATE // 2)
        for node in nodes:
            assert node.process is not None
            node.process.send_signal(signal.SIGKILL)
        for node in nodes:
            assert node.process is not None
            node.process.wait()
            node.process = None
        network.start()
        height = max(node.height() for node in nodes)
        until(lambda h=height: all(advanced(node, h) for node in nodes), "finality after restart")
    load.stop()

    until(lambda: all(not node.get("/pending")["count"] for node in nodes), "nothing pending")
    top = max(node.height() for node in nodes)
    until(lambda: all(node.height() >= top for node in nodes), "all at the same height")
    assert same_chain(nodes)
    for node in nodes:
        assert node.end() == 0, "a node did not end cleanly"

    refused = load.lines("refused")
    answered = {bytes.fromhex(txid) for txid in load.lines("answered")}
    sent = {bytes.fromhex(txid) for txid in load.lines("sent")}
    audits = [audit(node.home) for node in nodes]
    shortest = min(found.height for found in audits)
    for found in audits:
        assert answered <= found.txids, f"{len(answered - found.txids)} acknowledged and lost"
        assert found.txids <= sent, "a transaction that nobody sent"
        assert found.hashes[:shortest] == audits[0].hashes[:shortest]
        assert found.balances == audits[0].balances
    print(
        f"{len(sent)} sent in {load.lasted:.0f} s, {len(answered)} acknowledged, all final on all "
        f"nodes; {len(refused)} refused, {ROUNDS} times all killed"
    )
