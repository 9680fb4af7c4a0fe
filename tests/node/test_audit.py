"""The audit: what it counts on a sound chain, and that it finds each way to be unsound."""

from collections.abc import Callable

import msgspec
import pytest
from audited import BLOCKS, UNIT, audit_world, coin_spend, database_of, grow
from harness import FUNDED, address
from parts import SEED_KEYS, World, forged

from chaind.ledger.keys import COIN, Coin, balance_key, encode_units, supply_key
from chaind.node.audit import Auditor, Report, count_state
from chaind.node.tally import Tally
from chaind.primitives.transaction import KeyWitness, Transaction
from chaind.primitives.votes import CertificateKind
from chaind.storage.kv import MemoryStore
from chaind.storage.schema import COIN as COIN_INDEX
from chaind.storage.schema import (
    OUTCOME,
    STATE,
    TRANSACTION,
    BlockRow,
    OutcomeRow,
    activity_prefix,
    block_row,
    certificate_key,
    height_key,
    location_suffix,
)
from chaind.storage.segment import Position
from chaind.wallet.derivation import FIXED_NAMES


def found(report: Report) -> set[str]:
    """Which promises are broken."""
    return {violation.invariant for violation in report.violations}


async def test_a_sound_chain_is_counted(world: World) -> None:
    await grow(world)
    report = audit_world(world)
    assert report.violations == []
    assert report.consistent
    assert (report.height, report.blocks, report.certificates) == (BLOCKS, BLOCKS, BLOCKS)
    assert (report.transactions, report.signatures, report.leases) == (6, 6, 1)
    assert (report.coins, report.coins_spent) == (2, 1)
    assert report.supply["GOLD"] == 50 * UNIT
    assert report.supply["COIN"] == FUNDED * len(FIXED_NAMES) + 10**9 * UNIT + 12 * UNIT
    assert report.rows["X"] == 6
    assert report.rows["H"] == BLOCKS
    assert report.rows["U"] == 2
    assert report.records == BLOCKS  # certificates in the body log


def change(key: bytes, value: bytes | None) -> Callable[[World], None]:
    return lambda world: database_of(world).write([(key, value)], sync=True)


def forge_certificate(world: World) -> None:
    row = world.store.block(2)
    assert row is not None
    good = world.certificate(row)
    digest = bytes(32)
    bad = msgspec.structs.replace(
        good, signatures=(*good.signatures[:2], SEED_KEYS[2].sign(digest))
    )
    change(certificate_key(2), bad.encode())(world)


def only_notarised(world: World) -> None:
    block = world.store.block(3)
    assert block is not None
    change(certificate_key(3), world.certificate(block, CertificateKind.NOTAR).encode())(world)


def drop_coin_index(world: World) -> None:
    rows = database_of(world).scan(COIN_INDEX, bytes([COIN_INDEX[0] + 1]))
    change(next(iter(rows))[0], None)(world)


def drop_coin(world: World) -> None:
    rows = world.store.state_rows(COIN)
    change(STATE + next(iter(rows))[0], None)(world)


def double_coin(world: World) -> None:
    key, value = next(iter(world.store.state_rows(COIN)))
    coin = Coin.decode(value)
    change(STATE + key, coin._replace(amount=2 * coin.amount).encode())(world)


def misdate_block(world: World) -> None:
    row = block_row.decode(database_of(world).get(height_key(2)) or b"")
    moved = BlockRow(row.hash, row.segment, row.offset, row.transactions, row.time_ms + 1)
    change(height_key(2), moved.encode())(world)


def final_yet_rejected(world: World) -> None:
    block = world.store.block(1)
    assert block is not None
    outcome = OutcomeRow("rejected", "conflict", None, 1)
    change(OUTCOME + block.transactions[0].txid, outcome.encode())(world)


def forget_location(world: World) -> None:
    block = world.store.block(1)
    assert block is not None
    change(TRANSACTION + block.transactions[0].txid, None)(world)


def second_final_block(world: World) -> None:
    block = world.store.block(2)
    assert block is not None
    rival = forged(block, [])
    world.store.bodies.append(world.certificate(rival).encode())


BOB = STATE + balance_key(address("bob"), "")
DAMAGE: dict[str, tuple[Callable[[World], None], set[str]]] = {
    "a balance is a unit too high": (
        change(BOB, encode_units(FUNDED + 12)),
        {"conservation", "replay"},
    ),
    "a balance is gone": (change(BOB, None), {"conservation", "replay"}),
    "a balance is negative": (change(BOB, b"\xff" * 8), {"bounds", "conservation", "replay"}),
    "a balance of nothing": (
        change(STATE + balance_key(b"\x07" * 20, ""), bytes(8)),
        {"bounds", "replay"},
    ),
    "the supply row lies": (
        change(STATE + supply_key("GOLD"), encode_units(70 * UNIT)),
        {"conservation", "replay"},
    ),
    "a coin is gone": (drop_coin, {"conservation", "replay"}),
    "a coin has doubled": (double_coin, {"conservation", "replay"}),
    "a coin is not in its index": (drop_coin_index, {"replay"}),
    "activity that never was": (
        change(activity_prefix(address("bob")) + location_suffix(2, 0), b"anything"),
        {"replay"},
    ),
    "a location is gone": (forget_location, {"replay"}),
    "a block row says another time": (misdate_block, {"replay"}),
    "a forged certificate": (forge_certificate, {"signatures"}),
    "a certificate that is not final": (only_notarised, {"signatures"}),
    "the tip has no certificate": (change(certificate_key(BLOCKS), None), {"signatures"}),
    "two final blocks in a view": (second_final_block, {"once"}),
    "final and yet told to be rejected": (final_yet_rejected, {"once"}),
    "a row of no table": (change(b"Z", b""), {"replay"}),
}


@pytest.mark.parametrize("what", DAMAGE)
async def test_each_way_to_be_unsound_is_found(world: World, what: str) -> None:
    damage, expected = DAMAGE[what]
    await grow(world)
    damage(world)
    report = audit_world(world)
    assert found(report) == expected, report.violations
    assert not report.consistent


async def test_a_body_that_is_not_there_is_named(world: World) -> None:
    await grow(world)
    row = block_row.decode(database_of(world).get(height_key(3)) or b"")
    change(height_key(3), msgspec.structs.replace(row, offset=row.offset + 1).encode())(world)
    report = audit_world(world)
    first = report.violations[0]
    assert (first.invariant, first.height) == ("replay", 3)


async def test_a_false_signature_names_its_transaction(world: World, maker: World) -> None:
    block = world.block(1, world.payment(units=5)).body.block
    [honest], other = block.transactions, world.payment(units=6)
    key = other.witnesses[0]
    assert isinstance(key, KeyWitness)
    false = Transaction(honest.body, (key,))  # as good a signature as any, of something else
    report = replayed(maker, forged(block, [false]).encode())
    assert any(
        each.invariant == "signatures" and honest.txid.hex() in each.what and each.height == 1
        for each in report.violations
    )


async def test_a_block_that_breaks_a_rule_names_it_and_ends_the_replay(
    world: World, maker: World
) -> None:
    spend = coin_spend(maker)
    first = world.block(1, spend).body.block
    second = forged(world.block(2).body.block, [spend])
    report = replayed(maker, first.encode(), second.encode())
    assert report.height == 1
    assert any(spend.txid.hex() in each.what for each in report.violations if each.height == 2)
    assert {"once", "replay"} <= found(report)


def replayed(world: World, *raws: bytes) -> Report:
    """The audit of blocks alone, uncertified."""
    scratch = MemoryStore()
    with Auditor(world.genesis, scratch, world.store.bodies, 1) as auditor:
        for raw in raws:
            if not auditor.add(raw, Position(0, 0), None):
                break
        return auditor.finish(count_state(auditor, scratch))


async def test_the_tally_refuses_what_execution_would_let_pass(world: World) -> None:
    """Its books are its own: a lease taken twice and a coin spent twice are seen without state."""
    blocks = await grow(world)
    tally = Tally(world.genesis)
    said = [what for block in blocks for what in tally.block(block, world.genesis.time_ms)]
    assert said == []
    again = [what for block in blocks for what in tally.block(block, world.genesis.time_ms)]
    assert sum("spends coin" in what for what in again) == 1
    assert sum("takes lease" in what for what in again) == 1
    later_ms = world.genesis.time_ms + world.genesis.parameters.lease_ms
    assert [what for what in tally.block(blocks[2], later_ms) if "lease" in what] == []
