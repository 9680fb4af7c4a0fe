"""The route of batch payouts: one transaction from an account whose key the node keeps to many.

As of a transfer, the answer is a function of request, transaction and outcome alone.
"""

from typing import Annotated, Any

import msgspec
from aiohttp import web

from chaind.api.answers import Answer
from chaind.api.bodies import convert, read_json
from chaind.api.context import Api
from chaind.api.forms import Amount, Memo, Symbol, Who
from chaind.api.payments import read_terms, respond_payment
from chaind.node.payouts import PayoutOrder, Payouts, Row
from chaind.primitives.amounts import format_amount, parse_amount
from chaind.primitives.errors import ChaindError
from chaind.primitives.transaction import totals


class PayoutRow(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Who gets how much: an address, a name or an account number."""

    to: Who
    amount: Amount
    asset: Symbol | None = None


class PayoutRequest(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Who pays whom; all outputs in one transaction, whole or not at all."""

    from_: Who = msgspec.field(name="from")
    outputs: Annotated[list[PayoutRow], msgspec.Meta(extra_json_schema={"minItems": 1})]
    memo: Memo = ""


class _PayoutBody(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The same with rows still to be read: each that cannot be is named, not the first alone."""

    from_: str | int = msgspec.field(name="from")
    outputs: list[Any]
    memo: str = ""


class PayoutAnswer(Answer, frozen=True):
    """A payout that is final. `amounts` are what its outputs come to, by asset."""

    status: str
    message: str
    count: int
    amounts: dict[str, str]
    tx_id: str


async def post_payout(api: Api, request: web.Request) -> web.Response:
    """Pay many. Waits for finality where there is an Idempotency-Key, or where asked to."""
    terms = read_terms(api, request)
    body = await read_json(request, api.section.body_bytes_max, _PayoutBody)
    payouts = Payouts(api.node.payments, api.node.genesis.parameters.outputs_max)
    rows = [_row(api, value) for value in body.outputs]
    spending = payouts.plan(PayoutOrder(body.from_, rows, body.memo.encode(), terms.key))
    payment = await api.node.payments.spend(spending, wait=terms.wait)
    sums = {
        api.forms.symbol(asset): format_amount(units)
        for asset, units in totals(spending.parts).items()
    }
    answer = PayoutAnswer(
        "success", "Payout Complete", len(spending.parts), sums, payment.txid.hex()
    )
    return respond_payment(api, terms, payment, answer)


def _row(api: Api, value: object) -> Row | ChaindError:
    """A row of the body, or why it is none."""
    try:
        form = convert(value, PayoutRow)
        asset = api.forms.asset(form.asset)
        return Row(form.to, asset, parse_amount(form.amount))
    except ChaindError as error:
        return error
