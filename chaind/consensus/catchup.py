"""Rule 8, Retransmit, and catch-up: what to repeat while stuck, what to ask and to answer.

Every answer is bounded; a peer that asks too often is the network's to slow down.
"""

from collections.abc import Callable, Iterator

from chaind.consensus.bundles import first_bundle
from chaind.consensus.core import (
    Fetch,
    GetCertificates,
    Propose,
    SetTimer,
    StatusMessage,
    TimerId,
)
from chaind.consensus.facts import Facts
from chaind.consensus.pace import Pace, Stage
from chaind.consensus.views import View
from chaind.primitives.votes import Vote

REPEAT_VIEWS = 32  # newest views whose own votes are repeated: peers keep votes no further ahead


class CatchUp:
    """Keeps a node and its peers from waiting for what was lost."""

    __slots__ = ("_facts", "_leader", "_pace", "_seen")

    def __init__(self, facts: Facts, pace: Pace, leader: Callable[[int], int]) -> None:
        self._facts = facts
        self._pace = pace
        self._leader = leader
        self._seen = (-1, -1, -1)  # view, decided and final view at the last tick

    def start(self) -> None:
        """After a restart: repeat everything above the last final view, and begin to tick."""
        facts = self._facts
        facts.out.send_votes(None, [vote for view in self._views() for vote in self._own(view)])
        facts.out.send_certificates(None, facts.chain.certificates())
        facts.out.act(SetTimer(TimerId.RETRANSMIT, self._pace.two_delta_ms))

    def tick(self) -> None:
        """Every 2Δ. Repeat what others may lack, ask for what we do, if nothing moved since."""
        facts, out = self._facts, self._facts.out
        out.act(SetTimer(TimerId.RETRANSMIT, self._pace.two_delta_ms))
        stuck = self._stuck()
        self._seen = (facts.view, facts.chain.base_view, facts.final_view)
        if not stuck:
            return
        self._repeat(None)
        ends = (facts.chain.base, facts.entered_by)
        out.send_certificates(None, tuple(one for one in dict.fromkeys(ends) if one is not None))
        out.send(None, self.status(), own=False)
        for block, body in facts.bodies.items():
            if body.fetching and body.verdict is None:
                out.act(Fetch(block, None))
        view = facts.chain.views.get(facts.view)
        if view is not None:
            self.need_supported(view)
            for block_ref in view.proposals.values():
                if not facts.chain.justified(block_ref):
                    self.ask(None, block_ref.parent_view, block_ref.view - 1)
        self.ask_gaps(None)

    def status(self) -> StatusMessage:
        """Where this node stands."""
        facts = self._facts
        return StatusMessage(facts.epoch, facts.view, facts.final_view, facts.final_hash)

    def on_status(self, message: StatusMessage) -> None:
        """A peer tells where it stands: give it what it lacks, ask for what we lack."""
        facts, sender = self._facts, self._facts.sender
        base = facts.chain.base_view
        if message.epoch != facts.epoch:
            return
        if message.view > facts.view or message.final_view > base:
            self.ask(sender, base + 1, max(message.view, message.final_view))
        if message.view <= facts.view:
            start = message.final_view + 1 if message.final_view < base else message.view
            lacking = first_bundle(facts.chain.certificates(start))
            facts.out.send_certificates(sender, lacking)
            self._repeat(sender)

    def on_get_certificates(self, message: GetCertificates) -> None:
        """Answer with what is held of the range, the newest decision first."""
        facts = self._facts
        found = facts.chain.certificates(message.from_view, message.to_view)
        facts.out.send_certificates(facts.sender, first_bundle(found))

    def ask(self, peer: int | None, from_view: int, to_view: int) -> None:
        """Ask a peer (None: all) for the certificates of views above the base."""
        from_view = max(from_view, self._facts.chain.base_view + 1)
        if from_view <= to_view:
            self._facts.out.send(peer, GetCertificates(from_view, to_view), own=False)

    def ask_gaps(self, peer: int | None) -> None:
        """Ask for the views passed by a jump: to lead, one must know how each ended."""
        gaps = self._facts.chain.missing(self._facts.view)
        if gaps is not None:
            self.ask(peer, *gaps)

    def need_supported(self, view: View) -> None:
        """Have every block fetched for which T have voted FIRST, proposal seen or not."""
        tally = view.tally
        for block, weight in tally.first_weight.items():
            if block is not None and weight >= tally.quorums.threshold:
                self._facts.need_body(block, view.number)

    def _stuck(self) -> bool:
        facts = self._facts
        view, base, final = self._seen
        current = facts.chain.views.get(facts.view)
        waiting = self._pace.stage >= Stage.FAILING or (
            current is not None and bool(current.tally.firsts)
        )
        return (
            (waiting and facts.view == view)
            or (facts.unfinished and facts.chain.base_view == base)
            or (bool(facts.decisions) and facts.final_view == final)
        )

    def _repeat(self, peer: int | None) -> None:
        """Own votes of the newest views, and the own proposal of the current one."""
        facts = self._facts
        newest = self._views()[-REPEAT_VIEWS:]
        facts.out.send_votes(peer, [vote for view in newest for vote in self._own(view)])
        current = facts.chain.views.get(facts.view)
        if facts.me is None or facts.me != self._leader(facts.view) or current is None:
            return
        vote = current.tally.firsts.get(facts.me)
        block = None if vote is None or vote.block is None else current.proposals.get(vote.block)
        if vote is not None and block is not None and facts.chain.justified(block):
            why = facts.chain.justification(block)
            facts.out.send(peer, Propose(block, why, vote), own=True)

    def _views(self) -> list[View]:
        views = self._facts.chain.views
        return [views[number] for number in sorted(views)]

    def _own(self, view: View) -> Iterator[Vote]:
        me = self._facts.me
        return iter(()) if me is None else view.tally.of(me)
