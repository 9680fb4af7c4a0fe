"""/ws: numbered messages, replay without hole or repetition, gaps that are said."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import aiohttp
import msgspec
import pytest
from api_kit import ALICE, BOB, Door

from chaind.api import channels
from chaind.api.forms import Forms
from chaind.primitives.address import key_address
from chaind.primitives.genesis import Parameters
from chaind.primitives.transaction import Lease, Transaction


class Socket:
    """A WebSocket whose messages can be awaited by channel."""

    def __init__(self, raw: aiohttp.ClientWebSocketResponse) -> None:
        self.raw = raw

    async def ask(self, *names: str, method: str = "subscribe", **more: Any) -> None:
        await self.raw.send_json({"method": method, "channels": names, **more})

    async def next(self) -> Any:
        return await self.raw.receive_json(timeout=5)

    async def subscribe(self, *names: str, **more: Any) -> list[Any]:
        """Subscribe; the messages that came before the answer."""
        await self.ask(*names, **more)
        before = []
        while (message := await self.next())["type"] not in ("subscribed", "error"):
            before.append(message)
        assert message["type"] == "subscribed", message
        assert message["channels"] == list(names)
        return before


@asynccontextmanager
async def connected(door: Door) -> AsyncIterator[Socket]:
    async with door.session.ws_connect("/ws") as raw:
        yield Socket(raw)


async def pay(door: Door, *transactions: Transaction) -> None:
    for transaction in transactions:
        await door.post("/add_transaction?wait=final", {"raw": transaction.raw.hex()})


async def test_a_plain_request_is_told_what_this_is(door: Door) -> None:
    problem = await door.get("/ws", 400)
    assert problem["code"] == "websocket-needed"
    assert "ws://" in problem["advice"]


async def test_blocks_are_told_in_order(door: Door) -> None:
    async with connected(door) as socket:
        assert await socket.subscribe("blocks") == []
        await pay(door, *(door.payment(1 + i, number=i) for i in range(3)))
        messages = [await socket.next() for _ in range(3)]
        assert [message["seq"] for message in messages] == [1, 2, 3]
        assert {(message["channel"], message["type"]) for message in messages} == {
            ("blocks", "block")
        }
        heights = [message["data"]["height"] for message in messages]
        assert heights == list(range(heights[0], heights[0] + 3))
        shown = await door.get(f"/blocks/range?start={heights[0]}&end={heights[-1]}")
        assert [message["data"] for message in messages] == shown["blocks"]


async def test_replay_goes_over_into_live_without_hole_or_repetition(door: Door) -> None:
    await pay(door, *(door.payment(1 + i, number=i) for i in range(5)))
    async with connected(door) as socket:
        await socket.ask("blocks", from_height=2)
        # Blocks come while the socket is still being told of old ones.
        await pay(door, *(door.payment(100 + i, number=i) for i in range(5)))
        heights: list[int] = []
        while not heights or heights[-1] < door.node.chain.final.height:
            message = await socket.next()
            if message["type"] == "block":
                heights.append(message["data"]["height"])
                assert message["seq"] == len(heights)
        assert heights == list(range(2, heights[-1] + 1))


async def test_transaction_is_followed_to_its_end(door: Door) -> None:
    payment = door.payment(5)
    name = f"tx:{payment.txid.hex()}"
    async with connected(door) as socket:
        [state] = await socket.subscribe(name)
        assert (state["channel"], state["seq"]) == (name, 1)
        assert state["data"]["status"] == "unknown"
        await pay(door, payment, door.payment(6))
        assert (await socket.next())["data"]["status"] == "pending"
        final = await socket.next()
        assert final["seq"] == 3
        assert final["data"]["status"] == "final"
        assert (
            final["data"]["block_hash"]
            == (await door.get(f"/transaction/{payment.txid.hex()}"))["block_hash"]
        )
        [state] = await socket.subscribe(name)  # again, from 1: it is final already
        assert (state["seq"], state["data"]) == (1, final["data"])


async def test_rejection_is_told_with_the_rival(door: Door) -> None:
    """A transaction accepted here loses its lease to one that came with a block."""
    lease = Lease(key_address(ALICE.public), b"\x01" * 32, b"\x02" * 32)
    loser, winner = door.payment(1, lease=lease), door.payment(2, lease=lease)
    node = door.node
    checked = node.intake.check_form(loser.raw)
    node.tracker.accept([checked])  # accepted, and out of the pool since
    async with connected(door) as socket:
        [state] = await socket.subscribe(f"tx:{loser.txid.hex()}")
        assert state["data"]["status"] == "pending"
        await pay(door, winner)
        state = await socket.next()
        assert state["data"]["status"] == "rejected"
        assert state["data"]["by"] == winner.txid.hex()


async def test_account_channel_is_its_history(door: Door) -> None:
    await pay(door, door.payment(1), door.payment(2))
    async with connected(door) as socket:
        replayed = await socket.subscribe(
            f"account:{door.show(BOB)}", "account:carol", from_height=0
        )
        assert [message["data"]["amount"] for message in replayed] == ["0.00000001", "0.00000002"]
        await pay(door, door.payment(3), door.payment(4, source=ALICE, target=ALICE))
        message = await socket.next()
        assert (message["seq"], message["type"]) == (3, "activity")
        history = (await door.get("/transactions/bob"))["transactions"]
        assert message["data"] == history[0]
        await pay(door, door.payment(5))
        assert (await socket.next())["data"]["amount"] == "0.00000005"  # alice's own was not told


async def test_account_replay_is_bounded_and_says_so(
    door: Door, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(channels, "REPLAY_ENTRIES_MAX", 2)
    await pay(door, *(door.payment(1 + i, number=i) for i in range(4)))
    async with connected(door) as socket:
        gap, *entries = await socket.subscribe("account:bob", from_height=0)
        assert (gap["type"], gap["seq"], gap["data"]["from_seq"]) == ("gap", 1, 1)
        assert [entry["seq"] for entry in entries] == [2, 3]
        page = await door.get(f"/transactions/bob?cursor={gap['data']['next_cursor']}")
        amounts = [entry["amount"] for entry in page["transactions"]]
        assert amounts == ["0.00000002", "0.00000001"]  # the rest, and nothing twice


@pytest.mark.parametrize(
    "genesis_changes", [{"parameters": Parameters(min_block_interval_ms=3_600_000)}]
)
async def test_mempool_changes_are_told_together(door: Door) -> None:
    waiting = [door.payment(1 + i, number=i) for i in range(3)]
    async with connected(door) as socket:
        await socket.subscribe("mempool")
        await door.post("/add_transaction", [{"raw": item.raw.hex()} for item in waiting], 202)
        message = await socket.next()
        assert message["type"] == "mempool"
        assert {entry["tx_id"] for entry in message["data"]["added"]} == {
            item.txid.hex() for item in waiting
        }
        assert (message["data"]["added_count"], message["data"]["pending"]) == (3, 3)


async def test_mempool_tells_what_blocks_take(door: Door) -> None:
    async with connected(door) as socket:
        await socket.subscribe("mempool")
        await pay(door, door.payment(1))
        types = {(await socket.next())["type"] for _ in range(2)}
        assert types == {"included", "mempool"}


async def test_unsubscribed_channels_are_silent(door: Door) -> None:
    async with connected(door) as socket:
        await socket.subscribe("blocks", "account:bob")
        await socket.ask("blocks", "tx:" + "0" * 64, method="unsubscribe")
        assert (await socket.next())["type"] == "unsubscribed"
        await pay(door, door.payment(1))
        assert (await socket.next())["channel"] == "account:bob"
        await socket.ask(method="unsubscribe")
        assert (await socket.next())["type"] == "unsubscribed"  # and no block before it


@pytest.mark.parametrize(
    ("text", "code"),
    [
        ("{", "body-malformed"),
        ('{"method":"subscribe"}', "body-malformed"),
        ('{"method":"fly","channels":[]}', "body-malformed"),
        ('{"method":"subscribe","channels":["blocks"],"from_height":-1}', "body-malformed"),
        ('{"method":"subscribe","channels":["blocks","weather"]}', "channel-invalid"),
        ('{"method":"subscribe","channels":["tx:1"]}', "txid-invalid"),
        ('{"method":"subscribe","channels":["account:nobody"]}', "name-unknown"),
    ],
)
async def test_wrong_commands_are_answered_and_change_nothing(
    door: Door, text: str, code: str
) -> None:
    async with connected(door) as socket:
        await socket.raw.send_str(text)
        answer = await socket.next()
        assert (answer["type"], answer["problem"]["code"]) == ("error", code)
        await pay(door, door.payment(1))
        await socket.subscribe("mempool")  # the first thing heard since: no block was


async def test_channels_and_sockets_are_bounded(
    door: Door, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(channels, "CLIENTS_MAX", 1)
    async with connected(door) as socket:
        names = [f"tx:{i:064x}" for i in range(channels.CHANNELS_MAX)]
        await socket.subscribe(*names[:200])
        await socket.ask(*names[100:], "blocks")
        assert (await socket.next())["problem"]["code"] == "too-many-channels"
        await socket.subscribe(*names[100:])
        with pytest.raises(aiohttp.WSServerHandshakeError) as caught:
            await door.session.ws_connect("/ws")
        assert caught.value.status == 429
    async with connected(door) as socket:  # the seat is free again
        await socket.subscribe("blocks")


async def test_the_node_is_listened_to_only_while_somebody_listens(door: Door) -> None:
    before = len(door.node.events._callbacks)
    async with connected(door) as first, connected(door) as second:
        await first.subscribe("blocks")
        await second.subscribe("blocks", "mempool", "account:bob")
        assert len(door.node.events._callbacks) == before + 1
    async with asyncio.timeout(5):
        while len(door.node.events._callbacks) > before:
            await door.get("/health/live")


class TestQueue:
    """A reader that does not read: bounded memory, and a gap where something was left out."""

    @staticmethod
    def client(monkeypatch: pytest.MonkeyPatch) -> tuple[channels.Client, channels.Subscription]:
        monkeypatch.setattr(channels, "QUEUE_MESSAGES_MAX", 3)
        client = channels.Client()
        subscription = channels.Subscription("blocks")
        client.subscriptions["blocks",] = subscription
        return client, subscription

    @staticmethod
    def drain(client: channels.Client) -> list[tuple[str, int, Any]]:
        found = []
        while (frame := client.take()) is not None:
            message = msgspec.json.decode(frame)
            found.append((message["type"], message["seq"], message["data"]))
        return found

    async def test_gap_after_the_queue_was_full(self, monkeypatch: pytest.MonkeyPatch) -> None:
        client, subscription = self.client(monkeypatch)
        for number in range(1, 8):
            client.post(subscription, "block", channels._raw(number))
        assert client.full
        gap = ("gap", 7, {"from_seq": 4, "reason": "slow reader"})
        assert self.drain(client) == [*[("block", n, n) for n in (1, 2, 3)], gap]
        client.post(subscription, "block", channels._raw(8))
        assert self.drain(client) == [("block", 8, 8)]

    async def test_gap_comes_before_what_follows_it(self, monkeypatch: pytest.MonkeyPatch) -> None:
        client, subscription = self.client(monkeypatch)
        for number in range(1, 6):
            client.post(subscription, "block", channels._raw(number))
        client.take()
        client.post(subscription, "block", channels._raw(6))
        assert [(kind, seq) for kind, seq, _ in self.drain(client)] == [
            ("block", 2), ("block", 3), ("gap", 5), ("block", 6)
        ]  # fmt: skip

    async def test_the_queue_is_bounded_in_bytes(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(channels, "QUEUE_BYTES_MAX", 1_000)
        client, subscription = channels.Client(), channels.Subscription("blocks")
        client.subscriptions["blocks",] = subscription
        for _ in range(10):
            client.post(subscription, "block", channels._raw("x" * 600))
        assert [kind for kind, _, _ in self.drain(client)] == ["block", "block", "gap"]


async def test_asking_without_reading_ends_the_socket(
    door: Door, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(channels, "QUEUE_MESSAGES_MAX", 0)
    async with connected(door) as socket:
        await socket.ask("blocks")
        message = await socket.raw.receive(timeout=5)
        assert message.type is aiohttp.WSMsgType.CLOSE
        assert message.data == aiohttp.WSCloseCode.POLICY_VIOLATION


async def test_the_end_of_the_node_closes_sockets(door: Door) -> None:
    async with connected(door) as socket:
        await socket.subscribe("blocks")
        await door.server.stop()
        message = await socket.raw.receive(timeout=5)
        assert message.type is aiohttp.WSMsgType.CLOSE
        assert message.data == aiohttp.WSCloseCode.GOING_AWAY


async def test_live_blocks_wait_for_the_replay_before_them(door: Door) -> None:
    """A block that becomes final in the middle of a replay is told once, and in its place."""
    await pay(door, *(door.payment(1 + i, number=i) for i in range(3)))
    hub = channels.Hub(door.node, Forms(door.node.genesis))
    client = hub.join()
    hub.subscribe(client, "blocks", channels.BLOCKS, 1)
    assert hub.replay(client)
    await pay(door, door.payment(100))
    while hub.replay(client):
        pass
    await pay(door, door.payment(101))
    heights = [data["height"] for _, _, data in TestQueue.drain(client)]
    assert heights == list(range(1, door.node.chain.final.height + 1))
    hub.leave(client)
