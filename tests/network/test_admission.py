"""Whom a network on loopback refuses: other chains, liars, callers beyond its seats."""

import asyncio
import socket
from contextlib import AsyncExitStack

import pytest
from loopback import DAY_MS, VALIDATOR, Node, eventually, same_on_uvloop

from chaind.network.manager import HANDSHAKES_MAX
from chaind.network.messages import GetBlocks
from chaind.network.peers import BAN_MS
from chaind.primitives.errors import Malformed, PeerFault, RuleBroken


class Lie(RuleBroken, PeerFault):
    code = "lie"
    text = "a lie"


class Nonsense(Malformed, PeerFault):
    code = "nonsense"
    text = "nonsense"


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


test_same_on_uvloop = same_on_uvloop(test_garbage_bans_its_node_id_and_the_ban_ends)
