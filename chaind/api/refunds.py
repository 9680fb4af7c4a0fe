"""The routes of refunds: what a payee gives back of a payment, and what was given back already.

As of a transfer, the answer is a function of request, transaction and outcome alone.
"""

from typing import Annotated

import msgspec
from aiohttp import web

from chaind.api.answers import HEX_ID, Answer, parse_txid, respond
from chaind.api.bodies import read_json
from chaind.api.context import Api
from chaind.api.forms import Amount, Memo, Symbol, Who, maybe
from chaind.api.payments import read_terms, respond_payment
from chaind.api.refund_form import RefundForm, refund_form
from chaind.node.refunds import RefundOrder
from chaind.primitives.amounts import format_amount, parse_amount


class RefundRequest(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Which payment is given back. `from` was paid by it, and need not be said where that is
    clear; without `amount` all that is left is given back, and `asset` need not be said where the
    payment brought only one. An Idempotency-Key stands for one refund of this payment."""

    payment: Annotated[
        str, msgspec.Meta(examples=["00" * 32], extra_json_schema={"pattern": HEX_ID})
    ]
    from_: Who | None = msgspec.field(name="from", default=None)
    amount: Amount | None = None
    asset: Symbol | None = None
    memo: Memo = ""


class RefundAnswer(Answer, frozen=True):
    """A refund that is final: the payment's `number`-th by this payee."""

    status: str
    message: str
    amount: str
    asset: str
    refund_of: str
    number: int
    tx_id: str


class RefundsAnswer(Answer, frozen=True, kw_only=True):
    """What became of a final payment as far as one payee goes, by asset: what it brought, what of
    that was given back to the payer, and what is left. `next_number` is the next refund's."""

    payment: str
    payer: str
    payee: str
    paid: dict[str, str]
    refunded: dict[str, str]
    left: dict[str, str]
    refunds: list[RefundForm]
    next_number: int


async def post_refund(api: Api, request: web.Request) -> web.Response:
    """Give back. Answered when it is final."""
    terms = read_terms(api, request)
    form = await read_json(request, api.section.body_bytes_max, RefundRequest)
    order = RefundOrder(
        txid=parse_txid(form.payment),
        source=form.from_,
        units=maybe(parse_amount, form.amount),
        asset=maybe(api.forms.asset, form.asset),
        text=form.memo.encode(),
        key=terms.key,
    )
    refund = await api.node.refunds.refund(order)
    answer = RefundAnswer(
        status="success",
        message="Refund Complete",
        amount=format_amount(refund.units),
        asset=api.forms.symbol(refund.asset),
        refund_of=order.txid.hex(),
        number=refund.number,
        tx_id=refund.payment.txid.hex(),
    )
    return respond_payment(api, terms._replace(wait=True), refund.payment, answer)


async def get_refunds(api: Api, request: web.Request) -> web.Response:
    """Open, as all that is on the chain."""
    payee = api.node.payments.resolve(request.match_info["who"])
    state = api.node.refunds.state(parse_txid(request.match_info["id"]), payee)
    assets = state.paid

    def shown(units: dict[str, int]) -> dict[str, str]:
        return {api.forms.symbol(asset): format_amount(value) for asset, value in units.items()}

    answer = RefundsAnswer(
        payment=state.txid.hex(),
        payer=api.forms.show(state.payer),
        payee=api.forms.show(state.payee),
        paid=shown(state.paid),
        refunded=shown({asset: state.given_units(asset) for asset in assets}),
        left=shown({asset: state.left_units(asset) for asset in assets}),
        refunds=[refund_form(api, state.payee, given) for given in state.given],
        next_number=state.number,
    )
    return respond(answer)
