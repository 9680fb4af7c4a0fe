"""The receiver of a webhook is killed for a while, and the node restarted meanwhile.

    python tests/e2e/webhook_outage.py --outage 60
    python tests/e2e/webhook_outage.py --outage 60 --kill --restarts 3

Payments go on all the time, and every event of them has to arrive. The exit status is 1 where one
is missing at the receiver, out of order, or not signed as it should be.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
import urllib.request
from pathlib import Path
from typing import Any

from local_network import COMMAND, LocalNetwork, NodeProcess, free_ports, until

SECRET = "a secret of the webhook"
PAUSE_S = 0.2  # between payments while time passes


class ReceiverProcess:
    """`chaind webhooks listen`, with all that it ever printed in one file."""

    def __init__(self, directory: Path) -> None:
        [self.port] = free_ports(1)
        self._output = directory / "received"
        self._errors = directory / "errors"
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Start it, and wait until it listens."""
        told = self._said().count("Listening")
        words = [*COMMAND, "webhooks", "listen", "--json", "--port", str(self.port)]
        environ = {**os.environ, "CHAIND_WEBHOOK_SECRET": SECRET}
        with self._output.open("ab") as output, self._errors.open("ab") as errors:
            self._process = subprocess.Popen(words, stdout=output, stderr=errors, env=environ)
        until(lambda: self._said().count("Listening") > told, "the receiver listens")

    def kill(self) -> None:
        """SIGKILL, and wait for the end."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None

    def events(self) -> list[dict[str, Any]]:
        """What it took, in the order in which each came first."""
        first: dict[str, dict[str, Any]] = {}
        for line in self._output.read_text().splitlines():
            event = json.loads(line)["event"]
            assert first.setdefault(event["id"], event) == event, "one id, two events"
        return list(first.values())

    def refusals(self) -> list[str]:
        """What it did not believe."""
        return [line for line in self._said().splitlines() if "Refused" in line]

    def _said(self) -> str:
        return self._errors.read_text() if self._errors.exists() else ""


def pay(node: NodeProcess) -> None:
    """One final payment."""
    status, answer, _ = node.post(
        "/transfer?wait=final", {"from": "alice", "to": "bob", "amount": "0.1"}
    )
    assert status == 200, answer


def feed(node: NodeProcess) -> list[dict[str, Any]]:
    """Every event, as the node tells it."""
    found, cursor = [], "0.0.0"
    while True:
        page = node.get(f"/api/v1/events?limit=500&cursor={cursor}")
        found += page["events"]
        cursor = page["next_cursor"]
        if page["at_tip"]:
            return found


def subscribe(node: NodeProcess, port: int) -> str:
    """A subscription from the genesis on."""
    token = (node.home / "api.token").read_text().strip()
    status, answer, _ = node.post(
        "/api/v1/webhooks",
        {"url": f"http://127.0.0.1:{port}/", "secret": SECRET, "cursor": "0.0.0"},
        {"Authorization": f"Bearer {token}"},
    )
    assert status == 201, answer
    return str(answer["id"])


def failures(node: NodeProcess) -> float:
    """Attempts that failed in this run of the node."""
    with urllib.request.urlopen(node.url + "/metrics") as answer:
        lines = answer.read().decode().splitlines()
    [value] = [line.split()[1] for line in lines if line.startswith("chaind_webhooks_failed_total")]
    return float(value)


def campaign(directory: Path, outage_s: float, *, kill: bool, restarts: int) -> dict[str, Any]:
    """Run it; the figures. Raises `AssertionError` with what went wrong."""
    network = LocalNetwork(directory / "net", 1)
    [node] = network.nodes
    node.extra = {"CHAIND_WEBHOOKS_ALLOW_PRIVATE": "true"}
    receiver = ReceiverProcess(directory)
    paid = 0
    try:
        network.start()
        receiver.start()
        subscribe(node, receiver.port)
        for _ in range(10):
            pay(node)
            paid += 1
        until(lambda: len(receiver.events()) >= 20, "events of the first payments")
        receiver.kill()
        begun = time.monotonic()
        for number in range(1, restarts + 1):
            pay(node)
            paid += 1
            until(lambda: failures(node), "an attempt that failed")
            while time.monotonic() - begun < number * outage_s / (restarts + 1):
                pay(node)
                paid += 1
                time.sleep(PAUSE_S)
            if kill:
                node.kill()
            else:
                assert node.end() == 0, node.log_tail()
            network.start()
        while time.monotonic() - begun < outage_s:
            pay(node)
            paid += 1
            time.sleep(PAUSE_S)
        receiver.start()
        back = time.monotonic()
        pay(node)
        paid += 1
        events = feed(node)
        until(lambda: len(receiver.events()) >= len(events), "every event", 400.0)
        seconds = time.monotonic() - back
        assert receiver.events()[: len(events)] == events, "a gap, or another order"
        assert receiver.refusals() == []
        payments = {event["tx_id"] for event in events if event["kind"] == "payment"}
        assert len(payments) == paid
    except AssertionError as error:
        raise AssertionError(f"{error}\n{node.log_tail()}") from error
    finally:
        receiver.kill()
        network.close()
    return {"payments": paid, "events": len(events), "caught_up_s": round(seconds, 2)}


def main() -> int:
    """Run as the command line says."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--outage", type=float, default=60.0, help="seconds, 60 by default")
    parser.add_argument("--kill", action="store_true", help="SIGKILL the node, not SIGTERM")
    parser.add_argument("--restarts", type=int, default=1, help="of the node, 1 by default")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as directory:
        try:
            figures = campaign(
                Path(directory), options.outage, kill=options.kill, restarts=options.restarts
            )
        except AssertionError as error:
            print(f"FAILED: {error}")
            return 1
    print(json.dumps(figures))
    return 0


if __name__ == "__main__":
    sys.exit(main())
