"""Peers that lie, babble or flood: hung up on or slowed down, and nobody else notices."""

import asyncio
from collections.abc import Callable, Iterator
from contextlib import suppress
from random import Random
from typing import Any

import msgpack
import pytest
from hostile_peer import Stranger, proposal, stranger
from hostile_world import HOSTILE, World
from msgspec import structs

from chaind.consensus.core import Certificates
from chaind.network import messages as wire
from chaind.network.frames import FRAME_BYTES_MAX
from chaind.primitives.errors import ChaindError
from chaind.primitives.votes import (
    Certificate,
    CertificateKind,
    Vote,
    VoteBundle,
    VoteKind,
    vote_digest,
)

pytestmark = pytest.mark.asyncio(loop_scope="module")

HUGE = 2**53
MALFORMED_POINTS = 59  # of the 60, which melt away from the first moment on
SOON_S = 5.0
HASH = b"\x5a" * 32


@pytest.fixture(autouse=True)
def _unchanged(world: World) -> Iterator[None]:
    before = world.standing()
    yield
    assert world.standing() == before


def openings(world: World) -> dict[str, bytes]:
    ours = b"chaind" + world.genesis.hash[:8]
    return {
        "http": b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n",
        "tls": b"\x16\x03\x01\x02\x00" + bytes(100),
        "zeros": bytes(100),
        "another chain": b"chaind" + bytes(8) + b"\0\x20" + bytes(32),
        "a long message": ours + b"\xff\xff",
        "an empty message": ours + b"\0\0",
        "a short key": ours + b"\0\x1f" + bytes(31),
        "a weak key": ours + b"\0\x20" + bytes(32),
        "a payload in clear": ours + b"\0\x40" + b"\x09" + bytes(63),
        "the second message first": ours + b"\0\x60" + b"\x09" + bytes(95),
        "random": ours + Random(1).randbytes(5_000),
        "the opening twice": ours + ours,
    }


NAMES = ("http", "tls", "zeros", "another chain", "a long message", "an empty message",
         "a short key", "a weak key", "a payload in clear", "the second message first", "random",
         "the opening twice")  # fmt: skip


@pytest.mark.parametrize("name", NAMES)
async def test_a_handshake_out_of_order_is_the_end(world: World, name: str) -> None:
    assert openings(world).keys() == set(NAMES)
    port, peers = world.node.network.port, len(world.node.network.peers())
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(openings(world)[name])
    async with asyncio.timeout(SOON_S):
        with suppress(ConnectionError):
            while await reader.read(1 << 16):
                pass
    writer.close()
    with suppress(ConnectionError):
        await writer.wait_closed()
    assert len(world.node.network.peers()) == peers


async def test_application_bytes_before_the_handshake_ends(world: World) -> None:
    """The last message of a handshake, garbled: nobody has become a peer."""
    guest = Stranger(world, None)
    real = guest.write

    async def garble() -> None:
        await asyncio.wait_for(guest.open(), 0.3)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("hostile_peer.Handshaker.receive", lambda _self, _data: bytes(80))
        with pytest.raises((TimeoutError, ConnectionError)):
            await garble()
    real(b"")
    guest._writer.close()
    assert all(p.node_id != guest.identity.node_id for p in world.node.network.peers())


FRAMES: dict[str, Callable[[Stranger], bytes]] = {
    "a frame of nothing": lambda guest: guest.seal_plain(b"\0\0\0\0"),
    "a frame too large": lambda guest: guest.seal_plain((FRAME_BYTES_MAX + 1).to_bytes(4, "big")),
    "a frame of 4 GiB": lambda guest: guest.seal_plain(b"\xff\xff\xff\xff"),
    "an empty record": lambda guest: guest.seal_plain(b""),
    "a record of zeros": lambda guest: b"\0\x40" + bytes(64),
    "a record of no length": lambda guest: b"\0\0",
    "random bytes": lambda guest: Random(2).randbytes(70_000),
    "no message": lambda guest: guest.seal_plain(b"\0\0\0\1\xc1"),
    "an unknown message": lambda guest: guest.seal_plain(b"\0\0\0\2\x91\x7f"),
}


@pytest.mark.parametrize("name", FRAMES)
async def test_broken_frames_are_blamed_and_the_end(world: World, name: str) -> None:
    async with stranger(world) as guest:
        guest.write(FRAMES[name](guest))
        await world.until(guest.gone.is_set)
        assert guest.points > 0


def samples(world: World) -> list[wire.Message]:
    """A message of each type, of sound form."""
    final = world.node.chain.final
    vote = Vote(1, 1, VoteKind.FIRST, HASH, 1, bytes(64))
    proof = Certificate(1, 1, CertificateKind.NOTAR, HASH, b"\x03", b"", (bytes(64),) * 2)
    return [
        wire.Transactions((b"\x90",)),
        wire.Announce((HASH,)),
        wire.GetTransactions((HASH,)),
        proposal(world, 1, final.hash, ()),
        wire.Votes((vote,)),
        wire.Certificates((proof,)),
        wire.GetCertificates(1, 1, 5),
        wire.Status(1, 1, 0, HASH, 0),
        wire.GetBlock(HASH),
        wire.BlockData(HASH, b"x"),
        wire.GetBlocks(1, 5),
        wire.Blocks(1, (b"x",), proof),
        wire.GetBlockTransactions(HASH, (HASH,)),
        wire.BlockTransactions(HASH, (b"x",)),
        wire.GetPeers(),
        wire.Peers((("127.0.0.1", 9),)),
        wire.Ping(1),
        wire.Pong(1),
        wire.Goodbye("bye"),
        wire.Tip(0),
        wire.Bundles((VoteBundle(1, 1, VoteKind.FIRST, HASH, b"\x03", (bytes(64),) * 2),)),
        wire.GetHeaders((HASH,)),
        wire.Headers(bytes(80)),
        wire.GetCompact(HASH),
        wire.CompactBlock(HASH, b"c", b"d", (HASH,)),
    ]


# Nobody says these on a chain of validators.
OF_MINERS = (wire.GetHeaders, wire.Headers, wire.CompactBlock)


JUNK: list[Any] = [None, True, -1, 2**64 - 1, 1.5, "x", b"", b"x" * 33, [], [[]], {}, {"a": 1},
                   [None] * 3, msgpack.ExtType(5, b"x")]  # fmt: skip


def garbled(message: wire.Message) -> Iterator[bytes]:
    """Its encoding with every field replaced by junk, with fields missing and with fields more."""
    plain = msgpack.unpackb(wire.encode_message(message))
    for at in range(1, len(plain)):
        for junk in JUNK:
            yield msgpack.packb([*plain[:at], junk, *plain[at + 1 :]])
            if isinstance(plain[at], list) and plain[at]:
                yield msgpack.packb([*plain[:at], [*plain[at], junk], *plain[at + 1 :]])
    yield msgpack.packb(plain[:-1])
    yield msgpack.packb([*plain, 0])
    yield wire.encode_message(message) + b"\0"
    yield b"\xdc" + len(plain).to_bytes(2, "big") + wire.encode_message(message)[1:]


@pytest.mark.parametrize("index", range(23), ids=lambda i: list(wire.BYTES_MAX)[i].__name__)
async def test_garbage_in_every_field_is_blamed_or_means_nothing(world: World, index: int) -> None:
    """What decodes all the same must be harmless; what does not ends the connection."""
    assert len(samples(world)) == len(wire.BYTES_MAX)
    harmless, broken = [], []
    for body in garbled(samples(world)[index]):
        try:
            wire.decode_message(body)
        except ChaindError:
            broken.append(body)
        else:
            harmless.append(body)
    assert broken
    if isinstance(samples(world)[index], OF_MINERS):
        broken += harmless
    else:
        async with stranger(world) as guest:
            guest.utter(*harmless)
            await guest.understood()
    for body in Random(index).sample(broken, min(4, len(broken))):
        async with stranger(world) as guest:
            guest.utter(body)
            await world.until(guest.gone.is_set)
            assert guest.points > MALFORMED_POINTS


async def test_every_type_is_bounded_before_it_is_decoded(world: World) -> None:
    for kind, limit in wire.BYTES_MAX.items():
        if limit >= FRAME_BYTES_MAX:
            continue
        tag = kind.__struct_config__.tag
        async with stranger(world) as guest:
            guest.utter(bytes([0x92, tag]) + b"\xc6" + bytes(limit))
            await world.until(guest.gone.is_set)
            assert guest.points > MALFORMED_POINTS, kind.__name__


async def test_answers_that_nobody_asked_for_mean_nothing(world: World) -> None:
    """However many and however large: they are dropped before anything is made of them."""
    large = bytes(200_000)
    node = world.node
    async with stranger(world) as guest:
        for _ in range(200):
            guest.say(
                wire.BlockData(HASH, large),
                wire.BlockTransactions(HASH, (large,)),
                wire.Blocks(1, (large,), None),
            )
            await guest.drain()
        await guest.understood()
        assert not node.bodies._arrivals
        assert node.sync._answers.empty()
        assert guest.points == 0
        peers = wire.Peers((("10.0.0.1", 9),))
        guest.say(peers)  # asked for: every new peer is
        guest.say(peers)
        await guest.understood()
        assert 19 < guest.points <= 20


async def test_a_vote_repeated_costs_one_message_of_checks(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A validator can sign as many votes as fit a message, but not have all of them checked."""
    node, checked = world.node, 0
    check = node.engine._checker.check_vote

    def counted(vote: Vote) -> None:
        nonlocal checked
        checked += vote.voter == 1
        check(vote)

    def vote(view: int, block: bytes | None) -> Vote:
        digest = vote_digest(world.genesis.hash, 1, view, VoteKind.FIRST, block)
        return Vote(1, view, VoteKind.FIRST, block, 1, HOSTILE.sign(digest))

    monkeypatch.setattr(node.engine._checker, "check_vote", counted)
    view = node.engine.view + 8
    same, other = vote(view, None), [vote(view + 2, bytes([i]) * 32) for i in range(200)]
    async with stranger(world) as guest:
        guest.say(wire.Votes((same,) * wire.VOTES_MAX))
        guest.say(wire.Votes((same,) * wire.VOTES_MAX))
        await guest.understood()
        assert 1 <= checked <= 64
        checked = 0
        guest.say(wire.Votes(tuple(other)))
        guest.say(wire.Votes(tuple(other)))
        await guest.understood()
        assert 2 <= checked <= 128
        assert guest.points == 0


async def test_a_bundle_with_a_signature_that_does_not_hold_is_blamed(world: World) -> None:
    node = world.node
    view = node.engine.view + 8
    digest = vote_digest(world.genesis.hash, 1, view, VoteKind.FIRST, None)
    right = VoteBundle(1, view, VoteKind.FIRST, None, b"\x02", (HOSTILE.sign(digest),))
    async with stranger(world) as guest:
        guest.say(wire.Bundles((right,)))
        await guest.understood()
        assert guest.points == 0
        guest.say(wire.Bundles((structs.replace(right, kind=VoteKind.NULLIFY),)))
        await world.until(lambda: guest.points > 0)


async def test_a_certificate_repeated_is_checked_once(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    node, checked, heard = world.node, 0, 0

    def counted(_certificate: Certificate) -> None:
        nonlocal checked
        checked += 1

    def hear(_peer: object, message: object) -> None:
        nonlocal heard
        heard += isinstance(message, Certificates)

    monkeypatch.setattr(node.engine._checker, "check_certificate", counted)
    monkeypatch.setattr(node.engine, "_hear", hear)  # it is not one in truth
    view = node.engine.view + 50
    proof = Certificate(1, view, CertificateKind.NULL, None, b"\x01", b"", (bytes(64),))
    async with stranger(world) as guest:
        guest.say(wire.Certificates((proof,) * wire.CERTIFICATES_MAX))
        await guest.understood()
    assert (checked, heard) == (1, 1)


async def test_a_boaster_stays_unbelieved_when_it_comes_again(world: World) -> None:
    sync = world.node.sync
    async with stranger(world) as guest:
        identity = guest.identity
        guest.say(wire.Status(1, 1, HUGE, HASH, 1), wire.Tip(HUGE))
        await world.until(lambda: [m for m in guest.heard if isinstance(m, wire.GetBlocks)])
        guest.say(wire.Blocks(1, (), None))
        await world.until(lambda: sync.behind == 0)
    again = Stranger(world, None)
    again.identity = identity
    await again.open()
    again.say(wire.Tip(HUGE))
    await again.understood()
    assert again.peer.final_height == HUGE
    assert sync.behind == 0
    await again.close()
