"""Gossip: what is pushed, what is announced, and that nobody can stop a transaction by silence."""

from collections.abc import Callable, Iterable
from random import Random
from typing import Any

import pytest
from parts import FakePeer, World

from chaind.ledger.execute import Receipt
from chaind.network.messages import Announce, GetTransactions, Message, Transactions
from chaind.node import relay as relay_module
from chaind.node.relay import ASKED_MS, PUSH_PEERS_MAX, Relay
from chaind.primitives.transaction import Transaction


class Room:
    """A relay whose peers are lists of what they were sent."""

    def __init__(self, world: World, peers: int) -> None:
        self.world = world
        self.sent: dict[str, list[Message]] = {}
        self.timers: list[Callable[[], None]] = []
        self.relay = Relay(
            pool=world.pool,
            outlet=self,
            rng=Random(1),
            call_later=lambda _delay_s, work: self.timers.append(work),
            clock=world.clock,
        )
        self.peers: list[Any] = [FakePeer(str(number)) for number in range(peers)]
        for peer in self.peers:
            self.sent[peer.node_id] = []
            self.relay.peer_up(peer)

    def send(self, peer: Any, message: Message) -> None:
        self.sent[peer.node_id].append(message)

    def broadcast(self, message: Message, *, only: Iterable[Any]) -> None:
        for peer in only:
            self.send(peer, message)

    def accept(self, *transactions: Transaction, local: bool) -> None:
        batch = [self.world.check(transaction) for transaction in transactions]
        for checked in batch:
            self.world.pool.add(Receipt(checked, 0, ()), 0, lambda _row: 1 << 62)
        self.relay.accepted(batch, local=local)

    def flush(self) -> None:
        timers, self.timers = self.timers, []
        for work in timers:
            work()

    def to(self, peer: int) -> list[Message]:
        name = str(peer)
        sent, self.sent[name] = self.sent[name], []
        return sent


def test_few_peers_get_a_client_s_transactions_whole(world: World) -> None:
    room = Room(world, 3)
    first, second = world.payment(), world.payment()
    room.accept(first, local=True)
    room.accept(second, local=True)
    room.flush()
    for peer in range(3):
        assert room.to(peer) == [Transactions((first.raw, second.raw))]
    assert room.timers == []


def test_of_many_peers_some_get_it_whole_and_the_rest_hear_of_it(world: World) -> None:
    room = Room(world, PUSH_PEERS_MAX + 5)
    payment = world.payment()
    room.accept(payment, local=True)
    room.flush()
    kinds = [type(message) for peer in range(len(room.peers)) for message in room.to(peer)]
    assert kinds.count(Transactions) == PUSH_PEERS_MAX
    assert kinds.count(Announce) == 5


def test_what_a_peer_brought_is_announced_to_the_others_alone(world: World) -> None:
    room = Room(world, 3)
    payment = world.payment()
    room.relay.heard(room.peers[1], [payment.wtxid])
    room.accept(payment, local=False)
    room.flush()
    assert room.to(0) == room.to(2) == [Announce((payment.wtxid,))]
    assert room.to(1) == []


def test_a_new_peer_hears_of_all_that_waits(world: World) -> None:
    room = Room(world, 0)
    payment = world.payment()
    room.accept(payment, local=True)
    late: Any = FakePeer("late")
    room.sent["late"] = []
    room.relay.peer_up(late)
    assert room.sent["late"] == [Announce((payment.wtxid,))]


def test_one_announcer_is_asked_and_after_a_silence_the_next(world: World) -> None:
    """Whoever announces first and never sends cannot keep a transaction from this node."""
    room = Room(world, 2)
    wtxid = world.payment().wtxid
    room.relay.on_announce(room.peers[0], Announce((wtxid,)))
    assert room.to(0) == [GetTransactions((wtxid,))]
    room.relay.on_announce(room.peers[1], Announce((wtxid,)))
    assert room.to(1) == []
    world.clock.ms += int(ASKED_MS)
    room.relay.on_announce(room.peers[1], Announce((wtxid,)))
    assert room.to(1) == [GetTransactions((wtxid,))]


def test_requests_under_way_are_bounded(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(relay_module, "ASKED_MAX", 10)
    room = Room(world, 1)
    for number in range(50):
        room.relay.on_announce(room.peers[0], Announce((number.to_bytes(32, "big"),)))
    assert len(room.relay._asked) == 10


def test_what_a_peer_knows_is_bounded(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(relay_module, "KNOWN_MAX", 10)
    room = Room(world, 1)
    room.relay.heard(room.peers[0], [number.to_bytes(32, "big") for number in range(50)])
    assert len(room.relay._known[room.peers[0]]) == 10


def test_an_answer_is_what_waits_once_each_and_bounded(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    room = Room(world, 1)
    payments = [world.payment() for _ in range(4)]
    room.accept(*payments, local=False)
    asked = tuple(payment.wtxid for payment in payments)
    room.relay.on_get_transactions(room.peers[0], GetTransactions((bytes(32), *asked, *asked)))
    assert room.to(0) == [Transactions(tuple(payment.raw for payment in payments))]
    monkeypatch.setattr(relay_module, "ANSWER_BYTES_MAX", 2 * payments[0].size)
    room.relay.on_get_transactions(room.peers[0], GetTransactions(asked))
    [answer] = room.to(0)
    assert answer == Transactions(tuple(payment.raw for payment in payments[:2]))
