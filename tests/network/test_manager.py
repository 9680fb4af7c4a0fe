"""Whole networks on loopback: finding and losing each other."""

import asyncio
import socket
from contextlib import AsyncExitStack

import pytest
from loopback import DAY_MS, VALIDATOR, Node, eventually, same_on_uvloop

from chaind.network.admission import SIMULTANEOUS_MS, supersedes
from chaind.network.manager import CannotListen
from chaind.network.messages import GetBlocks, Peers, Transactions, encode_message
from chaind.network.peers import Address


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


async def test_a_connection_that_lasted_until_it_was_superseded_ends_a_row_of_failures(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("chaind.network.dialler.STABLE_MS", 1)
    monkeypatch.setattr("chaind.network.admission.SIMULTANEOUS_MS", 0)
    async with AsyncExitStack() as stack:
        one = await stack.enter_async_context(Node(1).running())
        two = await stack.enter_async_context(Node(2, persistent=(one.address,)).running())
        await two.connected()
        old, entry = two.network.peers()[0], two.network.book._entries[one.address]
        entry.failures = 7
        begun_ms = two.clock.monotonic_ms()
        await eventually(lambda: two.clock.monotonic_ms() - begun_ms > 1)
        await stack.enter_async_context(Node(1, persistent=(two.address,)).running())
        await two.handler.until(lambda: len(two.handler.ups) == 2)
        assert two.handler.downs[0][0] is old
        await eventually(lambda: entry.failures != 7)
        assert entry.failures == 1


async def test_own_address_is_dialled_once() -> None:
    node = Node(1)
    async with node.running():
        node.network.add_peer(node.address, persistent=True)
        await eventually(lambda: node.address in node.network._dialler.own)
        assert node.address not in node.network.book
        assert node.handler.ups == []


async def test_a_clock_set_back_by_hours_holds_up_no_dialling() -> None:
    with socket.create_server(("127.0.0.1", 0)) as nobody:
        address = Address(*nobody.getsockname())
    async with Node(1, persistent=(address,)).running() as one:
        entry = one.network.book._entries[address]
        await eventually(lambda: entry.failures >= 2)
        one.clock.set_ms = -DAY_MS
        failures = entry.failures
        await eventually(lambda: entry.failures >= failures + 3)


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


test_same_on_uvloop = same_on_uvloop(
    test_two_networks_exchange_messages_both_ways,
    test_reconnects_with_back_off_after_a_kill,
    test_simultaneous_dials_leave_one_connection,
    test_failure_of_the_handler_ends_the_task_group,
    test_busy_port_is_named,
)
