"""Spread: who the links are, when bundles leave, and that a proposal waits for its body."""

from collections.abc import Callable, Iterable
from typing import Any

import pytest
from msgspec import structs

from chaind.consensus.core import BlockRef, Certificates, Propose, StatusMessage, Votes
from chaind.consensus.gossip import FLUSH_MS, TURNS, Gossip
from chaind.consensus.quorums import Quorums
from chaind.network import messages as wire
from chaind.node import spread as spread_module
from chaind.node.spread import Spread
from chaind.primitives.hashes import sha256d
from chaind.primitives.votes import Certificate, CertificateKind, Vote, VoteKind, bitmap

N = 10  # Q = 7
KEYS = [b"key %d" % index for index in range(N)]
NEAR = (1, 2, 3)


class Neighbour:
    """As much of a peer as this room looks at."""

    def __init__(self, index: int | None) -> None:
        self.index = index
        self.validator_key = None if index is None else KEYS[index]


class Timer:
    def __init__(self) -> None:
        self.cancelled = False

    def cancel(self) -> None:
        self.cancelled = True


class Room:
    """A spread among peers that are validators by number; number and index are the same."""

    def __init__(self, *indices: int) -> None:
        self.sent: list[tuple[list[int | None], wire.Message]] = []
        self.timers: list[tuple[float, Callable[[], None], Timer]] = []
        self.gossip = Gossip(epoch=0, quorums=Quorums([1] * N))
        self.spread = Spread(
            gossip=self.gossip,
            near=NEAR,
            keys=KEYS,
            broadcast=self.broadcast,
            timers=self,  # type: ignore[arg-type]
        )
        for index in indices:
            self.up(index)

    def up(self, index: int) -> None:
        peer: Any = Neighbour(index)
        self.spread.peer_up(index, peer)

    def call_later(self, delay_s: float, work: Callable[[], None]) -> Any:
        timer = Timer()
        self.timers.append((delay_s, work, timer))
        return timer

    def broadcast(self, message: wire.Message, peers: Iterable[Any]) -> None:
        self.sent.append(([peer.index for peer in peers], message))

    def told(self) -> list[int | None]:
        """Who has been sent something since this was last asked, over all turns."""
        for _ in range(TURNS):
            self.spread.pace()
            timers, self.timers = self.timers, []
            for _, work, _ in timers:
                work()
        sent, self.sent = self.sent, []
        return sorted(index for peers, _ in sent for index in peers if index is not None)


def first(voter: int, block: bytes, view: int = 1) -> Vote:
    return Vote(0, view, VoteKind.FIRST, block, voter, bytes(64))


HASH = bytes(range(32))
OWN = Votes((first(0, HASH),))
SHOWN = wire.Votes(OWN.votes)


def test_neighbours_of_the_graph_are_the_links() -> None:
    room = Room(1, 2, 3, 4, 5)
    assert room.spread.say(OWN, SHOWN)
    assert room.told() == [1, 2, 3]


def test_others_take_the_places_of_those_that_are_not_connected() -> None:
    room = Room(5, 2, 6, 7)
    room.spread.say(OWN, SHOWN)
    assert room.told() == [2, 5, 6]
    room.up(1)  # one of ours: 6 gives way, and is told nothing more
    assert room.told() == [1]
    room.spread.peer_down(2)
    assert room.told() == [6]
    room.spread.say(Votes((first(0, HASH, view=2),)), SHOWN)
    assert room.told() == [1, 5, 6]


def test_full_nodes_are_no_links() -> None:
    room = Room()
    peer: Any = Neighbour(None)
    room.spread.peer_up(9, peer)
    room.spread.say(OWN, SHOWN)
    assert room.told() == []
    room.spread.peer_down(9)


def test_questions_and_statuses_go_to_everybody() -> None:
    status = StatusMessage(0, 1, 0, HASH)
    assert not Room(1).spread.say(status, wire.Status(0, 1, 0, HASH, 0))


def test_news_wait_for_each_other_and_a_quorum_waits_for_nothing() -> None:
    room = Room(1, 2, 3)
    room.spread.say(OWN, SHOWN)
    room.spread.pace()
    room.spread.took(1, (first(4, HASH),))
    room.spread.pace()
    assert room.sent == []
    assert [delay_s for delay_s, _, _ in room.timers] == [FLUSH_MS / 1000]
    room.spread.took(1, [first(voter, HASH) for voter in range(1, 8)])
    room.spread.pace()
    assert sorted(peers[0] or 0 for peers, _ in room.sent) == [2, 3]  # 1 has sent us a quorum
    (made,) = room.spread.completed()
    assert made.kind is CertificateKind.NOTAR


def test_after_the_end_nothing_is_sent() -> None:
    room = Room(1)
    room.spread.say(OWN, SHOWN)
    room.spread.pace()
    room.spread.stop()
    assert [timer.cancelled for _, _, timer in room.timers] == [True]


def proposal(view: int = 3) -> tuple[Propose, wire.Proposal]:
    header = view.to_bytes(80, "big")
    block = sha256d(header)
    proof = Certificate(
        0, view - 1, CertificateKind.NOTAR, HASH, bitmap(range(7)), b"", (bytes(64),) * 7
    )
    vote = first(view, block, view)
    ref = BlockRef(block, view, HASH, view - 1)
    shown = wire.Proposal(header, b"", b"", (), view - 1, (proof,), vote)
    return Propose(ref, (proof,), vote), shown


def test_a_proposal_waits_for_its_body_and_carries_what_is_lacking() -> None:
    room = Room(1, 2, 3)
    said, shown = proposal()
    room.spread.took(2, [first(voter, HASH, view=2) for voter in range(7)])
    room.spread.received(said, shown, 1)
    assert room.sent == []
    room.spread.held(said.block.hash)
    assert room.sent == [([2], structs.replace(shown, justification=())), ([3], shown)]
    room.spread.held(said.block.hash)
    assert len(room.sent) == 2


def test_an_own_proposal_goes_out_at_once_and_its_vote_alone_once_it_is_final() -> None:
    room = Room(1, 2, 3)
    said, shown = proposal()
    assert room.spread.say(said, shown)
    assert room.sent == [([1, 2, 3], shown)]
    room = Room(1, 2, 3)
    assert room.spread.say(said, wire.Votes((said.vote,)))
    assert room.told() == [1, 2, 3]


def test_proposals_without_bodies_are_bounded_and_end_with_their_view(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(spread_module, "RECEIVED_MAX", 4)
    room = Room(1, 2, 3)
    for view in range(1, 8):
        room.spread.received(*proposal(view), 1)
    assert len(room.spread._received) == 4
    room.spread.forget(5)
    assert [said.block.view for said, _, _ in room.spread._received.values()] == [6, 7]


def test_a_certificate_is_told_as_votes() -> None:
    room = Room(1, 2, 3)
    _, shown = proposal()
    room.spread.say(Certificates(shown.justification), wire.Certificates(shown.justification))
    assert room.told() == [1, 2, 3]
    room.spread.heard_proposal(1, proposal()[0])
    room.spread.heard_status(1, 2)
    assert room.told() == []
