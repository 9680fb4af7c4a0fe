"""Blocks: every rule of `check_block`, `check_in_context` and `execute_block` in the bft shape."""

from typing import Any

import msgspec
import pytest
from ledger_builders import ALICE, BOB, CAROL, DAVE, SYMBOL, coin_out, pay_in, pay_out
from ledger_chain import TIME_MS, Chain

from chaind.ledger.block import GENESIS_COIN_TXID, block_context, execute_block
from chaind.ledger.checks import check_transaction
from chaind.ledger.errors import (
    AlreadyApplied,
    BlockInvalid,
    BlockTransactionInvalid,
    InsufficientFunds,
    RootMismatch,
)
from chaind.ledger.keys import Coin, coin_key, decode_units, supply_key
from chaind.primitives.amounts import UNIT, format_amount
from chaind.primitives.block import Block
from chaind.primitives.coinbase import address_script, encode_coinbase
from chaind.primitives.transaction import CoinInput, KeyWitness, Transaction
from chaind.primitives.votes import Vote, VoteKind


@pytest.fixture
def chain() -> Chain:
    return Chain()


def test_genesis_makes_its_rows(chain: Chain) -> None:
    assert chain.balance(ALICE.address) == 1000 * UNIT
    assert chain.balance(ALICE.address, "GOLD") == 50 * UNIT
    value = chain.state.get(coin_key(GENESIS_COIN_TXID, 2))
    assert value == Coin(BOB.address, 3 * UNIT, 0, coinbase=False).encode()
    assert chain.supply() == 1003 * UNIT
    assert decode_units(chain.state.get(supply_key("GOLD"))) == 50 * UNIT


def test_bft_credits_fees_to_the_proposer(chain: Chain) -> None:
    executed = chain.add(chain.block(chain.pay(10, fee=3), chain.pay(20, fee=4)))
    assert executed.fees == 7
    assert [receipt.fee for receipt in executed.receipts] == [3, 4]
    assert (chain.balance(DAVE.address), chain.balance(BOB.address)) == (7, 30)
    assert chain.supply() == 1003 * UNIT


def test_bft_credits_the_subsidy_to_the_proposer_and_the_supply() -> None:
    chain = Chain(subsidy_units=5)
    chain.add(chain.block(chain.pay(10, fee=3)))
    assert chain.balance(DAVE.address) == 8
    assert chain.supply() == 1003 * UNIT + 5


def test_an_empty_block_moves_the_root_and_nothing_else(chain: Chain) -> None:
    before = chain.info.root
    executed = chain.add(chain.block())
    assert executed.delta.writes == ()
    assert executed.root != before


CHECK_BLOCK: dict[str, tuple[str, dict[str, Any]]] = {
    "header time is chain time": ("header time", {"time": TIME_MS // 1000 + 2}),
    "chain time is there": ("header time", {"time_ms": None}),
    "negative chain time": ("header time", {"time_ms": -1}),
    "bits are fixed": ("fixed in bft", {"bits": 0x1D00FFFF}),
    "coinbase of another height": ("coinbase says 2", {"coinbase": encode_coinbase(2)}),
    "coinbase with an extra": (
        "function of the height",
        {"coinbase": encode_coinbase(1, b"hello")},
    ),
    "coinbase that pays": (
        "function of the height",
        {"coinbase": encode_coinbase(1, b"", [(address_script(DAVE.address), 1)])},
    ),
    "negative height": ("coinbase says 1", {"height": -1000}),
    "height beyond 64 bits of coinbase": ("coinbase says 1", {"height": 2**63}),
    "no snapshot yet": ("not in use", {"snapshot": bytes(32)}),
    "no evidence yet": (
        "not in use",
        {"evidence": ((Vote(0, 1, VoteKind.FIRST, None, 0, bytes(64)),) * 2,)},
    ),
}


@pytest.mark.parametrize("rule", CHECK_BLOCK)
def test_check_block_refuses(chain: Chain, rule: str) -> None:
    reason, changes = CHECK_BLOCK[rule]
    block = chain.block(**changes)
    chain.refuses(BlockInvalid, lambda: chain.add(block), reason=reason, height=block.height)


@pytest.mark.parametrize("field", ["version", "nonce"])
def test_header_fields_are_fixed_in_bft(chain: Chain, field: str) -> None:
    block = chain.block()
    header = msgspec.structs.replace(block.header, **{field: 7})
    other = Block(header, block.coinbase_bytes, block.commitment_bytes, ())
    chain.refuses(BlockInvalid, lambda: chain.add(other), reason="fixed in bft")


def test_block_bytes_max_counts_raws() -> None:
    size = Chain().pay(5).size
    for limit, fits in ((2 * size, True), (2 * size - 1, False)):
        chain = Chain(block_bytes_max=limit, transaction_bytes_max=limit)
        block = chain.block(chain.pay(5), chain.pay(5))
        if fits:
            chain.add(block)
        else:
            reason = f"{2 * size} bytes of transactions, at most {limit}"
            chain.refuses(BlockInvalid, lambda: chain.add(block), reason=reason)  # noqa: B023


def test_a_raw_stands_once(chain: Chain) -> None:
    first, second = chain.pay(5), chain.pay(6)
    block = chain.block(first, second, first)
    chain.refuses(BlockInvalid, lambda: chain.add(block), reason="stands in it twice")


def test_a_body_stands_once_under_whatever_raw(chain: Chain) -> None:
    """Another valid signature of the same Body makes another wtxid but not another payment."""
    transaction = chain.pay(5)
    other = Transaction(transaction.body, (KeyWitness(ALICE.public, bytes(63) + b"\1"),))
    checked = chain.check([transaction])
    checked.append(check_transaction(other, chain.genesis.parameters, chain.genesis.chain_prefix))
    context = block_context(chain.info, chain.genesis)
    chain.refuses(
        BlockTransactionInvalid,
        lambda: execute_block(chain.state, checked, context, chain.info.root, DAVE.address),
        index=1,
        txid=transaction.txid.hex(),
        reason=AlreadyApplied.code,
    )


IN_CONTEXT: dict[str, tuple[str, dict[str, Any]]] = {
    "parent": ("does not stand on block 0", {"parent": b"\1" * 32}),
    "height": ("does not stand on", {"height": 2, "coinbase": encode_coinbase(2)}),
    "time moves": ("less than 1 ms", {"time_ms": TIME_MS, "time": TIME_MS // 1000}),
    "certificate view": ("last certificate", {"last_certificate": (1, bytes(32))}),
    "certificate": ("last certificate", {"last_certificate": None}),
    "view moves": ("view 0 is not after", {"view": 0}),
    "leader proposes": ("not the leader", {"proposer": ALICE.address}),
    "somebody proposes": ("not the leader", {"proposer": None}),
    "validator set": ("validator-set hash", {"validators_hash": bytes(32)}),
}


@pytest.mark.parametrize("rule", IN_CONTEXT)
def test_check_in_context_refuses(chain: Chain, rule: str) -> None:
    reason, changes = IN_CONTEXT[rule]
    block = chain.block(**changes)
    chain.refuses(BlockInvalid, lambda: chain.add(block), reason=reason)


def test_another_state_root_is_named_with_both_roots(chain: Chain) -> None:
    block = chain.block(parent_root=b"\1" * 32)
    ours = chain.info.root.hex()
    chain.refuses(RootMismatch, lambda: chain.add(block), given="01" * 32, ours=ours, height=1)


@pytest.mark.parametrize(("after_ms", "fits"), [(249, False), (250, True)])
def test_min_block_interval(after_ms: int, fits: bool) -> None:
    chain = Chain(min_block_interval_ms=250)
    time_ms = TIME_MS + after_ms
    block = chain.block(time_ms=time_ms, time=time_ms // 1000)
    if fits:
        chain.add(block)
    else:
        chain.refuses(BlockInvalid, lambda: chain.add(block), reason="less than 250 ms")


def test_views_may_be_skipped(chain: Chain) -> None:
    chain.add(chain.block(view=9))
    assert chain.info.view == 9


def test_chain_time_of_a_block_is_its_parents(chain: Chain) -> None:
    """Whoever proposes cannot move a deadline by choosing the block's own time."""
    deadline = TIME_MS + 1
    chain.add(chain.block(chain.pay(1, valid_until=deadline)))
    late = chain.block(chain.pay(1, valid_until=deadline))
    chain.refuses(BlockTransactionInvalid, lambda: chain.add(late), reason="expired")


def test_a_broken_rule_names_transaction_and_cause_and_leaves_no_trace(chain: Chain) -> None:
    broke = chain.pay(1001 * UNIT)
    block = chain.block(chain.pay(1, fee=1), chain.pay(2), broke, chain.pay(3))
    before = dict(chain.rows)
    chain.refuses(
        BlockTransactionInvalid,
        lambda: chain.add(block),
        height=1,
        index=2,
        txid=broke.txid.hex(),
        reason=InsufficientFunds.code,
        cause=str(
            InsufficientFunds(
                address=chain.genesis.addresses.show(ALICE.address),
                asset=SYMBOL,
                available=format_amount(1000 * UNIT - 4),
                needed="1001",
            )
        ),
    )
    assert chain.rows == before
    assert chain.balance(ALICE.address) == 1000 * UNIT
    chain.add(chain.block(chain.pay(1, fee=1)))  # and the chain goes on


def test_block_cost_max(chain: Chain) -> None:
    cost = chain.check([chain.pay(1)])[0].cost
    for limit, fits in ((3 * cost, True), (3 * cost - 1, False)):
        bounded = Chain(block_cost_max=limit)
        block = bounded.block(*(bounded.pay(1) for _ in range(3)))
        if fits:
            bounded.add(block)
        else:
            bounded.refuses(BlockInvalid, lambda: bounded.add(block), reason="block_cost_max")  # noqa: B023


def test_an_error_that_is_no_rule_leaves_no_trace_either(chain: Chain) -> None:
    def broken() -> Any:
        yield chain.check([chain.pay(1)])[0]
        raise OSError("disk")

    context = block_context(chain.info, chain.genesis)
    with pytest.raises(OSError, match="disk"):
        execute_block(chain.state, broken(), context, chain.info.root, DAVE.address)
    assert chain.state.depth == 0
    assert chain.balance(ALICE.address) == 1000 * UNIT


def test_coins_made_and_spent_inside_a_block_leave_no_row(chain: Chain) -> None:
    first = chain.transaction(ALICE, inputs=[pay_in(ALICE, 9)], outputs=[coin_out(BOB, 9)])
    second = chain.transaction(
        BOB, inputs=[CoinInput(first.txid, 0)], outputs=[pay_out(ALICE, 9)], valid_until=None
    )
    executed = chain.add(chain.block(first, second))
    assert {key[:1] for key, _ in executed.delta.writes} == {b"t"}


def test_order_inside_a_block_matters(chain: Chain) -> None:
    to_carol = chain.transaction(ALICE, inputs=[pay_in(ALICE, 7)], outputs=[pay_out(CAROL, 7)])
    onwards = chain.transaction(CAROL, inputs=[pay_in(CAROL, 7)], outputs=[pay_out(BOB, 7)])
    wrong = chain.block(onwards, to_carol)
    chain.refuses(BlockTransactionInvalid, lambda: chain.add(wrong), index=0)
    chain.add(chain.block(to_carol, onwards))
    assert chain.balance(BOB.address) == 7


def test_undone_and_executed_again_is_the_same_block(chain: Chain) -> None:
    block, start = chain.block(chain.pay(5, fee=2)), chain.info
    first = chain.add(block)
    chain.state.undo()
    chain.info = start
    second = chain.add(block)
    assert (first.root, first.delta.writes) == (second.root, second.delta.writes)
