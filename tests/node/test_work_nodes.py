"""Nodes of a chain of miners: blocks travel, the heaviest branch wins, depth makes final."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import groupby
from pathlib import Path
from typing import Any

import msgspec
from harness import FUNDED, UNIT, Seat, address, secret
from structlog.testing import capture_logs
from work_kit import RULES, SUBSIDY, WorkCluster

from chaind.api.channels import Hub
from chaind.api.forms import Forms
from chaind.ledger.block import GENESIS_COIN_TXID
from chaind.node.audit import Violation
from chaind.node.audit_home import audit_disk
from chaind.node.node import Node
from chaind.node.recovery import open_disk
from chaind.primitives.transaction import VERSION, Body, CoinInput, CoinOutput, Lease, Transaction
from chaind.storage.files import OsFiles
from chaind.storage.kv import LevelStore, MemoryStore
from chaind.wallet.builder import sign


async def test_mined_blocks_travel_and_become_final_by_depth(tmp_path: Path) -> None:
    async with WorkCluster(tmp_path, nodes=3, final_depth=4) as cluster:
        payment = await cluster.pay("alice", "bob", 5, at=1)
        await cluster.until(lambda: cluster[0].pool.get(payment.txid))
        [block, *_] = await cluster.mine(at=0, count=10)
        assert [each.txid for each in block.transactions] == [payment.txid]
        assert await cluster.heads() == cluster[0].chain.head.hash
        assert [node.chain.head.height for node in cluster.nodes] == [10] * 3
        await cluster.height(6)
        assert cluster.balances("bob") == [FUNDED + 5] * 3
        for node in cluster.nodes:
            assert node.chain.final.height == 6
            coins = node.queries.coins(address("carol"), 100, at_head=False)
            assert [coin.amount for coin in coins] == [SUBSIDY] * 6
            assert node.queries.transaction(payment.txid).status == "final"


async def test_partitioned_nodes_heal_on_the_heavier_branch(tmp_path: Path) -> None:
    """30 blocks on each side; two nodes make theirs slowly, the one by itself in a hurry."""
    rules = msgspec.structs.replace(RULES, retarget="bitcoin", window=10)
    coins = [("alice", "5")]
    async with WorkCluster(tmp_path, nodes=3, final_depth=40, coins=coins, rules=rules) as cluster:
        lease = Lease(address("bob"), b"L" * 32, b"I" * 32)
        await cluster.mine(at=0, count=3)
        await cluster.heads()
        cluster.cut({0}, {1, 2})
        coin = CoinInput(GENESIS_COIN_TXID, 0)
        light = [
            cluster.payment("alice", "bob", 5),
            cluster.payment("bob", "alice", 2, lease=lease),
            spend(cluster, coin, "alice", "bob"),
        ]
        heavy = [
            cluster.payment("alice", "carol", 9),
            cluster.payment("bob", "carol", 4, lease=lease),
            spend(cluster, coin, "alice", "carol"),
        ]
        channels = [f"tx:{one.txid.hex()}" for one in light]
        with listening(cluster[2], *channels) as heard:
            for at, transactions in ((1, light), (0, heavy)):
                results = await cluster.submit(*transactions, at=at)
                assert [one.error for one in results] == [None] * 3
            await cluster.until(lambda: all(cluster[2].pool.get(one.txid) for one in light))
            await cluster.mine(at=1, count=30, to="alice", every_s=2)
            await cluster.mine(at=0, count=30, to="bob")
            await cluster.heads(1, 2)
            lost = cluster[1].chain.head.hash
            statuses = [cluster[2].queries.transaction(one.txid).status for one in light]
            assert statuses == ["included"] * 3
            works = [cluster.engine(at).tree.ready.chainwork for at in range(3)]
            assert works[0] > works[1] == works[2]
            cluster.cut()
            [last] = await cluster.mine(at=0, to="bob")  # which the others hear of
            assert await cluster.heads() == last.hash
            assert (last.height, cluster.engine(1).tree.get(lost) is not None) == (34, True)
            assert [cluster.engine(at).branches.reorg_depth_max for at in range(3)] == [0, 30, 30]
            for at in (1, 2):
                statuses = [cluster[at].queries.transaction(one.txid).status for one in light]
                assert statuses == ["pending"] * 3
            await cluster.mine(at=1, count=60, every_s=3)
            await cluster.heads()
            await cluster.height(50)
        for at in (1, 2):
            told = [cluster[at].queries.transaction(one.txid) for one in light]
            assert [one.status for one in told] == ["final", "rejected", "rejected"]
            assert [one.by for one in told[1:]] == [heavy[1].txid, heavy[2].txid]
        frames = heard()
        assert [changes(frames, channel) for channel in channels] == [
            ["unknown", "pending", "included", "pending", "included", "final"],
            ["unknown", "pending", "included", "pending", "rejected"],
            ["unknown", "pending", "included", "pending", "rejected"],
        ]
        assert cluster.balances("carol") == [FUNDED + 13] * 3
        await cluster.stop()
        for seat in cluster.seats:
            assert audit(cluster, seat) == []


@contextmanager
def listening(node: Node, *channels: str) -> Iterator[Callable[[], list[dict[str, Any]]]]:
    """What a WebSocket of a node would have been told of these channels."""
    hub = Hub(node, Forms(node.genesis))
    client = hub.join()
    for channel in channels:
        hub.subscribe(client, channel, hub.parse(channel), None)

    def heard() -> list[dict[str, Any]]:
        frames = iter(client.take, None)
        return [msgspec.json.decode(frame) for frame in frames]

    yield heard
    hub.leave(client)
    hub.close()


def changes(heard: list[dict[str, Any]], channel: str) -> list[str]:
    """The statuses that a channel told, each as long as it lasted."""
    told = [one["data"]["status"] for one in heard if one["channel"] == channel]
    return [status for status, _ in groupby(told)]


def spend(cluster: WorkCluster, coin: CoinInput, source: str, target: str) -> Transaction:
    """The genesis coin becomes a coin of somebody's; a fifth of it is the fee."""
    outputs = (CoinOutput(address(target), 4 * UNIT),)
    prefix = cluster.genesis.chain_prefix
    body = Body(VERSION, prefix, b"the-coin", None, None, (coin,), outputs, None, b"")
    return sign(body, secret(source))


def audit(cluster: WorkCluster, seat: Seat, *, blocks: int = 50) -> list[Violation]:
    """A stopped node's blocks replayed, and all its rows compared with what that makes."""
    directory = seat.directory / "chain"
    database = LevelStore.open(directory / "db", cache_bytes=1 << 20, write_buffer_bytes=1 << 20)
    disk = open_disk(OsFiles(), directory, database, cluster.genesis)
    try:
        report = audit_disk(cluster.genesis, disk, database, MemoryStore())
        assert report.blocks >= blocks
        return report.violations
    finally:
        disk.close()


async def test_a_newcomer_catches_up_and_a_restarted_node_goes_on(tmp_path: Path) -> None:
    async with WorkCluster(tmp_path, nodes=2, final_depth=10) as cluster:
        await cluster.mine(at=0, count=60)
        await cluster.heads()
        newcomer = await cluster.add_seat(calls=[0, 1]).start()
        await cluster.heads()
        await cluster.height(50)
        assert newcomer.chain.head.height == 60
        await cluster.stop(0)
        await cluster.mine(at=1, count=5)
        await cluster.start(0)
        await cluster.heads()
        assert cluster[0].chain.head.height == 65
        await cluster.seats[0].crash()
        await cluster.mine(at=2, count=3)
        await cluster.start(0)
        await cluster.heads()
        await cluster.mine(at=0)
        await cluster.heads()
        await cluster.height(59)


async def test_a_chain_that_is_too_light_is_not_followed(tmp_path: Path) -> None:
    async with WorkCluster(tmp_path, nodes=2, final_depth=5, minimum=2 * 30) as cluster:
        await cluster.mine(at=0, count=20)
        assert not cluster.engine(0).planner.heavy_enough
        assert cluster[0].chain.final.height == 0, "nor final, however deep"
        assert cluster[1].chain.head.height == 0
        assert len(cluster.engine(1).tree) == 1
        await cluster.mine(at=0, count=20)
        await cluster.height(35, [cluster[0]])
        newcomer = await cluster.add_seat(calls=[0]).start()
        await cluster.until(lambda: newcomer.chain.head.height == 40)
        await cluster.height(35, [newcomer])


async def test_nodes_that_parted_for_too_long_stay_apart_and_say_so(tmp_path: Path) -> None:
    async with WorkCluster(tmp_path, nodes=2, final_depth=4) as cluster:
        await cluster.mine(at=0, count=2)
        await cluster.heads()
        cluster.cut({0}, {1})
        await cluster.mine(at=0, count=6)
        await cluster.mine(at=1, count=9, to="bob")
        await cluster.height(4, [cluster[0]])
        ours = cluster[0].chain.head.hash
        with capture_logs() as logs:
            cluster.cut()
            await cluster.mine(at=1, to="bob")
            await cluster.until(lambda: "reorg_refused" in [line["event"] for line in logs])
        assert cluster[0].chain.head.hash == ours
        status = cluster[0].vitals.status()
        assert status.reorgs_refused == cluster.engine(0).reorgs_refused > 0
        assert status.reorg_refused is not None
        assert "leaves this node's chain at height 2, below its final block 4" in (
            status.reorg_refused
        )
        assert cluster[0].vitals.health().ready, "anybody can claim such a branch"
        assert len(cluster[0].network.peers()) == 1
        await cluster.mine(at=0)
        assert cluster[0].chain.head.height == 9
