"""Four real processes under load: SIGKILL one, two, all; nothing acknowledged is ever lost.

CHAIND_TEST_ROUNDS sets how often all four are killed at once (default 3).
"""

import os
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest
from local_network import LocalNetwork, NodeProcess, until
from payments_under_way import Load, lost, same_chain, settle

ROUNDS = int(os.environ.get("CHAIND_TEST_ROUNDS", "3"))
RATE = 500  # transfers per second, all nodes together


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
    found = Load(network, tmp_path, RATE)
    yield found
    found.kill()


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

    settle(nodes)
    for node in nodes:
        assert node.end() == 0, "a node did not end cleanly"

    assert not lost(load, nodes), "acknowledged and lost"
    sent, answered, refused = (load.lines(kind) for kind in ("sent", "answered", "refused"))
    print(
        f"{len(sent)} sent in {load.lasted:.0f} s, {len(answered)} acknowledged, all final on all "
        f"nodes; {len(refused)} refused, {ROUNDS} times all killed"
    )
