"""Rows of the route table about money that moves: transactions, payments, invoices, events."""

from chaind.api import (
    events,
    invoices,
    payments,
    payouts,
    refunds,
    transactions,
    webhooks,
)
from chaind.api.answers import HEX_ID, MSGPACK_MEDIA, NDJSON_MEDIA, TxidInvalid
from chaind.api.batches import Batch, RawForm
from chaind.api.forms import FieldInvalid, Hex, TransactionForm
from chaind.api.guards import Access
from chaind.api.problems import QueryInvalid
from chaind.api.refusals import GIVING, NAMES, PAYING, SIGNED, leaves
from chaind.api.route import (
    CHAOS,
    CURSOR_DIGITS,
    DB_HIT,
    HIT,
    IDEMPOTENCY_KEY,
    PREFER,
    PREFERENCE_APPLIED,
    SYMBOL,
    TO_TRANSACTION,
    V1,
    WAIT,
    WHO,
    Follow,
    Parameter,
    Route,
    number,
    page,
    segment,
)
from chaind.api.webhook_subscriptions import DeadLetterUnknown, TooManyWebhooks, WebhookUnknown
from chaind.api.webhook_targets import WebhookTargetRefused, WebhookUrlInvalid
from chaind.node import faucet
from chaind.node import invoices as node_invoices
from chaind.node import payouts as node_payouts
from chaind.node import refunds as node_refunds
from chaind.node.payments import FaucetClosed
from chaind.node.queries import TransactionUnknown
from chaind.primitives.amounts import AmountInvalid
from chaind.storage.chain_store import BlockDamaged

_TXID = segment("id", "The id of a transaction", "0" * 64, HEX_ID)
_INVOICE = segment("id", "The id of an invoice", "0" * 32)
_WEBHOOK = segment("id", "The id of a subscription", "0" * 16)
_INVOICED = (Follow("get_invoice", "id", "id"), Follow("post_invoice_cancel", "id", "id"))
_SUBSCRIBED = (
    Follow("get_webhook", "id", "id"),
    Follow("post_webhook_retry", "id", "id"),
    Follow("delete_webhook", "id", "id"),
)

PAYMENT_ROUTES: tuple[Route, ...] = (
    Route(
        "POST",
        f"{V1}/transactions",
        transactions.post_transactions,
        "Submit signed transactions: one, an array, or a stream",
        {
            200: (transactions.Final, transactions.BatchAnswer),
            202: (transactions.Accepted, transactions.BatchAnswer),
        },
        aliases=("/add_transaction",),
        request=(RawForm, Hex, TransactionForm, Batch),
        media=transactions.BATCH_MEDIA,
        parameters=(WAIT, PREFER),
        errors=(
            *SIGNED,
            BlockDamaged,
            TransactionUnknown,
            transactions.TransactionEnded,
            transactions.BatchTooLong,
        ),
        other_media={
            NDJSON_MEDIA: {"type": "string", "description": "A result a line, for NDJSON"},
            MSGPACK_MEDIA: {"description": "The results one after the other, for MessagePack"},
        },
        headers=(PREFERENCE_APPLIED,),
        examples={"a batch": [{"raw": "93c0"}]},
    ),
    Route(
        "GET",
        f"{V1}/transactions/{{id}}",
        transactions.get_transaction,
        "What became of a transaction",
        {200: transactions.TransactionAnswer},
        aliases=("/transaction/{id}",),
        parameters=(_TXID,),
        errors=(TxidInvalid, TransactionUnknown, BlockDamaged),
    ),
    Route(
        "GET",
        f"{V1}/pending",
        transactions.get_pending,
        "Transactions that wait for a block",
        {200: transactions.PendingPage},
        aliases=("/pending", "/transaction_pool"),
        parameters=(page(transactions.PENDING_PAGE, transactions.PENDING_PAGE_MAX),),
    ),
    Route(
        "POST",
        f"{V1}/transfers",
        payments.post_transfer,
        "Pay from an account whose key this node keeps",
        {200: payments.TransferAnswer, 202: payments.QueuedAnswer},
        aliases=("/transfer",),
        request=payments.TRANSFER,
        parameters=(WAIT, PREFER, IDEMPOTENCY_KEY, CHAOS),
        errors=(*PAYING, FieldInvalid),
        headers=(HIT, DB_HIT),
        examples={
            "by name": {"from": "alice", "to": "bob", "amount": "12.5", "memo": "lunch"},
            "by number": {"from_id": 1, "to_id": 3, "amount": 2.25},
        },
        follows=TO_TRANSACTION,
        access=Access.DEVELOPMENT,
    ),
    Route(
        "POST",
        f"{V1}/payouts",
        payouts.post_payout,
        "Pay many at once from an account whose key this node keeps, in one transaction",
        {200: payouts.PayoutAnswer, 202: payments.QueuedAnswer},
        request=payouts.PayoutRequest,
        parameters=(WAIT, PREFER, IDEMPOTENCY_KEY, CHAOS),
        errors=(*PAYING, *leaves(node_payouts)),
        headers=(HIT, DB_HIT),
        examples={
            "wages": {
                "from": "alice",
                "outputs": [{"to": "bob", "amount": "3"}, {"to": "carol", "amount": "4.5"}],
            }
        },
        follows=TO_TRANSACTION,
        access=Access.DEVELOPMENT,
    ),
    Route(
        "POST",
        f"{V1}/refunds",
        refunds.post_refund,
        "Give back some of a payment, or all, from an account whose key this node keeps",
        {200: refunds.RefundAnswer, 202: payments.QueuedAnswer},
        request=refunds.RefundRequest,
        parameters=(WAIT, PREFER, IDEMPOTENCY_KEY, CHAOS),
        errors=(*PAYING, *leaves(node_refunds), TxidInvalid),
        headers=(HIT, DB_HIT),
        examples={"all of it": {"payment": "0" * 64, "from": "bob"}},
        follows=TO_TRANSACTION,
        access=Access.DEVELOPMENT,
    ),
    Route(
        "GET",
        f"{V1}/transactions/{{id}}/refunds/{{who}}",
        refunds.get_refunds,
        "What a payee gave back of a payment, and what is left",
        {200: refunds.RefundsAnswer},
        parameters=(_TXID, WHO),
        errors=(
            *NAMES,
            node_refunds.RefundNotYours,
            node_refunds.RefundOfNothing,
            node_refunds.RefundsFull,
            node_refunds.RefundTooEarly,
            BlockDamaged,
            TransactionUnknown,
            TxidInvalid,
        ),
    ),
    Route(
        "POST",
        f"{V1}/invoices",
        invoices.post_invoice,
        "Ask for a payment",
        {201: invoices.InvoiceAnswer},
        request=invoices.InvoiceRequest,
        examples={"two books": {"to": "bob", "amount": "9.99", "memo": "two books"}},
        errors=(
            *NAMES,
            AmountInvalid,
            FieldInvalid,
            node_invoices.InvoiceAssetUnknown,
            node_invoices.InvoiceNoteTooLong,
            node_invoices.InvoicesFull,
        ),
        follows=_INVOICED,
        access=Access.DEVELOPMENT,
    ),
    Route(
        "GET",
        f"{V1}/invoices",
        invoices.get_invoices,
        "Invoices of this node, newest first, with what became of them",
        {200: invoices.InvoicesPage},
        parameters=(
            page(invoices.PAGE, invoices.PAGE_MAX),
            Parameter("cursor", "next_cursor of the page before"),
        ),
        errors=(node_invoices.InvoiceUnknown,),
        access=Access.DEVELOPMENT,
    ),
    Route(
        "GET",
        f"{V1}/invoices/{{id}}",
        invoices.get_invoice,
        "An invoice, and what became of it",
        {200: invoices.InvoiceAnswer},
        parameters=(_INVOICE,),
        errors=(node_invoices.InvoiceUnknown,),
    ),
    Route(
        "POST",
        f"{V1}/invoices/{{id}}/cancel",
        invoices.post_invoice_cancel,
        "Ask for it no longer",
        {200: invoices.InvoiceAnswer},
        parameters=(_INVOICE,),
        errors=(node_invoices.InvoiceUnknown, node_invoices.InvoiceSettled),
        access=Access.DEVELOPMENT,
    ),
    Route(
        "POST",
        f"{V1}/faucet",
        payments.post_faucet,
        "A gift, on development chains, within the limits of [faucet]",
        {200: payments.FaucetAnswer, 202: payments.FaucetAnswer},
        aliases=("/faucet",),
        request=payments.FaucetRequest,
        examples={"pocket money": {"to": "alice", "amount": "100"}},
        errors=(*GIVING, FaucetClosed, *leaves(faucet)),
        follows=TO_TRANSACTION,
        access=Access.DEVELOPMENT,
    ),
    Route(
        "GET",
        f"{V1}/events",
        events.get_events,
        "Every final movement of money, oldest first",
        {200: events.EventsPage},
        parameters=(
            page(events.EVENTS_PAGE, events.EVENTS_PAGE_MAX),
            Parameter(
                "cursor",
                "next_cursor of the page before, or tip for what comes from now",
                limits={"pattern": rf"^({events.TIP}|{CURSOR_DIGITS}(\.{CURSOR_DIGITS}){{2}})$"},
            ),
            Parameter("account", "Only what this address or named account holds", example="bob"),
            Parameter("asset", "Only this asset, by its symbol", limits=SYMBOL),
            number(
                "wait",
                "Seconds that an empty page waits for an event",
                0,
                events.WAIT_S_MAX,
                default=0,
            ),
        ),
        errors=(*NAMES, BlockDamaged),
    ),
    Route(
        "GET",
        f"{V1}/webhooks",
        webhooks.get_webhooks,
        "Webhook subscriptions of this node",
        {200: webhooks.WebhooksAnswer},
        access=Access.TOKEN,
    ),
    Route(
        "POST",
        f"{V1}/webhooks",
        webhooks.post_webhook,
        "Have events of the feed posted to a URL, signed, in order, at least once",
        {201: webhooks.WebhookAnswer},
        request=webhooks.WebhookRequest,
        examples={
            "payments of bob": {
                "url": "http://127.0.0.1:8900/",
                "secret": "at-least-16-characters",
                "events": ["payment"],
                "account": "bob",
            }
        },
        errors=(
            *NAMES,
            FieldInvalid,
            QueryInvalid,
            TooManyWebhooks,
            WebhookTargetRefused,
            WebhookUrlInvalid,
        ),
        follows=_SUBSCRIBED,
        access=Access.TOKEN,
    ),
    Route(
        "GET",
        f"{V1}/webhooks/{{id}}",
        webhooks.get_webhook,
        "How far a subscription has come, and its dead letters",
        {200: webhooks.WebhookAnswer},
        parameters=(_WEBHOOK,),
        errors=(WebhookUnknown,),
        access=Access.TOKEN,
    ),
    Route(
        "DELETE",
        f"{V1}/webhooks/{{id}}",
        webhooks.delete_webhook,
        "End a subscription",
        {200: webhooks.RemovedAnswer},
        parameters=(_WEBHOOK,),
        errors=(WebhookUnknown,),
        access=Access.TOKEN,
    ),
    Route(
        "POST",
        f"{V1}/webhooks/{{id}}/retry",
        webhooks.post_webhook_retry,
        "Try dead letters again",
        {202: webhooks.WebhookAnswer},
        request=webhooks.RetryRequest,
        examples={"all of them": {}},
        parameters=(_WEBHOOK,),
        errors=(WebhookUnknown, DeadLetterUnknown),
        access=Access.TOKEN,
    ),
)
