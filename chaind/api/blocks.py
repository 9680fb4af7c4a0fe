"""Routes about blocks. Lists are of final blocks only: nothing in them ever changes."""

import asyncio
from collections.abc import AsyncIterator

from aiohttp import web
from msgspec.structs import asdict

from chaind.api.answers import (
    MSGPACK_MEDIA,
    Answer,
    BlockSummary,
    CertificateForm,
    TransactionItem,
    block_summary,
    certificate_form,
    genesis_summary,
    respond,
    transaction_item,
)
from chaind.api.bodies import hex_bytes, query_cursor, query_integer
from chaind.api.context import Api
from chaind.primitives.codec import encode
from chaind.primitives.errors import Malformed, Unknown
from chaind.primitives.hashes import HASH_BYTES

PAGE, PAGE_MAX = 20, 100  # a block of the full 2 MiB takes tens of milliseconds to decode
TRANSACTIONS_PAGE, TRANSACTIONS_PAGE_MAX = 100, 500
RAW_PAGE_MAX = 512  # bytes bound it first when blocks are full
HEIGHT_MAX = 2**53


class BlockUnknown(Unknown):
    code = "block-unknown"
    text = "there is no final block {ref}"
    advice = (
        "Name a height up to that of GET /status, a hash of a final block (of a mined chain also "
        "of one that leads to the head), or latest."
    )


class BlockRefInvalid(Malformed):
    code = "block-reference-invalid"
    text = "{given!r} is neither a height nor a block hash"
    advice = "Give a number, or 64 hex digits in display order, or latest."


class RangeInvalid(Malformed):
    code = "range-invalid"
    text = "blocks {start} to {end} are no range"
    advice = "Give a start no greater than the end; GET /status shows the newest height."


class BlockAnswer(BlockSummary, frozen=True, kw_only=True):
    """A block with a page of its transactions, and the certificate that covers it."""

    certificate: CertificateForm | None
    transactions: list[TransactionItem]
    next_cursor: str | None


class ChainPage(Answer, frozen=True):
    """Blocks in ascending order. `length` counts block 0; the page after begins at the cursor."""

    length: int
    chain: list[BlockSummary]
    next_cursor: str | None


class RangePage(Answer, frozen=True):
    """The final blocks of a range, at most 100 of them; `next_start` where it goes on."""

    blocks: list[BlockSummary]
    count: int
    next_start: int | None


class HeaderForm(Answer, frozen=True):
    """A header: 80 bytes in hex, hash and height."""

    height: int
    hash: str
    previous_hash: str
    timestamp: int
    header: str


class HeadersPage(Answer, frozen=True):
    """Headers in ascending order."""

    length: int
    headers: list[HeaderForm]
    next_cursor: str | None


async def get_chain(api: Api, request: web.Request) -> web.Response:
    """Pages of the whole chain, up to where it ended when the first page was asked."""
    limit = query_integer(request, "limit", PAGE, 1, PAGE_MAX)
    start, anchor = _position(api, request)
    chain = [block async for block in _summaries(api, start, min(anchor, start + limit - 1))]
    return respond(ChainPage(anchor + 1, chain, _next(chain, anchor)))


async def get_headers(api: Api, request: web.Request) -> web.Response:
    """The same with headers alone."""
    limit = query_integer(request, "limit", PAGE_MAX, 1, PAGE_MAX)
    start, anchor = _position(api, request)
    chain = [block async for block in _summaries(api, start, min(anchor, start + limit - 1))]
    headers = [
        HeaderForm(block.height, block.hash, block.previous_hash, block.timestamp, block.header)
        for block in chain
    ]
    return respond(HeadersPage(anchor + 1, headers, _next(chain, anchor)))


async def get_range(api: Api, request: web.Request) -> web.Response:
    """Blocks start to end, both included."""
    height = api.node.chain.final.height
    start = query_integer(request, "start", 0, 0, HEIGHT_MAX)
    end = query_integer(request, "end", height, 0, HEIGHT_MAX)
    if end < start:
        raise RangeInvalid(start=start, end=end)
    end = min(end, height)
    stop = min(end, start + PAGE_MAX - 1)
    blocks = [block async for block in _summaries(api, start, stop)]
    return respond(RangePage(blocks, len(blocks), stop + 1 if stop < end else None))


async def get_raw(api: Api, request: web.Request) -> web.Response:
    """Canonical bytes, to check a chain by: MessagePack of [start, [block…], certificate | nil].

    The certificate is of the last block and covers all of them; a page that is smaller than the
    distance to the next certificate is empty, as is one behind the tip. Blocks of miners have none.
    """
    start = query_integer(request, "start", 1, 1, HEIGHT_MAX)
    limit = query_integer(request, "limit", RAW_PAGE_MAX, 1, RAW_PAGE_MAX)
    page = api.node.queries.raw_blocks(start, limit)
    return web.Response(body=encode(page), content_type=MSGPACK_MEDIA)


async def get_block(api: Api, request: web.Request) -> web.Response:
    """One block by height, hash or `latest`."""
    text = request.match_info["ref"]
    ref = _parse_ref(api, text)
    limit = query_integer(request, "limit", TRANSACTIONS_PAGE, 1, TRANSACTIONS_PAGE_MAX)
    start = (query_cursor(request, 1) or (0,))[0]
    if ref in (0, api.node.genesis.hash):
        return respond(
            BlockAnswer(
                **asdict(genesis_summary(api.node.genesis)),
                certificate=None,
                transactions=[],
                next_cursor=None,
            )
        )
    info = api.node.queries.block(ref)
    if info is None:
        raise BlockUnknown(ref=text)
    page = info.block.transactions[start : start + limit]
    after = start + len(page)
    covering = api.node.queries.certificate(info.height)
    return respond(
        BlockAnswer(
            **asdict(block_summary(api.forms, info)),
            certificate=covering and certificate_form(*covering),
            transactions=[transaction_item(api.forms, item) for item in page],
            next_cursor=str(after) if after < len(info.block.transactions) else None,
        )
    )


def _parse_ref(api: Api, text: str) -> int | bytes:
    if text == "latest":
        return api.node.chain.final.height
    if text.isascii() and text.isdigit() and len(text) <= 15:
        return int(text)
    return hex_bytes(text, HASH_BYTES, lambda: BlockRefInvalid(given=text[:80]))[::-1]


def _position(api: Api, request: web.Request) -> tuple[int, int]:
    """(first height, anchor): a cursor is "anchor.next"."""
    height = api.node.chain.final.height
    cursor = query_cursor(request, 2)
    if cursor is None:
        return 0, height
    anchor, start = cursor
    return start, min(anchor, height)


def _next(chain: list[BlockSummary], anchor: int) -> str | None:
    return f"{anchor}.{chain[-1].height + 1}" if chain and chain[-1].height < anchor else None


async def _summaries(api: Api, start: int, end: int) -> AsyncIterator[BlockSummary]:
    for height in range(start, end + 1):
        info = api.node.queries.block(height) if height else None
        if info is not None:
            yield block_summary(api.forms, info)
        elif height == 0:
            yield genesis_summary(api.node.genesis)
        await asyncio.sleep(0)  # let votes pass between two large blocks
