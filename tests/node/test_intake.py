"""`submit`: one result per input in order, refusal before the journal, and no contradictions."""

import asyncio
import gc
import weakref
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from ecdsa import SECP256k1, SigningKey
from ecdsa.util import sigencode_string_canonize
from harness import FUNDED, address, secret
from parts import World, turns

from chaind.ledger.block import GENESIS_COIN_TXID
from chaind.ledger.errors import BadSignature, LeaseTaken
from chaind.mempool.errors import ConflictsWithPending, Overcommitted, PoolFull
from chaind.node import intake as intake_module
from chaind.node.events import DroppedEvent, PendingEvent
from chaind.node.recovery import stored_intake
from chaind.primitives.codec import NonCanonical, Undecodable
from chaind.primitives.errors import ChaindError
from chaind.primitives.hashes import sha256
from chaind.primitives.keys import SecretKey
from chaind.primitives.transaction import (
    VERSION,
    AccountOutput,
    Body,
    CoinInput,
    KeyWitness,
    Lease,
    Transaction,
)
from chaind.storage import log as log_module
from chaind.storage.errors import LogBacklog
from chaind.wallet.builder import sign


@asynccontextmanager
async def serving(world: World) -> AsyncIterator[World]:
    """With its group commit running."""
    runner = asyncio.create_task(world.commit.run())
    try:
        yield world
    finally:
        runner.cancel()


def spending_coin(world: World, index: int, fee: int = 0, salt: bytes = b"saltsalt") -> Transaction:
    """Alice's genesis coin to Bob's account."""
    units = (500_000_000, 700_000_000)[index]
    body = Body(
        VERSION, world.genesis.chain_prefix, salt, None, None,
        (CoinInput(GENESIS_COIN_TXID, index),),
        (AccountOutput(address("bob"), "", units - fee),), None, b"",
    )  # fmt: skip
    return sign(body, secret("alice"))


def with_bad_signature(transaction: Transaction) -> Transaction:
    [witness] = transaction.witnesses
    assert isinstance(witness, KeyWitness)
    bad = bytearray(witness.signature)
    bad[5] ^= 1
    return Transaction(transaction.body, (KeyWitness(witness.public_key, bytes(bad)),))


def journaled(world: World) -> list[bytes]:
    return [checked.txid for _, checked in stored_intake(world.disk.journal, world.genesis)]


async def errors_of(world: World, *raws: bytes) -> list[type[ChaindError] | None]:
    results = await world.intake.submit(raws, local=True)
    return [type(result.error) if result.error else None for result in results]


async def test_one_result_per_input_in_order(world: World) -> None:
    good, other = world.payment(), world.payment(source="carol")
    poor = world.payment(units=FUNDED + 1)
    forged = with_bad_signature(world.payment())
    stretched = good.raw + b"\x00"
    async with serving(world):
        found = await errors_of(
            world, good.raw, b"", forged.raw, other.raw, poor.raw, stretched, good.raw
        )
    assert found[0] is found[3] is found[6] is None
    assert found[1] is Undecodable
    assert found[2] is BadSignature
    assert found[4] is not None
    assert found[5] in (NonCanonical, Undecodable)
    assert journaled(world) == [good.txid, other.txid], "a refusal comes before the journal"
    assert world.accepted == [([good.txid, other.txid], None)]
    assert (world.intake.accepted_total, world.intake.refused_total) == (2, 4)


async def test_duplicates_in_one_batch_are_known(world: World) -> None:
    transaction = world.payment()
    async with serving(world):
        first, second = await world.intake.submit([transaction.raw] * 2, local=True)
    assert (first.known, second.known) == (False, True)
    assert first.txid == second.txid == transaction.txid
    assert len(journaled(world)) == 1


async def test_the_same_body_with_another_witness_is_known(world: World) -> None:
    """Two Raws of one Body are one transaction; ECDSA signatures are not unique."""
    transaction = world.payment()
    digest = transaction.sighash
    key = secret("alice")
    other = Transaction(transaction.body, (KeyWitness(key.public, _other_signature(key, digest)),))
    assert other.wtxid != transaction.wtxid
    async with serving(world):
        await world.intake.submit([transaction.raw], local=True)
        [result] = await world.intake.submit([other.raw], local=True)
    assert result.error is None
    assert result.known
    assert len(world.pool) == 1


def _other_signature(key: SecretKey, digest: bytes) -> bytes:
    """A second valid low-S signature, with a nonce of our own."""
    signer = SigningKey.from_string(key.reveal(), curve=SECP256k1)
    return bytes(signer.sign_digest(digest, k=7, sigencode=sigencode_string_canonize))


async def test_two_submits_of_one_transaction_at_once_both_wait_for_the_disk(world: World) -> None:
    transaction = world.payment()
    many = [world.payment().raw for _ in range(intake_module.INLINE_SIGNATURES_MAX)]
    async with serving(world):
        first, second = await asyncio.gather(
            world.intake.submit([transaction.raw, *many], local=True),
            world.intake.submit([transaction.raw], local=True),
        )
    assert first[0].error is second[0].error is None
    assert sorted((first[0].known, second[0].known)) == [False, True]
    assert journaled(world).count(transaction.txid) == 1


async def test_no_answer_before_the_sync(world: World) -> None:
    task = asyncio.create_task(world.intake.submit([world.payment().raw], local=True))
    await turns()
    assert not task.done(), "answered without a sync"
    async with serving(world):
        await task


async def test_a_peer_s_transaction_is_not_journaled_until_a_client_sends_it(world: World) -> None:
    transaction = world.payment()
    [result] = await world.intake.submit([transaction.raw], local=False, source="peer")
    assert result.error is None
    assert world.accepted == [([transaction.txid], "peer")]
    assert world.tracker.get(transaction.txid) is None
    async with serving(world):
        [again] = await world.intake.submit([transaction.raw], local=True)
    assert again.known
    assert journaled(world) == [transaction.txid]
    assert world.tracker.get(transaction.txid) is not None


async def test_replaced_in_the_same_batch_is_journaled_all_the_same(world: World) -> None:
    low, high = spending_coin(world, 0, fee=1), spending_coin(world, 0, fee=10_000)
    async with serving(world):
        assert await errors_of(world, low.raw, high.raw) == [None, None]
    assert journaled(world) == [low.txid, high.txid]
    assert world.pool.get(low.txid) is None
    assert world.tracker.get(low.txid) is not None, "replaced is not ended"
    kinds = [type(event) for event in world.heard]
    assert kinds == [PendingEvent, DroppedEvent]
    dropped = world.heard[1]
    assert isinstance(dropped, DroppedEvent)
    assert (dropped.reason, dropped.by, dropped.ended) == ("replaced", high.txid, False)


async def test_what_the_journal_has_no_room_for_is_nowhere(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whoever is told to come back must not find later that it paid."""
    told: list[PendingEvent] = []
    world.events.subscribe(
        lambda event: told.append(event) if isinstance(event, PendingEvent) else None
    )
    first, second = world.payment(), world.payment(source="carol")
    async with serving(world):
        with monkeypatch.context() as full:
            full.setattr(log_module, "BUFFER_BYTES_MAX", len(first.raw) + 50)
            with pytest.raises(LogBacklog):
                await world.intake.submit([first.raw, second.raw], local=True)
        assert not told
        assert all(world.pool.get(one.txid) is None for one in (first, second))
        assert journaled(world) == []
        assert await errors_of(world, first.raw, second.raw) == [None, None]
        assert journaled(world) == [first.txid, second.txid]


async def test_what_was_accepted_is_never_refused_later(tmp_path: Path) -> None:
    """Evicted or replaced it may still apply, so a client that asks again hears no refusal."""
    world = World(tmp_path, transactions_max=1)
    evicted = world.payment()
    async with serving(world):
        assert await errors_of(world, evicted.raw) == [None]
        assert await errors_of(world, spending_coin(world, 0, fee=10_000).raw) == [None]
        assert world.pool.get(evicted.txid) is None
        assert await errors_of(world, world.payment().raw) == [PoolFull]
        [again] = await world.intake.submit([evicted.raw], local=True)
    assert again.error is None
    assert again.known


async def test_a_refused_rival_names_what_it_conflicts_with(world: World, maker: World) -> None:
    lease = Lease(address("alice"), sha256(b"key"), bytes(32))
    first, second = world.payment(lease=lease), world.payment(lease=lease, units=11)
    async with serving(world):
        assert await errors_of(world, first.raw, second.raw) == [None, ConflictsWithPending]
        await world.make_final(maker.block(1, first).body.block)
        [taken] = await world.intake.submit([second.raw], local=True)
        [again] = await world.intake.submit([first.raw], local=True)
    assert isinstance(taken.error, LeaseTaken)
    assert taken.error.values["txid"] == first.txid.hex()
    assert again.error is None
    assert again.known


async def test_a_coin_payment_that_is_final_is_known_not_refused(
    world: World, maker: World
) -> None:
    """Its coin is gone because it was spent, by itself."""
    transaction = spending_coin(world, 0)
    await world.make_final(maker.block(1, transaction).body.block)
    async with serving(world):
        [result] = await world.intake.submit([transaction.raw], local=True)
    assert result.error is None
    assert result.known


async def test_a_bad_signature_is_remembered_and_not_checked_again(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    forged = with_bad_signature(world.payment())
    async with serving(world):
        assert await errors_of(world, forged.raw) == [BadSignature]
        monkeypatch.setattr(intake_module, "signature_checks", _never)
        assert await errors_of(world, forged.raw) == [BadSignature]


async def test_a_signature_is_checked_once_whichever_way_it_comes_again(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Fetched for a block first, then brought by gossip; another signature is another matter."""
    transaction = world.payment()
    assert await world.verifier.verify([world.check(transaction)]) == [None]
    forged = with_bad_signature(transaction)
    assert forged.txid == transaction.txid
    async with serving(world):
        assert await errors_of(world, forged.raw) == [BadSignature]
        monkeypatch.setattr(intake_module, "signature_checks", _never)
        assert await errors_of(world, transaction.raw) == [None]


async def test_verified_ones_remembered_are_bounded_and_the_oldest_go(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(intake_module, "VERIFIED_REMEMBERED_MAX", 3)
    batch = [world.payment() for _ in range(5)]
    await world.verifier.verify([world.check(item) for item in batch])
    assert list(world.verifier._verified) == [item.wtxid for item in batch[2:]]


def _never(_checked: object) -> None:
    raise AssertionError("checked again")


async def test_refusals_remembered_are_bounded(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(intake_module, "REFUSED_REMEMBERED_MAX", 3)
    async with serving(world):
        for _ in range(5):
            await errors_of(world, with_bad_signature(world.payment()).raw)
    assert len(world.intake._refused) == 3


async def test_an_owner_cannot_have_more_pending_than_it_has(world: World) -> None:
    async with serving(world):
        found = await errors_of(world, world.payment(units=FUNDED).raw, world.payment(units=1).raw)
    assert found == [None, Overcommitted]


async def test_a_large_batch_goes_to_the_workers_and_keeps_its_order(world: World) -> None:
    count = 100
    batch = [world.payment(units=1) for _ in range(count)]
    batch[70] = with_bad_signature(batch[70])
    async with serving(world):
        results = await world.intake.submit([item.raw for item in batch], local=True)
    assert [result.txid for result in results] == [item.txid for item in batch]
    assert [index for index, result in enumerate(results) if result.error] == [70]


async def test_what_was_refused_is_not_held_for_ever(world: World) -> None:
    """An error knows the frames it came through, and they know the submission that holds it."""
    async with serving(world):
        await world.intake.submit([spending_coin(world, 0).raw], local=True)

        async def refused() -> weakref.ref[ChaindError]:
            [result] = await world.intake.submit(
                [spending_coin(world, 0, salt=b"saltsalt"[::-1]).raw], local=True
            )
            try:
                assert result.error is not None
                raise result.error
            except ConflictsWithPending as error:
                return weakref.ref(error)

        held = await refused()
        gc.collect()
        assert held() is None
