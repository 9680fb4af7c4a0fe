"""Batch payouts: one transaction from one account to many receivers, whole or not at all.

Every row that cannot be paid is named at once, so that a file of a thousand is corrected in one go.
"""

from collections.abc import Sequence
from typing import NamedTuple

from chaind.node.payments import Payments, Spending, check_memo, lease_of
from chaind.primitives.amounts import AMOUNT_MAX, format_amount
from chaind.primitives.errors import ChaindError, Malformed, RuleBroken, TooLarge
from chaind.primitives.transaction import Part, payout_intent, totals

ROWS_NAMED_MAX = 20  # in the text of a refusal; its values hold more
ROWS_LISTED_MAX = 1_024  # in the values: as many as a transaction has outputs by default


class PayoutRowsInvalid(Malformed):
    code = "payout-rows-invalid"
    text = "{count} of {total} outputs are refused: {summary}"
    advice = "Correct these rows (they count from 1) and send the payout again; nothing was paid."


class PayoutEmpty(Malformed):
    code = "payout-empty"
    text = "a payout without outputs pays nobody"
    advice = "Give at least one output: who gets how much."


class PayoutTooLong(TooLarge):
    code = "payout-too-long"
    text = "the payout has {count} outputs, a transaction of this chain holds {limit}"
    advice = "Send it in parts, each with an Idempotency-Key of its own."


class PayoutSumTooLarge(RuleBroken):
    code = "payout-sum-too-large"
    text = "the outputs come to more than {limit}, the most that there can be of an asset"
    advice = "Look for an amount that has too many digits."


class Row(NamedTuple):
    """One output as it was asked for: who, or what is wrong with it."""

    target: str | int
    asset: str
    units: int


class PayoutOrder(NamedTuple):
    """Who pays whom how much. A row is an error where it could not be read."""

    source: str | int
    rows: Sequence[Row | ChaindError]
    memo: bytes
    key: str | None


class Payouts:
    """See the module's law. `outputs_max` is the chain's limit of a transaction."""

    def __init__(self, payments: Payments, outputs_max: int) -> None:
        self._payments = payments
        self._outputs_max = outputs_max

    def plan(self, order: PayoutOrder) -> Spending:
        """The payment that an order comes to, for `Payments.spend`.

        Raises `PayoutRowsInvalid` and the other leaves of this module, `KeyInvalid`, `MemoTooLong`.
        """
        check_memo(order.memo)
        source = self._payments.resolve(order.source)
        if not order.rows:
            raise PayoutEmpty
        if len(order.rows) > self._outputs_max:
            raise PayoutTooLong(count=len(order.rows), limit=self._outputs_max)
        parts = self._parts(order.rows)
        if any(units > AMOUNT_MAX for units in totals(parts).values()):
            raise PayoutSumTooLarge(limit=format_amount(AMOUNT_MAX))
        lease = lease_of(source, order.key, payout_intent(source, parts, order.memo))
        return Spending(order.source, source, parts, order.memo, lease)

    def _parts(self, rows: Sequence[Row | ChaindError]) -> tuple[Part, ...]:
        parts: list[Part] = []
        wrong: list[dict[str, object]] = []
        for number, row in enumerate(rows, start=1):
            error = row
            if isinstance(row, Row):
                try:
                    parts.append(Part(self._payments.resolve(row.target), row.asset, row.units))
                    continue
                except ChaindError as refusal:
                    error = refusal
            assert isinstance(error, ChaindError)
            wrong.append({"row": number, "code": error.code, "detail": str(error)})
        if wrong:
            raise rows_invalid(wrong, len(rows))
        return tuple(parts)


def rows_invalid(wrong: Sequence[dict[str, object]], total: int) -> PayoutRowsInvalid:
    """The error of rows (`row`, `code`, `detail`) that are refused."""
    named = "; ".join(f"row {one['row']}: {one['detail']}" for one in wrong[:ROWS_NAMED_MAX])
    more = f"; and {len(wrong) - ROWS_NAMED_MAX} more" if len(wrong) > ROWS_NAMED_MAX else ""
    return PayoutRowsInvalid(
        count=len(wrong), total=total, summary=named + more, rows=list(wrong[:ROWS_LISTED_MAX])
    )
