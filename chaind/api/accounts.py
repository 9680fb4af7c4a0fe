"""Routes about addresses: what they hold, their coins, their history, and who has a name."""

import msgspec
from aiohttp import web

from chaind.api.answers import (
    JSON_MEDIA,
    ActivityForm,
    Answer,
    activity_form,
    parse_txid,
    respond,
)
from chaind.api.bodies import hex_bytes, place_cursor, query_integer, read_json
from chaind.api.context import Api
from chaind.api.guards import check_media
from chaind.api.problems import QueryInvalid
from chaind.node.holdings import BALANCE_COINS_MAX, CoinInfo
from chaind.primitives.amounts import format_amount
from chaind.primitives.errors import Malformed, Unknown
from chaind.primitives.hashes import HASH_BYTES
from chaind.primitives.transaction import NATIVE

FINAL, HEAD = "final", "head"  # which state an answer is of
HISTORY_PAGE, HISTORY_PAGE_MAX = 50, 500
COINS_PAGE, COINS_PAGE_MAX = 500, 1_000


class LeaseIdInvalid(Malformed):
    code = "lease-id-invalid"
    text = "{given!r} is not the id of a lease"
    advice = "Give 64 hex digits: sha256 of the Idempotency-Key."


class LeaseFree(Unknown):
    code = "lease-free"
    text = "no payment of {address} with this key is final or waits here"
    advice = "Another node may have one that waits. Paying with the key is safe in any case."


class BalanceAnswer(Answer, frozen=True, kw_only=True, omit_defaults=True):
    """Holdings after block `height`. `balance` is native, account and coins together.

    `at` says which state this is: `final`, which never changes back, or `head`, the newest block's
    (the default on chains of miners). There `confirmations` counts the blocks since something
    changed for the address. `immature` is what the next block cannot spend yet of `coins`.
    `in_orders` is what open orders hold, by asset, which is in none of the other sums; `reserved`
    is the native part of it. A chain without markets has no `in_orders`.
    """

    address: str
    balance: str
    accounts: dict[str, str]
    coins: str
    reserved: str
    utxo_count: int
    last_activity_block: int | None
    at: str
    height: int
    user: str | None = None
    in_orders: dict[str, str] | None = None
    immature: str | None = None
    confirmations: int | None = None


class CoinForm(Answer, frozen=True):
    """An unspent coin. `confirmations` counts blocks from its own on; one of a coinbase can be
    spent by the next block where `mature`."""

    tx_id: str
    output_index: int
    amount: str
    recipient_address: str
    height: int
    coinbase: bool
    confirmations: int
    mature: bool


class CoinsPage(Answer, frozen=True):
    """Unspent coins in order of their outpoints; `count` is of this page. `at` and `height` say
    which state they are of, as for a balance."""

    utxos: list[CoinForm]
    count: int
    next_cursor: str | None
    at: str
    height: int


class HistoryPage(Answer, frozen=True):
    """Final transactions of an address, newest first."""

    address: str
    transactions: list[ActivityForm]
    count: int
    next_cursor: str | None


class LeaseAnswer(Answer, frozen=True):
    """The transaction that a key of this payer stands for. `intent` says what the key is for, as
    signed; `final` is false while the transaction waits, or its block is not final."""

    tx_id: str
    intent: str
    final: bool


class NameRequest(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What the account is to be called."""

    name: str


class NamedAccount(Answer, frozen=True):
    """An account whose key this node keeps."""

    id: int
    name: str
    address: str


class NamedAccounts(Answer, frozen=True):
    """The named accounts; none where this node keeps no keys."""

    accounts: list[NamedAccount]


async def get_balance(api: Api, request: web.Request) -> web.Response:
    """All zero for an address that nobody paid."""
    address = api.node.payments.resolve(request.match_info["who"])
    return respond(balance_of(api, address, _asked_at(request)))


def _asked_at(request: web.Request) -> bool | None:
    """Whether the head's state is asked for; None where the caller leaves it to the chain."""
    text = request.query.get("at")
    if text not in (None, FINAL, HEAD):
        raise QueryInvalid(name="at", value=text[:80], allowed=f"{FINAL} or {HEAD}")
    return None if text is None else text == HEAD


def balance_of(api: Api, address: bytes, at_head: bool | None = None) -> BalanceAnswer:
    """The holdings of an address."""
    info = api.node.queries.balance(address, at_head=at_head)
    in_orders = {symbol: format_amount(units) for symbol, units in info.reserved.items()}
    has_markets = bool(api.node.orders.reads.markets())
    return BalanceAnswer(
        address=api.forms.show(address),
        user=api.node.payments.name_of(address),
        balance=format_amount(info.native + info.coins),
        accounts={symbol: format_amount(units) for symbol, units in info.assets.items()},
        coins=format_amount(info.coins),
        reserved=format_amount(info.reserved.get(api.forms.symbol(NATIVE), 0)),
        in_orders=in_orders if in_orders or has_markets else None,
        utxo_count=info.utxo_count,
        last_activity_block=info.last_activity_block,
        at=HEAD if info.at_head else FINAL,
        height=info.height,
        immature=format_amount(info.immature) if info.at_head else None,
        confirmations=info.confirmations if info.at_head else None,
    )


async def get_coins(api: Api, request: web.Request) -> web.Response:
    """Coins by outpoint, so that a page does not shift when others are spent."""
    address = api.node.payments.resolve(request.match_info["who"])
    limit = query_integer(request, "limit", COINS_PAGE, 1, COINS_PAGE_MAX)
    after, node = _outpoint(request), api.node
    asked = _asked_at(request)
    at_head = node.chain.at_head if asked is None else asked
    most = BALANCE_COINS_MAX if after else limit + 1
    coins = node.queries.coins(address, most, at_head=at_head)
    height = node.chain.head.height if at_head else node.chain.final.height
    if after is not None:
        coins = [coin for coin in coins if (coin.txid, coin.output) > after]
    page = coins[:limit]
    cursor = f"{page[-1].txid.hex()}.{page[-1].output}" if len(coins) > limit else None
    forms = [_coin_form(api, coin) for coin in page]
    return respond(CoinsPage(forms, len(page), cursor, HEAD if at_head else FINAL, height))


def _outpoint(request: web.Request) -> tuple[bytes, int] | None:
    text = request.query.get("cursor")
    if text is None:
        return None
    txid, _, index = text.partition(".")
    try:
        if index.isascii() and index.isdigit() and len(index) <= 10:
            return parse_txid(txid), int(index)
    except Malformed:
        pass
    raise QueryInvalid(name="cursor", value=text[:80], allowed="the next_cursor of a page")


def _coin_form(api: Api, coin: CoinInfo) -> CoinForm:
    return CoinForm(
        coin.txid.hex(),
        coin.output,
        format_amount(coin.amount),
        api.forms.show(coin.address),
        coin.height,
        coin.coinbase,
        coin.confirmations,
        coin.mature,
    )


async def get_history(api: Api, request: web.Request) -> web.Response:
    """Newest first; a cursor is the place of the last entry, so new blocks shift nothing."""
    address = api.node.payments.resolve(request.match_info["who"])
    limit = query_integer(request, "limit", HISTORY_PAGE, 1, HISTORY_PAGE_MAX)
    before = place_cursor(request)
    found = api.node.queries.activity(address, before, limit + 1)
    page = found[:limit]
    following = f"{page[-1].height}.{page[-1].place}" if len(found) > limit else None
    entries = [activity_form(api.forms, entry) for entry in page]
    return respond(HistoryPage(api.forms.show(address), entries, len(entries), following))


async def get_lease(api: Api, request: web.Request) -> web.Response:
    """What a key of a payer was used for: lets a wallet that lost an answer find its payment."""
    owner = api.node.payments.resolve(request.match_info["who"])
    text = request.match_info["id"]
    lease_id = hex_bytes(text, HASH_BYTES, lambda: LeaseIdInvalid(given=text[:80]))
    held = api.node.queries.lease(owner, lease_id)
    if held is None:
        raise LeaseFree(address=api.forms.show(owner))
    return respond(LeaseAnswer(held.txid.hex(), held.intent.hex(), held.final))


async def get_named(api: Api, _request: web.Request) -> web.Response:
    """Names that /transfer and /faucet take."""
    accounts = [
        NamedAccount(row.number, row.name, api.forms.show(row.address))
        for row in api.node.payments.names()
    ]
    return respond(NamedAccounts(accounts))


async def post_named(api: Api, request: web.Request) -> web.Response:
    """Give a name to an account of the node's seed: 201, or 200 where it has the name already."""
    check_media(request, (JSON_MEDIA,))
    form = await read_json(request, api.section.body_bytes_max, NameRequest)
    row, is_new = api.node.payments.create(form.name)
    answer = NamedAccount(row.number, row.name, api.forms.show(row.address))
    return respond(answer, 201 if is_new else 200)
