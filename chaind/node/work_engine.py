"""The shell around the block tree: headers and bodies in, the chain of most work followed.

What `engine` is to chains of validators, this is to chains of miners, with the same face towards
the node. The tree says which block is best, the planner whom to ask for what; here bodies are kept,
the state is moved, what a lost branch held goes back to the pool, the new tip is announced, and
what lies deep enough under it is handed to `finality`. A block is executed before it is announced.
"""

import asyncio
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from functools import partial
from typing import Protocol

import structlog

from chaind.consensus.core import Record, Verdict
from chaind.consensus.pow.body_window import BODY_STALL_MS
from chaind.consensus.pow.entry import Entry
from chaind.consensus.pow.sync import Action, AskBody, AskHeaders, Drop, Note, Passed, SyncPlanner
from chaind.consensus.pow.tree import Tree
from chaind.consensus.pow.tree_errors import ReorgTooDeep
from chaind.ledger.checks import Checked
from chaind.network import messages as wire
from chaind.network.peer import Peer
from chaind.node.bodies import Bodies, WrongBlock
from chaind.node.branches import Branches
from chaind.node.chain import Candidate, Chain
from chaind.node.clock import Clock
from chaind.node.compact import Compacts
from chaind.node.durable import GroupCommit, NotDurable
from chaind.node.finality import Finality
from chaind.node.header_chain import StoredFinals, first_anchor, serve_headers, stored_base
from chaind.node.next_block import NextBlock
from chaind.node.view_log import ViewLog
from chaind.node.withheld import Withheld
from chaind.node.work_errors import ParentUnknown, TransactionsRefused
from chaind.primitives.block import Block, is_sealed
from chaind.primitives.errors import ChaindError, PeerFault
from chaind.primitives.hashes import display_hash
from chaind.storage.chain_store import ChainStore
from chaind.storage.segment import Position

ANNOUNCE_MAX = 8  # headers of a new branch told unasked, Bitcoin's; peers ask for the others
UNSYNCED_BYTES_MAX = 1 << 24  # of bodies: a quarter of what the log takes before it gives up
WITHHELD_MS_MAX = BODY_STALL_MS  # without a body; and no longer than a block is due after another

log = structlog.get_logger("chaind.work")


class Wire(Protocol):
    """What this module needs of the network."""

    def send(self, peer: Peer, message: wire.Message) -> None:
        """Queue a message for one peer."""
        ...

    def punish(self, peer: Peer, fault: PeerFault) -> None:
        """Count a fault."""
        ...

    def drop(self, peer: Peer, fault: PeerFault) -> None:
        """Count a fault and close the connection."""
        ...


class WorkEngine:
    """See the module's law. `restore` takes back what only a lost branch held."""

    def __init__(
        self,
        *,
        chain: Chain,
        finality: Finality,
        store: ChainStore,
        commit: GroupCommit,
        network: Wire,
        clock: Clock,
        restore: Callable[[Checked], object],
    ) -> None:
        genesis = chain.genesis
        work = genesis.proof_of_work
        self._chain = chain
        self._finality = finality
        self._store = store
        self._commit = commit
        self._network = network
        self._clock = clock
        self._depth = work.final_depth
        self.tree = Tree(
            parameters=work.rules,
            base=stored_base(genesis, store),
            anchor=first_anchor(genesis),
            finals=StoredFinals(genesis, store),
        )
        self.planner = SyncPlanner(
            tree=self.tree,
            parameters=work.rules,
            genesis=genesis.header().encode(),
            minimum=work.minimum,
        )
        self.branches = Branches(
            chain=chain,
            tree=self.tree,
            finality=finality,
            restore=restore,
            invalidate=self._invalidate,
            on_moved=self._moved,
        )
        self.next_block = NextBlock(
            chain=chain, tree=self.tree, branches=self.branches, now=self._now
        )
        patience_ms = min(WITHHELD_MS_MAX, work.rules.target_spacing_ms)
        self._withheld = Withheld(self.tree, patience_ms, clock.monotonic_ms())
        self.bodies: Bodies | None = None  # set once by the node: each needs the other
        self.compacts = Compacts(pool=chain.pool, send=network.send, header_of=self._header_of)
        self._numbers: dict[int, Peer] = {}
        self._peer_numbers: dict[Peer, int] = {}
        self._next_number = 0
        self._arrivals: deque[tuple[Peer, wire.BlockData | Block]] = deque()
        self._verifying: set[bytes] = set()  # those, and the one that was taken out of them
        self._wanted = asyncio.Event()
        self._ended = False
        self._unsynced_bytes = 0  # of bodies, at most
        self.view = 0  # nobody votes
        self.views = ViewLog()
        self.evidence_total = 0
        self.blocks_total = 0  # bodies that peers gave us
        self.arrivals_total = 0  # times that the pool got something
        self.on_head: list[Callable[[], None]] = []  # hear of another head
        self.reorgs_refused = 0
        self.reorg_refused: ReorgTooDeep | None = None  # the last one

    def start(self, _records: Sequence[tuple[Position, Record]]) -> None:
        """Put what was stored above the final tip back into the tree, and follow it."""
        for candidate in sorted(self._chain.candidates(), key=_height):
            block = candidate.body.block
            try:
                self.tree.hear(block.header_bytes, now=block.header.time)
            except ChaindError as error:
                log.warning("stored_block_refused", hash=display_hash(block.hash), error=str(error))
                continue
            if self.tree.get(block.hash) is None:
                continue
            if candidate.error is not None:
                self._invalidate(block.hash, candidate.error)
            else:
                self.tree.hold(block.hash)
        while self.branches.advance():
            continue

    def stop(self) -> None:
        """Hear nothing more: the logs may be closed from now on."""
        self._ended = True

    def work_arrived(self) -> None:
        """Something entered the pool: miners ask for it when they want it."""
        self.arrivals_total += 1

    # Where the node stands.

    @property
    def tip_hash(self) -> bytes:
        """The head, on which templates stand."""
        return self._chain.head.hash

    @property
    def behind(self) -> int:
        """Blocks between our head and the best header."""
        return max(0, self.tree.best.height - self._chain.head.height)

    @property
    def awaited(self) -> int:
        """How many of those are worth waiting for, see `withheld`."""
        return self._withheld.awaited(self.behind)

    @property
    def syncing(self) -> bool:
        """Whether headers are still being asked for, or too light."""
        return not self.planner.synced

    def knows(self, block_hash: bytes) -> bool:
        """Whether it stands in the tree, or is final."""
        return (
            self.tree.get(block_hash) is not None or self._store.height_of(block_hash) is not None
        )

    def follows(self, block_hash: bytes) -> bool:
        """Whether a block is final, or on the way from the last final one to the head."""
        if any(one.body.block.hash == block_hash for one in self._chain.executed()):
            return True
        return self._store.height_of(block_hash) is not None

    # Peers.

    def peer_up(self, peer: Peer) -> None:
        """Number the peer for the planner and tell it what is final here."""
        self._next_number += 1
        self._numbers[self._next_number] = peer
        self._peer_numbers[peer] = self._next_number
        self._network.send(peer, wire.Tip(self._chain.final.height))
        self._do(self.planner.peer_up(self._next_number, self._clock.monotonic_ms()))

    def peer_down(self, peer: Peer) -> None:
        """Forget its number, once."""
        number = self._peer_numbers.pop(peer, None)
        if number is not None:
            self.compacts.peer_down(peer)
            del self._numbers[number]
            self._do(self.planner.peer_down(number, self._clock.monotonic_ms()))

    def received(self, peer: Peer, message: wire.Message) -> None:
        """What a peer sent. Raises `PeerFault`."""
        if self._ended:
            return
        match message:
            case wire.Headers(records):
                self._do(self._hear_headers(peer, records))
            case wire.GetHeaders(locator):
                records = b""
                if self.planner.heavy_enough:
                    records = serve_headers(self._store, self.tree, self.branches.head, locator)
                self._network.send(peer, wire.Headers(records))
            case wire.BlockData(block_hash, raw):
                self._hear_body(peer, message, block_hash, raw)
            case wire.CompactBlock(block_hash) | wire.BlockTransactions(block_hash):
                self._hear_compact(peer, message, block_hash)
            case _:
                raise wire.MessageOutOfPlace(name=type(message).__name__, mode="pow")

    def tick(self) -> None:
        """Time passes."""
        now_ms = self._clock.monotonic_ms()
        self._do(self.planner.tick(now_ms))
        self._withheld.tick(self.behind, now_ms)

    def _hear_headers(self, peer: Peer, records: bytes) -> tuple[Action, ...]:
        number = self._peer_numbers.get(peer)
        if number is None:
            return ()
        now_ms = self._clock.monotonic_ms()
        if not self.behind:
            self._withheld.brought(now_ms)
        return self.planner.headers(number, records, now_ms=now_ms, now=self._now())

    def _hear_body(
        self, peer: Peer, message: wire.BlockData, block_hash: bytes, raw: bytes | None
    ) -> None:
        number = self._peer_numbers.get(peer)
        if number is None or not self.planner.awaits(number, block_hash):
            return
        if raw is None:
            self._do(self.planner.no_body(number, block_hash, self._clock.monotonic_ms()))
            return
        self._arrived(peer, block_hash, message)

    def _arrived(self, peer: Peer, block_hash: bytes, arrival: wire.BlockData | Block) -> None:
        """Verify it in its turn; what comes of the same block meanwhile is dropped."""
        if block_hash in self._verifying:
            return
        self._verifying.add(block_hash)
        self._arrivals.append((peer, arrival))
        self._wanted.set()

    def _hear_compact(
        self, peer: Peer, message: wire.CompactBlock | wire.BlockTransactions, block_hash: bytes
    ) -> None:
        """Raises `PeerFault`; then the block is asked for again, whole."""
        number = self._peer_numbers.get(peer)
        if number is None or not self.planner.awaits(number, block_hash):
            return
        if self.tree.get(block_hash) is None:  # another one of its height became final
            return
        try:
            if isinstance(message, wire.CompactBlock):
                block = self.compacts.take(peer, message)
            else:
                block = self.compacts.complete(peer, message)
        except PeerFault:
            self._do(self.planner.body(block_hash, self._clock.monotonic_ms()))
            raise
        if block is not None:
            self._arrived(peer, block_hash, block)

    def _header_of(self, block_hash: bytes) -> bytes:
        entry = self.tree.get(block_hash)
        assert entry is not None, "only what stands in the tree is asked for"
        return entry.header

    def _do(self, actions: Iterable[Action]) -> None:
        for action in actions:
            peer = self._numbers.get(action.peer)
            if peer is None:
                continue
            match action:
                case AskHeaders(_, locator):
                    self._network.send(peer, wire.GetHeaders(locator))
                case AskBody(_, block_hash):
                    entry = self.tree.get(block_hash)
                    assert entry is not None, "only what stands in the tree is asked for"
                    ahead = entry.height - self._chain.head.height
                    self.compacts.ask(peer, block_hash, ahead)
                case Drop(_, fault):
                    log.warning("peer_dropped", peer=peer.node_id[:8], error=str(fault))
                    self._network.drop(peer, fault)
                case Note(_, error) if isinstance(error, ReorgTooDeep):
                    self._refuse(peer, error)
                case Note(_, error):
                    log.warning("headers_refused", peer=peer.node_id[:8], error=str(error))
                case Passed():
                    log.info("peer_stalled", peer=peer.node_id[:8])
        self._settle()

    def _refuse(self, peer: Peer, error: ReorgTooDeep) -> None:
        """A branch from below what is final: told once for each place at which one leaves."""
        told, self.reorg_refused = self.reorg_refused, error
        self.reorgs_refused += 1
        fork = error.values["fork_height"]
        say = log.debug if told is not None and told.values["fork_height"] == fork else log.error
        say("reorg_refused", peer=peer.node_id[:8], error=str(error), advice=error.advice)

    # Bodies.

    async def run(self) -> None:
        """Verify bodies as they come, and follow the best chain, until cancelled."""
        while True:
            await self._wanted.wait()
            self._wanted.clear()
            while self._arrivals:
                peer, arrival = self._arrivals.popleft()
                block_hash = arrival.hash if isinstance(arrival, Block) else arrival.block_hash
                self.compacts.forget(block_hash)
                try:
                    await self._take(arrival)
                except PeerFault as fault:
                    self._network.punish(peer, fault)
                self._verifying.discard(block_hash)
                self._do(self.planner.body(block_hash, self._clock.monotonic_ms()))
                self.branches.advance()
            if self.branches.advance():
                self._wanted.set()
                await asyncio.sleep(0)  # others have their turn between blocks

    async def submit(self, block: Block) -> None:
        """A block that was mined here, or handed in. Raises the rule that it breaks."""
        self.tree.hear(block.header_bytes, now=self._now())
        if self.tree.get(block.hash) is None:
            raise ParentUnknown(hash=display_hash(block.hash), parent=display_hash(block.parent))
        await self._keep(block)
        self._do(self.planner.body(block.hash, self._clock.monotonic_ms()))
        self.branches.advance()
        candidate = self._chain.candidate(block.hash)
        if candidate is not None and candidate.error is not None:
            raise candidate.error
        entry = self.tree.get(block.hash)
        if entry is not None and entry.invalid:
            raise TransactionsRefused(height=block.height)

    async def _take(self, arrival: wire.BlockData | Block) -> None:
        """Raises `PeerFault` where the bytes are not the block that was asked for."""
        if isinstance(arrival, Block):
            if self.tree.get(arrival.hash) is not None:
                self.blocks_total += 1
                await self._keep(arrival)
            return
        block_hash, raw = arrival.block_hash, arrival.raw
        assert raw is not None
        try:
            block = Block.decode(raw)
        except PeerFault as fault:
            if is_sealed(raw, block_hash) and self.tree.get(block_hash) is not None:
                self._invalidate(block_hash, fault)
            raise
        if block.hash != block_hash:
            raise WrongBlock(hash=display_hash(block_hash), other=display_hash(block.hash))
        if self.tree.get(block_hash) is not None:
            self.blocks_total += 1
            await self._keep(block)

    async def _keep(self, block: Block) -> None:
        """Verify a block's transactions, and keep it or know it as invalid."""
        assert self.bodies is not None
        await self.bodies.take_block(block)
        entry, candidate = self.tree.get(block.hash), self._chain.candidate(block.hash)
        if entry is None or candidate is None or entry.invalid:
            return
        if candidate.error is not None:
            self._invalidate(block.hash, candidate.error)
            return
        self._unsynced_bytes += self._finality.keep_body(block.hash)
        self.tree.hold(block.hash)
        self._withheld.brought(self._clock.monotonic_ms())
        if self._unsynced_bytes >= UNSYNCED_BYTES_MAX:  # nobody who catches up is told of any
            self._unsynced_bytes = 0
            with suppress(NotDurable):  # the node ends, and what broke the commit says why
                await self._commit.durable()

    def on_verdict(self, block_hash: bytes, verdict: Verdict) -> None:
        """What a block's transactions say of it, before any state is asked."""
        if verdict is Verdict.NEVER and self.tree.get(block_hash) is not None:
            self.tree.invalidate(block_hash)

    def _invalidate(self, block_hash: bytes, error: Exception) -> None:
        log.warning("block_invalid", hash=display_hash(block_hash), error=str(error))
        self.tree.invalidate(block_hash)

    # The chain of most work.

    def _moved(self, head: Entry) -> None:
        """The head is another than this: peers hear of it."""
        tip = self.branches.head
        if tip.chainwork > head.chainwork and self.awaited < ANNOUNCE_MAX:  # not while catching up
            fresh = self.tree.path(head.hash, tip.hash).apply[-ANNOUNCE_MAX:]
            self._commit.when_durable(partial(self._announce, fresh))
        self._settle()
        for hear in self.on_head:
            hear()

    def _announce(self, fresh: Sequence[Entry]) -> None:
        """Tell of new blocks whoever is not known to have them, unless later ones came meanwhile.

        Whoever lacks what is between asks for it.
        """
        if self._ended or self.tree.get(fresh[-1].hash) is None:
            return
        records = b"".join(entry.header for entry in fresh)
        for number, peer in self._numbers.items():
            if not self.planner.knows(number, fresh[-1]):
                self._network.send(peer, wire.Headers(records))

    def _settle(self) -> None:
        """What is deep enough is final, once no lighter chain can be taken for the heaviest."""
        if self.planner.synced:
            self.branches.bury(self._depth)

    def advanced(self) -> None:
        """The final tip moved."""
        if self._chain.final.hash != self.tree.base.hash:
            self.tree.finalise(self._chain.final.hash)
        if self.branches.advance():
            self._wanted.set()

    def _now(self) -> int:
        return self._clock.now_ms() // 1000


def _height(candidate: Candidate) -> int:
    return candidate.body.block.height
