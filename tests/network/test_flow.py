"""What flows between two networks on loopback: in order, bounded, and cut where nobody reads."""

import asyncio
from typing import Any

import pytest
from loopback import Node, eventually, same_on_uvloop

from chaind.network.connection import SEND_QUEUE_BYTES_MAX, Connection, Timing
from chaind.network.messages import GetBlocks, Tip, Transactions, encode_message
from chaind.network.throttle import Throttle


async def test_peer_that_does_not_read_is_cut() -> None:
    async with (
        Node(1).running() as one,
        Node(2, persistent=(one.address,)).running() as two,
    ):
        await one.connected()
        await two.connected()
        two.network.peers()[0].connection._transport.pause_reading()  # type: ignore[union-attr]
        peer = one.network.peers()[0]
        sent = 0
        while peer.connection.is_open:
            one.network.send(peer, Transactions((bytes(500_000),)))
            sent += 500_000
            assert sent < SEND_QUEUE_BYTES_MAX + 32_000_000, "the kernel holds less than that"
            await asyncio.sleep(0)
        await one.connected(0)
        assert "does not read" in one.handler.downs[0][1]
        assert sent > SEND_QUEUE_BYTES_MAX // 2


async def test_silent_peer_is_dropped_and_a_pinged_one_is_not() -> None:
    timing = Timing(ping_ms=10_000, silence_ms=30_000)
    async with (
        Node(1, timing=timing).running() as one,
        Node(2, persistent=(one.address,)).running() as two,
    ):
        await one.connected()
        await two.connected()
        peer = one.network.peers()[0]
        for _ in range(5):  # 50 s, with a ping and its answer in each ten
            before = peer.connection.traffic.messages_in
            one.clock.shift_ms += 10_000
            await eventually(lambda n=before: peer.connection.traffic.messages_in > n)
        assert one.network.peers() == [peer]
        two.network.peers()[0].connection._transport.pause_reading()  # type: ignore[union-attr]
        one.clock.shift_ms += timing.silence_ms + 1
        await one.connected(0)
        assert "nothing received" in one.handler.downs[0][1]


async def test_many_messages_of_one_turn_leave_as_one_record() -> None:
    async with (
        Node(1).running() as one,
        Node(2, persistent=(one.address,)).running() as two,
    ):
        await one.connected()
        await two.connected()
        await eventually(lambda: two.network.peers()[0].latency_ms is not None)
        connection: Connection = one.network.peers()[0].connection
        before = connection.traffic.bytes_out
        for number in range(100):
            one.network.broadcast(GetBlocks(number, 1))
        await two.handler.received(GetBlocks(99, 1))
        bodies = sum(4 + len(encode_message(GetBlocks(n, 1))) for n in range(100))
        assert connection.traffic.bytes_out - before == 2 + 16 + bodies
        assert [m for _, m in two.handler.messages] == [GetBlocks(n, 1) for n in range(100)]


async def test_slow_reader_within_the_bound_gets_everything_in_order() -> None:
    """Beyond the socket's buffer messages wait in the queue, and none is lost on the way out."""
    async with (
        Node(1).running() as one,
        Node(2, persistent=(one.address,)).running() as two,
    ):
        await one.connected()
        await two.connected()
        reader: Any = two.network.peers()[0].connection._transport
        reader.pause_reading()
        connection = one.network.peers()[0].connection
        count = 0
        while not connection._paused:
            one.network.broadcast(Transactions((count.to_bytes(4, "big") + bytes(100_000),)))
            count += 1
            await asyncio.sleep(0)
        for number in range(count, count + 20):
            one.network.broadcast(Transactions((number.to_bytes(4, "big") + bytes(100_000),)))
        assert connection._queued_bytes > 20 * 100_000
        reader.resume_reading()
        await two.handler.until(lambda: len(two.handler.messages) == count + 20)
        numbers = [int.from_bytes(m.raws[0][:4], "big") for _, m in two.handler.messages]  # type: ignore[union-attr]
        assert numbers == list(range(count + 20))
        assert connection._queued_bytes == 0


async def test_flood_is_read_at_the_throttles_rate_and_not_punished(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def slow(now_ms: float) -> Throttle:
        return Throttle(now_ms, messages_per_s=1_000)

    monkeypatch.setattr("chaind.network.connection.Throttle", slow)
    async with (
        Node(1).running() as one,
        Node(2, persistent=(one.address,)).running() as two,
    ):
        await one.connected()
        await two.connected()
        started_ms = one.clock.monotonic_ms()
        for number in range(2_300):
            two.network.broadcast(Tip(number))
            if number % 100 == 0:
                await asyncio.sleep(0)
        await one.handler.received(Tip(2_299))
        two.network.broadcast(GetBlocks(0, 2))
        await one.handler.received(GetBlocks(0, 2))
        assert one.clock.monotonic_ms() - started_ms >= 250
        assert one.network.stats()[0].score == 0


test_same_on_uvloop = same_on_uvloop(test_peer_that_does_not_read_is_cut)
