"""The votes of one view, counted.

Only the first FIRST and the first FINALIZE of a voter count, and no more FALLBACKs of a voter are
kept than an honest one can have reason for; a voter stands once behind each claim. Sums are kept as
votes come, so that a vote costs a few dictionary operations whatever the number of validators.
"""

from collections import defaultdict
from collections.abc import Iterator

from chaind.consensus.evidence import contradict
from chaind.consensus.quorums import Quorums
from chaind.primitives.votes import (
    CERTIFICATE_VOTES,
    Certificate,
    CertificateKind,
    Vote,
    VoteKind,
    bitmap,
)


class Tally:
    """Votes of one view by kind and voter; weights by block, ⊥ being None."""

    __slots__ = (
        "accused",
        "fallbacks",
        "finalize_weight",
        "finalizes",
        "first_weight",
        "firsts",
        "firsts_weight",
        "nullifies",
        "quorums",
        "support",
    )

    def __init__(self, quorums: Quorums) -> None:
        self.quorums = quorums
        self.firsts: dict[int, Vote] = {}
        self.fallbacks: dict[int, tuple[Vote, ...]] = {}
        self.nullifies: dict[int, Vote] = {}
        self.finalizes: dict[int, Vote] = {}
        self.accused: set[int] = set()  # voters whose misbehaviour was reported
        self.firsts_weight = 0
        self.first_weight: defaultdict[bytes | None, int] = defaultdict(int)
        # FIRST(b) or FALLBACK(b) for a block, FIRST(⊥) or NULLIFY for None.
        self.support: defaultdict[bytes | None, int] = defaultdict(int)
        self.finalize_weight: defaultdict[bytes | None, int] = defaultdict(int)

    def wants(self, vote: Vote) -> bool:
        """Whether the vote would count, or convict its voter for the first time."""
        voter = vote.voter
        if vote.kind is VoteKind.FALLBACK:
            held = self.fallbacks.get(voter, ())
            return len(held) < self.quorums.fallbacks_max and all(
                one.block != vote.block for one in held
            )
        if vote.kind is VoteKind.NULLIFY:
            return voter not in self.nullifies
        one = (self.firsts if vote.kind is VoteKind.FIRST else self.finalizes).get(voter)
        return one is None or (one.block != vote.block and voter not in self.accused)

    def add(self, vote: Vote) -> Vote | None:
        """Count a wanted vote; an earlier vote of the voter that it contradicts, told once."""
        voter, block = vote.voter, vote.block
        weight = self.quorums.weights[voter]
        match vote.kind:
            case VoteKind.FIRST:
                if voter not in self.firsts:
                    if not self._supports(voter, block):
                        self.support[block] += weight
                    self.firsts[voter] = vote
                    self.firsts_weight += weight
                    self.first_weight[block] += weight
            case VoteKind.FALLBACK:
                if not self._supports(voter, block):
                    self.support[block] += weight
                self.fallbacks[voter] = (*self.fallbacks.get(voter, ()), vote)
            case VoteKind.NULLIFY:
                if not self._supports(voter, None):
                    self.support[None] += weight
                self.nullifies[voter] = vote
            case VoteKind.FINALIZE:
                if voter not in self.finalizes:
                    self.finalizes[voter] = vote
                    self.finalize_weight[block] += weight
        if voter in self.accused:
            return None
        for one in self.of(voter):
            if contradict(one, vote):
                self.accused.add(voter)
                return one
        return None

    def of(self, voter: int) -> Iterator[Vote]:
        """The kept votes of one voter, in the order of their kinds."""
        if (first := self.firsts.get(voter)) is not None:
            yield first
        yield from self.fallbacks.get(voter, ())
        if (nullify := self.nullifies.get(voter)) is not None:
            yield nullify
        if (finalize := self.finalizes.get(voter)) is not None:
            yield finalize

    def proves(self, kind: CertificateKind, block: bytes | None) -> bool:
        """Whether the votes held add up to this certificate."""
        if kind is CertificateKind.FAST:
            return self.first_weight[block] >= self.quorums.fast
        weights = self.finalize_weight if kind is CertificateKind.FINAL else self.support
        return weights[block] >= self.quorums.quorum

    def certificate(
        self, kind: CertificateKind, epoch: int, view: int, block: bytes | None
    ) -> Certificate:
        """The certificate of all votes held for it. A voter's FIRST stands before its second."""
        secondary_kind = CERTIFICATE_VOTES[kind][1]
        finalizes = kind is CertificateKind.FINAL
        primary = [
            vote
            for vote in (self.finalizes if finalizes else self.firsts).values()
            if vote.block == block
        ]
        counted = {vote.voter for vote in primary}
        secondary: list[Vote] = []
        if secondary_kind is VoteKind.NULLIFY:
            secondary = [one for one in self.nullifies.values() if one.voter not in counted]
        elif secondary_kind is VoteKind.FALLBACK:
            secondary = [
                one
                for held in self.fallbacks.values()
                for one in held
                if one.block == block and one.voter not in counted
            ]
        primary.sort(key=_voter)
        secondary.sort(key=_voter)
        return Certificate(
            epoch,
            view,
            kind,
            block,
            bitmap([vote.voter for vote in primary]),
            bitmap([vote.voter for vote in secondary]),
            tuple(vote.signature for vote in (*primary, *secondary)),
        )

    def _supports(self, voter: int, block: bytes | None) -> bool:
        """Whether the voter already stands behind the block (⊥: behind ending the view)."""
        first = self.firsts.get(voter)
        if first is not None and first.block == block:
            return True
        if block is None:
            return voter in self.nullifies
        return any(one.block == block for one in self.fallbacks.get(voter, ()))


def _voter(vote: Vote) -> int:
    return vote.voter
