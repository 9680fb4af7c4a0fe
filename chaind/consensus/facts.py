"""What one node knows: votes, certificates, bodies, decisions, and the view it is in.

Facts only grow, until a decision makes them worthless. Taking one in may complete a certificate or
decide a block; it never makes the node say anything: that is for the rules (`simplex.py`).
"""

from typing import Final

from chaind.consensus.core import (
    BlockRef,
    Check,
    Evidence,
    Fetch,
    Halt,
    Propose,
    Report,
    Verdict,
)
from chaind.consensus.outbox import Outbox
from chaind.consensus.quorums import Quorums
from chaind.consensus.views import PROPOSALS_MAX, Chain
from chaind.primitives.votes import Certificate, CertificateKind, Vote, VoteKind

WINDOW = 32  # views ahead of ours for which votes are kept; further on, a certificate is needed
DECISIONS_MAX = 32  # decided blocks whose bodies are awaited; a node far behind needs the ends only

DECISIVE: Final = (CertificateKind.FINAL, CertificateKind.FAST)
_FORMS: Final[dict[VoteKind, tuple[CertificateKind, ...]]] = {  # the strongest first
    VoteKind.FIRST: (CertificateKind.FAST, CertificateKind.NOTAR),
    VoteKind.FALLBACK: (CertificateKind.NOTAR,),
    VoteKind.NULLIFY: (CertificateKind.NULL,),
    VoteKind.FINALIZE: (CertificateKind.FINAL,),
}
_FORMS_NULL: Final = (CertificateKind.NULL,)


class Body:
    """A block whose body matters: the newest view it was seen in, and what is known of it."""

    __slots__ = ("checking", "fetching", "verdict", "view")

    def __init__(self, view: int) -> None:
        self.view = view
        self.fetching = False  # whether a certificate or enough votes say that others hold it
        self.checking = False  # whether `Check` went out, which tells more than a `Fetch`
        self.verdict: Verdict | None = None


class Facts:
    """The memory of a core. `view` is the current one; 0, or the last final one, before Start."""

    def __init__(
        self, *, epoch: int, quorums: Quorums, me: int | None, final_hash: bytes, final_view: int
    ) -> None:
        self.epoch = epoch
        self.quorums = quorums
        self.me = me
        self.view = final_view
        self.entered_by: Certificate | None = None  # the certificate that led to `view`
        self.sender: int | None = None  # of the message in hand
        self.final_hash = final_hash  # of the last block delivered
        self.final_view = final_view
        self.chain = Chain(quorums, final_view, final_hash)
        self.bodies: dict[bytes, Body] = {}
        self.decisions: list[tuple[Certificate, int]] = []  # undelivered; the seq to wait for
        self.top: Certificate | None = None  # of the highest view held
        self.recheck: set[int] = set()  # ended views in which rule 6 may have something to say
        self.halted = False
        self.out = Outbox(me)

    # Queries. What is not wanted now will not be wanted later, the window apart.

    def wants_vote(self, vote: Vote) -> bool:
        """Whether the vote counts here, or convicts its voter for the first time."""
        if (
            vote.epoch != self.epoch
            or not self.chain.base_view < vote.view <= self.view + WINDOW
            or vote.voter >= len(self.quorums.weights)
        ):
            return False
        view = self.chain.views.get(vote.view)
        return view is None or view.tally.wants(vote)

    def wants_certificate(self, certificate: Certificate) -> bool:
        """Whether the certificate ends a view, decides a block, or fills a gap here."""
        if certificate.epoch != self.epoch or certificate.view <= self.chain.base_view:
            return False
        view = self.chain.views.get(certificate.view)
        return view is None or view.lacks(certificate.kind, certificate.block)

    def wants_proposal(self, proposal: Propose, leader: int) -> bool:
        """Whether the proposal is that leader's, and of a block not yet proposed to us."""
        block, vote = proposal.block, proposal.vote
        said = (vote.epoch, vote.view, vote.kind, vote.block, vote.voter)
        if (
            said != (self.epoch, block.view, VoteKind.FIRST, block.hash, leader)
            or not self.chain.base_view < block.view <= self.view + WINDOW
        ):
            return False
        view = self.chain.views.get(block.view)
        return view is None or (
            len(view.proposals) < PROPOSALS_MAX and block.hash not in view.proposals
        )

    def verdict(self, block_hash: bytes) -> Verdict | None:
        """What is known of a body; the last final block needs no check."""
        if block_hash == self.final_hash:
            return Verdict.OK
        body = self.bodies.get(block_hash)
        return None if body is None else body.verdict

    def valid(self, block_hash: bytes) -> bool:
        """Whether a body is held and valid, timely or not: enough for all but FIRST."""
        return self.verdict(block_hash) in (Verdict.OK, Verdict.UNTIMELY)

    @property
    def unfinished(self) -> bool:
        """Whether a certified block is not decided."""
        return self.chain.notar_view > self.chain.base_view

    # Votes and certificates.

    def hear(self, vote: Vote) -> None:
        """A vote from outside. An own one was said by another run of this node: it binds."""
        if self.wants_vote(vote):
            if vote.voter == self.me:
                self.out.log(vote, vote.block)
            self.take_vote(vote)

    def take_vote(self, vote: Vote) -> None:
        """Count a wanted vote, and build the certificate that it completes."""
        view = self.chain.at(vote.view)
        other = view.tally.add(vote)
        if other is not None:
            self.out.act(Report(Evidence(other, vote)))
        for kind in _FORMS[vote.kind] if vote.block is not None else _FORMS_NULL:
            if view.tally.proves(kind, vote.block) and view.lacks(kind, vote.block):
                certificate = view.tally.certificate(kind, self.epoch, vote.view, vote.block)
                self.take_certificate(certificate, self.out.log(certificate))
                return

    def learn(self, certificate: Certificate) -> None:
        """A certificate from outside. Its votes count as if each had arrived by itself."""
        if not self.wants_certificate(certificate):
            return
        self.take_certificate(certificate, self.out.log(certificate))
        self.take_votes_of(certificate)

    def take_votes_of(self, certificate: Certificate) -> None:
        """The votes inside, those that are news."""
        if certificate.view > self.chain.base_view and not self.halted:
            for vote in certificate.votes():
                if self.wants_vote(vote):
                    self.take_vote(vote)

    def take_certificate(self, certificate: Certificate, seq: int) -> None:
        """Keep a wanted certificate, durable with `seq`."""
        view = self.chain.at(certificate.view)
        if not view.add(certificate):
            self.halt(f"view {certificate.view} has a final block and a conflicting certificate")
            return
        if self.top is None or certificate.view > self.top.view:
            self.top = certificate
        block = certificate.block
        if block is not None:
            self.chain.notar_view = max(self.chain.notar_view, certificate.view)
            self.need_body(block, certificate.view)
            if self.verdict(block) is Verdict.NEVER:
                self.halt_on_divergence(block)
        if certificate.kind in DECISIVE:
            self._decide(certificate, seq)
        else:
            self.recheck.add(certificate.view)

    def _decide(self, certificate: Certificate, seq: int) -> None:
        self.chain.rebase(certificate)
        if len(self.decisions) == DECISIONS_MAX:
            self.decisions.pop()
        self.decisions.append((certificate, seq))
        self._prune_bodies()

    def pop_deliverable(self) -> Certificate | None:
        """Rule 7: the newest decision that is durable and held; those before it go with it."""
        for index in range(len(self.decisions) - 1, -1, -1):
            certificate, seq = self.decisions[index]
            block = certificate.block
            assert block is not None
            if seq <= self.out.durable and self.valid(block):
                self.final_hash, self.final_view = block, certificate.view
                del self.decisions[: index + 1]
                self._prune_bodies()
                return certificate
        return None

    # Bodies.

    def need_body(self, block_hash: bytes, view: int) -> None:
        """Have the body completed or fetched, once, of a block that honest validators hold."""
        body = self.bodies.get(block_hash)
        if body is None:
            if block_hash == self.final_hash:
                return
            body = self.bodies[block_hash] = Body(view)
        body.view = max(body.view, view)
        if body.fetching or body.verdict is not None:
            return
        body.fetching = True
        known = self.chain.at(view).proposals.get(block_hash)
        if known is None or body.checking:
            self.out.act(Fetch(block_hash, self.sender))
        else:
            self.check(known)

    def check(self, block: BlockRef) -> None:
        """Have a proposed block checked, once."""
        body = self.bodies.setdefault(block.hash, Body(block.view))
        if body.verdict is None and not body.checking:
            body.checking = True
            self.out.act(Check(block))

    def take_verdict(self, block_hash: bytes, verdict: Verdict) -> None:
        """Execution has spoken; nothing where the block is no longer of interest."""
        body = self.bodies.get(block_hash)
        if body is None:
            return
        body.verdict = verdict
        certified = [n for n, view in self.chain.views.items() if block_hash in view.notars]
        self.recheck.update(certified)
        decided = any(certificate.block == block_hash for certificate, _ in self.decisions)
        if verdict is Verdict.NEVER and (certified or decided):
            self.halt_on_divergence(block_hash)

    def _prune_bodies(self) -> None:
        awaited = {certificate.block for certificate, _ in self.decisions}
        base = self.chain.base_view
        self.bodies = {
            block: body
            for block, body in self.bodies.items()
            if body.view > base or block in awaited
        }

    def halt_on_divergence(self, block_hash: bytes) -> None:
        """A quorum has honest voters who checked the block: this node is the one that errs."""
        self.halt(f"block {block_hash.hex()} is certified by a quorum but invalid here")

    def halt(self, reason: str) -> None:
        """Stop for good."""
        if not self.halted:
            self.halted = True
            self.out.act(Halt(reason))
