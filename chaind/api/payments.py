"""Routes that spend keys which the node keeps: transfers between named accounts, the faucet.

The answer to a payment is a function of request, transaction and outcome alone, so that every
node gives the same bytes for the same Idempotency-Key.
"""

from typing import Annotated, Any, ClassVar, NamedTuple

import msgspec
from aiohttp import web

from chaind.api.accounts import balance_of
from chaind.api.answers import JSON_MEDIA, Answer, respond
from chaind.api.bodies import read_json, wait_preference
from chaind.api.chaos import chaos_wanted, die_after
from chaind.api.context import Api
from chaind.api.forms import AccountId, Amount, FieldInvalid, Memo, Symbol, Who
from chaind.api.guards import check_media
from chaind.api.transactions import OPEN_STATUSES, refuse_ended
from chaind.node.payments import InFlight, Payment, TransferOrder
from chaind.primitives.amounts import format_amount, parse_amount
from chaind.primitives.errors import Malformed


class IdempotencyKeyMissing(Malformed):
    code = "idempotency-key-missing"
    text = "a transfer needs an Idempotency-Key header here"
    advice = "Draw a new key for every payment, and use it again for every retry."


class IdempotencyKeyRepeated(Malformed):
    code = "idempotency-key-repeated"
    text = "the Idempotency-Key header must be given once, not {count} times"
    advice = "One key stands for one payment: send it in a request of its own."


class TransferRequest(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Who pays whom: addresses, names, or account numbers (`from_id`, `to_id`)."""

    alternatives: ClassVar = (("from", "from_id"), ("to", "to_id"))
    amount: Amount
    from_: Who | None = msgspec.field(name="from", default=None)
    to: Who | None = None
    from_id: AccountId | None = None
    to_id: AccountId | None = None
    asset: Symbol | None = None
    memo: Memo = ""


def _given_once(name: str, who: tuple[str, ...]) -> dict[str, Any]:
    """JSON Schema of an object that names somebody in one of two ways."""
    return {
        "oneOf": [
            {"required": [name], "properties": {name: {"type": list(who)}}},
            {"required": [f"{name}_id"], "properties": {f"{name}_id": {"type": "integer"}}},
        ]
    }


TRANSFER = Annotated[
    TransferRequest,
    msgspec.Meta(
        extra_json_schema={
            "allOf": [_given_once(name, ("string", "integer")) for name in ("from", "to")]
        }
    ),
]


class FaucetRequest(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Who gets how much."""

    to: Who
    amount: Amount


class TransferAnswer(Answer, frozen=True):
    """A payment that is final."""

    status: str
    message: str
    amount: str
    tx_id: str


class QueuedAnswer(Answer, frozen=True, omit_defaults=True):
    """A payment that is durable and on its way; `why` it is not final yet, where that was awaited
    and the node knows."""

    status: str
    tx_id: str
    why: str = ""


class FaucetAnswer(Answer, frozen=True, omit_defaults=True):
    """A gift, and what its receiver has now; `why` it is not final yet, where it is queued."""

    status: str
    user: str
    balance: str
    tx_id: str
    why: str = ""


async def post_transfer(api: Api, request: web.Request) -> web.Response:
    """Pay. Waits for finality where there is an Idempotency-Key, or where asked to."""
    terms = read_terms(api, request)
    form = await read_json(request, api.section.body_bytes_max, TransferRequest)
    order = TransferOrder(
        source=_one_of("from", form.from_, form.from_id),
        target=_one_of("to", form.to, form.to_id),
        units=parse_amount(form.amount),
        asset=api.forms.asset(form.asset),
        memo=form.memo.encode(),
        key=terms.key,
    )
    payment = await api.node.payments.transfer(order, wait=terms.wait)
    amount = format_amount(order.units)
    answer = TransferAnswer("success", "Transfer Complete", amount, payment.txid.hex())
    return respond_payment(api, terms, payment, answer)


class Terms(NamedTuple):
    """How a payment is asked for: its Idempotency-Key, whether the answer waits for finality, and
    whether the node is to die before it answers."""

    key: str | None
    wait: bool
    chaos: bool


def read_terms(api: Api, request: web.Request) -> Terms:
    """What the headers of a payment say. Raises `IdempotencyKeyMissing` where one is required,
    and `IdempotencyKeyRepeated`."""
    check_media(request, (JSON_MEDIA,))
    return read_idempotency(api, request)


def read_idempotency(api: Api, request: web.Request) -> Terms:
    """The same of a request without a body."""
    wish = wait_preference(request)
    keys = request.headers.getall("Idempotency-Key", [])
    if len(keys) > 1:
        raise IdempotencyKeyRepeated(count=len(keys))
    key = keys[0] if keys else None
    if key is None and api.node.config.payments.require_key:
        raise IdempotencyKeyMissing
    chaos = chaos_wanted(api, request)
    return Terms(key, chaos or wish == "final" or (wish is None and key is not None), chaos)


def respond_payment(api: Api, terms: Terms, payment: Payment, answer: Answer) -> web.Response:
    """`answer` where the payment is final; 202 where it waits and has no key.

    Raises `InFlight` where one with a key waits, `TransactionEnded` where it can never apply.
    """
    if terms.chaos:
        die_after(payment)
    refuse_ended(payment.info)
    is_open = payment.info.status in OPEN_STATUSES
    if is_open and terms.key is not None:
        raise InFlight(txid=payment.txid.hex(), why=api.node.payments.why_open(payment.info))
    if is_open or not (terms.wait or terms.key):
        why = _troubles(api) if terms.wait else ""
        return respond(QueuedAnswer("queued", payment.txid.hex(), why), 202)
    return respond(answer, 200, settled_headers(payment))


def settled_headers(payment: Payment) -> dict[str, str]:
    """What says that an earlier request with the same key made the payment."""
    headers: dict[str, str] = {}
    if payment.hit is not None:
        headers["X-Idempotency-Hit"] = "true"
    if payment.hit == "state":
        headers["X-Db-Hit"] = "true"
    return headers


async def post_faucet(api: Api, request: web.Request) -> web.Response:
    """A gift from the faucet of a development chain; answered when it is final."""
    check_media(request, (JSON_MEDIA,))
    form = await read_json(request, api.section.body_bytes_max, FaucetRequest)
    payment = await api.node.payments.faucet(form.to, parse_amount(form.amount))
    refuse_ended(payment.info)
    address = api.node.payments.resolve(form.to)
    user = api.node.payments.name_of(address) or api.forms.show(address)
    balance = balance_of(api, address).balance
    txid = payment.txid.hex()
    if payment.info.status in OPEN_STATUSES:
        return respond(FaucetAnswer("queued", user, balance, txid, _troubles(api)), 202)
    return respond(FaucetAnswer("success", user, balance, txid))


def _troubles(api: Api) -> str:
    """Why nothing becomes final here, as far as the node knows."""
    return "; ".join(api.node.vitals.health().reasons)


def _one_of(name: str, who: Any, number: int | None) -> str | int:
    """The one of `from` and `from_id` that is given."""
    if (who is None) == (number is None):
        raise FieldInvalid(field=name, reason=f"give one of {name} and {name}_id")
    chosen: str | int = who if number is None else number
    return chosen
