"""The block: Bitcoin's 80-byte header, a Bitcoin-shaped coinbase, the commitment, transactions.

    Merkle leaves = sha256d(coinbase), sha256d(commitment), wtxid…

What Bitcoin's header has no room for (height, chain time, state root, …) is the commitment,
transaction 1 of every block, under the Merkle root.
"""

import struct
from collections.abc import Sequence

import msgspec

from chaind.primitives.codec import Decoder, encode
from chaind.primitives.coinbase import Coinbase, parse_coinbase
from chaind.primitives.errors import Malformed, PeerFault
from chaind.primitives.hashes import (
    HASH_BYTES,
    display_hash,
    merkle_is_mutated,
    merkle_root,
    sha256d,
)
from chaind.primitives.transaction import Transaction
from chaind.primitives.votes import Vote

HEADER_BYTES = 80
BLOCK_VERSION = 0x20000000  # BIP-9 base: no deployments
BFT_BITS = 0x207FFFFF  # regtest's target; in bft the field carries no meaning
COMMITMENT_BYTES_MAX = 65_536  # evidence of 64 vote pairs and slack

_HEADER = struct.Struct("<I32s32sIII")


class HeaderMalformed(Malformed, PeerFault):
    """Not 80 bytes."""

    code = "header-malformed"
    text = "a header is 80 bytes, {length} given"


class MerkleMismatch(Malformed, PeerFault):
    """The header commits to other transactions, or the list repeats leaves."""

    code = "merkle-mismatch"
    text = "header commits to {expected}, the block's leaves give {actual}"


class Header(msgspec.Struct, frozen=True):
    """Bitcoin's block header. Hashes are raw digests; `time` is Unix seconds."""

    version: int
    parent: bytes
    merkle_root: bytes
    time: int
    bits: int
    nonce: int

    def encode(self) -> bytes:
        """The 80 bytes that are hashed and mined."""
        return _HEADER.pack(
            self.version, self.parent, self.merkle_root, self.time, self.bits, self.nonce
        )

    @classmethod
    def decode(cls, data: bytes) -> "Header":
        """Raises `HeaderMalformed`."""
        if len(data) != HEADER_BYTES:
            raise HeaderMalformed(length=len(data))
        return cls(*_HEADER.unpack(data))


class Commitment(msgspec.Struct, array_like=True, frozen=True, forbid_unknown_fields=True):
    """What a block says beyond Bitcoin's header.

    `time_ms` is chain time (None where miners roll the header's time). `proposer` is the address
    credited with fees (None in pow). `parent_root` is the state root after the parent.
    `last_certificate` = (view, block hash) of the newest certificate its maker knew.
    """

    height: int
    time_ms: int | None
    epoch: int
    view: int
    proposer: bytes | None
    parent_root: bytes
    validators_hash: bytes
    last_certificate: tuple[int, bytes] | None
    snapshot: bytes | None
    evidence: tuple[tuple[Vote, Vote], ...]


commitment_decoder: Decoder[Commitment] = Decoder("commitment", Commitment)


class _Block(msgspec.Struct, array_like=True, frozen=True, forbid_unknown_fields=True):
    header: bytes
    coinbase: bytes
    commitment: bytes
    transactions: tuple[bytes, ...]


_block_decoder: Decoder[_Block] = Decoder("block", _Block)


class Block:
    """A block with its parts decoded; the Merkle root is checked on construction from bytes."""

    __slots__ = (
        "coinbase",
        "coinbase_bytes",
        "commitment",
        "commitment_bytes",
        "hash",
        "header",
        "header_bytes",
        "transactions",
    )

    def __init__(
        self,
        header: Header,
        coinbase: bytes,
        commitment: bytes,
        transactions: Sequence[Transaction],
    ) -> None:
        self.header = header
        self.header_bytes = header.encode()
        self.hash = sha256d(self.header_bytes)
        self.coinbase_bytes = coinbase
        self.coinbase: Coinbase = parse_coinbase(coinbase)
        self.commitment_bytes = commitment
        self.commitment = commitment_decoder.decode(commitment)
        self.transactions = tuple(transactions)

    @classmethod
    def assemble(
        cls,
        *,
        parent: bytes,
        time: int,
        bits: int,
        coinbase: bytes,
        commitment: Commitment,
        transactions: Sequence[Transaction],
    ) -> "Block":
        """A new block with its Merkle root filled in and nonce 0."""
        committed = encode(commitment)
        root = merkle_root(block_leaves(coinbase, committed, transactions))
        header = Header(BLOCK_VERSION, parent, root, time, bits, 0)
        return cls(header, coinbase, committed, transactions)

    @classmethod
    def rebuild(
        cls,
        header: bytes,
        coinbase: bytes,
        commitment: bytes,
        transactions: Sequence[Transaction],
    ) -> "Block":
        """A block of given parts. Raises `MerkleMismatch` where header and parts disagree."""
        block = cls(Header.decode(header), coinbase, commitment, transactions)
        leaves = block.leaves()
        root = merkle_root(leaves)
        if root != block.header.merkle_root or merkle_is_mutated(leaves):
            raise MerkleMismatch(
                expected=block.header.merkle_root.hex(),
                actual="a repeated leaf" if root == block.header.merkle_root else root.hex(),
            )
        return block

    @classmethod
    def decode(cls, data: bytes) -> "Block":
        """The block of canonical bytes. Raises `Malformed` leaves."""
        parts = _block_decoder.decode(data)
        transactions = [Transaction.decode(raw) for raw in parts.transactions]
        return cls.rebuild(parts.header, parts.coinbase, parts.commitment, transactions)

    def encode(self) -> bytes:
        """Canonical bytes: [header, coinbase, commitment, [raw…]]."""
        raws = tuple(transaction.raw for transaction in self.transactions)
        return encode(_Block(self.header_bytes, self.coinbase_bytes, self.commitment_bytes, raws))

    def leaves(self) -> list[bytes]:
        """Merkle leaves in order."""
        return block_leaves(self.coinbase_bytes, self.commitment_bytes, self.transactions)

    @property
    def height(self) -> int:
        """Distance from genesis."""
        return self.commitment.height

    @property
    def time_ms(self) -> int:
        """When it says that it was made: chain time, or the header's where there is none."""
        time_ms = self.commitment.time_ms
        return self.header.time * 1000 if time_ms is None else time_ms

    @property
    def parent(self) -> bytes:
        """Hash of the block below."""
        return self.header.parent

    def __repr__(self) -> str:
        return f"Block({self.height}, {display_hash(self.hash)[:16]}…)"


def is_sealed(data: bytes, block_hash: bytes) -> bool:
    """Whether bytes are those that a header of this hash commits to, whatever they say.

    Then what is malformed in them makes the block invalid for ever; otherwise somebody made them up
    and the block may be sound. Inner nodes of a sound block's Merkle tree, two by two, have its
    root as well (CVE-2017-12842): such a row begins with 64 bytes, which no coinbase has.
    """
    try:
        parts = _block_decoder.decode(data)
        header = Header.decode(parts.header)
    except Malformed:
        return False
    leaves = [sha256d(part) for part in (parts.coinbase, parts.commitment, *parts.transactions)]
    return (
        sha256d(parts.header) == block_hash
        and len(parts.coinbase) != 2 * HASH_BYTES
        and merkle_root(leaves) == header.merkle_root
        and not merkle_is_mutated(leaves)
    )


def block_leaves(
    coinbase: bytes, commitment: bytes, transactions: Sequence[Transaction]
) -> list[bytes]:
    """Merkle leaves of a block's parts."""
    leaves = [sha256d(coinbase), sha256d(commitment)]
    leaves += [transaction.wtxid for transaction in transactions]
    return leaves
