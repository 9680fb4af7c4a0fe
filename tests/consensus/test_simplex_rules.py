"""Rules 3 to 7 of Epidemic Simplex: each fires when it must, and does not when it must not."""

from simplex_kit import block, certificate, vote
from simplex_script import run, tables

from chaind.consensus import rules
from chaind.consensus.core import Verdict
from chaind.consensus.quorums import Quorums
from chaind.consensus.views import View
from chaind.primitives.votes import CertificateKind, VoteKind

RULE_3 = {
    "FIRST for a proposal that is justified and checked": """
        start          =>
        propose a 1    => check a
        ok a           => say FIRST 1 a
        propose b 1    => report 1
        ok b           =>
        fire VIEW      =>
        fire VIEW      =>
    """,
    "nothing before the body is checked, ⊥ when the timer fires first": """
        start          =>
        propose a 1    => check a
        fire VIEW      =>
        fire VIEW      => say FIRST 1 ⊥
        ok a           =>
    """,
    "⊥ for a permanently invalid block": """
        start          =>
        propose a 1    => check a
        never a        => say FIRST 1 ⊥
    """,
    "an untimely block gets no FIRST until it is timely": """
        start          =>
        propose a 1    => check a
        untimely a     =>
        ok a           => say FIRST 1 a
    """,
    "⊥ when the leader said ⊥": """
        start          =>
        FIRST 1 1 ⊥    => say FIRST 1 ⊥
    """,
    "⊥ of another than the leader changes nothing": """
        start          =>
        FIRST 2 1 ⊥    =>
    """,
    "no FIRST without the certificates between parent and view": """
        start                =>
        NULL 1               =>
        propose b 2 a 1      => ask 1-1 to 9
        ok b                 =>
        NOTAR 1 a            => fetch a; check b
        ok b                 => say FIRST 2 b
    """,
    "a justification inside the proposal does": """
        me 0
        start                        =>
        propose c 3 genesis 0 NULL.1 NULL.2 => check c
        ok c                         => say FIRST 3 c
    """,
    "no FIRST over a gap in the nulls": """
        me 0
        start                        =>
        propose c 3 genesis 0 NULL.2 => ask 1-2 to 9; ask 1-1 to 9
        ok c                         =>
        NULL 1                       => check c
        ok c                         => say FIRST 3 c
    """,
    "no FIRST on anything but the last decided block": """
        start                =>
        FAST 1 a             => fetch a
        propose b 2          =>
        ok b                 =>
    """,
    "a proposal by another than the leader is nothing": """
        start          =>
        FIRST 2 1 a    =>
        ok a           =>
    """,
}

RULE_4 = {
    "FALLBACK at T FIRST votes, once the body is held": """
        start          =>
        fire VIEW      =>
        fire VIEW      => say FIRST 1 ⊥
        FIRST 0 1 a    =>
        FIRST 1 1 a    => fetch a
        ok a           => say FALLBACK 1 a
        ok a           =>
    """,
    "an untimely body is enough for FALLBACK": """
        start          =>
        propose a 1    => check a
        untimely a     =>
        fire VIEW      =>
        fire VIEW      => say FIRST 1 ⊥
        FIRST 0 1 a    => say FALLBACK 1 a
    """,
    "a FIRST for another block falls back too, and contradicts": """
        start          =>
        propose a 1    => check a
        ok a           => say FIRST 1 a
        FIRST 0 1 b    =>
        FIRST 2 1 b    => say NULLIFY 1; fetch b
        ok b           => say FALLBACK 1 b
    """,
    "not before the own FIRST": """
        start          =>
        FIRST 0 1 a    =>
        FIRST 2 1 a    =>
        ok a           =>
    """,
    "never for an invalid body": """
        start          =>
        fire VIEW      =>
        fire VIEW      => say FIRST 1 ⊥
        FIRST 0 1 a    =>
        FIRST 1 1 a    => fetch a
        never a        =>
    """,
    "not in a view that has ended": """
        start          =>
        fire VIEW      =>
        fire VIEW      => say FIRST 1 ⊥
        NULL 1         =>
        FIRST 0 1 a    =>
        FIRST 1 1 a    =>
        ok a           =>
    """,
}

RULE_5 = {
    "NULLIFY at T FIRST votes against, blocks and ⊥ together": """
        start          =>
        propose a 1    => check a
        ok a           => say FIRST 1 a
        FIRST 0 1 ⊥    =>
        FIRST 2 1 b    => say NULLIFY 1
        FIRST 1 1 c    => report 1
    """,
    "an equivocator counts once": """
        start          =>
        propose a 1    => check a
        ok a           => say FIRST 1 a
        FIRST 0 1 b    =>
        FIRST 0 1 c    => report 0
        FIRST 0 1 ⊥    =>
    """,
    "one who said ⊥ has nothing to nullify": """
        start          =>
        fire VIEW      =>
        fire VIEW      => say FIRST 1 ⊥
        FIRST 0 1 b    =>
        FIRST 2 1 c    =>
    """,
}

RULE_6 = {
    "FINALIZE on NOTAR, and then nothing more": """
        start          =>
        propose a 1    => check a
        ok a           => say FIRST 1 a
        NOTAR 1 a      => say FINALIZE 1 a
        FIRST 0 1 b    =>
        FIRST 2 1 ⊥    =>
        fire VIEW      =>
    """,
    "FINALIZE with FIRST unset": """
        start          =>
        NOTAR 1 a      => fetch a
        ok a           => say FINALIZE 1 a
    """,
    "an untimely body is enough for FINALIZE": """
        start          =>
        NOTAR 1 a      => fetch a
        untimely a     => say FINALIZE 1 a
    """,
    "not without the body": """
        start          =>
        NOTAR 1 a      => fetch a
        NOTAR 2 b      => fetch b
        ok b           => say FINALIZE 2 b
        ok a           => say FINALIZE 1 a
    """,
    "not after FIRST for another": """
        start          =>
        propose a 1    => check a
        ok a           => say FIRST 1 a
        NOTAR 1 b      => fetch b
        ok b           =>
    """,
    "not after FIRST ⊥": """
        start          =>
        fire VIEW      =>
        fire VIEW      => say FIRST 1 ⊥
        NOTAR 1 a      => fetch a
        ok a           =>
    """,
    "not after FALLBACK": """
        start          =>
        fire VIEW      =>
        fire VIEW      => say FIRST 1 ⊥
        FIRST 0 1 a    =>
        FIRST 1 1 a    => fetch a
        ok a           => say FALLBACK 1 a
    """,
    "not after NULLIFY": """
        start          =>
        propose a 1    => check a
        ok a           => say FIRST 1 a
        FIRST 0 1 ⊥    =>
        FIRST 2 1 ⊥    => say NULLIFY 1
        NOTAR 1 a      =>
    """,
    "not below the last decided view": """
        start          =>
        FINAL 2 b      => fetch b
        NOTAR 1 a      =>
        ok a           =>
    """,
}

RULE_7 = {
    "FAST finalises, once durable and held": """
        start          =>
        propose a 1    => check a
        ok a           => say FIRST 1 a
        synced 1       =>
        FIRST 0 1 a    => say FINALIZE 1 a
        FIRST 2 1 a    =>
        synced 3       => deliver a by FAST
    """,
    "FINAL finalises, once durable and held": """
        start          =>
        FINALIZE 0 1 a =>
        FINALIZE 1 1 a =>
        FINALIZE 2 1 a => fetch a
        synced 1       =>
        ok a           => deliver a by FINAL
    """,
    "the newest decision carries its ancestors": """
        start          =>
        FINAL 1 a      => fetch a
        FINAL 2 b      => fetch b
        synced 2       =>
        ok b           => deliver b by FINAL
        ok a           =>
    """,
    "an older one is delivered while the newer waits": """
        start          =>
        FINAL 1 a      => fetch a
        FINAL 2 b      => fetch b
        ok a           =>
        synced 1       => deliver a by FINAL
        ok b           =>
        synced 2       => deliver b by FINAL
    """,
    "a certified block that is invalid here stops the node": """
        start          =>
        NOTAR 1 a      => fetch a
        never a        => halt
        ok a           =>
        FINAL 1 a      =>
    """,
    "so does certifying what was found invalid": """
        start          =>
        propose a 1    => check a
        never a        => say FIRST 1 ⊥
        NOTAR 1 a      => halt
    """,
    "and a final block in a nullified view": """
        start          =>
        NULL 1         =>
        FINAL 1 a      => halt
    """,
}


@tables(RULE_3)
def test_rule_3_first_vote(script: str) -> None:
    run(script)


@tables(RULE_4)
def test_rule_4_fallback(script: str) -> None:
    run(script)


@tables(RULE_5)
def test_rule_5_contradiction(script: str) -> None:
    run(script)


@tables(RULE_6)
def test_rule_6_finalize(script: str) -> None:
    run(script)


@tables(RULE_7)
def test_rule_7_decide(script: str) -> None:
    run(script)


def test_rule_3_looks_at_the_justification_itself() -> None:
    """Whatever else keeps an unjustified proposal from being checked."""
    view, proposal = View(2, Quorums([1] * 4)), block("b", 2, "a", 1)
    view.proposals[proposal.hash] = proposal

    def first(*, justified: bool) -> rules.Say | None:
        return rules.first_vote(view, 2, False, lambda _: justified, lambda _: Verdict.OK)

    assert first(justified=False) is None
    assert first(justified=True) == (VoteKind.FIRST, proposal.hash)


def test_rule_6_looks_at_fallbacks_itself() -> None:
    """Whatever else was said by then: rule 5 nullifies after the same FIRSTs that allow rule 4."""
    view = View(1, Quorums([1] * 4))
    proof = certificate(CertificateKind.NOTAR, 1, "a", (0, 1, 3))
    view.add(proof)
    view.tally.add(vote(3, VoteKind.FIRST, 1, "a"))
    assert rules.final_vote(view, 3, lambda _: True) == (VoteKind.FINALIZE, proof.block)
    view.tally.add(vote(3, VoteKind.FALLBACK, 1, "b"))
    assert rules.final_vote(view, 3, lambda _: True) is None
