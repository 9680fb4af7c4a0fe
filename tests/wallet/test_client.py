"""The client: what it asks again and where, what it does not, and what it makes of bad answers."""

import socket

import aiohttp
import pytest
from nodes_kit import HANG_UP, FakeNode, Reply, client_of, problem

from chaind.primitives.keys import SecretKey
from chaind.primitives.transaction import VERSION, AccountInput, AccountOutput, Body
from chaind.wallet.answers import Payee
from chaind.wallet.builder import sign
from chaind.wallet.client import Client
from chaind.wallet.errors import NodesBusy, NodeSilent, NotThere, Refused
from chaind.wallet.secret import Secret
from chaind.wallet.transport import PAUSE_S_FIRST, PAUSE_S_MAX
from chaind.wallet.urls import UrlInvalid

KEY = SecretKey(b"\x41" * 32)
TXID = "ab" * 32
TRANSACTION = sign(
    Body(VERSION, bytes(8), bytes(8), 1, None, (AccountInput(b"\1" * 20, "", 1),),
         (AccountOutput(b"\2" * 20, "", 1),), None, b""),
    KEY,
)  # fmt: skip
STATUS = {"name": "n", "chain": "c", "height": 7, "time_ms": 1, "syncing": False, "pending": 0}
GOOD = Reply(200, STATUS)
PAID = Reply(200, {"status": "success", "message": "x", "amount": "1", "tx_id": TXID})
BUSY = problem(503, "not-ready", "syncing", retry=1)
IN_FLIGHT = problem(409, "payment-in-flight", "under way", retry=1)


@pytest.fixture(autouse=True)
def _slow_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    """An answer may take its time even where the test has no patience for a second round."""
    monkeypatch.setattr("chaind.wallet.transport.ANSWER_S_MIN", 30.0)


def dead_url() -> str:
    with socket.create_server(("127.0.0.1", 0)) as server:
        return f"http://127.0.0.1:{server.getsockname()[1]}"


@pytest.mark.parametrize(
    "bad",
    [HANG_UP, BUSY, problem(429, "rate-limited"), problem(500, "internal-error"),
     Reply(502, raw=b"<html>")],
)  # fmt: skip
async def test_a_read_goes_on_to_the_next_node(bad: Reply) -> None:
    first, second = FakeNode(bad), FakeNode(GOOD)
    async with client_of(first, second) as (client, pauses):
        assert (await client.status()).height == 7
        asked = len(first.asked)  # aiohttp repeats a GET whose connection broke by itself
        assert (asked in (1, 2), len(second.asked)) == (True, 1)
        assert (await client.status()).height == 7  # and stays with the one that answered
        assert (len(first.asked), len(second.asked), pauses.taken_s) == (asked, 2, [])


async def test_a_node_that_nobody_listens_for_is_left() -> None:
    node = FakeNode(GOOD)
    async with client_of(node), aiohttp.ClientSession() as session:
        client = Client([dead_url(), node.url], session)
        assert (await client.status()).name == "n"


async def test_all_nodes_are_asked_again_after_growing_pauses() -> None:
    first, second = FakeNode(BUSY, HANG_UP, PAID), FakeNode(HANG_UP, BUSY)
    async with client_of(first, second) as (client, pauses):
        await client.transfer("a", "b", 1)
        assert (len(first.asked), len(second.asked)) == (3, 2)
        assert pauses.taken_s == [1.0, 2.0]  # what Retry-After says, then twice as much


async def test_pauses_double_up_to_a_bound() -> None:
    node = FakeNode(*[HANG_UP] * 8, PAID)
    async with client_of(node) as (client, pauses):
        await client.transfer("a", "b", 1)
    expected = [min(PAUSE_S_FIRST * 2**number, PAUSE_S_MAX) for number in range(8)]
    assert pauses.taken_s == pytest.approx(expected)


async def test_patience_ends_with_what_every_node_said() -> None:
    first, second = FakeNode(HANG_UP), FakeNode(HANG_UP)
    async with client_of(first, second, patience_s=0) as (client, _):
        with pytest.raises(NodeSilent) as caught:
            await client.status()
        assert first.url in str(caught.value)
        assert second.url in str(caught.value)
    busy = FakeNode(BUSY)
    async with client_of(FakeNode(HANG_UP), busy, patience_s=0) as (client, _):
        with pytest.raises(NodesBusy, match="syncing"):
            await client.status()


async def test_a_refusal_is_not_asked_of_another_node() -> None:
    first = FakeNode(
        problem(422, "overcommitted", "too much", advice="Send less.", values={"pending": "3"})
    )
    second = FakeNode(GOOD)
    async with client_of(first, second) as (client, _):
        with pytest.raises(Refused, match="too much\nSend less") as caught:
            await client.submit(TRANSACTION)
        assert (caught.value.problem, caught.value.status) == ("overcommitted", 422)
        assert caught.value.values["facts"] == {"pending": "3"}
        assert not second.asked


async def test_what_a_node_does_not_know_is_none() -> None:
    node = FakeNode(problem(404, "transaction-unknown"))
    async with client_of(node) as (client, _):
        assert await client.transaction(bytes(32)) is None
        assert await client.lease("chd1x", bytes(32)) is None
        with pytest.raises(NotThere):
            await client.holdings("nobody/../x")
        assert node.asked[-1].path == "/api/v1/accounts/nobody%2F..%2Fx"


async def test_a_transfer_draws_a_key_and_keeps_it_through_every_retry() -> None:
    first, second = FakeNode(HANG_UP, IN_FLIGHT), FakeNode(IN_FLIGHT, BUSY, PAID)
    async with client_of(first, second) as (client, _):
        paid = await client.transfer("alice", "bob", 150_000_000, memo="hi", asset="GOLD")
        assert (paid.tx_id, paid.key, paid.earlier) == (TXID, "key-0", False)
        asked = first.asked + second.asked
        assert len(asked) == 6
        assert {entry.headers["Idempotency-Key"] for entry in asked} == {"key-0"}
        assert len({entry.body for entry in asked}) == 1
        assert (await client.transfer("alice", "bob", 1)).key == "key-1"
        assert (await client.transfer("alice", "bob", 1, key="mine")).key == "mine"


async def test_payouts_and_refunds_are_asked_again_with_their_key() -> None:
    paid_out = Reply(200, {"tx_id": TXID, "count": 1, "amounts": {}})
    given = {"refund_of": TXID, "number": 1, "amount": "1", "asset": "COIN"}
    first = FakeNode(HANG_UP, IN_FLIGHT, HANG_UP)
    second = FakeNode(
        BUSY,
        paid_out,
        problem(409, "refund-too-early", retry=1),
        Reply(200, {"tx_id": TXID, **given}),
    )
    async with client_of(first, second) as (client, _):
        assert (await client.payout("alice", [Payee("bob", 1)])).key == "key-0"
        assert (await client.refund(bytes.fromhex(TXID), units=1)).key == "key-1"
    asked = sorted(first.asked + second.asked, key=lambda entry: entry.path)
    for entries in (asked[:4], asked[4:]):
        assert len({(entry.headers["Idempotency-Key"], entry.body) for entry in entries}) == 1
    assert [entry.path for entry in asked] == ["/api/v1/payouts"] * 4 + ["/api/v1/refunds"] * 3


async def test_an_invoice_is_asked_for_once() -> None:
    """Every request would be another one; to cancel it again changes nothing."""
    node = FakeNode(HANG_UP)
    async with client_of(node) as (client, _):
        with pytest.raises(NodeSilent):
            await client.create_invoice("alice", 1)
    assert len(node.asked) == 1


async def test_a_statement_that_does_not_come_to_its_sum_is_refused() -> None:
    entry = {"kind": "payment", "tx_id": TXID, "height": 1, "place": 0, "time_ms": 1, "fee": "0",
             "change": "-2", "counterparties": [], "memo": None, "memo_hex": ""}  # fmt: skip
    page = {"asset": "COIN", "from_height": 0, "to_height": 1, "opening_balance": "5",
            "entries": [entry], "closing_balance": "3", "next_cursor": None}  # fmt: skip
    node = FakeNode(Reply(200, page))
    async with client_of(node) as (client, _):
        assert (await client.statement("alice")).lines[0].balance == 3 * 10**8
        node.replies = [Reply(200, {**page, "closing_balance": "4"})]
        with pytest.raises(NodeSilent, match="closing balance"):
            await client.statement("alice")
        node.replies = [Reply(200, {**page, "next_cursor": "1.1.0"}), Reply(200, page)]
        with pytest.raises(NodeSilent, match="another balance"):
            await client.statement("alice")


async def test_a_transfer_found_again_says_so() -> None:
    node = FakeNode(PAID._replace(headers={"X-Idempotency-Hit": "true"}))
    async with client_of(node) as (client, _):
        assert (await client.transfer("a", "b", 1)).earlier


async def test_a_conflict_that_is_for_ever_is_no_payment_in_flight() -> None:
    node = FakeNode(problem(409, "lease-taken"), PAID)
    async with client_of(node) as (client, _):
        with pytest.raises(Refused):
            await client.transfer("a", "b", 1)


async def test_the_faucet_is_asked_once() -> None:
    """Every request would be another gift."""
    node = FakeNode(HANG_UP, Reply(200, {"status": "success", "tx_id": TXID, "balance": "1"}))
    async with client_of(node) as (client, _):
        with pytest.raises(NodeSilent):
            await client.faucet("alice", 1)
        assert len(node.asked) == 1
        assert (await client.faucet("alice", 1)).balance == "1"
        node.replies = [problem(403, "faucet-closed")]
        with pytest.raises(Refused):
            await client.faucet("alice", 1)


async def test_the_same_transaction_is_handed_in_until_it_is_final() -> None:
    accepted = Reply(202, {"status": "accepted", "tx_id": TXID})
    final = Reply(200, {"status": "final", "tx_id": TXID})
    first, second = FakeNode(accepted, HANG_UP), FakeNode(BUSY, final)
    async with client_of(first, second) as (client, _):
        assert (await client.submit(TRANSACTION)).status == "final"
        asked = first.asked + second.asked
        assert len(asked) == 4
        assert len({entry.body for entry in asked}) == 1
        assert TRANSACTION.raw.hex().encode() in asked[0].body
        assert {entry.path for entry in asked} == {"/api/v1/transactions?wait=final"}
        first.replies = second.replies = [accepted]
        assert (await client.submit(TRANSACTION, final=False)).status == "accepted"
        assert (await client.submit(TRANSACTION, patience_s=0)).status == "accepted"


async def test_pages_are_followed_to_their_end_and_no_further_than_asked() -> None:
    def page(first: int, cursor: str | None) -> Reply:
        entry = {"tx_id": TXID, "direction": "sent", "asset": "COIN", "amount": "1", "fee": "0",
                 "counterparties": [], "changes": {}, "memo": None, "memo_hex": "", "time_ms": 1,
                 "height": first}  # fmt: skip
        return Reply(200, {"transactions": [entry] * 3, "next_cursor": cursor})

    def node() -> FakeNode:
        return FakeNode(page(9, "8.1"), page(8, "7.0"), page(7, None))

    source = node()
    async with client_of(source) as (client, _):
        assert [entry.height for entry in await client.history("x")] == [9] * 3 + [8] * 3 + [7] * 3
        assert [entry.path.partition("?")[2] for entry in source.asked] == [
            "", "cursor=8.1", "cursor=7.0",
        ]  # fmt: skip
    source = node()
    async with client_of(source) as (client, _):
        assert len(await client.history("x", 4)) == 4
        assert len(source.asked) == 2
    async with client_of(FakeNode(page(9, "8.1"))) as (client, _):
        with pytest.raises(NodeSilent, match="circle"):
            await client.history("x")


@pytest.mark.parametrize(
    "raw",
    [b"", b"{}", b"[]", b"\xff", b'{"name":1}', b"<html>hello</html>",
     b'{"name":"n","chain":"c","height":-1,"time_ms":1,"syncing":false,"pending":0}'],
)  # fmt: skip
async def test_what_is_no_answer_of_a_node_is_silence(raw: bytes) -> None:
    async with client_of(FakeNode(Reply(200, raw=raw))) as (client, _):
        with pytest.raises(NodeSilent, match="not the API of a node"):
            await client.status()


async def test_redirects_are_not_followed() -> None:
    other = FakeNode(GOOD)
    async with client_of(other):
        node = FakeNode(Reply(307, headers={"Location": other.url}))
        async with client_of(node, patience_s=0) as (client, _):
            with pytest.raises(NodeSilent, match="status 307"):
                await client.status()
        assert not other.asked


async def test_an_endless_answer_is_cut(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("chaind.wallet.transport.ANSWER_BYTES_MAX", 100_000)
    node = FakeNode(Reply(200, raw=b" " * 100_001))
    async with client_of(node, patience_s=0) as (client, _):
        with pytest.raises(NodeSilent, match="exceeds"):
            await client.status()


async def test_what_a_node_says_cannot_drive_a_terminal() -> None:
    node = FakeNode(problem(422, "x\x1b[2J", "boo\x1b[31m\n" + "!" * 5_000, advice="\x07"))
    async with client_of(node) as (client, _):
        with pytest.raises(Refused) as caught:
            await client.submit(TRANSACTION)
    assert str(caught.value).replace("\n", "").isprintable()
    assert caught.value.problem.isprintable()
    assert len(str(caught.value)) < 1_000


@pytest.mark.parametrize(
    "url",
    ["", "localhost:8080", "ftp://x", "http://", "http://x:99999", "http://u:p@x", "http://x/?a=1",
     "http://x:0"],
)  # fmt: skip
async def test_what_is_no_url_is_refused_at_once(url: str) -> None:
    async with aiohttp.ClientSession() as session:
        with pytest.raises(UrlInvalid, match=r"write http|[Pp]ort"):
            Client([url], session)


async def test_a_token_goes_into_the_header_and_nowhere_else() -> None:
    node = FakeNode(problem(401, "token-needed"))
    token = Secret("canary-token")
    async with client_of(node, token=token) as (client, _):
        with pytest.raises(Refused) as caught:
            await client.status()
    assert node.asked[0].headers["Authorization"] == "Bearer canary-token"
    assert "canary" not in node.asked[0].path
    assert "canary" not in f"{caught.value!r} {caught.value.values}"
