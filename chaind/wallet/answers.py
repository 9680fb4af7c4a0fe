"""What nodes answer, as types. Fields that a newer node adds are passed over.

Amounts are base units here, parsed from the decimal strings of the API.
"""

from collections.abc import Mapping
from typing import Annotated, Any, NamedTuple

import msgspec

from chaind.primitives.amounts import AmountInvalid, parse_amount
from chaind.wallet.errors import NodeSilent, shown

Hex32 = Annotated[str, msgspec.Meta(pattern="^[0-9a-f]{64}$")]
Count = Annotated[int, msgspec.Meta(ge=0, le=2**53)]


class _Answer(msgspec.Struct, frozen=True, kw_only=True):
    pass


class NodeStatus(_Answer, frozen=True):
    """Where a node stands. `time_ms` is of the last final block, `chain_time_ms` what a
    transaction's time is measured by, where a node tells that."""

    name: str
    chain: str
    height: Count
    time_ms: Count
    syncing: bool
    pending: Count
    chain_time_ms: Count | None = None


class Holdings(_Answer, frozen=True):
    """What an address has; `accounts` by symbol. Amounts are decimal texts."""

    address: str
    balance: str
    accounts: dict[str, str]
    coins: str
    utxo_count: Count
    last_activity_block: int | None = None

    @property
    def used(self) -> bool:
        """Whether anybody ever paid it, as far as the final chain knows."""
        return self.last_activity_block is not None or bool(self.accounts) or self.utxo_count > 0


class Coin(_Answer, frozen=True):
    """An unspent coin."""

    tx_id: Hex32
    output_index: Annotated[int, msgspec.Meta(ge=0, lt=2**32)]
    amount: str
    recipient_address: str
    height: Count
    coinbase: bool


class CoinsPage(_Answer, frozen=True):
    """A page of coins."""

    utxos: list[Coin]
    next_cursor: str | None


class Activity(_Answer, frozen=True):
    """What a final transaction meant to an address."""

    tx_id: Hex32
    direction: str
    asset: str
    amount: str
    fee: str
    counterparties: list[str]
    changes: dict[str, str]
    memo: str | None
    memo_hex: str
    height: Count
    time_ms: Count


class HistoryPage(_Answer, frozen=True):
    """A page of history, newest first."""

    transactions: list[Activity]
    next_cursor: str | None


class TransactionState(_Answer, frozen=True):
    """Where a transaction is: pending, included, final, rejected, expired or unknown."""

    tx_id: Hex32
    status: str
    reason: str | None = None
    by: str | None = None
    height: int | None = None
    time_ms: int | None = None

    @property
    def ended(self) -> bool:
        """Whether nothing can change any more."""
        return self.status in ("final", "rejected", "expired")


class PaidOutput(_Answer, frozen=True):
    """Whom an output pays."""

    address: str


class OutputsBody(_Answer, frozen=True):
    """As much of a transaction as says whom it pays."""

    outputs: list[PaidOutput]


class TransactionOutputs(_Answer, frozen=True):
    """A transaction, None where it never applied."""

    transaction: OutputsBody | None


class LeaseState(_Answer, frozen=True):
    """Which transaction holds a lease, and what for. `final` is false while it waits."""

    tx_id: Hex32
    intent: Hex32
    final: bool


class Submitted(_Answer, frozen=True):
    """What became of a submitted transaction: accepted or final."""

    tx_id: Hex32
    status: str


class ProblemForm(_Answer, frozen=True):
    """A problem document (RFC 9457)."""

    code: str
    detail: str = ""
    advice: str = ""
    values: Mapping[str, Any] = {}


class BatchItem(_Answer, frozen=True):
    """What became of one of many: accepted, final or refused, with the reason."""

    tx_id: str | None
    status: str
    problem: ProblemForm | None = None


class BatchResults(_Answer, frozen=True):
    """One item for each transaction, in order."""

    results: list[BatchItem]


class WaitingInput(_Answer, frozen=True):
    """What a waiting transaction takes: a coin, or `amount` from an account."""

    type: str
    tx_id: str = ""
    output_index: int = 0
    address: str = ""
    asset: str = ""
    amount: str = "0"


class WaitingBody(_Answer, frozen=True):
    """As much of a waiting transaction as a payer wants to know."""

    inputs: list[WaitingInput]


class Waiting(_Answer, frozen=True):
    """A transaction that waits for a block."""

    tx_id: Hex32
    fee: str
    size: Annotated[int, msgspec.Meta(gt=0)]
    transaction: WaitingBody


class PendingPage(_Answer, frozen=True):
    """The oldest transactions that wait; `count` is of all."""

    transactions: list[Waiting]
    count: Count


class _Paid(_Answer, frozen=True, kw_only=True):
    """A final payment. `key` is its Idempotency-Key, `earlier` whether the node had made it for an
    earlier request with that key."""

    tx_id: Hex32
    key: str = ""
    earlier: bool = False


class Transfer(_Paid, frozen=True, kw_only=True):
    """A payment from an account whose key the node keeps."""


class Payee(NamedTuple):
    """Who gets how much of a payout: an address, or a name or number that the node keeps."""

    to: str | int
    units: int
    asset: str | None = None


class Payout(_Paid, frozen=True, kw_only=True):
    """A payment to many. `amounts` are what its outputs come to, by asset."""

    count: Count
    amounts: dict[str, str]


class Refund(_Paid, frozen=True, kw_only=True):
    """What was given back of payment `refund_of`, as its refund `number` by this payee."""

    refund_of: Hex32
    number: Count
    amount: str
    asset: str


class RefundMade(_Answer, frozen=True):
    """A final refund. `key` stands for its Idempotency-Key; `amounts` are by asset."""

    tx_id: Hex32
    number: Count
    key: str
    amounts: dict[str, str]
    memo: str | None
    height: Count


class RefundsState(_Answer, frozen=True):
    """What a payment brought a payee, what was given back to the payer, and what is left."""

    payment: Hex32
    payer: str
    payee: str
    paid: dict[str, str]
    refunded: dict[str, str]
    left: dict[str, str]
    refunds: list[RefundMade]
    next_number: Count


class InvoicePayment(_Answer, frozen=True):
    """A final payment of an invoice; `late` where it does not count towards it."""

    tx_id: Hex32
    amount: str
    height: Count
    time_ms: Count
    late: bool


class Invoice(_Answer, frozen=True):
    """A request for payment, and what became of it: unpaid, partial, paid, overpaid, expired or
    cancelled. `uri` says all that a payer needs, `reference` is the memo that pays it."""

    id: str
    to: str
    amount: str
    asset: str
    memo: str
    reference: str
    uri: str
    status: str
    paid: str
    late: str
    payments: list[InvoicePayment]
    payment_count: Count
    created_ms: Count
    expires_ms: Count
    cancelled_ms: int | None


class InvoicesPage(_Answer, frozen=True):
    """A page of invoices, newest first."""

    invoices: list[Invoice]
    next_cursor: str | None


class StatementEntry(_Answer, frozen=True):
    """One movement of a statement. `change` is signed and holds the `fee`."""

    kind: str
    tx_id: str | None
    height: Count
    place: int | None
    time_ms: Count
    change: str
    fee: str
    counterparties: list[str]
    memo: str | None
    memo_hex: str


class StatementPage(_Answer, frozen=True):
    """A page of a statement."""

    asset: str
    from_height: Count
    to_height: Count
    opening_balance: str
    entries: list[StatementEntry]
    closing_balance: str
    next_cursor: str | None


class Gift(_Answer, frozen=True):
    """What the faucet gave."""

    status: str
    tx_id: Hex32
    balance: str


def units_of(amount: str, url: str) -> int:
    """Base units of an amount that a node tells, zero or more. Raises `NodeSilent`."""
    if amount == "0":
        return 0
    try:
        return parse_amount(amount)
    except AmountInvalid as error:
        raise NodeSilent(url=url, reason=shown(error)) from None


def signed_units(amount: str, url: str) -> int:
    """Base units of a change. Raises `NodeSilent`."""
    return -units_of(amount[1:], url) if amount.startswith("-") else units_of(amount, url)
