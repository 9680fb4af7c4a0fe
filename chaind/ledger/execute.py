"""`execute`: one checked transaction on the state. All checks come before the first write.

So an error leaves no trace, and a block is a sequence of these between `begin` and `seal`.
"""

from collections.abc import Callable, Sequence
from typing import NamedTuple

import msgspec
from msgspec.structs import replace

from chaind.ledger.checks import Checked, Move, check_fee, check_owners, stateful_owners
from chaind.ledger.errors import (
    AlreadyApplied,
    AssetExists,
    AssetNotMintable,
    AssetUnknown,
    CoinImmature,
    CoinMissing,
    Expired,
    InsufficientFunds,
    LeasesExhausted,
    LeaseTaken,
    SupplyExceeded,
    TooEarly,
    Unbalanced,
    ValidTooLong,
    WitnessInvalid,
)
from chaind.ledger.journal import Reader, State, View
from chaind.ledger.keys import (
    Asset,
    Coin,
    LeaseRow,
    asset_decoder,
    asset_key,
    balance_key,
    coin_key,
    decode_units,
    lease_count_key,
    lease_key,
    ledger_asset,
    supply_key,
)
from chaind.ledger.trading import (
    Booked,
    Refused,
    apply_order,
    check_market_creation,
    needed_reserve,
    settle_events,
)
from chaind.market.events import Event
from chaind.primitives.amounts import AMOUNT_MAX, format_amount
from chaind.primitives.errors import ChaindError
from chaind.primitives.genesis import Parameters
from chaind.primitives.orders import CreateMarket, OrderAction
from chaind.primitives.transaction import NATIVE, Burn, Issue, Mint


class Context(NamedTuple):
    """What a block gives its transactions. `chain_time_ms` is the parent's time in bft."""

    height: int
    chain_time_ms: int
    parameters: Parameters
    native_symbol: str
    show: Callable[[bytes], str] = bytes.hex  # an address as people of this chain write it


class Receipt(msgspec.Struct, frozen=True, gc=False):
    """What applying a transaction found out: its fee, and the coins that it spent, in order.

    `held` is what an order takes from a balance for its reserve, as another of its moves. After
    `execute`, `events` say what an order led to and `booked` what of it changed balances;
    `refused` is what the book has against it, then nothing but its fee was paid.
    """

    checked: Checked
    fee: int
    spent: tuple[Coin, ...]
    held: Move | None = None
    events: tuple[Event, ...] = ()
    booked: tuple[Booked, ...] = ()
    refused: Refused | None = None


def check_on_state(state: View, checked: Checked, context: Context) -> Receipt:
    """Raise the rule that forbids `checked` on this state, cheap to dear; writes nothing."""
    body = checked.transaction.body
    _check_time(state, checked, context)
    if body.lease is not None:
        _check_lease(state, checked, context)
    issuer = _check_action(state, checked, context) if body.action is not None else None
    fee = checked.fee
    spent: tuple[Coin, ...] = ()
    if fee is None:
        spent = _find_coins(state, checked, context)
        native_in = checked.native_account_in + sum(coin.amount for coin in spent)
        fee = native_in - checked.native_out
        if fee < 0 or native_in > AMOUNT_MAX:
            raise Unbalanced(asset="the native asset", inputs=native_in, outputs=checked.native_out)
        check_fee(checked, fee, context.parameters)
    if checked.owners is None:
        owners = stateful_owners(body, (coin.address for coin in spent), issuer)
        check_owners([demand.address for demand in checked.demands], owners)
    if checked.after_ms > context.chain_time_ms:
        raise TooEarly(needed=f"after({checked.after_ms})", now=context.chain_time_ms)
    if checked.has_age:
        _check_ages(checked, spent, context)
    get = state.get
    for key, debit, _, address, asset in checked.moves:
        if debit and decode_units(get(key)) < debit:
            raise _short(state, (key, debit, 0, address, asset), context, taken=0)
    if checked.order is None:
        return Receipt(checked, fee, spent)
    return Receipt(checked, fee, spent, _check_reserve(state, checked, checked.order, context))


def _short(state: Reader, move: Move, context: Context, *, taken: int) -> ChaindError:
    """What a balance cannot pay, after so many units of it are `taken` otherwise."""
    key, debit, _, address, asset = move
    if asset != NATIVE:
        _asset(state, asset)
    return InsufficientFunds(
        address=context.show(address),
        asset=asset or context.native_symbol,
        available=format_amount(decode_units(state.get(key)) - taken),
        needed=format_amount(debit),
    )


def _check_reserve(
    state: View, checked: Checked, order: OrderAction, context: Context
) -> Move | None:
    """Raise what keeps an order out of a block; what it takes from a balance for its reserve."""
    needed = needed_reserve(state.books, order)
    if needed is None:
        return None
    asset = ledger_asset(needed.asset, context.native_symbol)
    key = balance_key(order.owner, asset)
    held = (key, needed.units, 0, order.owner, asset)
    taken = sum(debit for row, debit, _, _, _ in checked.moves if row == key)
    if decode_units(state.get(key)) - taken < needed.units:
        raise _short(state, held, context, taken=taken)
    return held


def execute(state: State, checked: Checked, context: Context) -> Receipt:
    """Apply `checked` whole, or raise the rule that forbids it and leave no trace."""
    receipt = check_on_state(state, checked, context)
    if checked.order is not None:  # what forbids it is raised before the first write
        events, refused = apply_order(state.books, checked.txid, checked.order)
    for key, debit, credit, _, _ in checked.moves:
        state.add(key, credit - debit)
    put = state.put
    if checked.applied_row is not None:
        put(checked.applied_row, b"\1")
    body = checked.transaction.body
    if body.lease is not None:
        _take_lease(state, checked, context)
    for entry in checked.coin_inputs:
        put(coin_key(entry.txid, entry.index), None)
    for index, address, amount in checked.coin_outputs:
        coin = Coin(address, amount, context.height, coinbase=False)
        put(coin_key(checked.txid, index), coin.encode())
    if checked.order is not None:
        booked = settle_events(state, events, context.native_symbol)
        return replace(receipt, events=tuple(events), booked=booked, refused=refused)
    if body.action is not None:
        _perform(state, checked)
    return receipt


def _check_time(state: Reader, checked: Checked, context: Context) -> None:
    valid_until = checked.valid_until
    if valid_until is None:  # its coin inputs prevent replay
        return
    now_ms, window_ms = context.chain_time_ms, context.parameters.validity_window_ms
    if valid_until <= now_ms:
        raise Expired(valid_until=valid_until, chain_time_ms=now_ms)
    if valid_until > now_ms + window_ms:
        raise ValidTooLong(valid_until=valid_until, chain_time_ms=now_ms, window_ms=window_ms)
    assert checked.applied_row is not None
    if state.get(checked.applied_row) is not None:
        raise AlreadyApplied(txid=checked.txid.hex())


def live_lease(state: Reader, owner: bytes, lease_id: bytes, chain_time_ms: int) -> LeaseRow | None:
    """The lease while it is remembered, None once it is free."""
    return _live_lease_row(state, lease_key(owner, lease_id), chain_time_ms)


def _live_lease_row(state: Reader, key: bytes, chain_time_ms: int) -> LeaseRow | None:
    value = state.get(key)
    if value is None:
        return None
    row = LeaseRow.decode(value)
    return row if row.expiry_ms > chain_time_ms else None


def _check_lease(state: Reader, checked: Checked, context: Context) -> None:
    """Raise unless the lease is free and its owner may take one more."""
    lease = checked.transaction.body.lease
    now_ms, parameters = context.chain_time_ms, context.parameters
    assert lease is not None
    assert checked.lease_row is not None
    held = _live_lease_row(state, checked.lease_row, now_ms)
    if held is not None:
        raise LeaseTaken(id=lease.id.hex(), txid=held.txid.hex(), intent=held.intent.hex())
    count = decode_units(state.get(lease_count_key(now_ms // parameters.lease_ms, lease.owner)))
    if count >= parameters.leases_per_owner_max:
        raise LeasesExhausted(count=count, limit=parameters.leases_per_owner_max)


def _take_lease(state: State, checked: Checked, context: Context) -> None:
    lease = checked.transaction.body.lease
    now_ms, lease_ms = context.chain_time_ms, context.parameters.lease_ms
    assert lease is not None
    assert checked.lease_row is not None
    state.put(checked.lease_row, LeaseRow(now_ms + lease_ms, checked.txid, lease.intent).encode())
    state.add(lease_count_key(now_ms // lease_ms, lease.owner), 1)


def _find_coins(state: Reader, checked: Checked, context: Context) -> tuple[Coin, ...]:
    coins = []
    for entry in checked.coin_inputs:
        value = state.get(coin_key(entry.txid, entry.index))
        if value is None:
            raise CoinMissing(outpoint=f"{entry.txid.hex()}:{entry.index}")
        coin = Coin.decode(value)
        matures = coin.height + context.parameters.coinbase_maturity
        if coin.coinbase and context.height < matures:
            raise CoinImmature(height=coin.height, matures=matures)
        coins.append(coin)
    return tuple(coins)


def _check_ages(checked: Checked, spent: Sequence[Coin], context: Context) -> None:
    for index, demand in enumerate(checked.demands):
        if demand.older_blocks:
            _check_age(checked, index, spent, context)


def _check_age(checked: Checked, index: int, spent: Sequence[Coin], context: Context) -> None:
    """older(…) of witness `index` holds for coins alone, and for every coin of that owner."""
    owner, blocks = checked.demands[index].address, checked.demands[index].older_blocks
    if any(debit and address == owner for _, debit, _, address, _ in checked.moves):
        raise WitnessInvalid(index=index, reason="older(…) cannot spend from an account")
    coins = [coin for coin in spent if coin.address == owner]
    if not coins:
        raise WitnessInvalid(index=index, reason="older(…) needs a coin")
    for coin in coins:
        if context.height - coin.height < blocks:
            raise TooEarly(needed=f"older({blocks})", now=context.height - coin.height)


def _asset(state: Reader, symbol: str) -> Asset:
    value = state.get(asset_key(symbol))
    if value is None:
        raise AssetUnknown(asset=symbol)
    return asset_decoder.decode(value)


def _check_action(state: View, checked: Checked, context: Context) -> bytes | None:
    """Check the action on the state; the issuer where only the state knows who must sign."""
    action = checked.transaction.body.action
    match action:
        case Issue(symbol):
            if symbol == context.native_symbol or state.get(asset_key(symbol)) is not None:
                raise AssetExists(asset=symbol)
        case Mint(symbol, amount):
            asset = _asset(state, symbol)
            if not asset.mintable:
                raise AssetNotMintable(asset=symbol)
            supply = decode_units(state.get(supply_key(symbol))) + amount
            if supply > AMOUNT_MAX:
                raise SupplyExceeded(asset=symbol, supply=supply, limit=AMOUNT_MAX)
            return asset.issuer
        case Burn(_, symbol):
            if symbol != NATIVE:
                _asset(state, symbol)
        case CreateMarket():
            check_market_creation(state, action, context.native_symbol)
    return None


def _perform(state: State, checked: Checked) -> None:
    match checked.transaction.body.action:
        case Issue(symbol, issuer, amount, mintable):
            state.put(asset_key(symbol), Asset(issuer, mintable).encode())
            state.add(balance_key(issuer, symbol), amount)
            state.add(supply_key(symbol), amount)
        case Mint(symbol, amount):
            state.add(balance_key(_asset(state, symbol).issuer, symbol), amount)
            state.add(supply_key(symbol), amount)
        case Burn(_, symbol, amount):  # the debit is one of the moves
            state.add(supply_key(symbol), -amount)
        case CreateMarket(_, market):
            state.books.list_market(market)
