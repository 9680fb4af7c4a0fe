"""The routes of mining over plain HTTP: a template out, a mined header back.

Mining software speaks Stratum or getblocktemplate; these two are for scripts and for clients of
earlier systems.
"""

import msgspec
from aiohttp import web

from chaind.api.answers import JSON_MEDIA, Answer, respond
from chaind.api.bodies import hex_bytes, read_json
from chaind.api.context import Api
from chaind.api.guards import check_media
from chaind.node.template_book import TemplateBook
from chaind.primitives.amounts import format_amount
from chaind.primitives.block import HEADER_BYTES
from chaind.primitives.errors import Conflict, Malformed
from chaind.primitives.hashes import display_hash
from chaind.primitives.work import target_of


class NotMined(Conflict):
    code = "not-mined"
    text = "blocks of this chain are made by its validators, not by miners"
    advice = "Mine on a chain whose genesis has mode pow."


class HeaderHexInvalid(Malformed):
    code = "header-hex-invalid"
    text = "header {given!r} is not 160 hex digits"
    advice = "Send the 80 bytes of the header that was mined, as hex."


class TemplateRequest(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Who is paid: an address, or a name of an account whose key this node keeps."""

    miner_address: str | int


class TemplateAnswer(Answer, frozen=True, kw_only=True):
    """A block that lacks only its work.

    Mine `header` (80 bytes in hex): change its nonce (the last four bytes, little-endian), its time
    (the four bytes at 68) and the lower 29 bits of its version, until its double SHA-256, read as
    Bitcoin reads it, is at most `target`.
    """

    template_id: str
    height: int
    previous_hash: str
    header: str
    target: str
    bits: str
    time: int
    coinbase: str
    transactions: int
    reward: str


class SubmitRequest(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A mined header of a template."""

    template_id: str
    header: str


class SubmitAnswer(Answer, frozen=True, kw_only=True):
    """The block stands on the chain, until a heavier branch comes or it is final."""

    status: str
    height: int
    hash: str


async def post_mine_block(api: Api, request: web.Request) -> web.Response:
    """A template on the tip, paying the miner."""
    check_media(request, (JSON_MEDIA,))
    form = await read_json(request, api.section.body_bytes_max, TemplateRequest)
    name, block = _templates(api).issue(api.node.payments.resolve(form.miner_address))
    return respond(
        TemplateAnswer(
            template_id=name,
            height=block.height,
            previous_hash=display_hash(block.parent),
            header=block.header_bytes.hex(),
            target=f"{target_of(block.header.bits):064x}",
            bits=f"{block.header.bits:08x}",
            time=block.header.time,
            coinbase=block.coinbase_bytes.hex(),
            transactions=len(block.transactions),
            reward=format_amount(sum(output.amount for output in block.coinbase.outputs)),
        )
    )


async def post_submit_block(api: Api, request: web.Request) -> web.Response:
    """A header that was mined for a template."""
    check_media(request, (JSON_MEDIA,))
    form = await read_json(request, api.section.body_bytes_max, SubmitRequest)
    templates = _templates(api)
    header = hex_bytes(form.header, HEADER_BYTES, lambda: HeaderHexInvalid(given=form.header[:200]))
    block = await templates.submit(form.template_id, header)
    return respond(
        SubmitAnswer(status="accepted", height=block.height, hash=display_hash(block.hash))
    )


def _templates(api: Api) -> TemplateBook:
    if api.node.templates is None:
        raise NotMined
    return api.node.templates
