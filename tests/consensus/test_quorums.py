"""Quorum arithmetic, tallies and evidence: weights are counted once, and thresholds exactly."""

from random import Random

import pytest
from simplex_kit import certificate, digest, signer, vote

from chaind.consensus.evidence import contradict
from chaind.consensus.quorums import QuorumMissing, Quorums, QuorumsInvalid, check_certificate
from chaind.consensus.tally import Tally
from chaind.primitives.votes import CertificateKind, VoteKind, check_certificate_form

FIRST, FALLBACK, NULLIFY, FINALIZE = VoteKind
NOTAR, NULL, FINAL, FAST = CertificateKind


@pytest.mark.parametrize(
    ("n", "f", "p", "quorum", "fast", "threshold"),
    [
        (1, 0, 0, 1, 1, 1),
        (2, 0, 0, 2, 2, 1),
        (3, 0, 1, 2, 2, 2),
        (4, 1, 0, 3, 4, 2),
        (5, 1, 0, 4, 5, 2),
        (6, 1, 1, 4, 5, 3),
        (7, 2, 0, 5, 7, 3),
        (10, 3, 0, 7, 10, 4),
        (64, 21, 0, 43, 64, 22),
        (100, 33, 0, 67, 100, 34),
    ],
)
def test_thresholds_by_size(n: int, f: int, p: int, quorum: int, fast: int, threshold: int) -> None:
    quorums = Quorums([1] * n)
    assert (quorums.byzantine, quorums.silent) == (f, p)
    assert (quorums.quorum, quorums.fast, quorums.threshold) == (quorum, fast, threshold)


def test_the_safety_inequalities_hold_for_every_choice() -> None:
    """Two quorums share an honest voter; FAST leaves less than Q, and less than T, against it."""
    for n in range(1, 40):
        for f in range((n - 1) // 3 + 1):
            for p in range((n - 3 * f - 1) // 2 + 1):
                q = Quorums([1] * n, byzantine=f, silent=p)
                assert 2 * q.quorum - n > f
                assert p + f < q.threshold
                assert p + f < q.quorum
                assert q.quorum <= n - f  # the honest alone are enough
                assert n // q.threshold <= q.fallbacks_max  # blocks that can reach T
        assert Quorums([1] * n).fallbacks_max == 2


def test_weights_are_what_counts() -> None:
    quorums = Quorums([5, 1, 1, 3])
    assert (quorums.total, quorums.byzantine, quorums.quorum) == (10, 3, 7)
    check_certificate(certificate(FINAL, 1, "a", (0, 3)), quorums)
    with pytest.raises(QuorumMissing):
        check_certificate(certificate(FINAL, 1, "a", (0, 1)), quorums)


@pytest.mark.parametrize(
    ("weights", "f", "p"),
    [([], None, None), ([1, 0], None, None), ([1, -1, 3], None, None), ([1] * 3, 1, 0),
     ([1] * 4, 1, 1), ([1] * 4, -1, 0), ([1] * 4, 0, -1)],
)  # fmt: skip
def test_impossible_parameters_are_refused(
    weights: list[int], f: int | None, p: int | None
) -> None:
    with pytest.raises(QuorumsInvalid):
        Quorums(weights, byzantine=f, silent=p)


def test_certificates_are_counted_exactly() -> None:
    """Q for NOTAR, NULL and FINAL, F for FAST; a signer who is no validator spoils it."""
    quorums = Quorums([1] * 4)
    check_certificate(certificate(NOTAR, 1, "a", (0,), (1, 3)), quorums)
    check_certificate(certificate(FAST, 1, "a", (0, 1, 2, 3)), quorums)
    for bad in (
        certificate(NOTAR, 1, "a", (0,), (1,)),
        certificate(NULL, 1, None, (0, 1)),
        certificate(FINAL, 1, "a", (2, 3)),
        certificate(FAST, 1, "a", (0, 1, 2)),
        certificate(FINAL, 1, "a", (0, 1, 2, 4)),
        certificate(FINAL, 1, "a", ()),
    ):
        with pytest.raises(QuorumMissing):
            check_certificate(bad, quorums)


def test_a_voter_counts_once_for_a_claim() -> None:
    """FIRST and FALLBACK, or ⊥ and NULLIFY, of one voter are one voter's weight."""
    tally = Tally(Quorums([1] * 4))
    for one in (
        vote(0, FIRST, 1, "a"), vote(0, FALLBACK, 1, "a"),
        vote(1, FALLBACK, 1, "a"), vote(1, FIRST, 1, "a"),
        vote(2, FIRST, 1), vote(2, NULLIFY, 1),
        vote(3, NULLIFY, 1), vote(3, FIRST, 1),
    ):  # fmt: skip
        assert tally.add(one) is None
    assert tally.support[digest("a")] == tally.support[None] == 2
    assert not tally.proves(NOTAR, digest("a"))
    assert not tally.proves(NULL, None)
    assert tally.firsts_weight == 4


def test_only_the_first_first_counts_and_two_fallbacks_are_kept() -> None:
    tally = Tally(Quorums([1] * 4))
    tally.add(vote(0, FIRST, 1, "a"))
    assert tally.add(vote(0, FIRST, 1, "b")) == vote(0, FIRST, 1, "a")
    assert tally.first_weight[digest("b")] == 0
    for name in "bc":
        assert tally.wants(vote(0, FALLBACK, 1, name))
        tally.add(vote(0, FALLBACK, 1, name))
    assert not tally.wants(vote(0, FALLBACK, 1, "d"))
    assert len(tally.fallbacks[0]) == 2


def test_the_sums_agree_with_a_count_from_scratch_and_certificates_check() -> None:
    """Random votes, some of them contradictory, of weighted voters."""
    random = Random(7)
    quorums = Quorums([1, 2, 3, 1, 2, 4, 1])
    names = ("a", "b", None)
    proved = 0
    for _ in range(300):
        tally = Tally(quorums)
        for _ in range(random.randrange(1, 60)):
            kind = random.choice(list(VoteKind))
            name = None if kind is NULLIFY else random.choice(names[: 3 if kind is FIRST else 2])
            one = vote(random.randrange(7), kind, 1, name)
            if tally.wants(one):
                tally.add(one)
        for name in names:
            block = None if name is None else digest(name)
            first = {v for v, one in tally.firsts.items() if one.block == block}
            second = (
                set(tally.nullifies)
                if block is None
                else {v for v, held in tally.fallbacks.items() for o in held if o.block == block}
            )
            final = {v for v, one in tally.finalizes.items() if one.block == block}

            def weigh(voters: set[int]) -> int:
                return sum(quorums.weights[voter] for voter in voters)

            assert tally.support[block] == weigh(first | second)
            assert tally.first_weight[block] == weigh(first)
            for kind in [NULL] if block is None else [NOTAR, FINAL, FAST]:
                if not tally.proves(kind, block):
                    continue
                proof = tally.certificate(kind, 1, 1, block)
                check_certificate_form(proof)
                check_certificate(proof, quorums)
                voters = final if kind is FINAL else first if kind is FAST else first | second
                assert proof.voters() == sorted(voters)
                for inside in proof.votes():
                    sign = signer(inside.voter)(inside.kind, 1, inside.block)
                    assert inside.signature == sign
                proved += 1
    assert proved > 50


A, B, NONE = "a", "b", None
CONVICTS = [
    ((FIRST, A), (FIRST, B)),
    ((FIRST, A), (FIRST, NONE)),
    ((FINALIZE, A), (FINALIZE, B)),
    ((FINALIZE, A), (FIRST, NONE)),
    ((FINALIZE, A), (FIRST, B)),
    ((FINALIZE, A), (NULLIFY, NONE)),
    ((FINALIZE, A), (FALLBACK, A)),
    ((FINALIZE, A), (FALLBACK, B)),
]
HONEST = [
    ((FIRST, A), (FIRST, A)),
    ((FIRST, A), (FINALIZE, A)),
    ((FIRST, A), (FALLBACK, B)),
    ((FIRST, A), (NULLIFY, NONE)),
    ((FIRST, NONE), (FALLBACK, A)),
    ((FALLBACK, A), (FALLBACK, B)),
    ((FALLBACK, A), (NULLIFY, NONE)),
    ((FINALIZE, A), (FINALIZE, A)),
]
Claim = tuple[VoteKind, str | None]


@pytest.mark.parametrize(("one", "other"), CONVICTS)
def test_pairs_that_convict(one: Claim, other: Claim) -> None:
    """Either way round, once per voter and view; never across voters, views or epochs."""
    first, second = vote(2, one[0], 3, one[1]), vote(2, other[0], 3, other[1])
    assert contradict(first, second)
    assert contradict(second, first)
    assert not contradict(first, vote(1, other[0], 3, other[1]))
    assert not contradict(first, vote(2, other[0], 4, other[1]))
    for before, after in ((first, second), (second, first)):
        tally = Tally(Quorums([1] * 4))
        assert tally.add(before) is None
        assert tally.wants(after)
        assert tally.add(after) == before
        assert tally.accused == {2}


@pytest.mark.parametrize(("one", "other"), HONEST)
def test_pairs_that_honest_voters_sign(one: Claim, other: Claim) -> None:
    assert not contradict(vote(2, one[0], 3, one[1]), vote(2, other[0], 3, other[1]))
    assert not contradict(vote(2, other[0], 3, other[1]), vote(2, one[0], 3, one[1]))
