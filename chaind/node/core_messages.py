"""What the consensus core says, as it goes over the wire."""

from collections.abc import Callable

from chaind.consensus.core import (
    Certificates,
    CoreMessage,
    GetCertificates,
    Propose,
    StatusMessage,
    Votes,
)
from chaind.network import messages as wire
from chaind.node.chain import Chain
from chaind.node.rules import EPOCH


def to_wire(message: CoreMessage, chain: Chain, status: Callable[[], wire.Status]) -> wire.Message:
    """The message of the wire; a proposal with what peers need to find its block."""
    match message:
        case Votes(votes):
            return wire.Votes(votes)
        case Certificates(certificates):
            return wire.Certificates(certificates)
        case StatusMessage():
            return status()
        case GetCertificates(from_view, to_view):
            return wire.GetCertificates(EPOCH, from_view, to_view)
        case Propose(ref, justification, vote):
            candidate = chain.candidate(ref.hash)
            if candidate is None:  # final meanwhile: the votes alone still tell
                return wire.Votes((vote,))
            block = candidate.body.block
            wtxids = tuple(transaction.wtxid for transaction in block.transactions)
            return wire.Proposal(
                block.header_bytes,
                block.coinbase_bytes,
                block.commitment_bytes,
                wtxids,
                ref.parent_view,
                justification,
                vote,
            )
