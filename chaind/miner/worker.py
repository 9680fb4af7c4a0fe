"""A mining process: searches what it is told to over a connection, and tells what it finds.

    crew → worker   Work
    worker → crew   Compiling?, Ready, then Found, Searched and Exhausted in the order of events

It looks for newer work after every piece of a range, whose size follows the speed of the kernel, so
that no more than a moment goes into stale work. Where work has a rate it rests between the pieces.
It ends when the other end of the connection does. Workers that have a card: see `card_worker`.
"""

import os
import signal
import sys
import time
from collections.abc import Callable
from importlib.util import find_spec
from multiprocessing.connection import Connection
from typing import NamedTuple

import msgspec

from chaind.miner.search import Kernel, Reference
from chaind.primitives.errors import LocalFault

PIECE_S = 0.02  # between two looks for newer work, which must be taken up within 50 ms
PIECE_FIRST = 1 << 10  # nonces; a slow kernel must not begin with a long piece
PIECE_MAX = 1 << 28
REPORT_S = 1.0  # between two reports of how much was searched
PACED_S = 0.1  # between two pieces of work that has a rate
PACED_SHARE = 0.25  # of a core, at most
PLAIN_RATE_MAX = 100_000.0  # hashes per second for which no kernel need be compiled
TARGET_BYTES = 32
CARD = "card:"
CLOCK_TICK_S = 1e-9  # no clock tells less apart


class Message(msgspec.Struct, frozen=True, array_like=True, tag=True):
    """What travels over the connection."""


class Work(Message, frozen=True):
    """Search first ≤ nonce < end for `prefix`, in place of what was searched before.

    `job` comes back with every answer; `target` is big-endian, 32 bytes. With a `rate` so many
    hashes per second are enough.
    """

    job: int
    prefix: bytes
    target: bytes
    first: int
    end: int
    rate: float = 0.0


class Compiling(Message, frozen=True):
    """It will be ready later than usual."""

    text: str


class Ready(Message, frozen=True):
    """The kernel is compiled."""

    kernel: str


class Found(Message, frozen=True):
    """This nonce meets the target."""

    job: int
    nonce: int


class Searched(Message, frozen=True):
    """So many nonces in so many seconds, since the last report or the begin of the work.

    `cpu_seconds` of them the process really ran: the rest went to others on its core.
    """

    job: int
    nonces: int
    seconds: float
    cpu_seconds: float


class Exhausted(Message, frozen=True):
    """The range is at its end."""

    job: int


Answer = Compiling | Ready | Found | Searched | Exhausted
_work: msgspec.msgpack.Decoder[Work] = msgspec.msgpack.Decoder(Work)
_answer: msgspec.msgpack.Decoder[Answer] = msgspec.msgpack.Decoder(Answer)
encode: Callable[[Message], bytes] = msgspec.msgpack.Encoder().encode
decode_answer = _answer.decode
decode_work = _work.decode


class Clock(NamedTuple):
    """Seconds from anywhere on: by the wall, and of the processor's time that went to us."""

    wall_s: Callable[[], float] = time.perf_counter
    cpu_s: Callable[[], float] = time.process_time


class Search:
    """One piece of work in progress."""

    def __init__(self, work: Work, clock: Clock) -> None:
        self.work = work
        self.at = work.first
        self._clock = clock
        self._target = int.from_bytes(work.target, "big")
        self._begin_report()

    def step(self, kernel: Kernel, piece: int) -> int | None:
        """Search up to `piece` nonces on, or to the first that meets the target."""
        end = min(self.at + piece, self.work.end)
        nonce = kernel.find(prefix=self.work.prefix, target=self._target, first=self.at, end=end)
        self.at = end if nonce is None else nonce + 1
        return nonce

    def report(self) -> Searched:
        """What was searched since the last report."""
        told = Searched(
            job=self.work.job,
            nonces=self.at - self._reported_at,
            seconds=self._clock.wall_s() - self._reported_s,
            cpu_seconds=self._clock.cpu_s() - self._reported_cpu_s,
        )
        self._begin_report()
        return told

    def report_due(self) -> bool:
        """Is it time to?"""
        return self.done() or self._clock.wall_s() - self._reported_s >= REPORT_S

    def done(self) -> bool:
        """Is the range at its end?"""
        return self.at == self.work.end

    def _begin_report(self) -> None:
        self._reported_at = self.at
        self._reported_s = self._clock.wall_s()
        self._reported_cpu_s = self._clock.cpu_s()


class Pace:
    """When the next piece may begin, of work that has a rate."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._free_s = clock.wall_s()

    def rest_s(self) -> float:
        """How long to wait."""
        return max(0.0, self._free_s - self._clock.wall_s())

    def spent(self, nonces: int, took_s: float, rate: float) -> None:
        """A piece was searched."""
        now_s = self._clock.wall_s()
        if rate:
            due_s = max(nonces / rate, took_s / PACED_SHARE)
            self._free_s = max(self._free_s, now_s - PACED_S) + due_s
        else:
            self._free_s = now_s


def serve(
    connection: Connection,
    kernel: Kernel,
    clock: Clock,
    compiled: Callable[[], Kernel] | None = None,
) -> None:
    """Work until the connection ends. `compiled` is a faster kernel, made when one is needed."""
    search: Search | None = None
    piece, pace = PIECE_FIRST, Pace(clock)
    try:
        while True:
            if search is None or connection.poll(pace.rest_s()):
                work = decode_work(connection.recv_bytes())
                if search is not None:
                    connection.send_bytes(encode(search.report()))
                search = Search(work, clock)
                if compiled is not None and not 0 < work.rate <= PLAIN_RATE_MAX:
                    kernel, compiled = compiled(), None
                if pace.rest_s():
                    continue
            rate = search.work.rate
            size = min(piece, max(1, int(rate * PACED_S))) if rate else piece
            began_s, began_at = clock.wall_s(), search.at
            nonce = search.step(kernel, size)
            took_s = clock.wall_s() - began_s
            if search.at - began_at == piece:
                piece = next_piece(piece, took_s)
            pace.spent(search.at - began_at, took_s, rate)
            if nonce is not None:
                connection.send_bytes(encode(Found(search.work.job, nonce)))
            if search.report_due():
                connection.send_bytes(encode(search.report()))
            if search.done():
                connection.send_bytes(encode(Exhausted(search.work.job)))
                search = None
    except (EOFError, BrokenPipeError, ConnectionResetError):
        return  # the crew is gone


def next_piece(piece: int, took_s: float, aim_s: float = PIECE_S) -> int:
    """How many nonces take `aim_s`; at most twice as many as before, as one measure may err."""
    fitting = int(piece * aim_s / max(took_s, CLOCK_TICK_S))
    return max(1, min(fitting, 2 * piece, PIECE_MAX))


def main() -> None:
    """`python -m chaind.miner.worker DESCRIPTOR NICENESS plain|compiled|card:INDEX:PERCENT [CPU]`.

    `plain` compiles no kernel before one is needed, and none where there is no compiler. A card may
    be busy PERCENT of the time.
    """
    descriptor, niceness, kernel_name, *cpus = sys.argv[1:]
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # of a terminal; the crew says when it is over
    os.nice(int(niceness))
    if cpus:
        os.sched_setaffinity(0, map(int, cpus))
    connection = Connection(int(descriptor))
    try:
        if kernel_name.startswith(CARD):
            index, intensity = map(int, kernel_name.removeprefix(CARD).split(":"))
            _serve_by_card(connection, index, intensity)
        else:
            _serve_by_processor(connection, plain=kernel_name == "plain")
    except LocalFault as fault:
        print(f"Error: {fault}\n{fault.advice}", file=sys.stderr)
        sys.exit(fault.exit_code)
    except BrokenPipeError:
        return  # the crew is gone


def _serve_by_processor(connection: Connection, *, plain: bool) -> None:
    def compiled() -> Kernel:
        from chaind.miner.kernel import CpuKernel

        kernel = CpuKernel()
        kernel.prepare(lambda text: connection.send_bytes(encode(Compiling(text))))
        return kernel

    if plain:
        first: Kernel = Reference()
        later = compiled if find_spec("numba") is not None else None
    else:
        first, later = compiled(), None
    connection.send_bytes(encode(Ready(first.name)))
    serve(connection, first, Clock(), later)


def _serve_by_card(connection: Connection, index: int, intensity: int) -> None:
    from chaind.miner.card_worker import CardWorker
    from chaind.miner.gpu import Card

    card = Card.open(index)
    connection.send_bytes(encode(Ready(card.name)))
    CardWorker(connection, card, Clock(), intensity=intensity).serve()


if __name__ == "__main__":
    main()
