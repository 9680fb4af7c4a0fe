"""Group commit: many callers, one fsync.

Whoever asks while a sync runs shares the next one. A sync that fails ends the node: after it
nobody can know what is on disk, so nothing more is said.
"""

import asyncio
from collections.abc import Callable
from typing import Protocol

from chaind.node.clock import Workers


class Syncable(Protocol):
    """An append-only log."""

    def sync(self) -> None:
        """Make everything appended so far durable. May run on a worker thread."""
        ...


class GroupCommit:
    """Syncs `logs`, in order, whenever somebody waits. `run` is one of the node's tasks."""

    def __init__(self, logs: tuple[Syncable, ...], workers: Workers) -> None:
        self._logs = logs
        self._workers = workers
        self._waiting: list[Callable[[], None]] = []
        self._wanted = asyncio.Event()

    def when_durable(self, done: Callable[[], None]) -> None:
        """Call `done` once everything appended before this call is durable."""
        self._waiting.append(done)
        self._wanted.set()

    async def durable(self) -> None:
        """Return once everything appended before this call is durable."""
        future: asyncio.Future[None] = asyncio.get_running_loop().create_future()

        def done() -> None:
            if not future.done():  # the waiter may have been cancelled
                future.set_result(None)

        self.when_durable(done)
        await future

    async def run(self) -> None:
        """Serve until cancelled. Raises the `LocalFault` of a failed sync, which ends the node."""
        while True:
            await self._wanted.wait()
            self._wanted.clear()
            waiting, self._waiting = self._waiting, []
            await self._workers.disk(self._sync)
            for done in waiting:
                done()

    def _sync(self) -> None:
        for log in self._logs:
            log.sync()
