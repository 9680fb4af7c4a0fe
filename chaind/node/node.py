"""The node: owns the tasks and the order of things.

Two turning points only: `intake.submit` and the core's `step` inside `engine`. Every task lives in
the one TaskGroup of `run`; an unexpected exception in any of them ends the node.
"""

import asyncio
import os
from collections.abc import Callable, Sequence
from contextlib import suppress
from random import Random

import structlog
from prometheus_client import CollectorRegistry

from chaind.ledger.checks import Checked
from chaind.network import messages as wire
from chaind.network.manager import Network
from chaind.network.peers import Address
from chaind.node.assembly import make_faucet
from chaind.node.chain import Body
from chaind.node.clock import Clock, Workers
from chaind.node.config import Config
from chaind.node.custody import Accounts
from chaind.node.durable import NotDurable
from chaind.node.events import Event, FinalEvent
from chaind.node.gbt import make_gbt
from chaind.node.invoices import Invoices
from chaind.node.metrics import NodeCollector
from chaind.node.mining import make_mining
from chaind.node.orders import Orders
from chaind.node.parts import Identity, Parts
from chaind.node.payments import Payments
from chaind.node.queries import TransactionInfo
from chaind.node.recovery import Disk, stored_blocks, stored_intake, stored_votes
from chaind.node.refunds import Refunds
from chaind.node.signatures import Verify
from chaind.node.statements import Statements
from chaind.node.template_book import TemplateBook
from chaind.node.tracker import lost_for_ever
from chaind.node.vitals import Vitals
from chaind.node.work_engine import WorkEngine
from chaind.primitives.genesis import Genesis
from chaind.primitives.keys import verify as verify_signature
from chaind.storage.invoices import InvoiceFiles
from chaind.storage.segment import Position

TICK_MS = 100.0  # retries and stall checks; nothing on the path of a payment waits for it

log = structlog.get_logger("chaind.node")


class Node(Parts):
    """One node on one chain. Construct, then `run`; `stop` from anywhere on the loop.

    `custody_seed` derives the keys of named accounts; None keeps none. `accounts` is instead of it
    where names outlast the node. `network` and `verify` make the network and check votes; a
    simulator gives its own.
    """

    def __init__(
        self,
        *,
        config: Config,
        genesis: Genesis,
        identity: Identity,
        disk: Disk,
        clock: Clock,
        workers: Workers,
        rng: Random,
        custody_seed: bytes | None = None,
        accounts: Accounts | None = None,
        entropy: Callable[[int], bytes] = os.urandom,
        network: Callable[..., Network] = Network,
        verify: Verify = verify_signature,
    ) -> None:
        super().__init__(
            config=config,
            genesis=genesis,
            identity=identity,
            disk=disk,
            clock=clock,
            workers=workers,
            rng=rng,
            entropy=entropy,
            network=network,
            verify=verify,
        )
        self._make_services(Accounts(custody_seed) if accounts is None else accounts)
        self._make_mining()
        self._stop_wanted = asyncio.Event()
        self.ended = False  # its files are closed: nothing can be asked any more
        self.last_final_ms: float | None = None
        self.loop_lag_ms = 0.0
        self.vitals = Vitals(self)
        self.metrics = CollectorRegistry()
        self.metrics.register(NodeCollector(self))

    def _make_services(self, accounts: Accounts) -> None:
        self.payments = Payments(
            genesis=self.genesis,
            accounts=accounts,
            faucet=make_faucet(self.config, self.genesis, self.queries, self.clock)
            if self.genesis.dev and accounts.enabled
            else None,
            chain=self.chain,
            intake=self.intake,
            queries=self.queries,
            clock=self.clock,
            entropy=self._entropy,
            wait_final=self.wait_final,
            troubles=lambda: self.vitals.health().reasons,
        )
        self.statements = Statements(self.genesis, self._disk.store)
        self.refunds = Refunds(
            payments=self.payments,
            queries=self.queries,
            store=self._disk.store,
            entropy=self._entropy,
            show=self.genesis.addresses.show,
        )
        self.orders = Orders(
            payments=self.payments,
            queries=self.queries,
            store=self._disk.store,
            show=self.genesis.addresses.show,
        )

    def _make_mining(self) -> None:
        self.mining = make_mining(
            config=self.config,
            genesis=self.genesis,
            engine=self.engine,
            pool=self.pool,
            clock=self.clock,
            workers=self._workers,
            resolve=self.payments.resolve,
            peers=lambda: len(self.network.peers()),
            entropy=self._entropy,
        )
        self.gbt = make_gbt(
            config=self.config,
            genesis=self.genesis,
            engine=self.engine,
            pool=self.pool,
            peers=lambda: len(self.network.peers()),
            clock=self.clock,
            entropy=self._entropy,
        )
        self.templates: TemplateBook | None = None
        if isinstance(self.engine, WorkEngine) and self.gbt is not None:
            self.templates = TemplateBook(self.engine, self.gbt)

    # Life.

    async def run(self, started: Callable[[], None] = lambda: None) -> None:
        """Recover, serve until `stop`, close. Raises what ended it, in an exception group."""
        try:
            async with asyncio.TaskGroup() as group:
                commits = [
                    group.create_task(self._journal_commit.run()),
                    group.create_task(self._vote_commit.run()),
                ]
                tasks = [
                    group.create_task(self.finality.run()),
                    group.create_task(self.bodies.run()),
                    group.create_task(self.sync.run()),
                    group.create_task(self.ingest.run()),
                    group.create_task(self._tick()),
                    group.create_task(self._watch_timers()),
                ]
                self._recover()
                await self.network.start(group)
                if self.mining is not None:
                    tasks += await self.mining.start(group)
                started()
                await self._stop_wanted.wait()
                with suppress(NotDurable):  # what broke the commit ends its task, and says more
                    await self._wind_down()
                for task in (*tasks, *commits):
                    task.cancel()
        finally:
            self.ended = True
            self.engine.stop()
            self.feed.release()
            self._disk.close()

    async def _wind_down(self) -> None:
        """Say and hear nothing more, and write what was promised."""
        if self.mining is not None:
            await self.mining.stop()
        if self.gbt is not None:
            self.gbt.close()
        self.waiters.release()
        self.feed.release()
        await self._journal_commit.durable()  # whoever waits for it is answered
        await self.network.stop()
        self.engine.stop()
        await self._vote_commit.durable()  # what is decided is delivered
        await self.finality.written()

    def stop(self) -> None:
        """End `run`."""
        self._stop_wanted.set()

    def _recover(self) -> None:
        """Blocks above the tip, own votes, accepted transactions: as they were."""
        for position, block, checked in stored_blocks(self._disk.store, self.genesis):
            self.chain.add(Body(block, checked))
            self.finality.positions[block.hash] = position
        for position, transaction in stored_intake(self._disk.journal, self.genesis):
            self._restore(transaction, position)
        records = stored_votes(self._disk.votes)
        self.network.final_height = self.chain.final.height
        log.info(
            "recovered",
            height=self.chain.final.height,
            records=len(records),
            pending=len(self.pool),
        )
        self.engine.start(records)
        if self.chain.at_head:  # what was accepted on blocks that are not final
            self.returns.resume(self.tracker.open())

    def _restore(self, transaction: Checked, position: Position) -> None:
        """Follow a journaled transaction again, unless its end is known or can be told now."""
        txid, store = transaction.txid, self._disk.store
        ended = self.queries.is_final(txid) or store.outcome(txid) is not None
        if ended or self.tracker.get(txid) is not None:
            return
        self.tracker.follow(transaction, position.segment)
        error = self.intake.restore(transaction)
        # It was valid when it was accepted: then a rival is final, and a crash lost the note of it.
        if error is not None and lost_for_ever(error, transaction, self.queries.is_final):
            by = error.values.get("txid")
            rival = bytes.fromhex(str(by)) if by is not None else None
            store.write_outcomes(self.tracker.reject(txid, rival, self.chain.final.height))

    async def _tick(self) -> None:
        due_ms = self.clock.monotonic_ms()
        while True:
            due_ms += TICK_MS
            await asyncio.sleep(max(0.0, due_ms - self.clock.monotonic_ms()) / 1000)
            self.loop_lag_ms = max(0.0, self.clock.monotonic_ms() - due_ms)
            due_ms = max(due_ms, self.clock.monotonic_ms() - TICK_MS)
            self.bodies.tick()
            self.sync.tick()
            self.healer.tick()
            if self.quorums is not None:  # the median time of miners lags by right
                self.clock_watch.look(self.chain.final.time_ms)
            keep = self.tracker.droppable_before()
            if keep is not None:
                await self._workers.disk(lambda: self._disk.journal.drop_before(keep))  # noqa: B023

    async def _watch_timers(self) -> None:
        await self.timers.failure

    # News.

    def _on_accepted(self, batch: Sequence[Checked], source: str | None) -> None:
        if source is not None:
            wtxids = [checked.transaction.wtxid for checked in batch]
            self.relay.arrived(wtxids)
            for peer in self.network.peers():
                if peer.node_id == source:
                    self.relay.heard(peer, wtxids)
        self.relay.accepted(batch, local=source is None)
        self.engine.work_arrived()

    def _on_final(self) -> None:
        self.last_final_ms = self.clock.monotonic_ms()
        catching_up = self.sync.syncing or self.sync.behind > 1
        if self.quorums is not None:
            self.clock_watch.became_final(self.chain.final.time_ms, catching_up=catching_up)
        self.network.final_height = self.chain.final.height
        self.network.broadcast(wire.Tip(self.chain.final.height))
        self.bodies.forget_final()
        self.sync.advanced()
        self.waiters.check()
        self.engine.work_arrived()

    def _on_event(self, event: Event) -> None:
        """Before anybody else who is told of it asks."""
        if isinstance(event, FinalEvent):
            self.market_data.take(event.block.height, event.time_ms, event.market)

    # What the API asks beside `queries`, `payments` and `intake`.

    async def wait_final(self, txid: bytes, timeout_ms: float) -> TransactionInfo:
        """The transaction's state once it has ended and peers in step agree, or at the bound."""
        info = self.queries.transaction(txid)
        if info.status in ("pending", "included"):
            await self.waiters.wait(txid, timeout_ms)
            return self.queries.transaction(txid)
        if info.height is not None:
            await self.waiters.visible(info.height)
        return info

    def invoices(self, files: InvoiceFiles) -> Invoices:
        """The book of invoices in these files; still to be loaded."""
        return Invoices(
            files=files,
            chain=self.chain,
            store=self._disk.store,
            clock=self.clock,
            workers=self._workers,
            entropy=self._entropy,
        )

    def add_peer(self, host: str, port: int) -> None:
        """Dial an address now."""
        self.network.add_peer(Address(host, port))
