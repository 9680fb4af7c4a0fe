"""Who waits for a transaction hears once it is final here and at every peer in step."""

import asyncio
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import pytest
from parts import FakePeer, turns

from chaind.node.events import DroppedEvent, FinalEvent
from chaind.node.waiters import VISIBLE_MS, Waiters

LONG_MS = 10_000.0


class Room:
    """Waiters with peers and a timer of the test."""

    def __init__(self, *names: str) -> None:
        self.peers = [FakePeer(name) for name in names]
        self.timers: list[tuple[float, Callable[[], None]]] = []
        self.waiters = Waiters(
            lambda: self.peers,  # type: ignore[arg-type, return-value]
            lambda delay_s, work: self.timers.append((delay_s, work)),
        )

    def wait(self, txid: bytes, timeout_ms: float = LONG_MS) -> "asyncio.Task[None]":
        return asyncio.create_task(self.waiters.wait(txid, timeout_ms))

    def final(self, height: int, *txids: bytes) -> None:
        receipts: Any = tuple(SimpleNamespace(checked=SimpleNamespace(txid=t)) for t in txids)
        block: Any = SimpleNamespace(height=height)
        self.waiters.handle(FinalEvent(block, receipts, None, 0))
        self.waiters.check()

    def tell(self, peer: int, height: int) -> None:
        self.peers[peer].final_height = height
        self.waiters.check()

    def fire(self) -> None:
        timers, self.timers = self.timers, []
        for delay_s, work in timers:
            assert delay_s == VISIBLE_MS / 1000
            work()


async def test_nobody_hears_before_all_peers_have_followed() -> None:
    room = Room("a", "b")
    task = room.wait(b"tx")
    await turns()
    room.final(1, b"tx")
    room.tell(0, 1)
    await turns()
    assert not task.done()
    room.tell(1, 1)
    await turns()
    assert task.done()


async def test_alone_there_is_nobody_to_wait_for() -> None:
    room = Room()
    task = room.wait(b"tx")
    await turns()
    room.final(1, b"tx")
    await turns()
    assert task.done()


async def test_a_laggard_delays_once_until_it_has_caught_up() -> None:
    room = Room("good", "slow")
    task = room.wait(b"1")
    await turns()
    room.final(1, b"1")
    room.tell(0, 1)
    room.fire()
    await turns()
    assert task.done(), "it is waited for, but not for ever"
    for height in (2, 3):
        task = room.wait(b"%d" % height)
        await turns()
        room.final(height, b"%d" % height)
        room.tell(0, height)
        await turns()
        assert task.done(), "the laggard delays nobody again"
    room.tell(1, 3)
    room.fire()
    task = room.wait(b"4")
    await turns()
    room.final(4, b"4")
    room.tell(0, 4)
    await turns()
    assert not task.done(), "back in step, it is waited for again"
    room.tell(1, 4)
    await turns()
    assert task.done()


async def test_a_laggard_that_leaves_is_no_laggard_when_it_returns() -> None:
    room = Room("good", "slow")
    task = room.wait(b"1")
    await turns()
    room.final(1, b"1")
    room.tell(0, 1)
    room.fire()
    await turns()
    assert task.done()
    slow = room.peers.pop()
    task = room.wait(b"2")
    await turns()
    room.final(2, b"2")
    room.tell(0, 2)
    await turns()
    assert task.done()
    slow.final_height = 2
    room.peers.append(slow)
    room.waiters.check()
    assert room.waiters._lagging == set()


@pytest.mark.parametrize("ended", [True, False])
async def test_only_an_end_is_an_answer(ended: bool) -> None:
    room = Room()
    task = room.wait(b"tx")
    await turns()
    room.waiters.handle(DroppedEvent(b"tx", "evicted", None, ended=ended))
    await turns()
    assert task.done() is ended
    task.cancel()


async def test_a_timeout_leaves_nothing_behind() -> None:
    room = Room()
    await room.wait(b"tx", 1.0)
    assert room.waiters._by_txid == {}


async def test_a_cancelled_waiter_does_not_disturb_the_others() -> None:
    room = Room()
    gone, stays = room.wait(b"tx"), room.wait(b"tx")
    await turns()
    gone.cancel()
    await turns()
    room.final(1, b"tx")
    await turns()
    assert stays.done()
    assert room.waiters._by_txid == {}


async def test_what_is_final_already_may_still_have_to_spread() -> None:
    room = Room("a")
    room.peers[0].final_height = 4
    await asyncio.create_task(room.waiters.visible(4))
    seen = asyncio.create_task(room.waiters.visible(6))
    earlier = asyncio.create_task(room.waiters.visible(5))
    await turns()
    room.tell(0, 5)
    await turns()
    assert (earlier.done(), seen.done()) == (True, False)
    room.tell(0, 6)
    await turns()
    assert seen.done()


async def test_when_the_node_ends_nobody_waits_any_longer() -> None:
    room = Room("a")
    pending, unseen = room.wait(b"1"), room.wait(b"2")
    await turns()
    room.final(9, b"2")
    room.waiters.release()
    await turns()
    assert pending.done()
    assert unseen.done()
