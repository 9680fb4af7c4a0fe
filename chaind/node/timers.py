"""Timers whose callbacks cannot fail silently: what one raises ends the node.

Callbacks outside any task would only be logged by the event loop. `failure` is awaited by one of
the node's tasks instead.
"""

import asyncio
from collections.abc import Callable


class Timers:
    """`call_later` of the running loop, guarded."""

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self.failure: asyncio.Future[None] = self._loop.create_future()

    def call_later(self, delay_s: float, work: Callable[[], None]) -> asyncio.TimerHandle:
        """Call `work` after `delay_s` seconds; the handle cancels it."""
        return self._loop.call_later(delay_s, self._guarded, work)

    def _guarded(self, work: Callable[[], None]) -> None:
        try:
            work()
        except Exception as error:  # noqa: BLE001 — whoever awaits `failure` raises it
            self.fail(error)

    def fail(self, error: Exception) -> None:
        """Let `failure` raise; the first one counts."""
        if not self.failure.done():
            self.failure.set_exception(error)
