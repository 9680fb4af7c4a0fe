"""The shell around the consensus core: events in, effects out, in the order the core gave.

Signatures are checked here before the core hears of them; records are synced before what rests on
them is sent. `feed` is the only way in: events queue, one at a time reaches `step`.
"""

import asyncio
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from functools import partial
from typing import Protocol

import structlog

from chaind.consensus.core import (
    BlockRef,
    Build,
    CancelTimer,
    CandidateBuilt,
    Certificates,
    Check,
    CheckedBlock,
    Core,
    CoreMessage,
    Deliver,
    Effect,
    Event,
    Fetch,
    GetCertificates,
    Halt,
    Message,
    Persist,
    Persisted,
    Propose,
    Record,
    Report,
    Send,
    SetTimer,
    Start,
    StatusMessage,
    TimerFired,
    TimerId,
    Verdict,
    Votes,
    WorkChanged,
)
from chaind.consensus.records import encode_record
from chaind.network import messages as wire
from chaind.network.peer import Peer
from chaind.node.bodies import Bodies
from chaind.node.chain import Chain
from chaind.node.clock import Clock
from chaind.node.core_messages import to_wire
from chaind.node.durable import GroupCommit
from chaind.node.finality import Finality
from chaind.node.proposing import Proposing
from chaind.node.rules import EPOCH
from chaind.node.signatures import SignatureChecker
from chaind.node.spread import NOBODY, Mesh
from chaind.node.timers import Timers
from chaind.node.view_log import ViewLog
from chaind.node.vote_segments import VoteSegments
from chaind.primitives.block import commitment_decoder
from chaind.primitives.errors import LocalFault
from chaind.primitives.votes import Certificate, Vote
from chaind.storage.log import AppendLog
from chaind.storage.segment import Position

VOTES_AT_ONCE = 64  # then the core is asked again what it wants: repetitions cost no signature

log = structlog.get_logger("chaind.consensus")


class Halted(LocalFault):
    """The core found that this node and the network contradict each other."""

    code = "halted"
    exit_code = 70
    text = "consensus halted: {reason}"
    advice = "Keep the data directory for inspection and restore this node from another one."


class Wire(Protocol):
    """What the engine needs of the network."""

    def send(self, peer: Peer, message: wire.Message) -> None:
        """Queue a message for one peer."""
        ...

    def broadcast(self, message: wire.Message, *, only: Iterable[Peer] | None = None) -> None:
        """Queue a message, encoded once, for all peers or for `only` those."""
        ...


class Engine:
    """See the module's law. `me` is this node's validator index, None for a full node."""

    def __init__(
        self,
        *,
        core: Core,
        checker: SignatureChecker,
        chain: Chain,
        finality: Finality,
        vote_log: AppendLog,
        commit: GroupCommit,
        network: Wire,
        clock: Clock,
        timers: Timers,
        has_work: Callable[[], bool],
        spread: Mesh,
    ) -> None:
        self._core = core
        self._checker = checker
        self._chain = chain
        self._finality = finality
        self._vote_log = vote_log
        self._commit = commit
        self._network = network
        self._timers = timers
        self._has_work = has_work
        self._spread = spread
        self._started = False
        self._ended = False
        self.bodies: Bodies | None = None  # set once by the node: each needs the other
        self._queue: deque[Event] = deque()
        self._stepping = False
        self._held: deque[tuple[int, Send]] = deque()
        self._durable_seq = 0
        self._running: dict[TimerId, asyncio.TimerHandle] = {}
        self._proposing = Proposing(
            chain=chain,
            clock=clock,
            timers=timers,
            built=lambda ref: self.feed(CandidateBuilt(ref)),
        )
        self._numbers: dict[int, Peer] = {}
        self._peer_numbers: dict[Peer, int] = {}
        self._next_number = 0
        self._had_work = False
        self._segments = VoteSegments(vote_log)
        self.view = 0
        self.evidence_total = 0
        self.views = ViewLog()

    def start(self, records: Sequence[tuple[Position, Record]]) -> None:
        """The first event: what the vote log holds, and where."""
        self._started = True
        for position, record in records:
            self._segments.note(position.segment, record.view)
        self.feed(Start(tuple(record for _, record in records)))

    def feed(self, event: Event) -> None:
        """Give the core an event; effects happen before this returns, unless a step is running."""
        if self._ended and not isinstance(event, Persisted):
            return  # a peer's last words, while everything is closed
        self._queue.append(event)
        if self._stepping:
            return
        self._stepping = True
        try:
            while self._work_changed() or self._queue:
                for effect in self._core.step(self._queue.popleft()):
                    if not self._ended or isinstance(effect, Deliver):
                        self._do(effect)
        finally:
            self._stepping = False
        view = self._core.status().view
        if view != self.view:
            self.view = view
            log.debug("view_entered", view=view)
        if not self._ended:
            self._pace()

    def _pace(self) -> None:
        """Let votes travel on, and the core hear of certificates that they add up to."""
        completed = self._spread.completed()
        self._spread.pace()
        for certificate in completed:
            if self._core.wants_certificate(certificate):
                self.feed(Message(NOBODY, Certificates((certificate,))))

    def work_arrived(self) -> None:
        """Something entered the pool."""
        if not self._stepping and self._work_changed():
            self.feed(self._queue.popleft())

    def _work_changed(self) -> bool:
        """Queue the news where selectable transactions have appeared or are gone."""
        has_work = self._has_work()
        if has_work == self._had_work or not self._started or self._ended:
            return False
        self._had_work = has_work
        self._queue.appendleft(WorkChanged(has_work))
        return True

    # Peers.

    def peer_up(self, peer: Peer) -> None:
        """Number the peer for the core and tell it where we stand."""
        self._next_number += 1
        self._numbers[self._next_number] = peer
        self._peer_numbers[peer] = self._next_number
        self._spread.peer_up(self._next_number, peer)
        self._network.send(peer, self.status())

    def peer_down(self, peer: Peer) -> None:
        """Forget its number."""
        number = self._peer_numbers.pop(peer)
        del self._numbers[number]
        self._spread.peer_down(number)

    def _number(self, peer: Peer) -> int:
        return self._peer_numbers.get(peer, NOBODY)

    def status(self) -> wire.Status:
        """What this node tells peers of itself."""
        status, final = self._core.status(), self._chain.final
        return wire.Status(status.epoch, status.view, final.height, final.hash, status.final_view)

    def received(self, peer: Peer, message: wire.Message) -> None:
        """What a peer sent. Raises `PeerFault`."""
        match message:
            case wire.Votes():
                self.on_votes(peer, message)
            case wire.Bundles():
                self.on_bundles(peer, message)
            case wire.Proposal():
                self.on_proposal(peer, message)
            case wire.Certificates(certificates):
                self.on_certificates(peer, certificates)
            case wire.Status():
                self.on_status(peer, message)
            case wire.GetCertificates():
                self.on_get_certificates(peer, message)
            case wire.BlockData() | wire.BlockTransactions():
                assert self.bodies is not None
                self.bodies.received(peer, message)
            case _:
                raise wire.MessageOutOfPlace(name=type(message).__name__, mode="bft")

    def on_votes(self, peer: Peer, message: wire.Votes) -> None:
        """Check and pass on the votes that say anything new. Raises `PeerFault`."""
        self._take_votes(peer, message.votes)

    def on_bundles(self, peer: Peer, message: wire.Bundles) -> None:
        """The same, of votes that travel over the overlay: those held are dropped by bitmap."""
        self._take_votes(peer, self._spread.news(self._number(peer), message.bundles))

    def _take_votes(self, peer: Peer, votes: Sequence[Vote]) -> None:
        for start in range(0, len(votes), VOTES_AT_ONCE):
            part = votes[start : start + VOTES_AT_ONCE]
            wanted = tuple(vote for vote in part if self._core.wants_vote(vote))
            for vote in wanted:
                self._checker.check_vote(vote)
            if wanted:
                self._spread.took(self._number(peer), wanted)
                self._hear(peer, Votes(wanted))

    def on_certificates(self, peer: Peer, certificates: Sequence[Certificate]) -> None:
        """Check and pass on the certificates that prove anything new. Raises `PeerFault`."""
        wanted = self._wanted(certificates)
        if wanted:
            for certificate in wanted:
                self._spread.took(self._number(peer), certificate.votes())
            self._hear(peer, Certificates(wanted))

    def on_range(self, peer: Peer, certificate: Certificate) -> None:
        """A checked proof of finality whose block is held with all its ancestors.

        A core that has learnt of a later decision wants no earlier ones; they are made final all
        the same, while the later one waits for its body. But not before that one is durable: a vote
        log that ends below the final tip would pass for lost.
        """
        block_hash = certificate.block
        assert block_hash is not None
        if self._core.wants_certificate(certificate):
            self._hear(peer, Certificates((certificate,)))
        else:
            self._commit.when_durable(lambda: self._finality.deliver(block_hash, certificate))

    def on_proposal(self, peer: Peer, message: wire.Proposal) -> None:
        """Check the leader's signature, gather the body, tell the core. Raises `PeerFault`."""
        vote = message.vote
        assert vote.block is not None, "the network room checks this"
        parent = message.header[4:36]
        block = BlockRef(vote.block, vote.view, parent, message.parent_view)
        proposal = Propose(block, message.justification, vote)
        number = self._number(peer)
        if not self._core.wants_proposal(proposal):
            self._spread.heard_proposal(number, proposal)
            return
        # One block, one view: a later one would keep the blocks of honest leaders, which must be
        # above it, from being valid.
        commitment = commitment_decoder.decode(message.commitment)
        if (commitment.epoch, commitment.view) != (vote.epoch, vote.view):
            raise wire.ProposalContradicts(view=vote.view)
        self._checker.check_vote(vote)
        wanted = self._wanted(message.justification)
        assert self.bodies is not None
        self.bodies.offer(message, peer)
        checked = Propose(block, wanted, vote)
        self._spread.received(checked, message, number)
        self._pass_on(vote.block)
        self._hear(peer, checked)

    def on_status(self, peer: Peer, message: wire.Status) -> None:
        """Remember how far a peer is, and pass on where it stands."""
        peer.final_height = message.final_height
        self._spread.heard_status(self._number(peer), message.view)
        told = StatusMessage(message.epoch, message.view, message.final_view, message.final_hash)
        self._hear(peer, told)

    def on_get_certificates(self, peer: Peer, message: wire.GetCertificates) -> None:
        """Let the core answer."""
        if message.epoch == EPOCH:
            self._hear(peer, GetCertificates(message.from_view, message.to_view))

    def _wanted(self, certificates: Sequence[Certificate]) -> tuple[Certificate, ...]:
        proofs = {(one.view, one.kind, one.block): one for one in certificates}  # one of each
        wanted = tuple(one for one in proofs.values() if self._core.wants_certificate(one))
        for certificate in wanted:
            self._checker.check_certificate(certificate)
        return wanted

    def _hear(self, peer: Peer, message: CoreMessage) -> None:
        number = self._peer_numbers.get(peer)
        if number is not None:
            self.views.heard(message)
            self.feed(Message(number, message))

    # Effects.

    def _do(self, effect: Effect) -> None:
        match effect:
            case Send():
                if effect.after is None or effect.after <= self._durable_seq:
                    self._send(effect)
                else:
                    self._held.append((effect.after, effect))
            case Persist():
                self._persist(effect)
            case SetTimer(timer, delay_ms):
                self._cancel(timer)
                self._running[timer] = self._timers.call_later(
                    delay_ms / 1000, partial(self._fire, timer)
                )
            case CancelTimer(timer):
                self._cancel(timer)
            case Build():
                self._proposing.ask(effect, self._durable_seq)
            case Check(block):
                self._resolve(block.hash, None, vouched=False)
            case Fetch(block_hash, sender):
                self._resolve(block_hash, sender, vouched=True)
            case Deliver(block_hash, certificate):
                self._finality.deliver(block_hash, certificate)
                self._tell_followers(certificate)
                self._spread.forget(certificate.view)
                self._segments.drop_below(certificate.view)
            case Report(evidence):
                self.evidence_total += 1
                self.views.accused(evidence)
                log.error(
                    "evidence_of_misbehaviour",
                    voter=evidence.first.voter,
                    view=evidence.first.view,
                    kinds=(evidence.first.kind.name, evidence.second.kind.name),
                )
            case Halt(reason):
                raise Halted(reason=reason)

    def _tell_followers(self, certificate: Certificate) -> None:
        """Full nodes may hear no votes: give them what makes the block final."""
        followers = [
            peer
            for peer in self._peer_numbers
            if peer.validator_key is None or not self._checker.is_validator(peer.validator_key)
        ]
        if followers:
            self._network.broadcast(wire.Certificates((certificate,)), only=followers)

    def _fire(self, timer: TimerId) -> None:
        self._running.pop(timer, None)
        self.feed(TimerFired(timer))

    def _cancel(self, timer: TimerId) -> None:
        handle = self._running.pop(timer, None)
        if handle is not None:
            handle.cancel()

    def _persist(self, effect: Persist) -> None:
        for block_hash in effect.bodies:
            self._finality.keep_body(block_hash)
        for record in effect.records:
            position = self._vote_log.append(encode_record(record))
            self._segments.note(position.segment, record.view)
        self.views.logged(effect.records)
        seq = effect.seq
        if effect.bodies:
            self._proposing.bodies_seq = seq
        self._commit.when_durable(lambda: self._persisted(seq))

    def _persisted(self, seq: int) -> None:
        self._durable_seq = max(self._durable_seq, seq)
        if self._ended:  # nothing is said any more, but what was decided is delivered
            self.feed(Persisted(seq))
            return
        while self._held and self._held[0][0] <= self._durable_seq:
            self._send(self._held.popleft()[1])
        self.feed(Persisted(seq))
        self._proposing.durable(self._durable_seq)

    def _send(self, effect: Send) -> None:
        message = to_wire(effect.message, self._chain, self.status)
        if effect.to is None:
            if not self._spread.say(effect.message, message):
                self._network.broadcast(message)
        elif (peer := self._numbers.get(effect.to)) is not None:
            self._network.send(peer, message)

    def _resolve(self, block_hash: bytes, sender: int | None, *, vouched: bool) -> None:
        assert self.bodies is not None
        source = None if sender is None else self._numbers.get(sender)
        self.bodies.resolve(block_hash, source, vouched=vouched)

    def on_verdict(self, block_hash: bytes, verdict: Verdict) -> None:
        """What execution says of a block that the core asked about."""
        self._pass_on(block_hash)
        self.feed(CheckedBlock(block_hash, verdict))

    def _pass_on(self, block_hash: bytes) -> None:
        """What is passed on is held: whoever hears of it can have it from us."""
        if self._chain.candidate(block_hash) is not None:
            self._spread.held(block_hash)

    def stop(self) -> None:
        """Cancel every timer, and hear, say and log nothing more.

        Certificates that still wait for the disk are delivered once they are durable, so that an
        orderly end leaves no block decided and unwritten.
        """
        self._ended = True
        for timer in list(self._running):
            self._cancel(timer)
        self._proposing.stop()
        self._spread.stop()
