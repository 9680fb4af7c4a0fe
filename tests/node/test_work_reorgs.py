"""Branches of mined chains: the heaviest is followed, what was lost returns, depth makes final."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from harness import UNIT, address, secret
from parts import FakePeer, settled, turns
from work_world import ASKING, WorkWorld, remade, running, work_genesis

from chaind.consensus.pow.entry import Entry
from chaind.ledger.block import GENESIS_COIN_TXID
from chaind.network import messages as wire
from chaind.primitives.block import Block
from chaind.primitives.hashes import sha256d
from chaind.primitives.transaction import VERSION, CoinInput, CoinOutput, Lease, Transaction
from chaind.primitives.transaction import Body as TxBody
from chaind.wallet.builder import sign


@pytest.fixture
async def node(tmp_path: Path) -> AsyncIterator[WorkWorld]:
    async with running(tmp_path / "node", "a", "b") as world:
        yield world


@pytest.fixture
async def maker(tmp_path: Path) -> AsyncIterator[WorkWorld]:
    async with running(tmp_path / "maker") as world:
        yield world


async def test_a_branch_comes_over_and_is_executed(node: WorkWorld, maker: WorkWorld) -> None:
    maker.offer(maker.payment(units=7))
    blocks = await maker.mine(3)
    await node.give("a", *blocks)
    assert node.chain.head == maker.chain.head
    assert node.engine.behind == 0
    assert node.engine.blocks_total == 3


async def test_a_reorganisation_returns_what_was_lost_to_the_pool(
    node: WorkWorld, maker: WorkWorld
) -> None:
    only_here, both = node.payment(units=1), node.payment("bob", "alice", 2)
    node.offer(only_here, both)
    mine = await node.mine(2)
    assert len(mine[0].transactions) == 2
    maker.offer(both)
    theirs = await maker.mine(3)
    node.pool.remove(only_here.txid)
    await node.give("a", *theirs)
    assert node.chain.head.hash == theirs[-1].hash
    assert [entry.checked.txid for entry in node.pool.select()] == [only_here.txid]
    assert node.pool.get(both.txid) is not None
    assert (node.engine.branches.reorgs_total, node.engine.branches.reorg_depth_max) == (1, 2)
    [next_block] = await node.mine()
    assert [one.txid for one in next_block.transactions] == [only_here.txid]


async def test_of_equal_work_the_first_stays(node: WorkWorld, maker: WorkWorld) -> None:
    mine, theirs = await node.mine(2), await maker.mine(2, to="bob")
    await node.give("a", *theirs)
    assert node.chain.head.hash == mine[-1].hash
    assert node.engine.tree.get(theirs[-1].hash) is not None
    more = await maker.mine(1)
    await node.give("a", *more)
    assert node.chain.head.hash == more[-1].hash


async def test_depth_makes_final_and_deeper_branches_are_refused(
    node: WorkWorld, maker: WorkWorld
) -> None:
    mine = await node.mine(7)
    await settled(lambda: node.chain.final.height == 2)
    assert node.store.tip.hash == mine[1].hash
    assert len(node.engine.tree) == 6
    assert len(node.chain.head.times) == 8
    await node.give("a", *await maker.mine(20, to="bob"))
    assert node.chain.head.hash == mine[-1].hash
    assert not node.talk.punished, "it is nobody's fault"
    await node.give("b", remade(mine[-1], time=mine[-1].header.time + 1))
    assert len(node.engine.tree) == 7, "others are heard as before"


async def test_nothing_is_final_while_a_peer_owes_headers(node: WorkWorld) -> None:
    node.talk.connected.append(FakePeer("c"))
    node.engine.peer_up(node.peer("c"))  # type: ignore[arg-type]
    await node.mine(8)
    await turns()
    assert node.chain.final.height == 0
    assert node.engine.syncing
    node.hear("c", wire.Headers(b""))
    await settled(lambda: node.chain.final.height == 3)
    assert not node.engine.syncing


async def test_rivals_of_what_is_final_are_forgotten(node: WorkWorld, maker: WorkWorld) -> None:
    rivals = await maker.mine(2, to="bob")
    await node.mine(2)
    await node.give("a", *rivals)
    assert node.chain.candidate(rivals[1].hash) is not None
    await node.mine(5)
    await settled(lambda: node.chain.final.height == 2)
    assert [node.chain.candidate(rival.hash) for rival in rivals] == [None, None]
    assert node.engine.tree.get(rivals[1].hash) is None
    await node.mine(6)
    assert len(node.chain.head.times) == 11


async def test_what_was_handed_to_finality_is_not_undone(tmp_path: Path, maker: WorkWorld) -> None:
    rivals = await maker.mine(9, to="bob")
    node = WorkWorld(tmp_path / "node")
    mine = await node.mine(6)
    for rival in rivals:  # while the disk has not answered yet
        await node.engine.submit(rival)
    assert node.engine.tree.ready.hash == rivals[-1].hash
    assert node.chain.head.hash == mine[-1].hash
    writer = asyncio.create_task(node.finality.run())
    await settled(lambda: node.chain.final.height == 1)
    writer.cancel()
    assert node.engine.tree.ready.hash == node.chain.head.hash == mine[-1].hash
    node.close()


async def test_a_long_way_is_gone_in_pieces_and_never_to_less_work(
    node: WorkWorld, maker: WorkWorld, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(node.engine, "_depth", 200)
    monkeypatch.setattr(maker.engine, "_depth", 200)
    seen: list[int] = []
    moved = node.engine.branches._moved

    def watch(before: Any, head: Entry) -> None:
        entry = node.engine.tree.get(node.chain.head.hash)
        assert entry is not None
        seen.append(entry.height)
        moved(before, head)

    monkeypatch.setattr(node.engine.branches, "_moved", watch)
    await node.mine(30)
    theirs = await maker.mine(70, to="bob")
    del seen[:]
    node.hear("a", wire.Headers(b"".join(block.header_bytes for block in theirs)))
    for block in theirs[1:]:  # the first one comes last, and sets all of them free at once
        await node.bodies_come(block)
    await node.bodies_come(theirs[0])
    await settled(lambda: node.chain.head.hash == theirs[-1].hash)
    assert seen == [31, 47, 63, 70]


# Reorganisations of any depth.


def contents(world: WorkWorld, number: int, salt: str) -> list[Transaction]:
    """Payments, a lease and a coin that the same block of another branch spends otherwise."""
    target = "carol" if salt == "left" else "bob"
    lease = Lease(address("alice"), sha256d(bytes([number])), sha256d(salt.encode()))
    shared = sha256d(b"both" + bytes([number]))[:8]
    made = [
        world.payment("alice", target, number, lease=lease, salt=sha256d(lease.intent)[:8]),
        world.payment("bob", "carol", 1, salt=shared, valid_ms=600_000),
    ]
    if number == 1:
        outputs = (CoinOutput(address(target), 5 * UNIT),)
        inputs = (CoinInput(GENESIS_COIN_TXID, 0),)
        prefix = world.genesis.chain_prefix
        body = TxBody(
            VERSION, prefix, salt.encode()[:4] * 2, None, None, inputs, outputs, None, b""
        )
        made.append(sign(body, secret("alice")))
    return made


async def branch(world: WorkWorld, length: int, salt: str) -> list[Block]:
    """So many blocks, each with transactions of its own and some that the other branch has too."""
    blocks = []
    for number in range(1, length + 1):
        for transaction in contents(world, number, salt):
            if world.chain.find(transaction.txid) is None:
                world.offer(transaction)
        blocks += await world.mine(to="carol" if salt == "left" else "bob")
    return blocks


@pytest.mark.parametrize("depth", [1, 2, 3, 17, 100])
async def test_a_reorganisation_of_any_depth_leaves_what_a_replay_makes(
    tmp_path: Path, depth: int
) -> None:
    genesis = work_genesis(final_depth=200)
    async with (
        running(tmp_path / "left", genesis=genesis) as left,
        running(tmp_path / "right", genesis=genesis) as right,
        running(tmp_path / "node", "a", "b", genesis=genesis) as node,
    ):
        ours, theirs = (
            await branch(left, depth + 2, "left"),
            await branch(right, depth + 1, "right"),
        )
        await feed(node, "a", ours[:depth])
        assert node.chain.head == left.chain.info(ours[depth - 1].hash)
        await feed(node, "b", theirs)
        assert node.chain.head == right.chain.head
        assert node.engine.branches.reorg_depth_max == depth
        await feed(node, "a", ours[depth:])
        assert node.chain.head == left.chain.head
        included = {one.txid for block in ours for one in block.transactions}
        waiting = {entry.checked.txid for entry in node.pool.select()}
        assert included.isdisjoint(waiting)
        assert node.chain.state.depth == depth + 2


async def feed(node: WorkWorld, name: str, blocks: list[Block]) -> None:
    """A peer announces a branch, and hands over bodies until none is asked for."""
    node.hear(name, wire.Headers(b"".join(block.header_bytes for block in blocks)))
    while any(isinstance(message, ASKING) for _, message in node.talk.sent):
        await node.serve(name, *blocks)
    await settled(lambda: node.chain.head.hash == blocks[-1].hash)
