"""`chaind devnet --mode pow` from the outside, with stubs for nodes."""

import json
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest
from test_devnet import Devnet

from chaind.cli.processes import wait_until
from chaind.cli.supervise import Record, miner_address, stop_network


@pytest.fixture
def devnet(tmp_path: Path) -> Iterator[Devnet]:
    devnet = Devnet(tmp_path / "mined")
    yield devnet
    if Record.path(devnet.home).exists():
        stop_network(devnet.home)


def test_nodes_serve_miners_and_the_first_ones_mine(devnet: Devnet) -> None:
    done = devnet.run("--detach", "--mode", "pow", "--miners", "2", validators=3)
    assert (done.returncode, done.stderr) == (0, "")
    assert json.loads(devnet.genesis())["mode"] == "pow"
    assert Record.read(devnet.home).miners == 2
    for index in range(3):
        port = devnet.base_port + 2_000 + index
        mines = f"mines={miner_address(index)} 50%" if index < 2 else "mines=- -"
        assert f"'--stratum-port', '{port}'" in devnet.log(index)
        assert mines in devnet.log(index)
    assert "node0, node1 mine at a pace" in done.stdout
    url = f"stratum+tcp://127.0.0.1:{devnet.base_port + 2_000}"
    assert f"mine --url {url} --address chd1" in done.stdout
    assert f"minerd -a sha256d -o {url} -u chd1" in done.stdout


def test_the_chain_says_what_is_resumed(devnet: Devnet) -> None:
    devnet.run("--detach", "--mode", "pow", "--miners", "2")
    genesis = devnet.genesis()
    devnet.run("--stop")
    refused = devnet.run("--detach", "--mode", "bft")
    assert refused.returncode == 73
    assert "holds a chain of miners, not of validators" in refused.stderr
    assert devnet.run("--detach").returncode == 0
    assert devnet.genesis() == genesis
    assert Record.read(devnet.home).miners == 2
    devnet.run("--stop")
    assert devnet.run("--detach", "--reset", "--mode", "bft").returncode == 0
    assert json.loads(devnet.genesis())["mode"] == "bft"


def test_a_node_that_is_down_is_started_as_it_was(devnet: Devnet) -> None:
    devnet.run("--detach", "--mode", "pow")
    node0 = devnet.nodes()[0]
    stop_one(devnet, 0)
    assert devnet.run("--detach").returncode == 0
    assert devnet.nodes()[0] != node0
    assert devnet.log(0).count("100%") == 2


def test_there_are_no_more_miners_than_nodes(devnet: Devnet) -> None:
    refused = devnet.run("--mode", "pow", "--miners", "5", validators=2)
    assert refused.returncode == 2
    assert "--miners 5 is more than there are nodes: --nodes makes 2" in refused.stderr
    assert not devnet.home.exists()


def test_validators_have_no_miners(devnet: Devnet) -> None:
    refused = devnet.run("--mode", "bft", "--miners", "1")
    assert refused.returncode == 2
    assert "has no --miners" in refused.stderr
    assert not devnet.home.exists()


def stop_one(devnet: Devnet, index: int) -> None:
    process = devnet.nodes()[index]
    process.send(signal.SIGTERM)
    assert wait_until(lambda: not process.alive(), 20.0)
