"""Networks of real nodes of which some stop, crash, lose their data, come late or cannot write."""

import asyncio
from pathlib import Path

import pytest
from harness import FUNDED, Cluster, address, order
from parts import turns

from chaind.consensus.core import TimerFired, TimerId
from chaind.node import finality as finality_module
from chaind.node import sync as sync_module
from chaind.node.durable import NotDurable
from chaind.primitives.genesis import ConsensusParameters
from chaind.primitives.hashes import sha256
from chaind.primitives.transaction import (
    Lease,
    Transaction,
)
from chaind.storage.errors import DiskFailed


async def test_one_of_four_may_stop_and_catches_up(tmp_path: Path) -> None:
    async with Cluster(tmp_path, validators=4) as cluster:
        await cluster.connected()
        await cluster[3].payments.transfer(order("alice", "bob", 1, key="before"))
        await cluster.stop(3)
        for number in range(6):
            paid = await cluster[number % 3].payments.transfer(
                order("alice", "bob", 1, key=f"k{number}")
            )
            assert paid.info.status == "final"
        assert cluster[0].queries.transaction(paid.txid).status == "final"
        await cluster.start(3)
        await cluster.agree()
        await cluster.until(lambda: set(cluster.balances("bob")) == {FUNDED + 7})
        again = await cluster[3].payments.transfer(order("alice", "bob", 1, key="k0"))
        assert again.hit == "state"
        assert set(cluster.balances("bob")) == {FUNDED + 7}


async def test_without_a_quorum_nothing_is_final_and_all_is_told(tmp_path: Path) -> None:
    async with Cluster(tmp_path, validators=4) as cluster:
        await cluster.connected()
        await cluster[0].payments.transfer(order("alice", "bob", 1, key="before"))
        await cluster.stop(2, 3)
        await cluster.until(lambda: len(cluster[0].network.peers()) == 1)
        transaction = await cluster.pay("alice", "bob", 10)
        await cluster.until(lambda: cluster[1].pool.get(transaction.txid))
        height = cluster[0].chain.final.height
        waited = await cluster[0].wait_final(transaction.txid, 1_500)
        assert waited.status in ("pending", "included")
        health = cluster[0].vitals.health()
        assert not health.ready
        assert any("no quorum" in reason for reason in health.reasons)
        assert cluster[0].queries.balance(address("bob")).native == FUNDED + 1
        assert cluster[0].chain.final.height <= height + 1  # one may have been under way
        await cluster.start(2)
        await cluster.final(transaction.txid)
        assert cluster.balances("bob") == [FUNDED + 11] * 3
        await cluster.until(lambda: all(node.vitals.health().ready for node in cluster.nodes))


@pytest.mark.parametrize("how", ["stop", "crash"])
async def test_what_was_acknowledged_survives_all_nodes_at_once(tmp_path: Path, how: str) -> None:
    async with Cluster(tmp_path, validators=4, full=1) as cluster:
        await cluster.connected()
        payments = [cluster.payment("alice", "bob", 1) for _ in range(60)]
        chunks = [payments[start::5] for start in range(5)]
        results = await asyncio.gather(
            *(cluster.submit(*chunk, at=at) for at, chunk in enumerate(chunks))
        )
        assert not [result for batch in results for result in batch if result.error]
        if how == "stop":
            await cluster.stop()
        else:
            await asyncio.gather(*(seat.crash() for seat in cluster.seats))
        await cluster.start()
        for payment in payments:
            await cluster.final(payment.txid)
        assert cluster.balances("bob") == [FUNDED + 60] * 5
        await cluster.agree()


async def test_a_validator_that_crashes_under_load_contradicts_nothing(tmp_path: Path) -> None:
    async with Cluster(tmp_path, validators=4) as cluster:
        await cluster.connected()
        sent: list[Transaction] = []
        enough = asyncio.Event()

        async def load() -> None:
            while not enough.is_set():
                sent.append(await cluster.pay("alice", "bob", 1, at=len(sent) % 3))
                await asyncio.sleep(0.002)  # a rate of payments, not a wait

        loading = asyncio.create_task(load())
        for _ in range(4):
            start = cluster[0].chain.final.height
            await cluster.height(start + 3, cluster.nodes[:3])
            await cluster.seats[3].crash()
            await cluster.start(3)
        enough.set()
        await loading
        for transaction in sent:
            await cluster.final(transaction.txid)
        assert cluster.balances("bob") == [FUNDED + len(sent)] * 4
        assert [node.engine.evidence_total for node in cluster.nodes] == [0] * 4
        await cluster.agree()


@pytest.mark.parametrize("rows", [0, finality_module.INLINE_ROWS_MAX])
async def test_alone_a_node_pays_and_recovers(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, rows: int
) -> None:
    """Whether batches are written on the loop or by a worker."""
    monkeypatch.setattr(finality_module, "INLINE_ROWS_MAX", rows)
    async with Cluster(tmp_path, validators=1) as cluster:
        for number in range(5):
            await cluster[0].payments.transfer(order("alice", "bob", 1, key=f"k{number}"))
            await cluster.seats[0].crash()
            await cluster.start(0)
            assert cluster.balances("bob") == [FUNDED + number + 1]
        again = await cluster[0].payments.transfer(order("alice", "bob", 1, key="k0"))
        assert again.hit == "state"
        assert cluster.balances("bob") == [FUNDED + 5]


async def test_a_disk_that_fails_ends_the_node_before_it_says_anything(tmp_path: Path) -> None:
    async with Cluster(tmp_path) as cluster:
        await cluster.height(1)
        seat = cluster.seats[0]
        seat.cut_power()
        answer = asyncio.create_task(cluster.pay("alice", "bob", 1))
        with pytest.raises((ExceptionGroup, DiskFailed)) as caught:
            await cluster.until(lambda: False)
        error: BaseException = caught.value
        while isinstance(error, BaseExceptionGroup):
            error = error.exceptions[0]
        assert isinstance(error, DiskFailed)
        with pytest.raises(NotDurable):
            await answer
        await seat.crash()
        await cluster.start(0)
        assert cluster.balances("bob") == [FUNDED]


# Nodes that come late.


async def test_a_validator_that_lost_its_data_follows_and_does_not_vote(tmp_path: Path) -> None:
    async with Cluster(tmp_path, validators=4) as cluster:
        await cluster.connected()
        for number in range(5):
            await cluster[3].payments.transfer(order("alice", "bob", 1, key=f"k{number}"))
        await cluster.stop(3)
        cluster.seats[3].wipe()
        await cluster.start(3)
        assert cluster[3].validator_index is None
        await cluster.agree()
        await cluster.until(lambda: set(cluster.balances("bob")) == {FUNDED + 5})
        assert "vote log lost" in cluster[3].vitals.health().reasons[0]
        paid = await cluster[3].payments.transfer(order("alice", "bob", 1, key="after"))
        assert paid.info.status == "final"
        assert [node.engine.evidence_total for node in cluster.nodes] == [0] * 4


QUICKEST = ConsensusParameters(delta_ms=30, block_budget_ms=5, empty_block_interval_ms=10)


async def test_a_late_joiner_needs_nobody_but_another_full_node(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """More blocks than one range holds, from a node that has fetched them itself."""
    monkeypatch.setattr(sync_module, "BLOCKS_MAX", 30)
    async with Cluster(
        tmp_path, validators=1, consensus=QUICKEST, exchange=False, sections=_FEW_PEERS
    ) as cluster:
        await cluster[0].payments.transfer(order("alice", "bob", 5, key="early"))
        await cluster.height(100)
        first = cluster.add_seat(calls=[0])
        await first.start()
        await cluster.agree()
        assert cluster[1].sync.blocks_total >= 60, "by ranges, not one by one"
        last = cluster.add_seat(calls=[1])
        await last.start()
        await cluster.agree()
        assert cluster[2].sync.blocks_total >= 60
        assert [peer.node_id for peer in cluster[2].network.peers()] == [cluster[1].network.node_id]
        assert cluster.balances("bob") == [FUNDED + 5] * 3
        paid = await cluster[2].payments.transfer(order("alice", "bob", 5, key="late"))
        assert paid.info.status == "final"


_FEW_PEERS: dict[str, dict[str, object]] = {"network": {"max_peers": 8}}


# What a crash may not lose.


async def test_a_lost_note_of_a_rejection_is_written_again(tmp_path: Path) -> None:
    """Outcomes are written unsynced: after a crash the journal must lead to them again."""
    async with Cluster(tmp_path, parameters={"min_block_interval_ms": 400}) as cluster:
        await cluster[0].payments.transfer(order("alice", "bob", 1, key="a block has just been"))
        node = cluster[0]
        lease = Lease(address("alice"), sha256(b"key"), bytes(32))
        loser = cluster.payment("alice", "bob", 5, lease=lease)
        winner = cluster.payment("alice", "bob", 9, lease=lease)
        await cluster.submit(loser)
        assert node.pool.remove(loser.txid), "as if it was evicted"
        await cluster.submit(winner)
        await cluster.final(winner.txid)
        assert node.queries.transaction(loser.txid).status == "rejected"
        await cluster.seats[0].crash()
        await cluster.start(0)
        assert cluster[0].queries.is_final(winner.txid)
        for _ in range(2):
            found = cluster[0].queries.transaction(loser.txid)
            assert (found.status, found.by) == ("rejected", winner.txid)
            await cluster.stop(0)
            await cluster.start(0)


async def test_a_retry_is_answered_once_it_is_visible_everywhere(tmp_path: Path) -> None:
    """Final here is not yet final at every peer: also a repeated answer must hold everywhere."""
    async with Cluster(tmp_path, validators=4) as cluster:
        await cluster.connected()
        wanted = order("alice", "bob", 5, key="key")
        paid = await cluster[0].payments.transfer(wanted)
        assert paid.info.height is not None
        slow = cluster[0].network.peers()[0]
        slow.final_height = paid.info.height - 1
        retry = asyncio.create_task(cluster[0].payments.transfer(wanted))
        await turns()
        assert not retry.done()
        slow.final_height = paid.info.height
        cluster[0].waiters.check()
        assert (await retry).txid == paid.txid


async def test_a_stop_answers_whoever_waits(tmp_path: Path) -> None:
    async with Cluster(tmp_path, validators=4) as cluster:
        await cluster.connected()
        await cluster.stop(2, 3)
        transaction = await cluster.pay("alice", "bob", 10)
        waiting = asyncio.create_task(cluster[0].wait_final(transaction.txid, 60_000))
        await asyncio.sleep(0)
        async with asyncio.timeout(5):
            await cluster.stop(0)
            assert (await waiting).status in ("pending", "included")


async def test_an_engine_that_was_stopped_is_deaf(tmp_path: Path) -> None:
    """A fault closes the logs while the peers still talk."""
    async with Cluster(tmp_path, validators=1) as cluster:
        node = cluster[0]
        await cluster.until(lambda: node.chain.final.height >= 1)
        node.engine.stop()
        view = node.engine.view
        node.engine.feed(TimerFired(TimerId.VIEW))
        node.engine.work_arrived()
        assert node.engine.view == view
        assert not node.engine._queue
