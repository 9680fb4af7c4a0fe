"""Routes that spend keys which the node keeps: transfers between named accounts, the faucet.

The answer to a payment is a function of request, transaction and outcome alone, so that every
node gives the same bytes for the same Idempotency-Key.
"""

from typing import Any

import msgspec
from aiohttp import web

from chaind.api.accounts import balance_of
from chaind.api.answers import JSON_MEDIA, Answer, respond
from chaind.api.bodies import read_json, wait_preference
from chaind.api.chaos import chaos_wanted, die_after
from chaind.api.context import Api
from chaind.api.forms import Amount, FieldInvalid
from chaind.api.guards import check_media
from chaind.api.transactions import OPEN_STATUSES, refuse_ended
from chaind.node.payments import InFlight, TransferOrder
from chaind.primitives.amounts import format_amount, parse_amount
from chaind.primitives.errors import Malformed


class IdempotencyKeyMissing(Malformed):
    code = "idempotency-key-missing"
    text = "a transfer needs an Idempotency-Key header here"
    advice = "Draw a new key for every payment, and use it again for every retry."


class TransferRequest(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Who pays whom: addresses, names, or account numbers (`from_id`, `to_id`)."""

    amount: Amount
    from_: str | int | None = msgspec.field(name="from", default=None)
    to: str | int | None = None
    from_id: int | None = None
    to_id: int | None = None
    asset: str | None = None
    memo: str = ""


class FaucetRequest(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Who gets how much."""

    to: str | int
    amount: Amount


class TransferAnswer(Answer, frozen=True):
    """A payment that is final."""

    status: str
    message: str
    amount: str
    tx_id: str


class QueuedAnswer(Answer, frozen=True):
    """A payment that is durable and on its way."""

    status: str
    tx_id: str


class FaucetAnswer(Answer, frozen=True):
    """A gift, and what its receiver has now."""

    status: str
    user: str
    balance: str
    tx_id: str


async def post_transfer(api: Api, request: web.Request) -> web.Response:
    """Pay. Waits for finality where there is an Idempotency-Key, or where asked to."""
    check_media(request, (JSON_MEDIA,))
    wish = wait_preference(request)
    key = request.headers.get("Idempotency-Key")
    if key is None and api.node.config.payments.require_key:
        raise IdempotencyKeyMissing
    chaos = chaos_wanted(api, request)
    form = await read_json(request, api.section.body_bytes_max, TransferRequest)
    order = TransferOrder(
        source=_one_of("from", form.from_, form.from_id),
        target=_one_of("to", form.to, form.to_id),
        units=parse_amount(form.amount),
        asset=api.forms.asset(form.asset) if form.asset is not None else "",
        memo=form.memo.encode(),
        key=key,
    )
    wait = chaos or wish == "final" or (wish is None and key is not None)
    payment = await api.node.payments.transfer(order, wait=wait)
    if chaos:
        die_after(payment)
    refuse_ended(payment.info)
    txid_hex = payment.txid.hex()
    if payment.info.status in OPEN_STATUSES and key is not None:
        raise InFlight(txid=txid_hex, why="; ".join(api.node.vitals.health().reasons))
    if payment.info.status in OPEN_STATUSES or not (wait or key):
        return respond(QueuedAnswer("queued", txid_hex), 202)
    headers: dict[str, str] = {}
    if payment.hit is not None:
        headers["X-Idempotency-Hit"] = "true"
    if payment.hit == "state":
        headers["X-Db-Hit"] = "true"
    amount = format_amount(order.units)
    answer = TransferAnswer("success", "Transfer Complete", amount, txid_hex)
    return respond(answer, 200, headers)


async def post_faucet(api: Api, request: web.Request) -> web.Response:
    """A gift from the faucet of a development chain; answered when it is final."""
    check_media(request, (JSON_MEDIA,))
    form = await read_json(request, api.section.body_bytes_max, FaucetRequest)
    payment = await api.node.payments.faucet(form.to, parse_amount(form.amount))
    refuse_ended(payment.info)
    address = api.node.payments.resolve(form.to)
    user = api.node.payments.name_of(address) or api.forms.show(address)
    balance = balance_of(api, address).balance
    status = "queued" if payment.info.status in OPEN_STATUSES else "success"
    answer = FaucetAnswer(status, user, balance, payment.txid.hex())
    return respond(answer, 200 if status == "success" else 202)


def _one_of(name: str, who: Any, number: int | None) -> str | int:
    """The one of `from` and `from_id` that is given."""
    if (who is None) == (number is None):
        raise FieldInvalid(field=name, reason=f"give one of {name} and {name}_id")
    chosen: str | int = who if number is None else number
    return chosen
