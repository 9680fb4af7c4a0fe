"""The one table of routes: what is registered, guarded, aliased and described comes from here."""

from collections.abc import Awaitable, Callable
from typing import Any, NamedTuple

from aiohttp import web

from chaind.api import (
    accounts,
    blocks,
    chaos,
    events,
    health,
    invoices,
    nodes,
    payments,
    payouts,
    statements,
    transactions,
    webhooks,
)
from chaind.api.answers import JSON_MEDIA, MSGPACK_MEDIA
from chaind.api.batches import RawForm
from chaind.api.context import Api
from chaind.api.forms import TransactionForm
from chaind.api.guards import Access
from chaind.api.websocket import get_ws

Handler = Callable[[Api, web.Request], Awaitable[web.StreamResponse]]

TEXT_MEDIA = "text/plain"
V1 = "/api/v1"


class Parameter(NamedTuple):
    """A query or header parameter. `kind` is its JSON type."""

    name: str
    summary: str
    kind: str = "string"
    place: str = "query"


LIMIT = Parameter("limit", "Most entries of a page", "integer")
CURSOR = Parameter("cursor", "next_cursor of the page before")
WAIT = Parameter("wait", '"final" holds the answer until it is final, 30 s at most; or "accepted"')
PREFER = Parameter("Prefer", "wait=final, as in the query", place="header")
IDEMPOTENCY_KEY = Parameter(
    "Idempotency-Key", "1 to 255 characters; pays once per paying account and key", place="header"
)
CHAOS = Parameter(
    chaos.HEADER,
    "true: the node dies when the payment is final, before it answers; where [chaos] is enabled",
    place="header",
)


class Route(NamedTuple):
    """One row. `answers` maps status to type (None: not described); `errors` are statuses.

    A tuple of types means one of them. Every route can also answer 400, 403, 429 and 500.
    """

    method: str
    path: str
    handler: Handler
    summary: str
    answers: dict[int, Any]
    aliases: tuple[str, ...] = ()
    request: Any = None
    media: tuple[str, ...] = (JSON_MEDIA,)
    parameters: tuple[Parameter, ...] = ()
    errors: tuple[int, ...] = ()
    access: Access = Access.OPEN
    answer_media: str = JSON_MEDIA

    @property
    def operation(self) -> str:
        """A name for generated clients: the handler's."""
        return self.handler.__name__

    @property
    def query(self) -> tuple[str, ...]:
        """Names of the query parameters; any other is refused."""
        return tuple(one.name for one in self.parameters if one.place == "query")


ROUTES: tuple[Route, ...] = (
    Route("GET", "/", nodes.get_root, "What answers here", {200: nodes.RootAnswer}),
    Route(
        "GET",
        f"{V1}/status",
        nodes.get_status,
        "Where the node stands",
        {200: nodes.StatusAnswer},
        aliases=("/status",),
    ),
    Route(
        "GET",
        f"{V1}/stats",
        nodes.get_stats,
        "Counts and ages",
        {200: nodes.StatsAnswer},
        aliases=("/stats",),
    ),
    Route(
        "GET",
        f"{V1}/peers",
        nodes.get_peers,
        "Connected peers",
        {200: nodes.PeersAnswer},
        aliases=("/peers", "/getpeers"),
    ),
    Route(
        "POST",
        f"{V1}/peers",
        nodes.post_peer,
        "Dial a peer",
        {202: nodes.AddPeerAnswer},
        aliases=("/addpeer",),
        request=nodes.AddPeerRequest,
        errors=(413, 415),
        access=Access.TOKEN,
    ),
    Route(
        "POST",
        f"{V1}/peers/discover",
        nodes.post_discover,
        "Connected peers; the node looks for more by itself",
        {200: nodes.PeersAnswer},
        aliases=("/discover_peers",),
    ),
    Route("GET", f"{V1}/genesis", nodes.get_genesis, "The genesis file", {200: None}),
    Route(
        "GET",
        f"{V1}/validators",
        nodes.get_validators,
        "Who votes",
        {200: nodes.ValidatorsAnswer},
    ),
    Route(
        "GET", f"{V1}/assets", nodes.get_assets, "What can be paid in", {200: nodes.AssetsAnswer}
    ),
    Route(
        "GET",
        f"{V1}/blocks",
        blocks.get_chain,
        "Final blocks, ascending",
        {200: blocks.ChainPage},
        aliases=("/blockchain",),
        parameters=(LIMIT, CURSOR),
    ),
    Route(
        "GET",
        f"{V1}/blocks/headers",
        blocks.get_headers,
        "Headers of final blocks, ascending",
        {200: blocks.HeadersPage},
        aliases=("/blockchain/headers",),
        parameters=(LIMIT, CURSOR),
    ),
    Route(
        "GET",
        f"{V1}/blocks/range",
        blocks.get_range,
        "Final blocks of a range of heights",
        {200: blocks.RangePage},
        aliases=("/blocks/range",),
        parameters=(
            Parameter("start", "First height, 0 by default", "integer"),
            Parameter("end", "Last height, by default the newest", "integer"),
        ),
    ),
    Route(
        "GET",
        f"{V1}/blocks/raw",
        blocks.get_raw,
        "Final blocks as they are hashed, with a certificate of the last: [start, [block…], proof]",
        {200: None},
        parameters=(
            Parameter("start", "First height, 1 by default", "integer"),
            Parameter("limit", "Most blocks, 512 by default", "integer"),
        ),
        answer_media=MSGPACK_MEDIA,
    ),
    Route(
        "GET",
        f"{V1}/blocks/{{ref}}",
        blocks.get_block,
        "A final block by height, hash or latest, with a page of its transactions",
        {200: blocks.BlockAnswer},
        aliases=("/block/{ref}",),
        parameters=(LIMIT, CURSOR),
        errors=(404,),
    ),
    Route(
        "GET",
        f"{V1}/accounts",
        accounts.get_named,
        "Accounts whose keys this node keeps",
        {200: accounts.NamedAccounts},
        aliases=(f"{V1}/custody/accounts",),
    ),
    Route(
        "POST",
        f"{V1}/custody/accounts",
        accounts.post_named,
        "Name an account whose key this node keeps; a name it has already is answered again",
        {200: accounts.NamedAccount, 201: accounts.NamedAccount},
        request=accounts.NameRequest,
        errors=(409, 413, 415, 422),
        access=Access.DEVELOPMENT,
    ),
    Route(
        "GET",
        f"{V1}/accounts/{{who}}",
        accounts.get_balance,
        "Holdings of an address or named account",
        {200: accounts.BalanceAnswer},
        aliases=("/balance/{who}",),
        errors=(404,),
    ),
    Route(
        "GET",
        f"{V1}/accounts/{{who}}/coins",
        accounts.get_coins,
        "Unspent coins",
        {200: accounts.CoinsPage},
        aliases=("/utxos/{who}",),
        parameters=(LIMIT, CURSOR),
        errors=(404,),
    ),
    Route(
        "GET",
        f"{V1}/accounts/{{who}}/transactions",
        accounts.get_history,
        "History, newest first",
        {200: accounts.HistoryPage},
        aliases=("/transactions/{who}",),
        parameters=(LIMIT, CURSOR),
        errors=(404,),
    ),
    Route(
        "GET",
        f"{V1}/accounts/{{who}}/statement",
        statements.get_statement,
        "Opening balance, entries, closing balance; as JSON, or as CSV where that is asked for",
        {200: statements.StatementAnswer},
        parameters=(
            Parameter("asset", "By its symbol, the chain's own by default"),
            Parameter("from_height", "First block, 0 by default", "integer"),
            Parameter("to_height", "Last block, by default the newest", "integer"),
            Parameter("from_ms", "Blocks of this time and later, ms since 1970", "integer"),
            Parameter("to_ms", "Blocks before this time, ms since 1970", "integer"),
            Parameter("format", '"json" or "csv", as Accept says by default'),
            LIMIT,
            CURSOR,
        ),
        errors=(404, 422),
    ),
    Route(
        "GET",
        f"{V1}/accounts/{{who}}/leases/{{id}}",
        accounts.get_lease,
        "The payment that a key of this payer stands for; id is sha256 of the Idempotency-Key",
        {200: accounts.LeaseAnswer},
        errors=(404,),
    ),
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
        request=(RawForm, TransactionForm, list[RawForm], list[TransactionForm]),
        media=transactions.BATCH_MEDIA,
        parameters=(WAIT, PREFER),
        errors=(408, 409, 413, 415, 422),
    ),
    Route(
        "GET",
        f"{V1}/transactions/{{id}}",
        transactions.get_transaction,
        "What became of a transaction",
        {200: transactions.TransactionAnswer},
        aliases=("/transaction/{id}",),
        errors=(404,),
    ),
    Route(
        "GET",
        f"{V1}/pending",
        transactions.get_pending,
        "Transactions that wait for a block",
        {200: transactions.PendingPage},
        aliases=("/pending", "/transaction_pool"),
        parameters=(LIMIT,),
    ),
    Route(
        "POST",
        f"{V1}/transfers",
        payments.post_transfer,
        "Pay from an account whose key this node keeps",
        {200: payments.TransferAnswer, 202: payments.QueuedAnswer},
        aliases=("/transfer",),
        request=payments.TransferRequest,
        parameters=(WAIT, PREFER, IDEMPOTENCY_KEY, CHAOS),
        errors=(404, 409, 413, 415, 422),
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
        errors=(404, 409, 413, 415, 422),
        access=Access.DEVELOPMENT,
    ),
    Route(
        "POST",
        f"{V1}/invoices",
        invoices.post_invoice,
        "Ask for a payment",
        {201: invoices.InvoiceAnswer},
        request=invoices.InvoiceRequest,
        errors=(404, 413, 415, 422),
        access=Access.DEVELOPMENT,
    ),
    Route(
        "GET",
        f"{V1}/invoices",
        invoices.get_invoices,
        "Invoices of this node, newest first, with what became of them",
        {200: invoices.InvoicesPage},
        parameters=(LIMIT, CURSOR),
        errors=(404,),
        access=Access.DEVELOPMENT,
    ),
    Route(
        "GET",
        f"{V1}/invoices/{{id}}",
        invoices.get_invoice,
        "An invoice, and what became of it",
        {200: invoices.InvoiceAnswer},
        errors=(404,),
    ),
    Route(
        "POST",
        f"{V1}/invoices/{{id}}/cancel",
        invoices.post_invoice_cancel,
        "Ask for it no longer",
        {200: invoices.InvoiceAnswer},
        errors=(404, 409),
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
        errors=(404, 413, 415, 422),
        access=Access.DEVELOPMENT,
    ),
    Route(
        "GET",
        f"{V1}/events",
        events.get_events,
        "Every final movement of money, oldest first",
        {200: events.EventsPage},
        parameters=(
            LIMIT,
            Parameter("cursor", 'next_cursor of the page before, or "tip" for what comes from now'),
            Parameter("account", "Only what this address or named account holds"),
            Parameter("asset", "Only this asset, by its symbol"),
            Parameter(
                "wait", "Seconds that an empty page waits for an event, 30 at most", "integer"
            ),
        ),
        errors=(404, 503),
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
        errors=(404, 413, 415),
        access=Access.TOKEN,
    ),
    Route(
        "GET",
        f"{V1}/webhooks/{{id}}",
        webhooks.get_webhook,
        "How far a subscription has come, and its dead letters",
        {200: webhooks.WebhookAnswer},
        errors=(404,),
        access=Access.TOKEN,
    ),
    Route(
        "DELETE",
        f"{V1}/webhooks/{{id}}",
        webhooks.delete_webhook,
        "End a subscription",
        {200: webhooks.RemovedAnswer},
        errors=(404,),
        access=Access.TOKEN,
    ),
    Route(
        "POST",
        f"{V1}/webhooks/{{id}}/retry",
        webhooks.post_webhook_retry,
        "Try dead letters again",
        {202: webhooks.WebhookAnswer},
        request=webhooks.RetryRequest,
        errors=(404, 413, 415),
        access=Access.TOKEN,
    ),
    Route("GET", "/health/live", health.get_live, "The process answers", {200: health.LiveAnswer}),
    Route(
        "GET",
        "/health/ready",
        health.get_ready,
        "Whether the node can be relied on",
        {200: health.ReadyAnswer, 503: health.ReadyAnswer},
        aliases=("/healthcheck",),
    ),
    Route(
        "GET",
        "/metrics",
        health.get_metrics,
        "Prometheus metrics",
        {200: None},
        answer_media=TEXT_MEDIA,
    ),
    Route("GET", "/openapi.json", nodes.get_openapi, "This description", {200: None}),
    Route(
        "GET",
        "/ws",
        get_ws,
        "WebSocket: channels blocks, mempool, tx:ID, account:ADDRESS",
        {101: None},
    ),
)
