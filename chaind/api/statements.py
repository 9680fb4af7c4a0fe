"""The route of account statements, as JSON and as CSV for a spreadsheet."""

from urllib.parse import urlencode

from aiohttp import web

from chaind.api.answers import Answer, respond
from chaind.api.blocks import RangeInvalid
from chaind.api.bodies import query_cursor, query_integer
from chaind.api.context import Api
from chaind.api.events import read_asset
from chaind.api.problems import QueryInvalid
from chaind.node.statements import Entry, Range, Statement
from chaind.primitives.amounts import format_amount
from chaind.storage.books import PLACE_MAX
from chaind.storage.schema import Location
from chaind.wallet import statement as statements

PAGE, PAGE_MAX = 500, 5_000
HEIGHT_MAX = 10**15 - 1
CSV_MEDIA = "text/csv"


class EntryForm(Answer, frozen=True, kw_only=True):
    """One movement: `change` is signed and holds the `fee`; `balance` is the one after it.

    `kind` is payment, or reward for what a block brought its proposer, which has no transaction.
    """

    kind: str
    tx_id: str | None
    height: int
    place: int | None
    time_ms: int
    change: str
    fee: str
    balance: str
    counterparties: list[str]
    memo: str | None
    memo_hex: str


class StatementAnswer(Answer, frozen=True, kw_only=True):
    """A page of a statement: opening balance + all changes = closing balance, to the last unit.

    The balance is of account and coins together. `to_height` is the last block that counts; a
    following page opens with the balance that this one closes with.
    """

    address: str
    asset: str
    from_height: int
    to_height: int
    opening_balance: str
    entries: list[EntryForm]
    count: int
    closing_balance: str
    next_cursor: str | None


async def get_statement(api: Api, request: web.Request) -> web.Response:
    """Oldest first; a cursor keeps the last height, so that new blocks shift nothing."""
    address = api.node.payments.resolve(request.match_info["who"])
    as_csv = _wants_csv(request)
    symbol = request.query.get("asset", api.forms.symbol(""))
    asset = read_asset(api.forms, symbol)
    limit = query_integer(request, "limit", PAGE, 1, PAGE_MAX)
    span, after = _range(request)
    statement = await api.node.statements.page(address, asset, span, after, limit)
    cursor = None
    if statement.following is not None:
        cursor = ".".join(map(str, (statement.to_height, *statement.following)))
    shown = api.forms.show(address)
    if as_csv:
        return _respond_csv(api, request, statement, shown, symbol, cursor)
    answer = StatementAnswer(
        address=shown,
        asset=symbol,
        from_height=statement.from_height,
        to_height=statement.to_height,
        opening_balance=format_amount(statement.opening),
        entries=[_entry_form(api, entry) for entry in statement.entries],
        count=len(statement.entries),
        closing_balance=format_amount(statement.closing),
        next_cursor=cursor,
    )
    return respond(answer)


def _wants_csv(request: web.Request) -> bool:
    chosen = request.query.get("format")
    if chosen is not None and chosen not in ("json", "csv"):
        raise QueryInvalid(name="format", value=chosen[:80], allowed='"json" or "csv"')
    return chosen == "csv" or (chosen is None and CSV_MEDIA in request.headers.get("Accept", ""))


def _range(request: web.Request) -> tuple[Range, Location | None]:
    """What is asked for, and where a cursor goes on."""

    def number(name: str) -> int | None:
        return query_integer(request, name, 0, 0, HEIGHT_MAX) if name in request.query else None

    first, last_wanted = (
        query_integer(request, "from_height", 0, 0, HEIGHT_MAX),
        number("to_height"),
    )
    if last_wanted is not None and last_wanted < first:
        raise RangeInvalid(start=first, end=last_wanted)
    span = Range(first, last_wanted, number("from_ms"), number("to_ms"))
    cursor = query_cursor(request, 3)
    if cursor is None:
        return span, None
    last, height, place = cursor
    if place > PLACE_MAX or height > last:
        raise QueryInvalid(
            name="cursor", value=request.query["cursor"][:80], allowed="the next_cursor of a page"
        )
    return span._replace(to_height=last), Location(height, place)


def _entry_form(api: Api, entry: Entry) -> EntryForm:
    movement = entry.movement
    return EntryForm(
        kind="reward" if movement.txid is None else "payment",
        tx_id=None if movement.txid is None else movement.txid.hex(),
        height=movement.where.height,
        place=None if movement.txid is None else movement.where.place,
        time_ms=movement.time_ms,
        change=format_amount(movement.change),
        fee=format_amount(movement.fee),
        balance=format_amount(entry.balance),
        counterparties=[api.forms.show(address) for address in movement.counterparties],
        memo=_memo_text(movement.memo),
        memo_hex=movement.memo.hex(),
    )


def _memo_text(memo: bytes) -> str | None:
    try:
        return memo.decode("utf-8")
    except UnicodeDecodeError:
        return None


def _respond_csv(
    api: Api,
    request: web.Request,
    statement: Statement,
    address: str,
    symbol: str,
    cursor: str | None,
) -> web.Response:
    lines = tuple(_line(_entry_form(api, entry), entry) for entry in statement.entries)
    told = statements.Statement(
        asset=symbol,
        from_height=statement.from_height,
        to_height=statement.to_height,
        opening=statement.opening,
        lines=lines,
        closing=statement.closing,
    )
    name = f"statement-{address[-8:]}-{statement.from_height}-{statement.to_height}.csv"
    headers = {"Content-Disposition": f'attachment; filename="{name}"'}
    if cursor is not None:  # RFC 8288
        query = urlencode({**request.query, "cursor": cursor})
        headers["Link"] = f'<{request.path}?{query}>; rel="next"'
    return web.Response(
        text=statements.to_csv(told), content_type=CSV_MEDIA, charset="utf-8", headers=headers
    )


def _line(form: EntryForm, entry: Entry) -> statements.Line:
    return statements.Line(
        kind=form.kind,
        tx_id=form.tx_id,
        height=form.height,
        place=entry.movement.where.place,
        time_ms=form.time_ms,
        change=entry.movement.change,
        fee=entry.movement.fee,
        balance=entry.balance,
        counterparties=tuple(form.counterparties),
        memo=form.memo,
        memo_hex=form.memo_hex,
    )
