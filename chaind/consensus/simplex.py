"""Epidemic Simplex: the core object. Events bring facts, rules 1 to 9 say what follows.

A step first takes in what the event says, then applies the rules until nothing changes, then emits
what is to be synced, sent and done. What a rule reads is derived from the votes and certificates
held, own votes included; there is no second memory of what this node said.

Rule 9, Pipeline, has no arm: entering a view by NOTAR lets its leader build while FINALIZE votes
for the view before are still under way.
"""

from collections.abc import Callable
from typing import Any

from chaind.consensus import rules
from chaind.consensus.catchup import CatchUp
from chaind.consensus.core import (
    Build,
    CancelTimer,
    CandidateBuilt,
    Certificates,
    CheckedBlock,
    Deliver,
    Effect,
    Event,
    GetCertificates,
    Message,
    Persisted,
    Propose,
    SetTimer,
    Start,
    StatusMessage,
    TimerFired,
    TimerId,
    Timing,
    Verdict,
    Votes,
    WorkChanged,
)
from chaind.consensus.facts import DECISIVE, Body, Facts
from chaind.consensus.pace import Pace, Stage
from chaind.consensus.quorums import Quorums
from chaind.consensus.views import View
from chaind.primitives.votes import Certificate, CertificateKind, Vote, VoteKind


class Simplex:
    """One node's part in one epoch; see `core.Core`.

    `me` is the node's index in `quorums.weights`; None observes: follows and delivers, never
    votes. `final_hash`, `final_view` name the last final block (genesis: view 0). `sign` must be
    deterministic and returns 64 bytes; `leader` gives the index of a view's leader.
    """

    def __init__(
        self,
        *,
        epoch: int,
        quorums: Quorums,
        me: int | None,
        final_hash: bytes,
        final_view: int,
        timing: Timing,
        leader: Callable[[int], int],
        sign: Callable[[VoteKind, int, bytes | None], bytes],
    ) -> None:
        self._facts = facts = Facts(
            epoch=epoch, quorums=quorums, me=me, final_hash=final_hash, final_view=final_view
        )
        self._out = facts.out
        self._pace = Pace(timing)
        self._catch_up = CatchUp(facts, self._pace, leader)
        self._leader = leader
        self._sign = sign
        self._handlers: dict[type, Callable[[Any], None]] = {
            Start: self._on_start,
            Message: self._on_message,
            TimerFired: self._on_timer,
            CandidateBuilt: self._on_candidate,
            CheckedBlock: self._on_checked,
            Persisted: self._on_persisted,
            WorkChanged: self._on_work,
            Propose: self._on_propose,
            Votes: self._on_votes,
            Certificates: self._on_certificates,
            StatusMessage: self._catch_up.on_status,
            GetCertificates: self._catch_up.on_get_certificates,
        }

    def step(self, event: Event) -> tuple[Effect, ...]:
        """Take one event in; what to do about it, in order. Nothing after `Halt`."""
        facts = self._facts
        if facts.halted:
            return ()
        decided = facts.chain.base_view
        self._handlers[type(event)](event)
        while not facts.halted and (self._enter() or self._speak()):
            pass
        if not facts.halted:
            if facts.chain.base_view > decided:
                self._pace.finalised()
            self._check_proposals()
            self._deliver()
            self._lead()
        facts.sender = None
        return self._out.flush()

    # What the shell asks before it checks signatures.

    def status(self) -> StatusMessage:
        """Where this node stands; to be sent to every peer that connects."""
        return self._catch_up.status()

    def wants_vote(self, vote: Vote) -> bool:
        """Whether the vote says anything new; ask before checking its signature."""
        return self._facts.wants_vote(vote)

    def wants_certificate(self, certificate: Certificate) -> bool:
        """Whether the certificate proves anything new."""
        return self._facts.wants_certificate(certificate)

    def wants_proposal(self, proposal: Propose) -> bool:
        """Whether the proposal is its leader's, and new. Its vote's signature is checked anyway."""
        return self._facts.wants_proposal(proposal, self._leader(proposal.block.view))

    # Events.

    def _on_start(self, event: Start) -> None:
        facts = self._facts
        assert facts.view == facts.final_view, "started twice"
        for record in event.records:
            if isinstance(record, Vote):
                if facts.wants_vote(record):
                    facts.take_vote(record)
                    if record.block is not None:
                        facts.need_body(record.block, record.view)
            elif facts.wants_certificate(record):
                facts.take_certificate(record, self._out.durable)
                facts.take_votes_of(record)
            elif record.kind in DECISIVE and record.block == facts.final_hash:
                facts.chain.base = record  # what our next proposal rests on
        facts.view += 1
        self._start_view()
        self._catch_up.start()

    def _on_message(self, event: Message) -> None:
        self._facts.sender = event.sender
        self._handlers[type(event.message)](event.message)

    def _on_propose(self, proposal: Propose) -> None:
        facts, block = self._facts, proposal.block
        for certificate in proposal.justification:
            facts.learn(certificate)
        if not self.wants_proposal(proposal):
            return
        facts.chain.at(block.view).proposals[block.hash] = block
        if block.hash in facts.bodies:
            facts.check(block)
        facts.hear(proposal.vote)
        if block.view >= facts.view and not facts.chain.justified(block):
            self._catch_up.ask(facts.sender, block.parent_view, block.view - 1)

    def _on_votes(self, message: Votes) -> None:
        for vote in message.votes:
            self._facts.hear(vote)

    def _on_certificates(self, message: Certificates) -> None:
        for certificate in message.certificates:
            self._facts.learn(certificate)

    def _on_timer(self, event: TimerFired) -> None:
        match event.timer:
            case TimerId.VIEW:
                self._set_view_timer(self._pace.fired(self._facts.unfinished))
            case TimerId.WORK:
                self._set_view_timer(self._pace.settle())
            case TimerId.RETRANSMIT:
                self._catch_up.tick()

    def _on_candidate(self, event: CandidateBuilt) -> None:
        facts, block = self._facts, event.block
        view = facts.chain.views.get(block.view)
        if block.view != facts.view or view is None or not view.asked:
            return  # built for a view that has ended
        assert facts.chain.justified(block), "built on another parent"
        view.proposals[block.hash] = block
        facts.bodies.setdefault(block.hash, Body(block.view)).verdict = Verdict.OK

    def _on_checked(self, event: CheckedBlock) -> None:
        self._facts.take_verdict(event.block_hash, event.verdict)

    def _on_persisted(self, event: Persisted) -> None:
        self._out.durable = max(self._out.durable, event.seq)

    def _on_work(self, event: WorkChanged) -> None:
        if self._facts.me is None:
            return
        self._pace.has_work = event.has_work
        if event.has_work:
            self._out.act(SetTimer(TimerId.WORK, self._pace.two_delta_ms))
        else:
            self._pace.settled = False
            self._out.act(CancelTimer(TimerId.WORK))

    # Rules.

    def _enter(self) -> bool:
        """Rule 1, Enter: past every view of which a certificate is held."""
        facts = self._facts
        top = facts.top
        if top is None or top.view < facts.view:
            return False
        jumped = top.view > facts.view
        if top.kind is CertificateKind.NULL:
            self._pace.failed()
        facts.view = top.view + 1
        facts.entered_by = top
        self._out.send_certificates(None, (top,))
        if jumped:
            self._catch_up.ask_gaps(facts.sender)
        self._start_view()
        return True

    def _start_view(self) -> None:
        if self._facts.me is not None:
            self._set_view_timer(self._pace.enter(self._facts.unfinished))

    def _set_view_timer(self, delay_ms: int | None) -> None:
        if delay_ms is not None:
            self._out.act(SetTimer(TimerId.VIEW, delay_ms))

    def _speak(self) -> bool:
        """Rules 3 to 6: say at most one thing; whether something was said."""
        facts = self._facts
        me = facts.me
        if me is None:
            return False
        while facts.recheck:
            ended = facts.chain.views.get(facts.recheck.pop())
            if ended is not None and me not in ended.tally.finalizes:
                say = rules.final_vote(ended, me, facts.valid)
                if say is not None:
                    self._say(ended, me, say)
                    return True
        view = facts.chain.at(facts.view)
        if me in view.tally.finalizes:
            return False  # rule 6: nothing follows a FINALIZE
        own = view.tally.firsts.get(me)
        if own is None:
            leader, expired = self._leader(facts.view), self._pace.stage is Stage.EXPIRED
            say = rules.first_vote(view, leader, expired, facts.chain.justified, facts.verdict)
        else:
            say = rules.second_vote(view, me, own.block, facts.valid)
        if say is not None:
            self._say(view, me, say)
        return say is not None

    def _say(self, view: View, me: int, say: rules.Say) -> None:
        """Cast an own vote: log it, count it, send it once it is durable."""
        kind, block = say
        signature = self._sign(kind, view.number, block)
        vote = Vote(self._facts.epoch, view.number, kind, block, me, signature)
        self._out.log(vote, block)
        if kind is VoteKind.FIRST and block is not None and me == self._leader(view.number):
            proposal = view.proposals[block]
            why = self._facts.chain.justification(proposal)
            self._out.send(None, Propose(proposal, why, vote), own=True)
        else:
            self._out.say(vote)
        self._facts.take_vote(vote)

    def _check_proposals(self) -> None:
        """Have checked what rule 3 asks about, and what rule 4 does once FIRST is said."""
        facts = self._facts
        view = facts.chain.views.get(facts.view)
        if view is None:
            return
        if facts.me in view.tally.firsts:
            self._catch_up.need_supported(view)
            return
        for block in view.proposals.values():
            if facts.verdict(block.hash) is None and facts.chain.justified(block):
                facts.check(block)

    def _lead(self) -> None:
        """Rule 2, Propose: when leading, with something to do or after waiting for it."""
        facts = self._facts
        if facts.me is None or self._leader(facts.view) != facts.me:
            return
        if not self._pace.has_work and self._pace.stage < Stage.FAILING:
            return
        view = facts.chain.at(facts.view)
        if view.asked or facts.me in view.tally.firsts or facts.me in view.tally.finalizes:
            return
        parent = facts.chain.parent(facts.view, facts.valid)
        if parent is not None:
            view.asked = True
            self._out.act(Build(facts.view, parent[1], parent[0]))

    def _deliver(self) -> None:
        """Rule 7, Decide: FINAL and FAST make a block and its ancestors final."""
        certificate = self._facts.pop_deliverable()
        if certificate is not None and certificate.block is not None:
            self._out.act(Deliver(certificate.block, certificate))
