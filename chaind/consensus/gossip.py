"""Votes over an overlay: what each neighbour is not known to hold, and no more than it needs.

Votes are kept by the certificate that they add up to, a *proof*: NOTAR(b), NULL or FINAL(b) of a
view. Of each proof and neighbour a bitmap remembers whose votes the neighbour holds. `flush` makes
one bundle for each neighbour with all that is news to it; once a proof is complete here, with just
as much as completes it there, and with nothing once it is complete there. Neighbours thus tell each
other certificates at the price of what is missing of them.

The shell sets the pace: it flushes `FLUSH_MS` after `waiting` became true, and at once where
`urgent`. It checks signatures between `news` and `took`. Bitmaps come before signatures: what is
held already costs neither a check nor a vote's making. Links carry messages in order and without
loss, or break; what a node says a second time was missed, and is sent again.
"""

from collections.abc import Iterable, Iterator, Sequence

from chaind.consensus.core import Propose
from chaind.consensus.quorums import Quorums
from chaind.primitives.votes import (
    CERTIFICATE_VOTES,
    Certificate,
    CertificateKind,
    Vote,
    VoteBundle,
    VoteKind,
    bitmap_indices,
)

FLUSH_MS = 10  # news of so long travel together
TURNS = 2  # a flush serves every second neighbour: the others may hear meanwhile from elsewhere
VIEWS_MAX = 64  # above the last final one, the newest; older ones are told by certificates
SIGNATURES_MAX = 4_096  # of one message: a vote of every validator that a chain can have
BUNDLES_MAX = 256  # likewise; two of a proof, three proofs of a view

_Key = tuple[int, CertificateKind, bytes | None]


def _part(kind: VoteKind, block: bytes | None) -> tuple[CertificateKind, int]:
    """The proof that a vote counts for, and in which of its two bitmaps."""
    if kind is VoteKind.FINALIZE:
        return CertificateKind.FINAL, 0
    proves = CertificateKind.NULL if block is None else CertificateKind.NOTAR
    return proves, 0 if kind is VoteKind.FIRST else 1


class _Link:
    """A neighbour: in which flushes it is served, and its view when it last told, -1 before."""

    __slots__ = ("turn", "view")

    def __init__(self, turn: int) -> None:
        self.turn = turn
        self.view = -1


class _Known:
    """Whose votes a neighbour holds, by part: those that it sent, and those with ours to it."""

    __slots__ = ("heard", "held")

    def __init__(self) -> None:
        self.heard = [0, 0]
        self.held = [0, 0]

    @property
    def voters(self) -> int:
        return self.held[0] | self.held[1]


class _Proof:
    """The votes held for one certificate, and who of the neighbours knows which."""

    __slots__ = ("complete", "held", "key", "known", "signatures")

    def __init__(self, key: _Key) -> None:
        self.key = key
        self.held = [0, 0]
        self.signatures: tuple[dict[int, bytes], dict[int, bytes]] = ({}, {})
        self.known: dict[int, _Known] = {}
        self.complete = False

    def of(self, link: int) -> _Known:
        known = self.known.get(link)
        if known is None:
            known = self.known[link] = _Known()
        return known

    def bundles(self, epoch: int, parts: Sequence[int]) -> Iterator[VoteBundle]:
        """The votes of these voters, by part."""
        view, kind, block = self.key
        for vote_kind, bits, signatures in zip(
            CERTIFICATE_VOTES[kind], parts, self.signatures, strict=True
        ):
            if bits and vote_kind is not None:
                voters = _bytes(bits)
                told = tuple([signatures[voter] for voter in bitmap_indices(voters)])
                yield VoteBundle(epoch, view, vote_kind, block, voters, told)

    def certificate(self, epoch: int) -> Certificate:
        """Of all votes held; a voter's FIRST stands before its second vote."""
        view, kind, block = self.key
        parts = [self.held[0], self.held[1] & ~self.held[0]]
        signatures = [
            held[voter]
            for held, bits in zip(self.signatures, parts, strict=True)
            for voter in bitmap_indices(_bytes(bits))
        ]
        primary, secondary = map(_bytes, parts)
        return Certificate(epoch, view, kind, block, primary, secondary, tuple(signatures))


class Gossip:
    """See the module's law. Links are opaque numbers of the shell."""

    def __init__(self, *, epoch: int, quorums: Quorums) -> None:
        self._epoch = epoch
        self._quorums = quorums
        weights = quorums.weights
        self._everyone = (1 << len(weights)) - 1
        self._each = weights[0] if len(set(weights)) == 1 else None  # what each one weighs
        self._links: dict[int, _Link] = {}
        self._links_total = 0
        self._proofs: dict[_Key, _Proof] = {}
        # What has news, for the neighbours of each turn.
        self._dirty: tuple[dict[_Key, _Proof], ...] = tuple({} for _ in range(TURNS))
        self._turn = 0
        self._proposals: dict[tuple[int, bytes], set[int]] = {}  # the links that hold it
        self._floor = 0  # nothing up to this view is kept
        self._top = 0  # the newest view kept
        self.urgent = False  # a proof has become complete since the last flush
        self._completed: list[_Proof] = []

    @property
    def waiting(self) -> bool:
        """Whether `flush` may find something."""
        return any(self._dirty)

    # Neighbours.

    def link_up(self, link: int) -> None:
        """A neighbour that is not known to hold anything."""
        self._links[link] = _Link(self._links_total % TURNS)
        self._links_total += 1
        self._has_news(self._proofs)

    def link_down(self, link: int) -> None:
        """A neighbour less, and all that was known of it."""
        del self._links[link]
        for proof in self._proofs.values():
            proof.known.pop(link, None)
        for holders in self._proposals.values():
            holders.discard(link)

    # What this node says to all.

    def say_votes(self, votes: Iterable[Vote]) -> None:
        """Own votes. What is said again goes once more to those not heard to hold it."""
        for vote in votes:
            kind, part = _part(vote.kind, vote.block)
            proof = self._proofs.get((vote.view, kind, vote.block))
            if proof is not None and proof.held[part] >> vote.voter & 1:
                for known in proof.known.values():
                    known.held[part] &= known.heard[part] | ~(1 << vote.voter)
                self._has_news({proof.key: proof})
        self.took(None, votes)

    def say_certificates(self, certificates: Iterable[Certificate]) -> None:
        """Certificates for all: neighbours are told what they lack of them.

        Said again they are not sent again: whoever still lacks them asks, once it hears the STATUS
        that a node repeats with them.
        """
        for certificate in certificates:
            self.took(None, certificate.votes())

    def spread(
        self, proposal: Propose, source: int | None
    ) -> list[tuple[int, tuple[Certificate, ...]]]:
        """Pass on a proposal, own or heard from `source`: to whom, with which certificates.

        Those that a neighbour holds are left out; one that lacks them after all asks.
        """
        view = proposal.block.view
        name = (view, proposal.block.hash)
        if source is None:
            self._proposals.pop(name, None)  # an own one that is said again was missed
        holders = self._proposals.setdefault(name, set() if source is None else {source})
        self.took(source, (proposal.vote,))
        proof = self._proofs.get((view, CertificateKind.NOTAR, proposal.block.hash))
        found = []
        for link in self._links:
            if link not in holders:
                why = tuple(one for one in proposal.justification if self._lacks(link, one))
                found.append((link, why))
                holders.add(link)
                if proof is not None:
                    proof.of(link).held[0] |= 1 << proposal.vote.voter
        return found

    # What neighbours say.

    def news(self, link: int, bundle: VoteBundle) -> list[Vote]:
        """The votes of a bundle that are not held here; their signatures are still to be checked.

        Nothing is kept of what nobody has signed: memory is for `took` to take.
        """
        kind, part = _part(bundle.kind, bundle.block)
        proof = self._proofs.get((bundle.view, kind, bundle.block))
        if bundle.epoch != self._epoch or bundle.view <= self._floor:
            return []
        if proof is None:
            return list(bundle.votes())
        bits = int.from_bytes(bundle.voters, "little") & self._everyone
        self._hold(proof, link, part, bits)
        fresh = bits & ~proof.held[part]
        if not fresh:
            return []
        epoch, view, vote_kind, block = bundle.epoch, bundle.view, bundle.kind, bundle.block
        return [
            Vote(epoch, view, vote_kind, block, voter, signature)
            for voter, signature in zip(
                bitmap_indices(bundle.voters), bundle.signatures, strict=True
            )
            if fresh >> voter & 1
        ]

    def heard_proposal(self, link: int, proposal: Propose) -> None:
        """The neighbour holds a proposal that is passed on already."""
        holders = self._proposals.get((proposal.block.view, proposal.block.hash))
        if holders is not None and link in self._links:
            holders.add(link)

    def took(self, link: int | None, votes: Iterable[Vote]) -> None:
        """Votes that are true, from a neighbour or our own: to be told to all who lack them."""
        touched: dict[_Key, _Proof] = {}
        for vote in votes:
            if vote.view <= self._floor or vote.epoch != self._epoch:
                continue
            kind, part = _part(vote.kind, vote.block)
            key = (vote.view, kind, vote.block)
            proof = self._proofs.get(key)
            if proof is None:
                proof = self._proofs[key] = _Proof(key)
                self._raise_top(vote.view)
            bit = 1 << vote.voter
            if link is not None:
                self._hold(proof, link, part, bit)
            if not proof.held[part] & bit:
                proof.held[part] |= bit
                proof.signatures[part][vote.voter] = vote.signature
                touched[key] = proof
        self._has_news(touched)
        for proof in touched.values():
            if not proof.complete and self._enough(proof, proof.held[0] | proof.held[1]):
                proof.complete = True
                self.urgent = True
                self._completed.append(proof)

    def heard_status(self, link: int, view: int) -> None:
        """A neighbour tells where it stands. One that has not moved since it last did is stuck.

        Then it may have missed what was sent: it is told again all that it is not heard to hold.
        """
        neighbour = self._links.get(link)
        if neighbour is None:
            return
        stuck, neighbour.view = neighbour.view == view, view
        if stuck:
            for key, proof in self._proofs.items():
                known = proof.known.get(link)
                if key[0] >= view and known is not None:
                    known.held = list(known.heard)
                    self._has_news({key: proof})

    def completed(self) -> list[Certificate]:
        """The certificates that have come together since this was last asked.

        A core that has heard another first vote of a double voter may lack one of them.
        """
        done, self._completed = self._completed, []
        return [proof.certificate(self._epoch) for proof in done]

    # Outwards.

    def flush(self) -> list[tuple[int, tuple[VoteBundle, ...]]]:
        """What neighbours are not known to hold, in messages of bounded size.

        All neighbours where `urgent`; otherwise those whose turn it is.
        """
        turns = range(TURNS) if self.urgent else (self._turn,)
        self._turn = (self._turn + 1) % TURNS
        self.urgent = False
        found = []
        for turn in turns:
            dirty = list(self._dirty[turn].values())
            self._dirty[turn].clear()
            for link, neighbour in self._links.items():
                if dirty and neighbour.turn == turn:
                    found += [(link, bundles) for bundles in self._messages(dirty, link)]
        return found

    def _messages(self, dirty: list[_Proof], link: int) -> Iterator[tuple[VoteBundle, ...]]:
        bundles: list[VoteBundle] = []
        signatures = 0
        for proof in dirty:
            for bundle in self._delta(proof, link):
                signatures += len(bundle.signatures)
                if bundles and (signatures > SIGNATURES_MAX or len(bundles) == BUNDLES_MAX):
                    yield tuple(bundles)
                    bundles, signatures = [], len(bundle.signatures)
                bundles.append(bundle)
        if bundles:
            yield tuple(bundles)

    def forget(self, view: int) -> None:
        """A block of this view is final here: nothing up to it is told any more."""
        if view <= self._floor:
            return
        self._floor = view
        for key in [key for key in self._proofs if key[0] <= view]:
            del self._proofs[key]
            for dirty in self._dirty:
                dirty.pop(key, None)
        for name in [name for name in self._proposals if name[0] <= view]:
            del self._proposals[name]

    # Within.

    def _has_news(self, proofs: dict[_Key, _Proof]) -> None:
        for dirty in self._dirty:
            dirty.update(proofs)

    def _delta(self, proof: _Proof, link: int) -> Iterator[VoteBundle]:
        known = proof.of(link)
        voters = known.voters
        if self._enough(proof, voters):
            return
        if proof.complete:
            parts = self._completing(proof, voters)
        else:
            parts = [proof.held[part] & ~known.held[part] for part in (0, 1)]
        for part in (0, 1):
            known.held[part] |= parts[part]
        yield from proof.bundles(self._epoch, parts)

    def _completing(self, proof: _Proof, voters: int) -> list[int]:
        """As many of the votes held, by part, as make a quorum together with these voters."""
        weights = self._quorums.weights
        lacking = self._quorums.needed(proof.key[1]) - self._weigh(voters)
        parts = [0, 0]
        for part in (0, 1):
            bits = proof.held[part] & ~voters
            while bits and lacking > 0:
                low = bits & -bits
                bits ^= low
                parts[part] |= low
                voters |= low
                lacking -= weights[low.bit_length() - 1]
        return parts

    def _lacks(self, link: int, certificate: Certificate) -> bool:
        """Whether the neighbour is not known to hold the certificate, or a better one."""
        view, block = certificate.view, certificate.block
        if view <= self._floor:
            return False
        kinds = (
            (CertificateKind.NULL,)
            if block is None
            else (CertificateKind.NOTAR, CertificateKind.FINAL)
        )
        for kind in kinds:
            proof = self._proofs.get((view, kind, block))
            if proof is not None and self._enough(proof, proof.of(link).voters):
                return False
        return True

    def _hold(self, proof: _Proof, link: int, part: int, bits: int) -> None:
        if link in self._links:
            known = proof.of(link)
            known.heard[part] |= bits
            known.held[part] |= bits

    def _raise_top(self, view: int) -> None:
        """Keep the newest views only, however long nothing becomes final."""
        if view > self._top:
            self._top = view
            self.forget(view - VIEWS_MAX)

    def _enough(self, proof: _Proof, voters: int) -> bool:
        return self._weigh(voters) >= self._quorums.needed(proof.key[1])

    def _weigh(self, voters: int) -> int:
        if self._each is not None:
            return voters.bit_count() * self._each
        weights = self._quorums.weights
        return sum(weights[voter] for voter in bitmap_indices(_bytes(voters)))


def _bytes(bits: int) -> bytes:
    return bits.to_bytes((bits.bit_length() + 7) // 8, "little")
