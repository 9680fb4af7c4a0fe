"""Group commit: many callers, one fsync.

Whoever asks while a sync runs shares the next one. A sync that fails ends the node: after it
nobody can know what is on disk, so nothing more is said.
"""

import asyncio
from collections.abc import Callable
from typing import Protocol

from chaind.node.clock import Workers
from chaind.primitives.errors import NotReady


class Syncable(Protocol):
    """An append-only log."""

    def sync(self) -> None:
        """Make everything appended so far durable. May run on a worker thread."""
        ...


class NotDurable(NotReady):
    """The node ended before the disk had it: it may or may not be there after a restart."""

    code = "not-durable"
    text = "the node stopped before this was on disk"
    advice = "Ask again once the node, or another one, answers; with the same Idempotency-Key."


class GroupCommit:
    """Syncs `logs`, in order, whenever somebody waits. `run` is one of the node's tasks."""

    def __init__(self, logs: tuple[Syncable, ...], workers: Workers) -> None:
        self._logs = logs
        self._workers = workers
        self._waiting: list[Callable[[], None]] = []
        self._futures: dict[asyncio.Future[None], None] = {}  # in the order of their coming
        self._wanted = asyncio.Event()
        self._ended = False

    def when_durable(self, done: Callable[[], None]) -> None:
        """Call `done` once everything appended before this call is durable."""
        self._waiting.append(done)
        self._wanted.set()

    async def durable(self) -> None:
        """Return once everything appended before this call is durable. Raises `NotDurable`."""
        if self._ended:
            raise NotDurable
        future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._futures[future] = None

        def done() -> None:
            if not future.done():  # the waiter may have been cancelled
                future.set_result(None)

        self.when_durable(done)
        try:
            await future
        finally:
            self._futures.pop(future, None)

    async def run(self) -> None:
        """Serve until cancelled. Raises the `LocalFault` of a failed sync, which ends the node."""
        try:
            while True:
                await self._wanted.wait()
                self._wanted.clear()
                waiting, self._waiting = self._waiting, []
                await self._workers.disk(self._sync)
                for done in waiting:
                    done()
        finally:
            self._ended = True
            for future in self._futures:
                if not future.done():
                    future.set_exception(NotDurable())

    def _sync(self) -> None:
        for log in self._logs:
            log.sync()
