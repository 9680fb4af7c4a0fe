"""Chains of miners are read and spent at the head: nothing there is final for long."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from harness import FUNDED, UNIT, address, secret
from parts import settled
from work_world import GENESIS, SUBSIDY, WorkWorld, running

from chaind.ledger.block import GENESIS_COIN_TXID
from chaind.ledger.errors import CoinMissing, InsufficientFunds
from chaind.mempool.errors import Overcommitted
from chaind.node.events import HeadEvent, PendingEvent
from chaind.node.holdings import HoldingsReader
from chaind.primitives.errors import ChaindError
from chaind.primitives.hashes import sha256d
from chaind.primitives.transaction import (
    VERSION,
    AccountOutput,
    Body,
    CoinInput,
    CoinOutput,
    Transaction,
)
from chaind.wallet.builder import sign

COIN = CoinInput(GENESIS_COIN_TXID, 0)  # five units of alice's


@pytest.fixture
async def node(tmp_path: Path) -> AsyncIterator[WorkWorld]:
    async with running(tmp_path / "node", "a", "b") as world:
        yield world


@pytest.fixture
async def maker(tmp_path: Path) -> AsyncIterator[WorkWorld]:
    async with running(tmp_path / "maker") as world:
        yield world


async def submit(node: WorkWorld, *transactions: Transaction) -> list[ChaindError | None]:
    """Hand transactions to the door as a peer does; the error of each."""
    raws = [transaction.raw for transaction in transactions]
    return [one.error for one in await node.intake.submit(raws, local=False, source="a")]


def spend(source: str, coin: CoinInput, *outputs: CoinOutput | AccountOutput) -> Transaction:
    """All of a coin of somebody's."""
    salt = sha256d(repr((source, coin, outputs)).encode())[:8]
    prefix = GENESIS.chain_prefix
    body = Body(VERSION, prefix, salt, None, None, (coin,), outputs, None, b"")
    return sign(body, secret(source))


def holdings(node: WorkWorld) -> HoldingsReader:
    return HoldingsReader(node.genesis, node.chain, node.store)


async def test_what_came_in_at_the_head_can_be_spent(node: WorkWorld) -> None:
    made = spend("alice", COIN, CoinOutput(address("bob"), 4 * UNIT))
    onward = spend("bob", CoinInput(made.txid, 0), CoinOutput(address("carol"), 3 * UNIT))
    [error] = await submit(node, onward)
    assert isinstance(error, CoinMissing)
    assert await submit(node, made) == [None]
    await node.mine()
    assert node.chain.final.height == 0
    assert await submit(node, onward) == [None]
    [block] = await node.mine()
    assert [one.txid for one in block.transactions] == [onward.txid]


async def test_pending_debits_are_held_against_the_head(node: WorkWorld) -> None:
    first = node.payment(units=FUNDED - 10)
    assert await submit(node, first) == [None]
    [error] = await submit(node, node.payment(units=11))
    assert isinstance(error, Overcommitted)
    await node.mine()
    rest = node.payment(units=10)
    assert await submit(node, rest) == [None], "what the head has executed is not pending"
    [error] = await submit(node, node.payment(units=1))
    assert isinstance(error, Overcommitted)
    assert error.values["pending"] == "0.0000001"
    [error] = await submit(node, node.payment(units=11))
    assert isinstance(error, InsufficientFunds)
    await node.mine()
    row = node.check(rest).moves[0][0]
    assert node.pool.pending_debit(row) == 0
    await node.mine(6)
    await settled(lambda: node.chain.final.height == 3)
    assert len(node.pool) == 0
    assert node.pool.pending_debit(row) == 0


async def test_what_is_undone_is_pending_again(node: WorkWorld, maker: WorkWorld) -> None:
    payment = node.payment(units=FUNDED)
    await submit(node, payment)
    [mine] = await node.mine()
    row = node.check(payment).moves[0][0]
    assert node.pool.pending_debit(row) == 0
    await node.give("a", *await maker.mine(2, to="bob"))
    assert node.pool.pending_debit(row) == FUNDED
    undone = [event for event in node.heard if isinstance(event, HeadEvent)][-1]
    assert [body.block.hash for body in undone.undone] == [mine.hash]
    assert [body.block.height for body in undone.applied] == [1, 2]


async def test_what_stands_in_a_block_is_known_and_not_refused(
    node: WorkWorld, maker: WorkWorld
) -> None:
    made = spend("alice", COIN, CoinOutput(address("bob"), 4 * UNIT))
    maker.offer(made)
    await node.give("a", *await maker.mine())
    assert node.pool.get(made.txid) is None
    [result] = await node.intake.submit([made.raw], local=False)
    assert (result.error, result.known) == (None, True)
    other = spend("alice", COIN, CoinOutput(address("carol"), 4 * UNIT))
    [error] = await submit(node, other)
    assert isinstance(error, CoinMissing)


async def test_what_failed_on_the_head_is_tried_when_the_next_block_pays_for_it(
    node: WorkWorld, maker: WorkWorld
) -> None:
    """Money that was there when it was accepted is gone at the head, and comes back there."""
    payment = node.payment("bob", "carol", FUNDED)
    await submit(node, payment)
    drain, gift = maker.payment("bob", "alice", FUNDED), maker.payment("alice", "bob", FUNDED)
    maker.offer(drain)
    await node.give("a", *await maker.mine())
    assert node.chain.select(node.chain.head.hash) == []
    assert not node.pool.has_work(), "it is put aside"
    maker.offer(gift)
    await node.give("a", *await maker.mine())
    [block] = await node.mine()
    assert [one.txid for one in block.transactions] == [payment.txid]


async def test_a_child_of_what_was_lost_comes_back_with_it(
    node: WorkWorld, maker: WorkWorld
) -> None:
    made = spend("alice", COIN, CoinOutput(address("bob"), 4 * UNIT))
    onward = spend("bob", CoinInput(made.txid, 0), CoinOutput(address("carol"), 3 * UNIT))
    for transaction in (made, onward):
        await submit(node, transaction)
        await node.mine()
    for transaction in (made, onward):  # as at a node that had them from blocks alone
        node.pool.remove(transaction.txid)
    await node.give("a", *await maker.mine(3, to="bob"))
    assert [entry.checked.txid for entry in node.pool.select()] == [made.txid]
    assert len(node.returns) == 1
    assert {checked.txid for checked in node.tracker.open()} == {made.txid, onward.txid}
    node.heard.clear()
    await node.mine()
    assert [entry.checked.txid for entry in node.pool.select()] == [onward.txid]
    assert len(node.returns) == 0
    entered = [event.entered for event in node.heard if isinstance(event, PendingEvent)]
    assert [[one.txid for one in batch] for batch in entered] == [[onward.txid]]
    [block] = await node.mine()
    assert [one.txid for one in block.transactions] == [onward.txid]
    await node.mine(6)
    await settled(lambda: node.chain.final.height == 6)
    assert not node.tracker.open()


async def test_what_was_lost_and_ended_is_no_longer_tried(
    node: WorkWorld, maker: WorkWorld
) -> None:
    mine = spend("alice", COIN, CoinOutput(address("bob"), 4 * UNIT))
    rival = spend("alice", COIN, CoinOutput(address("carol"), 4 * UNIT))
    node.offer(mine)
    await node.mine()
    node.pool.remove(mine.txid)
    maker.offer(rival)
    await node.give("a", *await maker.mine(2))
    assert len(node.returns) == 1
    await node.mine(6)
    await settled(lambda: node.chain.final.height == 3)
    await node.mine()
    assert len(node.returns) == 0
    outcome = node.store.outcome(mine.txid)
    assert outcome is not None
    assert (outcome.status, outcome.by) == ("rejected", rival.txid)


async def test_what_is_held_is_told_at_the_head_and_as_final(node: WorkWorld) -> None:
    reader, carol, bob = holdings(node), address("carol"), address("bob")
    made = spend("alice", COIN, CoinOutput(bob, 3 * UNIT), AccountOutput(carol, "", UNIT))
    await submit(node, made)
    await node.mine(1)
    await node.mine(2, to="bob")
    final, head = (reader.balance(carol, at_head=at_head) for at_head in (False, True))
    assert (final.native, final.coins, final.utxo_count, final.height) == (FUNDED, 0, 0, 0)
    assert (head.native, head.height) == (FUNDED + UNIT, 3)
    assert (head.coins, head.utxo_count) == (SUBSIDY + UNIT, 1), "subsidy and fee"
    assert head.immature == 0, "three blocks deep"
    assert (head.last_activity_block, head.confirmations) == (1, 3)
    coins = reader.coins(bob, 10, at_head=True)
    assert sorted((one.height, one.coinbase, one.confirmations, one.mature) for one in coins) == [
        (1, False, 3, True),
        (2, True, 2, True),
        (3, True, 1, False),
    ]
    assert reader.balance(bob, at_head=True).immature == SUBSIDY
    assert reader.coins(bob, 2, at_head=True) == coins[:2]
    assert reader.coins(bob, 10, at_head=False) == []
    assert [one.amount for one in reader.coins(address("alice"), 9, at_head=True)] == []
    assert [one.amount for one in reader.coins(address("alice"), 9, at_head=False)] == [5 * UNIT]


async def test_heads_and_finals_of_holdings_meet(node: WorkWorld) -> None:
    reader = holdings(node)
    for number in range(12):
        await submit(node, node.payment("alice", "bob", number + 1))
        await node.mine(to="alice" if number % 2 else "bob")
    await settled(lambda: node.chain.final.height == 7)
    before = [reader.balance(address(who), at_head=True) for who in ("alice", "bob")]
    coins = [reader.coins(address(who), 100, at_head=True) for who in ("alice", "bob")]
    assert [one.native for one in before] == [FUNDED - 78, FUNDED + 78]
    await node.mine(5)
    await settled(lambda: node.chain.final.height == 12)
    for who, told, held in zip(("alice", "bob"), before, coins, strict=True):
        final = reader.balance(address(who), at_head=False)
        assert final._replace(at_head=True, confirmations=told.confirmations) == told
        assert reader.coins(address(who), 100, at_head=False) == held


async def test_what_is_too_early_on_one_branch_is_not_put_aside_on_another(
    node: WorkWorld,
) -> None:
    first, second = await node.mine(2)
    coin = CoinInput(sha256d(first.coinbase_bytes), 0)
    early = spend("carol", coin, CoinOutput(address("bob"), SUBSIDY))
    assert await submit(node, early) == [None]
    assert node.chain.select(first.hash) == [], "immature there"
    [receipt] = node.chain.select(second.hash) or ()
    assert receipt.checked.txid == early.txid
