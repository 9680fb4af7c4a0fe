"""Mined blocks travel in short: what waits in the pool is not sent again."""

from collections.abc import AsyncIterator
from pathlib import Path

import msgspec
import pytest
from parts import FakePeer, settled, turns
from work_kit import WorkCluster
from work_world import WorkWorld, answer_of, running

from chaind.network import messages as wire
from chaind.network.peer import Peer
from chaind.node.bodies import WrongTransactions
from chaind.node.compact import in_short
from chaind.primitives.block import Block, MerkleMismatch
from chaind.primitives.errors import PeerFault


@pytest.fixture
async def node(tmp_path: Path) -> AsyncIterator[WorkWorld]:
    async with running(tmp_path / "node", "a", "b") as world:
        yield world


@pytest.fixture
async def maker(tmp_path: Path) -> AsyncIterator[WorkWorld]:
    async with running(tmp_path / "maker") as world:
        yield world


async def announced(node: WorkWorld, maker: WorkWorld, held: int, lacking: int) -> Block:
    """A block of so many payments that the node's pool has, and so many that it lacks."""
    payments = [maker.payment(units=number + 1) for number in range(held + lacking)]
    maker.offer(*payments)
    node.offer(*payments[:held])
    [block] = await maker.mine()
    node.hear("a", wire.Headers(block.header_bytes))
    return block


def take(node: WorkWorld, kind: type[wire.Message]) -> wire.Message:
    """The only message that was sent since, to peer a."""
    [(name, message)] = node.sent(wire.Message)
    assert name == "a"
    assert isinstance(message, kind)
    return message


async def arrived(node: WorkWorld, block: Block) -> None:
    await settled(lambda: node.chain.head.hash == block.hash)
    assert node.talk.punished == []


async def test_a_block_of_what_waits_is_rebuilt(node: WorkWorld, maker: WorkWorld) -> None:
    block = await announced(node, maker, held=3, lacking=0)
    assert take(node, wire.GetCompact) == wire.GetCompact(block.hash)
    node.hear("a", in_short(block))
    await arrived(node, block)
    assert (node.engine.compacts.rebuilt_total, node.engine.compacts.fetched_total) == (1, 0)


async def test_what_the_pool_lacks_is_fetched_and_verified(
    node: WorkWorld, maker: WorkWorld
) -> None:
    block = await announced(node, maker, held=2, lacking=2)
    asked = take(node, wire.GetCompact)
    node.hear("a", answer_of(block, asked))
    asked = take(node, wire.GetBlockTransactions)
    assert isinstance(asked, wire.GetBlockTransactions)
    lacking = {one.wtxid for one in block.transactions if node.pool.get(one.txid) is None}
    assert set(asked.wtxids) == lacking
    assert len(lacking) == 2
    node.hear("b", answer_of(block, asked))
    await turns()
    assert node.chain.head.height == 0, "b was not asked"
    node.hear("a", answer_of(block, asked))
    await arrived(node, block)
    assert node.engine.compacts.fetched_total == 2


async def test_with_an_empty_pool_blocks_come_whole(node: WorkWorld, maker: WorkWorld) -> None:
    block = await announced(node, maker, held=0, lacking=2)
    node.hear("a", answer_of(block, take(node, wire.GetBlock)))
    await arrived(node, block)
    assert node.engine.compacts.rebuilt_total == 0


async def test_old_blocks_come_whole(node: WorkWorld, maker: WorkWorld) -> None:
    node.offer(node.payment())
    blocks = await maker.mine(6)
    node.hear("a", wire.Headers(b"".join(block.header_bytes for block in blocks)))
    kinds = [type(message) for _, message in node.sent(wire.Message)]
    assert kinds == [wire.GetCompact] * 4 + [wire.GetBlock] * 2


async def test_a_peer_that_forgot_some_of_it_is_asked_for_the_whole(
    node: WorkWorld, maker: WorkWorld
) -> None:
    block = await announced(node, maker, held=1, lacking=2)
    node.hear("a", answer_of(block, take(node, wire.GetCompact)))
    asked = take(node, wire.GetBlockTransactions)
    assert isinstance(asked, wire.GetBlockTransactions)
    one = msgspec.structs.replace(asked, wtxids=asked.wtxids[:1])
    node.hear("a", answer_of(block, one))
    node.hear("a", answer_of(block, take(node, wire.GetBlock)))
    await arrived(node, block)


@pytest.mark.parametrize("lie", ["coinbase", "order", "twice", "others"])
async def test_parts_that_make_another_block_are_the_senders_fault(
    node: WorkWorld, maker: WorkWorld, lie: str
) -> None:
    block = await announced(node, maker, held=3, lacking=0)
    take(node, wire.GetCompact)
    true = in_short(block)
    if lie == "coinbase":
        false = msgspec.structs.replace(true, coinbase=true.coinbase[:-1] + b"\1")
    elif lie == "order":
        false = msgspec.structs.replace(true, wtxids=true.wtxids[::-1])
    elif lie == "twice":
        false = msgspec.structs.replace(true, wtxids=(*true.wtxids, true.wtxids[-1]))
    else:
        false = msgspec.structs.replace(true, wtxids=(bytes(32),))
    if lie == "others":
        node.hear("a", false)
        take(node, wire.GetBlockTransactions)
        other = wire.BlockTransactions(block.hash, (block.transactions[0].raw,))
        with pytest.raises(WrongTransactions):
            node.hear("a", other)
    else:
        with pytest.raises(MerkleMismatch) as raised:
            node.hear("a", false)
        assert isinstance(raised.value, PeerFault)
    entry = node.engine.tree.get(block.hash)
    assert entry is not None
    assert not entry.invalid, "it says nothing of the block"
    node.hear("a", answer_of(block, take(node, wire.GetBlock)))
    await arrived(node, block)


async def test_a_peer_that_leaves_half_way_is_replaced(node: WorkWorld, maker: WorkWorld) -> None:
    block = await announced(node, maker, held=1, lacking=1)
    node.hear("a", answer_of(block, take(node, wire.GetCompact)))
    take(node, wire.GetBlockTransactions)
    node.hear("b", wire.Headers(block.header_bytes))
    node.engine.peer_down(node.peer("a"))  # type: ignore[arg-type]
    [(name, asked)] = node.sent(wire.GetBlock)
    assert name == "b"
    node.hear("b", answer_of(block, asked))
    await arrived(node, block)


async def test_short_blocks_that_nobody_asked_for_are_passed_over(
    node: WorkWorld, maker: WorkWorld
) -> None:
    block = await announced(node, maker, held=2, lacking=0)
    node.hear("b", in_short(block))
    node.hear("b", wire.BlockTransactions(block.hash, ()))
    node.talk.connected.append(FakePeer("c"))
    node.hear("c", in_short(block))
    await turns()
    assert node.chain.head.height == 0
    assert node.engine.compacts.rebuilt_total == 0


async def test_a_full_block_costs_a_fraction_of_its_bytes(tmp_path: Path) -> None:
    async with WorkCluster(tmp_path, nodes=2) as cluster:
        payments = [cluster.payment("alice", "bob", number + 1) for number in range(150)]
        await cluster.submit(*payments, at=0)
        await cluster.until(lambda: len(cluster[1].pool) == 150)
        heard: dict[str, int] = {}
        hear = cluster[1].router.message

        def count(peer: Peer, message: wire.Message) -> None:
            name = type(message).__name__
            heard[name] = heard.get(name, 0) + len(wire.encode_message(message))
            hear(peer, message)

        cluster[1].router.message = count  # type: ignore[method-assign]
        [block] = await cluster.mine(at=0)
        await cluster.heads()
        assert len(block.transactions) == 150
        assert "BlockData" not in heard
        whole, short = len(block.encode()), heard["CompactBlock"] + heard["Headers"]
        assert whole > 150 * 150
        assert short < whole / 4, f"{short} bytes instead of {whole}"
