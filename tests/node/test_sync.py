"""Ranges of final blocks: what is served, and that no lie about them is believed."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from pathlib import Path

import msgspec
import pytest
from parts import START_MS, Talk, World, bodies_of, turns

from chaind.consensus.quorums import QuorumMissing
from chaind.ledger.errors import BadSignature
from chaind.network.messages import BLOCKS_MAX, Blocks, GetBlocks, encode_message
from chaind.node import sync as sync_module
from chaind.node.sync import BEHIND_MS, DISTRUST_MS, STALL_MS, BrokenRange, Sync, serve_range
from chaind.primitives.block import Block
from chaind.primitives.errors import PeerFault
from chaind.primitives.votes import Certificate, CertificateKind

# What is served.


async def chain_of(
    maker: World, count: int, *, certified: Sequence[int] | None = None
) -> list[Block]:
    """Final blocks 1…count at the maker, certificates at these heights (default: all)."""
    blocks = [maker.block(view, maker.payment()).body.block for view in range(1, count + 1)]
    proofs = range(1, count + 1) if certified is None else certified
    runner = asyncio.create_task(maker.finality.run())
    for height in proofs:
        await maker.deliver(blocks[height - 1])
    runner.cancel()
    return blocks


async def test_a_range_ends_at_a_certificate(maker: World) -> None:
    blocks = await chain_of(maker, 6, certified=[2, 5, 6])
    served = serve_range(maker.store, 1, BLOCKS_MAX)
    assert served.raws == tuple(block.encode() for block in blocks)
    assert served.certificate == maker.certificate(blocks[5])
    middle = serve_range(maker.store, 3, 3)
    assert middle.raws == tuple(block.encode() for block in blocks[2:5])
    assert middle.certificate == maker.certificate(blocks[4])
    assert serve_range(maker.store, 3, 2) == Blocks(3, (), None), "a proof for less is not held"
    assert serve_range(maker.store, 1, 4).raws == tuple(block.encode() for block in blocks[:2])


@pytest.mark.parametrize("start", [0, 7, 10**9])
async def test_what_is_not_held_is_an_empty_range(maker: World, start: int) -> None:
    await chain_of(maker, 3)
    served = serve_range(maker.store, start, BLOCKS_MAX)
    assert len(served.raws) == 0 or start == 0
    encode_message(served)


async def test_ranges_end_before_the_bytes_of_a_frame(
    maker: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    blocks = await chain_of(maker, 4, certified=[1, 2, 4])
    size = len(blocks[0].encode())
    monkeypatch.setattr(sync_module, "RANGE_BYTES_MAX", 2 * size + size // 2)
    assert len(serve_range(maker.store, 1, BLOCKS_MAX).raws) == 2
    monkeypatch.setattr(sync_module, "RANGE_BYTES_MAX", 1)
    assert len(serve_range(maker.store, 1, BLOCKS_MAX).raws) == 1, "one proof's worth at least"
    assert len(serve_range(maker.store, 3, BLOCKS_MAX).raws) == 2
    # More than a frame under one certificate cannot be sent: the node must not fall over it.
    monkeypatch.setattr(sync_module, "PIECE_BYTES_MAX", size)
    assert serve_range(maker.store, 3, BLOCKS_MAX) == Blocks(3, (), None)


# What is asked for and believed.


class Desk:
    """The sync of `world` with peers a and b at height 6."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.talk = Talk("a", "b")
        self.a, self.b = self.talk.connected
        self.a.final_height = self.b.final_height = 6
        self.a.latency_ms = 1.0
        self.b.latency_ms = 2.0
        self.bodies, self.verdicts = bodies_of(world, self.talk)
        self.proofs: list[Certificate] = []
        self.sync = Sync(
            chain=world.chain,
            store=world.store,
            bodies=self.bodies,
            transport=self.talk,
            clock=world.clock,
            check_certificate=world.checker.check_certificate,
            on_range=self.proven,
        )

    def proven(self, _peer: object, certificate: Certificate) -> None:
        assert certificate.block is not None
        self.proofs.append(certificate)
        self.world.finality.deliver(certificate.block, certificate)

    def later(self, ms: int) -> None:
        self.world.clock.ms += ms
        self.sync.tick()

    def begin(self) -> object:
        """Whom it asks, having been behind long enough."""
        self.sync.tick()
        self.later(BEHIND_MS)
        [(peer, request)] = self.talk.take()
        assert request == GetBlocks(self.world.chain.final.height + 1, BLOCKS_MAX)
        return peer

    async def answer(self, peer: object, message: Blocks) -> None:
        self.sync.received(peer, message)  # type: ignore[arg-type]
        await turns()

    @property
    def height(self) -> int:
        return self.world.chain.final.height


@pytest.fixture
async def desk(world: World) -> AsyncIterator[Desk]:
    desk = Desk(world)
    world._on_final = desk.sync.advanced  # type: ignore[method-assign]
    world.finality._on_final = desk.sync.advanced
    tasks = [asyncio.create_task(desk.sync.run()), asyncio.create_task(world.finality.run())]
    yield desk
    assert not any(task.done() for task in tasks), "the task must not die of what a peer sends"
    for task in tasks:
        task.cancel()


async def test_a_gap_that_votes_do_not_close_is_fetched(desk: Desk, maker: World) -> None:
    await chain_of(maker, 6)
    desk.sync.tick()
    desk.later(BEHIND_MS - 1)
    assert desk.talk.take() == []
    assert desk.sync.behind == 6
    desk.later(1)
    [(peer, _)] = desk.talk.take()
    assert peer is desk.a, "the nearer one"
    assert desk.sync.syncing
    await desk.answer(peer, serve_range(maker.store, 1, BLOCKS_MAX))
    assert desk.height == 6
    assert desk.world.chain.final.root == maker.chain.final.root
    assert not desk.sync.syncing
    assert desk.talk.take() == []
    assert desk.sync.blocks_total == 6


async def test_range_after_range_from_one_peer(desk: Desk, maker: World) -> None:
    await chain_of(maker, 6)
    peer = desk.begin()
    await desk.answer(peer, serve_range(maker.store, 1, 2))
    assert desk.height == 2
    assert desk.talk.take() == [(peer, GetBlocks(3, BLOCKS_MAX))]
    await desk.answer(peer, serve_range(maker.store, 3, 4))
    assert desk.height == 6
    assert desk.talk.take() == []


async def test_progress_by_votes_puts_a_request_off(desk: Desk, maker: World) -> None:
    blocks = await chain_of(maker, 3)
    desk.sync.tick()
    for block in blocks:
        desk.later(BEHIND_MS - 1)
        desk.world.give(block)
        desk.proven(None, maker.certificate(block))
        await turns()
        assert desk.world.chain.final.hash == block.hash
        desk.sync.tick()
    assert desk.talk.take() == []


async def test_one_request_is_under_way_however_the_tip_moves(desk: Desk, maker: World) -> None:
    blocks = await chain_of(maker, 3)
    desk.begin()
    desk.world.give(blocks[0])
    desk.proven(None, maker.certificate(blocks[0]))
    await turns()
    assert desk.height == 1
    assert desk.talk.take() == []


def lies(maker: World, served: Blocks, other: Blocks) -> dict[str, tuple[Blocks, type[PeerFault]]]:
    """Every way of lying about a range, and what it is called."""
    tip = Block.decode(served.raws[-1])
    good = served.certificate
    assert good is not None

    def proven_by(certificate: Certificate) -> Blocks:
        return msgspec.structs.replace(served, certificate=certificate)

    forged = msgspec.structs.replace(good, signatures=(*good.signatures[:2], bytes(64)))
    notar = maker.certificate(tip, CertificateKind.NOTAR, voters=(0, 1, 2, 3))
    without = (*served.raws[:2], *served.raws[3:])
    return {
        "a link is missing": (msgspec.structs.replace(served, raws=without), BrokenRange),
        "another chain": (other, BadSignature),
        "no quorum": (proven_by(maker.certificate(tip, voters=(0, 1))), QuorumMissing),
        "not all that fast needs": (
            proven_by(maker.certificate(tip, CertificateKind.FAST, voters=(0, 1, 2))),
            QuorumMissing,
        ),
        "a signature": (proven_by(forged), BadSignature),
        "a voter of nowhere": (
            proven_by(msgspec.structs.replace(good, primary=b"\x83")),
            QuorumMissing,
        ),
        "certified, not final": (proven_by(notar), BrokenRange),
        "another block's proof": (
            proven_by(maker.certificate(Block.decode(served.raws[0]))),
            BrokenRange,
        ),
        "garbage": (msgspec.structs.replace(served, raws=(b"\x90",)), PeerFault),
        "starts too high": (msgspec.structs.replace(served, raws=served.raws[1:]), BrokenRange),
    }


KINDS = (
    "a link is missing",
    "another chain",
    "no quorum",
    "not all that fast needs",
    "a signature",
    "a voter of nowhere",
    "certified, not final",
    "another block's proof",
    "garbage",
    "starts too high",
)


@pytest.mark.parametrize("kind", KINDS)
async def test_no_lie_is_believed(desk: Desk, maker: World, tmp_path: Path, kind: str) -> None:
    await chain_of(maker, 6)
    elsewhere = World(
        tmp_path / "elsewhere", msgspec.structs.replace(maker.genesis, time_ms=START_MS + 1)
    )
    await chain_of(elsewhere, 3)
    served = serve_range(maker.store, 1, BLOCKS_MAX)
    told = lies(maker, served, serve_range(elsewhere.store, 1, BLOCKS_MAX))
    assert set(told) == set(KINDS)
    lie, error = told[kind]
    liar = desk.begin()
    await desk.answer(liar, lie)
    assert desk.height == 0
    assert desk.proofs == []
    [(punished, fault)] = desk.talk.punished
    assert punished is liar
    assert isinstance(fault, error)
    # The other one is asked instead.
    desk.later(100)
    [(other, _)] = desk.talk.take()
    assert other is not liar
    await desk.answer(other, served)
    assert desk.height == 6
    elsewhere.close()


async def test_a_peer_that_stalls_is_left_for_another(desk: Desk, maker: World) -> None:
    await chain_of(maker, 6)
    first = desk.begin()
    desk.later(STALL_MS)
    assert desk.talk.take() == []
    desk.later(1)
    desk.later(100)
    [(second, _)] = desk.talk.take()
    assert second is not first
    await desk.answer(first, serve_range(maker.store, 1, BLOCKS_MAX))
    assert desk.height == 0, "it is late: the other one was asked"
    await desk.answer(second, serve_range(maker.store, 1, BLOCKS_MAX))
    assert desk.height == 6


async def test_a_peer_that_boasts_neither_blocks_sync_nor_counts(desk: Desk, maker: World) -> None:
    """One that claims a great height and shows nothing would else be asked for ever, and call
    this node far behind."""
    await chain_of(maker, 6)
    desk.a.final_height = 10**12
    boaster = desk.begin()
    assert boaster is desk.a
    await desk.answer(boaster, Blocks(1, (), None))
    assert desk.sync.behind == 6
    desk.later(100)
    [(other, _)] = desk.talk.take()
    assert other is desk.b
    await desk.answer(other, serve_range(maker.store, 1, BLOCKS_MAX))
    assert desk.height == 6
    assert desk.sync.behind == 0
    assert not desk.sync.syncing
    desk.later(DISTRUST_MS + 1)
    desk.later(BEHIND_MS)
    assert [peer for peer, _ in desk.talk.take()] == [desk.a], "it gets another chance"


async def test_a_peer_that_goes_is_not_waited_for(desk: Desk, maker: World) -> None:
    await chain_of(maker, 6)
    first = desk.begin()
    desk.talk.connected = [desk.b]
    desk.sync.peer_down(first)  # type: ignore[arg-type]
    desk.later(100)
    assert [peer for peer, _ in desk.talk.take()] == [desk.b]


async def test_ranges_that_nobody_asked_for_are_dropped(desk: Desk, maker: World) -> None:
    await chain_of(maker, 6)
    await desk.answer(desk.a, serve_range(maker.store, 1, BLOCKS_MAX))
    assert desk.height == 0
    assert desk.talk.punished == []


async def test_a_range_that_votes_overtook_is_no_fault(desk: Desk, maker: World) -> None:
    blocks = await chain_of(maker, 6)
    peer = desk.begin()
    served = serve_range(maker.store, 1, 3)
    for block in blocks[:4]:
        desk.world.give(block)
        desk.proven(None, maker.certificate(block))
    await turns()
    assert desk.height == 4
    await desk.answer(peer, served)
    assert desk.talk.punished == []
    assert desk.talk.take() == [(peer, GetBlocks(5, BLOCKS_MAX))]
