"""The crew: real processes that share the nonces, and what happens when one of them dies."""

import os
import signal
import socket
import subprocess
from itertools import count
from multiprocessing.connection import Connection

import pytest

from chaind.miner.crew import Crew, MinerNotInstalled, Told, WorkerDied, WorkerStuck, _Worker
from chaind.miner.search import NONCES, PREFIX_BYTES, meets
from chaind.miner.worker import Compiling, Exhausted, Found, Ready

TARGET = 1 << 236  # one hash in a million
PATIENCE_S = 60.0


def hear(crew: Crew) -> list[Told]:
    told = list(crew.answers(PATIENCE_S))
    assert told, "no worker says anything"
    return told


def await_ready(crew: Crew) -> None:
    """A compilation may be told of before, and nothing else."""
    ready: set[int] = set()
    while len(ready) < crew.size:
        for worker, answer in hear(crew):
            assert isinstance(answer, Compiling | Ready)
            if isinstance(answer, Ready):
                ready.add(worker)


def listen_for_ever(crew: Crew) -> None:
    for _ in count():
        hear(crew)


def tell_for_ever(crew: Crew) -> None:
    for job in count():
        crew.rest(job)


def test_workers_share_the_nonces_each_on_its_core() -> None:
    allowed = sorted(os.sched_getaffinity(0))
    cpus = [allowed[0], allowed[-1]]
    with Crew.start(threads=2, cpus=cpus) as crew:
        await_ready(crew)
        assert [os.sched_getaffinity(pid) for pid in crew.pids] == [{cpu} for cpu in cpus]
        for job in (1, 2):  # the second takes the place of the first
            prefix = bytes([job]) * PREFIX_BYTES
            crew.assign(job=job, prefix=prefix, target=TARGET)
            seen: set[int] = set()
            while len(seen) < 2:
                for worker, answer in hear(crew):
                    if isinstance(answer, Found) and answer.job == job:
                        assert meets(prefix, answer.nonce, TARGET)
                        assert (answer.nonce >= NONCES // 2) == (worker == 1)
                        seen.add(worker)
        crew.assign(job=3, prefix=bytes(PREFIX_BYTES), target=0)
        pids = crew.pids
    for pid in pids:  # in the middle of a search, and gone
        with pytest.raises(ProcessLookupError):
            os.kill(pid, 0)


def test_a_dead_worker_is_told_of() -> None:
    with Crew.start(threads=2) as crew:
        await_ready(crew)
        os.kill(crew.pids[0], signal.SIGKILL)
        with pytest.raises(WorkerDied, match="mining process 0 ended with status -9"):
            listen_for_ever(crew)
        with pytest.raises(WorkerDied, match="mining process 0 ended with status -9"):
            crew.assign(job=1, prefix=bytes(PREFIX_BYTES), target=0)


def test_a_worker_that_hangs_keeps_nobody_waiting(monkeypatch: pytest.MonkeyPatch) -> None:
    """A plain one needs no compiler."""
    monkeypatch.setattr("chaind.miner.crew.find_spec", lambda name: None)
    with Crew.start(threads=1, niceness=5, plain=True) as crew:
        await_ready(crew)
        (pid,) = crew.pids
        assert os.getpriority(os.PRIO_PROCESS, pid) >= 5
        os.kill(pid, signal.SIGSTOP)
        with pytest.raises(WorkerStuck, match="mining process 0"):
            tell_for_ever(crew)
        os.kill(pid, signal.SIGCONT)


def test_a_worker_that_hangs_in_its_exit_keeps_nobody_waiting(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Its end of the socket is closed, and the process is still there."""
    monkeypatch.setattr("chaind.miner.crew.STATUS_S_MAX", 0.05)
    ours, theirs = socket.socketpair()
    theirs.close()
    process = subprocess.Popen(["sleep", "60"])
    crew = Crew([_Worker(process, Connection(ours.detach()))])
    try:
        with pytest.raises(WorkerDied, match="mining process 0 has closed its connection"):
            list(crew.answers(5.0))
        with pytest.raises(WorkerDied):
            crew.rest(1)
    finally:
        process.kill()
        crew.close()


def test_rest_ends_what_was_searched() -> None:
    with Crew.start(threads=2, plain=True) as crew:
        await_ready(crew)
        crew.assign(job=1, prefix=bytes(PREFIX_BYTES), target=0, rate=1_000.0)
        crew.rest(2)
        rested = {worker for worker, answer in hear_until_exhausted(crew, 2)}
        assert rested == {0, 1}


def hear_until_exhausted(crew: Crew, job: int) -> set[Told]:
    found: set[Told] = set()
    while len(found) < crew.size:
        found |= {told for told in hear(crew) if told.answer == Exhausted(job)}
    return found


def test_closing_ends_a_worker_that_has_just_begun() -> None:
    with Crew.start(threads=1) as crew:
        (pid,) = crew.pids
    with pytest.raises(ProcessLookupError):
        os.kill(pid, 0)


def test_without_the_extra_it_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("chaind.miner.crew.find_spec", lambda name: None)
    with pytest.raises(MinerNotInstalled, match="numba"):
        Crew.start(threads=1)
