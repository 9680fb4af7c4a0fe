"""One search for everything that has a page: heights, hashes, transactions, addresses, names."""

from collections.abc import Iterator

from aiohttp import web

from chaind.api.answers import Answer, respond
from chaind.api.context import Api
from chaind.node.queries import TransactionUnknown
from chaind.primitives.errors import Malformed, Unknown
from chaind.primitives.hashes import HASH_BYTES

HEIGHT_DIGITS_MAX = 15


class MatchForm(Answer, frozen=True):
    """Something found. `kind` is block, transaction or account; `ref` what its route takes."""

    kind: str
    ref: str


class SearchAnswer(Answer, frozen=True):
    """What fits, the likeliest first; nothing where nothing does. `height` is the final one."""

    query: str
    matches: list[MatchForm]
    height: int


async def get_search(api: Api, request: web.Request) -> web.Response:
    """Look everywhere. An account need not have been paid: any address of the chain is one."""
    query = request.match_info["text"].strip()
    return respond(SearchAnswer(query, list(_matches(api, query)), api.node.chain.final.height))


def _matches(api: Api, query: str) -> Iterator[MatchForm]:
    digits = query.removeprefix("#").replace(",", "")
    if digits.isascii() and digits.isdigit() and len(digits) <= HEIGHT_DIGITS_MAX:
        if int(digits) <= api.node.chain.final.height:
            yield MatchForm("block", str(int(digits)))
    elif len(query) == 2 * HASH_BYTES:
        yield from _hashes(api, query.lower())
    for address in _addresses(api, query):
        yield MatchForm("account", api.forms.show(address))


def _hashes(api: Api, text: str) -> Iterator[MatchForm]:
    try:
        raw = bytes.fromhex(text)
    except ValueError:
        return
    try:
        api.node.queries.transaction(raw)
        yield MatchForm("transaction", text)
    except TransactionUnknown:
        pass
    height = 0 if raw[::-1] == api.node.genesis.hash else api.node.queries.final_height(raw[::-1])
    if height is not None:
        yield MatchForm("block", str(height))


def _addresses(api: Api, query: str) -> Iterator[bytes]:
    """An address or a named account, and validators of that name."""
    try:
        found = api.node.payments.resolve(query)
        yield found
    except (Malformed, Unknown):
        found = b""
    for validator in api.node.genesis.validators:
        if validator.name == query and validator.address != found:
            yield validator.address
