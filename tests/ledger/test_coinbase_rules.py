"""The pow shape: a coinbase that pays coins, within what is due, maturing like Bitcoin's."""

import pytest
from ledger_builders import (
    BOB,
    CAROL,
    DAVE,
    pay_out,
)
from ledger_chain import Chain

from chaind.ledger.block import block_context, execute_block, subsidy
from chaind.ledger.errors import BlockInvalid, BlockTransactionInvalid, CoinImmature
from chaind.ledger.keys import Coin
from chaind.primitives.amounts import AMOUNT_MAX, UNIT, format_amount
from chaind.primitives.coinbase import encode_coinbase, parse_coinbase
from chaind.primitives.genesis import GenesisInvalid, Parameters
from chaind.primitives.hashes import sha256d
from chaind.primitives.transaction import CoinInput


def test_pow_coinbase_pays_coins_that_mature() -> None:
    chain = Chain(subsidy_units=50, coinbase_maturity=3)
    executed = chain.mine([(CAROL, 30), (DAVE, 22)], chain.pay(10, fee=2))
    assert executed.fees == 2
    paid = [Coin.decode(value) for key, value in executed.delta.writes if key[:1] == b"c" and value]
    assert sorted(paid, key=lambda coin: coin.amount) == [
        Coin(DAVE.address, 22, 1, coinbase=True),
        Coin(CAROL.address, 30, 1, coinbase=True),
    ]
    assert chain.supply() == 1003 * UNIT + 50
    txid = next(key[1:33] for key, _ in executed.delta.writes if key[:1] == b"c")
    spend = chain.transaction(
        CAROL, inputs=[CoinInput(txid, 0)], outputs=[pay_out(BOB, 30)], valid_until=None
    )
    chain.refuses(
        BlockTransactionInvalid,
        lambda: chain.mine([(DAVE, 1)], spend, at=3),
        reason=CoinImmature.code,
    )
    chain.mine([(DAVE, 1)], spend, at=4)
    assert chain.balance(BOB.address) == 40


@pytest.mark.parametrize(("claimed", "supply"), [(52, 50), (51, 49), (2, 0), (1, -1), (0, -2)])
def test_unclaimed_value_counts_as_burnt(claimed: int, supply: int) -> None:
    chain = Chain(subsidy_units=50)
    chain.mine([(CAROL, claimed)] if claimed else [], chain.pay(10, fee=2))
    assert chain.supply() == 1003 * UNIT + supply


def test_pow_coinbase_claims_at_most_subsidy_and_fees() -> None:
    chain = Chain(subsidy_units=50)
    chain.refuses(
        BlockInvalid,
        lambda: chain.mine([(CAROL, 50), (DAVE, 3)], chain.pay(10, fee=2)),
        reason="coinbase claims 53, 52 are due",
    )
    chain.refuses(
        BlockInvalid,
        lambda: chain.mine([(CAROL, AMOUNT_MAX), (CAROL, AMOUNT_MAX)]),
        reason=f"claims {2 * AMOUNT_MAX}",
    )


def test_pow_coinbase_says_its_height() -> None:
    chain = Chain()
    raw = encode_coinbase(2, b"/pool/")
    coinbase = (sha256d(raw), parse_coinbase(raw))
    context = block_context(chain.info, chain.genesis)
    chain.refuses(
        BlockInvalid,
        lambda: execute_block(chain.state, [], context, chain.info.root, None, coinbase),
        reason="coinbase says 2 (BIP-34)",
        height=1,
    )


def test_subsidy_halves() -> None:
    parameters = Parameters(subsidy_units=50 * UNIT, halving_interval=210_000)
    heights = (0, 209_999, 210_000, 419_999, 420_000, 33 * 210_000, 64 * 210_000, 10**15)
    assert [subsidy(height, parameters) for height in heights] == [
        50 * UNIT,
        50 * UNIT,
        25 * UNIT,
        25 * UNIT,
        12 * UNIT + UNIT // 2,
        0,
        0,
        0,
    ]


def test_a_genesis_whose_subsidies_would_exceed_63_bits_is_refused() -> None:
    room = AMOUNT_MAX - 3 * UNIT
    with pytest.raises(GenesisInvalid, match="supply of native is too big"):
        Chain(supply=format_amount(room), subsidy_units=1)
