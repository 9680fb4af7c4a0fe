"""Routes of orders: placed, amended and cancelled for accounts whose keys the node keeps, and read
of everybody. Whoever keeps its own key signs, and hands the transaction in as any other.

An order that the book refuses is final and was paid for; where the answer waits for that, it is the
problem that the book had with it.
"""

import msgspec
from aiohttp import web

from chaind.api.answers import Answer, respond
from chaind.api.bodies import (
    convert,
    hex_bytes,
    parse_json,
    place_cursor,
    query_integer,
    read_body,
    read_json,
)
from chaind.api.chaos import die_after
from chaind.api.context import Api
from chaind.api.fields import Amount, Count
from chaind.api.forms import Who, maybe
from chaind.api.markets import trade_cursor
from chaind.api.order_forms import (
    TYPES,
    ClientOrderId,
    FillsPage,
    MarketName,
    OrderAnswer,
    OrdersPage,
    SelfTradeName,
    SideName,
    TimeName,
    TypeName,
    fill_form,
    order_form,
    trade_id,
)
from chaind.api.order_problems import check_given, in_decimals, read_lots, read_ticks
from chaind.api.payments import Terms as Asked
from chaind.api.payments import read_idempotency, read_terms, settled_headers
from chaind.api.problems import QueryInvalid
from chaind.api.transactions import OPEN_STATUSES, refuse_ended
from chaind.market.errors import AmendmentEmpty, ExpiryPassed
from chaind.node.orders import NotYourOrder, OrderState, status_word
from chaind.node.payments import InFlight, Payment
from chaind.primitives.errors import ChaindError, Malformed
from chaind.primitives.hashes import HASH_BYTES
from chaind.primitives.orders import (
    AmendOrder,
    CancelOrder,
    CancelOrders,
    Kind,
    Market,
    OrderAction,
    PlaceOrder,
    SelfTrade,
    Side,
    Terms,
    TimeInForce,
    Trigger,
)
from chaind.storage.market_rows import OrderRecord

PAGE, PAGE_MAX = 50, 500
LOOKED_AT_MAX = 500  # orders of one page that has a filter
STATUSES = (
    "open",
    "untriggered",
    "partially_filled",
    "filled",
    "cancelled",
    "expired",
    "rejected",
)
_WORDS = ("side", "type", "time_in_force", "self_trade_prevention")
ACTIVE = "active"  # open, untriggered or partially filled


class OrderIdInvalid(Malformed):
    code = "order-id-invalid"
    text = "{given!r} is not the id of an order"
    advice = "Give the 64 hex digits of the transaction that placed it."


class OrderRequest(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """An order. `price` goes with the types that have limit in their names, and `stop_price` with
    those that wait for one; `expires_ms` is chain time, and goes with gtt. Words such as "buy" may
    be in capitals. `account` is an address,
    name or number whose key this node keeps, by default the first trader of a development chain."""

    symbol: MarketName
    side: SideName
    quantity: Amount
    price: Amount | None = None
    type: TypeName = "limit"
    time_in_force: TimeName | None = None
    expires_ms: Count | None = None
    post_only: bool = False
    stop_price: Amount | None = None
    client_order_id: ClientOrderId = ""
    self_trade_prevention: SelfTradeName = "cancel_newest"
    account: Who | None = None


class AmendRequest(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What is to change of an order. `quantity` is the new whole, what has traded included; less of
    it alone keeps the order's place in its queue."""

    quantity: Amount | None = None
    price: Amount | None = None
    stop_price: Amount | None = None
    post_only: bool = False


class ActedAnswer(Answer, frozen=True, kw_only=True, omit_defaults=True):
    """An amendment or a cancellation: of one order, or of all that were asked for. `status` is
    "accepted" while it waits for a block, without a timestamp; then it is the order's, or
    "cancelled"."""

    status: str
    tx_id: str
    timestamp: int | None
    order_id: str | None = None


async def post_order(api: Api, request: web.Request) -> web.Response:
    """Place an order. Waits for finality where there is an Idempotency-Key, or where asked to."""
    asked = read_terms(api, request)
    form = await _read_order(api, request)
    orders = api.node.orders
    market = orders.market(form.symbol)
    owner = orders.account(form.account)
    action = PlaceOrder(owner, _terms(form, market))
    chain_time_ms = api.node.market_data.time_ms
    if form.expires_ms and form.expires_ms <= chain_time_ms and orders.is_new(action, asked.key):
        raise ExpiryPassed(expires_ms=form.expires_ms, chain_time_ms=chain_time_ms)
    payment, headers = await _done(api, asked, action, market)
    state = orders.find(payment.txid)
    is_final = state.final and payment.info.status not in OPEN_STATUSES
    return respond(
        order_form(api.forms, market, state), 200 if asked.wait and is_final else 202, headers
    )


async def _read_order(api: Api, request: web.Request) -> OrderRequest:
    """The body; words such as BUY may be in capitals."""
    body = parse_json(await read_body(request, api.section.body_bytes_max))
    if isinstance(body, dict):
        for name in _WORDS:
            word = body.get(name)
            if isinstance(word, str):
                body[name] = word.lower()
    return convert(body, OrderRequest)


def _terms(form: OrderRequest, market: Market) -> Terms:
    """What the ledger is asked for. Raises what its form alone forbids."""
    kind, trigger = TYPES[form.type]
    check_given(
        form.type,
        price=form.price,
        stop_price=form.stop_price,
        time_in_force=form.time_in_force,
        expires_ms=form.expires_ms,
    )
    usual = TimeInForce.IOC if kind is Kind.MARKET and trigger is Trigger.NONE else TimeInForce.GTC
    given = form.time_in_force
    return Terms(
        symbol=market.symbol,
        side=Side[form.side.upper()],
        kind=kind,
        lots=read_lots(market, "quantity", form.quantity),
        ticks=read_ticks(market, "price", form.price),
        time_in_force=usual if given is None else TimeInForce[given.upper()],
        expires_ms=form.expires_ms or 0,
        post_only=form.post_only,
        trigger=trigger,
        stop_ticks=read_ticks(market, "stop_price", form.stop_price),
        self_trade=SelfTrade[form.self_trade_prevention.upper()],
        client_id=form.client_order_id,
    )


async def patch_order(api: Api, request: web.Request) -> web.Response:
    """Amend an open order."""
    asked = read_terms(api, request)
    form = await read_json(request, api.section.body_bytes_max, AmendRequest)
    order_id, record = await _open(api, request)
    market = api.node.orders.market(record.terms.symbol)
    action = AmendOrder(
        record.account,
        order_id,
        read_lots(market, "quantity", form.quantity),
        read_ticks(market, "price", form.price),
        read_ticks(market, "stop_price", form.stop_price),
        form.post_only,
    )
    if not _changes(record, action) and api.node.orders.is_new(action, asked.key):
        raise AmendmentEmpty(order_id=order_id.hex())
    return await _act(api, asked, action, order_id, market)


def _changes(record: OrderRecord, action: AmendOrder) -> bool:
    """Whether an amendment leaves anything but what is there, by the book's rule."""
    whole = record.filled + record.lots
    return (
        action.lots not in (0, whole)
        or action.ticks not in (0, record.ticks)
        or action.stop_ticks not in (0, record.terms.stop_ticks)
    )


async def put_order(api: Api, request: web.Request) -> web.Response:
    """The same as PATCH: what is left out stays."""
    return await patch_order(api, request)


async def delete_order(api: Api, request: web.Request) -> web.Response:
    """Cancel an open order."""
    asked = read_idempotency(api, request)
    order_id, record = await _open(api, request)
    return await _act(api, asked, CancelOrder(record.account, order_id), order_id)


async def delete_orders(api: Api, request: web.Request) -> web.Response:
    """Cancel all open orders of an account, or those of one market, or of one side."""
    asked = read_idempotency(api, request)
    orders = api.node.orders
    side = _side(request.query.get("side"))
    market = maybe(orders.market, request.query.get("symbol"))
    owner = orders.account(request.query.get("account"))
    action = CancelOrders(owner, "" if market is None else market.symbol, side)
    return await _act(api, asked, action, None)


def _side(text: str | None) -> Side | None:
    if text is None:
        return None
    if text not in ("buy", "sell"):
        raise QueryInvalid(name="side", value=text[:80], allowed="buy or sell")
    return Side[text.upper()]


async def _open(api: Api, request: web.Request) -> tuple[bytes, OrderRecord]:
    """The open order of a path, of the account of the query where one is named."""
    order_id = _order_id(request)
    record = await api.node.orders.open(order_id)
    who = request.query.get("account")
    if who is not None and api.node.orders.account(who) != record.account:
        raise NotYourOrder(order_id=order_id.hex(), account=who[:80])
    return order_id, record


def _order_id(request: web.Request) -> bytes:
    text = request.match_info["id"]
    return hex_bytes(text, HASH_BYTES, lambda: OrderIdInvalid(given=text[:80]))


async def _done(
    api: Api, asked: Asked, action: OrderAction, market: Market | None
) -> tuple[Payment, dict[str, str]]:
    """An action's transaction and the headers of the answer; what is raised is in decimals."""
    try:
        payment = await api.node.orders.act(action, asked.key, wait=asked.wait)
        return payment, _settle(api, asked, payment)
    except ChaindError as error:
        if market is None:
            raise
        raise in_decimals(error, market) from None


async def _act(
    api: Api,
    asked: Asked,
    action: OrderAction,
    order_id: bytes | None,
    market: Market | None = None,
) -> web.Response:
    payment, headers = await _done(api, asked, action, market)
    name, txid = maybe(bytes.hex, order_id), payment.txid.hex()
    info = payment.info
    if not asked.wait or info.status in OPEN_STATUSES:
        answer = ActedAnswer(status="accepted", tx_id=txid, timestamp=None, order_id=name)
        return respond(answer, 202, headers)
    status = "cancelled"
    if order_id is not None:
        status = status_word(api.node.orders.find(order_id).record)
    answer = ActedAnswer(status=status, tx_id=txid, timestamp=info.time_ms, order_id=name)
    return respond(answer, 200, headers)


def _settle(api: Api, asked: Asked, payment: Payment) -> dict[str, str]:
    """Headers of an answer. Raises what ended the transaction, what the book had against it, or
    `InFlight` where it has a key and waits."""
    if asked.chaos:
        die_after(payment)
    refuse_ended(payment.info)
    is_open = payment.info.status in OPEN_STATUSES
    if is_open and asked.key is not None:
        why = "; ".join(api.node.vitals.health().reasons)
        raise InFlight(txid=payment.txid.hex(), why=why)
    if not is_open and asked.wait:
        api.node.orders.raise_refused(payment.txid)
    return settled_headers(payment)


async def get_order(api: Api, request: web.Request) -> web.Response:
    """An order, final or waiting for a block."""
    state = api.node.orders.find(_order_id(request))
    market = api.node.orders.market(state.record.terms.symbol)
    return respond(order_form(api.forms, market, state))


async def get_orders(api: Api, request: web.Request) -> web.Response:
    """Final orders of an account, newest first; one that waits for a block is found by its id."""
    orders = api.node.orders
    limit = query_integer(request, "limit", PAGE, 1, PAGE_MAX)
    account = orders.account(request.query.get("account"))
    symbol, status = request.query.get("symbol"), request.query.get("status")
    if status is not None and status not in (*STATUSES, ACTIVE):
        allowed = ", ".join((*STATUSES, ACTIVE))
        raise QueryInvalid(name="status", value=status[:80], allowed=allowed)
    market = maybe(orders.market, symbol)
    before = place_cursor(request)
    filtered = market is not None or status is not None
    found = orders.reads.orders(account, before, LOOKED_AT_MAX if filtered else limit + 1)
    shown: list[OrderAnswer] = []
    following = None
    for placed in found:
        if len(shown) == limit:
            break
        following = f"{placed.height}.{placed.place}"
        record = placed.record
        if market is not None and record.terms.symbol != market.symbol:
            continue
        if status is not None and not _has_status(record, status):
            continue
        own = orders.market(record.terms.symbol)
        shown.append(order_form(api.forms, own, OrderState(placed.order_id, record, final=True)))
    else:
        if len(found) < (LOOKED_AT_MAX if filtered else limit + 1):
            following = None
    return respond(OrdersPage(api.forms.show(account), shown, len(shown), following))


def _has_status(record: OrderRecord, status: str) -> bool:
    word = status_word(record)
    if status == ACTIVE:
        return word in ("open", "untriggered", "partially_filled")
    return word == status


async def get_fills(api: Api, request: web.Request) -> web.Response:
    """An account's trades, newest first."""
    orders = api.node.orders
    limit = query_integer(request, "limit", PAGE, 1, PAGE_MAX)
    account = orders.account(request.query.get("account"))
    found = orders.reads.fills(account, trade_cursor(request), limit + 1)
    page = found[:limit]
    following = trade_id(page[-1][0]) if len(found) > limit else None
    fills = [fill_form(orders.market(row.symbol), trade, row) for trade, row in page]
    return respond(FillsPage(api.forms.show(account), fills, len(fills), following))
