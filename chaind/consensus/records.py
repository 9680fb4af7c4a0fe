"""The bytes of a core's log: own votes, and the certificates on which they rest.

    record = canonical MessagePack of [0, vote] or [1, certificate]

What must be durable before what: an own vote before it leaves, together with the certificates of
the views before it (earlier in the same log) and the body that it speaks for; a certificate before
its block is delivered. Records up to the last final view may be forgotten, its own certificate
excepted.
"""

from msgspec import Struct

from chaind.consensus.core import Record
from chaind.primitives.codec import Decoder, encode
from chaind.primitives.votes import Certificate, Vote


class _VoteRecord(Struct, array_like=True, frozen=True, tag=0, forbid_unknown_fields=True):
    vote: Vote


class _CertificateRecord(Struct, array_like=True, frozen=True, tag=1, forbid_unknown_fields=True):
    certificate: Certificate


_decoder: Decoder[_VoteRecord | _CertificateRecord] = Decoder(
    "consensus record", _VoteRecord | _CertificateRecord
)


def encode_record(record: Record) -> bytes:
    """Canonical bytes of one record."""
    if isinstance(record, Vote):
        return encode(_VoteRecord(record))
    return encode(_CertificateRecord(record))


def decode_record(data: bytes) -> Record:
    """The record of `data`. Raises `Undecodable` or `NonCanonical`."""
    record = _decoder.decode(data)
    return record.vote if isinstance(record, _VoteRecord) else record.certificate
