"""Votes and certificates: their forms, and what a signature over a vote commits to."""

import hashlib
from typing import Any

import msgpack
import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from primitive_samples import (
    sample_certificate,
    sample_certificates,
    sample_genesis,
    sample_key,
    sample_vote,
)

from chaind.primitives.codec import Undecodable, encode
from chaind.primitives.hashes import sha256
from chaind.primitives.keys import verify
from chaind.primitives.votes import (
    CERTIFICATE_VOTES,
    VALIDATORS_MAX,
    BadCertificate,
    Certificate,
    CertificateKind,
    Vote,
    VoteKind,
    bitmap,
    bitmap_indices,
    certificate_decoder,
    check_certificate_form,
    check_vote_form,
    vote_decoder,
    vote_digest,
)

CERTIFICATES = sample_certificates()
BLOCK = sha256(b"chaind sample block")
CHAIN = sha256(b"chaind sample chain")
SIGNATURE = bytes(64)


def test_kinds_have_their_numbers_on_the_wire() -> None:
    assert [(kind.name, int(kind)) for kind in VoteKind] == [
        ("FIRST", 0),
        ("FALLBACK", 1),
        ("NULLIFY", 2),
        ("FINALIZE", 3),
    ]
    assert [(kind.name, int(kind)) for kind in CertificateKind] == [
        ("NOTAR", 0),
        ("NULL", 1),
        ("FINAL", 2),
        ("FAST", 3),
    ]
    assert set(CERTIFICATE_VOTES) == set(CertificateKind)


def test_votes_and_certificates_are_written_as_arrays() -> None:
    vote = Vote(3, 7, VoteKind.FALLBACK, BLOCK, 200, SIGNATURE)
    assert encode(vote) == msgpack.packb([3, 7, 1, BLOCK, 200, SIGNATURE])
    assert vote_decoder.decode(encode(vote)) == vote
    certificate = CERTIFICATES["null"]
    plain = [0, 7, 1, None, b"\x08", b"\x03\x02", list(certificate.signatures)]
    assert certificate.encode() == msgpack.packb(plain)
    assert certificate_decoder.decode(certificate.encode()) == certificate


@pytest.mark.parametrize("kind", [-1, 4, 255, 0.0, True, "FIRST", None])
def test_unknown_kinds_are_refused(kind: Any) -> None:
    with pytest.raises(Undecodable):
        vote_decoder.decode(msgpack.packb([0, 7, kind, BLOCK, 0, SIGNATURE]))
    with pytest.raises(Undecodable):
        certificate_decoder.decode(msgpack.packb([0, 7, kind, BLOCK, b"", b"", []]))


def test_a_vote_signs_chain_epoch_view_kind_and_block() -> None:
    vote = (CHAIN, 1, 7, VoteKind.FIRST, BLOCK)
    data = b"\x0bchaind/vote" + msgpack.packb([CHAIN, 1, 7, 0, BLOCK])
    assert vote_digest(*vote) == hashlib.sha256(hashlib.sha256(data).digest()).digest()
    others = [
        (sha256(CHAIN), 1, 7, VoteKind.FIRST, BLOCK),
        (CHAIN, 2, 7, VoteKind.FIRST, BLOCK),
        (CHAIN, 1, 8, VoteKind.FIRST, BLOCK),
        (CHAIN, 7, 1, VoteKind.FIRST, BLOCK),
        (CHAIN, 1, 7, VoteKind.FALLBACK, BLOCK),
        (CHAIN, 1, 7, VoteKind.FINALIZE, BLOCK),
        (CHAIN, 1, 7, VoteKind.NULLIFY, None),
        (CHAIN, 1, 7, VoteKind.FIRST, None),
        (CHAIN, 1, 7, VoteKind.FIRST, sha256(BLOCK)),
    ]
    assert len({vote_digest(*values) for values in (vote, *others)}) == 1 + len(others)


@pytest.mark.parametrize(
    "vote",
    [
        Vote(0, 1, VoteKind.FIRST, BLOCK, 0, SIGNATURE),
        Vote(0, 1, VoteKind.FIRST, None, 0, SIGNATURE),
        Vote(0, 1, VoteKind.FALLBACK, BLOCK, VALIDATORS_MAX - 1, SIGNATURE),
        Vote(2**63, 2**63, VoteKind.NULLIFY, None, 0, SIGNATURE),
        Vote(0, 1, VoteKind.FINALIZE, BLOCK, 0, SIGNATURE),
    ],
)
def test_well_formed_votes(vote: Vote) -> None:
    check_vote_form(vote)


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"kind": VoteKind.NULLIFY}, "NULLIFY names a block"),
        ({"kind": VoteKind.FALLBACK, "block": None}, "FALLBACK names no block"),
        ({"kind": VoteKind.FINALIZE, "block": None}, "FINALIZE names no block"),
        ({"block": b""}, "32 bytes"),
        ({"block": bytes(31)}, "32 bytes"),
        ({"block": bytes(33)}, "32 bytes"),
        ({"signature": b""}, "64 bytes"),
        ({"signature": bytes(65)}, "64 bytes"),
        ({"view": 0}, "out of range"),
        ({"view": -1}, "out of range"),
        ({"epoch": -1}, "out of range"),
        ({"voter": -1}, "out of range"),
        ({"voter": VALIDATORS_MAX}, "out of range"),
    ],
)
def test_malformed_votes(changes: dict[str, Any], reason: str) -> None:
    vote = Vote(0, 1, VoteKind.FIRST, BLOCK, 0, SIGNATURE)
    with pytest.raises(BadCertificate, match=reason):
        check_vote_form(msgspec.structs.replace(vote, **changes))


@pytest.mark.parametrize("name", CERTIFICATES)
def test_a_certificate_holds_the_votes_it_was_made_of(name: str) -> None:
    certificate = CERTIFICATES[name]
    check_certificate_form(certificate)
    votes = list(certificate.votes())
    assert len(votes) == len(certificate.signatures) == len(certificate.voters())
    for vote in votes:
        check_vote_form(vote)
        assert vote == sample_vote(vote.kind, vote.block, vote.voter)
        digest = vote_digest(sample_genesis().hash, vote.epoch, vote.view, vote.kind, vote.block)
        assert verify(sample_key(vote.voter).public, digest, vote.signature)


def test_the_kinds_of_votes_in_each_kind_of_certificate() -> None:
    found = {
        name: [(vote.kind, vote.voter, vote.block) for vote in certificate.votes()]
        for name, certificate in CERTIFICATES.items()
    }
    assert found == {
        "notar": [
            (VoteKind.FIRST, 0, BLOCK),
            (VoteKind.FIRST, 2, BLOCK),
            (VoteKind.FALLBACK, 1, BLOCK),
        ],
        "null": [
            (VoteKind.FIRST, 3, None),
            (VoteKind.NULLIFY, 0, None),
            (VoteKind.NULLIFY, 1, None),
            (VoteKind.NULLIFY, 9, None),
        ],
        "final": [(VoteKind.FINALIZE, voter, BLOCK) for voter in (0, 1, 2)],
        "fast": [(VoteKind.FIRST, voter, BLOCK) for voter in (0, 1, 2, 3)],
    }
    assert CERTIFICATES["null"].voters() == [0, 1, 3, 9]


SIX = (SIGNATURE,) * 6


@pytest.mark.parametrize(
    ("name", "changes", "reason"),
    [
        ("null", {"block": BLOCK}, "block present in NULL"),
        ("notar", {"block": None}, "absent elsewhere"),
        ("final", {"block": None}, "absent elsewhere"),
        ("fast", {"kind": CertificateKind.NULL}, "block present in NULL"),
        ("notar", {"block": bytes(31)}, "32 bytes"),
        ("notar", {"primary": b"\x05\x00"}, "trailing zero"),
        ("notar", {"secondary": b"\x02\x00"}, "trailing zero"),
        ("notar", {"primary": b"\x00"}, "trailing zero"),
        ("notar", {"primary": bytes(512) + b"\x01"}, "too long"),
        ("final", {"secondary": b"\x08", "signatures": SIX[:4]}, "kind has none"),
        ("fast", {"secondary": b"\x10", "signatures": SIX[:5]}, "kind has none"),
        ("notar", {"secondary": b"\x01"}, "counted twice"),
        ("null", {"primary": b"\x01"}, "counted twice"),
        ("notar", {"signatures": ()}, "as many signatures"),
        ("notar", {"signatures": SIX[:2]}, "as many signatures"),
        ("notar", {"signatures": SIX[:4]}, "as many signatures"),
        ("notar", {"signatures": (b"", SIGNATURE, SIGNATURE)}, "64 bytes"),
        ("notar", {"signatures": (SIGNATURE, SIGNATURE, bytes(63))}, "64 bytes"),
        ("notar", {"view": 0}, "out of range"),
        ("notar", {"epoch": -1}, "out of range"),
    ],
)
def test_malformed_certificates(name: str, changes: dict[str, Any], reason: str) -> None:
    with pytest.raises(BadCertificate, match=reason):
        check_certificate_form(msgspec.structs.replace(CERTIFICATES[name], **changes))


def test_the_largest_certificate_is_well_formed() -> None:
    voters = range(VALIDATORS_MAX)
    full = Certificate(
        0, 1, CertificateKind.FAST, BLOCK, bitmap(voters), b"", (SIGNATURE,) * VALIDATORS_MAX
    )
    check_certificate_form(full)
    assert full.voters() == list(voters)
    assert len(full.primary) == 512


def test_a_certificate_of_nobody_has_a_form_and_no_votes() -> None:
    """The form says nothing of quorums."""
    empty = sample_certificate(CertificateKind.FINAL, ())
    check_certificate_form(empty)
    assert not list(empty.votes())
    assert not empty.voters()


@pytest.mark.parametrize(
    ("indices", "written"),
    [
        ([], ""),
        ([0], "01"),
        ([7], "80"),
        ([8], "0001"),
        ([0, 1, 9], "0302"),
        ([4095], "00" * 511 + "80"),
    ],
)
def test_bitmaps_are_little_endian_and_shortest(indices: list[int], written: str) -> None:
    assert bitmap(indices).hex() == written
    assert bitmap_indices(bytes.fromhex(written)) == indices


@given(st.sets(st.integers(0, VALIDATORS_MAX - 1)))
def test_bitmaps_are_read_back_ascending(indices: set[int]) -> None:
    data = bitmap(tuple(indices))
    assert bitmap_indices(data) == sorted(indices)
    assert not data.endswith(b"\0")
    assert sum(byte.bit_count() for byte in data) == len(indices)
