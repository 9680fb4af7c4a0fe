"""Unmodified mining software on a node: what it finds is taken, and nothing sound is refused.

Build pooler's minerd and cpuminer-opt anywhere and name them; each takes a minute of a core:

    export CHAIND_TEST_MINERS=/path/minerd:/path/cpuminer
    .venv/bin/pytest -s tests/e2e/test_foreign_miners.py

A share that comes after the tip has changed is stale, not wrongly rejected.
"""

import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from local_network import COMMAND, NodeProcess, free_ports, until

MINERS = [word for word in os.environ.get("CHAIND_TEST_MINERS", "").split(":") if word]
BLOCKS, SHARES = 20, 1_000
WRONGLY_MAX = 0.005  # of all shares
START_BITS = 0x1E00FFFF  # 2^24 hashes: a second or two of one core
PATIENCE_S = 300.0
NAME = "bob.foreign"
SETTINGS = {"CHAIND_MINER_SHARES_PER_MINUTE": "3000"}  # a thousand in the time of twenty blocks


@pytest.fixture
def node(tmp_path: Path) -> Iterator[NodeProcess]:
    """A node of a new chain of miners, which nobody mines yet."""
    home = tmp_path / "mined"
    subprocess.run([*COMMAND, "init", "--home", str(home), "--mode", "pow"], check=True)
    document = json.loads((home / "genesis.json").read_bytes())
    document["work"]["start_bits"] = START_BITS
    (home / "genesis.json").write_text(json.dumps(document))
    api_port, p2p_port, stratum_port = free_ports(3)
    node = NodeProcess(home, api_port, p2p_port)
    node.extra = {**SETTINGS, "CHAIND_MINER_STRATUM_PORT": str(stratum_port)}
    node.start()
    try:
        until(node.ready, "the node is ready")
        yield node
    except BaseException:
        print(node.log_tail())
        raise
    finally:
        node.end()


def worker_of(node: NodeProcess) -> Any:
    rows = node.get("/api/v1/mining/workers")["workers"]
    return next((row for row in rows if row["name"] == NAME), None)


def enough(node: NodeProcess) -> bool:
    worker = worker_of(node)
    height = node.get("/status")["head_height"]
    return worker is not None and worker["accepted"] >= SHARES and height >= BLOCKS


@pytest.mark.skipif(
    not MINERS, reason="CHAIND_TEST_MINERS=/path/minerd:/path/cpuminer names no mining software"
)
@pytest.mark.parametrize("program", MINERS or ["none"], ids=lambda path: Path(path).name)
def test_blocks_and_shares_of_foreign_software_are_taken(
    node: NodeProcess, program: str, tmp_path: Path
) -> None:
    url = node.get("/api/v1/mining")["stratum"]["url"]
    command = [program, "-a", "sha256d", "-o", url, "-u", NAME, "-p", "x", "-t", "1"]
    said = tmp_path / "said"
    with said.open("wb") as output:
        miner = subprocess.Popen(command, stdout=output, stderr=subprocess.STDOUT)
    try:
        until(lambda: miner.poll() is not None or enough(node), "shares and blocks", PATIENCE_S)
        assert miner.poll() is None, said.read_text()[-2_000:]
    finally:
        miner.terminate()
        miner.wait()
    worker = worker_of(node)
    [mined] = node.get("/api/v1/mining/attribution?who=bob")["miners"]
    last = re.findall(r"accepted:? [^\n]*", said.read_text(errors="replace"), re.IGNORECASE)[-1:]
    print(f"\n{Path(program).name}: {worker}\n{mined}\nit says: {last}", file=sys.stderr)
    assert mined["blocks"] >= BLOCKS
    assert mined["blocks"] == node.get("/status")["head_height"]
    total = worker["accepted"] + worker["rejected"]
    assert worker["rejected"] <= WRONGLY_MAX * total
