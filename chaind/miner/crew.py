"""The crew: mining processes, one per core or card asked for, that share a header's nonces.

Nothing here searches; whoever has a crew hands it work and reads its answers. Their connections are
file descriptors, for an event loop to watch.
"""

import select
import socket
import subprocess
import sys
from collections.abc import Iterator, Sequence
from importlib.util import find_spec
from multiprocessing.connection import Connection, wait
from typing import NamedTuple

from chaind.miner.search import NONCES, PREFIX_BYTES
from chaind.miner.worker import CARD, TARGET_BYTES, Answer, Work, decode_answer, encode
from chaind.primitives.errors import LocalFault

STATUS_S_MAX = 2.0  # a busy machine takes its time to end a process; a loop may be listening
END_S_MAX = 5.0  # a worker looks at its connection every few milliseconds, once it is ready


class MinerNotInstalled(LocalFault):
    """The kernel's compiler is an extra."""

    code = "miner-not-installed"
    text = "mining needs numba, which is not installed beside chaind"
    advice = "Install it in the repository: `.venv/bin/pip install --editable '.[miner]'`."
    exit_code = 69  # EX_UNAVAILABLE


class WorkerDied(LocalFault):
    """A mining process ended by itself; `status` is None where its exit takes long."""

    code = "mining-worker-died"
    text = "mining process {worker} ended with status {status}"
    advice = "Its last words stand above; where the system killed it, give it fewer threads."


class WorkerStuck(LocalFault):
    """A mining process does not read what it is told."""

    code = "mining-worker-stuck"
    text = "mining process {worker} has not taken up work for a long time"
    advice = "Look whether something has stopped the process, and end it: it is started anew."


class Told(NamedTuple):
    """An answer and the number of the worker that gave it."""

    worker: int
    answer: Answer


class _Worker(NamedTuple):
    process: subprocess.Popen[bytes]
    connection: Connection


class Crew:
    """`with Crew.start(threads=2) as crew: …` ends the processes, whatever happens."""

    def __init__(self, workers: Sequence[_Worker], *, on_cards: bool = False) -> None:
        self._workers = workers
        self.on_cards = on_cards

    @classmethod
    def start(
        cls, *, threads: int, cpus: Sequence[int] = (), niceness: int = 0, plain: bool = False
    ) -> "Crew":
        """Start the processes; each says `Ready` when it is. Worker i is held to `cpus`[i], if any.

        `plain` workers compile their kernel when they are given work that needs it, and do without
        where there is no compiler. Raises `MinerNotInstalled`.
        """
        assert threads > 0
        assert not cpus or len(cpus) == threads
        if not plain and find_spec("numba") is None:
            raise MinerNotInstalled
        kernel = "plain" if plain else "compiled"
        held = [map(str, cpus[index : index + 1]) for index in range(threads)]
        return cls(_start_all([[str(niceness), kernel, *one] for one in held]))

    @classmethod
    def start_on_cards(
        cls, cards: Sequence[int], *, intensity: int = 100, niceness: int = 0
    ) -> "Crew":
        """One process for each GPU, by its index, busy for `intensity` percent of the time."""
        assert cards
        assert 0 < intensity <= 100
        options = [[str(niceness), f"{CARD}{card}:{intensity}"] for card in cards]
        return cls(_start_all(options), on_cards=True)

    def __enter__(self) -> "Crew":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    @property
    def size(self) -> int:
        """How many workers there are."""
        return len(self._workers)

    @property
    def pids(self) -> tuple[int, ...]:
        """Process ids, in the order of the workers."""
        return tuple(worker.process.pid for worker in self._workers)

    @property
    def connections(self) -> tuple[Connection, ...]:
        """Readable when there is an answer; in the order of the workers."""
        return tuple(worker.connection for worker in self._workers)

    def assign(self, *, job: int, prefix: bytes, target: int, rate: float = 0.0) -> None:
        """All nonces of a header, in equal shares, in place of what was searched before.

        With a `rate`, so many hashes per second of all together are enough. Raises `WorkerDied`,
        or `WorkerStuck`.
        """
        goal = target.to_bytes(TARGET_BYTES, "big")
        for index in range(self.size):
            first, end = (NONCES * part // self.size for part in (index, index + 1))
            self._send(index, Work(job, prefix, goal, first, end, rate / self.size))

    def rest(self, job: int) -> None:
        """Nothing to do for now. Raises `WorkerDied`, or `WorkerStuck`."""
        for index in range(self.size):
            self._send(index, Work(job, bytes(PREFIX_BYTES), bytes(TARGET_BYTES), 0, 0, 1.0))

    def _send(self, index: int, work: Work) -> None:
        connection = self._workers[index].connection
        poll = select.poll()
        poll.register(connection.fileno(), select.POLLOUT)
        if not poll.poll(0):  # whoever sends must not wait
            raise WorkerStuck(worker=index)
        try:
            connection.send_bytes(encode(work))
        except (BrokenPipeError, ConnectionResetError):
            raise self._died(index) from None

    def answers(self, bound_s: float) -> Iterator[Told]:
        """What the workers say, or nothing within `bound_s`. Raises `WorkerDied`."""
        ready = wait(self.connections, bound_s)
        for index, worker in enumerate(self._workers):
            if worker.connection in ready:
                try:
                    data = worker.connection.recv_bytes()
                except (EOFError, ConnectionResetError):
                    raise self._died(index) from None
                yield Told(index, decode_answer(data))

    def close(self) -> None:
        """End the processes, which end by themselves when nobody listens."""
        for worker in self._workers:
            worker.connection.close()
        for worker in self._workers:
            try:
                worker.process.wait(END_S_MAX)
            except subprocess.TimeoutExpired:  # in the middle of a compilation
                worker.process.kill()
                worker.process.wait()

    def _died(self, index: int) -> WorkerDied:
        try:
            status = self._workers[index].process.wait(STATUS_S_MAX)
        except subprocess.TimeoutExpired:
            hangs = WorkerDied(worker=index, status=None)
            return hangs.worded("mining process {worker} has closed its connection")
        return WorkerDied(worker=index, status=status)


def _start_all(options: Sequence[Sequence[str]]) -> list[_Worker]:
    workers: list[_Worker] = []
    try:
        for each in options:
            workers.append(_start(each))
    except OSError:
        Crew(workers).close()
        raise
    return workers


def _start(options: Sequence[str]) -> _Worker:
    ours, theirs = socket.socketpair()
    with theirs:
        descriptor = theirs.fileno()
        command = [sys.executable, "-P", "-m", "chaind.miner.worker"]
        process = subprocess.Popen(  # noqa: S603 - our own interpreter and arguments, no shell
            [*command, str(descriptor), *options],
            stdin=subprocess.DEVNULL,
            pass_fds=[descriptor],
        )
    return _Worker(process, Connection(ours.detach()))
