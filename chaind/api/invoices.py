"""The routes of invoices: made, read and cancelled here, paid by whoever has the URI."""

from typing import Annotated

import msgspec
from aiohttp import web

from chaind.api.answers import JSON_MEDIA, Answer, respond
from chaind.api.bodies import query_integer, read_json
from chaind.api.context import Api
from chaind.api.forms import Amount, Symbol, Who
from chaind.api.guards import check_media
from chaind.node.invoices import NOTE_CHARS_MAX, InvoiceOrder, InvoiceState
from chaind.primitives.amounts import format_amount, parse_amount
from chaind.primitives.references import invoice_reference
from chaind.wallet.payment_uri import PaymentUri, format_uri

PAGE, PAGE_MAX = 50, 100
EXPIRES_MS, EXPIRES_MS_MIN, EXPIRES_MS_MAX = 3_600_000, 1_000, 366 * 86_400_000


class InvoiceRequest(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Who wants how much, until when. `memo` is for the payer to read; it is on no chain."""

    to: Who
    amount: Amount
    asset: Symbol | None = None
    memo: Annotated[str, msgspec.Meta(extra_json_schema={"maxLength": NOTE_CHARS_MAX})] = ""
    expires_in_ms: Annotated[int, msgspec.Meta(ge=EXPIRES_MS_MIN, le=EXPIRES_MS_MAX)] = EXPIRES_MS


class InvoicePaymentForm(Answer, frozen=True):
    """A final payment of an invoice; `late` where it came after the end."""

    tx_id: str
    amount: str
    height: int
    time_ms: int
    late: bool


class InvoiceAnswer(Answer, frozen=True, kw_only=True):
    """An invoice and what the final chain says of it.

    `status` is unpaid, partial, paid, overpaid, expired or cancelled. `reference` is the memo that
    a payment carries; `uri` says all that a payer needs. `paid` came on time, `late` did not.
    """

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
    payments: list[InvoicePaymentForm]
    payment_count: int
    created_ms: int
    created_height: int
    expires_ms: int
    cancelled_ms: int | None


class InvoicesPage(Answer, frozen=True):
    """Invoices of this node, newest first."""

    invoices: list[InvoiceAnswer]
    count: int
    next_cursor: str | None


async def post_invoice(api: Api, request: web.Request) -> web.Response:
    """Ask for a payment; the answer is durable."""
    check_media(request, (JSON_MEDIA,))
    form = await read_json(request, api.section.body_bytes_max, InvoiceRequest)
    invoice = await api.invoices.create(
        InvoiceOrder(
            address=api.node.payments.resolve(form.to),
            asset=api.forms.asset(form.asset),
            units=parse_amount(form.amount),
            note=form.memo,
            expires_in_ms=form.expires_in_ms,
        )
    )
    return respond(_answer(api, await api.invoices.state(invoice)), 201)


async def get_invoice(api: Api, request: web.Request) -> web.Response:
    """Open to whoever knows the id, which nobody guesses: the payer may look."""
    invoice = api.invoices.get(request.match_info["id"])
    return respond(_answer(api, await api.invoices.state(invoice)))


async def get_invoices(api: Api, request: web.Request) -> web.Response:
    """Newest first; a cursor is the last invoice of the page before."""
    limit = query_integer(request, "limit", PAGE, 1, PAGE_MAX)
    found = api.invoices.newest(request.query.get("cursor"), limit + 1)
    page = [_answer(api, await api.invoices.state(invoice)) for invoice in found[:limit]]
    return respond(InvoicesPage(page, len(page), page[-1].id if len(found) > limit else None))


async def post_invoice_cancel(api: Api, request: web.Request) -> web.Response:
    """Payments that come later are late; twice is once."""
    invoice = await api.invoices.cancel(request.match_info["id"])
    return respond(_answer(api, await api.invoices.state(invoice)))


def _answer(api: Api, state: InvoiceState) -> InvoiceAnswer:
    invoice = state.invoice
    address, symbol = api.forms.show(invoice.address), api.forms.symbol(invoice.asset)
    reference = invoice_reference(invoice.id).decode("ascii")
    uri = PaymentUri(
        address=address,
        amount=format_amount(invoice.units),
        asset=symbol,
        memo=reference,
        chain=api.node.genesis.chain_prefix.hex(),
        expires_ms=invoice.expires_ms,
        note=invoice.note,
    )
    return InvoiceAnswer(
        id=invoice.id,
        to=address,
        amount=format_amount(invoice.units),
        asset=symbol,
        memo=invoice.note,
        reference=reference,
        uri=format_uri(uri),
        status=state.status,
        paid=format_amount(state.paid),
        late=format_amount(state.late),
        payments=[
            InvoicePaymentForm(
                payment.txid.hex(),
                format_amount(payment.units),
                payment.height,
                payment.time_ms,
                payment.late,
            )
            for payment in state.payments
        ],
        payment_count=state.payment_count,
        created_ms=invoice.created_ms,
        created_height=invoice.created_height,
        expires_ms=invoice.expires_ms,
        cancelled_ms=invoice.cancelled_ms,
    )
