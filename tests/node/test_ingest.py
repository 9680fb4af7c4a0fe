"""Peers' transactions wait in queues of their own, are taken in turns, and are bounded."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager, suppress
from typing import Any

import pytest
from parts import FakePeer, turns

from chaind.ledger.errors import BadSignature, InsufficientFunds
from chaind.node import ingest
from chaind.node.ingest import PEER_BYTES_MAX, PEER_TRANSACTIONS_MAX, REFUSED_MS, SLICE, Ingest
from chaind.node.intake import Submission
from chaind.primitives.errors import ChaindError, PeerFault

GOOD, POOR, FORGED = b"good", b"poor", b"forged"
ERRORS: dict[bytes, ChaindError] = {
    POOR: InsufficientFunds(address="a", asset="COIN", available="0", needed="1"),
    FORGED: BadSignature(key="k"),
}


class Door:
    """A door that knows three transactions, and time that tests move."""

    def __init__(self) -> None:
        self.now_ms = 1_000.0
        self.taken: list[tuple[str, int, bytes]] = []  # source, how many, the first
        self.punished: list[str] = []
        self.open = asyncio.Event()
        self.open.set()
        self.news = asyncio.Event()  # something was taken
        self.ingest = Ingest(
            submit=self.submit, punish=self.punish, monotonic_ms=lambda: self.now_ms
        )

    async def submit(
        self, raws: Sequence[bytes], *, local: bool, source: str | None = None
    ) -> list[Submission]:
        assert not local
        assert source is not None
        await self.open.wait()
        self.taken.append((source, len(raws), raws[0]))
        self.news.set()
        return [Submission(raw, ERRORS.get(raw), known=False) for raw in raws]

    def punish(self, peer: Any, fault: PeerFault) -> None:
        self.punished.append(peer.node_id)

    def take(self, peer: Any, raw: bytes, count: int = 1) -> None:
        self.ingest.take(peer, (raw,) * count)

    @property
    def total(self) -> int:
        return sum(count for _, count, _ in self.taken)


@asynccontextmanager
async def running() -> AsyncIterator[Door]:
    door = Door()
    task = asyncio.create_task(door.ingest.run())
    try:
        yield door
    finally:
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task


def peers(*names: str) -> list[Any]:
    return [FakePeer(name) for name in names]


async def test_slices_of_several_peers_are_taken_in_turns() -> None:
    [a, b] = peers("a", "b")
    async with running() as door:
        door.take(a, GOOD, 3 * SLICE)
        door.take(b, GOOD, 1)
        await turns()
        assert [(who, count) for who, count, _ in door.taken] == [
            ("a", SLICE), ("b", 1), ("a", SLICE), ("a", SLICE)
        ]  # fmt: skip


async def test_who_sends_what_is_refused_waits_and_nobody_else_does() -> None:
    [a, b] = peers("a", "b")
    async with running() as door:
        door.take(a, POOR, 3 * SLICE)
        await turns()
        assert door.total == SLICE
        door.take(b, GOOD, 2 * SLICE)
        await turns()
        assert [who for who, _, _ in door.taken] == ["a", "b", "b"]
        door.now_ms += SLICE * REFUSED_MS
        door.take(b, GOOD)  # wakes it up; by itself it wakes in real time
        await turns()
        assert [who for who, _, _ in door.taken[3:]] == ["a", "b"]
        assert not door.punished


async def test_it_wakes_by_itself_when_the_pause_is_over(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ingest, "REFUSED_MS", 0.05)
    [a] = peers("a")
    async with running() as door:
        loop = asyncio.get_running_loop()
        door.ingest._monotonic_ms = lambda: loop.time() * 1000
        door.take(a, POOR, 2 * SLICE)
        async with asyncio.timeout(5):
            while door.total < 2 * SLICE:
                door.news.clear()
                await door.news.wait()


async def test_a_fault_forfeits_all_that_waits_of_its_peer() -> None:
    [a, b] = peers("a", "b")
    async with running() as door:
        door.open.clear()
        door.take(a, FORGED)
        door.take(a, GOOD, 5 * SLICE)
        door.take(b, GOOD)
        door.open.set()
        await turns()
        assert door.punished == ["a"]
        assert [(who, raw) for who, _, raw in door.taken] == [("a", FORGED), ("b", GOOD)]
        assert door.ingest._bytes == 0


async def test_what_a_peer_may_have_waiting_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    [a, b] = peers("a", "b")
    async with running() as door:
        door.open.clear()
        door.take(a, GOOD, PEER_TRANSACTIONS_MAX)
        door.take(a, GOOD)  # no room: dropped
        door.ingest.take(b, (bytes(PEER_BYTES_MAX),))
        door.take(b, GOOD)
        assert door.ingest._bytes == PEER_TRANSACTIONS_MAX * len(GOOD) + PEER_BYTES_MAX
        monkeypatch.setattr(ingest, "BYTES_MAX", door.ingest._bytes)
        [c] = peers("c")
        door.take(c, GOOD)
        door.open.set()
        await turns()
        await turns()
        assert {who for who, _, _ in door.taken} == {"a", "b"}
        assert door.total == PEER_TRANSACTIONS_MAX + 1
        assert door.ingest._bytes == 0


async def test_what_an_honest_peer_said_before_it_went_counts_and_a_flood_does_not() -> None:
    [a, b, c] = peers("a", "b", "c")
    async with running() as door:
        door.take(b, POOR, 2 * SLICE)
        await turns()
        door.take(a, GOOD, 2 * SLICE)
        for gone in (a, b, c):
            door.ingest.peer_down(gone)
        await turns()
        assert [(who, count) for who, count, _ in door.taken] == [
            ("b", SLICE), ("a", SLICE), ("a", SLICE)
        ]  # fmt: skip
        assert not door.ingest._inboxes
        assert door.ingest._bytes == 0


async def test_a_peer_that_went_while_its_faulty_slice_was_judged_leaves_nothing() -> None:
    [a] = peers("a")
    async with running() as door:
        door.open.clear()
        door.take(a, FORGED)
        door.take(a, GOOD, 2 * SLICE)
        await turns()
        door.ingest.peer_down(a)
        door.open.set()
        await turns()
        assert door.punished == ["a"]
        assert not door.ingest._inboxes
        assert door.ingest._bytes == 0
