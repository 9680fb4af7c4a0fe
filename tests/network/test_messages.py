"""Messages: the frozen bytes of each, the bounds, and that nothing unsound is decoded."""

from typing import Any, get_args

import msgpack
import pytest
from msgspec import structs

from chaind.consensus.gossip import BUNDLES_MAX
from chaind.network.frames import FRAME_BYTES_MAX
from chaind.network.messages import (
    ADDRESSES_MAX,
    ANNOUNCE_IDS_MAX,
    BYTES_MAX,
    IDS_MAX,
    LOCATOR_MAX,
    REASON_CHARS_MAX,
    TRANSACTIONS_MAX,
    VOTES_MAX,
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
    MessageTooLarge,
    Peers,
    Ping,
    Pong,
    Proposal,
    ProposalContradicts,
    Status,
    Tip,
    Transactions,
    UnknownMessage,
    Votes,
    decode_message,
    encode_message,
)
from chaind.primitives.codec import NonCanonical, Undecodable, encode
from chaind.primitives.errors import PeerFault
from chaind.primitives.hashes import sha256d
from chaind.primitives.votes import (
    VALIDATORS_MAX,
    BadCertificate,
    Certificate,
    CertificateKind,
    Vote,
    VoteBundle,
    VoteKind,
)

HASH = bytes(range(32))
HEADER = bytes(80)
VOTE = Vote(0, 3, VoteKind.FIRST, sha256d(HEADER), 1, bytes(64))
CERTIFICATE = Certificate(0, 2, CertificateKind.NOTAR, HASH, b"\x07", b"", (bytes(64),) * 3)

BUNDLE = VoteBundle(0, 3, VoteKind.FIRST, HASH, b"\x05", (bytes(64),) * 2)

H, S = "c420" + HASH.hex(), "c440" + bytes(64).hex()
VOTE_HEX = "960003 00c420" + sha256d(HEADER).hex() + "01" + S
CERTIFICATE_HEX = "970002 00" + H + "c40107 c400 93" + S * 3

# A changed byte here is a changed protocol: PROTOCOL_VERSION has to change with it.
FROZEN: list[tuple[Message, str]] = [
    (Transactions((b"raw",)), "92 00 91 c403 726177"),
    (Announce((HASH,)), "92 01 91" + H),
    (GetTransactions((HASH, HASH)), "92 02 92" + H + H),
    (
        Proposal(HEADER, b"cb", b"cm", (HASH,), 2, (CERTIFICATE,), VOTE),
        "98 03 c450" + HEADER.hex() + "c4026362 c402636d 91" + H + "02 91"
        + CERTIFICATE_HEX + VOTE_HEX,
    ),
    (Votes((VOTE,)), "92 04 91" + VOTE_HEX),
    (Certificates((CERTIFICATE,)), "92 05 91" + CERTIFICATE_HEX),
    (GetCertificates(0, 1, 300), "94 06 00 01 cd012c"),
    (Status(0, 9, 7, HASH, 8), "96 07 00 09 07" + H + "08"),
    (GetBlock(HASH), "92 08" + H),
    (BlockData(HASH, None), "93 09" + H + "c0"),
    (GetBlocks(1, 512), "93 0a 01 cd0200"),
    (Blocks(1, (b"b",), CERTIFICATE), "94 0b 01 91 c40162" + CERTIFICATE_HEX),
    (GetBlockTransactions(HASH, (HASH,)), "93 0c" + H + "91" + H),
    (BlockTransactions(HASH, (b"r",)), "93 0d" + H + "91 c40172"),
    (GetPeers(), "91 0e"),
    (Peers((("127.0.0.1", 9080),)), "92 0f 91 92 a93132372e302e302e31 cd2378"),
    (Ping(1), "92 10 01"),
    (Pong(200), "92 11 cc c8"),
    (Goodbye("bye"), "92 12 a3627965"),
    (Tip(7), "92 13 07"),
    (GetHeaders((HASH, HASH)), "92 15 92" + H + H),
    (Headers(HEADER * 2), "92 16 c4a0" + HEADER.hex() * 2),
    (GetCompact(HASH), "92 17 " + H),
    (CompactBlock(HASH, b"c", b"d", (HASH,)), "95 18" + H + "c40163 c40164 91" + H),
    (Bundles((BUNDLE,)), "92 14 91 960003 00" + H + "c40105 92" + S * 2),
]  # fmt: skip


@pytest.mark.parametrize(("message", "frozen_hex"), FROZEN, ids=lambda v: type(v).__name__)
def test_frozen_bytes(message: Message, frozen_hex: str) -> None:
    data = bytes.fromhex(frozen_hex)
    assert encode_message(message) == data
    assert decode_message(data) == message
    assert msgpack.packb(msgpack.unpackb(data), use_bin_type=True) == data  # plain MessagePack


def test_every_message_has_its_vector_and_its_bound() -> None:
    kinds = set(get_args(Message))
    assert {type(message) for message, _ in FROZEN} == kinds == set(BYTES_MAX)
    assert max(BYTES_MAX.values()) == FRAME_BYTES_MAX


BIG = 2**53
BIG_VOTE = Vote(BIG, BIG, VoteKind.FIRST, HASH, VALIDATORS_MAX - 1, bytes(64))
FULL_BITMAP = b"\xff" * (VALIDATORS_MAX // 8)
BIG_BUNDLE = VoteBundle(BIG, BIG, VoteKind.FIRST, HASH, FULL_BITMAP, (bytes(64),) * VALIDATORS_MAX)
LAST_BUNDLE = VoteBundle(
    BIG, BIG, VoteKind.FIRST, HASH, bytes(len(FULL_BITMAP) - 1) + b"\x80", (bytes(64),)
)
BIG_CERTIFICATE = Certificate(
    BIG, BIG, CertificateKind.FINAL, HASH, FULL_BITMAP, b"", (bytes(64),) * VALIDATORS_MAX
)


@pytest.mark.parametrize(
    "message",
    [
        Announce((HASH,) * ANNOUNCE_IDS_MAX),
        GetTransactions((HASH,) * TRANSACTIONS_MAX),
        Votes((BIG_VOTE,) * VOTES_MAX),
        Certificates((BIG_CERTIFICATE,) * 8),
        GetCertificates(BIG, BIG, BIG),
        Status(BIG, BIG, BIG, HASH, BIG),
        Blocks(BIG, (bytes(2_200_000),), BIG_CERTIFICATE),
        GetBlockTransactions(HASH, (HASH,) * IDS_MAX),
        Peers((("1111:" * 7 + "255.255.255.2", 65_535),) * ADDRESSES_MAX),
        Goodbye("😀" * REASON_CHARS_MAX),
        GetHeaders((HASH,) * LOCATOR_MAX),
        Headers(HEADER * 2_000),
        Bundles((BIG_BUNDLE,)),
        Bundles((LAST_BUNDLE,) * BUNDLES_MAX),
    ],
    ids=lambda message: type(message).__name__,
)
def test_largest_honest_message_fits_its_bound(message: Message) -> None:
    if isinstance(message, Peers):
        message = Peers(tuple((host[:45], port) for host, port in message.addresses))
    assert decode_message(encode_message(message)) == message


@pytest.mark.parametrize("kind", BYTES_MAX, ids=lambda kind: kind.__name__)
def test_too_large_is_refused_before_it_is_decoded(kind: Any) -> None:
    """The rest is no MessagePack at all: the bound speaks first."""
    data = bytes([0x92, kind.__struct_config__.tag]) + b"\xc1" * BYTES_MAX[kind]
    with pytest.raises(MessageTooLarge, match=kind.__name__):
        decode_message(data)


@pytest.mark.parametrize("data", [b"", b"\x92", b"\x92\x7f\x01", b"\x82\x01\x01", b"\x93\xff\x01"])
def test_unknown_tag_is_malformed(data: bytes) -> None:
    with pytest.raises(UnknownMessage):
        decode_message(data)


@pytest.mark.parametrize(
    ("data_hex", "error"),
    [
        ("921001 00", Undecodable),  # a trailing byte
        ("931001 00", Undecodable),  # a trailing element
        ("9210cc01", NonCanonical),  # a long form
        ("9210ff", Undecodable),  # negative
        ("9210cf0020000000000001", Undecodable),  # above 2^53
        ("9100", Undecodable),  # a missing field
        ("920090", Undecodable),  # no transactions at all
        ("9201 91 c41f" + HASH[1:].hex(), Undecodable),  # 31 bytes of hash
        ("930a01 00", Undecodable),  # no blocks asked
        ("930a01 cd0201", Undecodable),  # 513 blocks asked
        ("920f 91 92 a93132372e302e302e31 00", Undecodable),  # port 0
    ],
)
def test_unsound_bytes_are_refused(data_hex: str, error: type[PeerFault]) -> None:
    with pytest.raises(error) as caught:
        decode_message(bytes.fromhex(data_hex))
    assert isinstance(caught.value, PeerFault)


def test_deep_nesting_is_refused() -> None:
    with pytest.raises(Undecodable):
        decode_message(b"\x92\x00" + b"\x91" * 500_000)


PROPOSAL = FROZEN[3][0]
NULLIFY_OF_BLOCK = Vote(0, 1, VoteKind.NULLIFY, HASH, 0, bytes(64))
TWICE_COUNTED = structs.replace(CERTIFICATE, secondary=b"\x01", signatures=(bytes(64),) * 4)


@pytest.mark.parametrize(
    ("message", "error"),
    [
        (Votes((VOTE, NULLIFY_OF_BLOCK)), BadCertificate),
        (Certificates((CERTIFICATE, TWICE_COUNTED)), BadCertificate),
        (Blocks(0, (), TWICE_COUNTED), BadCertificate),
        (structs.replace(PROPOSAL, justification=(TWICE_COUNTED,)), BadCertificate),
        (
            structs.replace(PROPOSAL, vote=structs.replace(VOTE, block=HASH)),
            ProposalContradicts,
        ),
        (
            structs.replace(PROPOSAL, vote=structs.replace(VOTE, kind=VoteKind.FINALIZE)),
            ProposalContradicts,
        ),
        (structs.replace(PROPOSAL, header=b"\x01" * 80), ProposalContradicts),
        *(
            (Bundles((BUNDLE, structs.replace(BUNDLE, **wrong))), BadCertificate)
            for wrong in (
                {"voters": b"", "signatures": ()},  # of nobody
                {"voters": b"\x05\0"},  # a longer form
                {"voters": b"\x07"},  # a signature is missing
                {"voters": b"\x01"},  # one too many
                {"voters": bytes(VALIDATORS_MAX // 8) + b"\x03"},  # of validators that cannot be
                {"signatures": (bytes(64), bytes(63))},
                {"kind": VoteKind.NULLIFY},  # of a block
                {"kind": VoteKind.FALLBACK, "block": None},
                {"block": bytes(31)},
                {"view": 0},
            )
        ),
    ],
)
def test_forms_that_contradict_themselves_are_refused(
    message: Message, error: type[PeerFault]
) -> None:
    with pytest.raises(error):
        decode_message(encode(message))
