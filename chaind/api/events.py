"""The event feed: every final movement of money, the same on every node, from any point on."""

import asyncio

from aiohttp import web

from chaind.api.answers import Answer, respond
from chaind.api.bodies import WAIT_MS_MAX, query_cursor, query_integer
from chaind.api.context import Api
from chaind.api.forms import Forms, maybe
from chaind.api.problems import QueryInvalid
from chaind.node.movements import START, Kind, Movement, Position, Selection
from chaind.primitives.amounts import format_amount
from chaind.primitives.genesis import is_asset_symbol

EVENTS_PAGE, EVENTS_PAGE_MAX = 100, 500
WAIT_S_MAX = WAIT_MS_MAX // 1_000
TIP = "tip"  # the cursor that names the end as it is now
PLACE_MAX = 2**32 - 1  # how an index row writes a transaction's place in its block


class EventForm(Answer, frozen=True, kw_only=True):
    """One movement of money, as it is told to everybody and at every node.

    `amount` is signed and the whole change of what `account` holds of `asset` as account balance or
    as coins (`held`); `fee` is how much of it was the transaction's fee. `index` counts
    transactions within the block. `tx_id` is null for the genesis and for a block's reward. `id`
    names the event on this chain for ever.
    """

    id: str
    height: int
    index: int
    tx_id: str | None
    kind: Kind
    account: str
    asset: str
    held: str
    amount: str
    fee: str
    counterparties: list[str]
    memo: str | None
    memo_hex: str
    time_ms: int


class EventsPage(Answer, frozen=True):
    """Events in order. Ask again with `next_cursor`, at once where `at_tip` is false: a page may
    be short, or empty, because much was looked through."""

    events: list[EventForm]
    count: int
    next_cursor: str
    at_tip: bool


def event_form(forms: Forms, movement: Movement) -> EventForm:
    """The outward form of a movement."""
    try:
        memo: str | None = movement.memo.decode("utf-8")
    except UnicodeDecodeError:
        memo = None
    return EventForm(
        id=str(movement.position),
        height=movement.position.height,
        index=movement.position.place,
        tx_id=maybe(bytes.hex, movement.txid),
        kind=movement.kind,
        account=forms.show(movement.account),
        asset=forms.symbol(movement.asset),
        held=movement.held,
        amount=format_amount(movement.units),
        fee=format_amount(movement.fee),
        counterparties=[forms.show(address) for address in movement.counterparties],
        memo=memo,
        memo_hex=movement.memo.hex(),
        time_ms=movement.time_ms,
    )


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
    at = _cursor(api, request)
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
    asset = forms.asset(symbol)
    if asset and not is_asset_symbol(asset):
        raise QueryInvalid(name="asset", value=symbol[:80], allowed="the symbol of an asset")
    return asset


def _cursor(api: Api, request: web.Request) -> Position:
    if request.query.get("cursor") == TIP:
        return api.node.feed.tip
    numbers = query_cursor(request, 3)
    if numbers is None:
        return START
    height, place, part = numbers
    if place > PLACE_MAX:
        raise QueryInvalid(name="cursor", value=f"…{place}…", allowed="the next_cursor of a page")
    return Position(height, place, part)
