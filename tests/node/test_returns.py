"""What was lost with a branch outlives a restart, a slow disk and a crowd of others."""

from pathlib import Path

import pytest
from harness import FUNDED, UNIT, address
from test_head_state import COIN, spend
from work_kit import WorkCluster
from work_world import WorkWorld, running

from chaind.primitives.keys import SecretKey
from chaind.primitives.transaction import CoinInput, CoinOutput, Transaction
from chaind.storage.errors import LogBacklog

NEWCOMER = SecretKey(b"\x77" * 32)


async def test_what_holds_only_on_the_head_is_back_after_a_restart(tmp_path: Path) -> None:
    async with WorkCluster(tmp_path, nodes=1) as cluster:
        gift = cluster.payment("alice", NEWCOMER, 50)
        await cluster.submit(gift)
        await cluster.mine(at=0)
        onward, hers = cluster.payment(NEWCOMER, "bob", 20), cluster.payment("alice", "bob", 1)
        results = await cluster.submit(onward, hers)
        assert [result.error for result in results] == [None, None]
        for end in (cluster.seats[0].stop, cluster.seats[0].crash):
            await end()
            node = await cluster.seats[0].start()
            assert (node.chain.final.height, node.chain.head.height) == (0, 1)
            waiting = {entry.checked.txid for entry in node.pool.select()}
            assert waiting == {onward.txid, hers.txid}
            assert node.queries.transaction(gift.txid).status == "included"
        [block] = await cluster.mine(at=0)
        assert {one.txid for one in block.transactions} == {onward.txid, hers.txid}
        assert cluster.balances("bob") == [FUNDED + 21]


async def test_what_was_lost_is_pending_after_a_restart_too(tmp_path: Path) -> None:
    async with WorkCluster(tmp_path, nodes=2) as cluster:
        cluster.cut({0}, {1})
        payment = cluster.payment("alice", "bob", 5)
        await cluster[0].intake.submit([payment.raw], local=False)  # in no journal
        await cluster.mine(at=0)
        await cluster.mine(at=1, count=2)
        cluster.cut()
        await cluster.mine(at=1)
        await cluster.heads()
        assert cluster[0].queries.transaction(payment.txid).status == "pending"
        await cluster.stop(0)
        node = await cluster.seats[0].start()
        assert node.chain.head.height == 3
        assert node.queries.transaction(payment.txid).status == "pending"
        await cluster.mine(at=0)
        assert node.queries.transaction(payment.txid).status == "included"


def chain_of_coins(length: int) -> list[Transaction]:
    """Each spends the coin that the one before made."""
    made = [spend("alice", COIN, CoinOutput(address("alice"), 4 * UNIT))]
    while len(made) < length:
        coin = CoinInput(made[-1].txid, 0)
        outputs = (CoinOutput(address("alice"), (4 * UNIT) - len(made)),)
        made.append(spend("alice", coin, *outputs))
    return made


async def lose(node: WorkWorld, maker: WorkWorld, transactions: list[Transaction]) -> None:
    """They stand in blocks of their own, on a branch that is left; the pool knows none of them."""
    for transaction in transactions:
        checked = node.check(transaction)
        [result] = await node.intake.submit([checked.transaction.raw], local=False)
        assert result.error is None
        await node.mine()
        node.pool.remove(transaction.txid)
    await node.give("a", *await maker.mine(len(transactions) + 1, to="bob"))


async def test_a_crowd_is_bounded_and_tried_in_turns(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("chaind.node.returns.WAITING_MAX", 3)
    monkeypatch.setattr("chaind.node.returns.TRIED_MAX", 2)
    async with running(tmp_path / "node", "a") as node, running(tmp_path / "maker") as maker:
        lost = chain_of_coins(5)
        await lose(node, maker, lost)
        assert list(node.returns._waiting) == [one.txid for one in (lost[4], lost[2], lost[3])]
        assert len(node.tracker.open()) == 5, "those that are not tried are still followed"
        await node.mine()
        assert list(node.returns._waiting) == [one.txid for one in (lost[3], lost[4], lost[2])]


async def test_a_disk_that_is_behind_loses_nothing_while_the_node_runs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with running(tmp_path / "node", "a") as node, running(tmp_path / "maker") as maker:
        tried: list[object] = []

        def full(batch: object) -> None:
            tried.append(batch)
            raise LogBacklog(log="intake", bytes=2, bytes_max=1)

        monkeypatch.setattr(node.tracker, "accept", full)
        await lose(node, maker, chain_of_coins(1))
        assert (len(tried), len(node.pool), len(node.tracker.open())) == (1, 1, 0)
        [block] = await node.mine()
        assert len(block.transactions) == 1
