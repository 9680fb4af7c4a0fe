"""Four nodes, two traders, one node killed and started again: the same books at every height."""

import asyncio
import json
import subprocess
from pathlib import Path

import exchange_soak
from exchange_soak import soak
from local_network import LocalNetwork, until
from test_long_runs import cells

CURL = '{"symbol":"BTC/USD","side":"buy","quantity":1.5,"price":45000.00}'


def test_books_are_the_same_on_all_nodes_at_every_height(tmp_path: Path) -> None:
    network = LocalNetwork(tmp_path / "net", 4)
    try:
        network.start()
        order = place_by_curl(network.nodes[0].url)
        until(lambda: stands(network, order), "the order stands in the book of every node")
        figures = asyncio.run(
            soak(network, seconds=5, rate=60, seed=1, followers_per_book=1, kill_every_s=2.0)
        )
    except BaseException:
        for node in network.nodes:
            print(f"--- {node.home.name}\n{node.log_tail()}")
        raise
    finally:
        network.close()
    assert figures["heights_that_differ"] == 0
    assert figures["mismatches"] == 0
    assert figures["kills"] >= 1
    assert figures["trades"] > 0
    assert figures["books_changed"] > 8
    assert figures["frames"] > figures["snapshots"] >= figures["followers"]


def place_by_curl(url: str) -> str:
    """As it is typed: no account, no key, numbers for amounts."""
    words = ["curl", "-s", "-X", "POST", "-H", "Content-Type: application/json", "-d", CURL]
    answer = json.loads(subprocess.check_output([*words, f"{url}/api/v1/orders"], timeout=30))
    assert answer["status"] in ("pending", "open"), answer
    order_id: str = answer["order_id"]
    return order_id


def stands(network: LocalNetwork, order: str) -> bool:
    """Whether every node has it open."""
    found = [node.get(f"/api/v1/orders/{order}") for node in network.nodes]
    return all(one is not None and one.get("status") == "open" for one in found)


def test_soaks_are_added_up(tmp_path: Path) -> None:
    run = {
        "actions": 600,
        "trades": 70,
        "kills": 2,
        "followers": 8,
        "frames": 900,
        "snapshots": 9,
        "mismatches": 0,
        "heights": 50,
        "heights_that_differ": 1,
        "seconds": 60.0,
    }
    for seed in (1, 2):
        exchange_soak.record(run, seed=seed, results=tmp_path)
    found = cells(tmp_path / "exchange_soak.md")
    assert (found["trades"], found["of these with a difference"]) == ("140", "2")
