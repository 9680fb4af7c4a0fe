"""pooler's minerd on a node's getblocktemplate: what it finds is taken, whoever makes the coinbase.

Build it anywhere and name it; each way takes a minute of a core:

    export CHAIND_TEST_MINERS=/path/minerd
    .venv/bin/pytest -s tests/e2e/test_foreign_gbt.py
"""

import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from local_network import COMMAND, NodeProcess, free_ports, until

WORDS = [word for word in os.environ.get("CHAIND_TEST_MINERS", "").split(":") if word]
MINERS = [word for word in WORDS if Path(word).name == "minerd"]
BLOCKS = 20
START_BITS = 0x1E00FFFF  # 2^24 hashes: a second or two of one core
PATIENCE_S = 300.0


@pytest.fixture
def node(tmp_path: Path) -> Iterator[NodeProcess]:
    """A node of a new chain of miners, which nobody mines yet."""
    home = tmp_path / "mined"
    subprocess.run([*COMMAND, "init", "--home", str(home), "--mode", "pow"], check=True)
    document = json.loads((home / "genesis.json").read_bytes())
    document["work"]["start_bits"] = START_BITS
    (home / "genesis.json").write_text(json.dumps(document))
    node = NodeProcess(home, *free_ports(2))
    node.start()
    try:
        until(node.ready, "the node is ready")
        yield node
    except BaseException:
        print(node.log_tail())
        raise
    finally:
        node.end()


@pytest.mark.skipif(not MINERS, reason="CHAIND_TEST_MINERS=/path/minerd names no minerd")
@pytest.mark.parametrize("program", MINERS[:1] or ["none"], ids=lambda path: Path(path).name)
@pytest.mark.parametrize("whose", ["own coinbase", "the node's coinbase"])
def test_minerd_mines_by_getblocktemplate(
    node: NodeProcess, program: str, whose: str, tmp_path: Path
) -> None:
    cookie, _, secret = (node.home / "rpc.cookie").read_text().strip().partition(":")
    address = node.get("/balance/bob")["address"]
    settings, said = tmp_path / "settings", tmp_path / "said"
    name = cookie if whose == "own coinbase" else f"{address}.foreign"
    settings.write_text(json.dumps({"userpass": f"{name}:{secret}"}))
    command = [program, "-a", "sha256d", "--no-stratum", "--no-getwork", "-t", "1"]
    command += ["-o", node.url, "-c", str(settings)]
    if whose == "own coinbase":
        command += ["--coinbase-addr", address]
    with said.open("wb") as output:
        miner = subprocess.Popen(command, stdout=output, stderr=subprocess.STDOUT)
    try:
        until(
            lambda: miner.poll() is not None or node.get("/status")["head_height"] >= BLOCKS,
            "blocks",
            PATIENCE_S,
        )
        assert miner.poll() is None, said.read_text()[-2_000:]
    finally:
        miner.terminate()
        miner.wait()
    text = said.read_text(errors="replace")
    answers = re.findall(r"accepted: (\d+)/(\d+)[^\n]*", text)
    accepted, submitted = map(int, answers[-1])
    [mined] = node.get("/api/v1/mining/attribution?who=bob")["miners"]
    print(f"\n{whose}: {accepted} of {submitted} were taken, {mined}", file=sys.stderr)
    assert mined["blocks"] == node.get("/status")["head_height"] >= BLOCKS
    assert accepted >= BLOCKS - 1, "the answer to the last one may be on its way"
    late = sum("stale-prevblk" in line for line in (node.home / "log").read_text().splitlines())
    assert submitted - accepted <= late, "nothing else is refused"
