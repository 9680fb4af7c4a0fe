"""Sending when nodes refuse, contradict each other or fall silent: what the payer is told."""

from typing import Any

import msgspec
import pytest
from aiohttp import web
from nodes_kit import FakeNode, Reply, client_of, problem

from chaind.primitives.address import key_address
from chaind.primitives.genesis import Genesis, Validator
from chaind.primitives.keys import SecretKey
from chaind.primitives.transaction import NATIVE
from chaind.wallet.accounts import FIRST, add_key, empty_wallet
from chaind.wallet.client import Client
from chaind.wallet.errors import KeySpent, NodeSilent, NotFinalYet, PaymentEnded, Refused
from chaind.wallet.payment import Order, Terms, make_lease, plan_payment
from chaind.wallet.selection import Balance, Funds
from chaind.wallet.sending import LOOKS_MAX, Draft, Sender

KEY = SecretKey(b"\x61" * 32)
OWNER = key_address(KEY.public)
ORDER = Order(b"\x62" * 20, NATIVE, 5, b"", as_coin=False)
GENESIS = Genesis(
    name="g", time_ms=1, validators=(Validator(public_key=KEY.public.hex()),), allocations=()
)
WALLET = add_key(empty_wallet(GENESIS.addresses), "main", KEY)
TXID = "ab" * 32
FREE = problem(404, "lease-free")
ENDED = problem(422, "transaction-ended", "it is rejected: conflict")


def make_draft() -> Draft:
    lease = make_lease(OWNER, "k", ORDER)
    terms = Terms(GENESIS.parameters, GENESIS.chain_prefix, "COIN", 9, bytes(8), 0)
    funds = Funds((Balance(OWNER, NATIVE, 9),), ())
    return Draft(ORDER, "k", plan_payment(ORDER, funds, lease, OWNER, terms), {OWNER: FIRST})


def sender(client: Client, wait_s: float = 0.2) -> Sender:
    account = WALLET.open.accounts[0]
    return Sender(client, GENESIS, account, now_ms=lambda: 1, entropy=bytes, wait_s=wait_s)


def held(final: bool, intent: str | None = None) -> Reply:
    mine = make_lease(OWNER, "k", ORDER).intent.hex()
    return Reply(200, {"tx_id": TXID, "intent": intent or mine, "final": final})


async def send(*replies: Reply) -> Any:
    async with client_of(FakeNode(*replies)) as (client, _):
        return await sender(client).send(make_draft(), lambda _place: KEY)


async def test_a_payment_that_ended_and_whose_key_is_free_did_not_happen() -> None:
    with pytest.raises(PaymentEnded, match=r"did not happen: .*it is rejected"):
        await send(ENDED, FREE)


async def test_another_refusal_is_told_as_the_node_tells_it() -> None:
    with pytest.raises(Refused) as caught:
        await send(problem(422, "overcommitted", "too much"), FREE)
    assert caught.value.problem == "overcommitted"


async def test_a_refusal_for_a_key_that_paid_for_something_else_is_that() -> None:
    with pytest.raises(KeySpent, match=f"'k' .* {TXID}"):
        await send(problem(409, "lease-taken"), held(True, intent="ee" * 32))


@pytest.mark.parametrize(
    ("reply", "why"),
    [
        (problem(503, "not-ready", "syncing"), "syncing"),
        (Reply(202, {"tx_id": TXID, "status": "accepted"}), "it waits for a block"),
        (Reply(200, raw=b"?"), "not the API of a node"),
    ],
)
async def test_whatever_leaves_it_open_says_how_to_ask_again(reply: Reply, why: str) -> None:
    with pytest.raises(NotFinalYet, match="with key 'k' was not final") as caught:
        await send(reply)
    assert why in str(caught.value)
    assert "same key" in caught.value.advice


async def test_a_final_payment_is_final_whatever_is_said_afterwards() -> None:
    final = Reply(200, {"tx_id": TXID, "status": "final"})
    for after in (Reply(200, raw=b"?"), problem(404, "transaction-unknown")):
        sent = await send(final, after)
        assert (sent.earlier, sent.height) == (False, None)
    sent = await send(final, Reply(200, {"tx_id": TXID, "status": "final", "height": 3}))
    assert sent.height == 3


async def test_an_open_payment_that_cannot_be_looked_up_stays_open() -> None:
    """The refusal may be of a payment that was made: without an answer nobody knows."""
    with pytest.raises(NotFinalYet, match="with key 'k'"):
        await send(problem(409, "lease-taken"), Reply(200, raw=b"?"))


class Live(FakeNode):
    """A node whose WebSocket tells these states of whatever is asked for, then closes."""

    def __init__(self, *replies: Reply, states: tuple[str, ...]) -> None:
        super().__init__(*replies)
        self.states = states
        self.sockets = 0

    async def handle(self, request: web.Request) -> web.StreamResponse:
        if request.path != "/ws":
            return await super().handle(request)
        self.sockets += 1
        socket = web.WebSocketResponse()
        await socket.prepare(request)
        command = msgspec.json.decode((await socket.receive()).data)
        [channel] = command["channels"]
        for status in self.states:
            data = {"tx_id": channel.removeprefix("tx:"), "status": status, "height": 4}
            news = {"channel": channel, "seq": 1, "type": "transaction", "data": data}
            await socket.send_str(msgspec.json.encode(news).decode())
        await socket.close()
        return socket


NOTHING = Reply(404)


async def test_the_end_is_waited_for_at_whichever_node_knows_it() -> None:
    unknown = Live(NOTHING, states=("unknown",))
    drops = Live(NOTHING, states=("pending",))
    knows = Live(NOTHING, states=("pending", "included", "final"))
    async with client_of(unknown, drops, knows) as (client, _):
        state = await client.wait_ended(bytes.fromhex(TXID))
        assert (state.tx_id, state.status, state.height) == (TXID, "final", 4)
        assert (unknown.sockets, drops.sockets, knows.sockets) == (1, 1, 1)


async def test_what_nobody_knows_is_asked_for_until_patience_ends() -> None:
    unknown = Live(NOTHING, states=("unknown",))
    async with client_of(unknown) as (client, pauses):
        state = await client.wait_ended(bytes.fromhex(TXID), 0.1)
        assert (state.status, state.ended) == ("unknown", False)
        assert unknown.sockets > 1
        assert pauses.taken_s[:2] == [0.1, 0.2]


async def test_a_node_without_live_news_is_left_for_the_next() -> None:
    deaf = FakeNode(NOTHING)
    knows = Live(NOTHING, states=("expired",))
    async with client_of(deaf, knows) as (client, _):
        assert (await client.wait_ended(bytes.fromhex(TXID))).status == "expired"


async def test_a_key_whose_payment_ended_is_looked_at_again() -> None:
    """The first holder expired while it was waited for; then another one is final."""
    node = Live(held(False), FREE, states=("expired",))
    async with client_of(node) as (client, _):
        assert await sender(client).earlier(ORDER, "k") is None
    node = Live(held(True), states=("final",))
    async with client_of(node) as (client, _):
        sent = await sender(client).earlier(ORDER, "k")
        assert sent is not None
        assert (sent.txid.hex(), sent.earlier, sent.height) == (TXID, True, 4)


async def test_nodes_that_contradict_each_other_for_ever_are_given_up() -> None:
    node = Live(held(True), states=("rejected",))
    async with client_of(node) as (client, _):
        with pytest.raises(NodeSilent, match="contradict"):
            await sender(client).earlier(ORDER, "k")
    assert node.sockets == LOOKS_MAX


async def test_secrets_come_in_last() -> None:
    """A key that was used is found without a plan, and so without a password."""

    def never(_draft: Draft) -> Any:
        raise AssertionError("nothing is to be signed")

    node = Live(held(True), states=("final",))
    async with client_of(node) as (client, _):
        sent = await sender(client).pay(ORDER, "k", unlock=never)
        assert sent.earlier
