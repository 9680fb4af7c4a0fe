"""Persist, then speak; restart; small networks; bounds; what is wanted."""

from collections.abc import Iterable

import pytest
from simplex_kit import block, certificate, digest, make_core, show, signer, start, vote
from simplex_script import run, tables

from chaind.consensus.core import (
    Build,
    CandidateBuilt,
    Certificates,
    CheckedBlock,
    Core,
    Deliver,
    Effect,
    Event,
    Message,
    Persist,
    Persisted,
    Propose,
    Record,
    Send,
    TimerFired,
    TimerId,
    Verdict,
    Votes,
    WorkChanged,
)
from chaind.consensus.facts import DECISIONS_MAX, WINDOW
from chaind.consensus.records import decode_record, encode_record
from chaind.primitives.codec import NonCanonical, Undecodable
from chaind.primitives.votes import CertificateKind, Vote, VoteKind

PERSISTENCE = {
    "a vote waits for its record and its body": """
        watch log
        start       =>
        propose a 1 => check a
        ok a        => log1 FIRST 1 a +a; say FIRST 1 a @1
    """,
    "a FINALIZE waits for the certificate on which it rests, logged before it": """
        watch log show
        start       =>
        propose a 1 => check a
        ok a        => log1 FIRST 1 a +a; say FIRST 1 a @1
        synced 1    =>
        NOTAR 1 a   => log2 NOTAR 1 a, FINALIZE 1 a +a; say FINALIZE 1 a @2; show NOTAR 1 a
    """,
    "so does a vote of the next view, and a body is named by FALLBACK as well": """
        watch log show
        start       =>
        NULL 1      => log1 NULL 1; show NULL 1
        fire VIEW   =>
        fire VIEW   => log2 FIRST 2 ⊥; say FIRST 2 ⊥ @2
        FIRST 0 2 b =>
        FIRST 1 2 b => fetch b from 9
        ok b        => log3 FALLBACK 2 b, NOTAR 2 b +b; say FALLBACK 2 b @3; show NOTAR 2 b @3
    """,
    "a certificate with an own vote in it waits for that vote, others' words do not": """
        watch log show
        start       =>
        fire VIEW   =>
        fire VIEW   => log1 FIRST 1 ⊥; say FIRST 1 ⊥ @1
        FIRST 0 1 ⊥ =>
        FIRST 1 1 ⊥ => log2 NULL 1; show NULL 1 @2
        NULL 2      => log3 NULL 2; show NULL 2
    """,
    "nothing waits once the disk has caught up": """
        watch log show
        start       =>
        fire VIEW   =>
        fire VIEW   => log1 FIRST 1 ⊥; say FIRST 1 ⊥ @1
        synced 1    =>
        status 1 0  => say FIRST 1 ⊥ to 9
        NULL 1      => log2 NULL 1; show NULL 1
        status 2 0  => say FIRST 1 ⊥ to 9 @2
    """,
    "an own vote that was not said in this run binds, and is logged": """
        watch log
        start       =>
        FIRST 3 1 a => log1 FIRST 1 a +a
        propose b 1 =>
        fire VIEW   =>
        fire VIEW   =>
        FIRST 0 1 ⊥ => log2 NULLIFY 1; say NULLIFY 1 @2
    """,
}


@tables(PERSISTENCE)
def test_persist_then_speak(script: str) -> None:
    run(script)


def logged(effects: Iterable[Effect]) -> list[Record]:
    """What the effects want logged, through its bytes."""
    return [
        decode_record(encode_record(record))
        for effect in effects
        if isinstance(effect, Persist)
        for record in effect.records
    ]


def said(effects: Iterable[Effect]) -> set[str]:
    """Effects as text."""
    return {show(effect) for effect in effects}


def test_a_restart_resends_votes_and_certificates_and_says_nothing_else() -> None:
    """After any prefix of the log the core stands by it: nothing said can be said differently."""
    core, log = make_core(4, 3), []
    story: list[Event] = [
        Message(1, Propose(block("a", 1), (), vote(1, VoteKind.FIRST, 1, "a"))),
        CheckedBlock(digest("a"), Verdict.OK),
        Message(0, Votes((vote(0, VoteKind.FIRST, 1, "a"),))),
        TimerFired(TimerId.VIEW),
        TimerFired(TimerId.VIEW),
    ]
    start(core)
    for event in story:
        log += logged(core.step(event))
    kinds = [type(record).__name__ for record in log]
    assert kinds == ["Vote", "Certificate", "Vote", "Vote"]
    expected = {
        1: {"say FIRST 1 a", "fetch a"},
        2: {"say FIRST 1 a", "fetch a", "show NOTAR 1 a"},
        3: {"say FIRST 1 a, FINALIZE 1 a", "fetch a", "show NOTAR 1 a"},
        4: {"say FIRST 1 a, FINALIZE 1 a, FIRST 2 ⊥", "fetch a", "show NOTAR 1 a"},
    }
    for length, wanted in expected.items():
        again = make_core(4, 3)
        effects = said(start(again, log[:length]))
        assert {one for one in effects if not one.startswith("timer")} == wanted
        assert again.status().view == (1 if length == 1 else 2)
        for event in story:  # the same story again: what is said is what is in the log
            new = [one for one in logged(again.step(event)) if isinstance(one, Vote)]
            assert not {(one.kind, one.view) for one in new} & {
                (one.kind, one.view) for one in log[:length] if isinstance(one, Vote)
            }


def test_a_restart_forgets_what_is_final_but_keeps_its_certificate() -> None:
    """The certificate of the last final block justifies the next proposal and helps peers."""
    final = certificate(CertificateKind.FINAL, 5, "e", (0, 1, 2))
    log = [
        vote(2, VoteKind.FIRST, 4, "d"),
        certificate(CertificateKind.NOTAR, 4, "d", (0, 1, 3)),
        vote(2, VoteKind.FINALIZE, 5, "e"),
        final,
    ]
    core = make_core(4, 2, final="e", final_view=5)
    effects = said(start(core, log))
    assert effects == {"show FINAL 5 e", "timer VIEW 2000", "timer RETRANSMIT 200"}
    assert "build 6 on e(5)" in said(core.step(WorkChanged(True)))
    (sent,) = (
        effect
        for effect in core.step(CandidateBuilt(block("f", 6, "e", 5)))
        if isinstance(effect, Send)
    )
    assert isinstance(sent.message, Propose)
    assert sent.message.justification == (final,)


def test_a_decision_survives_a_restart_without_its_body() -> None:
    """FINAL was logged, the crash came before the body: it is fetched and delivered after all."""
    log = [certificate(CertificateKind.FINAL, 5, "e", (0, 1, 2))]
    core = make_core(4, 2)
    assert "fetch e" in said(start(core, log))
    assert "deliver e by FINAL" in said(core.step(CheckedBlock(digest("e"), Verdict.OK)))


def test_the_certificates_in_the_log_keep_a_restarted_network_alive() -> None:
    """Validator 3 made NOTAR(a) possible and is gone; without the logged certificate 0, 1, 2 stay.

    0: FIRST(a), FINALIZE(a); 1: FIRST(⊥); 2: FIRST(⊥), FALLBACK(a). Only NOTAR(a) ends the view.
    """
    notar = certificate(CertificateKind.NOTAR, 1, "a", (0, 3), (2,))
    logs: list[list[Record]] = [
        [vote(0, VoteKind.FIRST, 1, "a"), notar, vote(0, VoteKind.FINALIZE, 1, "a")],
        [vote(1, VoteKind.FIRST, 1)],
        [vote(2, VoteKind.FIRST, 1), vote(2, VoteKind.FALLBACK, 1, "a")],
    ]
    cores = [make_core(4, me) for me in range(3)]
    queue = [(me, effect) for me, core in enumerate(cores) for effect in start(core, logs[me])]
    for sender, effect in queue:
        if isinstance(effect, Send):
            for me, core in enumerate(cores):
                if me != sender and isinstance(effect.message, Votes | Certificates):
                    queue += [(me, one) for one in core.step(Message(sender, effect.message))]
    assert [core.status().view for core in cores] == [2, 2, 2]


@pytest.mark.parametrize("n", [1, 2, 3])
def test_small_networks_finalise_without_waiting(n: int) -> None:
    """Their FAST certificate comes with the last FIRST; no timer is waited for."""
    cores = [make_core(n, me) for me in range(n)]
    delivered: list[list[bytes]] = [[] for _ in cores]
    queue: list[tuple[int, Event]] = []

    def run_effects(me: int, effects: tuple[Effect, ...]) -> None:
        for effect in effects:
            match effect:
                case Persist(seq=seq):
                    queue.append((me, Persisted(seq)))
                case Build(view, parent, parent_view):
                    made = block(f"b{view}", view)
                    queue.append(
                        (me, CandidateBuilt(type(made)(made.hash, view, parent, parent_view)))
                    )
                case Send(None, message):
                    queue.extend((to, Message(me, message)) for to in range(n) if to != me)
                case Deliver(block_hash):
                    delivered[me].append(block_hash)
                case _ if show(effect).startswith(("check", "fetch")):
                    name = effect.block.hash if hasattr(effect, "block") else effect.block_hash
                    queue.append((me, CheckedBlock(name, Verdict.OK)))

    for me, core in enumerate(cores):
        run_effects(me, start(core))
        run_effects(me, core.step(WorkChanged(True)))
    while min(map(len, delivered)) < 5:
        me, event = queue.pop(0)
        run_effects(me, cores[me].step(event))
    assert delivered[0][:5] == [digest(f"b{view}") for view in range(1, 6)]


def test_one_validator_decides_in_the_step_that_builds() -> None:
    """One sync for block, vote and certificate; the next block is asked for meanwhile."""
    run(
        """
        validators 1
        me 0
        watch log show
        start      =>
        work on    => build 1 on genesis(0)
        built a 1  => log1 FIRST 1 a, FAST 1 a +a; propose 1 a @1; show FAST 1 a @1; build 2 on a(1)
        synced 1   => deliver a by FAST
        """
    )


def test_votes_are_kept_within_the_window_only() -> None:
    """Garbage cannot fill the memory: views too far ahead, unknown voters, other epochs."""
    core = make_core(4, 3)
    start(core)
    assert core.wants_vote(vote(0, VoteKind.FIRST, 1 + WINDOW))
    assert not core.wants_vote(vote(0, VoteKind.FIRST, 2 + WINDOW))
    assert not core.wants_vote(vote(4, VoteKind.FIRST, 1))
    assert not core.wants_vote(vote(0, VoteKind.FIRST, 0))
    assert not core.wants_vote(Vote(2, 1, VoteKind.FIRST, None, 0, b"s" * 64))
    for view in range(1, 3 * WINDOW):
        for name in "abcdefgh":
            for kind in (VoteKind.FIRST, VoteKind.FALLBACK, VoteKind.FINALIZE):
                core.step(Message(0, Votes((vote(0, kind, view, name),))))
    kept = [view.tally for view in core._facts.chain.views.values()]
    assert len(kept) == 1 + WINDOW
    assert all(len(list(tally.of(0))) <= 4 for tally in kept)


def test_what_is_known_is_not_wanted_again() -> None:
    """Duplicates are dropped before their signatures are checked."""
    core = make_core(4, 3)
    start(core)
    first = vote(0, VoteKind.FIRST, 1, "a")
    assert core.wants_vote(first)
    core.step(Message(0, Votes((first,))))
    assert not core.wants_vote(first)
    assert core.wants_vote(vote(0, VoteKind.FIRST, 1, "b"))  # it convicts
    core.step(Message(0, Votes((vote(0, VoteKind.FIRST, 1, "b"),))))
    assert not core.wants_vote(vote(0, VoteKind.FIRST, 1, "c"))  # he is convicted
    null = certificate(CertificateKind.NULL, 1, None, (), (0, 1, 2))
    assert core.wants_certificate(null)
    core.step(Message(0, Certificates((null,))))
    assert not core.wants_certificate(null)
    final = certificate(CertificateKind.FINAL, 4, "d", (0, 1, 2))
    assert core.wants_certificate(final)
    core.step(Message(0, Certificates((final,))))
    assert not core.wants_certificate(final)
    assert not core.wants_certificate(certificate(CertificateKind.NOTAR, 3, "c", (0, 1, 2)))
    assert not core.wants_vote(vote(0, VoteKind.FINALIZE, 4, "d"))


def test_only_the_leaders_own_proposal_is_wanted_and_two_at_most() -> None:
    """A proposal is its leader's FIRST vote for that very block and view."""
    core = make_core(4, 3)
    start(core)

    def proposal(name: str, voter: int = 1, view: int = 1, voted: str | None = None) -> Propose:
        return Propose(block(name, view), (), vote(voter, VoteKind.FIRST, 1, voted or name))

    assert core.wants_proposal(proposal("a"))
    assert not core.wants_proposal(proposal("a", voter=2))
    assert not core.wants_proposal(proposal("a", voted="b"))
    assert not core.wants_proposal(proposal("a", view=5))
    for name in "ab":
        core.step(Message(1, proposal(name)))
        assert not core.wants_proposal(proposal(name))
    assert not core.wants_proposal(proposal("c"))


def test_decisions_without_bodies_are_bounded_and_the_first_and_last_kept() -> None:
    """A node far behind syncs towards the first it heard of while others keep coming."""
    core = make_core(4, None)
    start(core)
    last = 3 * DECISIONS_MAX
    for view in range(1, last + 1):
        proof = certificate(CertificateKind.FINAL, view, f"b{view}", (0, 1, 2))
        core.step(Message(0, Certificates((proof,))))
    assert len(core._facts.decisions) == DECISIONS_MAX
    assert len(core._facts.bodies) <= DECISIONS_MAX
    core.step(Persisted(last))
    for view in (1, last):
        effects = core.step(CheckedBlock(digest(f"b{view}"), Verdict.OK))
        assert said(effects) == {f"deliver b{view} by FINAL"}
    assert not core._facts.bodies


def test_a_decision_frees_the_views_below() -> None:
    """Memory follows the distance to the last final view, not the length of the chain."""
    core = make_core(1, 0)
    start(core)
    effects = core.step(WorkChanged(True))
    for view in range(1, 200):
        assert any(isinstance(effect, Build) for effect in effects)
        parent = ("genesis", 0) if view == 1 else (f"b{view - 1}", view - 1)
        effects = core.step(CandidateBuilt(block(f"b{view}", view, *parent)))
        core.step(Persisted(view))
    assert len(core._facts.chain.views) <= 1
    assert len(core._facts.bodies) <= 1


def test_records_are_canonical() -> None:
    """A record reads back as itself, and nothing else reads as a record."""
    one = Vote(1, 2, VoteKind.FIRST, digest("a"), 3, signer(3)(VoteKind.FIRST, 2, digest("a")))
    two = certificate(CertificateKind.NOTAR, 2, "a", (0, 1), (2,))
    for record in (one, two):
        assert decode_record(encode_record(record)) == record
    for data in (b"", b"\x90", b"\x92\x02\x90", encode_record(one)[:-1]):
        with pytest.raises((Undecodable, NonCanonical)):
            decode_record(data)


def test_a_simplex_is_a_core() -> None:
    """The seam holds."""
    core: Core = make_core(4, 0)
    assert core.status().view == 0
