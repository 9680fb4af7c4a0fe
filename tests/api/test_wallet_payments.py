"""The wallet's client and sender against a real node: what is paid once, whatever is lost."""

import asyncio
import os
import time
from collections.abc import AsyncIterator, Callable
from typing import Any

import aiohttp
import pytest
from aiohttp import web
from api_kit import ALICE, BOB, COIN_AMOUNT, STRANGER, TOKEN, VALIDATOR, Door

from chaind.primitives.address import key_address
from chaind.primitives.amounts import parse_amount
from chaind.primitives.genesis import DEFAULT_ADDRESSES, Parameters, Validator
from chaind.primitives.hashes import sha256
from chaind.primitives.keys import SecretKey
from chaind.primitives.transaction import NATIVE, CoinOutput
from chaind.wallet.accounts import (
    FIRST,
    Place,
    add_key,
    address_at,
    empty_wallet,
    find_account,
    key_at,
    new_wallet,
)
from chaind.wallet.builder import sign
from chaind.wallet.client import Client
from chaind.wallet.client_sync import SyncClient
from chaind.wallet.errors import KeySpent, NotFinalYet, NotThere, Refused
from chaind.wallet.history import merge
from chaind.wallet.keystore import Contents
from chaind.wallet.payment import Order
from chaind.wallet.scan import scan
from chaind.wallet.secret import Secret
from chaind.wallet.selection import WalletFundsLacking
from chaind.wallet.sending import Draft, Sender, Sent

WORDS = Secret("legal winner thank year wave sausage worth useful legal winner thank yellow")
HD = new_wallet(DEFAULT_ADDRESSES, WORDS, Secret(""))
COIN_KEY = add_key(empty_wallet(DEFAULT_ADDRESSES), "main", STRANGER)
ALICES = add_key(empty_wallet(DEFAULT_ADDRESSES), "main", ALICE)
MAIN = find_account(HD.open, "main")
TARGET = key_address(BOB.public)
FEES = {"parameters": Parameters(min_fee_per_byte=3)}
STUCK = {
    "validators": tuple(
        Validator(public_key=key.public.hex()) for key in (VALIDATOR, SecretKey(b"\x77" * 32))
    )
}
fees = pytest.mark.parametrize("genesis_changes", [FEES])


@pytest.fixture
async def session() -> AsyncIterator[aiohttp.ClientSession]:
    """For clients; the door's own speaks to the door alone."""
    async with aiohttp.ClientSession() as session:
        yield session


class Payer:
    """A wallet's account at a node, or at several."""

    def __init__(self, door: Door, session: aiohttp.ClientSession, *urls: str) -> None:
        self.door = door
        self.client = Client(urls or (door.url,), session)

    def sender(self, contents: Contents = HD, wait_s: float = 20.0) -> Sender:
        return Sender(
            self.client,
            self.door.node.genesis,
            contents.open.accounts[0],
            now_ms=lambda: time.time_ns() // 1_000_000,
            entropy=os.urandom,
            wait_s=wait_s,
        )

    async def pay(self, order: Order, key: str, contents: Contents = HD, **use: Any) -> Sent:
        return await self.sender(contents).pay(order, key, unlock=unlock(contents), **use)


def unlock(contents: Contents) -> Callable[[Draft], Callable[[Place], SecretKey]]:
    return lambda _draft: lambda place: key_at(contents, contents.open.accounts[0], place)


def order(amount: str, *, asset: str = NATIVE, target: bytes = TARGET, **more: Any) -> Order:
    fields = {"memo": b"", "as_coin": False, **more}
    return Order(target=target, asset=asset, units=parse_amount(amount), **fields)


async def fund(door: Door, *places: Place) -> None:
    for place in places:
        address = DEFAULT_ADDRESSES.show(address_at(MAIN, place))
        await door.post("/faucet", {"to": address, "amount": "100"})


async def balance(door: Door, address: bytes) -> str:
    return (await door.get(f"/balance/{DEFAULT_ADDRESSES.show(address)}"))["balance"]


async def test_typed_answers_are_those_of_the_node(door: Door) -> None:
    async with Client.open([door.url]) as client:
        assert (await client.genesis()).hash == door.node.genesis.hash
        assert (await client.status()).chain == "test"
        paid = await client.transfer("alice", "bob", 250, asset=TOKEN, memo="hi", key="k1")
        again = await client.transfer("alice", "bob", 250, asset=TOKEN, memo="hi", key="k1")
        assert (paid.earlier, again.earlier, again.tx_id) == (False, True, paid.tx_id)
        with pytest.raises(Refused, match="stands for something else"):
            await client.transfer("alice", "bob", 251, asset=TOKEN, memo="hi", key="k1")
        bob = await client.holdings("bob")
        assert (bob.accounts[TOKEN], bob.coins, bob.used) == ("0.0000025", "0", True)
        assert not (await client.holdings(door.show(SecretKey(b"\x66" * 32)))).used
        [entry] = await client.history("bob")
        assert (entry.tx_id, entry.direction, entry.memo) == (paid.tx_id, "received", "hi")
        [coin] = await client.coins(door.show(STRANGER))
        assert coin.amount == COIN_AMOUNT
        state = await client.transaction(bytes.fromhex(paid.tx_id))
        assert state is not None
        assert state.ended
        assert state == await client.wait_ended(bytes.fromhex(paid.tx_id))
        held = await client.lease(door.show(ALICE), sha256(b"k1"))
        assert held is not None
        assert (held.tx_id, held.final) == (paid.tx_id, True)
        assert await client.lease(door.show(ALICE), sha256(b"k2")) is None
        assert await client.lease(door.show(BOB), sha256(b"k1")) is None
        assert (await client.pending()).count == 0
        gift = await client.faucet("bob", 5)
        assert gift.status == "success"
        with pytest.raises(NotThere):
            await client.holdings("nobody")


async def test_the_synchronous_face_has_the_same_answers(door: Door) -> None:
    transaction = door.payment(5)

    def use() -> None:
        with SyncClient.open([door.url]) as client:
            assert client.genesis().hash == door.node.genesis.hash
            assert client.status().height >= 0
            assert client.submit(transaction).status == "final"
            assert client.wait_ended(transaction.txid).status == "final"
            state = client.transaction(transaction.txid)
            assert state is not None
            assert state.height
            paid = client.transfer("alice", "bob", 7, key="sync")
            assert client.history("bob", 1)[0].tx_id == paid.tx_id
            assert client.lease(door.show(ALICE), sha256(b"sync")) is not None
            assert client.coins("bob") == []
            assert client.holdings("bob").accounts["COIN"] == "1000.00000012"
            assert client.pending().count == 0
            assert client.faucet("bob", 5).balance == "1000.00000017"

    await asyncio.to_thread(use)


@pytest.mark.parametrize(
    ("path", "status", "code"),
    [
        ("alice/leases/" + "0" * 64, 404, "lease-free"),
        ("alice/leases/xyz", 400, "lease-id-invalid"),
        ("alice/leases/" + "0 " * 32, 400, "lease-id-invalid"),
        ("nobody/leases/" + "0" * 64, 404, "name-unknown"),
    ],
)
async def test_the_lease_route_refuses_as_others_do(
    door: Door, path: str, status: int, code: str
) -> None:
    assert (await door.get(f"/api/v1/accounts/{path}", status))["code"] == code


async def test_a_payment_is_made_once_for_its_key(
    door: Door, session: aiohttp.ClientSession
) -> None:
    await fund(door, FIRST)
    payer = Payer(door, session)
    first = await payer.pay(order("60"), "rent")
    again = await payer.pay(order("60"), "rent")  # though no money is left for another one
    assert (first.earlier, again.earlier) == (False, True)
    assert (again.txid, again.height) == (first.txid, first.height)
    with pytest.raises(KeySpent, match=f"'rent' .* {first.txid.hex()}"):
        await payer.pay(order("60", memo=b"other"), "rent")
    with pytest.raises(WalletFundsLacking, match="holds 40 of COIN"):
        await payer.pay(order("60"), "other key")
    assert await balance(door, TARGET) == "1060"


async def test_two_at_once_with_one_key_are_one_payment(
    door: Door, session: aiohttp.ClientSession
) -> None:
    await fund(door, FIRST)
    payer = Payer(door, session)
    both = await asyncio.gather(*(payer.pay(order("10"), "both") for _ in range(8)))
    assert len({sent.txid for sent in both}) == 1
    assert await balance(door, TARGET) == "1010"


class Losing:
    """Between wallet and node: forwards every request and loses the answers to payments."""

    def __init__(self, door: Door, lose: int) -> None:
        self.door = door
        self.left = lose
        self.lost = 0

    async def handle(self, request: web.Request) -> web.StreamResponse:
        body = await request.read()
        headers = {"Content-Type": "application/json"} if body else {}
        async with self.door.session.request(
            request.method, request.path_qs, data=body, headers=headers
        ) as answer:
            data, status, kind = await answer.read(), answer.status, answer.content_type
        if request.method == "POST" and self.lost < self.left:
            self.lost += 1
            assert request.transport is not None
            request.transport.abort()
        return web.Response(status=status, body=data, content_type=kind)


@pytest.fixture
async def losing(door: Door, request: pytest.FixtureRequest) -> AsyncIterator[tuple[Losing, str]]:
    proxy = Losing(door, request.param)
    app = web.Application()
    app.router.add_route("*", "/{tail:.*}", proxy.handle)
    runner = web.AppRunner(app)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    yield proxy, f"http://127.0.0.1:{runner.addresses[0][1]}"
    await runner.cleanup()


@pytest.mark.parametrize("losing", [3], indirect=True)
async def test_lost_answers_are_asked_for_again(
    door: Door, losing: tuple[Losing, str], session: aiohttp.ClientSession
) -> None:
    proxy, url = losing
    await fund(door, FIRST)
    sent = await Payer(door, session, url).pay(order("10"), "lossy")
    assert (proxy.lost, sent.earlier) == (3, False)
    assert await balance(door, TARGET) == "1010"


@pytest.mark.parametrize("losing", [10**6], indirect=True)
async def test_a_payment_whose_answers_are_all_lost_is_found_with_its_key(
    door: Door, losing: tuple[Losing, str], session: aiohttp.ClientSession
) -> None:
    _, url = losing
    await fund(door, FIRST)
    deaf = Payer(door, session, url).sender(wait_s=0.3)
    with pytest.raises(NotFinalYet, match="with key 'lost' was not final") as caught:
        await deaf.pay(order("100"), "lost", unlock=unlock(HD))
    found = await Payer(door, session).pay(order("100"), "lost")
    assert (found.earlier, found.txid.hex()) == (True, caught.value.values["txid"])
    assert await balance(door, TARGET) == "1100"


@pytest.mark.parametrize("genesis_changes", [STUCK])
async def test_a_payment_that_waits_is_found_by_its_key(
    door: Door, session: aiohttp.ClientSession
) -> None:
    """On a chain whose second validator is absent, so that nothing becomes final."""
    payer = Payer(door, session)
    hasty = payer.sender(ALICES, wait_s=0.05)
    drafts = [await hasty.draft(order("10"), "slow") for _ in range(2)]
    waiting = sign(drafts[0].plan.body, ALICE)
    await payer.client.submit(waiting, final=False)
    held = await payer.client.lease(door.show(ALICE), sha256(b"slow"))
    assert held is not None
    assert (held.tx_id, held.final) == (waiting.txid.hex(), False)
    with pytest.raises(KeySpent):
        await hasty.pay(order("11"), "slow", unlock=unlock(ALICES))
    with pytest.raises(WalletFundsLacking, match="holds 990 of COIN"):  # the rest is on its way
        await hasty.pay(order("995"), "more", unlock=unlock(ALICES))
    # One asks first, one finds out from the node's refusal: both find the payment that waits.
    for work in (
        hasty.pay(order("10"), "slow", unlock=unlock(ALICES)),
        hasty.send(drafts[1], unlock(ALICES)(drafts[1])),
    ):
        with pytest.raises(NotFinalYet, match=f"{waiting.txid.hex()} with key 'slow'"):
            await work
    assert (await payer.client.pending()).count == 1


@fees
async def test_coins_pay_with_change_and_the_least_fee(
    door: Door, session: aiohttp.ClientSession
) -> None:
    payer = Payer(door, session)
    target = address_at(MAIN, Place(0, 3))
    sent = await payer.pay(order("50", target=target, as_coin=True), "c1", COIN_KEY)
    [entry] = await payer.client.history(door.show(STRANGER))
    fee = parse_amount(entry.fee)
    assert entry.tx_id == sent.txid.hex()
    left = parse_amount(COIN_AMOUNT) - parse_amount("50") - fee
    assert [
        parse_amount(coin.amount) for coin in await payer.client.coins(door.show(STRANGER))
    ] == [left]
    # The coin lies at the wallet's fourth address; change goes to the first one for change.
    await payer.pay(order("20"), "c2")
    found = await scan(payer.client, MAIN, DEFAULT_ADDRESSES)
    assert [entry.place for entry in found.found] == [FIRST, Place(0, 3), Place(1, 0)]
    assert [entry.place for entry in found.free] == [Place(0, 4), Place(1, 1)]
    held = await payer.client.holdings(DEFAULT_ADDRESSES.show(address_at(MAIN, Place(1, 0))))
    pages = [await payer.client.history(entry.text) for entry in found.found]
    own = frozenset(entry.text for entry in found.found)
    [sent_entry, got] = merge([item for page in pages for item in page], own, "COIN", "x")
    assert (got.direction, got.units) == ("received", parse_amount("50"))
    assert (sent_entry.direction, sent_entry.units) == ("sent", parse_amount("20"))
    assert sent_entry.counterparties == (door.show(BOB),)
    assert parse_amount(held.coins) == parse_amount("30") - sent_entry.fee_units
    # From coins and accounts of three addresses at once, to the last unit.
    await fund(door, FIRST, Place(0, 7))
    draft = await payer.sender().draft(order("229.99"), "c3")
    assert {type(item) for item in draft.plan.body.outputs} == {type(draft.plan.body.outputs[0])}
    await payer.pay(order("229.99"), "c3")
    assert await balance(door, TARGET) == "1249.99"


@fees
async def test_a_token_is_paid_with_a_native_fee(
    door: Door, session: aiohttp.ClientSession
) -> None:
    await fund(door, FIRST)
    async with Client.open([door.url]) as client:
        first = DEFAULT_ADDRESSES.show(address_at(MAIN, FIRST))
        await client.transfer("alice", first, parse_amount("5"), asset=TOKEN, key="tokens")
    payer = Payer(door, session)
    await payer.pay(order("2", asset=TOKEN), "t")
    assert (await payer.client.holdings("bob")).accounts[TOKEN] == "2"
    with pytest.raises(WalletFundsLacking, match="holds 3 of GOLD that can be spent, 4 are needed"):
        await payer.pay(order("4", asset=TOKEN), "t2")


async def test_what_may_not_be_spent_is_left_out(
    door: Door, session: aiohttp.ClientSession
) -> None:
    payer = Payer(door, session)
    with pytest.raises(WalletFundsLacking, match="holds 0 of COIN"):
        await payer.pay(order("1"), "x", COIN_KEY, use=lambda funds: funds._replace(coins=()))
    await fund(door, FIRST)
    with pytest.raises(WalletFundsLacking, match="holds 0 of COIN"):
        await payer.pay(order("1"), "x", use=lambda funds: funds.without_native_balances())


async def test_a_refusal_that_is_no_rivals_doing_is_told(
    door: Door, session: aiohttp.ClientSession
) -> None:
    await fund(door, FIRST)
    payer = Payer(door, session)
    draft = await payer.sender().draft(order("60"), "a")
    await payer.pay(order("60"), "b")  # takes the money that the draft counted on
    with pytest.raises(Refused, match="needed") as caught:
        await payer.sender().send(draft, unlock(HD)(draft))
    assert caught.value.problem == "insufficient-funds"
    assert await balance(door, TARGET) == "1060"


@pytest.mark.parametrize("hours", [-5_000, -1, 1, 5_000])
async def test_a_clock_that_is_wrong_does_not_matter(
    door: Door, session: aiohttp.ClientSession, hours: int
) -> None:
    await fund(door, FIRST)
    payer = Payer(door, session)
    sender = Sender(
        payer.client,
        door.node.genesis,
        MAIN,
        now_ms=lambda: time.time_ns() // 1_000_000 + hours * 3_600_000,
        entropy=os.urandom,
    )
    assert (await sender.pay(order("1"), "k", unlock=unlock(HD))).height


async def test_the_order_of_outputs_has_the_payment_first(
    door: Door, session: aiohttp.ClientSession
) -> None:
    draft = await Payer(door, session).sender(COIN_KEY).draft(order("1", as_coin=True), "k", rate=7)
    payment, change = draft.plan.body.outputs
    assert payment == CoinOutput(TARGET, parse_amount("1"))
    assert change.address == key_address(STRANGER.public)
    assert draft.plan.selection.fee_units == (draft.plan.size + 128) * 7
