"""One subscription at work: the next event, signed, posted, and again until it is taken.

Law: one delivery at a time, in the order of the trail, each at least once. The cursor moves past an
event after a 2xx answer, or when the event is put among the dead letters, and is on disk soon
after; what a crash takes back is delivered again under the same id. Nothing of an answer but its
status counts, no redirect is followed, and every wait has a bound.
"""

import asyncio
from random import Random
from typing import NamedTuple

import aiohttp
import msgspec
import structlog
from msgspec.structs import replace

from chaind import __version__
from chaind.api.answers import JSON_MEDIA, Answer
from chaind.api.event_form import EventForm, event_form
from chaind.api.forms import Forms
from chaind.api.webhook_records import DeadLetter, Record, Records, read_position
from chaind.api.webhook_targets import AddressRefused, read_url, refuse_literal
from chaind.node.clock import Clock
from chaind.node.movements import Feed, Movement, Position
from chaind.primitives.errors import Temporary
from chaind.wallet.webhook_signature import EVENT_ID_HEADER, SIGNATURE_HEADER, sign_delivery

PAGE = 50  # events in memory of one subscription
ANSWER_S_MAX = 10.0  # for a whole delivery
BACKOFF_MS_FIRST, BACKOFF_MS_MAX = 500, 300_000  # doubled each time, then scattered downwards
BACKOFF_DOUBLINGS_MAX = 16  # by then the bound holds in any case
DEAD_LETTERS_MAX = 1_000  # then nothing more is given up: the subscription stays where it is
SAVE_MS = 1_000  # between writes of a cursor that moves quickly: what a crash may send again
IDLE_BLOCKS_MAX = 1_000  # looked through without an event, before that is noted on disk
READ_AGAIN_MS = 1_000  # where a block cannot be read until it is fetched again

log = structlog.get_logger("chaind.webhooks")


class Totals:
    """What all subscriptions of this run counted together."""

    def __init__(self) -> None:
        self.delivered = 0
        self.failed = 0


class Shared(NamedTuple):
    """What the subscriptions of one node share. `chain` names it in every delivery."""

    feed: Feed
    forms: Forms
    chain: str
    records: Records
    session: aiohttp.ClientSession
    clock: Clock
    dice: Random
    retry_for_ms: int
    allow_private: bool
    totals: Totals


class Delivery(Answer, frozen=True):
    """The body that a receiver gets. `chain` is the hash of the genesis."""

    webhook: str
    chain: str
    event: EventForm


class Subscriber:
    """See the module's law. `run` is a task of the owner's; `close` comes when it has ended."""

    def __init__(self, record: Record, shared: Shared) -> None:
        self.record = record
        self.news = asyncio.Event()  # a block is final, or somebody wants something of it
        self.pending = 0  # events read and not delivered yet, at most `PAGE`
        self.position = read_position(record.cursor)  # where the next event is looked for
        self._shared = shared
        self._url = read_url(record.url)
        self._changed = False  # since the file was written
        self._written_ms = shared.clock.monotonic_ms()
        self._written_height = self.position.height
        self._lock = asyncio.Lock()
        self._forgotten = False
        self._writing: asyncio.Future[None] | None = None

    async def run(self) -> None:
        """Deliver until cancelled, or until the node ends."""
        while not self._shared.feed.released:
            try:
                await self._turn()
            except Temporary as error:  # a block that cannot be read now
                self.record.last_error = error.code
                await self._hear(READ_AGAIN_MS)

    async def close(self) -> None:
        """Note on disk how far it has come."""
        if self._changed or self.position.height > self._written_height:
            await self.save()
        async with self._lock:
            await self._written()

    async def forget(self) -> None:
        """Remove the subscription's file; nothing writes it again."""
        async with self._lock:
            await self._written()
            self._forgotten = True
            await asyncio.to_thread(self._shared.records.remove, self.record.id)

    async def save(self) -> None:
        """Write the subscription's file."""
        async with self._lock:
            await self._written()
            if self._forgotten:
                return
            self.record.cursor = str(self.position)
            data, self._changed = self.record.encode(), False
            self._written_height = self.position.height
            self._written_ms = self._shared.clock.monotonic_ms()
            self._writing = asyncio.get_running_loop().run_in_executor(
                None, self._shared.records.write, self.record.id, data
            )
            await self._written()

    async def _written(self) -> None:
        """Return when no thread writes the file: one may, for a task that was cancelled."""
        writing = self._writing
        if writing is not None:
            try:
                await asyncio.shield(writing)
            finally:
                if writing.done():
                    self._writing = None

    async def retry(self, letters: set[str]) -> None:
        """Try these dead letters, and whatever is held up, now."""
        record = self.record
        record.dead = [
            replace(letter, due=True) if letter.id in letters else letter for letter in record.dead
        ]
        record.retry_at_ms = None
        await self.save()
        self.news.set()

    async def _turn(self) -> None:
        """What is due, then a page of events."""
        feed = self._shared.feed
        self.news.clear()
        if not await self._is_time():
            return
        await self._redeliver()
        if feed.released:
            return
        page = feed.page(self.position, self.record.selection, PAGE)
        self.pending = len(page.movements)
        for movement in page.movements:
            reason = await self._post(movement)
            if reason is not None:
                await self._failed(movement, reason)
                return
            await self._delivered(movement)
            if any(letter.due for letter in self.record.dead):
                return
        self.position = page.next
        if page.at_tip:
            await self._idle()
        else:
            await asyncio.sleep(0)  # others have their turn between pages without a match

    async def _is_time(self) -> bool:
        """Whether the next attempt may be made; if not, some of the pause is over now."""
        due_ms = self.record.retry_at_ms
        if due_ms is None:
            return True
        # A wall clock that was set back must not hold it up for longer than any pause.
        left_ms = min(due_ms - self._shared.clock.now_ms(), BACKOFF_MS_MAX)
        if left_ms > 0:
            await self._hear(left_ms)
            return False
        return True

    async def _idle(self) -> None:
        """Nothing is left to deliver: note that on disk in good time, and wait for news."""
        behind = self.position.height - self._written_height
        if self._changed or behind > IDLE_BLOCKS_MAX:
            since_ms = self._shared.clock.monotonic_ms() - self._written_ms
            if since_ms < SAVE_MS and await self._hear(SAVE_MS - since_ms):
                return
            await self.save()
        await self.news.wait()

    async def _hear(self, timeout_ms: float) -> bool:
        """Whether there was news within this time."""
        try:
            async with asyncio.timeout(timeout_ms / 1000):
                await self.news.wait()
        except TimeoutError:
            return False
        return True

    async def _delivered(self, movement: Movement) -> None:
        record = self.record
        height, place, part = movement.position
        self.position = Position(height, place, part + 1)
        self.pending -= 1
        record.failures, record.failing_since_ms, record.retry_at_ms = 0, None, None
        record.last_error = None
        self._count_delivered(movement)
        if self._shared.clock.monotonic_ms() - self._written_ms >= SAVE_MS:
            await self.save()

    async def _failed(self, movement: Movement, reason: str) -> None:
        record, now_ms = self.record, self._shared.clock.now_ms()
        self._shared.totals.failed += 1
        record.failures += 1
        record.last_error = reason
        if record.failures == 1:  # the outage, not each attempt
            log.warning("webhook_failing", webhook=record.id, reason=reason)
        if record.failing_since_ms is None:
            record.failing_since_ms = now_ms
        waited_ms = now_ms - record.failing_since_ms
        if waited_ms >= self._shared.retry_for_ms and len(record.dead) < DEAD_LETTERS_MAX:
            letter = DeadLetter(id=str(movement.position), reason=reason, failed_ms=now_ms)
            record.dead.append(letter)
            log.warning("webhook_dead_letter", webhook=record.id, event_id=letter.id)
            height, place, part = movement.position
            self.position = Position(height, place, part + 1)
            record.failing_since_ms = None
        doublings = min(record.failures - 1, BACKOFF_DOUBLINGS_MAX)
        pause_ms = min(BACKOFF_MS_MAX, BACKOFF_MS_FIRST << doublings)
        record.retry_at_ms = now_ms + int(pause_ms * (0.5 + self._shared.dice.random() / 2))
        await self.save()

    async def _redeliver(self) -> None:
        """Try dead letters that somebody asked for, once each."""
        record = self.record
        for letter in [letter for letter in record.dead if letter.due]:
            if self._shared.feed.released:
                return
            movement = self._shared.feed.find(read_position(letter.id))
            reason = "no such event" if movement is None else await self._post(movement)
            index = record.dead.index(letter)
            if reason is None:
                assert movement is not None, "it was posted"
                del record.dead[index]
                self._count_delivered(movement)
            else:
                self._shared.totals.failed += 1
                record.dead[index] = replace(letter, reason=reason, due=False)
            await self.save()

    def _count_delivered(self, movement: Movement) -> None:
        record = self.record
        self._shared.totals.delivered += 1
        record.delivered += 1
        record.last_event_id = str(movement.position)
        record.last_delivery_ms = self._shared.clock.now_ms()
        self._changed = True

    async def _post(self, movement: Movement) -> str | None:
        """None where the receiver took it, else why not."""
        shared, record = self._shared, self.record
        event = event_form(shared.forms, movement)
        body = msgspec.json.encode(Delivery(record.id, shared.chain, event))
        headers = {
            "Content-Type": JSON_MEDIA,
            "User-Agent": f"chaind/{__version__}",
            EVENT_ID_HEADER: event.id,
            SIGNATURE_HEADER: sign_delivery(record.secret, body, shared.clock.now_ms()),
        }
        try:
            if not shared.allow_private:
                refuse_literal(self._url)
            # An answer's body is not read: where it has not arrived yet, its connection is closed.
            async with shared.session.post(
                self._url, data=body, headers=headers, allow_redirects=False
            ) as answer:
                return None if 200 <= answer.status <= 299 else f"status {answer.status}"
        except TimeoutError:
            return f"no answer within {ANSWER_S_MAX:g} s"
        except (aiohttp.ClientError, OSError) as error:
            cause = error.os_error if isinstance(error, aiohttp.ClientConnectorError) else error
            if isinstance(cause, AddressRefused):
                return "the address is not public"
            if isinstance(error, aiohttp.ClientConnectorError):
                return "no connection"
            return "no HTTP answer"
