"""f validators in one hand, for random schedules."""

from __future__ import annotations

from typing import TYPE_CHECKING

from simplex_kit import EPOCH, digest, signer

from chaind.consensus.core import BlockRef, Certificates, CoreMessage, Propose, Votes
from chaind.consensus.tally import Tally
from chaind.primitives.votes import CertificateKind, Vote, VoteKind

if TYPE_CHECKING:
    from simplex_network import Network


class Chaos:
    """f validators' keys in one hand: any vote to anyone, certificates from all it has seen."""

    def __init__(self, net: Network, keys: list[int]) -> None:
        self.net = net
        self.keys = keys
        self.tallies: dict[int, Tally] = {}
        self.blocks: list[BlockRef] = []
        self.budget = 1500  # messages; enough to reach every view of a run

    def receive(self, sender: int, message: CoreMessage) -> None:
        """Learn, and now and then say something."""
        votes: list[Vote] = []
        if isinstance(message, Votes):
            votes = list(message.votes)
        if isinstance(message, Propose):
            votes = [message.vote]
            self.blocks = [*self.blocks[-5:], message.block]
        for vote in votes:
            self.count(vote)
        if votes and self.budget > 0 and self.net.random.random() < 0.4:
            self.act(votes[0].view)

    def count(self, vote: Vote) -> None:
        """Remember a vote, for certificates."""
        tally = self.tallies.setdefault(vote.view, Tally(self.net.honest_quorums))
        if tally.wants(vote):
            tally.add(vote)

    def act(self, near: int) -> None:
        """One hostile deed."""
        random, net = self.net.random, self.net
        self.budget -= 1
        view = max(1, near + random.choice((-1, 0, 0, 0, 1)))
        key = random.choice(self.keys)
        if random.random() < 0.15 and view % net.n in self.keys and self.blocks:
            return self.propose(view)
        target = net.random_honest()
        known = [block.hash for block in self.blocks if block.view == view]
        kind = random.choice(list(VoteKind))
        block = random.choice(known) if known else None
        if kind is VoteKind.NULLIFY or (kind is VoteKind.FIRST and random.random() < 0.4):
            block = None
        elif block is None:
            return None
        vote = Vote(EPOCH, view, kind, block, key, signer(key)(kind, view, block))
        self.count(vote)
        net.post(key, target, Votes((vote,)))
        return self.certify(view, block)

    def propose(self, view: int) -> None:
        """Equivocate as the leader: two blocks, each shown to some."""
        net, random = self.net, self.net.random
        parent = random.choice(self.blocks)
        if parent.view >= view or parent.hash not in net.world.blocks:
            return
        why = tuple(
            tally.certificate(kind, EPOCH, number, block)
            for number, tally in self.tallies.items()
            if parent.view <= number < view
            for kind in (CertificateKind.NOTAR, CertificateKind.NULL)
            for block in ([parent.hash] if kind is CertificateKind.NOTAR else [None])
            if tally.proves(kind, block)
        )
        for twin in "xy":
            name = f"{view}.{twin}.{self.budget}"
            block = BlockRef(digest(name), view, parent.hash, parent.view)
            net.world.add(block)
            net.hostile_bodies.held.add(block.hash)
            self.blocks.append(block)
            leader = view % net.n
            sign = signer(leader)(VoteKind.FIRST, view, block.hash)
            first = Vote(EPOCH, view, VoteKind.FIRST, block.hash, leader, sign)
            for node in net.nodes:
                if node.honest and random.random() < 0.5:
                    net.post(leader, node, Propose(block, why, first))

    def certify(self, view: int, block: bytes | None) -> None:
        """A certificate that the stolen keys complete, shown to one node only."""
        tally = self.tallies[view]
        kinds = [CertificateKind.NULL] if block is None else list(CertificateKind)
        for kind in kinds:
            if (kind is CertificateKind.NULL) == (block is None) and tally.proves(kind, block):
                proof = tally.certificate(kind, EPOCH, view, block)
                self.net.post(self.keys[0], self.net.random_honest(), Certificates((proof,)))


class Library:
    """Holds the bodies that the adversary made, so that they can be fetched."""

    up = True

    def __init__(self) -> None:
        self.held: set[bytes] = set()
