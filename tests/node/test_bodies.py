"""From a hash to an executed block, whoever answers and whatever they answer."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import msgspec
import pytest
from harness import FUNDED
from parts import Talk, World, bodies_of, forged, proposal_of, settled, turns

from chaind.consensus.core import Verdict
from chaind.ledger.execute import Receipt
from chaind.network.messages import (
    BlockData,
    BlockTransactions,
    GetBlock,
    GetBlockTransactions,
    Proposal,
)
from chaind.node import bodies as bodies_module
from chaind.node.bodies import Bodies, WrongBlock, WrongTransactions
from chaind.primitives.block import MerkleMismatch
from chaind.primitives.errors import PeerFault
from chaind.primitives.hashes import sha256d
from chaind.primitives.transaction import Transaction


class Desk:
    """The bodies of `world`, the peers a, b and c, and what the core hears."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.talk = Talk("a", "b", "c")
        self.a, self.b, self.c = self.talk.connected
        self.bodies, self.verdicts = bodies_of(world, self.talk)

    def holds(self, *transactions: Transaction) -> None:
        for transaction in transactions:
            checked = self.world.check(transaction)
            self.world.pool.add(Receipt(checked, checked.fee or 0, ()), 0, lambda _row: 1 << 62)

    def later(self, ms: int) -> None:
        self.world.clock.ms += ms
        self.bodies.tick()

    async def answer(self, peer: object, message: BlockData | BlockTransactions) -> None:
        self.bodies.received(peer, message)  # type: ignore[arg-type]
        await settled(lambda: not self.bodies._arrivals)
        await turns()

    @property
    def faults(self) -> list[tuple[object, type[PeerFault]]]:
        return [(peer, type(fault)) for peer, fault in self.talk.punished]


@pytest.fixture
async def desk(world: World) -> AsyncIterator[Desk]:
    desk = Desk(world)
    runner = asyncio.create_task(desk.bodies.run())
    yield desk
    assert not runner.done(), "the task must not die of what a peer sends"
    runner.cancel()


async def test_rebuilt_from_the_pool_without_asking_anybody(desk: Desk, maker: World) -> None:
    payments = [maker.payment(), maker.payment()]
    block = maker.block(1, *payments).body.block
    desk.holds(*payments)
    desk.bodies.offer(proposal_of(block), desk.a)  # type: ignore[arg-type]
    desk.bodies.resolve(block.hash, None, vouched=True)
    assert desk.verdicts == [(block.hash, Verdict.OK)]
    assert desk.talk.sent == []


async def test_what_the_pool_lacks_is_asked_of_the_proposer(desk: Desk, maker: World) -> None:
    payments = [maker.payment(), maker.payment(), maker.payment()]
    block = maker.block(1, *payments).body.block
    desk.holds(payments[1])
    desk.bodies.offer(proposal_of(block), desk.b)  # type: ignore[arg-type]
    desk.bodies.resolve(block.hash, None, vouched=True)
    wanted = (payments[0].wtxid, payments[2].wtxid)
    assert desk.talk.take() == [(desk.b, GetBlockTransactions(block.hash, wanted))]
    raws = (payments[0].raw, payments[2].raw)
    await desk.answer(desk.b, BlockTransactions(block.hash, raws))
    assert desk.verdicts == [(block.hash, Verdict.OK)]
    assert desk.talk.sent == []
    assert desk.faults == []


async def test_an_incomplete_answer_leads_to_the_whole_block_elsewhere(
    desk: Desk, maker: World
) -> None:
    """An honest peer that no longer holds the block answers with nothing: it is not asked again
    and again."""
    block = maker.block(1, maker.payment(), maker.payment()).body.block
    desk.bodies.offer(proposal_of(block), desk.a)  # type: ignore[arg-type]
    desk.bodies.resolve(block.hash, None, vouched=True)
    desk.talk.take()
    await desk.answer(desk.a, BlockTransactions(block.hash, ()))
    [(peer, request)] = desk.talk.take()
    assert request == GetBlock(block.hash)
    assert peer is not desk.a
    await desk.answer(peer, BlockData(block.hash, block.encode()))
    assert desk.verdicts == [(block.hash, Verdict.OK)]
    assert desk.faults == []


async def test_unanswered_requests_go_to_everybody_in_turn(desk: Desk, maker: World) -> None:
    block = maker.block(1, maker.payment()).body.block
    desk.bodies.resolve(block.hash, desk.b, vouched=True)  # type: ignore[arg-type]
    desk.later(100)
    asked = [peer for peer, _ in desk.talk.take()]
    assert asked == [desk.b], "the one that should have it, and no second request while fresh"
    for _ in range(2):
        desk.later(400)
        asked += [peer for peer, _ in desk.talk.take()]
    assert {peer.node_id for peer in asked} == {"a", "b", "c"}
    desk.later(400)
    assert len(desk.talk.take()) == 1, "and again from the beginning"


async def test_whoever_does_not_hold_it_is_passed_over_at_once(desk: Desk, maker: World) -> None:
    block = maker.block(1, maker.payment()).body.block
    desk.bodies.resolve(block.hash, None, vouched=True)
    for name in ("a", "b", "c"):
        [(peer, _)] = desk.talk.take()
        assert peer.node_id == name
        await desk.answer(peer, BlockData(block.hash, None))
    assert desk.talk.take() == [], "nobody has it now: not before the next try"


async def test_what_nobody_vouches_for_is_asked_of_one_peer_at_a_time(desk: Desk) -> None:
    """Or what a lying leader made up is asked for all around, again and again."""
    asked_at: list[int] = []

    async def ask(pauses: int) -> None:
        for time in range(pauses):
            while questions := desk.talk.take():
                for peer, _ in questions:
                    asked_at.append(time)
                    await desk.answer(peer, BlockData(bytes(32), None))
            desk.later(desk.bodies._retry_ms)

    desk.bodies.resolve(bytes(32), None, vouched=False)
    await ask(4)
    assert asked_at == [0, 1, 2, 3]
    asked_at.clear()
    desk.bodies.resolve(bytes(32), desk.c, vouched=True)  # type: ignore[arg-type]
    await ask(2)
    assert asked_at.count(1) == len(desk.talk.connected), "a certificate came"


async def test_missing_ancestors_are_fetched_from_the_top_down(desk: Desk, maker: World) -> None:
    blocks = [maker.block(view, maker.payment()).body.block for view in range(1, 6)]
    desk.bodies.resolve(blocks[-1].hash, None, vouched=True)
    for block in reversed(blocks):
        [(peer, request)] = desk.talk.take()
        assert request == GetBlock(block.hash)
        assert desk.verdicts == []
        await desk.answer(peer, BlockData(block.hash, block.encode()))
    assert desk.verdicts == [(blocks[-1].hash, Verdict.OK)]
    assert desk.world.chain.head.hash == blocks[-1].hash


async def test_a_block_of_a_branch_that_ended_asks_for_nothing_below(
    desk: Desk, maker: World, tmp_path: Path
) -> None:
    """Its parent is final but no longer the tip: fetching on would walk back to the genesis."""
    other = World(tmp_path / "other")
    common = maker.block(1, maker.payment()).body.block
    other.give(common)
    other.chain.execute(common.hash)
    stale = other.block(2, other.payment()).body.block
    final = maker.block(3, maker.payment()).body.block
    await desk.world.make_final(common, final)
    desk.bodies.forget_final()
    desk.bodies.resolve(stale.hash, None, vouched=True)
    [(peer, request)] = desk.talk.take()
    assert request == GetBlock(stale.hash)
    await desk.answer(peer, BlockData(stale.hash, stale.encode()))
    desk.later(1_000)
    assert desk.talk.take() == []
    assert desk.verdicts == []
    other.close()


async def test_what_is_final_meanwhile_is_answered(desk: Desk, maker: World) -> None:
    block = maker.block(1, maker.payment()).body.block
    desk.bodies.resolve(block.hash, None, vouched=True)
    await desk.world.make_final(block)
    desk.bodies.forget_final()
    assert desk.verdicts == [(block.hash, Verdict.OK)]
    desk.talk.take()
    desk.later(1_000)
    assert desk.talk.take() == []


# Verdicts that condemn: only what the header's hash commits to.


async def test_an_invalid_transaction_in_a_signed_proposal_is_never_valid(
    desk: Desk, maker: World
) -> None:
    good = maker.block(1, maker.payment()).body.block
    poor = maker.payment(source="carol", units=FUNDED + 1)
    block = forged(good, [*good.transactions, poor])
    desk.bodies.offer(proposal_of(block), desk.a)  # type: ignore[arg-type]
    desk.bodies.resolve(block.hash, None, vouched=True)
    raws = tuple(transaction.raw for transaction in block.transactions)
    await desk.answer(desk.a, BlockTransactions(block.hash, raws))
    assert desk.verdicts == [(block.hash, Verdict.NEVER)]


async def test_a_bad_signature_in_a_block_is_never_valid(desk: Desk, maker: World) -> None:
    good = maker.block(1, maker.payment()).body.block
    stolen = Transaction(maker.payment(source="carol").body, good.transactions[0].witnesses)
    block = forged(good, [stolen])
    desk.bodies.resolve(block.hash, None, vouched=True)
    [(peer, _)] = desk.talk.take()
    await desk.answer(peer, BlockData(block.hash, block.encode()))
    assert desk.verdicts == [(block.hash, Verdict.NEVER)]
    assert desk.faults == [], "whoever passes on what a leader signed is not at fault"


def replaced(proposal: Proposal, **parts: object) -> Proposal:
    return msgspec.structs.replace(proposal, **parts)


@pytest.mark.parametrize("part", ["coinbase", "commitment", "wtxids", "inner nodes"])
async def test_parts_that_are_not_the_header_s_condemn_the_sender_alone(
    desk: Desk, maker: World, part: str
) -> None:
    """The leader's signature covers the header. A relayer, or the leader towards one victim, could
    otherwise have a good block called invalid for ever, and halt its victim once it is certified.
    """
    payments = [maker.payment(), maker.payment()]
    block = maker.block(1, *payments).body.block
    desk.holds(*payments)
    honest = proposal_of(block)
    first, second = honest.wtxids
    lie = {
        "coinbase": replaced(honest, coinbase=honest.coinbase + b"\0"),
        "commitment": replaced(honest, commitment=forged(block, height=9).commitment_bytes),
        "wtxids": replaced(honest, wtxids=(second, first)),
        # Two leaves that hash to the same Merkle root: the bytes of its inner nodes.
        "inner nodes": replaced(
            honest,
            coinbase=sha256d(honest.coinbase) + sha256d(honest.commitment),
            commitment=first + second,
            wtxids=(),
        ),
    }[part]
    with pytest.raises(PeerFault):
        desk.bodies.offer(lie, desk.b)  # type: ignore[arg-type]
    desk.bodies.resolve(block.hash, None, vouched=True)
    assert desk.verdicts == []
    desk.bodies.offer(honest, desk.a)  # type: ignore[arg-type]
    assert desk.verdicts == [(block.hash, Verdict.OK)]


async def test_false_wtxids_served_by_their_maker_condemn_the_sender_alone(
    desk: Desk, maker: World
) -> None:
    block = maker.block(1, maker.payment()).body.block
    poor = Transaction(maker.payment(source="carol").body, block.transactions[0].witnesses)
    lie = replaced(proposal_of(block), wtxids=(poor.wtxid,))
    desk.bodies.offer(lie, desk.b)  # type: ignore[arg-type]
    desk.bodies.resolve(block.hash, None, vouched=True)
    desk.talk.take()
    await desk.answer(desk.b, BlockTransactions(block.hash, (poor.raw,)))
    assert desk.verdicts == []
    assert desk.faults == [(desk.b, MerkleMismatch)]
    desk.later(0)
    [(peer, request)] = desk.talk.take()
    assert request == GetBlock(block.hash)
    await desk.answer(peer, BlockData(block.hash, block.encode()))
    assert desk.verdicts == [(block.hash, Verdict.OK)]


# Wrong answers.


async def test_transactions_nobody_asked_for_are_punished(desk: Desk, maker: World) -> None:
    block = maker.block(1, maker.payment()).body.block
    desk.bodies.offer(proposal_of(block), desk.a)  # type: ignore[arg-type]
    await desk.answer(desk.a, BlockTransactions(block.hash, (maker.payment().raw,)))
    assert desk.faults == [(desk.a, WrongTransactions)]


async def test_another_block_than_asked_is_punished_and_not_kept(desk: Desk, maker: World) -> None:
    block, other = maker.block(1).body.block, maker.block(2).body.block
    desk.bodies.resolve(block.hash, None, vouched=True)
    [(peer, _)] = desk.talk.take()
    await desk.answer(peer, BlockData(block.hash, other.encode()))
    assert desk.faults == [(peer, WrongBlock)]
    assert desk.world.chain.candidate(other.hash) is None


@pytest.mark.parametrize("raw", [b"", b"\xc1", b"\x94\xc4\x00\xc4\x00\xc4\x00\x90"])
async def test_garbage_is_punished(desk: Desk, maker: World, raw: bytes) -> None:
    block = maker.block(1).body.block
    desk.bodies.resolve(block.hash, None, vouched=True)
    [(peer, _)] = desk.talk.take()
    await desk.answer(peer, BlockData(block.hash, raw))
    assert [one for one, _ in desk.faults] == [peer]
    desk.later(400)
    [(other, _)] = desk.talk.take()
    assert other is not peer


async def test_answers_that_were_not_asked_for_are_dropped(desk: Desk, maker: World) -> None:
    block = maker.block(1, maker.payment()).body.block
    await desk.answer(desk.a, BlockData(block.hash, block.encode()))
    desk.bodies.resolve(block.hash, None, vouched=True)
    [(asked, _)] = desk.talk.take()
    assert asked is desk.a
    await desk.answer(desk.b, BlockData(block.hash, block.encode()))
    assert desk.verdicts == []
    await desk.answer(desk.a, BlockData(block.hash, block.encode()))
    assert desk.verdicts == [(block.hash, Verdict.OK)]
    await desk.answer(desk.a, BlockData(block.hash, b"again"))
    assert desk.faults == []


async def test_one_answer_per_request_waits(desk: Desk, maker: World) -> None:
    """A peer cannot fill memory with answers to one question."""
    block = maker.block(1).body.block
    desk.bodies.resolve(block.hash, None, vouched=True)
    for _ in range(10):
        desk.bodies.received(desk.a, BlockData(block.hash, bytes(1_000)))  # type: ignore[arg-type]
    assert len(desk.bodies._arrivals) == 1


# Time.


async def test_a_block_ahead_of_our_clock_is_untimely_now_and_right_later(
    desk: Desk, maker: World
) -> None:
    maker.clock.ms += desk.world.genesis.parameters.max_drift_ms + 700
    block = maker.block(1).body.block
    desk.bodies.offer(proposal_of(block), desk.a)  # type: ignore[arg-type]
    desk.bodies.resolve(block.hash, None, vouched=True)
    assert desk.verdicts == [(block.hash, Verdict.UNTIMELY)]
    desk.later(699)
    assert len(desk.verdicts) == 1
    desk.later(1)
    assert desk.verdicts[1:] == [(block.hash, Verdict.OK)]
    desk.later(10_000)
    assert len(desk.verdicts) == 2


# Bounds.


async def test_compact_blocks_waiting_are_bounded_and_end_with_their_view(
    desk: Desk, maker: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(bodies_module, "COMPACT_MAX", 3)
    made = [maker.block(view, maker.payment()).body.block for view in range(1, 6)]
    for block in made:
        desk.bodies.offer(proposal_of(block), desk.a)  # type: ignore[arg-type]
    assert len(desk.bodies._compact) == 3
    await desk.world.make_final(*made)
    desk.bodies.forget_final()
    assert desk.bodies._compact == {}
    assert desk.bodies._wants == {}


def wants_of(bodies: Bodies) -> int:
    return len(bodies._wants)


async def test_a_block_that_nobody_has_is_forgotten_at_last(
    desk: Desk, maker: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(bodies_module, "WANT_HEIGHTS_MAX", 2)
    desk.bodies.resolve(bytes(32), None, vouched=True)
    await desk.world.make_final(*(maker.block(view).body.block for view in (1, 2)))
    desk.bodies.forget_final()
    assert wants_of(desk.bodies) == 1
    await desk.world.make_final(maker.block(3).body.block)
    desk.bodies.forget_final()
    assert wants_of(desk.bodies) == 0


async def test_a_passed_over_proposal_whose_transactions_nobody_has_asks_for_nothing_more(
    desk: Desk, maker: World, tmp_path: Path
) -> None:
    """Its leader keeps them back, and would have everybody ask for them for hundreds of blocks."""
    liar = World(tmp_path / "liar")
    withheld = liar.block(1, liar.payment()).body.block
    desk.bodies.offer(proposal_of(withheld), desk.a)  # type: ignore[arg-type]
    desk.bodies.resolve(withheld.hash, None, vouched=True)
    await desk.answer(desk.a, BlockTransactions(withheld.hash, ()))
    desk.later(10_000)
    assert desk.talk.take()
    await desk.world.make_final(maker.block(2, maker.payment()).body.block)
    desk.bodies.forget_final()
    desk.later(10_000)
    assert desk.talk.take() == []
    assert wants_of(desk.bodies) == 0
    liar.close()
