"""Refunds: what a payee gives back of a final payment, to whoever paid it, and never more.

Law: refunds of a payment by one payee are numbered, and number N is only asked for where N-1 is
final. Its transaction holds the lease of that number, so that of two nodes that are asked at once
one makes it, and whoever makes the next one has counted it: the sum never exceeds the payment.
That holds after the lease is forgotten too, since a node that has not seen refund N is at most a
validity window behind, or its transaction is refused, and leases live longer than that.

The Idempotency-Key of a refund stands in its memo: a retry finds it on any node, however late.
"""

from collections.abc import Callable
from typing import NamedTuple

from chaind.node.payments import (
    FINAL_WAIT_MS,
    InFlight,
    KeyReused,
    Payment,
    Payments,
    Spending,
    check_key,
    check_memo,
)
from chaind.node.queries import Queries
from chaind.primitives.amounts import format_amount
from chaind.primitives.errors import Conflict, Malformed, NotAllowed, RuleBroken, Temporary
from chaind.primitives.references import (
    REFUND_KEY_BYTES,
    REFUNDS_MAX,
    RefundMemo,
    refund_key,
    refund_lease_id,
    refund_memo,
    refund_of,
    refund_reference,
    refund_text,
)
from chaind.primitives.transaction import NATIVE, Lease, Part, Transaction, payment_intent
from chaind.storage.chain_store import ChainStore
from chaind.storage.indexes import paid_by
from chaind.storage.schema import TransactionRow

ROUNDS_MAX = 16  # of other refunds of one payment that come first, until the caller is told
PAYEES_MAX = 64  # of a payment whose refunds are looked for by payee: under a millisecond
SHOWN_MAX = 100  # refunds of all payees together


class RefundTooEarly(Conflict, Temporary):
    code = "refund-too-early"
    text = "payment {txid} is {status}: only what is final can be given back"
    advice = "Ask again when it is final."


class RefundOfNothing(RuleBroken):
    code = "refund-of-nothing"
    text = "payment {txid} is {status} and will never apply: there is nothing to give back"
    advice = "GET /api/v1/transactions/ID says what became of it."


class RefundNotYours(NotAllowed):
    code = "refund-not-yours"
    text = "payment {txid} brought {who} nothing: only who was paid gives back"
    advice = "Name the account that was paid, or make a payment of its own."


class RefundPayeeUnclear(Malformed):
    code = "refund-payee-unclear"
    text = "payment {txid} paid {count} addresses: say in from which of them gives back"
    advice = "GET /api/v1/transactions/ID shows its outputs."


class RefundAssetUnclear(Malformed):
    code = "refund-asset-unclear"
    text = "payment {txid} brought {count} assets: say in asset which one is given back"
    advice = "Ask for one refund for each of them."


class RefundExceeds(RuleBroken):
    code = "refund-exceeds"
    text = (
        "{asked} {asset} of payment {txid} cannot be given back: {paid} were paid, {left} are left"
    )
    advice = "Ask for no more than is left; an ordinary payment can give more."


class RefundsFull(RuleBroken):
    code = "refunds-full"
    text = "payment {txid} has had {limit} refunds, the most that one can have"
    advice = "Give back the rest by an ordinary payment."


class RefundOrder(NamedTuple):
    """What is to be given back. `source` may be left out where it is clear, `units` is None for
    all that is left, `asset` None for the only one that was paid."""

    txid: bytes
    source: str | int | None
    units: int | None
    asset: str | None
    text: bytes
    key: str | None


class Given(NamedTuple):
    """A final refund. `sums` are the base units by asset that it brought the payer."""

    txid: bytes
    memo: RefundMemo
    text: bytes
    sums: dict[str, int]
    height: int
    time_ms: int


class RefundState(NamedTuple):
    """What the final chain says of a payment and one payee; `paid` is what it brought, by asset."""

    txid: bytes
    payer: bytes
    payee: bytes
    paid: dict[str, int]
    given: tuple[Given, ...]

    @property
    def number(self) -> int:
        """Of the next refund."""
        return 1 + max((one.memo.number for one in self.given), default=0)

    def given_units(self, asset: str) -> int:
        """What was given back."""
        return sum(one.sums.get(asset, 0) for one in self.given)

    def left_units(self, asset: str) -> int:
        """What can still be given back."""
        return max(0, self.paid.get(asset, 0) - self.given_units(asset))

    def made_with(self, key: bytes) -> Given | None:
        """The refund of a key."""
        return next((one for one in self.given if one.memo.key == key), None)


class Refund(NamedTuple):
    """A refund that was made or found: its payment, and what it says."""

    payment: Payment
    number: int
    asset: str
    units: int


class Refunds:
    """See the module's law."""

    def __init__(
        self,
        *,
        payments: Payments,
        queries: Queries,
        store: ChainStore,
        entropy: Callable[[int], bytes],
        show: Callable[[bytes], str],
    ) -> None:
        self._payments = payments
        self._queries = queries
        self._store = store
        self._entropy = entropy
        self._show = show

    async def refund(self, order: RefundOrder) -> Refund:
        """Give back, once for a key, and be final; `InFlight` where that takes too long.

        Raises the leaves of this module, and what `Payments.spend` raises.
        """
        key = self._key(order)
        source = self._source(order)
        payee = self._payments.resolve(source)
        for _ in range(ROUNDS_MAX):
            state = self.state(order.txid, payee)
            if (earlier := state.made_with(key)) is not None:
                return await self._found(order, state, earlier)
            asset, units = self._share(order, state)
            spending = self._plan(order, source, state, Part(state.payer, asset, units), key)
            try:
                payment = await self._payments.spend(spending)
            except KeyReused as rival:  # another refund of this payment has the number
                txid = bytes.fromhex(str(rival.values["txid"]))
                info = await self._payments.wait_final(txid, FINAL_WAIT_MS)
                if info.status in ("pending", "included"):
                    raise InFlight(txid=txid.hex(), why="Another refund comes first") from rival
            else:
                return Refund(payment, state.number, asset, units)
        raise InFlight(txid=txid.hex(), why="Other refunds of the same payment come first")

    def state(self, txid: bytes, payee: bytes) -> RefundState:
        """What can be said of a final payment and one payee.

        Raises `TransactionUnknown`, `RefundTooEarly`, `RefundOfNothing`, `RefundNotYours`,
        `RefundsFull`.
        """
        row = self._final_row(txid)
        paid = paid_by(row).get(payee, {})
        if not paid or payee == row.payer:
            raise RefundNotYours(txid=txid.hex(), who=self._show(payee))
        given = self._given(txid, row.payer, payee, REFUNDS_MAX + 1)
        if len(given) > REFUNDS_MAX:
            raise RefundsFull(txid=txid.hex(), limit=REFUNDS_MAX)
        return RefundState(txid, row.payer, payee, paid, given)

    def of_payment(self, txid: bytes) -> list[tuple[bytes, Given]] | None:
        """(payee, refund) of all refunds of a final payment, by payee; None where they are more
        than `SHOWN_MAX`, or may be of more than `PAYEES_MAX`."""
        row = self._final_row(txid)
        payees = [address for address in paid_by(row) if address != row.payer]
        if len(payees) > PAYEES_MAX:
            return None
        found: list[tuple[bytes, Given]] = []
        for payee in payees:
            found += (
                (payee, given) for given in self._given(txid, row.payer, payee, SHOWN_MAX + 1)
            )
            if len(found) > SHOWN_MAX:
                return None
        return found

    def refunded_by(self, refund: Transaction) -> RefundMemo | None:
        """Which payment a transaction gives back; None where it is no refund of a final one."""
        memo, lease = refund_of(refund.body.memo), refund.body.lease
        if memo is None or lease is None:
            return None
        payment = self._store.transaction_row(memo.txid)
        if payment is None or lease.owner not in paid_by(payment) or lease.owner == payment.payer:
            return None
        return memo if lease.id == refund_lease_id(memo.txid, memo.number) else None

    def _key(self, order: RefundOrder) -> bytes:
        if order.key is None:
            return self._entropy(REFUND_KEY_BYTES)
        check_key(order.key)
        return refund_key(order.txid, order.key)

    def _source(self, order: RefundOrder) -> str | int:
        """Who gives back: as the order says, else the only one that was paid, or whose name is
        kept here."""
        if order.source is not None:
            return order.source
        row = self._final_row(order.txid)
        paid = [address for address in paid_by(row) if address != row.payer]
        named = [address for address in paid if self._payments.name_of(address) is not None]
        for chosen in (named, paid):
            if len(chosen) == 1:
                return self._show(chosen[0])
        raise RefundPayeeUnclear(txid=order.txid.hex(), count=len(paid))

    def _final_row(self, txid: bytes) -> TransactionRow:
        if (row := self._store.transaction_row(txid)) is not None:
            return row
        status = self._queries.transaction(txid).status
        if status in ("pending", "included"):
            raise RefundTooEarly(txid=txid.hex(), status=status)
        raise RefundOfNothing(txid=txid.hex(), status=status)

    def _given(self, txid: bytes, payer: bytes, payee: bytes, limit: int) -> tuple[Given, ...]:
        rows = self._store.referring(payee, refund_reference(txid), None, limit)
        found: list[Given] = []
        for made, row in rows:
            memo = refund_of(row.memo)
            assert memo is not None, "or it would not be among these rows"
            sums = paid_by(row).get(payer, {})
            found.append(Given(made, memo, refund_text(row.memo), sums, row.height, row.time_ms))
        return tuple(found)

    def _share(self, order: RefundOrder, state: RefundState) -> tuple[str, int]:
        """Asset and units of the next refund. Raises `RefundAssetUnclear`, `RefundExceeds`."""
        if order.asset is None and len(state.paid) > 1:
            raise RefundAssetUnclear(txid=order.txid.hex(), count=len(state.paid))
        asset = next(iter(state.paid)) if order.asset is None else order.asset
        left = state.left_units(asset)
        units = left if order.units is None else order.units
        if not 0 < units <= left:
            raise RefundExceeds(
                asked=format_amount(units) if units else "nothing",
                asset=self._queries.symbol(asset),
                txid=order.txid.hex(),
                paid=format_amount(state.paid.get(asset, 0)),
                left=format_amount(left),
            )
        return asset, units

    def _plan(
        self, order: RefundOrder, source: str | int, state: RefundState, part: Part, key: bytes
    ) -> Spending:
        """The payment that is the next refund."""
        if state.number > REFUNDS_MAX:
            raise RefundsFull(txid=order.txid.hex(), limit=REFUNDS_MAX)
        memo = refund_memo(RefundMemo(order.txid, state.number, key), order.text)
        check_memo(memo)
        lease = Lease(
            state.payee,
            refund_lease_id(order.txid, state.number),
            payment_intent(state.payee, part.target, part.asset, part.units, memo),
        )
        return Spending(source, state.payee, (part,), memo, lease)

    async def _found(self, order: RefundOrder, state: RefundState, earlier: Given) -> Refund:
        """The refund of an earlier request with this key. Raises `KeyReused` where it asked for
        something else."""
        asset, units = next(iter(earlier.sums.items()), (NATIVE, 0))
        same = (
            order.text == earlier.text
            and order.units in (None, units)
            and order.asset in (None, asset)
        )
        if not same:
            raise KeyReused(txid=earlier.txid.hex())
        number = earlier.memo.number
        lease = Lease(state.payee, refund_lease_id(order.txid, number), b"")
        return Refund(await self._payments.applied(lease, earlier.txid), number, asset, units)
