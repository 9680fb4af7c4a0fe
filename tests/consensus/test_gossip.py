"""Gossip: nobody is told what it holds, everybody what it lacks, and a quorum at its own price."""

from collections.abc import Iterable, Sequence

import pytest
from simplex_kit import EPOCH, block, certificate, vote

from chaind.consensus.core import Propose
from chaind.consensus.gossip import BUNDLES_MAX, SIGNATURES_MAX, TURNS, VIEWS_MAX, Gossip
from chaind.consensus.quorums import Quorums, check_certificate
from chaind.primitives.votes import (
    Certificate,
    CertificateKind,
    Vote,
    VoteBundle,
    VoteKind,
    bitmap,
    bitmap_indices,
    check_bundle_form,
    check_certificate_form,
)

N = 10  # f = 3, Q = 7
LINKS = (1, 2, 3)
FIRST, FALLBACK, NULLIFY, FINALIZE = VoteKind
Told = dict[int, list[VoteBundle]]


def gossip(n: int = N, links: Sequence[int] = LINKS, weights: Sequence[int] = ()) -> Gossip:
    made = Gossip(epoch=EPOCH, quorums=Quorums(weights or [1] * n))
    for link in links:
        made.link_up(link)
    return made


def firsts(voters: Iterable[int], view: int = 1, name: str = "b") -> list[Vote]:
    return [vote(voter, FIRST, view, name) for voter in voters]


def bundle_of(votes: Sequence[Vote]) -> VoteBundle:
    one = votes[0]
    voters = bitmap([each.voter for each in votes])
    signatures = tuple(each.signature for each in sorted(votes, key=lambda each: each.voter))
    return VoteBundle(one.epoch, one.view, one.kind, one.block, voters, signatures)


def flushed(one: Gossip) -> Told:
    """What everyone is told, over as many flushes as it takes."""
    told: Told = {}
    for _ in range(TURNS):
        for link, bundles in one.flush():
            told.setdefault(link, []).extend(bundles)
    for bundles in told.values():
        for bundle in bundles:
            check_bundle_form(bundle)
    return told


def voters(bundles: Iterable[VoteBundle]) -> list[int]:
    return [voter for bundle in bundles for voter in bitmap_indices(bundle.voters)]


def test_everybody_is_told_what_it_is_not_known_to_hold_and_nothing_twice() -> None:
    one = gossip()
    one.took(1, firsts([4, 5]))
    one.say_votes(firsts([0]))
    assert {link: voters(bundles) for link, bundles in flushed(one).items()} == {
        1: [0],
        2: [0, 4, 5],
        3: [0, 4, 5],
    }
    assert flushed(one) == {}
    assert not one.waiting
    one.took(2, firsts([6]))
    assert {link: voters(bundles) for link, bundles in flushed(one).items()} == {1: [6], 3: [6]}


def test_votes_travel_whole() -> None:
    one = gossip(links=(1,))
    votes = [*firsts([4, 2]), vote(3, FIRST, 1), vote(5, NULLIFY, 2), vote(6, FINALIZE, 2, "c")]
    one.took(None, votes)
    told = [each for bundle in flushed(one)[1] for each in bundle.votes()]
    assert sorted(told, key=repr) == sorted(votes, key=repr)


def test_a_flush_serves_every_neighbour_in_turn() -> None:
    one = gossip(links=range(1, 7))
    one.say_votes(firsts([0]))
    rounds = [{link for link, _ in one.flush()} for _ in range(TURNS)]
    assert set.union(*rounds) == set(range(1, 7))
    assert sum(map(len, rounds)) == 6
    one.link_down(1)
    one.took(None, firsts([7]))
    assert flushed(one).keys() == set(range(2, 7))


def test_what_is_held_is_dropped_by_bitmap() -> None:
    one = gossip()
    one.took(1, firsts([4, 5]))
    assert [each.voter for each in one.news(2, bundle_of(firsts([4, 5, 6])))] == [6]
    assert one.news(3, bundle_of(firsts([5]))) == []


def test_what_a_neighbour_sent_is_not_sent_back() -> None:
    one = gossip()
    one.took(1, firsts([4, 5]))
    one.news(2, bundle_of(firsts([4, 5])))
    assert flushed(one).keys() == {3}


def test_what_nobody_signed_takes_no_memory() -> None:
    one = gossip()
    for number in range(100):
        assert len(one.news(1, bundle_of(firsts([4], name=f"forged {number}")))) == 1
    assert one._proofs == {}
    assert not one.waiting


def test_voters_beyond_the_set_do_not_make_a_neighbour_look_complete() -> None:
    one = gossip()
    one.took(None, firsts([0]))
    one.news(1, bundle_of(firsts(range(100, 120))))
    assert voters(flushed(one)[1]) == [0]


def test_another_epoch_is_no_news() -> None:
    one = gossip()
    old = VoteBundle(EPOCH + 1, 1, FIRST, None, b"\x01", (bytes(64),))
    assert one.news(1, old) == []


def test_a_quorum_is_urgent_and_told_at_the_price_of_what_is_missing() -> None:
    one = gossip()
    one.took(1, firsts([0, 1, 2, 3]))
    one.took(2, firsts([4, 5]))
    assert not one.urgent
    one.took(3, firsts([6, 7]))
    assert one.urgent
    told = dict(one.flush())  # all of them, whose turn it is and whose not
    assert not one.urgent
    known = {1: {0, 1, 2, 3}, 2: {4, 5}, 3: {6, 7}}
    for link, bundles in told.items():
        fresh = voters(bundles)
        assert not known[link] & set(fresh)
        assert len(known[link]) + len(fresh) == 7


def test_nothing_more_is_told_of_a_certificate_that_a_neighbour_holds() -> None:
    one = gossip()
    one.took(1, firsts(range(7)))
    one.flush()
    one.took(None, firsts([8, 9]))
    assert flushed(one) == {}


@pytest.mark.parametrize(
    ("kind", "name", "first", "second"),
    [
        (CertificateKind.NOTAR, "b", FIRST, FALLBACK),
        (CertificateKind.NULL, None, FIRST, NULLIFY),
    ],
)
def test_two_kinds_of_votes_make_one_certificate_and_no_voter_counts_twice(
    kind: CertificateKind, name: str | None, first: VoteKind, second: VoteKind
) -> None:
    one = gossip()
    one.took(1, [vote(voter, first, 1, name) for voter in range(5)])
    one.took(1, [vote(voter, second, 1, name) for voter in (3, 4, 5)])
    assert one.completed() == []
    assert not one.urgent
    one.took(1, [vote(6, second, 1, name)])
    (made,) = one.completed()
    check_certificate_form(made)
    check_certificate(made, Quorums([1] * N))
    assert (made.kind, made.voters()) == (kind, list(range(7)))
    assert one.completed() == []


def test_finalize_is_a_certificate_of_its_own() -> None:
    one = gossip()
    one.took(1, [vote(voter, FINALIZE, 1, "b") for voter in range(7)])
    (made,) = one.completed()
    check_certificate_form(made)
    assert made.kind is CertificateKind.FINAL


def test_a_second_first_vote_counts_for_its_block_as_in_any_certificate() -> None:
    """A core counts a double voter's first word only; a certificate may rest on the other one."""
    one = gossip()
    one.took(1, firsts([0], name="other"))
    one.took(2, firsts(range(7)))
    (made,) = one.completed()
    assert made.voters() == list(range(7))


def test_weights_are_what_counts() -> None:
    weights = [1] * 6 + [5]  # n = 11, f = 3, Q = 8
    one = gossip(weights=weights)
    one.took(1, firsts([0, 1, 2, 3, 4, 5]))
    assert not one.urgent
    one.took(2, firsts([6]))
    assert one.urgent
    told = {link: voters(bundles) for link, bundles in one.flush()}
    assert told[1] == [6]
    assert told[2] == [0, 1, 2]
    assert sum(weights[voter] for voter in told[3]) >= 8


def test_a_certificate_is_told_in_parts_and_needs_no_repetition() -> None:
    one = gossip()
    proof = certificate(CertificateKind.NOTAR, 1, "b", range(7))
    one.took(1, firsts([0, 1]))
    one.say_certificates([proof])
    told = {link: voters(bundles) for link, bundles in one.flush()}
    assert told == {1: [2, 3, 4, 5, 6], 2: list(range(7)), 3: list(range(7))}
    one.say_certificates([proof])
    assert flushed(one) == {}


def test_an_own_vote_said_again_goes_to_those_not_heard_to_hold_it() -> None:
    one = gossip()
    one.say_votes(firsts([0]))
    flushed(one)
    one.news(2, bundle_of(firsts([0])))
    one.say_votes(firsts([0]))
    assert {link: voters(bundles) for link, bundles in flushed(one).items()} == {1: [0], 3: [0]}


def test_a_neighbour_that_does_not_move_is_told_again() -> None:
    one = gossip()
    one.took(1, firsts([4]))
    one.took(2, firsts([5]))
    flushed(one)
    one.heard_status(1, 1)
    assert flushed(one) == {}
    one.heard_status(1, 1)
    assert {link: voters(bundles) for link, bundles in flushed(one).items()} == {1: [5]}
    one.heard_status(1, 2)
    assert flushed(one) == {}


def test_a_new_link_is_told_everything() -> None:
    one = gossip()
    one.took(1, firsts([4]))
    flushed(one)
    one.link_down(2)
    one.link_up(2)
    assert {link: voters(bundles) for link, bundles in flushed(one).items()} == {2: [4]}


def test_what_is_final_is_forgotten() -> None:
    one = gossip()
    one.took(1, firsts([4]))
    one.took(1, firsts([4], view=2))
    one.forget(1)
    told = flushed(one)
    assert [bundle.view for bundles in told.values() for bundle in bundles] == [2, 2]
    assert one.news(1, bundle_of(firsts([5]))) == []
    one.took(1, firsts([5]))
    assert not one.waiting


def test_only_the_newest_views_are_kept_however_long_nothing_is_final() -> None:
    one = gossip()
    for view in range(1, 3 * VIEWS_MAX):
        one.took(1, [vote(4, NULLIFY, view)])
    assert len(one._proofs) == VIEWS_MAX


PROPOSAL = Propose(
    block("c", 3, "a", 1),
    (
        certificate(CertificateKind.NOTAR, 1, "a", range(7)),
        certificate(CertificateKind.NULL, 2, None, range(7)),
    ),
    vote(3, FIRST, 3, "c"),
)


def kinds(why: tuple[Certificate, ...]) -> list[CertificateKind]:
    return [one.kind for one in why]


def test_a_proposal_goes_to_all_that_do_not_hold_it_with_what_they_lack() -> None:
    one = gossip()
    one.took(2, firsts(range(7), view=1, name="a"))
    one.took(3, [vote(voter, FINALIZE, 1, "a") for voter in range(7)])
    sent = {link: kinds(why) for link, why in one.spread(PROPOSAL, 1)}
    both = [CertificateKind.NOTAR, CertificateKind.NULL]
    assert sent == {2: both[1:], 3: both[1:]}
    assert one.spread(PROPOSAL, 2) == []
    told = flushed(one)
    assert told.keys() == {1, 2, 3}
    assert all(bundle.view < 3 for bundles in told.values() for bundle in bundles)


def test_an_own_proposal_said_again_goes_to_all_again() -> None:
    one = gossip()
    assert len(one.spread(PROPOSAL, None)) == 3
    one.heard_proposal(2, PROPOSAL)
    assert len(one.spread(PROPOSAL, None)) == 3


def test_messages_are_bounded() -> None:
    one = gossip(n=SIGNATURES_MAX, links=(1,))
    for view in (1, 2):
        one.took(None, firsts(range(SIGNATURES_MAX // 2 + 1), view=view, name="b"))
    sizes = [sum(len(each.signatures) for each in bundles) for _, bundles in one.flush()]
    assert sizes == [SIGNATURES_MAX // 2 + 1] * 2
    one = gossip(links=(1,))
    for number in range(BUNDLES_MAX + 1):
        one.took(None, firsts([4], name=f"{number}"))
    assert [len(bundles) for _, bundles in one.flush()] == [BUNDLES_MAX, 1]
