"""`execute`: every rule that needs the state, at its boundary, and what an applied one does."""

from collections.abc import Callable
from typing import Any, NamedTuple

import pytest
from ledger_builders import (
    ALICE,
    BOB,
    CAROL,
    CHAIN,
    HEIGHT,
    NOW_MS,
    SYMBOL,
    TREASURY,
    World,
    coin_out,
    make,
    pay_in,
    pay_out,
    payment,
)

from chaind.ledger.checks import check_transaction
from chaind.ledger.errors import (
    AlreadyApplied,
    AssetExists,
    AssetNotMintable,
    AssetUnknown,
    CoinImmature,
    CoinMissing,
    Expired,
    FeeTooLow,
    InsufficientFunds,
    SupplyExceeded,
    Unbalanced,
    ValidTooLong,
    WitnessMismatch,
)
from chaind.ledger.execute import check_on_state
from chaind.ledger.keys import Coin
from chaind.primitives.amounts import AMOUNT_MAX
from chaind.primitives.errors import ChaindError
from chaind.primitives.transaction import (
    AccountInput,
    AccountOutput,
    Burn,
    CoinInput,
    Issue,
    KeyWitness,
    Mint,
    Transaction,
)

WINDOW_MS = 3_600_000
NOWHERE = CoinInput(b"\5" * 32, 9)


class Case(NamedTuple):
    """In the world that `stage` sets up, the transaction it returns breaks `error`."""

    rule: str
    stage: Callable[[World], Transaction]
    error: type[ChaindError]
    values: dict[str, object]


def until(valid_until: int) -> Callable[[World], Transaction]:
    return lambda world: payment(ALICE, BOB, 1, valid_until=valid_until)


def again(world: World) -> Transaction:
    transaction = payment(ALICE, BOB, 1)
    world.apply(transaction)
    return transaction


def spend_twice(world: World) -> Transaction:
    coin = world.coin(ALICE, 5)
    world.apply(make(ALICE, inputs=[coin], outputs=[coin_out(BOB, 5)]))
    return make(ALICE, inputs=[coin], outputs=[coin_out(CAROL, 5)])


def young_coinbase(world: World) -> Transaction:
    coin = world.coin(ALICE, 5, height=HEIGHT - 99, coinbase=True)
    return make(ALICE, inputs=[coin], outputs=[coin_out(BOB, 5)])


def small_coin(world: World) -> Transaction:
    coins = [world.coin(ALICE, 5), world.coin(ALICE, 6)]
    return make(ALICE, inputs=coins, outputs=[coin_out(BOB, 12)])


def beyond_63_bits(world: World) -> Transaction:
    inputs = [world.coin(ALICE, 5), pay_in(ALICE, AMOUNT_MAX)]
    return make(ALICE, inputs=inputs, outputs=[coin_out(BOB, 12)])


def stingy_coin(world: World) -> Transaction:
    world.parameters = World(min_fee_per_byte=1).parameters
    return make(ALICE, inputs=[world.coin(ALICE, 105)], outputs=[coin_out(BOB, 5)])


def foreign_coin(world: World) -> Transaction:
    return make(BOB, inputs=[world.coin(ALICE, 5)], outputs=[coin_out(BOB, 5)])


def coins_out_of_order(world: World) -> Transaction:
    coins = [world.coin(BOB, 5), pay_in(CAROL, 1), world.coin(ALICE, 5), world.coin(BOB, 1)]
    return make(ALICE, BOB, CAROL, inputs=coins, outputs=[coin_out(BOB, 12)])


def spend_own_credit(world: World) -> Transaction:
    ends = {"inputs": [pay_in(ALICE, 101)], "outputs": [pay_out(ALICE, 101)]}
    return make(ALICE, **ends)


def burn_and_pay(world: World) -> Transaction:
    burn = Burn(ALICE.address, "", 60)
    return make(ALICE, inputs=[pay_in(ALICE, 41)], outputs=[pay_out(BOB, 41)], action=burn)


def act(signer: Any, action: Any) -> Callable[[World], Transaction]:
    return lambda world: make(signer, action=action)


def mint_by(*signers: Any) -> Callable[[World], Transaction]:
    return lambda world: make(*signers, action=Mint("GOLD", 1))


REFUSED = [
    Case("expired at chain time", until(NOW_MS), Expired, {"chain_time_ms": NOW_MS}),
    Case("expired before", until(NOW_MS - 1), Expired, {"valid_until": NOW_MS - 1}),
    Case(
        "within the window",
        until(NOW_MS + WINDOW_MS + 1),
        ValidTooLong,
        {"valid_until": NOW_MS + WINDOW_MS + 1, "window_ms": WINDOW_MS},
    ),
    Case("a txid applies once", again, AlreadyApplied, {}),
    Case(
        "balance",
        lambda world: payment(ALICE, BOB, 101),
        InsufficientFunds,
        {"asset": SYMBOL, "available": "0.000001", "needed": "0.00000101"},
    ),
    Case(
        "balance of another asset",
        lambda world: make(
            ALICE, inputs=[pay_in(ALICE, 1, "GOLD")], outputs=[pay_out(BOB, 1, "GOLD")]
        ),
        InsufficientFunds,
        {"asset": "GOLD", "available": "0", "address": ALICE.address.hex()},
    ),
    Case("credits do not fund debits", spend_own_credit, InsufficientFunds, {}),
    Case(
        "burnt and paid from one balance", burn_and_pay, InsufficientFunds, {"needed": "0.00000101"}
    ),
    Case(
        "a coin exists",
        lambda world: make(ALICE, inputs=[NOWHERE]),
        CoinMissing,
        {"outpoint": f"{NOWHERE.txid.hex()}:9"},
    ),
    Case("a coin is spent once", spend_twice, CoinMissing, {}),
    Case(
        "coinbase matures",
        young_coinbase,
        CoinImmature,
        {"height": HEIGHT - 99, "matures": HEIGHT + 1},
    ),
    Case("coins cover outputs", small_coin, Unbalanced, {"inputs": 11, "outputs": 12}),
    Case("native inputs fit 63 bits", beyond_63_bits, Unbalanced, {"inputs": AMOUNT_MAX + 5}),
    Case("coins pay the fee", stingy_coin, FeeTooLow, {"paid": 100}),
    Case(
        "the coin's owner signs", foreign_coin, WitnessMismatch, {"needed": [ALICE.address.hex()]}
    ),
    Case(
        "coin owners in order of first appearance",
        coins_out_of_order,
        WitnessMismatch,
        {"needed": [person.address.hex() for person in (BOB, CAROL, ALICE)]},
    ),
    Case("an asset is issued once", act(BOB, Issue("GOLD", BOB.address, 1, True)), AssetExists, {}),
    Case(
        "nobody issues the native asset",
        act(BOB, Issue(SYMBOL, BOB.address, 1, True)),
        AssetExists,
        {"asset": SYMBOL},
    ),
    Case("mint what exists", act(TREASURY, Mint("TIN", 1)), AssetUnknown, {"asset": "TIN"}),
    Case("fixed supply", act(TREASURY, Mint("RARE", 1)), AssetNotMintable, {"asset": "RARE"}),
    Case("burn what exists", act(ALICE, Burn(ALICE.address, "TIN", 1)), AssetUnknown, {}),
    Case(
        "burn what is there",
        act(ALICE, Burn(ALICE.address, "GOLD", 1)),
        InsufficientFunds,
        {"asset": "GOLD"},
    ),
    Case(
        "supply fits 63 bits",
        act(TREASURY, Mint("GOLD", AMOUNT_MAX - 999)),
        SupplyExceeded,
        {"asset": "GOLD", "supply": AMOUNT_MAX + 1, "limit": AMOUNT_MAX},
    ),
    Case(
        "only the issuer mints",
        mint_by(ALICE),
        WitnessMismatch,
        {"needed": [TREASURY.address.hex()]},
    ),
    Case("somebody signs for minting", mint_by(), WitnessMismatch, {"given": []}),
]


@pytest.fixture
def world() -> World:
    """Alice has 100, the treasury 1000 GOLD which it may mint, and RARE which it may not."""
    world = World().fund(ALICE, 100).asset("GOLD", TREASURY).fund(TREASURY, 1000, "GOLD")
    return world.asset("RARE", TREASURY, mintable=False)


@pytest.mark.parametrize("case", REFUSED, ids=lambda case: case.rule)
def test_refuses(case: Case, world: World) -> None:
    world.refuses(case.stage(world), case.error, **case.values)


@pytest.mark.parametrize("valid_until", [NOW_MS + 1, NOW_MS + WINDOW_MS])
def test_deadline_within_the_window(world: World, valid_until: int) -> None:
    world.apply(payment(ALICE, BOB, 1, valid_until=valid_until))
    assert world.balance(BOB) == 1


def test_a_transaction_is_not_applied_again_under_another_raw(world: World) -> None:
    """The row is keyed by txid: a second witness for the same Body changes nothing."""
    first = payment(ALICE, BOB, 1)
    other = KeyWitness(ALICE.public, ALICE.key.sign(b"\1" * 32))
    second = Transaction(first.body, (other,))
    assert second.wtxid != first.wtxid
    world.apply(first)
    unsigned = check_transaction(second, world.parameters, CHAIN)
    with pytest.raises(AlreadyApplied):
        check_on_state(world.state, unsigned, world.context)


def test_the_whole_balance_can_go_and_its_row_with_it(world: World) -> None:
    receipt = world.apply(payment(ALICE, BOB, 100))
    assert (world.balance(ALICE), world.balance(BOB), receipt.fee) == (0, 100, 0)
    delta = world.state.undo()
    assert [value for key, value in delta.writes if key[:1] == b"a"].count(None) == 1


def test_what_is_not_paid_out_is_the_fee(world: World) -> None:
    receipt = world.apply(make(ALICE, inputs=[pay_in(ALICE, 10)], outputs=[pay_out(BOB, 7)]))
    assert receipt.fee == 3
    assert (world.balance(ALICE), world.balance(BOB)) == (90, 7)


def test_one_transaction_moves_between_coins_and_accounts_with_change(world: World) -> None:
    coin = world.coin(BOB, 50)
    transaction = make(
        ALICE,
        BOB,
        inputs=[pay_in(ALICE, 30), coin],
        outputs=[pay_out(CAROL, 35), coin_out(CAROL, 25), coin_out(BOB, 15)],
    )
    receipt = world.apply(transaction)
    assert receipt.fee == 5
    assert receipt.spent == (Coin(BOB.address, 50, 1, coinbase=False),)
    assert (world.balance(ALICE), world.balance(CAROL)) == (70, 35)
    assert world.coin_at(coin.txid, 0) is None
    assert world.coin_at(transaction.txid, 0) is None
    assert world.coin_at(transaction.txid, 1) == Coin(CAROL.address, 25, HEIGHT, coinbase=False)
    assert world.coin_at(transaction.txid, 2) == Coin(BOB.address, 15, HEIGHT, coinbase=False)


def test_a_coin_made_here_can_be_spent_next(world: World) -> None:
    first = make(ALICE, inputs=[pay_in(ALICE, 9)], outputs=[coin_out(BOB, 9)])
    world.apply(first)
    change = CoinInput(first.txid, 0)
    world.apply(make(BOB, inputs=[change], outputs=[pay_out(CAROL, 9)], valid_until=None))
    assert world.balance(CAROL) == 9


def test_without_valid_until_the_outpoint_prevents_replay(world: World) -> None:
    """Offline signing: applied long after, but once."""
    coin = world.coin(ALICE, 5)
    transaction = make(ALICE, inputs=[coin], outputs=[pay_out(BOB, 5)], valid_until=None)
    world.now_ms += 10 * 365 * 86_400_000
    world.apply(transaction)
    world.refuses(transaction, CoinMissing)


def test_one_witness_serves_several_coins_and_the_account_of_one_owner(world: World) -> None:
    inputs = [world.coin(ALICE, 5), pay_in(ALICE, 5), world.coin(ALICE, 5)]
    world.apply(make(ALICE, inputs=inputs, outputs=[pay_out(BOB, 15)]))
    assert world.balance(BOB) == 15


@pytest.mark.parametrize(("age", "mature"), [(99, False), (100, True), (101, True)])
def test_coinbase_maturity_counts_like_bitcoins(world: World, age: int, mature: bool) -> None:
    coin = world.coin(ALICE, 5, height=HEIGHT - age, coinbase=True)
    transaction = make(ALICE, inputs=[coin], outputs=[coin_out(BOB, 5)])
    if mature:
        world.apply(transaction)
    else:
        world.refuses(transaction, CoinImmature, height=HEIGHT - age, matures=HEIGHT - age + 100)


def test_issue_credits_the_issuer_and_starts_the_supply(world: World) -> None:
    world.apply(make(BOB, action=Issue("TIN", BOB.address, 700, True)))
    assert (world.balance(BOB, "TIN"), world.supply("TIN")) == (700, 700)
    world.apply(make(BOB, action=Mint("TIN", AMOUNT_MAX - 700)))
    assert (world.balance(BOB, "TIN"), world.supply("TIN")) == (AMOUNT_MAX, AMOUNT_MAX)
    world.refuses(make(BOB, action=Mint("TIN", 1)), SupplyExceeded, supply=AMOUNT_MAX + 1)


def test_issue_of_nothing_leaves_only_the_asset(world: World) -> None:
    world.apply(make(BOB, action=Issue("TIN", BOB.address, 0, False)))
    assert (world.balance(BOB, "TIN"), world.supply("TIN")) == (0, 0)
    world.refuses(make(BOB, action=Mint("TIN", 1)), AssetNotMintable)


def test_minting_and_paying_from_one_balance_in_one_transaction(world: World) -> None:
    ends = {"inputs": [pay_in(TREASURY, 400, "GOLD")], "outputs": [pay_out(BOB, 400, "GOLD")]}
    world.apply(make(TREASURY, action=Mint("GOLD", 50), **ends))
    assert world.balance(TREASURY, "GOLD") == 650
    assert (world.balance(BOB, "GOLD"), world.supply("GOLD")) == (400, 1050)


def test_minted_units_cannot_fund_the_transaction_that_mints_them(world: World) -> None:
    ends = {"inputs": [pay_in(TREASURY, 1001, "GOLD")], "outputs": [pay_out(BOB, 1001, "GOLD")]}
    world.refuses(make(TREASURY, action=Mint("GOLD", 50), **ends), InsufficientFunds)


def test_burning_shrinks_the_supply(world: World) -> None:
    world.apply(make(TREASURY, action=Burn(TREASURY.address, "GOLD", 1000)))
    assert (world.balance(TREASURY, "GOLD"), world.supply("GOLD")) == (0, 0)
    fee = make(
        ALICE,
        inputs=[pay_in(ALICE, 10)],
        outputs=[pay_out(BOB, 8)],
        action=Burn(ALICE.address, "", 90),
    )
    assert world.apply(fee).fee == 2  # what is burnt is no fee
    assert (world.balance(ALICE), world.supply()) == (0, 10)


def test_after_the_last_unit_is_burnt_the_symbol_stays_taken(world: World) -> None:
    world.apply(make(TREASURY, action=Burn(TREASURY.address, "GOLD", 1000)))
    world.refuses(make(BOB, action=Issue("GOLD", BOB.address, 1, True)), AssetExists)


def test_check_on_state_writes_nothing(world: World) -> None:
    checked = world.check(payment(ALICE, BOB, 60))
    for _ in range(2):
        assert check_on_state(world.state, checked, world.context).fee == 0
    assert world.balance(ALICE) == 100


def test_the_native_asset_has_one_name_in_state(world: World) -> None:
    """Its symbol is for people; an asset row of that name holds nothing."""
    ends = {
        "inputs": [AccountInput(ALICE.address, SYMBOL, 1)],
        "outputs": [AccountOutput(BOB.address, SYMBOL, 1)],
    }
    world.refuses(make(ALICE, **ends), AssetUnknown, asset=SYMBOL)
