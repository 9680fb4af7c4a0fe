"""The event feed: every final movement of money, the same on every node, from any point on."""

import asyncio

from aiohttp import web

from chaind.api.answers import Answer, respond
from chaind.api.bodies import WAIT_MS_MAX, parse_cursor, query_integer
from chaind.api.context import Api
from chaind.api.event_form import EventForm, event_form
from chaind.api.forms import Forms, maybe
from chaind.api.problems import QueryInvalid
from chaind.node.movements import START, Position, Selection
from chaind.primitives.amounts import is_asset_symbol

EVENTS_PAGE, EVENTS_PAGE_MAX = 100, 500
WAIT_S_MAX = WAIT_MS_MAX // 1_000
TIP = "tip"  # the cursor that names the end as it is now
PLACE_MAX = 2**32 - 1  # how an index row writes a transaction's place in its block


class EventsPage(Answer, frozen=True):
    """Events in order. Ask again with `next_cursor`, at once where `at_tip` is false: a page may
    be short, or empty, because much was looked through."""

    events: list[EventForm]
    count: int
    next_cursor: str
    at_tip: bool


async def get_events(api: Api, request: web.Request) -> web.Response:
    """From the genesis on, or from a cursor; with `wait` an empty page waits for an event."""
    feed = api.node.feed
    limit = query_integer(request, "limit", EVENTS_PAGE, 1, EVENTS_PAGE_MAX)
    wait_s = query_integer(request, "wait", 0, 0, WAIT_S_MAX)
    who, symbol = request.query.get("account"), request.query.get("asset")
    selection = Selection(
        account=maybe(api.node.payments.resolve, who),
        asset=maybe(lambda name: read_asset(api.forms, name), symbol),
    )
    at = read_cursor(api, request.query.get("cursor", str(START)))
    loop = asyncio.get_running_loop()
    deadline = loop.time() + wait_s
    while True:
        page = feed.page(at, selection, limit)
        left_s = deadline - loop.time()
        if page.movements or left_s <= 0:
            break
        at = page.next
        if page.at_tip:
            await feed.beyond(at.height - 1, left_s)
            if feed.released:
                break
        else:
            await asyncio.sleep(0)  # others have their turn between pages without a match
    events = [event_form(api.forms, movement) for movement in page.movements]
    return respond(EventsPage(events, len(events), str(page.next), page.at_tip))


def read_asset(forms: Forms, symbol: str) -> str:
    """Inward name of an asset's symbol. Raises `QueryInvalid` for what can be none."""
    if not is_asset_symbol(symbol):
        raise QueryInvalid(name="asset", value=symbol[:80], allowed="the symbol of an asset")
    return forms.asset(symbol)


def read_cursor(api: Api, text: str) -> Position:
    """The position of a cursor, or of "tip". Raises `QueryInvalid`."""
    if text == TIP:
        return api.node.feed.tip
    height, place, part = parse_cursor(text, 3)
    if place > PLACE_MAX:
        raise QueryInvalid(name="cursor", value=text[:80], allowed="the next_cursor of a page")
    return Position(height, place, part)
