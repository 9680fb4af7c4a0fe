"""All webhook subscriptions of a node: made, found, removed, and each served by a task of its own.

Law: a subscription is on disk before it is told, and gone from there before that is told. What
ends a task unexpectedly ends the node. Answers and logs name a subscription by its id; its secret
is in its file and nowhere else.
"""

import asyncio
import secrets
from collections.abc import Callable, Iterator
from random import Random, SystemRandom

import aiohttp
import structlog
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily
from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector

from chaind.api.forms import Forms
from chaind.api.webhook_delivery import ANSWER_S_MAX, Shared, Subscriber, Totals
from chaind.api.webhook_records import Record, Records
from chaind.api.webhook_targets import PublicResolver, check_target, read_url
from chaind.node.events import Event, FinalEvent
from chaind.node.home import Home
from chaind.node.movements import Position, Selection
from chaind.node.node import Node
from chaind.primitives.errors import TooMany, Unknown
from chaind.storage.files import OsFiles

SUBSCRIPTIONS_MAX = 32  # each may read the whole chain, and holds a connection
ID_BYTES = 8

log = structlog.get_logger("chaind.webhooks")


class WebhookUnknown(Unknown):
    code = "webhook-unknown"
    text = "this node has no webhook {id}"
    advice = "GET /api/v1/webhooks lists those that it has."


class DeadLetterUnknown(Unknown):
    code = "dead-letter-unknown"
    text = "event {event_id} is not among the dead letters of webhook {id}"
    advice = "GET the webhook to see them. Events before its cursor were delivered."


class TooManyWebhooks(TooMany):
    code = "too-many-webhooks"
    text = "this node keeps {limit} webhooks, and all are taken"
    advice = "Remove one that is no longer needed, or subscribe at another node."


class Subscriptions:
    """See the module's law. Construct, then `start`; nothing else before that."""

    def __init__(self, node: Node, forms: Forms) -> None:
        self._node = node
        self._forms = forms
        self._section = node.config.webhooks
        self._records = Records(OsFiles(), Home(node.config.node.home_path()).webhooks)
        self._subscribers: dict[str, Subscriber] = {}
        self._tasks: dict[str, asyncio.Task[None]] = {}
        self._adding = asyncio.Lock()
        self._shared: Shared | None = None
        self.totals = Totals()
        self._collector = _WebhookCollector(self)
        self._unsubscribe: Callable[[], None] | None = None

    async def start(self, dice: Random | None = None) -> None:
        """Go on with what is on disk. Raises `WebhookFileInvalid`."""
        records = list(self._records.load())
        private = self._section.allow_private
        connector = aiohttp.TCPConnector(resolver=None if private else PublicResolver())
        self._shared = Shared(
            feed=self._node.feed,
            forms=self._forms,
            chain=self._node.genesis.hash.hex(),
            records=self._records,
            session=aiohttp.ClientSession(
                connector=connector,
                timeout=aiohttp.ClientTimeout(total=ANSWER_S_MAX),
                cookie_jar=aiohttp.DummyCookieJar(),
                auto_decompress=False,
            ),
            clock=self._node.clock,
            dice=dice or SystemRandom(),
            retry_for_ms=self._section.retry_for_s * 1_000,
            allow_private=private,
            totals=self.totals,
        )
        self._node.metrics.register(self._collector)
        self._unsubscribe = self._node.events.subscribe(self._handle)
        for record in records:
            self._serve(record)

    async def stop(self) -> None:
        """End every delivery, and note how far each subscription has come.

        Raises what the disk does, once everything is closed.
        """
        if self._shared is None:
            return
        assert self._unsubscribe is not None, "started"
        self._unsubscribe()
        self._node.metrics.unregister(self._collector)
        for task in self._tasks.values():
            task.cancel()
        await asyncio.gather(*self._tasks.values(), return_exceptions=True)  # told by `_ended`
        await self._shared.session.close()
        self._shared = None
        closing = [subscriber.close() for subscriber in self._subscribers.values()]
        for result in await asyncio.gather(*closing, return_exceptions=True):
            if isinstance(result, BaseException):
                raise result

    def all(self) -> list[Subscriber]:
        """Every subscription, the oldest first."""
        return sorted(self._subscribers.values(), key=lambda one: one.record.created_ms)

    def get(self, own: str) -> Subscriber:
        """One subscription. Raises `WebhookUnknown`."""
        found = self._subscribers.get(own)
        if found is None:
            raise WebhookUnknown(id=own[:40])
        return found

    async def add(
        self, *, url: str, secret: str, selection: Selection, start: Position
    ) -> Subscriber:
        """A new subscription, from `start` on. Raises `WebhookUrlInvalid`, `TooManyWebhooks` or
        `WebhookTargetRefused`."""
        await check_target(read_url(url), allow_private=self._section.allow_private)
        record = Record(
            id=secrets.token_hex(ID_BYTES),
            url=url,
            secret=secret,
            kinds=selection.kinds,
            account=selection.account.hex() if selection.account is not None else None,
            asset=selection.asset,
            created_ms=self._node.clock.now_ms(),
            cursor=str(start),
        )
        async with self._adding:
            if len(self._subscribers) >= SUBSCRIPTIONS_MAX:
                raise TooManyWebhooks(limit=SUBSCRIPTIONS_MAX)
            await asyncio.to_thread(self._records.write, record.id, record.encode())
            return self._serve(record)

    async def remove(self, own: str) -> Subscriber:
        """End a subscription and forget it. Raises `WebhookUnknown`."""
        subscriber = self.get(own)
        del self._subscribers[own]
        task = self._tasks.pop(own)
        task.cancel()
        await asyncio.wait([task])
        await subscriber.forget()
        log.info("webhook_removed", webhook=own)
        return subscriber

    async def retry(self, own: str, event_id: str | None) -> Subscriber:
        """Try one dead letter again, or all of them, now. Raises `WebhookUnknown` or
        `DeadLetterUnknown`."""
        subscriber = self.get(own)
        letters = {letter.id for letter in subscriber.record.dead}
        if event_id is not None:
            if event_id not in letters:
                raise DeadLetterUnknown(event_id=event_id[:80], id=own)
            letters = {event_id}
        await subscriber.retry(letters)
        return subscriber

    def _serve(self, record: Record) -> Subscriber:
        assert self._shared is not None, "started first"
        subscriber = self._subscribers[record.id] = Subscriber(record, self._shared)
        task = self._tasks[record.id] = asyncio.create_task(subscriber.run())
        task.add_done_callback(self._ended)
        log.info("webhook_served", webhook=record.id, cursor=record.cursor)
        return subscriber

    def _ended(self, task: "asyncio.Task[None]") -> None:
        error = None if task.cancelled() else task.exception()
        if isinstance(error, Exception):
            self._node.timers.fail(error)

    def _handle(self, event: Event) -> None:
        if isinstance(event, FinalEvent):
            for subscriber in self._subscribers.values():
                subscriber.news.set()


class _WebhookCollector(Collector):
    """What the subscriptions count, read when it is scraped."""

    def __init__(self, subscriptions: Subscriptions) -> None:
        self._subscriptions = subscriptions

    def collect(self) -> Iterator[Metric]:
        """One family per figure."""
        all_of_them = self._subscriptions.all()
        records = [one.record for one in all_of_them]
        gauges = {
            "subscriptions": ("Webhook subscriptions", len(records)),
            "pending": (
                "Events read for delivery and not delivered, 50 of a subscription at most",
                sum(one.pending for one in all_of_them),
            ),
            "failing": (
                "Subscriptions whose last attempt failed",
                sum(1 for record in records if record.failures),
            ),
            "dead_letters": ("Events given up", sum(len(record.dead) for record in records)),
        }
        for name, (text, value) in gauges.items():
            yield GaugeMetricFamily(f"chaind_webhooks_{name}", text, value)
        totals = self._subscriptions.totals
        counters = {
            "delivered": ("Deliveries that a receiver took", totals.delivered),
            "failed": ("Attempts at a delivery that failed", totals.failed),
        }
        for name, (text, value) in counters.items():
            yield CounterMetricFamily(f"chaind_webhooks_{name}", text, value)
