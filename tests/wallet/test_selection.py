"""Coin selection and planning, for all funds: nothing is lost, made, split or paid twice."""

from itertools import combinations

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from chaind.ledger.checks import LEASE_EXTRA_BYTES, check_transaction, verify_signatures
from chaind.primitives.address import key_address
from chaind.primitives.genesis import Parameters
from chaind.primitives.keys import SecretKey
from chaind.primitives.transaction import (
    NATIVE,
    AccountInput,
    CoinInput,
    CoinOutput,
    Lease,
    Part,
    totals,
)
from chaind.wallet.builder import sign
from chaind.wallet.payment import (
    SPENDING_BYTES,
    MemoTooLarge,
    Order,
    PaymentTooLarge,
    Plan,
    Terms,
    make_lease,
    plan_payment,
)
from chaind.wallet.selection import Balance, Funds, Spendable, WalletFundsLacking, select

KEYS = [SecretKey(bytes([1, *bytes(30), index])) for index in range(1, 5)]
ADDRESSES = [key_address(key.public) for key in KEYS]
BY_ADDRESS = dict(zip(ADDRESSES, KEYS, strict=True))
OWNER, CHANGE, TARGET = ADDRESSES[0], b"\xcc" * 20, b"\xdd" * 20
OTHER = b"\xee" * 20
GOLD = "GOLD"
CHANGE_BYTES_MAX = 33  # an output of 20 + 9 bytes and the arrays around it
PARAMETERS = Parameters()

units = st.one_of(st.integers(1, 2_000), st.integers(1, 10**12))
balances = st.dictionaries(
    st.tuples(st.sampled_from(ADDRESSES), st.sampled_from([NATIVE, GOLD])), units, max_size=6
).map(lambda rows: tuple(Balance(*row, amount) for row, amount in rows.items()))
coins = st.lists(st.tuples(st.sampled_from(ADDRESSES), units), max_size=12).map(
    lambda rows: tuple(
        Spendable(bytes([number]) * 32, number, address, amount)
        for number, (address, amount) in enumerate(rows)
    )
)
all_funds = st.builds(Funds, balances, coins)


def terms(rate: int, parameters: Parameters = PARAMETERS) -> Terms:
    return Terms(
        parameters=parameters,
        chain_prefix=bytes(8),
        native_symbol="COIN",
        valid_until_ms=1_800_000_000_000,
        salt=bytes(8),
        fee_rate=rate,
    )


def plan(order: Order, funds: Funds, rate: int, parameters: Parameters = PARAMETERS) -> Plan:
    lease = make_lease(OWNER, "key", order)
    return plan_payment(order, funds, lease, CHANGE, terms(rate, parameters))


def native(funds: Funds) -> int:
    held = sum(balance.units for balance in funds.balances if balance.asset == NATIVE)
    return held + sum(coin.units for coin in funds.coins)


def check_conservation(found: Plan, funds: Funds, order: Order, rate: int) -> None:
    """What the module's law says, told again from the body."""
    there = {(balance.address, balance.asset): balance.units for balance in funds.balances}
    chest = {(coin.txid, coin.output): coin for coin in funds.coins}
    taken = {NATIVE: 0, GOLD: 0}
    spent = [entry for entry in found.body.inputs if isinstance(entry, CoinInput)]
    assert len(set(spent)) == len(spent)
    for entry in found.body.inputs:
        if isinstance(entry, AccountInput):
            assert 0 < entry.amount <= there.pop((entry.address, entry.asset))
            taken[entry.asset] += entry.amount
        else:
            taken[NATIVE] += chest[entry.txid, entry.index].units
    outputs, count = list(found.body.outputs), len(order.parts)
    rest = outputs[count:]
    for output, part in zip(outputs[:count], order.parts, strict=True):
        assert (output.address, output.amount) == (part.target, part.units)
        assert isinstance(output, CoinOutput) is (order.as_coin and part.asset == NATIVE)
    change = sum(output.amount for output in rest)
    assert [CoinOutput(CHANGE, change)] * bool(change) == rest
    fee = found.selection.fee_units
    due = {NATIVE: 0, GOLD: 0, **totals(order.parts)}
    assert taken == {NATIVE: due[NATIVE] + fee + change, GOLD: due[GOLD]}
    # The fee is that of its own size, and at most a change beyond, too small to be worth having.
    needed = (found.size + LEASE_EXTRA_BYTES) * rate
    dust = rate * SPENDING_BYTES
    assert change == 0 or change > dust
    assert needed <= fee
    if change or not found.selection.coins:
        assert fee <= needed + rate * 8  # an amount may take fewer bytes than one tried before
    else:
        assert fee <= needed + dust + rate * CHANGE_BYTES_MAX


more = st.lists(
    st.builds(Part, st.just(OTHER), st.sampled_from([NATIVE, GOLD]), units), max_size=3
).map(tuple)
leases = st.sampled_from([None, Lease(ADDRESSES[1], bytes(32), bytes(32))])  # a refund's
orders = st.builds(
    Order,
    target=st.just(TARGET),
    asset=st.sampled_from([NATIVE, NATIVE, GOLD]),
    units=units,
    memo=st.binary(max_size=20),
    as_coin=st.just(False),
    more=more,
    lease=leases,
) | st.builds(
    Order,
    target=st.just(TARGET),
    asset=st.just(NATIVE),
    units=units,
    memo=st.just(b""),
    as_coin=st.just(True),
    more=more,
    lease=leases,
)


@settings(max_examples=300)
@given(funds=all_funds, order=orders, rate=st.sampled_from([0, 1, 3, 50]))
def test_plans_conserve_money_and_are_what_the_ledger_takes(
    funds: Funds, order: Order, rate: int
) -> None:
    try:
        found = plan(order, funds, rate)
    except WalletFundsLacking:
        most = 800 + (len(funds.balances) + len(funds.coins)) * 150
        due = {NATIVE: 0, GOLD: 0, **totals(order.parts)}
        held = sum(balance.units for balance in funds.balances if balance.asset == GOLD)
        if held >= due[GOLD]:
            # Everything together, with the fee of the largest transaction it could take.
            assert native(funds) < due[NATIVE] + most * rate
        return
    check_conservation(found, funds, order, rate)
    transaction = sign(found.body, *(BY_ADDRESS[owner] for owner in found.owners))
    assert transaction.size == found.size
    checked = check_transaction(
        transaction, msgspec.structs.replace(PARAMETERS, min_fee_per_byte=rate), bytes(8)
    )
    verify_signatures(checked)
    assert (order.lease.owner if order.lease is not None else OWNER) in found.owners


@settings(max_examples=150)
@given(coins=coins, wanted=units, dust=st.sampled_from([0, 100]))
def test_an_exact_set_of_coins_is_found_where_there_is_one(
    coins: tuple[Spendable, ...], wanted: int, dust: int
) -> None:
    def go() -> tuple[Spendable, ...]:
        found = select(
            Funds((), coins), needs={NATIVE: wanted}, fee_units=0, dust_units=dust,
            first=OWNER, native_symbol="COIN",
        )  # fmt: skip
        assert sum(coin.units for coin in found.coins) == (
            wanted + found.change_units + found.fee_units
        )
        assert found.fee_units <= dust
        return found.coins

    if sum(coin.units for coin in coins) < wanted:
        with pytest.raises(WalletFundsLacking):
            go()
        return
    chosen = go()
    exact = any(
        wanted <= sum(coin.units for coin in part) <= wanted + dust
        for size in range(1, min(3, len(coins)) + 1)
        for part in combinations(coins, size)
    )
    if exact:
        assert sum(coin.units for coin in chosen) <= wanted + dust
    for coin in chosen:  # none of them is there for nothing
        assert sum(other.units for other in chosen) - coin.units < wanted


def coin(units: int, number: int = 0, owner: bytes = OWNER) -> Spendable:
    return Spendable(bytes([number]) * 32, number, owner, units)


def pay(units: int, *, asset: str = NATIVE) -> Order:
    return Order(TARGET, asset, units, b"", as_coin=False)


def test_balances_pay_before_coins_and_the_owners_first() -> None:
    funds = Funds((Balance(ADDRESSES[1], NATIVE, 900), Balance(OWNER, NATIVE, 100)), (coin(1_000),))
    assert plan(pay(150), funds, 0).body.inputs == (
        AccountInput(OWNER, NATIVE, 100),
        AccountInput(ADDRESSES[1], NATIVE, 50),
    )


def test_what_coins_give_too_much_stays_in_the_accounts() -> None:
    funds = Funds((Balance(OWNER, NATIVE, 100),), (coin(1_000),))
    found = plan(pay(1_050), funds, 0)
    assert found.body.inputs == (AccountInput(OWNER, NATIVE, 50), CoinInput(bytes(32), 0))
    assert found.selection.change_units == 0


def test_the_smallest_coin_that_is_enough_is_spent_else_the_largest_ones() -> None:
    chest = tuple(coin(amount, number) for number, amount in enumerate((70, 30, 50, 11)))
    one = plan(pay(40), Funds((), chest), 0)
    assert [entry.units for entry in one.selection.coins] == [50]
    assert one.selection.change_units == 10
    two = plan(pay(119), Funds((), chest), 0)
    assert [entry.units for entry in two.selection.coins] == [70, 50]


def test_dust_goes_to_the_fee_and_more_comes_back() -> None:
    rate, amount = 2, 1_000
    dust = rate * SPENDING_BYTES
    with_change = plan(pay(amount), Funds((), (coin(11_000),)), rate).selection.fee_units
    without = with_change - rate * 27  # the bytes of such a change output

    def paid(units: int) -> tuple[int, int]:
        found = plan(pay(amount), Funds((), (coin(amount + units),)), rate).selection
        return found.fee_units, found.change_units

    assert paid(without) == (without, 0)
    assert paid(with_change + dust) == (with_change + dust, 0)
    assert paid(with_change + dust + 1) == (with_change, dust + 1)
    with pytest.raises(WalletFundsLacking):
        paid(without - 1)


def test_the_lease_is_the_accounts_whatever_pays() -> None:
    funds = Funds((), (coin(500, 1, ADDRESSES[2]),))
    found = plan(pay(500), funds, 0)
    assert found.owners == (ADDRESSES[2], OWNER)
    lease = found.body.lease
    assert isinstance(lease, Lease)
    assert lease == make_lease(OWNER, "key", pay(500))
    assert make_lease(OWNER, "other", pay(500)).id != lease.id
    assert make_lease(OWNER, "key", pay(501)).intent != lease.intent


def test_another_asset_is_paid_with_its_balance_and_the_fee_with_native_units() -> None:
    funds = Funds((Balance(OWNER, GOLD, 7), Balance(OWNER, NATIVE, 10_000)), ())
    found = plan(pay(5, asset=GOLD), funds, 1)
    assert found.body.inputs[0] == AccountInput(OWNER, GOLD, 5)
    assert found.body.inputs[1].amount == found.selection.fee_units == found.size + 128
    with pytest.raises(WalletFundsLacking, match=r"holds 0\.00000007 of GOLD .*0\.00000008 are"):
        plan(pay(8, asset=GOLD), funds, 1)
    with pytest.raises(WalletFundsLacking, match=r"of COIN .* of them for the fee"):
        plan(pay(5, asset=GOLD), Funds(funds.balances[:1], ()), 1)


def test_too_many_inputs_are_refused_with_the_way_out() -> None:
    many = tuple(Spendable(number.to_bytes(32, "big"), 0, OWNER, 10) for number in range(300))
    with pytest.raises(PaymentTooLarge, match="inputs 300, at most 256"):
        plan(pay(3_000), Funds((), many), 0)
    small = msgspec.structs.replace(PARAMETERS, transaction_bytes_max=5_000)
    with pytest.raises(PaymentTooLarge, match="bytes"):
        plan(pay(2_500), Funds((), many), 0, small)


def test_a_long_memo_is_refused() -> None:
    with pytest.raises(MemoTooLarge, match="257 bytes"):
        plan(pay(1)._replace(memo=b"x" * 257), Funds((Balance(OWNER, NATIVE, 1),), ()), 0)


def test_coins_that_cost_more_than_they_are_worth_stay() -> None:
    chest = (coin(5_000, 0), coin(41, 1), coin(42, 2))
    with pytest.raises(WalletFundsLacking, match=r"holds 0\.00005042 of COIN"):
        plan(pay(5_010), Funds((), chest), 1)


def test_the_search_for_an_exact_set_is_bounded() -> None:
    """Thirty like coins and a sum that none of 2³⁰ sets has."""
    chest = tuple(coin(2 * 10**6, number) for number in range(30))
    found = plan(pay(10**6 * 21 + 1), Funds((), chest), 0)
    assert len(found.selection.coins) == 11
