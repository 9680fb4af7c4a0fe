"""After a reorganisation of any depth everything is what the new branch alone would have made.

Two worlds make a branch each, with leases and coins that both spend, and payments that both hold; a
third one follows the lighter branch and then the heavier.
"""

from pathlib import Path
from typing import Any, cast

import pytest
from harness import address
from parts import settled
from test_work_reorgs import branch, feed
from work_world import ASKING, WorkWorld, remade, running, work_genesis

from chaind.ledger.errors import CoinMissing, LeaseTaken
from chaind.ledger.keys import lease_key
from chaind.network import messages as wire
from chaind.node.audit_home import audit_disk
from chaind.node.events import DroppedEvent, HeadEvent, PendingEvent
from chaind.node.holdings import HoldingsReader
from chaind.node.queries import Queries
from chaind.node.replay import Replay, begin_store
from chaind.primitives.block import Block
from chaind.storage.kv import MemoryStore
from chaind.storage.schema import STATE

WHO = ("alice", "bob", "carol")


def queries(world: WorkWorld) -> Queries:
    return Queries(
        genesis=world.genesis,
        chain=world.chain,
        store=world.store,
        pool=world.pool,
        tracker=world.tracker,
        network=cast(Any, world.talk),
    )


def replayed(world: WorkWorld, blocks: list[Block]) -> MemoryStore:
    """The database that these blocks alone make."""
    rows = MemoryStore()
    replay = Replay(world.genesis, begin_store(rows, world.store.bodies, world.genesis))
    for block in blocks:
        replay.apply(block, replay.check(block), world.finality.positions[block.hash], None)
    return rows


def state_at_head(world: WorkWorld) -> dict[bytes, bytes]:
    """Every row of the state, as the head has it."""
    state = world.chain.state
    keys = {key for key, _ in world.store.state_rows(b"")} | set(state.changed_since_final())
    return {key: value for key in keys if (value := state.get(key)) is not None}


def told(world: WorkWorld) -> list[bytes]:
    """The chain as a subscriber has it, who was told of every head."""
    chain: list[bytes] = []
    for event in world.heard:
        if isinstance(event, HeadEvent):
            for body in event.undone:
                assert chain.pop() == body.block.hash
            for body in event.applied:
                assert body.block.parent == (chain[-1] if chain else world.genesis.hash)
                chain.append(body.block.hash)
    return chain


@pytest.mark.parametrize("depth", [1, 2, 9, 31, 100])
async def test_right_afterwards_all_is_as_a_replay_makes_it(tmp_path: Path, depth: int) -> None:
    genesis = work_genesis(final_depth=depth + 3)
    async with (
        running(tmp_path / "left", genesis=genesis) as left,
        running(tmp_path / "right", genesis=genesis) as right,
        running(tmp_path / "node", "a", "b", genesis=genesis) as node,
    ):
        lost, won = await branch(left, depth, "left"), await branch(right, depth + 1, "right")
        await feed(node, "a", lost)
        await feed(node, "b", won)
        assert node.engine.branches.reorg_depth_max == depth
        assert node.chain.final.height == 0

        rows = replayed(node, won)
        assert state_at_head(node) == {
            key[1:]: value for key, value in rows.scan(STATE, bytes([STATE[0] + 1]))
        }
        check_holdings(node, right)
        assert told(node) == [block.hash for block in won]
        check_lost(node, lost, won)

        finals = await node.mine(depth + 4)
        await settled(lambda: node.chain.final.height == depth + 2)
        database = node.store._database
        report = audit_disk(genesis, node.disk, database, MemoryStore())
        assert (report.violations, report.height) == ([], depth + 2)
        assert told(node)[: depth + 2] == [one.hash for one in (*won, finals[0])]


def check_holdings(node: WorkWorld, right: WorkWorld) -> None:
    """What addresses hold at the head, beside a node that never knew another branch."""
    ours = HoldingsReader(node.genesis, node.chain, node.store)
    theirs = HoldingsReader(right.genesis, right.chain, right.store)
    for who in WHO:
        mine = ours.balance(address(who), at_head=True)
        assert mine == theirs.balance(address(who), at_head=True)
        coins = ours.coins(address(who), 1_000, at_head=True)
        assert coins == theirs.coins(address(who), 1_000, at_head=True)


def check_lost(node: WorkWorld, lost: list[Block], won: list[Block]) -> None:
    """Each transaction of the lost branch: in a block of the other, or pending; told so."""
    asked = queries(node)
    included = {one.txid for block in won for one in block.transactions}
    entered = {
        one.txid for event in node.heard if isinstance(event, PendingEvent) for one in event.entered
    }
    assert not [event for event in node.heard if isinstance(event, DroppedEvent)]
    for block in lost:
        for one in block.transactions:
            info = asked.transaction(one.txid)
            if one.txid in included:
                assert info.status == "included"
                assert node.tracker.get(one.txid) is None
                continue
            assert info.status == "pending"
            checked = node.tracker.get(one.txid)
            assert checked is not None, "followed over a restart"
            if one.txid in entered:
                assert node.pool.get(one.txid) is not None
                continue
            error = node.intake.restore(checked)
            assert isinstance(error, LeaseTaken | CoinMissing), "its rival stands in a block"
            lease = one.body.lease
            if lease is not None:
                held = asked.lease(lease.owner, lease.id)
                assert held is not None
                assert held.txid in included
                assert not held.final
                assert node.chain.state.get(lease_key(lease.owner, lease.id)) is not None


async def test_rivals_that_became_final_end_what_was_lost(tmp_path: Path) -> None:
    genesis = work_genesis(final_depth=12)
    async with (
        running(tmp_path / "left", genesis=genesis) as left,
        running(tmp_path / "right", genesis=genesis) as right,
        running(tmp_path / "node", "a", "b", genesis=genesis) as node,
    ):
        lost, won = await branch(left, 8, "left"), await branch(right, 9, "right")
        await feed(node, "a", lost)
        await feed(node, "b", won)
        await node.mine(12)
        await settled(lambda: node.chain.final.height == 9)
        asked = queries(node)
        included = {one.txid for block in won for one in block.transactions}
        rivals = [one for block in lost for one in block.transactions if one.txid not in included]
        assert len(rivals) == 9, "eight leases and the coin"
        for one in rivals:
            info = asked.transaction(one.txid)
            assert (info.status, info.by in included) == ("rejected", True)
        told_so = {event.txid: event for event in node.heard if isinstance(event, DroppedEvent)}
        assert {txid for txid, event in told_so.items() if event.ended} == {
            one.txid for one in rivals
        }
        assert not node.tracker.open()
        assert len(node.pool) == 0


async def test_there_and_back_again_is_as_if_nothing_had_been(tmp_path: Path) -> None:
    genesis = work_genesis(final_depth=100)
    async with (
        running(tmp_path / "left", genesis=genesis) as left,
        running(tmp_path / "right", genesis=genesis) as right,
        running(tmp_path / "node", "a", "b", genesis=genesis) as node,
    ):
        ours = await branch(left, 7, "left")
        theirs = await branch(right, 6, "right")
        await feed(node, "a", ours[:5])
        await feed(node, "b", theirs)
        await feed(node, "a", ours)
        assert (node.engine.branches.reorgs_total, node.chain.head) == (2, left.chain.head)
        check_holdings(node, left)
        assert told(node) == [block.hash for block in ours]
        check_lost(node, theirs, ours)
        assert state_at_head(node) == state_at_head(left)


async def test_a_branch_whose_last_block_breaks_a_rule_moves_nothing(tmp_path: Path) -> None:
    genesis = work_genesis(final_depth=100)
    async with (
        running(tmp_path / "left", genesis=genesis) as left,
        running(tmp_path / "right", genesis=genesis) as right,
        running(tmp_path / "node", "a", "b", genesis=genesis) as node,
    ):
        ours, theirs = await branch(left, 4, "left"), await branch(right, 4, "right")
        bad = remade((await right.mine())[0], said={"parent_root": bytes(32)})
        await feed(node, "a", ours)
        before, waiting = state_at_head(node), pending(node)
        node.heard.clear()
        node.hear("b", wire.Headers(b"".join(block.header_bytes for block in (*theirs, bad))))
        while any(isinstance(message, ASKING) for _, message in node.talk.sent):
            await node.serve("b", *theirs, bad)
        entry = node.engine.tree.get(bad.hash)
        assert entry is not None
        assert entry.invalid
        assert node.chain.head == left.chain.head
        assert (state_at_head(node), pending(node)) == (before, waiting)
        assert node.heard == [], "nobody is told of a way that led nowhere"
        assert node.engine.branches.reorgs_total == 0


def pending(node: WorkWorld) -> list[bytes]:
    """What the next block would take."""
    return [entry.checked.txid for entry in node.pool.select()]
