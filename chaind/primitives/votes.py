"""What validators sign and what their signatures add up to.

A vote is one signature over (chain, epoch, view, kind, block); a certificate is enough of them.
Quorum arithmetic and the meaning of kinds live in `consensus`; this module knows only the forms,
so that storage, network and light clients can carry and check them.
"""

from collections.abc import Iterator, Sequence
from enum import IntEnum

import msgspec

from chaind.primitives.codec import Decoder, encode
from chaind.primitives.errors import Malformed, PeerFault
from chaind.primitives.hashes import tagged_hash

VOTE_TAG = "chaind/vote"
VALIDATORS_MAX = 4096  # bounds every bitmap to 512 bytes
SIGNATURE_BYTES = 64


class VoteKind(IntEnum):
    """The four votes of Epidemic Simplex. `block` is None in NULLIFY and in FIRST(⊥)."""

    FIRST = 0
    FALLBACK = 1
    NULLIFY = 2
    FINALIZE = 3


class CertificateKind(IntEnum):
    """What a certificate proves about a view."""

    NOTAR = 0  # FIRST(b) and FALLBACK(b)
    NULL = 1  # FIRST(⊥) and NULLIFY
    FINAL = 2  # FINALIZE(b)
    FAST = 3  # FIRST(b) only


# (votes of the first bitmap, votes of the second bitmap or None) for each kind.
CERTIFICATE_VOTES: dict[CertificateKind, tuple[VoteKind, VoteKind | None]] = {
    CertificateKind.NOTAR: (VoteKind.FIRST, VoteKind.FALLBACK),
    CertificateKind.NULL: (VoteKind.FIRST, VoteKind.NULLIFY),
    CertificateKind.FINAL: (VoteKind.FINALIZE, None),
    CertificateKind.FAST: (VoteKind.FIRST, None),
}


class BadCertificate(Malformed, PeerFault):
    """A certificate whose form contradicts itself."""

    code = "bad-certificate"
    text = "certificate for view {view} is malformed: {reason}"


class Vote(msgspec.Struct, array_like=True, frozen=True, gc=False, forbid_unknown_fields=True):
    """One signed vote. `voter` is the index in the epoch's validator set."""

    epoch: int
    view: int
    kind: VoteKind
    block: bytes | None
    voter: int
    signature: bytes


class Certificate(
    msgspec.Struct, array_like=True, frozen=True, gc=False, forbid_unknown_fields=True
):
    """Votes of one view that together prove `kind`.

    `primary` and `secondary` are little-endian bitmaps of voter indices (bit i of byte i // 8) for
    the two vote kinds of `CERTIFICATE_VOTES`; `secondary` is empty where the kind has none.
    `signatures` holds those of `primary` in bit order, then those of `secondary`. One voter stands
    in at most one of the two bitmaps.
    """

    epoch: int
    view: int
    kind: CertificateKind
    block: bytes | None
    primary: bytes
    secondary: bytes
    signatures: tuple[bytes, ...]

    def votes(self) -> Iterator[Vote]:
        """The votes inside, each as if it had arrived by itself."""
        signatures = iter(self.signatures)
        kinds = CERTIFICATE_VOTES[self.kind]
        for kind, bitmap in zip(kinds, (self.primary, self.secondary), strict=True):
            if kind is None:
                continue
            block = None if kind is VoteKind.NULLIFY else self.block
            for voter in bitmap_indices(bitmap):
                yield Vote(self.epoch, self.view, kind, block, voter, next(signatures))

    def voters(self) -> list[int]:
        """Indices of the distinct signers, ascending."""
        return sorted({*bitmap_indices(self.primary), *bitmap_indices(self.secondary)})

    def encode(self) -> bytes:
        """Canonical bytes."""
        return encode(self)


class VoteBundle(
    msgspec.Struct, array_like=True, frozen=True, gc=False, forbid_unknown_fields=True
):
    """Votes of one kind for one block (None: ⊥), however many.

    `voters` is a bitmap as in `Certificate`; `signatures` are in bit order.
    """

    epoch: int
    view: int
    kind: VoteKind
    block: bytes | None
    voters: bytes
    signatures: tuple[bytes, ...]

    def votes(self) -> Iterator[Vote]:
        """The votes inside."""
        for voter, signature in zip(bitmap_indices(self.voters), self.signatures, strict=True):
            yield Vote(self.epoch, self.view, self.kind, self.block, voter, signature)


certificate_decoder: Decoder[Certificate] = Decoder("certificate", Certificate)
vote_decoder: Decoder[Vote] = Decoder("vote", Vote)


def bitmap(indices: Sequence[int]) -> bytes:
    """Shortest little-endian bitmap with the given bits set; empty for none."""
    if not indices:
        return b""
    bits = 0
    for index in indices:
        bits |= 1 << index
    return bits.to_bytes((bits.bit_length() + 7) // 8, "little")


def bitmap_indices(data: bytes) -> list[int]:
    """Set bits, ascending."""
    return voters_of(int.from_bytes(data, "little"))


def voters_of(bits: int) -> list[int]:
    """Set bits of a number, ascending."""
    found: list[int] = []
    while bits:
        low = bits & -bits
        found.append(low.bit_length() - 1)
        bits ^= low
    return found


def vote_digest(chain: bytes, epoch: int, view: int, kind: VoteKind, block: bytes | None) -> bytes:
    """The 32 bytes that a validator signs; `chain` is the genesis hash."""
    return tagged_hash(VOTE_TAG, encode((chain, epoch, view, int(kind), block)))


def check_vote_form(vote: Vote) -> None:
    """Raise where the fields cannot belong together, whoever signed them."""
    if vote.kind is VoteKind.NULLIFY and vote.block is not None:
        raise BadCertificate(view=vote.view, reason="NULLIFY names a block")
    if vote.kind in (VoteKind.FALLBACK, VoteKind.FINALIZE) and vote.block is None:
        raise BadCertificate(view=vote.view, reason=f"{vote.kind.name} names no block")
    if vote.block is not None and len(vote.block) != 32:
        raise BadCertificate(view=vote.view, reason="block hash is not 32 bytes")
    if len(vote.signature) != SIGNATURE_BYTES:
        raise BadCertificate(view=vote.view, reason="signature is not 64 bytes")
    if vote.view < 1 or vote.epoch < 0 or not 0 <= vote.voter < VALIDATORS_MAX:
        raise BadCertificate(view=vote.view, reason="epoch, view or voter out of range")


def check_bundle_form(bundle: VoteBundle) -> None:
    """Raise where a bundle contradicts itself, or a vote of its kind could not have its block."""

    def refuse(reason: str) -> None:
        raise BadCertificate(view=bundle.view, reason=reason)

    voters = bitmap_indices(bundle.voters)
    if not voters or bundle.voters.endswith(b"\0") or voters[-1] >= VALIDATORS_MAX:
        refuse("bitmap empty, too long or with trailing zero bytes")
    if len(bundle.signatures) != len(voters):
        refuse("as many signatures as voters are needed")
    if any(len(signature) != SIGNATURE_BYTES for signature in bundle.signatures):
        refuse("signature is not 64 bytes")
    check_vote_form(next(bundle.votes()))


def check_certificate_form(certificate: Certificate) -> None:
    """Raise where a certificate contradicts itself; says nothing of quorums and signatures."""

    def refuse(reason: str) -> None:
        raise BadCertificate(view=certificate.view, reason=reason)

    if (certificate.block is None) != (certificate.kind is CertificateKind.NULL):
        refuse("block present in NULL or absent elsewhere")
    if certificate.block is not None and len(certificate.block) != 32:
        refuse("block hash is not 32 bytes")
    for data in (certificate.primary, certificate.secondary):
        if len(data) > VALIDATORS_MAX // 8 or data.endswith(b"\0"):
            refuse("bitmap too long or with trailing zero bytes")
    if certificate.secondary and CERTIFICATE_VOTES[certificate.kind][1] is None:
        refuse("second bitmap where the kind has none")
    first, second = bitmap_indices(certificate.primary), bitmap_indices(certificate.secondary)
    if set(first) & set(second):
        refuse("one voter counted twice")
    if len(certificate.signatures) != len(first) + len(second):
        refuse("as many signatures as voters are needed")
    if any(len(signature) != SIGNATURE_BYTES for signature in certificate.signatures):
        refuse("signature is not 64 bytes")
    if certificate.view < 1 or certificate.epoch < 0:
        refuse("epoch or view out of range")
