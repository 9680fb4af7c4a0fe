"""The messages between peers: one closed union, one canonical encoding, one table of bounds.

Only forms are checked here: sizes, counts, what contradicts itself. Signatures, quorums and
everything that needs state belong to the rooms that know them.

    message = canonical MessagePack array [tag, field…]; a frame carries exactly one.
"""

from collections.abc import Callable
from typing import Annotated, Any, Final

from msgspec import Meta, Struct

from chaind.consensus.gossip import BUNDLES_MAX, SIGNATURES_MAX
from chaind.consensus.pow.sync import HEADERS_MAX
from chaind.network.frames import FRAME_BYTES_MAX
from chaind.primitives.block import COMMITMENT_BYTES_MAX, HEADER_BYTES
from chaind.primitives.codec import Decoder, encode
from chaind.primitives.coinbase import COINBASE_BYTES_MAX
from chaind.primitives.errors import Malformed, PeerFault, TooLarge
from chaind.primitives.hashes import HASH_BYTES, sha256d
from chaind.primitives.votes import (
    VALIDATORS_MAX,
    Certificate,
    Vote,
    VoteBundle,
    VoteKind,
    check_bundle_form,
    check_certificate_form,
    check_vote_form,
)

IDS_MAX: Final = 65_536  # wtxids of a full block of the smallest transfers, and slack
ANNOUNCE_IDS_MAX: Final = 8_192  # 0.4 s of 20,000 transactions/s
TRANSACTIONS_MAX: Final = 8_192  # likewise
VOTES_MAX: Final = 4_096  # one of every validator that a chain can have
CERTIFICATES_MAX: Final = 256  # a run of 256 failed views takes minutes at the longest timer
BLOCKS_MAX: Final = 512  # one range request; bytes bound it first when blocks are full
ADDRESSES_MAX: Final = 64
LOCATOR_MAX: Final = 64  # ten hashes, then gaps that double: enough for any height
HOST_CHARS_MAX: Final = 45  # the longest IPv6 literal; names are not gossiped
REASON_CHARS_MAX: Final = 200
SLACK_BYTES: Final = 1_024  # tags, lengths and small integers of one message
LOOKUPS_PER_WORK: Final = 8  # ids looked up in memory for the cost of one small message
QUESTION_WORK: Final = 10  # a read from disk, or an answer to be put together

Hash = Annotated[bytes, Meta(min_length=HASH_BYTES, max_length=HASH_BYTES)]
Header = Annotated[bytes, Meta(min_length=HEADER_BYTES, max_length=HEADER_BYTES)]
Count = Annotated[int, Meta(ge=0, le=2**53)]
Port = Annotated[int, Meta(ge=1, le=65_535)]
Host = Annotated[str, Meta(min_length=2, max_length=HOST_CHARS_MAX)]
Hashes = Annotated[tuple[Hash, ...], Meta(max_length=IDS_MAX)]
Raws = Annotated[tuple[bytes, ...], Meta(max_length=IDS_MAX)]


class UnknownMessage(Malformed, PeerFault):
    """No message has this tag: garbage, or a newer protocol that did not say so in its Hello."""

    code = "unknown-message"
    text = "message of {length} bytes has no known tag"


class MessageTooLarge(TooLarge, PeerFault):
    """Larger than any honest message of its kind."""

    code = "message-too-large"
    text = "{name} of {length} bytes, {limit} are allowed"


class ProposalContradicts(Malformed, PeerFault):
    """The vote inside a proposal is not its leader's FIRST for its block."""

    code = "proposal-contradicts"
    text = "the proposal for view {view} carries a vote for something else"


class MessageOutOfPlace(Malformed, PeerFault):
    """A message of the other kind of chain, of miners or of validators."""

    code = "message-out-of-place"
    text = "{name} has no place on a chain of mode {mode}"


class _Message(Struct, array_like=True, frozen=True, gc=False, forbid_unknown_fields=True):
    """Base of all: `gc=False` because a message holds values only, never a cycle."""


class Transactions(_Message, frozen=True, tag=0):
    """Raw transactions, pushed unasked to a few peers or sent as asked."""

    raws: Annotated[tuple[bytes, ...], Meta(min_length=1, max_length=TRANSACTIONS_MAX)]


class Announce(_Message, frozen=True, tag=1):
    """Transactions that the sender holds."""

    wtxids: Annotated[tuple[Hash, ...], Meta(min_length=1, max_length=ANNOUNCE_IDS_MAX)]


class GetTransactions(_Message, frozen=True, tag=2):
    """Asks for `Transactions`; what is not held is silently left out."""

    wtxids: Annotated[tuple[Hash, ...], Meta(min_length=1, max_length=TRANSACTIONS_MAX)]


class Proposal(_Message, frozen=True, tag=3):
    """A compact block and why it may be voted for. `vote` is the leader's FIRST, its signature.

    `parent_view` is the view in which the header's parent was certified; `justification` holds
    NOTAR (or better) of that view and NULL of every view between.
    """

    header: Header
    coinbase: Annotated[bytes, Meta(max_length=COINBASE_BYTES_MAX)]
    commitment: Annotated[bytes, Meta(max_length=COMMITMENT_BYTES_MAX)]
    wtxids: Hashes
    parent_view: Count
    justification: Annotated[tuple[Certificate, ...], Meta(max_length=CERTIFICATES_MAX)]
    vote: Vote


class Votes(_Message, frozen=True, tag=4):
    """BUNDLE: votes of any views and voters."""

    votes: Annotated[tuple[Vote, ...], Meta(min_length=1, max_length=VOTES_MAX)]


class Certificates(_Message, frozen=True, tag=5):
    """CERT: certificates, pushed once on a change of view or sent as asked."""

    certificates: Annotated[
        tuple[Certificate, ...], Meta(min_length=1, max_length=CERTIFICATES_MAX)
    ]


class GetCertificates(_Message, frozen=True, tag=6):
    """Asks for a certificate of each view within [from_view, to_view]."""

    epoch: Count
    from_view: Count
    to_view: Count


class Status(_Message, frozen=True, tag=7):
    """Where the sender stands: its view, and the newest final block it holds."""

    epoch: Count
    view: Count
    final_height: Count
    final_hash: Hash
    final_view: Count


class GetBlock(_Message, frozen=True, tag=8):
    """Asks for one block, final or not, as `BlockData`."""

    block_hash: Hash


class BlockData(_Message, frozen=True, tag=9):
    """One block's canonical bytes; None where the sender does not hold it."""

    block_hash: Hash
    raw: bytes | None


class GetBlocks(_Message, frozen=True, tag=10):
    """Asks for final blocks from `start_height` upwards as `Blocks`."""

    start_height: Count
    count: Annotated[int, Meta(ge=1, le=BLOCKS_MAX)]


class Blocks(_Message, frozen=True, tag=11):
    """Final blocks, ascending; fewer than asked where bytes or the tip end the range.

    `certificate` makes the last one final, and by hash links all before it.
    """

    start_height: Count
    raws: Annotated[tuple[bytes, ...], Meta(max_length=BLOCKS_MAX)]
    certificate: Certificate | None


class GetBlockTransactions(_Message, frozen=True, tag=12):
    """Asks for transactions of a compact block that the mempool lacks."""

    block_hash: Hash
    wtxids: Hashes


class BlockTransactions(_Message, frozen=True, tag=13):
    """Raw transactions in the order asked; empty where the sender does not hold the block."""

    block_hash: Hash
    raws: Raws


class GetPeers(_Message, frozen=True, tag=14):
    """Asks for `Peers`."""


class Peers(_Message, frozen=True, tag=15):
    """Addresses (IP literal, port) at which the sender has reached nodes of this chain."""

    addresses: Annotated[tuple[tuple[Host, Port], ...], Meta(max_length=ADDRESSES_MAX)]


class Ping(_Message, frozen=True, tag=16):
    """Asks for a `Pong` with the same nonce."""

    nonce: Count


class Pong(_Message, frozen=True, tag=17):
    """Answers a `Ping`."""

    nonce: Count


class Goodbye(_Message, frozen=True, tag=18):
    """The last message before an orderly close, and why; for people, nothing acts on it."""

    reason: Annotated[str, Meta(max_length=REASON_CHARS_MAX)]


class Tip(_Message, frozen=True, tag=19):
    """The sender has made a block final. Sent for every one, so nothing answers it."""

    final_height: Count


class Bundles(_Message, frozen=True, tag=20):
    """Votes over the overlay: what the receiver is not known to hold, by view, kind and block."""

    bundles: Annotated[tuple[VoteBundle, ...], Meta(min_length=1, max_length=BUNDLES_MAX)]


class GetHeaders(_Message, frozen=True, tag=21):
    """Asks for `Headers` after the first of these block hashes that stands in the receiver's chain.

    Only on chains of miners, as is `Headers`.
    """

    locator: Annotated[tuple[Hash, ...], Meta(min_length=1, max_length=LOCATOR_MAX)]


class Headers(_Message, frozen=True, tag=22):
    """Headers of 80 bytes in a row, each standing on the one before: as asked, or announced."""

    records: Annotated[bytes, Meta(max_length=HEADERS_MAX * HEADER_BYTES)]


class GetCompact(_Message, frozen=True, tag=23):
    """Asks for one mined block as `CompactBlock`, or as `BlockData` where that is all there is."""

    block_hash: Hash


class CompactBlock(_Message, frozen=True, tag=24):
    """A mined block whose header the receiver has, with ids instead of transactions."""

    block_hash: Hash
    coinbase: Annotated[bytes, Meta(max_length=COINBASE_BYTES_MAX)]
    commitment: Annotated[bytes, Meta(max_length=COMMITMENT_BYTES_MAX)]
    wtxids: Hashes


Message = (
    Transactions
    | Announce
    | GetTransactions
    | Proposal
    | Votes
    | Certificates
    | GetCertificates
    | Status
    | GetBlock
    | BlockData
    | GetBlocks
    | Blocks
    | GetBlockTransactions
    | BlockTransactions
    | GetPeers
    | Peers
    | Ping
    | Pong
    | Goodbye
    | Tip
    | Bundles
    | GetHeaders
    | Headers
    | GetCompact
    | CompactBlock
)

_ID_BYTES = HASH_BYTES + 2  # with its MessagePack header
_VOTE_BYTES = 128  # 32 of hash, 64 of signature, three integers, headers
_SIGNATURE_BYTES = 66  # with its MessagePack header
_BUNDLE_BYTES = 64 + VALIDATORS_MAX // 8  # one without its signatures
_ADDRESS_BYTES = HOST_CHARS_MAX + 8

# Encoded bytes that an honest message of each type stays within, by tag.
BYTES_MAX: Final[dict[type[Any], int]] = {
    Transactions: 1 << 20,  # senders split: small frames leave room for votes between them
    Announce: SLACK_BYTES + ANNOUNCE_IDS_MAX * _ID_BYTES,
    GetTransactions: SLACK_BYTES + TRANSACTIONS_MAX * _ID_BYTES,
    Proposal: FRAME_BYTES_MAX,
    Votes: SLACK_BYTES + VOTES_MAX * _VOTE_BYTES,
    Certificates: FRAME_BYTES_MAX,
    GetCertificates: SLACK_BYTES,
    Status: SLACK_BYTES,
    GetBlock: SLACK_BYTES,
    BlockData: FRAME_BYTES_MAX,
    GetBlocks: SLACK_BYTES,
    Blocks: FRAME_BYTES_MAX,
    GetBlockTransactions: SLACK_BYTES + IDS_MAX * _ID_BYTES,
    BlockTransactions: FRAME_BYTES_MAX,
    GetPeers: SLACK_BYTES,
    Peers: SLACK_BYTES + ADDRESSES_MAX * _ADDRESS_BYTES,
    Ping: SLACK_BYTES,
    Pong: SLACK_BYTES,
    Goodbye: SLACK_BYTES,
    Tip: SLACK_BYTES,
    Bundles: SLACK_BYTES + BUNDLES_MAX * _BUNDLE_BYTES + SIGNATURES_MAX * _SIGNATURE_BYTES,
    GetHeaders: SLACK_BYTES + LOCATOR_MAX * _ID_BYTES,
    Headers: SLACK_BYTES + HEADERS_MAX * HEADER_BYTES,
    GetCompact: SLACK_BYTES,
    CompactBlock: FRAME_BYTES_MAX,
}

_BY_TAG: Final = {kind.__struct_config__.tag: kind for kind in BYTES_MAX}
_decoder: Final[Decoder[Message]] = Decoder("message", Message)


def _check_votes(message: Votes) -> None:
    for vote in message.votes:
        check_vote_form(vote)


def _check_bundles(message: Bundles) -> None:
    for bundle in message.bundles:
        check_bundle_form(bundle)


def _check_certificates(message: Certificates) -> None:
    for certificate in message.certificates:
        check_certificate_form(certificate)


def _check_blocks(message: Blocks) -> None:
    if message.certificate is not None:
        check_certificate_form(message.certificate)


def _check_proposal(message: Proposal) -> None:
    vote = message.vote
    check_vote_form(vote)
    if vote.kind is not VoteKind.FIRST or vote.block != sha256d(message.header):
        raise ProposalContradicts(view=vote.view)
    for certificate in message.justification:
        check_certificate_form(certificate)


_CHECKS: Final[dict[type[Any], Callable[[Any], None]]] = {
    Proposal: _check_proposal,
    Votes: _check_votes,
    Bundles: _check_bundles,
    Certificates: _check_certificates,
    Blocks: _check_blocks,
}


def work_of(message: Message) -> int:
    """What a message costs its receiver beyond its bytes, in units of the cheapest one.

    Transactions count as one: they wait in a queue that has a measure of its own.
    """
    match message:
        case Votes(items) | Certificates(items):
            return len(items)
        case Bundles(bundles):
            return sum(len(bundle.signatures) for bundle in bundles)
        case Announce(wtxids) | GetTransactions(wtxids) | GetBlockTransactions(_, wtxids):
            return 1 + len(wtxids) // LOOKUPS_PER_WORK
        case Headers(records):
            return 1 + len(records) // (LOOKUPS_PER_WORK * HEADER_BYTES)
        case CompactBlock(_, _, _, wtxids):
            return 1 + len(wtxids) // LOOKUPS_PER_WORK
        case GetBlock() | GetBlocks() | GetCertificates() | GetHeaders() | GetPeers() | Status():
            return QUESTION_WORK
        case GetCompact():
            return QUESTION_WORK
    return 1


def encode_message(message: Message) -> bytes:
    """The frame body of `message`, which its maker has kept within `BYTES_MAX`."""
    data = encode(message)
    assert len(data) <= BYTES_MAX[type(message)], type(message).__name__
    return data


def decode_message(data: bytes) -> Message:
    """The message of a frame body; its form is sound.

    Raises `UnknownMessage`, `MessageTooLarge`, `Undecodable`, `NonCanonical`, `BadCertificate`,
    `ProposalContradicts`; all are `PeerFault`.
    """
    # The bound is looked up before decoding, which takes several times the bytes: an array of up
    # to 15 elements is one byte (0x90 | count), and every tag is a positive fixint behind it.
    kind = _BY_TAG.get(data[1]) if len(data) >= 2 and data[0] & 0xF0 == 0x90 else None
    if kind is None:
        raise UnknownMessage(length=len(data))
    if len(data) > BYTES_MAX[kind]:
        raise MessageTooLarge(name=kind.__name__, length=len(data), limit=BYTES_MAX[kind])
    message = _decoder.decode(data)
    check = _CHECKS.get(kind)
    if check is not None:
        check(message)
    return message
