"""Mined blocks: what they may say, and that all of it follows from the parent."""

from typing import Any

import msgspec
import pytest
from ledger_builders import ALICE
from ledger_chain import Chain
from trading_kit import Pit

from chaind.ledger.block import ParentInfo
from chaind.ledger.errors import BlockInvalid, BlockOutOfTurn, RootMismatch
from chaind.ledger.work_block import (
    check_work_block,
    check_work_in_context,
    paid_coinbase,
    work_commitment,
)
from chaind.market.turns import in_turn
from chaind.primitives.block import Block, Header, MerkleMismatch
from chaind.primitives.coinbase import address_script, encode_coinbase
from chaind.primitives.genesis import Parameters
from chaind.primitives.hashes import merkle_root, sha256d
from chaind.primitives.orders import BUY

VALIDATORS = bytes(32)
PARENT = ParentInfo(b"p" * 32, 6, 1_700_000_000_000, 0, b"r" * 32, (1_700_000_000,))
MINER = b"m" * 20


def mined(*transactions: Any, coinbase: bytes | None = None, **said: Any) -> Block:
    """A block on `PARENT`, honest unless told otherwise."""
    commitment = work_commitment(PARENT, VALIDATORS)
    return Block.assemble(
        parent=PARENT.hash,
        time=1_700_000_600,
        bits=0x207FFFFF,
        coinbase=coinbase or encode_coinbase(7, outputs=[(address_script(MINER), 50)]),
        commitment=msgspec.structs.replace(commitment, **said),
        transactions=transactions,
    )


def rolled(block: Block, **fields: int) -> Block:
    """The block with another header."""
    header = msgspec.structs.replace(block.header, **fields)
    return Block(header, block.coinbase_bytes, block.commitment_bytes, block.transactions)


def test_an_honest_block_passes_and_pays_by_its_coinbase() -> None:
    block = Block.decode(mined().encode())
    check_work_block(block, Parameters())
    check_work_in_context(block, PARENT, VALIDATORS)
    txid, coinbase = paid_coinbase(block)
    assert txid == sha256d(block.coinbase_bytes)
    assert [(output.address, output.amount) for output in coinbase.outputs] == [(MINER, 50)]


def test_orders_of_a_mined_block_stand_in_their_turns() -> None:
    pit = Pit()
    orders = [pit.place(ALICE, BUY, 1, 9) for _ in range(2)]
    right, wrong = mined(*orders), mined(*reversed(orders))
    if in_turn(PARENT.hash, [(one.txid, one.body.action) for one in orders])[0] != orders[0].txid:
        right, wrong = wrong, right
    check_work_block(right, Parameters())
    with pytest.raises(BlockOutOfTurn):
        check_work_block(wrong, Parameters())


def test_miners_may_roll_version_time_nonce_and_coinbase() -> None:
    block = mined(coinbase=encode_coinbase(7, b"/any/\x01\x02\x03\x04 long enough for 65 bytes"))
    for each in (rolled(block, version=0x3FFFE000), rolled(block, time=5), rolled(block, nonce=9)):
        check_work_block(each, Parameters())
        check_work_in_context(each, PARENT, VALIDATORS)


@pytest.mark.parametrize(
    ("block", "reason"),
    [
        (rolled(mined(), version=1), "version 0x00000001"),
        (rolled(mined(), version=0x40000000), "version 0x40000000"),
        (mined(time_ms=1_700_000_600_000), "no chain time of their own"),
        (mined(proposer=MINER), "paid by the coinbase"),
        (mined(height=8), "coinbase says 7 (BIP-34)"),
        (mined(coinbase=encode_coinbase(8)), "coinbase says 8 (BIP-34)"),
    ],
)
def test_rules_that_need_only_the_block(block: Block, reason: str) -> None:
    with pytest.raises(BlockInvalid) as refused:
        check_work_block(block, Parameters())
    assert reason in str(refused.value)


@pytest.mark.parametrize(
    "said",
    [
        {"epoch": 1},
        {"view": 1},
        {"validators_hash": b"v" * 32},
        {"last_certificate": (0, PARENT.hash)},
        {"snapshot": bytes(32)},
        {"height": 6},
    ],
)
def test_the_commitment_follows_from_the_parent(said: dict[str, Any]) -> None:
    with pytest.raises(BlockInvalid):
        check_work_in_context(mined(**said), PARENT, VALIDATORS)


def test_another_root_or_parent_is_refused() -> None:
    with pytest.raises(RootMismatch):
        check_work_in_context(mined(parent_root=bytes(32)), PARENT, VALIDATORS)
    elsewhere = PARENT._replace(hash=b"q" * 32)
    with pytest.raises(BlockInvalid, match="does not stand on block 6"):
        check_work_in_context(mined(), elsewhere, VALIDATORS)


def test_sizes_are_bounded_and_nothing_stands_twice() -> None:
    pay = Chain().pay(5)
    block = mined(pay)
    with pytest.raises(BlockInvalid, match="bytes of transactions"):
        check_work_block(block, Parameters(block_bytes_max=pay.size - 1))
    with pytest.raises(BlockInvalid, match="stands in it twice"):
        check_work_block(mined(pay, pay), Parameters())


def test_a_repeated_tail_does_not_pass_for_the_same_block() -> None:
    """CVE-2012-2459: the list with its last leaf repeated has the same root."""
    pay = Chain().pay(5)
    block = mined(pay)
    leaves = block.leaves()
    assert merkle_root(leaves) == merkle_root([*leaves, leaves[-1]])
    header = Header.decode(block.header_bytes).encode()
    with pytest.raises(MerkleMismatch):
        Block.rebuild(header, block.coinbase_bytes, block.commitment_bytes, [pay, pay])
