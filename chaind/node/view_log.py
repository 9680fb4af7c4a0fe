"""The last views as this node saw them: whose votes counted, and how each view ended.

For people to look at; nothing rests on it. Votes that came after a view was decided are never
checked, so they are not here: who is missing was later than the quorum, not necessarily silent.
"""

from collections.abc import Sequence
from typing import NamedTuple

from chaind.consensus.core import Certificates, CoreMessage, Evidence, Propose, Record, Votes
from chaind.primitives.votes import (
    CERTIFICATE_VOTES,
    Certificate,
    CertificateKind,
    Vote,
    VoteKind,
)

VIEWS_MAX = 100  # some seconds of a busy chain, minutes of an idle one

# The strongest certificate held of a view says how it ended.
_RANK = {
    CertificateKind.NULL: 0,
    CertificateKind.NOTAR: 1,
    CertificateKind.FINAL: 2,
    CertificateKind.FAST: 3,
}


class ViewRecord(NamedTuple):
    """One view. Voters are bits: bit i is validator i. FIRST(⊥) stands under NULLIFY.

    `kind` is that of the strongest certificate held, None while there is none; `block` its block.
    """

    view: int
    voters: dict[VoteKind, int]
    kind: CertificateKind | None
    block: bytes | None

    def add(self, kind: VoteKind, block: bytes | None, voters: int) -> None:
        """These voters said this."""
        shown = VoteKind.NULLIFY if block is None else kind
        self.voters[shown] = self.voters.get(shown, 0) | voters

    def heard(self) -> int:
        """Whoever said anything."""
        bits = 0
        for voters in self.voters.values():
            bits |= voters
        return bits


class ViewLog:
    """See the module's law. The engine tells it what it has checked or logged."""

    def __init__(self) -> None:
        self._views: dict[int, ViewRecord] = {}
        self.evidence: dict[int, int] = {}  # proofs of misbehaviour seen, by voter

    def heard(self, message: CoreMessage) -> None:
        """A peer's message whose signatures were checked."""
        match message:
            case Votes(votes):
                for vote in votes:
                    self._vote(vote)
            case Certificates(certificates):
                for certificate in certificates:
                    self._certificate(certificate)
            case Propose(vote=vote):
                self._vote(vote)

    def logged(self, records: Sequence[Record]) -> None:
        """Own votes, and certificates that were built or learnt."""
        for record in records:
            if isinstance(record, Vote):
                self._vote(record)
            else:
                self._certificate(record)

    def accused(self, evidence: Evidence) -> None:
        """Somebody misbehaved, provably."""
        voter = evidence.first.voter
        self.evidence[voter] = self.evidence.get(voter, 0) + 1

    def newest(self) -> list[ViewRecord]:
        """All that are kept, the newest first."""
        return [self._views[view] for view in sorted(self._views, reverse=True)]

    def _at(self, view: int) -> ViewRecord | None:
        """The record of a view, made when first spoken of; None for one too old to be kept."""
        record = self._views.get(view)
        if record is None:
            if len(self._views) >= VIEWS_MAX:
                oldest = min(self._views)
                if view < oldest:
                    return None
                del self._views[oldest]
            record = self._views[view] = ViewRecord(view, {}, None, None)
        return record

    def _vote(self, vote: Vote) -> None:
        record = self._at(vote.view)
        if record is not None:
            record.add(vote.kind, vote.block, 1 << vote.voter)

    def _certificate(self, certificate: Certificate) -> None:
        record = self._at(certificate.view)
        if record is None:
            return
        bitmaps = (certificate.primary, certificate.secondary)
        for kind, bitmap in zip(CERTIFICATE_VOTES[certificate.kind], bitmaps, strict=True):
            if kind is not None:
                record.add(kind, certificate.block, int.from_bytes(bitmap, "little"))
        if record.kind is None or _RANK[certificate.kind] > _RANK[record.kind]:
            self._views[certificate.view] = record._replace(
                kind=certificate.kind, block=certificate.block
            )
