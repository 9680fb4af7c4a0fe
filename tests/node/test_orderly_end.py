"""An orderly end leaves no block decided and unwritten: the next start has nothing to do for it."""

import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

import pytest
from harness import Cluster, order

from chaind.node.node import Node
from chaind.node.recovery import open_disk, stored_votes
from chaind.node.repair import FINAL_KINDS, roll_forward
from chaind.primitives.votes import Certificate
from chaind.storage.errors import DiskFailed
from chaind.storage.files import OsFiles
from chaind.storage.kv import LevelStore

T = TypeVar("T")


def undelivered(node: Node) -> bool:
    """Whether the vote log holds a decision that the node has not acted on."""
    decided = (
        record.view
        for _, record in stored_votes(node._disk.votes)
        if isinstance(record, Certificate) and record.kind in FINAL_KINDS
    )
    return max(decided, default=0) > node.chain.final.view


async def test_what_is_decided_while_the_node_stops_is_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The node is asked to stop while the certificate of a payment's block waits for the disk."""
    cluster = Cluster(tmp_path)
    async with cluster:
        node = cluster[0]
        await node.payments.transfer(order("alice", "bob", 1, key="first"), wait=True)
        height = node.chain.final.height
        disk = node._workers.disk
        caught, stopped = asyncio.Event(), asyncio.Event()
        stop = node.engine.stop

        def stop_engine() -> None:
            stop()
            stopped.set()

        async def slow(work: Callable[[], T]) -> T:
            if not caught.is_set() and undelivered(node):
                caught.set()
                node.stop()
                await stopped.wait()
            return await disk(work)

        monkeypatch.setattr(node._workers, "disk", slow)
        monkeypatch.setattr(node.engine, "stop", stop_engine)
        await node.payments.transfer(order("alice", "bob", 1, key="second"), wait=False)
        await caught.wait()
        seat = cluster.seats[0]
        await seat.stop()
    database = LevelStore.open(
        seat.directory / "chain" / "db", cache_bytes=1 << 20, write_buffer_bytes=1 << 20
    )
    stored = open_disk(OsFiles(), seat.directory / "chain", database, cluster.genesis)
    try:
        assert stored.store.tip.height > height, "the payment's block was decided"
        assert roll_forward(stored, cluster.genesis) == 0
    finally:
        stored.close()


async def test_a_disk_that_fails_while_the_node_stops_is_the_only_reason_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whoever waits for that disk hears that the node stopped; the node itself says why."""
    async with Cluster(tmp_path) as cluster:
        node = cluster[0]
        await node.payments.transfer(order("alice", "bob", 1, key="first"), wait=True)

        bodies = node._disk.store.bodies
        sync = bodies.sync

        def fail_once() -> None:
            monkeypatch.setattr(bodies, "sync", sync)
            raise DiskFailed(path="bodies", operation="sync", reason="told to fail")

        monkeypatch.setattr(bodies, "sync", fail_once)
        with pytest.raises(ExceptionGroup) as raised:
            await cluster.seats[0].stop()
        assert [type(error) for error in raised.value.exceptions] == [DiskFailed]
