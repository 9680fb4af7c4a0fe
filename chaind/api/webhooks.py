"""Routes of webhooks: subscribe, look, try again, end. All of them need the node's token."""

from typing import Annotated

from aiohttp import web
from msgspec import Meta

from chaind.api.answers import JSON_MEDIA, Answer, respond
from chaind.api.bodies import read_json
from chaind.api.context import Api
from chaind.api.events import TIP, read_asset, read_cursor
from chaind.api.forms import FieldInvalid, maybe
from chaind.api.guards import check_media
from chaind.api.problems import QueryInvalid
from chaind.api.webhook_delivery import Subscriber
from chaind.api.webhook_targets import URL_CHARS_MAX
from chaind.node.movements import KINDS, Kind, Selection

Url = Annotated[str, Meta(extra_json_schema={"pattern": "^https?://", "maxLength": URL_CHARS_MAX})]
Secret = Annotated[str, Meta(min_length=16, max_length=256)]


class WebhookRequest(Answer, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A subscription. `events` are kinds, all by default; `account` and `asset` narrow it down.

    `secret` signs the deliveries and is never told again. `cursor` is "tip" by default, so that
    what is final from now on is delivered; any cursor of the event feed begins there, and "0.0.0"
    with the genesis.
    """

    url: Url
    secret: Secret
    events: tuple[Kind, ...] = ()
    account: str | None = None
    asset: str | None = None
    cursor: str = TIP

    def __repr__(self) -> str:
        return "WebhookRequest(…)"  # a default one would show the secret


class RetryRequest(Answer, frozen=True, forbid_unknown_fields=True):
    """Which dead letter to try again; all of them by default."""

    event_id: str | None = None


class DeadLetterForm(Answer, frozen=True):
    """An event that was given up; `due` while it waits to be tried once more."""

    event_id: str
    reason: str
    failed_ms: int
    due: bool


class WebhookAnswer(Answer, frozen=True, kw_only=True):
    """A subscription and how far it has come.

    Events before `cursor` were delivered or are dead letters. `failures` counts attempts since the
    last delivery; the next one is due at `retry_at_ms`, null for at once. `dead_letters`, the
    oldest first, are told of one subscription, not in a list of many.
    """

    id: str
    url: str
    events: tuple[Kind, ...]
    account: str | None
    asset: str | None
    created_ms: int
    cursor: str
    pending: int
    delivered: int
    last_event_id: str | None
    last_delivery_ms: int | None
    failures: int
    failing_since_ms: int | None
    retry_at_ms: int | None
    last_error: str | None
    dead_letter_count: int
    dead_letters: list[DeadLetterForm] | None


class WebhooksAnswer(Answer, frozen=True):
    """All subscriptions of this node, the oldest first."""

    webhooks: list[WebhookAnswer]
    count: int


class RemovedAnswer(Answer, frozen=True):
    """Nothing more is delivered. `cursor` is where another subscription can go on."""

    id: str
    status: str
    cursor: str


async def post_webhook(api: Api, request: web.Request) -> web.Response:
    """201 with the subscription once it is on disk."""
    check_media(request, (JSON_MEDIA,))
    wanted = await read_json(request, api.section.body_bytes_max, WebhookRequest)
    try:
        start = read_cursor(api, wanted.cursor)
        asset = maybe(lambda symbol: read_asset(api.forms, symbol), wanted.asset)
    except QueryInvalid as error:
        name = str(error.values["name"])
        raise FieldInvalid(field=name, reason=f"it must be {error.values['allowed']}") from None
    selection = Selection(
        account=maybe(api.node.payments.resolve, wanted.account),
        asset=asset,
        kinds=tuple(dict.fromkeys(wanted.events)),
    )
    subscriber = await api.webhooks.add(
        url=wanted.url, secret=wanted.secret, selection=selection, start=start
    )
    return respond(_answer(api, subscriber), 201)


async def get_webhooks(api: Api, _request: web.Request) -> web.Response:
    """Every subscription, without its dead letters."""
    found = [_answer(api, one, letters=False) for one in api.webhooks.all()]
    return respond(WebhooksAnswer(found, len(found)))


async def get_webhook(api: Api, request: web.Request) -> web.Response:
    """One subscription, with its dead letters."""
    return respond(_answer(api, api.webhooks.get(request.match_info["id"])))


async def delete_webhook(api: Api, request: web.Request) -> web.Response:
    """Ends a subscription; an event that is under way may still arrive."""
    subscriber = await api.webhooks.remove(request.match_info["id"])
    return respond(RemovedAnswer(subscriber.record.id, "removed", str(subscriber.position)))


async def post_webhook_retry(api: Api, request: web.Request) -> web.Response:
    """202: dead letters are tried once more, and what is held up is tried at once."""
    check_media(request, (JSON_MEDIA,))
    wanted = await read_json(request, api.section.body_bytes_max, RetryRequest)
    subscriber = await api.webhooks.retry(request.match_info["id"], wanted.event_id)
    return respond(_answer(api, subscriber), 202)


def _answer(api: Api, subscriber: Subscriber, *, letters: bool = True) -> WebhookAnswer:
    record = subscriber.record
    dead = [
        DeadLetterForm(letter.id, letter.reason, letter.failed_ms, letter.due)
        for letter in record.dead
    ]
    return WebhookAnswer(
        id=record.id,
        url=record.url,
        events=record.kinds or KINDS,
        account=maybe(api.forms.show, record.selection.account),
        asset=maybe(api.forms.symbol, record.asset),
        created_ms=record.created_ms,
        cursor=str(subscriber.position),
        pending=subscriber.pending,
        delivered=record.delivered,
        last_event_id=record.last_event_id,
        last_delivery_ms=record.last_delivery_ms,
        failures=record.failures,
        failing_since_ms=record.failing_since_ms,
        retry_at_ms=record.retry_at_ms,
        last_error=record.last_error,
        dead_letter_count=len(dead),
        dead_letters=dead if letters else None,
    )
