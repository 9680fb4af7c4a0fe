"""The shell around the block tree, with the test as its peers: what it asks, keeps and refuses."""

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import msgspec
import pytest
from harness import address
from parts import FakePeer, World, settled
from work_kit import EASY, SUBSIDY, mined
from work_world import GENESIS, WorkWorld, remade, running, work_genesis

from chaind.consensus.pow.errors import HashTooHigh, TimeTooNew
from chaind.consensus.pow.sync import IDLE_MS
from chaind.consensus.pow.tree_errors import ParentInvalid
from chaind.ledger.errors import BlockInvalid, BlockTransactionInvalid, RootMismatch
from chaind.network import messages as wire
from chaind.node import work_engine as engine_module
from chaind.node.audit import Auditor
from chaind.node.bodies import WrongBlock
from chaind.node.templates import plan_block
from chaind.node.work_errors import ParentUnknown, TransactionsRefused
from chaind.primitives.block import Block, Header, MerkleMismatch
from chaind.primitives.codec import encode
from chaind.primitives.coinbase import CoinbaseInvalid, address_script, encode_coinbase
from chaind.primitives.hashes import merkle_root, sha256d
from chaind.primitives.transaction import KeyWitness, Transaction
from chaind.storage import log as log_module
from chaind.storage.kv import MemoryStore
from chaind.storage.segment import Position


@pytest.fixture
async def node(tmp_path: Path) -> AsyncIterator[WorkWorld]:
    async with running(tmp_path / "node", "a", "b") as world:
        yield world


@pytest.fixture
async def maker(tmp_path: Path) -> AsyncIterator[WorkWorld]:
    async with running(tmp_path / "maker") as world:
        yield world


# What peers are told and asked.


async def test_a_new_peer_is_asked_for_headers_and_told_what_is_final(node: WorkWorld) -> None:
    await node.mine(8)
    await settled(lambda: node.chain.final.height == 3)
    node.talk.connected.append(FakePeer("c"))
    node.talk.take()
    node.engine.peer_up(node.peer("c"))  # type: ignore[arg-type]
    (_, tip), (_, question) = node.talk.take()
    assert tip == wire.Tip(3)
    assert isinstance(question, wire.GetHeaders)
    assert question.locator[0] == node.chain.executed()[-2].body.block.hash
    assert question.locator[-1] == GENESIS.hash


async def test_headers_are_served_from_the_store_and_the_tree(node: WorkWorld) -> None:
    blocks = await node.mine(8)
    await settled(lambda: node.chain.final.height == 3)
    records = [block.header_bytes for block in blocks]
    for start in (0, 1, 2, 3, 4, 7, 8):
        at = GENESIS.hash if start == 0 else blocks[start - 1].hash
        node.talk.take()
        node.hear("a", wire.GetHeaders((bytes(32), at, GENESIS.hash)))
        assert node.sent(wire.Headers) == [("a", wire.Headers(b"".join(records[start:])))]
    node.hear("a", wire.GetHeaders((bytes(32),)))
    assert node.sent(wire.Headers) == [("a", wire.Headers(b""))], "another chain's"


async def test_a_mined_block_is_announced_to_who_is_not_known_to_have_it(
    node: WorkWorld, maker: WorkWorld
) -> None:
    [first] = await maker.mine()
    await node.give("a", first)
    await settled(lambda: any(isinstance(one, wire.Headers) for _, one in node.talk.sent))
    assert node.sent(wire.Headers) == [("b", wire.Headers(first.header_bytes))]
    [second] = await node.mine()
    await settled(lambda: len(node.talk.sent) == 2)
    told = [("a", wire.Headers(second.header_bytes)), ("b", wire.Headers(second.header_bytes))]
    assert node.sent(wire.Headers) == told


async def test_who_is_too_light_itself_gives_no_headers(tmp_path: Path) -> None:
    async with running(tmp_path, "a", genesis=work_genesis(minimum="64")) as node:
        await node.mine(3)
        node.talk.take()
        node.hear("a", wire.GetHeaders((node.genesis.hash,)))
        assert node.sent(wire.Headers) == [("a", wire.Headers(b""))]


# What is refused.


async def test_a_block_that_breaks_a_rule_of_the_state_is_out_for_ever(
    node: WorkWorld, maker: WorkWorld
) -> None:
    [good] = await node.mine()
    honest = mined(maker.engine.next_block.template(address("bob")))
    scripts = [(address_script(address("bob")), SUBSIDY + 1)]
    greedy = remade(honest, coinbase=encode_coinbase(1, outputs=scripts))
    above = remade(greedy, parent=greedy.hash, time=greedy.header.time + 1, said={"height": 2})
    above = remade(above, coinbase=encode_coinbase(2), said={"height": 2}, parent=greedy.hash)
    await node.give("a", greedy, above)
    assert node.chain.head.hash == good.hash
    entry = node.engine.tree.get(above.hash)
    assert entry is not None
    assert entry.invalid
    assert node.engine.tree.best.hash == good.hash
    node.hear("b", wire.Headers(above.header_bytes))
    assert [peer.node_id for peer, _ in node.talk.dropped] == ["b"]
    assert isinstance(node.talk.dropped[0][1], ParentInvalid)


@pytest.mark.parametrize(
    ("parts", "error"),
    [
        ({"said": {"parent_root": bytes(32)}}, RootMismatch),
        ({"said": {"view": 3}}, BlockInvalid),
        ({"coinbase": encode_coinbase(2)}, BlockInvalid),
        ({"time": GENESIS.time_ms // 1000 + 100_000}, TimeTooNew),
    ],
)
async def test_a_bad_block_that_is_handed_in_says_why(
    node: WorkWorld, parts: dict[str, Any], error: type[Exception]
) -> None:
    template = node.engine.next_block.template(address("bob"))
    with pytest.raises(error):
        await node.engine.submit(remade(template, **parts))
    assert node.chain.head.height == 0
    with pytest.raises(error if error is TimeTooNew else Exception):
        await node.engine.submit(remade(template, **parts))
    assert len(await node.mine(2)) == 2


async def test_a_transaction_that_does_not_apply_makes_its_block_invalid(node: WorkWorld) -> None:
    poor = node.payment(units=10**18)
    template = node.engine.next_block.template(address("bob"))
    with pytest.raises(BlockTransactionInvalid):
        await node.engine.submit(remade(template, poor))
    assert node.engine.tree.ready.height == 0


async def test_a_block_with_a_wrong_signature_is_refused(node: WorkWorld) -> None:
    """No state is asked: whoever hands it in hears of it all the same."""
    sound = node.payment(units=3)
    [witness] = sound.witnesses
    assert isinstance(witness, KeyWitness)
    spoilt = Transaction(sound.body, (msgspec.structs.replace(witness, signature=bytes(64)),))
    block = remade(node.engine.next_block.template(address("bob")), spoilt)
    with pytest.raises(TransactionsRefused):
        await node.engine.submit(block)
    assert node.chain.head.height == 0


async def test_a_block_without_work_or_parent_is_refused(node: WorkWorld) -> None:
    template = node.engine.next_block.template(address("bob"))
    target_missed = next(
        Block(header, template.coinbase_bytes, template.commitment_bytes, ())
        for nonce in range(100)
        for header in [msgspec.structs.replace(template.header, nonce=nonce)]
        if sha256d(header.encode())[31] > 0x7F
    )
    with pytest.raises(HashTooHigh):
        await node.engine.submit(target_missed)
    with pytest.raises(ParentUnknown):
        await node.engine.submit(remade(template, parent=b"x" * 32))


async def test_other_bytes_than_were_asked_for_are_the_sender_s_fault(
    node: WorkWorld, maker: WorkWorld
) -> None:
    maker.offer(maker.payment(units=3))
    first, second = await maker.mine(2)
    records = first.header_bytes + second.header_bytes
    node.hear("a", wire.Headers(records))
    node.hear("a", wire.BlockData(first.hash, second.encode()))
    await settled(lambda: node.talk.punished)
    assert isinstance(node.talk.punished[0][1], WrongBlock)
    cut = encode((first.header_bytes, first.coinbase_bytes, first.commitment_bytes, ()))
    node.hear("b", wire.Headers(records))
    assert ("b", wire.GetBlock(first.hash)) not in node.sent(wire.GetBlock), "it is asked of a"
    node.engine.peer_down(node.peer("a"))  # type: ignore[arg-type]
    assert ("b", wire.GetBlock(first.hash)) in node.sent(wire.GetBlock)
    node.hear("b", wire.BlockData(first.hash, cut))
    await settled(lambda: len(node.talk.punished) == 2)
    assert isinstance(node.talk.punished[1][1], MerkleMismatch)
    entry = node.engine.tree.get(first.hash)
    assert entry is not None
    assert not entry.invalid, "the block itself may be sound"


async def test_inner_nodes_of_the_merkle_tree_do_not_pass_for_a_malformed_body(
    node: WorkWorld, maker: WorkWorld
) -> None:
    """CVE-2017-12842 turned round: the root of a sound block, from parts that nobody can read."""
    maker.offer(maker.payment(units=3))
    [sound] = await maker.mine()
    coinbase, commitment, payment = sound.leaves()
    rows = (coinbase + commitment, payment + payment)
    made_up = encode((sound.header_bytes, *rows, ()))
    node.hear("a", wire.Headers(sound.header_bytes))
    node.hear("a", wire.BlockData(sound.hash, made_up))
    await settled(lambda: node.talk.punished)
    assert isinstance(node.talk.punished[0][1], CoinbaseInvalid)
    node.engine.peer_down(node.peer("a"))  # type: ignore[arg-type]
    await node.give("b", sound)
    assert node.chain.head.hash == sound.hash


async def test_a_body_that_is_malformed_under_its_own_header_is_invalid(
    node: WorkWorld, maker: WorkWorld
) -> None:
    honest = maker.engine.next_block.template(address("bob"))
    script = b"\x51"  # OP_TRUE: the ledger could not tell who owns it
    coinbase = encode_coinbase(1, outputs=[(script, 5)])
    root = merkle_root([sha256d(coinbase), sha256d(honest.commitment_bytes)])
    header = msgspec.structs.replace(honest.header, merkle_root=root)
    header = mined_header(header)
    raw = encode((header.encode(), coinbase, honest.commitment_bytes, ()))
    block_hash = sha256d(header.encode())
    node.hear("a", wire.Headers(header.encode()))
    node.hear("a", wire.BlockData(block_hash, raw))
    await settled(lambda: node.talk.punished)
    assert isinstance(node.talk.punished[0][1], CoinbaseInvalid)
    entry = node.engine.tree.get(block_hash)
    assert entry is not None
    assert entry.invalid
    assert node.engine.tree.best.height == 0


def mined_header(header: Header) -> Header:
    for nonce in range(1_000):
        tried = msgspec.structs.replace(header, nonce=nonce)
        if sha256d(tried.encode())[31] <= 0x7E:
            return tried
    raise AssertionError("no nonce does it")


async def test_bodies_that_nobody_asked_for_are_dropped(node: WorkWorld, maker: WorkWorld) -> None:
    [block] = await maker.mine()
    node.hear("a", wire.BlockData(block.hash, block.encode()))
    assert not node.engine._arrivals
    node.hear("a", wire.Headers(block.header_bytes))
    node.hear("b", wire.BlockData(block.hash, block.encode()))
    assert not node.engine._arrivals
    node.hear("a", wire.BlockData(block.hash, None))
    assert node.sent(wire.GetBlock)[-1] == ("a", wire.GetBlock(block.hash))
    node.hear("b", wire.Headers(block.header_bytes))
    assert node.sent(wire.GetBlock) == [("b", wire.GetBlock(block.hash))]


async def test_a_body_that_waits_to_be_verified_is_held_once(
    node: WorkWorld, maker: WorkWorld
) -> None:
    """Two megabytes each, as fast as a peer can send them, while one is verified."""
    first, second = await maker.mine(2)
    node.hear("a", wire.Headers(first.header_bytes + second.header_bytes))
    for _ in range(50):
        node.hear("a", wire.BlockData(first.hash, first.encode()))
    node.hear("a", wire.BlockData(second.hash, second.encode()))
    assert len(node.engine._arrivals) == 2
    await settled(lambda: node.chain.head.hash == second.hash)


@pytest.mark.parametrize("message", [wire.Status(1, 1, 1, bytes(32), 1), wire.Votes(())])
async def test_messages_of_validators_have_no_place_here(
    node: WorkWorld, message: wire.Message
) -> None:
    with pytest.raises(wire.MessageOutOfPlace):
        node.hear("a", message)


async def test_a_silent_peer_is_asked_again_after_a_while(node: WorkWorld) -> None:
    node.clock.ms += int(IDLE_MS)
    node.engine.tick()
    assert {name for name, _ in node.sent(wire.GetHeaders)} == {"a", "b"}


async def test_bodies_reach_the_disk_long_before_anything_is_final(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A node that catches up tells nobody and makes nothing final for a hundred blocks and more."""
    monkeypatch.setattr(log_module, "BUFFER_BYTES_MAX", 20_000)
    monkeypatch.setattr(engine_module, "UNSYNCED_BYTES_MAX", 5_000, raising=False)
    far = work_genesis(final_depth=1_000)
    async with running(tmp_path / "maker", genesis=far) as maker:
        blocks = []
        for _ in range(100):
            blocks += await maker.mine()
            maker.store.bodies.sync()
    assert sum(len(block.encode()) for block in blocks) > 20_000
    async with running(tmp_path / "node", "a", genesis=far) as node:
        node.hear("a", wire.Headers(b"".join(block.header_bytes for block in blocks)))
        while node.chain.head.height < len(blocks):
            await node.serve("a", *blocks)
            await settled(lambda: node.talk.sent or node.chain.head.height == len(blocks))


async def test_a_disk_that_failed_is_told_of_once(
    node: WorkWorld, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By the task that it ended: a second fault beside it would hide what is wrong."""
    monkeypatch.setattr(engine_module, "UNSYNCED_BYTES_MAX", 1)
    node.body_commit._ended = True
    assert len(await node.mine()) == 1


# Starting again.


async def test_a_restart_finds_the_branches_and_the_head_again(tmp_path: Path) -> None:
    async with running(tmp_path / "maker") as maker:
        rival = await maker.mine(2, to="bob")
    async with running(tmp_path / "node", "a") as node:
        await node.mine(2)
        await node.give("a", *rival)
        blocks = await node.mine(2)
        head = node.chain.head
        node.store.bodies.sync()
        raws = [raw for _, raw in node.store.bodies.replay()]
        assert len(raws) == 6
    async with running(tmp_path / "again", "a") as again:
        for raw in reversed(raws):  # in whatever order they came
            World.give(again, Block.decode(raw))
        again.engine.start(())
        assert again.chain.head == head
        tree = again.engine.tree
        assert tree.best.hash == tree.ready.hash == blocks[-1].hash
        assert tree.get(rival[-1].hash) is not None


# Templates.


async def test_a_template_pays_subsidy_and_fees(node: WorkWorld) -> None:
    node.offer(node.payment(units=7))
    template = node.engine.next_block.template(address("carol"), b"/extra nonce 0001/")
    [output] = template.coinbase.outputs
    assert (output.address, output.amount) == (address("carol"), SUBSIDY)
    assert b"/extra nonce 0001/" in template.coinbase_bytes
    assert len(template.transactions) == 1
    assert template.header.time == node.clock.ms // 1000
    assert node.chain.head.height == 0
    unknown = plan_block(node.chain, parent_hash=bytes(32), now=1, time_min=1, bits=EASY)
    assert unknown is None


# Audits.


async def test_an_audit_finds_headers_that_break_a_rule(node: WorkWorld, tmp_path: Path) -> None:
    honest = await node.mine(3)
    easier = remade(honest[2], bits=0x207FFFFE)
    early = remade(honest[2], time=1_000)
    for last, rule in ((honest[2], ""), (easier, "retarget rule gives"), (early, "the median")):
        with Auditor(GENESIS, MemoryStore(), node.store.bodies, 1) as auditor:
            for block in (*honest[:2], last):
                assert auditor.add(block.encode(), Position(0, 0), None)
            told = [(one.invariant, one.height) for one in auditor.report.violations]
            assert told == ([("work", 3)] if rule else [])
            assert all(rule in one.what for one in auditor.report.violations)
