"""`chaind devnet --mode pow` for real: blocks at once, transfers, a miner at the door, a kill."""

import asyncio
import json
import os
import signal
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from local_network import COMMAND, free_ports, until

sys.path.append(str(Path(__file__).parents[1] / "miner"))
from stratum_kit import StratumClient

SPARE = 2_000  # ports above the first, as the command lays them out


def free_base() -> int:
    """A base port whose node's three ports are free, as far as can be told."""
    while (base := free_ports(1)[0]) > 60_000:
        continue
    return base


class Net:
    """A devnet of one node, which mines."""

    def __init__(self, home: Path) -> None:
        self.home = home
        self.base = free_base()
        self.url = f"http://127.0.0.1:{self.base}"

    def command(self, *arguments: str) -> str:
        words = [*COMMAND, "devnet", "--home", str(self.home), *arguments]
        done = subprocess.run(words, capture_output=True, text=True, timeout=90, check=False)
        assert done.returncode == 0, done.stderr + (self.home / "node0/log").read_text()
        return done.stdout

    def start(self) -> str:
        options = ("--mode", "pow", "--nodes", "1", "--base-port", str(self.base), "--detach")
        return self.command(*options)

    def ask(self, path: str, body: Any = None) -> Any:
        data = None if body is None else json.dumps(body).encode()
        headers = {"Content-Type": "application/json"}
        request = urllib.request.Request(self.url + path, data, headers)
        with urllib.request.urlopen(request, timeout=60) as answer:
            return json.load(answer)


@pytest.fixture
def net(tmp_path: Path) -> Iterator[Net]:
    net = Net(tmp_path / "net")
    yield net
    net.command("--stop")


def processes(home: Path) -> tuple[int, list[int]]:
    """The node and its mining processes, by /proc."""
    node = json.loads((home / "devnet.json").read_bytes())["nodes"][0][0]
    tasks = Path(f"/proc/{node}/task").glob("*/children")
    children = [pid for task in tasks for pid in task.read_text().split()]
    return node, [
        int(pid) for pid in children if b"chaind.miner" in Path(f"/proc/{pid}/cmdline").read_bytes()
    ]


async def mine_one(port: int) -> list[str]:
    """Join as a miner does, find a share, and say what came of a few."""
    client = await StratumClient("bob.rig").join(port)
    await client.until(lambda: client.job)
    told = []
    for number in range(3):
        share = await asyncio.to_thread(client.search, number)
        answer = await client.ask("mining.submit", *share)
        told.append("accepted" if answer is True else str(answer[0]))
    await client.leave()
    return told


def test_a_devnet_of_miners_lives_through_a_kill(net: Net) -> None:
    told = net.start()
    assert "node0 mines at a pace" in told
    assert f"stratum+tcp://127.0.0.1:{net.base + SPARE}" in told
    paid = net.ask("/transfer", {"from": "alice", "to": "bob", "amount": "1.5"})["tx_id"]
    until(
        lambda: net.ask(f"/transaction/{paid}")["status"] in ("included", "final"),
        "the payment stands in a block",
    )
    answers = asyncio.run(mine_one(net.base + SPARE))
    assert set(answers) <= {"accepted", "21"}
    assert "accepted" in answers

    node, workers = processes(net.home)
    assert len(workers) == 1
    height = net.ask("/status")["head_height"]
    os.kill(node, signal.SIGKILL)
    until(lambda: not Path(f"/proc/{workers[0]}").exists(), "its mining process is gone")
    net.start()
    until(lambda: net.ask("/status")["head_height"] > height, "the chain goes on")
