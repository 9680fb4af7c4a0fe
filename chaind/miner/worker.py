"""A mining process: searches what it is told to over a connection, and tells what it finds.

    crew → worker   Work
    worker → crew   Compiling?, Ready, then Found, Searched and Exhausted in the order of events

It looks for newer work after every piece of a range, whose size follows the speed of the kernel, so
that no more than a moment goes into stale work. It ends when the other end of the connection does.
"""

import os
import signal
import sys
import time
from collections.abc import Callable
from multiprocessing.connection import Connection
from typing import NamedTuple

import msgspec

from chaind.miner.search import Kernel
from chaind.primitives.errors import LocalFault

PIECE_S = 0.02  # between two looks for newer work, which must be taken up within 50 ms
PIECE_FIRST = 1 << 10  # nonces; a slow kernel must not begin with a long piece
PIECE_MAX = 1 << 28
REPORT_S = 1.0  # between two reports of how much was searched
TARGET_BYTES = 32
CLOCK_TICK_S = 1e-9  # no clock tells less apart


class Message(msgspec.Struct, frozen=True, array_like=True, tag=True):
    """What travels over the connection."""


class Work(Message, frozen=True):
    """Search first ≤ nonce < end for `prefix`, in place of what was searched before.

    `job` comes back with every answer; `target` is big-endian, 32 bytes.
    """

    job: int
    prefix: bytes
    target: bytes
    first: int
    end: int


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
_work = msgspec.msgpack.Decoder(Work)
_answer: msgspec.msgpack.Decoder[Answer] = msgspec.msgpack.Decoder(Answer)
encode: Callable[[Message], bytes] = msgspec.msgpack.Encoder().encode
decode_answer = _answer.decode


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


def serve(connection: Connection, kernel: Kernel, clock: Clock) -> None:
    """Work until the connection ends."""
    search: Search | None = None
    piece = PIECE_FIRST
    try:
        while True:
            if search is None or connection.poll():
                work = _work.decode(connection.recv_bytes())
                if search is not None:
                    connection.send_bytes(encode(search.report()))
                search = Search(work, clock)
            began_s, began_at = clock.wall_s(), search.at
            nonce = search.step(kernel, piece)
            if search.at - began_at == piece:
                piece = next_piece(piece, clock.wall_s() - began_s)
            if nonce is not None:
                connection.send_bytes(encode(Found(search.work.job, nonce)))
            if search.report_due():
                connection.send_bytes(encode(search.report()))
            if search.done():
                connection.send_bytes(encode(Exhausted(search.work.job)))
                search = None
    except (EOFError, BrokenPipeError, ConnectionResetError):
        return  # the crew is gone


def next_piece(piece: int, took_s: float) -> int:
    """How many nonces take `PIECE_S`; at most twice as many as before, as one measure may err."""
    fitting = int(piece * PIECE_S / max(took_s, CLOCK_TICK_S))
    return max(1, min(fitting, 2 * piece, PIECE_MAX))


def main() -> None:
    """`python -m chaind.miner.worker DESCRIPTOR [CPU]`."""
    descriptor, *cpus = map(int, sys.argv[1:])
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # of a terminal; the crew says when it is over
    if cpus:
        os.sched_setaffinity(0, cpus)
    connection = Connection(descriptor)
    from chaind.miner.kernel import CpuKernel

    try:
        kernel = CpuKernel()
        kernel.prepare(lambda text: connection.send_bytes(encode(Compiling(text))))
        connection.send_bytes(encode(Ready(kernel.name)))
    except LocalFault as fault:
        print(f"Error: {fault}\n{fault.advice}", file=sys.stderr)
        sys.exit(fault.exit_code)
    except BrokenPipeError:
        return  # the crew is gone
    serve(connection, kernel, Clock())


if __name__ == "__main__":
    main()
