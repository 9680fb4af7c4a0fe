"""Routes about transactions: the door where they come in, and what became of them.

Every item of a batch has its own answer, in order. What was submitted before a stream broke is
answered too, and the break is the last answer.
"""

import asyncio
from collections.abc import AsyncIterator, Iterable, Sequence
from http import HTTPStatus

import msgspec
from aiohttp import web

from chaind.api.answers import (
    JSON_MEDIA,
    MSGPACK_MEDIA,
    NDJSON_MEDIA,
    Answer,
    encode_json,
    parse_txid,
    respond,
)
from chaind.api.batches import (
    ITEMS_MAX,
    LineSplitter,
    MessagePackSplitter,
    item_raw,
    line_raw,
    raw_array,
)
from chaind.api.bodies import (
    BATCH_S_MAX,
    WAIT_MS_MAX,
    parse_json,
    query_integer,
    read_body,
    stream_body,
    wait_preference,
)
from chaind.api.context import Api
from chaind.api.forms import TransactionForm, maybe
from chaind.api.guards import check_media
from chaind.api.problems import BodyTooLarge, Problem, problem_of
from chaind.api.refund_form import RefundForm, refund_form
from chaind.node.intake import Submission
from chaind.node.queries import TransactionInfo
from chaind.primitives.amounts import format_amount
from chaind.primitives.errors import ChaindError, Malformed, RuleBroken, TooLarge
from chaind.primitives.hashes import display_hash

SLICE_ITEMS = 500  # keeps the signature threads busy for 10 ms, and the loop for less
UNREADABLE_MAX = 1_000  # items that are no transactions at all, before the rest goes unread
CHUNK_BYTES = 64 << 10  # pieces of a body are cut apart together: a byte at a time costs nothing
PENDING_PAGE, PENDING_PAGE_MAX = 100, 1_000
BATCH_MEDIA = (JSON_MEDIA, NDJSON_MEDIA, MSGPACK_MEDIA)
OPEN_STATUSES = ("pending", "included")


class TransactionEnded(RuleBroken):
    code = "transaction-ended"
    text = "transaction {txid} is {status} and will never apply: {reason}"
    advice = "Make a new transaction. If another one is named, it took this one's place."


class BatchTooLong(TooLarge):
    code = "batch-too-long"
    text = "the batch has more than {limit} items; those up to there are answered, if it streamed"
    advice = "Send it in parts."


class BatchUnreadable(Malformed):
    code = "batch-unreadable"
    text = "more than {limit} items are no transactions: the rest of the batch was not read"
    advice = (
        "Check that the Content-Type fits the body, correct what was refused, and send the rest "
        "again."
    )


class Accepted(Answer, frozen=True, tag_field="status", tag="accepted"):
    """Durable here, on its way."""

    tx_id: str


class Final(Answer, frozen=True, tag_field="status", tag="final"):
    """Applied for good."""

    tx_id: str


class Refused(Answer, frozen=True, tag_field="status", tag="refused"):
    """An item that was not taken, and why."""

    tx_id: str | None
    problem: Problem


Result = Accepted | Final | Refused


class BatchAnswer(Answer, frozen=True):
    """One result per item, in order."""

    results: list[Result]
    accepted: int
    refused: int


class RefundOf(Answer, frozen=True):
    """A transaction that gives back some of payment `tx_id`, as its refund `number`."""

    tx_id: str
    number: int


class TransactionAnswer(Answer, frozen=True, kw_only=True):
    """What became of a transaction.

    `status` is pending, included, final, rejected or expired; `by` is the transaction that took
    the place of a rejected one. `confirmations` counts blocks from its own on: final ones, or on
    chains of miners all up to the head. `refund_of` says which payment it gives back, `refunds`
    what was given back of it, payee by payee; null where that is too much to show at once, and is
    asked for by payee.
    """

    tx_id: str
    status: str
    reason: str | None
    by: str | None
    height: int | None
    place: int | None
    block_hash: str | None
    confirmations: int
    time_ms: int | None
    transaction: TransactionForm | None
    refund_of: RefundOf | None
    refunds: list[RefundForm] | None


class PendingForm(Answer, frozen=True):
    """A transaction that waits for a block."""

    tx_id: str
    fee: str
    size: int
    received_ms: int
    transaction: TransactionForm


class PendingPage(Answer, frozen=True):
    """The oldest waiting transactions; `count` is of all."""

    transactions: list[PendingForm]
    count: int


def transaction_answer(api: Api, info: TransactionInfo) -> TransactionAnswer:
    """The form of a transaction's state."""
    refunds = api.node.refunds
    memo = refunds.refunded_by(info.transaction) if info.transaction is not None else None
    given = refunds.of_payment(info.txid) if info.status == "final" else []
    return TransactionAnswer(
        tx_id=info.txid.hex(),
        status=info.status,
        reason=info.reason,
        by=maybe(bytes.hex, info.by),
        height=info.height,
        place=info.place,
        block_hash=maybe(display_hash, info.block_hash),
        confirmations=info.confirmations,
        time_ms=info.time_ms,
        transaction=maybe(api.forms.transaction_to_json, info.transaction),
        refund_of=None if memo is None else RefundOf(memo.txid.hex(), memo.number),
        refunds=None if given is None else [refund_form(api, *one) for one in given],
    )


async def get_transaction(api: Api, request: web.Request) -> web.Response:
    """Where a transaction is, on this node."""
    info = api.node.queries.transaction(parse_txid(request.match_info["id"]))
    return respond(transaction_answer(api, info))


async def get_pending(api: Api, request: web.Request) -> web.Response:
    """What waits for a block."""
    limit = query_integer(request, "limit", PENDING_PAGE, 1, PENDING_PAGE_MAX)
    entries = [
        PendingForm(
            entry.transaction.txid.hex(),
            format_amount(entry.fee),
            entry.size,
            entry.received_ms,
            api.forms.transaction_to_json(entry.transaction),
        )
        for entry in api.node.queries.pending(limit)
    ]
    return respond(PendingPage(entries, api.node.queries.pending_count))


async def post_transactions(api: Api, request: web.Request) -> web.Response:
    """One transaction, an array, or a stream."""
    media = check_media(request, BATCH_MEDIA)
    wait_final = wait_preference(request) == "final"
    if media != JSON_MEDIA:
        return await _post_stream(api, request, media, wait_final)
    body = await read_body(request, api.section.batch_bytes_max)
    if body.lstrip()[:1] != b"[":
        return await _post_one(api, line_raw(api.forms, body), wait_final)
    results = await _submit_array(api, _array(api, body))
    if wait_final:
        results = await _when_final(api, results)
    refused = sum(isinstance(result, Refused) for result in results)
    return respond(BatchAnswer(results, len(results) - refused, refused), _batch_status(results))


def _array(api: Api, body: bytes) -> Sequence[object]:
    """The items of a JSON array, those in hex as hex. What else a long one holds is refused."""
    if body.count(b'"raw"') > ITEMS_MAX:  # before they take ten times their bytes
        raise BatchTooLong(limit=ITEMS_MAX)
    found = raw_array(body)
    if found is None:
        if len(body) > api.section.body_bytes_max:
            raise BodyTooLarge(limit_bytes=api.section.body_bytes_max)
        found = parse_json(body)
    return found


async def _submit_array(api: Api, values: Sequence[object]) -> list[Result]:
    answers = _Answers()
    try:
        for start in range(0, len(values), SLICE_ITEMS):
            items = [_parsed(api, value) for value in values[start : start + SLICE_ITEMS]]
            answers.add(await _submit(api, items))
    except BatchUnreadable as error:
        answers.results.append(Refused(None, problem_of(error)))
    return answers.results


class _Answers:
    """The results of a batch so far. Answers cost memory: garbage gets no more than its share."""

    def __init__(self) -> None:
        self.results: list[Result] = []
        self._unreadable = 0

    def add(self, results: Sequence[Result]) -> None:
        """Raises `BatchUnreadable` or `BatchTooLong` where the rest is not worth reading."""
        self.results += results
        self._unreadable += sum(
            isinstance(result, Refused) and result.problem.status == HTTPStatus.BAD_REQUEST
            for result in results
        )
        if self._unreadable > UNREADABLE_MAX:
            raise BatchUnreadable(limit=UNREADABLE_MAX)
        if len(self.results) > ITEMS_MAX:
            raise BatchTooLong(limit=ITEMS_MAX)


async def _post_one(api: Api, raw: bytes, wait_final: bool) -> web.Response:
    [submission] = await api.node.intake.submit((raw,), local=True)
    if submission.error is not None:
        raise submission.error
    assert submission.txid is not None
    if wait_final:
        return await final_response(api, submission.txid)
    return respond(Accepted(submission.txid.hex()), 202)


async def final_response(api: Api, txid: bytes) -> web.Response:
    """200 once final, 202 where it is not at the bound. Raises `TransactionEnded`."""
    headers = {"Preference-Applied": "wait=final"}
    if await _applied(api, txid, WAIT_MS_MAX):
        await _everywhere(api)
        return respond(Final(txid.hex()), 200, headers)
    return respond(Accepted(txid.hex()), 202, headers)


async def _applied(api: Api, txid: bytes, timeout_ms: float) -> bool:
    """True once final, False while open at the bound. Raises `TransactionEnded`.

    Asks for no more than that: the whole state of a final transaction is read from its block.
    """
    queries = api.node.queries
    if not queries.is_final(txid) and queries.transaction(txid).status in OPEN_STATUSES:
        await api.node.waiters.wait(txid, timeout_ms)
    if queries.is_final(txid):
        return True
    refuse_ended(queries.transaction(txid))
    return False


async def _everywhere(api: Api) -> None:
    """Wait until peers in step have made final what this node has: "final" is true on any node."""
    await api.node.waiters.visible(api.node.chain.final.height)


def refuse_ended(info: TransactionInfo) -> None:
    """Raise `TransactionEnded` for a transaction that will never apply."""
    if info.status not in ("final", *OPEN_STATUSES):
        rival = f", {info.by.hex()} did" if info.by else ""
        raise TransactionEnded(
            txid=info.txid.hex(), status=info.status, reason=f"{info.reason}{rival}"
        )


async def _post_stream(
    api: Api, request: web.Request, media: str, wait_final: bool
) -> web.Response:
    """Submitted in slices while it arrives; the answer has the request's own media type."""
    answers = _Answers()
    items: list[bytes | ChaindError] = []
    broken: ChaindError | None = None
    try:
        async for piece in _cut(api, request, media):
            for cut in piece:
                items.append(_line(api, cut) if media == NDJSON_MEDIA else cut)
                if len(items) == SLICE_ITEMS:
                    full, items = items, []
                    answers.add(await _submit(api, full))
    except ChaindError as error:
        if not answers.results and not items:
            raise
        broken = error
    results = answers.results + await _submit(api, items)
    if wait_final:
        results = await _when_final(api, results)
    if broken is not None:
        results.append(Refused(None, problem_of(broken)))
    return web.Response(
        body=_encode_stream(results, media), status=_batch_status(results), content_type=media
    )


async def _cut(api: Api, request: web.Request, media: str) -> AsyncIterator[Iterable[bytes]]:
    """Items as they arrive, some at a time."""
    splitter: LineSplitter | MessagePackSplitter = LineSplitter()
    if media == MSGPACK_MEDIA:
        splitter = MessagePackSplitter(api.node.genesis.parameters.transaction_bytes_max)
    parts: list[bytes] = []
    size = 0
    async for part in stream_body(request, api.section.batch_bytes_max, BATCH_S_MAX):
        parts.append(part)
        size += len(part)
        if size >= CHUNK_BYTES:
            yield splitter.feed(b"".join(parts))
            parts, size = [], 0
    yield splitter.feed(b"".join(parts))
    yield splitter.end()


def _line(api: Api, line: bytes) -> bytes | ChaindError:
    try:
        return line_raw(api.forms, line)
    except Malformed as error:
        return error


def _parsed(api: Api, value: object) -> bytes | ChaindError:
    try:
        return item_raw(api.forms, value)
    except Malformed as error:
        return error


async def _submit(api: Api, items: Sequence[bytes | ChaindError]) -> list[Result]:
    """Submit what could be read; a result per item."""
    raws = [item for item in items if isinstance(item, bytes)]
    await asyncio.sleep(0)  # what is refused at once waits for nothing, and must hold up nobody
    submissions = iter(await api.node.intake.submit(raws, local=True) if raws else ())
    return [
        _result(next(submissions)) if isinstance(item, bytes) else Refused(None, problem_of(item))
        for item in items
    ]


def _result(submission: Submission) -> Result:
    txid = submission.txid.hex() if submission.txid is not None else None
    if submission.error is not None:
        return Refused(txid, problem_of(submission.error))
    assert txid is not None
    return Accepted(txid)


async def _when_final(api: Api, results: Sequence[Result]) -> list[Result]:
    """The results once their transactions have ended, or as far as they have at the bound."""
    loop = asyncio.get_running_loop()
    deadline = loop.time() + WAIT_MS_MAX / 1000
    ended: list[Result] = []
    for result in results:
        outcome = result
        if isinstance(result, Accepted):
            left_ms = max(0.0, (deadline - loop.time()) * 1000)
            try:
                if await _applied(api, bytes.fromhex(result.tx_id), left_ms):
                    outcome = Final(result.tx_id)
            except TransactionEnded as error:
                outcome = Refused(result.tx_id, problem_of(error))
        ended.append(outcome)
    await _everywhere(api)
    return ended


def _batch_status(results: Iterable[Result]) -> int:
    """202 while something is on its way, 200 where everything has ended."""
    return 202 if any(isinstance(result, Accepted) for result in results) else 200


def _encode_stream(results: Sequence[Result], media: str) -> bytes:
    if media == NDJSON_MEDIA:
        return b"".join(encode_json(result) + b"\n" for result in results)
    return b"".join(map(msgspec.msgpack.encode, results))
