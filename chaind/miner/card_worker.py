"""A mining process that has a card: like any worker, but with launches in flight.

Law: a launch takes some `LAUNCH_S` at the card's rate, and `gpu.SLOTS` of them are under way, so
that the card never waits for the host and newer work begins within 50 ms. Answers are a worker's,
in the order of launches, but for one: Exhausted is said when the last launch of a range has begun,
as the next work is to follow without a gap; what that launch finds is told after it.

Where less than all of the card's time is asked for, by intensity or by a rate, one launch is under
way at a time and the card rests after it.
"""

from collections import deque
from contextlib import suppress
from multiprocessing.connection import Connection
from typing import NamedTuple, Protocol

from chaind.miner.gpu import CAPACITY, Launch
from chaind.miner.worker import (
    PACED_S,
    REPORT_S,
    Clock,
    Exhausted,
    Found,
    Searched,
    Work,
    decode_work,
    encode,
    next_piece,
)

LAUNCH_S = 0.012  # of which two may stand before newer work
PIECE_FIRST = 1 << 16  # nonces; it doubles until it takes that long
HITS_MAX = CAPACITY // 8  # expected of a launch: their number scatters, and each is looked at
WHOLE = 100  # percent


class Launcher(Protocol):
    """What a worker needs of a card: see `gpu.Card`."""

    @property
    def has_slot(self) -> bool:
        """May another launch begin?"""

    def launch(self, *, prefix: bytes, target: int, first: int, end: int) -> Launch:
        """Begin."""

    def collect(self, launch: Launch) -> list[int]:
        """Wait."""


class _Flight(NamedTuple):
    work: Work
    nonces: int
    begun_s: float
    launch: Launch


class CardWorker:
    """One card on one connection. `intensity`: percent of the time that the card may be busy."""

    def __init__(
        self, connection: Connection, card: Launcher, clock: Clock, *, intensity: int
    ) -> None:
        self._connection = connection
        self._card = card
        self._clock = clock
        self._intensity = intensity
        self._work: Work | None = None  # of which no launch has begun yet, from `_at` on
        self._target = 0
        self._at = 0
        self._piece = PIECE_FIRST
        self._flights: deque[_Flight] = deque()
        self._ended_s = self._free_s = clock.wall_s()  # of the last launch; of its rest
        self._begin_report()

    def serve(self) -> None:
        """Work until the connection ends. Raises `CardUnusable`."""
        with suppress(EOFError, BrokenPipeError, ConnectionResetError):  # the crew is gone
            while True:
                self._listen()
                self._fill()
                if self._flights:
                    self._collect(self._flights.popleft())

    def _listen(self) -> None:
        """Take the newest work; wait for it where there is nothing else to do."""
        while self._connection.poll(self._idle_s()):
            work = decode_work(self._connection.recv_bytes())
            if self._work is None and not self._flights:
                self._begin_report()
            self._work = work if work.first < work.end else None
            self._target = int.from_bytes(work.target, "big")
            self._at = work.first

    def _idle_s(self) -> float | None:
        if self._flights:
            return 0.0
        return None if self._work is None else self._rest_s()

    def _rest_s(self) -> float:
        return max(0.0, self._free_s - self._clock.wall_s())

    def _fill(self) -> None:
        """Begin as many launches as may be."""
        while (work := self._work) is not None and self._card.has_slot and not self._rest_s():
            if self._flights and self._is_held_back(work):
                return
            end = min(self._at + self._size(work), work.end)
            launch = self._card.launch(
                prefix=work.prefix, target=self._target, first=self._at, end=end
            )
            self._flights.append(_Flight(work, end - self._at, self._clock.wall_s(), launch))
            self._at = end
            if end == work.end:
                self._work = None
                self._connection.send_bytes(encode(Exhausted(work.job)))

    def _is_held_back(self, work: Work) -> bool:
        return work.rate > 0 or self._intensity < WHOLE

    def _size(self, work: Work) -> int:
        """Nonces of the next launch: what it has the time for, and its buffer the places."""
        bounds = [self._piece, HITS_MAX * (1 << 256) // (self._target + 1)]
        if work.rate:
            bounds.append(int(work.rate * PACED_S))
        return max(1, min(bounds))

    def _collect(self, flight: _Flight) -> None:
        nonces = self._card.collect(flight.launch)
        now_s = self._clock.wall_s()
        took_s = now_s - max(flight.begun_s, self._ended_s)
        self._ended_s = now_s
        if flight.nonces >= self._piece:
            self._piece = next_piece(flight.nonces, took_s, LAUNCH_S)
        if self._is_held_back(flight.work):
            least_s = flight.nonces / flight.work.rate if flight.work.rate else 0.0
            self._free_s = flight.begun_s + max(least_s, took_s * WHOLE / self._intensity)
        for nonce in nonces:
            self._connection.send_bytes(encode(Found(flight.work.job, nonce)))
        self._searched += flight.nonces
        if now_s - self._reported_s >= REPORT_S or self._is_last(flight.work):
            self._report(flight.work.job)

    def _is_last(self, work: Work) -> bool:
        """Is nothing of this work under way or to come?"""
        return work is not self._work and all(one.work is not work for one in self._flights)

    def _report(self, job: int) -> None:
        told = Searched(
            job=job,
            nonces=self._searched,
            seconds=self._clock.wall_s() - self._reported_s,
            cpu_seconds=self._clock.cpu_s() - self._reported_cpu_s,
        )
        self._connection.send_bytes(encode(told))
        self._begin_report()

    def _begin_report(self) -> None:
        self._searched = 0
        self._reported_s = self._clock.wall_s()
        self._reported_cpu_s = self._clock.cpu_s()
