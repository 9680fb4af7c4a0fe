"""One honest validator in one view: its local states, found by driving the real core.

A core is a function of its own history. So each step from a local state is computed once, by
replaying one history that leads there on a fresh core, and looked up from then on.
"""

from collections.abc import Callable
from functools import cached_property
from typing import NamedTuple

from simplex_kit import block, certificate, digest, make_core, vote

from chaind.consensus.core import (
    CandidateBuilt,
    Certificates,
    Check,
    CheckedBlock,
    Effect,
    Event,
    Fetch,
    Message,
    Persist,
    Propose,
    Record,
    Report,
    Start,
    TimerFired,
    TimerId,
    Verdict,
    Votes,
    WorkChanged,
)
from chaind.consensus.pace import Stage
from chaind.consensus.quorums import Quorums
from chaind.consensus.simplex import Simplex
from chaind.primitives.votes import CertificateKind, Vote, VoteKind

VIEW = 1
LEADER = 1  # of view 1
NULL = "⊥"

Action = tuple[str, str]  # (what, block)
Said = frozenset[tuple[VoteKind, str]]  # all that one node said in the view


class Violation(AssertionError):
    """The protocol broke a law."""


class Local(NamedTuple):
    """All of a core's past that can matter: equal ones behave alike."""

    said: Said
    heard: tuple[str, ...]  # FIRST votes of other honest followers, sorted
    lead: str  # the leader's FIRST, as known here; "" unknown
    byzantine: str  # the Byzantine FIRST counted here
    proposals: tuple[str, ...]  # in the order of arrival
    asked: frozenset[str]  # bodies asked for, not held
    held: frozenset[str]
    certificates: frozenset[str]
    expired: bool
    asked_to_build: bool


class Machine:
    """The local states of one honest validator, and the real core's steps between them."""

    def __init__(
        self, me: int, byzantine: int, kind: type[Simplex], quorums: Callable[[], Quorums]
    ) -> None:
        self.me, self.byzantine = me, byzantine
        self.others = [i for i in range(4) if i not in (me, byzantine, LEADER)]
        self.kind, self.quorums = kind, quorums
        self.states: dict[Local, int] = {}
        self.locals: list[Local] = []
        self.histories: list[tuple[Action, ...]] = []
        self.steps: dict[tuple[int, Action], int] = {}
        self.mirrors: dict[int, int] = {}
        self.start = self.intern(())

    def intern(self, history: tuple[Action, ...]) -> int:
        """The state that a history leads to."""
        local = Replay(self, history).local
        number = self.states.setdefault(local, len(self.locals))
        if number == len(self.locals):
            self.locals.append(local)
            self.histories.append(history)
        return number

    def step(self, state: int, action: Action) -> int:
        """The state after one more action."""
        known = self.steps.get((state, action))
        if known is None:
            known = self.intern((*self.histories[state], action))
            self.steps[state, action] = known
        return known

    def mirror(self, state: int) -> int:
        """The same state with the two blocks exchanged."""
        known = self.mirrors.get(state)
        if known is None:
            swap = {"a": "b", "b": "a"}
            history = self.histories[state]
            known = self.intern(tuple((what, swap.get(name, name)) for what, name in history))
            self.mirrors[state], self.mirrors[known] = known, state
        return known


class Replay:
    """One history on a fresh core."""

    def __init__(self, machine: Machine, history: tuple[Action, ...]) -> None:
        self.machine = machine
        self.log: list[Record] = []
        self.boot()
        for action in history:
            self.play(*action)

    def boot(self) -> None:
        """A core on what was logged; everything else is forgotten."""
        machine = self.machine
        self.core = make_core(4, machine.me, kind=machine.kind, quorums=machine.quorums())
        self.heard: list[str] = []
        self.asked: set[str] = set()
        self.held: set[str] = set()
        self.feed(Start(tuple(self.log)))
        self.feed(WorkChanged(True))

    def feed(self, event: Event) -> None:
        """One event, and what of its effects matters here."""
        for effect in self.core.step(event):
            self.note(effect)

    def note(self, effect: Effect) -> None:
        match effect:
            case Persist(records):
                self.log.extend(records)
            case Check(ref):
                self.asked.add(ref.hash.rstrip(b".").decode())
            case Fetch(block_hash):
                self.asked.add(block_hash.rstrip(b".").decode())
            case Report(evidence):
                if evidence.first.voter != self.machine.byzantine:
                    raise Violation(f"an honest voter is accused: {evidence}")

    def play(self, what: str, name: str) -> None:
        """One action; `name` is a block or ⊥."""
        machine = self.machine
        named = None if name == NULL else name
        match what:
            case "propose":
                first = vote(LEADER, VoteKind.FIRST, VIEW, name)
                self.feed(Message(LEADER, Propose(block(name, VIEW), (), first)))
                if name in self.asked:
                    self.play("body", name)
            case "built":
                self.held.add(name)
                self.feed(CandidateBuilt(block(name, VIEW)))
            case "body":
                self.held.add(name)
                self.feed(CheckedBlock(digest(name), Verdict.OK))
            case "lead":
                self.vote(LEADER, named)
            case "hear":
                self.vote(machine.others[len(self.heard)], named)
                self.heard.append(name)
            case "byzantine":
                self.vote(machine.byzantine, named)
            case "timer":
                while self.core._pace.stage is not Stage.EXPIRED:
                    self.feed(TimerFired(TimerId.VIEW))
            case "certificate":
                kind = CertificateKind.NULL if named is None else CertificateKind.NOTAR
                voters = [i for i in range(4) if i != machine.me]
                proof = certificate(kind, VIEW, named, (), voters)
                self.feed(Message(LEADER, Certificates((proof,))))
            case "restart":
                self.boot()
        self.asked -= self.held

    def vote(self, voter: int, named: str | None) -> None:
        """A FIRST vote of another."""
        self.feed(Message(voter, Votes((vote(voter, VoteKind.FIRST, VIEW, named),))))

    @cached_property
    def local(self) -> Local:
        """The state reached. Of an ended view only what rule 6 reads is kept."""
        core, machine = self.core, self.machine
        facts = core._facts
        view = facts.chain.at(VIEW) if facts.chain.base_view < VIEW else None
        said = frozenset(
            (one.kind, NULL if one.block is None else one.block.rstrip(b".").decode())
            for one in self.log
            if isinstance(one, Vote) and one.voter == machine.me and one.view == VIEW
        )
        if view is None:  # decided: silent from here on
            return Local(said, (), "", "", (), frozenset(), frozenset(), DECIDED, True, True)
        certificates = {one.rstrip(b".").decode() for one in view.notars}
        if view.null is not None:
            certificates.add(NULL)
        asked, held = frozenset(self.asked), frozenset(self.held)
        if certificates:
            return Local(said, (), "", "", (), asked, held, frozenset(certificates), True, True)

        def known(voter: int) -> str:
            first = view.tally.firsts.get(voter)
            if first is None:
                return ""
            return NULL if first.block is None else first.block.rstrip(b".").decode()

        proposals = [one.rstrip(b".").decode() for one in view.proposals]
        if machine.me in view.tally.firsts:
            proposals.sort()  # only rule 3 reads their order
        return Local(
            said,
            tuple(sorted(self.heard)),
            known(LEADER),
            known(machine.byzantine),
            tuple(proposals),
            asked,
            held,
            frozenset(),
            core._pace.stage is Stage.EXPIRED,
            view.asked,
        )


DECIDED = frozenset({"decided"})
