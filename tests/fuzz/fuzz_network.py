"""Readers of what comes over a connection of peers."""

import struct
from collections.abc import Callable
from functools import cache
from typing import Any, cast

import msgspec
from fuzz_law import CHAIN_HASH, HASH, same, vectors

from chaind.network.frames import FRAME_BYTES_MAX, FrameReader
from chaind.network.handshake import PROTOCOL_VERSION, Handshaker, Hello
from chaind.network.messages import (
    Announce,
    BlockData,
    Blocks,
    BlockTransactions,
    Bundles,
    Certificates,
    CompactBlock,
    GetBlock,
    GetBlocks,
    GetBlockTransactions,
    GetCertificates,
    GetCompact,
    GetHeaders,
    GetPeers,
    GetTransactions,
    Goodbye,
    Headers,
    Message,
    Peers,
    Ping,
    Pong,
    Proposal,
    Status,
    Tip,
    Transactions,
    Votes,
    decode_message,
    encode_message,
    work_of,
)
from chaind.network.noise import CipherState, KeyPair
from chaind.network.peers import parse_address
from chaind.primitives.block import Block
from chaind.primitives.keys import SecretKey, verify
from chaind.primitives.votes import (
    VoteBundle,
    VoteKind,
    certificate_decoder,
    vote_decoder,
)


class _Plain:
    """No cipher: a tag of zeros, so that the fuzzer reaches what lies behind it."""

    def decrypt(self, data: Any) -> bytes:
        return bytes(data[:-16])


def read_frames(data: bytes) -> None:
    """Cut anywhere, a stream is the same frames, and no more is held than one record and frame."""
    cut = data[0] % len(data) if data else 0
    found: list[list[bytes]] = []
    for pieces in ((data,), (data[:cut], data[cut:])):
        reader = FrameReader(cast(CipherState, _Plain()))
        found.append([body for piece in pieces for body in reader.feed(piece)])
        assert len(reader._sealed) <= 2 + 0xFFFF
        assert len(reader._plain) <= 4 + FRAME_BYTES_MAX
    assert found[0] == found[1]


def stream(*bodies: bytes) -> bytes:
    plain = b"".join(struct.pack(">I", len(body)) + body for body in bodies)
    records = [plain[at : at + 500] for at in range(0, len(plain), 500)]
    return b"".join(struct.pack(">H", len(part) + 16) + part + bytes(16) for part in records)


@cache  # making keys costs as much as the handshake itself
def _keys(seed: int) -> tuple[SecretKey, KeyPair, KeyPair]:
    """Of a validator, of its node, and of the connection."""
    one, other = bytes([seed]) * 32, bytes([seed + 8]) * 32
    return SecretKey(one), KeyPair(one), KeyPair(other)


def _shaker(initiator: bool) -> Handshaker:
    key, static, ephemeral = _keys(1 if initiator else 2)
    return Handshaker(
        initiator=initiator,
        genesis_hash=CHAIN_HASH,
        static=static,
        ephemeral=ephemeral,
        hello=Hello(PROTOCOL_VERSION, "fuzz", 9080, 7, key.public),
        sign=key.sign,
        verify=verify,
        admit=lambda static, hello: None,
    )


def handshake() -> tuple[bytes, bytes]:
    """What an initiator and a responder say to each other."""
    one, two = _shaker(True), _shaker(False)
    first, opening = one.start(), two.start()
    second = two.receive(first)
    third = one.receive(opening + second)
    two.receive(third)
    assert one.complete
    assert two.complete
    return first + third, opening + second


def read_handshake(initiator: bool) -> Callable[[bytes], None]:
    """The same bytes at once and one cut; either side ends complete with a peer, or it refuses."""

    def read(data: bytes) -> None:
        cut = len(data) // 2
        for pieces in ((data,), (data[:cut], data[cut:])):
            shaker = _shaker(initiator)
            shaker.start()
            for piece in pieces:
                shaker.receive(piece)
            assert not shaker.complete or shaker.remote is not None

    return read


def read_message(data: bytes) -> None:
    message = decode_message(data)
    assert work_of(message) >= 1
    same(encode_message(message), data)


def messages() -> tuple[bytes, ...]:
    block = Block.decode(bytes.fromhex(next(iter(vectors("blocks").values()))["block"]))
    votes = vectors("votes")
    vote = vote_decoder.decode(bytes.fromhex(votes["vote"]))
    proof = certificate_decoder.decode(bytes.fromhex(next(iter(votes["certificates"].values()))))
    first = msgspec.structs.replace(vote, kind=VoteKind.FIRST, block=block.hash)
    messages: list[Message] = [
        Transactions(tuple(item.raw for item in block.transactions) or (b"x",)),
        Announce((HASH, HASH)),
        Votes((vote,)),
        Bundles((VoteBundle(1, 2, vote.kind, vote.block, b"\x05", (vote.signature, bytes(64))),)),
        Status(1, 2, 3, HASH, 4),
        Blocks(1, (b"x",), proof),
        Peers((("127.0.0.1", 9),)),
        Goodbye("bye"),
        GetTransactions((HASH,)),
        Proposal(
            block.header_bytes, block.coinbase_bytes, block.commitment_bytes, (HASH,), 1, (), first
        ),
        Certificates((proof,)),
        GetCertificates(1, 2, 3),
        GetBlock(HASH),
        BlockData(HASH, b"x"),
        BlockData(HASH, None),
        GetBlocks(1, 2),
        GetBlockTransactions(HASH, (HASH,)),
        BlockTransactions(HASH, (b"x",)),
        GetPeers(),
        Ping(1),
        Pong(1),
        Tip(7),
        GetHeaders((HASH, bytes(32))),
        Headers(block.header_bytes * 2),
        GetCompact(HASH),
        CompactBlock(HASH, block.coinbase_bytes, block.commitment_bytes, (HASH,)),
    ]
    return tuple(map(encode_message, messages))


def read_peer_address(data: bytes) -> None:
    address = parse_address(data.decode("utf-8", "replace"))
    assert parse_address(str(address)) == address
