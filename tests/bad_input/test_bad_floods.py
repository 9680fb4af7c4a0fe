"""Peers that flood: slowed down, and nobody else waits for them."""

import asyncio
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from random import Random

import pytest
from hostile_peer import stranger
from hostile_world import STRANGER, World, own

from chaind.network import manager
from chaind.network import messages as wire
from chaind.network.throttle import Throttle
from chaind.node import ingest, relay
from chaind.primitives.hashes import sha256
from chaind.primitives.transaction import NATIVE, AccountInput, AccountOutput, Transaction
from chaind.primitives.votes import Vote, VoteBundle, VoteKind
from chaind.wallet.builder import sign

pytestmark = pytest.mark.asyncio(loop_scope="module")

HUGE = 2**53
SOON_S = 5.0
HASH = b"\x5a" * 32


@pytest.fixture(autouse=True)
def _unchanged(world: World) -> Iterator[None]:
    before = world.standing()
    yield
    assert world.standing() == before


async def test_a_flood_of_announcements_is_bounded_in_memory(world: World) -> None:
    node, dice = world.node, Random(3)
    async with stranger(world) as guest:
        for _ in range(40):
            ids = tuple(dice.randbytes(32) for _ in range(wire.ANNOUNCE_IDS_MAX))
            guest.say(wire.Announce(ids))
            await guest.drain()
        await guest.understood()
        assert len(node.relay._asked) <= relay.ASKED_MAX
        assert len(node.relay._known[guest.peer]) <= relay.KNOWN_MAX
    assert all(peer in node.network.peers() for peer in node.relay._known)


FLOODS: dict[str, Callable[[World], wire.Message]] = {
    "pings": lambda world: wire.Ping(7),
    "tips": lambda world: wire.Tip(HUGE),
    "statuses": lambda world: wire.Status(1, HUGE, HUGE, HASH, HUGE),
    "blocks that are not": lambda world: wire.GetBlock(HASH),
    "blocks that are": lambda world: wire.GetBlock(world.node.chain.final.hash),
    "ranges": lambda world: wire.GetBlocks(1, 512),
    "ranges of nowhere": lambda world: wire.GetBlocks(HUGE, 512),
    "certificates": lambda world: wire.GetCertificates(1, 0, HUGE),
    "peers": lambda world: wire.GetPeers(),
    "transactions of a block": lambda world: wire.GetBlockTransactions(HASH, (HASH,) * 8_000),
    "transactions": lambda world: wire.GetTransactions(tuple(sha256(b"%d" % i) for i in range(9))),
    "goodbyes": lambda world: wire.Goodbye("x" * 200),
    "old votes": lambda world: wire.Votes(
        (Vote(1, 1, VoteKind.FIRST, None, 1, bytes(64)),) * 4_000
    ),
    "old bundles": lambda world: wire.Bundles(
        (VoteBundle(1, 1, VoteKind.FIRST, None, b"\xff" * 100, (bytes(64),) * 800),) * 5
    ),
}


@pytest.mark.parametrize("name", FLOODS)
async def test_a_flood_holds_nobody_up(
    world: World, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """While as much comes as the node reads, a client is answered after little work for the peer,
    and the peer is not blamed."""
    monkeypatch.setattr(  # four times what a peer may, so that the debt of the flood is short
        "chaind.network.connection.Throttle", lambda now_ms: Throttle(now_ms, messages_per_s=10**5)
    )
    async with stranger(world) as guest:
        body = wire.encode_message(FLOODS[name](world))
        until = time.monotonic() + 0.2
        slowest = 0.0

        async def flood() -> None:
            for _ in range(250):
                if time.monotonic() > until or guest.gone.is_set():
                    return
                guest.utter(*[body] * (1 + 100_000 // (len(body) + 1_000)))
                await guest.drain()

        flooding = asyncio.create_task(flood())
        while not flooding.done():
            began = time.process_time()  # whatever else the machine does
            async with world.session.get("/health/live") as response:
                assert response.status == 200
            slowest = max(slowest, time.process_time() - began)
            await asyncio.wait([flooding], timeout=0.01)
        await flooding
        assert slowest < 0.5
        assert guest.points == 0


async def test_answers_count_against_who_asks(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A question of forty bytes for a range of blocks is charged with the range."""
    monkeypatch.setattr(
        "chaind.network.connection.Throttle", lambda now_ms: Throttle(now_ms, bytes_per_s=100_000)
    )
    async with stranger(world) as guest:
        guest.say(wire.GetBlocks(1, 512))
        await guest.understood()
        [one] = [len(wire.encode_message(m)) for m in guest.heard if isinstance(m, wire.Blocks)]
        assert one > 2_000
        for _ in range(2 * 100_000 // one + 2):  # beyond what two seconds allow
            guest.say(wire.GetBlocks(1, 512))
        await world.until(lambda: guest.peer.connection._throttled)
        assert guest.points == 0


async def test_junk_of_one_peer_does_not_delay_another(world: World) -> None:
    """Rightly signed transactions that nothing pays for: no fault, but no priority either."""
    before = len(world.submitted)
    junk = [world.pay(STRANGER, units=10 + i).raw for i in range(600)]
    async with stranger(world) as flooder, stranger(world) as honest:
        for _ in range(5):
            flooder.say(wire.Transactions(tuple(junk)))
        await flooder.understood()
        told = _payment_of(world)
        honest.say(wire.Transactions((told.raw,)))
        async with asyncio.timeout(2):
            await world.until(lambda: any(s.txid == told.txid for s in world.submitted))
        assert flooder.points == 0
        took = len(world.submitted) - before
        assert took < 5 * 600, "the junk was not worked off first"
        inbox = world.node.ingest._inboxes[flooder.peer]
        assert inbox.due_ms > world.node.clock.monotonic_ms() - ingest.REFUSED_MS * ingest.SLICE


def _payment_of(world: World) -> Transaction:
    inputs = [AccountInput(own(STRANGER), NATIVE, 1)]
    return sign(world.body(inputs, [AccountOutput(own(STRANGER), NATIVE, 1)]), STRANGER)


async def test_handshakes_of_one_host_are_few(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One machine that connects and says nothing leaves room for others. (Loopback is exempt.)"""
    monkeypatch.setattr(manager, "reach", lambda _host: 2)
    port = world.node.network.port
    silent = [
        await asyncio.open_connection("127.0.0.1", port)
        for _ in range(manager.INBOUND_PER_HOST_MAX)
    ]
    opening = len(b"chaind") + 8
    for reader, _ in silent:
        assert len(await reader.readexactly(opening)) == opening
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    async with asyncio.timeout(SOON_S):
        with suppress(ConnectionError):
            assert await reader.read() == b""
    for _, each in [*silent, (reader, writer)]:
        each.close()
        with suppress(ConnectionError):
            await each.wait_closed()
    await world.until(lambda: all(c.is_open for c in world.node.network._connections if c.inbound))
