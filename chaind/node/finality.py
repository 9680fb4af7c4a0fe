"""What the core delivers becomes final here: durable first, then told.

Delivered blocks queue for one writer. Small batches are written on the loop (a hop to a thread
costs more), large ones on a worker. Then the pool forgets, subscribers hear, waiters are answered.
"""

import asyncio
from collections.abc import Callable, Sequence
from functools import partial
from typing import NamedTuple

import structlog

from chaind.ledger.block import reward_of
from chaind.mempool.pool import Pool
from chaind.node.chain import Body, Candidate, Chain
from chaind.node.clock import Clock, Workers
from chaind.node.events import DroppedEvent, Event, Events, FinalEvent, HeadEvent
from chaind.node.tracker import Tracker
from chaind.primitives.hashes import display_hash
from chaind.primitives.votes import Certificate
from chaind.storage.chain_store import ChainStore, FinalBlock
from chaind.storage.segment import Position

log = structlog.get_logger("chaind.finality")

INLINE_ROWS_MAX = 400  # about half a millisecond of LevelDB; above, the loop should not wait


class Delivery(NamedTuple):
    """Blocks from just above the last delivered one up to the certified one."""

    path: list[Candidate]
    finals: list[FinalBlock]
    rows: int


class Finality:
    """See the module's law. `run` is one of the node's tasks; `on_final` hears each batch."""

    def __init__(
        self,
        *,
        chain: Chain,
        store: ChainStore,
        pool: Pool,
        tracker: Tracker,
        events: Events,
        clock: Clock,
        workers: Workers,
        on_final: Callable[[], None],
    ) -> None:
        self._chain = chain
        self._store = store
        self._pool = pool
        self._tracker = tracker
        self._events = events
        self._clock = clock
        self._workers = workers
        self._on_final = on_final
        self._queue: list[Delivery] = []
        self._wanted = asyncio.Event()
        self._idle = asyncio.Event()
        self._idle.set()
        self.positions: dict[bytes, Position] = {}  # of bodies in the log, by block hash
        self.transactions_total = 0
        self.blocks_total = 0

    def keep_body(self, block_hash: bytes) -> int:
        """Append a known block to the body log once; the next sync makes it durable. Its bytes."""
        candidate = self._chain.candidate(block_hash)
        if block_hash in self.positions or candidate is None:  # which is final, and so in the log
            return 0
        raw = candidate.body.block.encode()
        self.positions[block_hash] = self._store.bodies.append(raw)
        return len(raw)

    def deliver(self, block_hash: bytes, certificate: Certificate | None) -> None:
        """The block and its ancestors are final by a durable certificate, or by work alone."""
        path = self._chain.path_to(block_hash)
        if not path:
            return
        finals, rows = [], 0
        for candidate in path:
            block, executed, info = candidate.body.block, candidate.executed, candidate.info
            assert executed is not None
            assert info is not None
            self.keep_body(block.hash)
            proof = certificate if block.hash == block_hash else None
            finals.append(
                FinalBlock(
                    block,
                    self.positions[block.hash],
                    executed.root,
                    executed.delta.writes,
                    executed.receipts,
                    proof,
                    reward_of(executed, block.height, self._chain.genesis.parameters),
                    info.time_ms,
                    self._store.market.take(
                        block.height, info.time_ms, executed.receipts, executed.events
                    ),
                    executed.booked,
                )
            )
            rows += len(executed.delta.writes) + 4 * len(executed.receipts)
            rows += len(finals[-1].market.rows)
        self._chain.promise(path)
        self._queue.append(Delivery(path, finals, rows))
        self._idle.clear()
        self._wanted.set()

    async def run(self) -> None:
        """Write until cancelled."""
        while True:
            await self._wanted.wait()
            self._wanted.clear()
            batch, self._queue = self._queue, []
            finals = [final for delivery in batch for final in delivery.finals]
            # Rows are made here: a thread would share the interpreter with the loop for it.
            write = self._store.prepare(finals)
            if sum(delivery.rows for delivery in batch) <= INLINE_ROWS_MAX:
                self._write(write)
            else:
                await self._workers.disk(partial(self._write, write))
            self._tracker.synced()  # and no outcome of this batch, which is told below
            self._store.keep_certificates(finals)
            for delivery in batch:
                self._settle(delivery)
            self._on_final()
            if not self._queue:
                self._idle.set()

    def head_moved(self, undone: Sequence[Body], applied: Sequence[Body]) -> None:
        """Tell of another head, which is not final: see `HeadEvent`."""
        self._events.publish(HeadEvent(tuple(undone), tuple(applied)))

    async def written(self) -> None:
        """Return once all that was delivered is durable and told."""
        await self._idle.wait()

    def _write(self, write: Callable[[], None]) -> None:
        self._store.bodies.sync()
        write()

    def _settle(self, delivery: Delivery) -> None:
        """The batch is durable: everyone may know."""
        for block_hash in self._chain.settle(delivery.path):
            self.positions.pop(block_hash, None)
        now_ms = self._clock.now_ms()
        events: list[Event] = []
        for final in delivery.finals:
            block, receipts = final.block, final.receipts
            included = [receipt.checked for receipt in receipts]
            time_ms = final.time_ms
            changed = (key for key, _ in final.writes)
            dropped = self._pool.settle(included, changed, time_ms)
            ended = self._tracker.settle(included, block.height, time_ms)
            if ended:
                self._store.write_outcomes(ended)
            events.append(
                FinalEvent(block, receipts, final.certificate, now_ms, final.market, time_ms)
            )
            told = {txid for txid, _ in ended}
            for txid, outcome in ended:
                events.append(DroppedEvent(txid, outcome.reason, outcome.by, ended=True))
            for item in dropped:
                txid = item.entry.checked.txid
                if txid not in told:
                    events.append(DroppedEvent(txid, item.reason, item.by, ended=True))
            log.debug(
                "block_final",
                height=block.height,
                hash=display_hash(block.hash),
                transactions=len(receipts),
                ended=len(ended),
            )
            self.transactions_total += len(receipts)
            self.blocks_total += 1
        self._events.publish_all(events)
