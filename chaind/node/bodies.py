"""From a block's hash to an executed block: rebuild it from the pool, fetch what is missing.

The core asks by hash (`resolve`) and is answered by a verdict once the body and all its ancestors
are held and executed. Compact proposals are rebuilt from the pool; a miss means *fetch*, never
*invalid*. Requests that stay unanswered go to another peer at the next tick.
"""

import asyncio
from collections import deque
from collections.abc import Callable, Sequence
from typing import Protocol

import structlog

from chaind.consensus.core import Verdict
from chaind.ledger.checks import Checked, check_transaction
from chaind.ledger.errors import REFUSALS, BlockUntimely
from chaind.mempool.pool import Pool
from chaind.network.messages import (
    BlockData,
    BlockTransactions,
    GetBlock,
    GetBlockTransactions,
    Message,
    Proposal,
)
from chaind.network.peer import Peer
from chaind.node.chain import Body, Candidate, Chain
from chaind.node.clock import Clock
from chaind.node.intake import Verifier
from chaind.primitives.block import Block
from chaind.primitives.errors import ChaindError, Malformed, PeerFault
from chaind.primitives.genesis import Genesis
from chaind.primitives.hashes import sha256d
from chaind.primitives.transaction import Transaction

COMPACT_MAX = 128  # proposals waiting for transactions: a few per view over the vote window
WANT_HEIGHTS_MAX = 256  # a block still missing after so many final ones is on no living branch
ARRIVALS_MAX = 256  # bodies waiting for signature checks; beyond, the peer must send again

log = structlog.get_logger("chaind.bodies")


class WrongTransactions(Malformed, PeerFault):
    """A peer answered a request for a block's transactions with something else."""

    code = "wrong-transactions"
    text = "answer for block {hash} holds transactions that were not asked for"


class Transport(Protocol):
    """What this module needs of the network."""

    def send(self, peer: Peer, message: Message) -> None:
        """Queue a message."""
        ...

    def peers(self) -> list[Peer]:
        """Connected peers."""
        ...

    def punish(self, peer: Peer, fault: PeerFault) -> None:
        """Count a fault."""
        ...


class _Compact:
    """A proposal whose transactions are being gathered."""

    __slots__ = ("found", "peer", "proposal")

    def __init__(self, proposal: Proposal, peer: Peer) -> None:
        self.proposal = proposal
        self.peer = peer
        self.found: dict[bytes, Checked] = {}

    def missing(self) -> list[bytes]:
        return [wtxid for wtxid in self.proposal.wtxids if wtxid not in self.found]


class _Want:
    """A block that is needed, and whom it was asked of last."""

    __slots__ = ("asked", "asked_ms", "resolve", "since_height", "source")

    def __init__(self, source: Peer | None, since_height: int) -> None:
        self.source = source
        self.since_height = since_height
        self.resolve = False  # the core waits for its verdict
        self.asked: set[str] = set()
        self.asked_ms: float | None = None


class Bodies:
    """See the module's law. `on_verdict` answers the core; `on_gap` hears of a peer far ahead."""

    def __init__(
        self,
        *,
        genesis: Genesis,
        chain: Chain,
        pool: Pool,
        verifier: Verifier,
        transport: Transport,
        clock: Clock,
        retry_ms: int,
        height_of: Callable[[bytes], int | None],
        on_verdict: Callable[[bytes, Verdict], None],
        call_later: Callable[[float, Callable[[], None]], object],
    ) -> None:
        self._genesis = genesis
        self._prefix = genesis.chain_prefix
        self._chain = chain
        self._pool = pool
        self._verifier = verifier
        self._transport = transport
        self._clock = clock
        self._retry_ms = retry_ms
        self._height_of = height_of
        self._on_verdict = on_verdict
        self._call_later = call_later
        self._compact: dict[bytes, _Compact] = {}
        self._wants: dict[bytes, _Want] = {}
        self._arrivals: deque[tuple[Peer, bytes | BlockTransactions]] = deque()
        self._arrived = asyncio.Event()

    def resolve(self, block_hash: bytes, source: Peer | None) -> None:
        """Answer with a verdict as soon as the block and its ancestors are held."""
        want = self._want(block_hash, source)
        want.resolve = True
        self._advance(block_hash)

    def offer(self, proposal: Proposal, peer: Peer) -> None:
        """A proposal whose leader's signature was checked: gather its transactions."""
        block_hash = sha256d(proposal.header)
        if block_hash in self._compact or self._chain.candidate(block_hash) is not None:
            return
        if len(self._compact) >= COMPACT_MAX:
            self._compact.pop(next(iter(self._compact)))
        compact = self._compact[block_hash] = _Compact(proposal, peer)
        for wtxid in proposal.wtxids:
            checked = self._pool.by_wtxid(wtxid)
            if checked is not None:
                compact.found[wtxid] = checked
        self._complete(block_hash, compact)

    def received(self, peer: Peer, message: BlockData | BlockTransactions) -> None:
        """An answer to one of our requests, or something unasked for, which is dropped."""
        if message.block_hash not in self._wants and message.block_hash not in self._compact:
            return
        if len(self._arrivals) >= ARRIVALS_MAX:
            return
        if isinstance(message, BlockTransactions):
            self._arrivals.append((peer, message))
        elif message.raw is not None:
            self._arrivals.append((peer, message.raw))
        self._arrived.set()

    def tick(self) -> None:
        """Ask again, of another peer, what was not answered in time."""
        for block_hash in list(self._wants):
            self._ask(block_hash)

    def forget_final(self) -> None:
        """The final tip moved: answer what is below it, drop what nobody can need any more."""
        final = self._chain.final
        for block_hash, want in list(self._wants.items()):
            if self._height_of(block_hash) is not None and want.resolve:
                self._advance(block_hash)
            elif final.height > want.since_height + WANT_HEIGHTS_MAX or (
                not want.resolve and self._chain.candidate(block_hash) is not None
            ):
                del self._wants[block_hash]
        for block_hash, compact in list(self._compact.items()):
            if compact.proposal.vote.view <= final.view:
                del self._compact[block_hash]

    async def run(self) -> None:
        """Decode and verify arrivals until cancelled."""
        while True:
            await self._arrived.wait()
            self._arrived.clear()
            while self._arrivals:
                peer, arrival = self._arrivals.popleft()
                try:
                    if isinstance(arrival, BlockTransactions):
                        await self._take_transactions(arrival)
                    else:
                        await self.take_block(Block.decode(arrival))
                except PeerFault as fault:
                    self._transport.punish(peer, fault)

    async def take_block(self, block: Block) -> None:
        """Verify a whole block's transactions and keep it, or tell the core that it is invalid."""
        if self._chain.candidate(block.hash) is None:
            try:
                checked = await self._check(block.transactions)
            except REFUSALS as error:
                self._refuse(block.hash, error)
                return
            self._chain.add(Body(block, tuple(checked)))
        self._arrived_body(block.hash)

    def _refuse(self, block_hash: bytes, error: ChaindError) -> None:
        """The hash commits to something that no state can make valid."""
        log.warning("block_invalid", hash=block_hash[::-1].hex(), error=str(error))
        self._compact.pop(block_hash, None)
        self._wants.pop(block_hash, None)
        self._on_verdict(block_hash, Verdict.NEVER)

    async def _check(self, transactions: Sequence[Transaction]) -> list[Checked]:
        """Checked transactions, from the pool where it has verified the same bytes."""
        result: list[Checked] = []
        fresh: list[Checked] = []
        for transaction in transactions:
            checked = self._pool.by_wtxid(transaction.wtxid)
            if checked is None:
                checked = check_transaction(transaction, self._genesis.parameters, self._prefix)
                fresh.append(checked)
            result.append(checked)
        for error in await self._verifier.verify(fresh):
            if error is not None:
                raise error
        return result

    async def _take_transactions(self, message: BlockTransactions) -> None:
        compact = self._compact.get(message.block_hash)
        if compact is None:
            return
        wanted = set(compact.missing())
        transactions = [Transaction.decode(raw) for raw in message.raws]
        if any(transaction.wtxid not in wanted for transaction in transactions):
            raise WrongTransactions(hash=message.block_hash[::-1].hex())
        try:
            found = await self._check(transactions)
        except REFUSALS as error:
            self._refuse(message.block_hash, error)
            return
        for checked in found:
            compact.found[checked.transaction.wtxid] = checked
        self._complete(message.block_hash, compact)

    def _complete(self, block_hash: bytes, compact: _Compact) -> None:
        missing = compact.missing()
        if missing:
            request = GetBlockTransactions(block_hash, tuple(missing))
            self._transport.send(compact.peer, request)
            self._want(block_hash, compact.peer).asked_ms = self._clock.monotonic_ms()
            return
        self._compact.pop(block_hash, None)
        proposal = compact.proposal
        checked = tuple(compact.found[wtxid] for wtxid in proposal.wtxids)
        try:
            block = Block.rebuild(
                proposal.header,
                proposal.coinbase,
                proposal.commitment,
                [item.transaction for item in checked],
            )
        except REFUSALS as error:  # the leader signed a header that its parts do not match
            self._refuse(block_hash, error)
            return
        self._chain.add(Body(block, checked))
        self._arrived_body(block_hash)

    def _arrived_body(self, block_hash: bytes) -> None:
        self._advance(block_hash)
        for waiting in [wanted for wanted, want in self._wants.items() if want.resolve]:
            self._advance(waiting)

    def _advance(self, block_hash: bytes) -> None:
        """Execute a wanted block if all is there, else ask for what is missing."""
        want = self._wants.get(block_hash)
        if want is None or not want.resolve:
            return
        if block_hash == self._chain.final.hash or self._height_of(block_hash) is not None:
            del self._wants[block_hash]
            self._on_verdict(block_hash, Verdict.OK)
            return
        path: list[Candidate] = []
        at = block_hash
        while at != self._chain.final.hash:
            candidate = self._chain.candidate(at)
            if candidate is None:
                self._want(at, want.source)
                self._ask(at)
                return
            path.append(candidate)
            at = candidate.body.block.parent
        del self._wants[block_hash]
        for candidate in reversed(path):
            self._chain.execute(candidate.body.block.hash)
            if candidate.error is not None:
                log.warning(
                    "block_invalid",
                    height=candidate.body.block.height,
                    hash=candidate.body.block.hash[::-1].hex(),
                    error=str(candidate.error),
                )
                self._on_verdict(block_hash, Verdict.NEVER)
                return
        self._on_verdict(block_hash, self._time_verdict(path[0].body.block))

    def _time_verdict(self, block: Block) -> Verdict:
        """OK, or UNTIMELY and OK once this node's clock has caught up."""
        now_ms = self._clock.now_ms()
        try:
            self._chain.check_time(block, now_ms)
        except BlockUntimely as error:
            log.warning("block_untimely", height=block.height, error=str(error))
            assert block.commitment.time_ms is not None
            early_ms = block.commitment.time_ms - now_ms - self._genesis.parameters.max_drift_ms
            self._call_later(early_ms / 1000, lambda: self._on_verdict(block.hash, Verdict.OK))
            return Verdict.UNTIMELY
        return Verdict.OK

    def _want(self, block_hash: bytes, source: Peer | None) -> _Want:
        want = self._wants.get(block_hash)
        if want is None:
            want = self._wants[block_hash] = _Want(source, self._chain.final.height)
        return want

    def _ask(self, block_hash: bytes) -> None:
        """Request a wanted block unless a request is fresh; prefer whom nobody asked yet."""
        want = self._wants[block_hash]
        if self._chain.candidate(block_hash) is not None:
            return
        now_ms = self._clock.monotonic_ms()
        if want.asked_ms is not None and now_ms - want.asked_ms < self._retry_ms:
            return
        peers = self._transport.peers()
        fresh = [peer for peer in peers if peer.node_id not in want.asked]
        if not fresh:
            want.asked.clear()
            fresh = peers
        if want.source in fresh:
            peer = want.source
        elif fresh:
            peer = fresh[0]
        else:
            return
        assert peer is not None
        want.asked.add(peer.node_id)
        want.asked_ms = now_ms
        self._transport.send(peer, GetBlock(block_hash))
