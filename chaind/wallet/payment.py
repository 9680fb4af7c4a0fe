"""From a payment that is wanted to the body that makes it: inputs, change, fee, lease.

Pure. The lease's owner is the account's first address, whatever addresses pay: so a retry finds the
payment by its key even where it would choose other money. A refund's is the address that was paid.
"""

from typing import NamedTuple

from chaind.ledger.checks import LEASE_EXTRA_BYTES, stateful_owners
from chaind.primitives.errors import RuleBroken
from chaind.primitives.genesis import Parameters
from chaind.primitives.hashes import sha256
from chaind.primitives.keys import PUBLIC_KEY_BYTES, SIGNATURE_BYTES
from chaind.primitives.transaction import (
    MEMO_BYTES_MAX,
    NATIVE,
    VERSION,
    AccountInput,
    AccountOutput,
    Body,
    CoinInput,
    CoinOutput,
    KeyWitness,
    Lease,
    Part,
    Transaction,
    payment_intent,
    payout_intent,
    totals,
)
from chaind.wallet.selection import Funds, Selection, select

COIN_INPUT_BYTES = 41  # txid, a large output number, and the arrays around them
SPENDING_BYTES = COIN_INPUT_BYTES + 105  # and a witness: what a coin of its own owner costs later
_DUMMY = KeyWitness(bytes(PUBLIC_KEY_BYTES), bytes(SIGNATURE_BYTES))


class PaymentTooLarge(RuleBroken):
    code = "payment-too-large"
    text = "the payment would have {what} {given}, at most {limit} are allowed"
    advice = "Bring the money together first, by sending parts of it to yourself; or pay in parts."


class MemoTooLarge(RuleBroken):
    code = "memo-too-large"
    text = "the memo has {length} bytes, at most {limit} are allowed"
    advice = "Shorten it, or pay to a hash of what you want to say."


class Order(NamedTuple):
    """A payment that is wanted: `units` of `asset` to `target`, into its account or, where the
    asset is the native one, as a coin. `more` are paid by the same transaction. It has a `lease`
    where that does not follow from its key."""

    target: bytes
    asset: str
    units: int
    memo: bytes
    as_coin: bool
    more: tuple[Part, ...] = ()
    lease: Lease | None = None

    @property
    def parts(self) -> tuple[Part, ...]:
        """All receivers, in order."""
        return (Part(self.target, self.asset, self.units), *self.more)


class Terms(NamedTuple):
    """What the chain and the moment say. `fee_rate` is base units for each byte."""

    parameters: Parameters
    chain_prefix: bytes
    native_symbol: str
    valid_until_ms: int
    salt: bytes
    fee_rate: int


class Plan(NamedTuple):
    """A body ready to be signed by the keys of `owners`, in this order."""

    body: Body
    selection: Selection
    owners: tuple[bytes, ...]
    size: int


def make_lease(owner: bytes, key: str, order: Order) -> Lease:
    """The lease of a payment, the same for every retry with this key; `owner` is the account's
    first address."""
    if order.lease is not None:
        return order.lease
    if order.more:
        intent = payout_intent(owner, order.parts, order.memo)
    else:
        intent = payment_intent(owner, order.target, order.asset, order.units, order.memo)
    return Lease(owner, sha256(key.encode()), intent)


def plan_payment(
    order: Order, funds: Funds, lease: Lease, change_address: bytes, terms: Terms
) -> Plan:
    """The cheapest body for an order, paying the fee of its own size.

    Raises `WalletFundsLacking`, `PaymentTooLarge` or `MemoTooLarge`.
    """
    if len(order.memo) > MEMO_BYTES_MAX:
        raise MemoTooLarge(length=len(order.memo), limit=MEMO_BYTES_MAX)
    rate = max(terms.fee_rate, terms.parameters.min_fee_per_byte)
    # A coin that costs more than it is worth would only make the payment dearer.
    coins = tuple(coin for coin in funds.coins if coin.units > rate * COIN_INPUT_BYTES)
    fee_units = 0
    needs = totals(order.parts)
    while True:
        selection = select(
            funds._replace(coins=coins),
            needs=needs,
            fee_units=fee_units,
            dust_units=rate * SPENDING_BYTES,
            first=lease.owner,
            native_symbol=terms.native_symbol,
        )
        plan = _settle(order, selection, lease, change_address, terms, rate)
        needed = _fee_of(plan, rate)
        if plan.selection.fee_units >= needed:
            _check_limits(plan, terms.parameters)
            return plan
        fee_units = needed  # more than before, and bounded by the largest transaction: it ends


def _settle(
    order: Order,
    selection: Selection,
    lease: Lease,
    change_address: bytes,
    terms: Terms,
    rate: int,
) -> Plan:
    """The body of chosen money: what is beyond the fee comes back, where that is worth a coin."""
    pot = selection.fee_units + selection.change_units
    if selection.coins:
        trial = selection._replace(change_units=max(1, pot))  # no change takes more bytes
        change = pot - _fee_of(_draft(order, trial, lease, change_address, terms), rate)
        if change > rate * SPENDING_BYTES:
            selection = selection._replace(change_units=change, fee_units=pot - change)
            return _draft(order, selection, lease, change_address, terms)
    selection = selection._replace(change_units=0, fee_units=pot)
    return _draft(order, selection, lease, change_address, terms)


def _fee_of(plan: Plan, rate: int) -> int:
    return (plan.size + LEASE_EXTRA_BYTES) * rate


def _draft(
    order: Order,
    selection: Selection,
    lease: Lease,
    change_address: bytes,
    terms: Terms,
) -> Plan:
    inputs: list[AccountInput | CoinInput] = [
        *(AccountInput(*balance) for balance in selection.balances),
        *(CoinInput(coin.txid, coin.output) for coin in selection.coins),
    ]
    outputs: list[AccountOutput | CoinOutput] = [
        CoinOutput(part.target, part.units)
        if order.as_coin and part.asset == NATIVE
        else AccountOutput(*part)
        for part in order.parts
    ]
    if selection.change_units:
        outputs.append(CoinOutput(change_address, selection.change_units))
    body = Body(
        VERSION,
        terms.chain_prefix,
        terms.salt,
        terms.valid_until_ms,
        lease,
        tuple(inputs),
        tuple(outputs),
        None,
        order.memo,
    )
    owners = tuple(stateful_owners(body, (coin.address for coin in selection.coins), None))
    size = Transaction(body, (_DUMMY,) * len(owners)).size
    return Plan(body, selection, owners, size)


def _check_limits(plan: Plan, parameters: Parameters) -> None:
    for what, given, limit in (
        ("inputs", len(plan.body.inputs), parameters.inputs_max),
        ("outputs", len(plan.body.outputs), parameters.outputs_max),
        ("bytes", plan.size, parameters.transaction_bytes_max),
    ):
        if given > limit:
            raise PaymentTooLarge(what=what, given=given, limit=limit)
