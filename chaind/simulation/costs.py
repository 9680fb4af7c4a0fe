"""What things cost in a crowd: time of processors and disks, bytes on lines.

The check of a signature costs what it was measured to; the other times are assumed. Bytes are those
of the wire, near enough.
"""

from chaind.consensus.core import (
    Certificates,
    CoreMessage,
    GetCertificates,
    Propose,
    StatusMessage,
    Votes,
)
from chaind.primitives.votes import Certificate, VoteBundle

VERIFY_MS = 0.035  # one signature check
MESSAGE_MS = 0.02  # to decrypt and decode one message, beside its signatures
SYNC_MS = 1.0
EXECUTE_MS = 2.0  # to build a block, or to complete and check one
JITTER_MS = 0.1  # on the mean, of each message; exponential
BYTES_PER_MS = 12_500  # of a node's line outwards: 100 Mbit/s
FRAME_BYTES = 60  # headers, length and seal of a message, its tag and small integers
SIGNATURE_BYTES = 66  # with its MessagePack header
VOTE_BYTES = 110
PROPOSAL_BYTES = 300  # header, coinbase and commitment; transactions by id
ID_BYTES = 34

Sent = CoreMessage | tuple[VoteBundle, ...]


def size_of(message: Sent, body_bytes: int) -> int:
    """Encoded bytes of a message, near enough; the frame apart."""
    match message:
        case tuple():
            return sum(map(_bundle_bytes, message))
        case Votes(votes):
            return VOTE_BYTES * len(votes)
        case Certificates(certificates):
            return sum(map(_certificate_bytes, certificates))
        case Propose(_, why, _):
            return VOTE_BYTES + body_bytes + sum(map(_certificate_bytes, why))
        case StatusMessage() | GetCertificates():
            return 50


def _bundle_bytes(bundle: VoteBundle) -> int:
    return 45 + len(bundle.voters) + SIGNATURE_BYTES * len(bundle.signatures)


def _certificate_bytes(one: Certificate) -> int:
    bitmaps = len(one.primary) + len(one.secondary)
    return 50 + bitmaps + SIGNATURE_BYTES * len(one.signatures)
