"""Channels of order books: what they begin with, what they tell, and that frames are few."""

import asyncio
from typing import Any

import msgspec
import pytest
from api_kit import Door
from exchange_kit import Trader, trading_changes
from test_websocket import Socket, connected

from chaind.api import market_channels
from chaind.market.book_feed import BookFollower, FeedFrame, FeedLevel
from chaind.primitives.orders import BUY, SELL
from chaind.wallet.derivation import TRADER_NAMES


@pytest.fixture
def genesis_changes() -> dict[str, Any]:
    return trading_changes()


@pytest.fixture
def traders(door: Door) -> tuple[Trader, Trader]:
    one, two = (Trader(door, name) for name in TRADER_NAMES)
    return one, two


def frame_of(data: dict[str, Any]) -> FeedFrame:
    sides = ([FeedLevel(*level) for level in data[side]] for side in ("bids", "asks"))
    bids, asks = map(tuple, sides)
    return FeedFrame(data["seq"], data["prev_seq"], bids, asks, data["checksum"])


async def until(socket: Socket, channel: str, height: int) -> list[Any]:
    """Messages of a channel until one knows a height."""
    found = []
    while True:
        message = await socket.next()
        if message["channel"] == channel:
            found.append(message)
            if message["data"]["seq"] >= height:
                return found


async def test_a_book_made_of_frames_is_the_nodes(
    door: Door, traders: tuple[Trader, Trader]
) -> None:
    one, two = traders
    await one.place("buy", "1", "44000")
    async with connected(door) as socket:
        [first] = await socket.subscribe("book:BTC-USD")
        assert (first["type"], first["channel"], first["seq"]) == ("snapshot", "book:BTC-USD", 1)
        assert first["data"]["bids"] == [["44000", "1", 1]]
        follower = BookFollower()
        assert follower.take(frame_of(first["data"]))
        await one.place("buy", "2", "44000")
        await two.place("sell", "1", "46000")
        await two.place("sell", "4", "44000")  # takes all bids, and rests
        view = door.node.market_data.view("BTC/USD")
        for number, message in enumerate(await until(socket, "book:BTC-USD", view.seq), 2):
            assert (message["type"], message["seq"]) == ("delta", number)
            assert follower.take(frame_of(message["data"]))
        assert (follower.bids, follower.asks) == (view.levels(BUY), view.levels(SELL))
        assert follower.asks[0] == ("44000", "1", 1)
        shown = await door.get("/api/v1/orderbook/BTC-USD")
        assert (shown["checksum"], shown["seq"]) == (follower.checksum(), follower.seq)


async def test_what_each_channel_tells_of_a_trade(
    door: Door, traders: tuple[Trader, Trader]
) -> None:
    one, two = traders
    ask = await one.place("sell", "2", "45000")
    names = ("trades:BTC/USD", "ticker:BTC-USD", "candles:BTC-USD:1m", f"orders:{two.name}")
    async with connected(door) as socket:
        first = {message["channel"]: message for message in await socket.subscribe(*names)}
        assert first[names[0]]["data"]["trades"] == []
        assert first[names[1]]["data"]["last"] is None
        assert first[names[2]]["data"]["candles"] == []
        assert first[names[3]]["data"]["orders"] == []
        bid = await two.place("buy", "0.5", "45000")
        told = {}
        while len(told) < len(names):
            message = await socket.next()
            told[message["channel"]] = message["data"]
    [trade] = told[names[0]]["trades"]
    assert trade["maker_order_id"] == ask["order_id"]
    assert trade == (await door.get("/api/v1/trades/BTC-USD"))["trades"][0]
    assert told[names[1]] == await door.get("/api/v1/ticker/BTC-USD")
    assert told[names[2]]["candles"] == (await door.get("/api/v1/candles/BTC-USD"))["candles"]
    assert told[names[3]]["orders"] == [await door.get(f"/api/v1/orders/{bid['order_id']}")]


async def test_trades_are_replayed_from_a_height(
    door: Door, traders: tuple[Trader, Trader], monkeypatch: pytest.MonkeyPatch
) -> None:
    one, two = traders
    heights = []
    for _ in range(3):
        await one.place("sell", "1", "45000")
        order = await two.place("buy", "1", "45000")
        heights.append(order["height"])
    async with connected(door) as socket:
        [message] = await socket.subscribe("trades:BTC-USD", from_height=heights[1])
        found = [int(trade["id"].split(".")[0]) for trade in message["data"]["trades"]]
        assert (found, message["data"]["more"]) == (heights[1:], False)
        monkeypatch.setattr(market_channels, "TRADES_REPLAYED_MAX", 2)
        [message] = await socket.subscribe("trades:BTC-USD", from_height=0)
        assert len(message["data"]["trades"]) == 2
        assert message["data"]["more"] is True


async def test_open_orders_come_first(door: Door, traders: tuple[Trader, Trader]) -> None:
    one, _ = traders
    await one.place("buy", "1", "44000")
    gone = await one.place("buy", "1", "44001")
    async with door.session.delete(f"/api/v1/orders/{gone['order_id']}?wait=final") as response:
        assert response.status == 200
    async with connected(door) as socket:
        [message] = await socket.subscribe(f"orders:{one.name}")
        assert [order["price"] for order in message["data"]["orders"]] == ["44000"]


async def test_blocks_that_follow_fast_are_told_in_one_frame(
    door: Door, traders: tuple[Trader, Trader], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(market_channels, "FRAMES_PER_S", 0.001)
    one, _ = traders
    async with connected(door) as socket:
        await socket.subscribe("book:BTC-USD", "orders:trader1")
        seen = []
        await one.place("buy", "1", "44000")  # told at once
        for price in ("44001", "44002", "44003"):
            await one.place("buy", "1", price)
        hub = door.server._api.hub  # type: ignore[union-attr]
        hub._markets._timer.cancel()  # type: ignore[union-attr] # it would wait for long
        hub._markets._flush()
        while len(seen) < 4:
            seen.append(await socket.next())
    books = [message["data"] for message in seen if message["channel"] == "book:BTC-USD"]
    assert [[level[0] for level in data["bids"]] for data in books] == [
        ["44000"],
        ["44001", "44002", "44003"],
    ]
    assert books[1]["prev_seq"] == books[0]["seq"]


async def test_readers_share_what_was_encoded_once(
    door: Door, traders: tuple[Trader, Trader], monkeypatch: pytest.MonkeyPatch
) -> None:
    one, _ = traders
    frames = 0

    def counted(value: object) -> msgspec.Raw:
        nonlocal frames
        frames += isinstance(value, market_channels.BookFrame)
        return msgspec.Raw(msgspec.json.encode(value))

    monkeypatch.setattr(market_channels, "_raw", counted)
    async with connected(door) as first, connected(door) as second:
        for socket in (first, second):
            await socket.subscribe("book:BTC-USD")
        assert frames == 1  # one snapshot for both
        await one.place("buy", "1", "44000")
        messages = await asyncio.gather(first.next(), second.next())
        assert messages[0] == messages[1]
        assert frames == 2


@pytest.mark.parametrize(
    ("channel", "code"),
    [
        ("book:NO-USD", "market-unknown"),
        ("book:", "market-unknown"),
        ("book:é", "market-unknown"),
        ("book:BTC-USD:1m", "interval-unknown"),
        ("candles:BTC-USD", "interval-unknown"),
        ("candles:BTC-USD:2m", "interval-unknown"),
        ("orders:nobody", "name-unknown"),
        ("depth:BTC-USD", "channel-invalid"),
    ],
)
async def test_channels_that_are_none(door: Door, channel: str, code: str) -> None:
    async with connected(door) as socket:
        await socket.ask(channel)
        message = await socket.next()
        assert (message["type"], message["problem"]["code"]) == ("error", code)


async def test_a_slow_reader_is_told_of_its_gap_and_begins_anew(
    door: Door, traders: tuple[Trader, Trader], monkeypatch: pytest.MonkeyPatch
) -> None:
    one, _ = traders
    hub = door.server._api.hub  # type: ignore[union-attr]
    client = hub.join()
    subject = hub.parse("book:BTC-USD")
    hub.subscribe(client, "book:BTC-USD", subject, None)
    follower = BookFollower()
    assert follower.take(frame_of(msgspec.json.decode(client.take() or b"")["data"]))
    monkeypatch.setattr("chaind.api.channels.QUEUE_MESSAGES_MAX", 0)
    await one.place("buy", "1", "44000")
    await asyncio.sleep(1.5 / market_channels.FRAMES_PER_S)
    monkeypatch.undo()
    gap = msgspec.json.decode(client.take() or b"")
    assert gap["type"] == "gap"
    await one.place("buy", "1", "44001")
    await client.wanted.wait()
    while (frame := client.take()) is None:
        client.wanted.clear()
        await client.wanted.wait()
    assert not follower.take(frame_of(msgspec.json.decode(frame)["data"]))
    hub.subscribe(client, "book:BTC-USD", subject, None)
    assert follower.take(frame_of(msgspec.json.decode(client.take() or b"")["data"]))
    assert [level.price for level in follower.bids] == ["44001", "44000"]
    hub.leave(client)
