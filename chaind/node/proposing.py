"""When a validator whose turn it is makes its block: at the core's word, but not too early.

Law: one wish at a time, the newest. It waits until the block before is durable, which is what fills
blocks where no other validator is waited for, and until `min_block_interval_ms` has passed.
"""

import asyncio
from collections.abc import Callable
from functools import partial

import structlog

from chaind.consensus.core import BlockRef, Build
from chaind.node.chain import Chain
from chaind.node.clock import Clock
from chaind.node.timers import Timers
from chaind.primitives.hashes import display_hash

log = structlog.get_logger("chaind.consensus")


class Proposing:
    """See the module's law. `bodies_seq` is the newest record that names a body."""

    def __init__(
        self, *, chain: Chain, clock: Clock, timers: Timers, built: Callable[[BlockRef], None]
    ) -> None:
        self._chain = chain
        self._clock = clock
        self._timers = timers
        self._built = built
        self._timer: asyncio.TimerHandle | None = None
        self._waiting: Build | None = None
        self.bodies_seq = 0

    def ask(self, wish: Build, durable_seq: int) -> None:
        """Build now, or once it may be."""
        self.stop()
        if self.bodies_seq > durable_seq:
            self._waiting = wish
            return
        parent = self._chain.info(wish.parent_hash)
        if parent is None:
            return
        interval_ms = self._chain.genesis.parameters.min_block_interval_ms
        wait_ms = parent.time_ms + interval_ms - self._clock.now_ms()
        if wait_ms > 0 and interval_ms:
            self._timer = self._timers.call_later(wait_ms / 1000, partial(self._build, wish))
        else:
            self._build(wish)

    def durable(self, durable_seq: int) -> None:
        """More is on disk: take up what waited for it."""
        if self._waiting is not None:
            self.ask(self._waiting, durable_seq)

    def stop(self) -> None:
        """Forget what was wished."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        self._waiting = None

    def _build(self, wish: Build) -> None:
        candidate = self._chain.build(wish.parent_hash, wish.view, self._clock.now_ms())
        if candidate is None:
            return
        block = candidate.body.block
        log.debug(
            "block_built",
            height=block.height,
            view=wish.view,
            hash=display_hash(block.hash),
            transactions=len(block.transactions),
        )
        self._built(BlockRef(block.hash, wish.view, wish.parent_hash, wish.parent_view))
