"""Whole networks on loopback: finding, losing and refusing each other."""

import asyncio
import socket
from collections.abc import Callable, Coroutine
from contextlib import AsyncExitStack
from typing import Any

import pytest
import uvloop
from loopback import Node, eventually

from chaind.network.admission import SIMULTANEOUS_MS, supersedes
from chaind.network.connection import SEND_QUEUE_BYTES_MAX, Connection, Timing
from chaind.network.manager import HANDSHAKES_MAX, CannotListen
from chaind.network.messages import GetBlocks, Peers, Tip, Transactions, encode_message
from chaind.network.peers import BAN_MS, Address
from chaind.network.throttle import Throttle
from chaind.primitives.errors import Malformed, PeerFault, RuleBroken
from chaind.primitives.keys import SecretKey

DAY_MS = 86_400_000
VALIDATOR = SecretKey(bytes(31) + b"\x07")


class Lie(RuleBroken, PeerFault):
    code = "lie"
    text = "a lie"


class Nonsense(Malformed, PeerFault):
    code = "nonsense"
    text = "nonsense"


async def test_two_networks_exchange_messages_both_ways() -> None:
    async with Node(1, signer=VALIDATOR, agent="one").running() as one:
        one.network.final_height = 12
        async with Node(2, persistent=(one.address,)).running() as two:
            await one.connected()
            await two.connected()
            to_one, to_two = two.network.peers()[0], one.network.peers()[0]
            assert (to_one.node_id, to_two.node_id) == (one.network.node_id, two.network.node_id)
            assert (to_one.inbound, to_two.inbound) == (False, True)
            assert to_two.port == two.network.port
            assert to_one.validator_key == VALIDATOR.public
            assert to_two.validator_key is None
            assert to_one.final_height == 12
            two.network.send(to_one, GetBlocks(1, 5))
            assert await one.handler.received(GetBlocks(1, 5)) is to_two
            one.network.broadcast(Transactions((b"x" * 700_000,)))
            assert await two.handler.received(Transactions((b"x" * 700_000,))) is to_one
            await eventually(lambda: to_one.latency_ms is not None)
            (stats,) = two.network.stats()
            assert stats.agent == "one"
            assert stats.bytes_in > 700_000 > stats.bytes_out > 0
            assert stats.messages_in >= 2
            assert stats.validator_key_hex == VALIDATOR.public.hex()
            assert stats.latency_ms is not None
            assert 0 < stats.latency_ms < 1_000
        await one.connected(0)
        assert "shuts down" in one.handler.downs[0][1]
        assert "shuts down" in two.handler.downs[0][1]


async def test_broadcast_encodes_once_and_spares_whom_it_is_told(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async with AsyncExitStack() as stack:
        hub = await stack.enter_async_context(Node(1).running())
        leaves = [
            await stack.enter_async_context(Node(seed, persistent=(hub.address,)).running())
            for seed in (2, 3, 4)
        ]
        await hub.connected(3)
        peers = {peer.node_id: peer for peer in hub.network.peers()}
        first, second, third = (peers[leaf.network.node_id] for leaf in leaves)
        encoded: list[object] = []

        def counting(message: Transactions) -> bytes:
            encoded.append(message)
            return encode_message(message)

        monkeypatch.setattr("chaind.network.manager.encode_message", counting)
        hub.network.broadcast(Transactions((b"a",)), except_=first)
        hub.network.broadcast(Transactions((b"b",)), only=[first, third])
        hub.network.broadcast(Transactions((b"c",)))
        assert len(encoded) == 3
        assert second is not third
        for leaf, expected in zip(leaves, ("bc", "ac", "abc"), strict=True):
            await leaf.handler.received(Transactions((b"c",)))
            got = [m.raws[0].decode() for _, m in leaf.handler.messages]  # type: ignore[union-attr]
            assert "".join(got) == expected


async def test_reconnects_with_back_off_after_a_kill() -> None:
    first = Node(1)
    async with AsyncExitStack() as stack:
        life = await stack.enter_async_context(AsyncExitStack())
        await life.enter_async_context(first.running())
        address = first.address
        two = await stack.enter_async_context(Node(2, persistent=(address,)).running())
        await two.connected()
        await life.aclose()
        await two.connected(0)
        book = two.network.book
        await eventually(lambda: book._entries[address].failures >= 4)  # refused, again and again
        assert address in book
        await stack.enter_async_context(Node(1, port=address.port).running())
        await two.connected()
        assert len(two.handler.ups) == 2


async def test_peer_exchange_makes_a_third_known() -> None:
    """B and C know only A; asked, A tells one of the other."""
    async with AsyncExitStack() as stack:
        a = await stack.enter_async_context(Node(1, exchange=True).running())
        b = await stack.enter_async_context(
            Node(2, exchange=True, persistent=(a.address,)).running()
        )
        await a.connected()
        c = await stack.enter_async_context(
            Node(3, exchange=True, persistent=(a.address,)).running()
        )
        for node in (a, b, c):
            await node.connected(2)
        assert b.address in c.network.book


async def test_unasked_addresses_are_a_fault_and_are_not_kept() -> None:
    async with (
        Node(1).running() as one,
        Node(2, persistent=(one.address,)).running() as two,
    ):
        await one.connected()
        await two.connected()
        two.network.broadcast(Peers((("127.0.0.1", 4),)))
        await eventually(lambda: one.network.stats()[0].score > 0)
        assert Address("127.0.0.1", 4) not in one.network.book


async def test_simultaneous_dials_leave_one_connection() -> None:
    """Both dial at once, again and again: one connection stays, the same for both sides."""
    crossed = 0
    for _ in range(10):
        async with Node(1).running() as one, Node(2).running() as two:
            one.network.add_peer(two.address)
            two.network.add_peer(one.address)

            def settled(one: Node = one, two: Node = two) -> bool:
                ends = one.network.peers() + two.network.peers()
                return (
                    len(ends) == 2
                    and ends[0].inbound != ends[1].inbound
                    and len(one.network._connections) == len(two.network._connections) == 1
                    and not one.network._dialler._dialling | two.network._dialler._dialling
                )

            await eventually(settled)
            low, high = sorted((one, two), key=lambda node: node.network.node_id)
            if low.address in high.network.book and high.address in low.network.book:
                crossed += 1  # each has met the other by its own call, too
                assert not low.network.peers()[0].inbound
            low.network.broadcast(GetBlocks(1, 1))
            await high.handler.received(GetBlocks(1, 1))
    assert crossed


@pytest.mark.parametrize("i_am_lower", [True, False])
@pytest.mark.parametrize("age_ms", [0.0, SIMULTANEOUS_MS + 1.0])
@pytest.mark.parametrize("maker", ["same", "other"])
def test_both_sides_decide_a_duplicate_alike(i_am_lower: bool, age_ms: float, maker: str) -> None:
    """The initiator of the new connection and its acceptor never disagree to everyone's loss."""
    ids = ("a", "b") if i_am_lower else ("b", "a")
    initiator = supersedes(
        inbound=False, old_inbound=maker == "other", old_age_ms=age_ms,
        my_id=ids[0], their_id=ids[1],
    )  # fmt: skip
    acceptor = supersedes(
        inbound=True, old_inbound=maker == "same", old_age_ms=age_ms,
        my_id=ids[1], their_id=ids[0],
    )  # fmt: skip
    if initiator:
        assert acceptor
    if maker == "other" and age_ms == 0:
        assert initiator == acceptor == i_am_lower


async def test_restarted_peer_replaces_its_dead_connection() -> None:
    """Same identity calls again while the old socket has not been noticed to be dead."""
    async with Node(1).running() as one, AsyncExitStack() as stack:
        await stack.enter_async_context(Node(2, persistent=(one.address,)).running())
        await one.connected()
        old = one.network.peers()[0]
        await stack.enter_async_context(Node(2, persistent=(one.address,)).running())
        await one.handler.until(lambda: len(one.handler.ups) >= 2)
        assert one.handler.downs[0][0] is old
        assert len(one.network.peers()) == 1


async def test_own_address_is_dialled_once() -> None:
    node = Node(1)
    async with node.running():
        node.network.add_peer(node.address, persistent=True)
        await eventually(lambda: node.address in node.network._dialler.own)
        assert node.address not in node.network.book
        assert node.handler.ups == []


async def test_node_of_another_chain_never_becomes_a_peer() -> None:
    async with (
        Node(1).running() as one,
        Node(2, genesis=bytes(32), persistent=(one.address,)).running() as two,
    ):
        await eventually(lambda: two.network.book._entries[one.address].failures >= 3)
        assert one.handler.ups == two.handler.ups == []
        assert not one.network.scores.banned(now_ms=one.clock.monotonic_ms())


async def test_garbage_bans_its_node_id_and_the_ban_ends() -> None:
    async with (
        Node(1).running() as one,
        Node(2, persistent=(one.address,)).running() as two,
    ):
        for _ in range(2):
            await one.connected()
            await two.connected()
            two.network.peers()[0].connection.send(b"\xc1garbage")
            await one.connected(0)
            await two.connected(0)
        banned = one.network.scores.banned(now_ms=one.clock.monotonic_ms())
        assert banned == {two.network.node_id}, "not the host: a whole test network shares it"
        assert "tag" in one.handler.downs[0][1]
        ups = len(one.handler.ups)
        failures = two.network.book._entries[one.address].failures
        await eventually(lambda: two.network.book._entries[one.address].failures >= failures + 2)
        assert len(one.handler.ups) == ups == 2
        one.clock.set_ms = -DAY_MS  # somebody puts a wrong clock right: that makes no ban longer
        one.clock.shift_ms += BAN_MS
        await one.handler.until(lambda: len(one.handler.ups) == 3)


async def test_a_clock_set_back_by_hours_holds_up_no_dialling() -> None:
    with socket.create_server(("127.0.0.1", 0)) as nobody:
        address = Address(*nobody.getsockname())
    async with Node(1, persistent=(address,)).running() as one:
        entry = one.network.book._entries[address]
        await eventually(lambda: entry.failures >= 2)
        one.clock.set_ms = -DAY_MS
        failures = entry.failures
        await eventually(lambda: entry.failures >= failures + 3)


async def test_garbage_before_the_handshake_bans_its_host(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("chaind.network.manager.reach", lambda _host: 2)  # as if from outside
    async with Node(1).running() as one:
        for _ in range(2):
            reader, writer = await asyncio.open_connection(*one.address)
            writer.write(b"GET / HTTP/1.1\r\n\r\n")
            assert (await reader.read()).startswith(b"chaind")  # and then the end
            writer.close()
        assert one.network.scores.banned(now_ms=one.clock.monotonic_ms()) == {"127.0.0.1"}
        async with Node(2, persistent=(one.address,)).running() as two:
            await eventually(lambda: two.network.book._entries[one.address].failures >= 2)
            assert two.handler.ups == one.handler.ups == []


async def test_handlers_verdict_is_punished() -> None:
    """A broken rule costs points; nonsense costs the connection at once."""
    async with (
        Node(1).running() as one,
        Node(2, persistent=(one.address,)).running() as two,
    ):
        await one.connected()
        await two.connected()

        def judge(_peer: object, message: object) -> None:
            raise Lie if message == GetBlocks(1, 1) else Nonsense

        one.handler.on_message = judge
        two.network.broadcast(GetBlocks(1, 1))
        await one.handler.received(GetBlocks(1, 1))
        assert one.network.stats()[0].score == pytest.approx(20, abs=1)
        assert len(one.network.peers()) == 1
        two.network.broadcast(GetBlocks(1, 2))
        await one.connected(0)
        assert "nonsense" in one.handler.downs[0][1]
        await two.handler.until(lambda: two.handler.downs)
        assert "nonsense" in two.handler.downs[0][1]  # the goodbye says why


async def test_failure_of_the_handler_ends_the_task_group() -> None:
    one = Node(1)

    def fail(_peer: object, _message: object) -> None:
        raise ZeroDivisionError("a bug of the node")

    async def run() -> None:
        async with one.running():
            one.handler.on_message = fail
            async with Node(2, persistent=(one.address,)).running() as two:
                await two.connected()
                two.network.broadcast(GetBlocks(1, 1))
                await asyncio.Event().wait()

    asyncio.get_running_loop().set_exception_handler(lambda _loop, _context: None)
    with pytest.raises(ExceptionGroup) as caught:
        await asyncio.wait_for(run(), 5)
    assert caught.group_contains(ZeroDivisionError, match="a bug of the node")


async def test_busy_port_is_named() -> None:
    async with Node(1).running() as one:
        other = Node(2, port=one.network.port)
        with pytest.raises(ExceptionGroup) as caught:
            async with other.running():
                pass
        assert caught.group_contains(CannotListen, match=f"{one.network.port}: the port is in use")


async def test_seats_are_limited_but_reserved_for_validators() -> None:
    async with AsyncExitStack() as stack:
        hub = await stack.enter_async_context(Node(1, inbound_max=1).running())
        hub.network.reserve([VALIDATOR.public])
        await stack.enter_async_context(Node(2, persistent=(hub.address,)).running())
        await hub.connected()
        third = await stack.enter_async_context(Node(3, persistent=(hub.address,)).running())
        await third.handler.until(lambda: third.handler.downs)
        assert "no seat" in third.handler.downs[0][1]
        assert len(hub.network.peers()) == 1
        await stack.enter_async_context(
            Node(4, persistent=(hub.address,), signer=VALIDATOR).running()
        )
        await hub.connected(2)


async def test_callers_who_never_introduce_themselves_are_bounded_and_cut() -> None:
    async with Node(1).running() as one, AsyncExitStack() as stack:
        sockets = []
        for _ in range(HANDSHAKES_MAX + 5):
            caller = socket.create_connection(one.address)
            stack.callback(caller.close)
            sockets.append(caller)
        await eventually(lambda: len(one.network._connections) == HANDSHAKES_MAX)
        one.clock.shift_ms += 6_000
        await eventually(lambda: not one.network._connections)
        assert one.handler.ups == []


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


@pytest.mark.parametrize(
    "scenario",
    [
        test_two_networks_exchange_messages_both_ways,
        test_reconnects_with_back_off_after_a_kill,
        test_simultaneous_dials_leave_one_connection,
        test_garbage_bans_its_node_id_and_the_ban_ends,
        test_failure_of_the_handler_ends_the_task_group,
        test_busy_port_is_named,
        test_peer_that_does_not_read_is_cut,
    ],
    ids=lambda scenario: scenario.__name__,
)
def test_same_on_uvloop(scenario: Callable[[], Coroutine[Any, Any, None]]) -> None:
    """The loop that nodes run on has transports of its own."""
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(scenario())
