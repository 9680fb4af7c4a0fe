"""`SystemWorkers`: signature checks by processes that may be killed at any time."""

import asyncio
import os
import signal
import socket
import subprocess
import sys
from collections.abc import AsyncIterator

import pytest
import pytest_asyncio

from chaind.node import workers as workers_module
from chaind.node.workers import SignatureProcessesFail, SystemWorkers
from chaind.primitives.keys import CHECK_BYTES, SecretKey, verify_packed

KEY = SecretKey(b"\x21" * 32)


def check(number: int, *, right: bool = True) -> bytes:
    digest = number.to_bytes(32, "big")
    signed = digest if right else (number + 1).to_bytes(32, "big")
    return KEY.public + digest + KEY.sign(signed)


CHECKS = [check(number, right=number % 7 != 3) for number in range(600)]
VERDICTS = bytes(number % 7 != 3 for number in range(600))


@pytest_asyncio.fixture
async def workers() -> AsyncIterator[SystemWorkers]:
    made = SystemWorkers(2)
    yield made
    await made.close()


def pids(workers: SystemWorkers) -> list[int]:
    return [process.pid for process in workers._processes]


async def test_verdicts_come_in_the_order_of_the_checks(workers: SystemWorkers) -> None:
    parts = [CHECKS[:5], CHECKS[5:300], CHECKS[300:301], CHECKS[301:]]
    found = await asyncio.gather(*map(workers.verify, parts))
    assert b"".join(found) == VERDICTS
    assert len(workers._processes) == 2


async def test_a_key_that_is_no_point_does_not_verify(workers: SystemWorkers) -> None:
    checks = [CHECKS[0], bytes(CHECK_BYTES), b"\x05" + CHECKS[1][1:], CHECKS[2]]
    assert await workers.verify(checks) == b"\1\0\0\1" == verify_packed(b"".join(checks))


async def test_nothing_is_started_before_it_is_needed(workers: SystemWorkers) -> None:
    assert workers._processes == []


async def test_killed_processes_are_replaced_and_no_check_is_lost(workers: SystemWorkers) -> None:
    await workers.verify(CHECKS[:10])
    before = pids(workers)
    asking = [asyncio.create_task(workers.verify(CHECKS)) for _ in range(4)]
    await asyncio.sleep(0)  # they have asked
    for pid in before:
        os.kill(pid, signal.SIGKILL)
    assert await asyncio.gather(*asking) == [VERDICTS] * 4
    assert not set(pids(workers)) & set(before)


async def test_processes_that_end_at_once_are_given_up_with_advice(
    workers: SystemWorkers, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(workers_module.sys, "executable", "/bin/false")
    with pytest.raises(SignatureProcessesFail, match="ended 3 times"):
        await workers.verify(CHECKS[:10])


async def test_an_answer_nobody_waits_for_any_more_misplaces_no_other(
    workers: SystemWorkers,
) -> None:
    await workers.verify(CHECKS[:10])
    left = asyncio.create_task(workers.verify(CHECKS))
    await asyncio.sleep(0)
    left.cancel()
    assert await workers.verify(CHECKS[:20]) == VERDICTS[:20]


def test_a_process_whose_node_died_ends_without_a_word() -> None:
    """Its node may be killed while it checks."""
    ours, theirs = socket.socketpair()
    with theirs:
        pipe = theirs.fileno()
        worker = subprocess.Popen(
            [sys.executable, "-P", "-m", "chaind.node.signature_worker"],
            stdin=pipe, stdout=pipe, stderr=subprocess.PIPE,
        )  # fmt: skip
    with ours:
        ours.sendall(len(CHECKS).to_bytes(4, "big") + b"".join(CHECKS))
    _, said = worker.communicate(timeout=30)
    assert (worker.returncode, said) == (0, b"")
