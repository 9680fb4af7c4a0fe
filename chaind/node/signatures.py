"""Signatures of votes and certificates, checked before the core hears of them."""

from collections.abc import Callable, Sequence

from chaind.consensus.quorums import Quorums, check_certificate
from chaind.ledger.errors import BadSignature
from chaind.primitives.keys import verify as verify_signature
from chaind.primitives.votes import Certificate, Vote, check_certificate_form, vote_digest

Verify = Callable[[bytes, bytes, bytes], bool]  # public key, digest, signature


class SignatureChecker:
    """Votes and certificates of one epoch's validators; `keys` by voter index."""

    def __init__(
        self,
        chain_hash: bytes,
        keys: Sequence[bytes],
        quorums: Quorums,
        verify: Verify = verify_signature,
    ) -> None:
        self._chain_hash = chain_hash
        self._keys = tuple(keys)
        self.quorums = quorums
        self._verify = verify

    def is_validator(self, key: bytes) -> bool:
        """Whether a public key votes in this epoch."""
        return key in self._keys

    def check_vote(self, vote: Vote) -> None:
        """Raise `BadSignature` unless the voter signed this vote."""
        if vote.voter >= len(self._keys):
            raise BadSignature(key=f"of voter {vote.voter}, who does not exist")
        digest = vote_digest(self._chain_hash, vote.epoch, vote.view, vote.kind, vote.block)
        if not self._verify(self._keys[vote.voter], digest, vote.signature):
            raise BadSignature(key=self._keys[vote.voter].hex())

    def check_certificate(self, certificate: Certificate) -> None:
        """Raise unless form, quorum and every signature are right."""
        check_certificate_form(certificate)
        check_certificate(certificate, self.quorums)
        for vote in certificate.votes():
            self.check_vote(vote)
