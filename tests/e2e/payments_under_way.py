"""The payer as a process beside a network, its record, and what must be true of it at the end."""

import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

from ledger_audit import audit
from local_network import LocalNetwork, NodeProcess, until

PAYER = Path(__file__).with_name("payer.py")


class Load:
    """The payer process and its record."""

    def __init__(self, network: LocalNetwork, directory: Path, rate: float) -> None:
        self.network = network
        self.rate = rate
        self.record = directory / "record"
        self.record.touch()
        self.process: subprocess.Popen[bytes] | None = None
        self._reading = threading.Lock()  # the two fields below; a long record is read once
        self._read_bytes = 0
        self._ids: dict[str, list[str]] = {"sent": [], "answered": [], "refused": []}
        self.begun = 0.0
        self.lasted = 0.0

    def start(self) -> None:
        """Pay through all nodes, whether they live or not."""
        urls = [node.url for node in self.network.nodes]
        genesis = self.network.nodes[0].home / "genesis.json"
        self.begun = time.monotonic()
        self.process = subprocess.Popen(
            [sys.executable, str(PAYER), str(genesis), str(self.record), str(self.rate), *urls]
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
        with self._reading:
            self._read_on()
            return list(self._ids[kind])

    def newest_answered(self, count: int) -> list[str]:
        """Ids of the last acknowledged payments."""
        with self._reading:
            self._read_on()
            return self._ids["answered"][-count:]

    def answered(self) -> int:
        """Number of acknowledged payments so far."""
        with self._reading:
            self._read_on()
            return len(self._ids["answered"])

    def _read_on(self) -> None:
        """Take in the whole lines that were written since."""
        with self.record.open("rb") as file:
            file.seek(self._read_bytes)
            whole = file.read().rpartition(b"\n")[0]
        for line in whole.decode().splitlines():
            kind, txid = line.split()[:2]
            self._ids[kind].append(txid)
        self._read_bytes += len(whole) + 1 if whole else 0

    def grows(self, by: int) -> None:
        """Wait until so many more payments were acknowledged."""
        goal = self.answered() + by
        until(lambda: self.answered() >= goal, f"{by} more payments acknowledged")

    def kill(self) -> None:
        """End the payer whatever it does."""
        if self.process is not None:
            self.process.kill()
            self.process.wait()


def same_chain(nodes: list[NodeProcess]) -> bool:
    """Whether the nodes agree on the block at the lowest of their final heights."""
    heights = [node.height() for node in nodes]
    if min(heights) < 1:
        return False
    hashes = {node.get(f"/block/{min(heights)}")["hash"] for node in nodes}
    assert len(hashes) == 1, f"two final blocks at height {min(heights)}"
    return True


def settle(nodes: list[NodeProcess]) -> None:
    """Wait until nothing is pending and all stand at the same height."""
    until(lambda: not any(map(_has_pending, nodes)), "nothing pending")
    top = max(node.height() for node in nodes)
    until(lambda: all(node.height() >= top for node in nodes), "all at the same height")
    assert same_chain(nodes)


def _has_pending(node: NodeProcess) -> bool:
    """Whether something waits, or the node cannot say: it may be healing."""
    told = node.get("/pending")
    return told is None or told.get("count") != 0


def lost(load: Load, nodes: list[NodeProcess]) -> set[bytes]:
    """Payments that were acknowledged and are missing on some of the stopped nodes.

    Fails where nodes disagree, or hold what nobody sent.
    """
    answered = {bytes.fromhex(txid) for txid in load.lines("answered")}
    sent = {bytes.fromhex(txid) for txid in load.lines("sent")}
    audits = [audit(node.home) for node in nodes]
    shortest = min(found.height for found in audits)
    missing: set[bytes] = set()
    for found in audits:
        missing |= answered - found.txids
        assert found.txids <= sent, "a transaction that nobody sent"
        assert found.hashes[:shortest] == audits[0].hashes[:shortest]
        assert found.balances == audits[0].balances
    return missing
