"""Group commit: one sync for many, nothing told before it, nobody left waiting after a failure."""

import asyncio

import pytest

from chaind.node.durable import GroupCommit, NotDurable
from chaind.storage.errors import DiskFailed


class Log:
    """Counts syncs; fails once told to."""

    def __init__(self) -> None:
        self.syncs = 0
        self.broken = False

    def sync(self) -> None:
        self.syncs += 1
        if self.broken:
            raise DiskFailed(operation="sync", path="log", reason="EIO")


class Held:
    """Workers whose disk work waits until the test lets it go."""

    def __init__(self) -> None:
        self.go = asyncio.Event()

    async def disk(self, work):
        await self.go.wait()
        return work()

    compute = disk


async def test_callers_during_a_sync_share_the_next_one() -> None:
    log, workers = Log(), Held()
    commit = GroupCommit((log,), workers)
    running = asyncio.create_task(commit.run())
    first = asyncio.create_task(commit.durable())
    await asyncio.sleep(0)
    await asyncio.sleep(0)  # the first sync is under way
    later = [asyncio.create_task(commit.durable()) for _ in range(5)]
    await asyncio.sleep(0)
    assert not first.done()
    workers.go.set()
    await asyncio.gather(first, *later)
    assert log.syncs == 2
    running.cancel()


async def test_a_failed_sync_ends_the_task_and_every_waiter() -> None:
    log, workers = Log(), Held()
    log.broken = True
    workers.go.set()
    commit = GroupCommit((log,), workers)
    running = asyncio.create_task(commit.run())
    waiting = [asyncio.create_task(commit.durable()) for _ in range(3)]
    for task in waiting:
        with pytest.raises(NotDurable):
            await task
    with pytest.raises(DiskFailed):
        await running
    with pytest.raises(NotDurable):
        await commit.durable()
    assert log.syncs == 1  # a failed sync is never tried again
