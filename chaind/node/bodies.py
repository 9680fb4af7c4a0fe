"""From a block's hash to an executed block: rebuild it from the pool, fetch what is missing.

The core asks by hash (`resolve`) and is answered by a verdict once the body and all its ancestors
are held and executed. Compact proposals are rebuilt from the pool; a miss means *fetch*, never
*invalid*. A leader signs the header alone: parts that do not give its Merkle root are the sender's
fault and say nothing of the block. Requests that stay unanswered go to another peer at a tick. Only
what a certificate or enough votes vouch for is asked for faster than that: what a lying leader made
up, nobody holds.
"""

import asyncio
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from types import MappingProxyType
from typing import Final, Protocol

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
from chaind.primitives.hashes import display_hash
from chaind.primitives.transaction import Transaction

COMPACT_MAX = 128  # proposals waiting for transactions: a few per view over the vote window
WANT_HEIGHTS_MAX = 256  # a block still missing after so many final ones is on no living branch
WALK_MAX = 32  # missing ancestors fetched at once; of more, ranges bring many at a time from below
ARRIVALS_MAX = 64  # bodies waiting for signature checks; beyond, they are asked for again

_NONE: Final[Mapping[bytes, Checked]] = MappingProxyType({})

log = structlog.get_logger("chaind.bodies")


class WrongTransactions(Malformed, PeerFault):
    """A peer answered a request for a block's transactions with something else."""

    code = "wrong-transactions"
    text = "answer for block {hash} holds transactions that were not asked for"


class WrongBlock(Malformed, PeerFault):
    """A peer answered a request for a block with another one."""

    code = "wrong-block"
    text = "answer for block {hash} holds block {other}"


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
    """A proposal whose missing transactions were asked of the peer that sent it."""

    __slots__ = ("found", "peer", "proposal")

    def __init__(self, proposal: Proposal, peer: Peer, found: dict[bytes, Checked]) -> None:
        self.proposal = proposal
        self.peer = peer
        self.found = found

    def missing(self) -> tuple[bytes, ...]:
        return tuple(wtxid for wtxid in self.proposal.wtxids if wtxid not in self.found)


class _Want:
    """A block that is needed, and whom it was asked of."""

    __slots__ = (
        "asked",
        "asked_ms",
        "lowest",
        "owed",
        "resolve",
        "since_height",
        "source",
        "view",
        "vouched",
    )

    def __init__(self, block_hash: bytes, source: Peer | None, since_height: int) -> None:
        self.source = source
        self.since_height = since_height
        self.resolve = False  # the core waits for its verdict
        self.vouched = False  # others than its proposer hold it
        self.view: int | None = None  # for which it was proposed, where a proposal told of it
        self.lowest = block_hash  # all blocks above this ancestor are held
        self.asked: set[str] = set()  # node ids, since all were asked last
        self.owed: set[str] = set()  # node ids whose answer has not come
        self.asked_ms: float | None = None


class Bodies:
    """See the module's law. `on_verdict` answers the core."""

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
        self._compact: dict[bytes, _Compact] = {}
        self._wants: dict[bytes, _Want] = {}
        self._early: dict[bytes, int] = {}  # untimely blocks, and when they no longer are
        self._arrivals: deque[tuple[Peer, BlockData | BlockTransactions]] = deque()
        self._arrived = asyncio.Event()

    def resolve(self, block_hash: bytes, source: Peer | None, *, vouched: bool) -> None:
        """Answer with a verdict as soon as the block and its ancestors are held.

        `vouched`: honest validators hold it, and `source`, where given, can be expected to.
        """
        want = self._want(block_hash, source)
        want.resolve = True
        if vouched and not want.vouched:
            want.vouched, want.source = True, source or want.source
        self._advance(block_hash)

    def offer(self, proposal: Proposal, peer: Peer) -> None:
        """A proposal whose leader's signature was checked: gather its transactions.

        Raises `PeerFault` where its parts do not make the block that the leader signed.
        """
        block_hash = proposal.vote.block
        assert block_hash is not None, "the network room checks this"
        if block_hash in self._compact or self._chain.candidate(block_hash) is not None:
            return
        found: dict[bytes, Checked] = {}
        for wtxid in proposal.wtxids:
            checked = self._pool.by_wtxid(wtxid)
            if checked is not None:
                found[wtxid] = checked
        compact = _Compact(proposal, peer, found)
        missing = compact.missing()
        if not missing:
            held = tuple(found[wtxid] for wtxid in proposal.wtxids)
            self._keep(Body(_rebuild(proposal, [item.transaction for item in held]), held))
            return
        if len(self._compact) >= COMPACT_MAX:
            self._compact.pop(next(iter(self._compact)))
        self._compact[block_hash] = compact
        self._transport.send(peer, GetBlockTransactions(block_hash, missing))
        want = self._want(block_hash, peer)
        want.view = proposal.vote.view
        want.asked.add(peer.node_id)
        want.asked_ms = self._clock.monotonic_ms()

    def received(self, peer: Peer, message: BlockData | BlockTransactions) -> None:
        """An answer to one of our requests, or something unasked for, which is dropped."""
        if len(self._arrivals) >= ARRIVALS_MAX:
            return
        if isinstance(message, BlockTransactions):
            compact = self._compact.get(message.block_hash)
            if compact is not None and compact.peer is peer:
                self._arrivals.append((peer, message))
                self._arrived.set()
            return
        want = self._wants.get(message.block_hash)
        if want is None or peer.node_id not in want.owed:
            return
        want.owed.discard(peer.node_id)
        if message.raw is not None:
            self._arrivals.append((peer, message))
            self._arrived.set()
        elif want.vouched and any(
            other.node_id not in want.asked for other in self._transport.peers()
        ):
            want.asked_ms = None
            self._ask(message.block_hash)

    def tick(self) -> None:
        """Ask again, of another peer, what was not answered; tell of blocks whose time has come."""
        for block_hash in list(self._wants):
            self._ask(block_hash)
        now_ms = self._clock.now_ms()
        for block_hash in [early for early, at_ms in self._early.items() if at_ms <= now_ms]:
            del self._early[block_hash]
            self._on_verdict(block_hash, Verdict.OK)

    def forget_final(self) -> None:
        """The final tip moved: answer what is below it, drop what nobody can need any more."""
        final = self._chain.final
        for block_hash, want in list(self._wants.items()):
            if self._height_of(block_hash) is not None:
                self._advance(block_hash)
                self._wants.pop(block_hash, None)
            elif (
                final.height > want.since_height + WANT_HEIGHTS_MAX
                or (want.view is not None and want.view <= final.view)  # it was passed over
                or (not want.resolve and self._chain.candidate(block_hash) is not None)
            ):
                del self._wants[block_hash]
        for block_hash, compact in list(self._compact.items()):
            if compact.proposal.vote.view <= final.view:
                del self._compact[block_hash]
        for block_hash in list(self._early):
            if self._chain.candidate(block_hash) is None:
                del self._early[block_hash]

    async def run(self) -> None:
        """Decode and verify arrivals until cancelled."""
        while True:
            await self._arrived.wait()
            self._arrived.clear()
            while self._arrivals:
                peer, message = self._arrivals.popleft()
                try:
                    if isinstance(message, BlockTransactions):
                        await self._take_transactions(peer, message)
                    else:
                        await self._take_answer(message)
                except PeerFault as fault:
                    self._transport.punish(peer, fault)

    async def _take_answer(self, message: BlockData) -> None:
        assert message.raw is not None
        block = Block.decode(message.raw)
        if block.hash != message.block_hash:
            raise WrongBlock(hash=display_hash(message.block_hash), other=display_hash(block.hash))
        await self.take_block(block)

    async def take_block(self, block: Block, verified: Mapping[bytes, Checked] = _NONE) -> None:
        """Verify a whole block's transactions and keep it, or tell the core that it is invalid.

        `verified` are transactions of it that were verified before, by wtxid.
        """
        if self._chain.candidate(block.hash) is not None:
            self._arrived_body()
            return
        try:
            checked = await self._check(block.transactions, verified)
        except REFUSALS as error:
            self._refuse(block.hash, error)
            return
        self._keep(Body(block, tuple(checked)))

    def _keep(self, body: Body) -> None:
        self._compact.pop(body.block.hash, None)
        self._chain.add(body)
        self._arrived_body()

    def _refuse(self, block_hash: bytes, error: ChaindError) -> None:
        """The hash commits to something that no state can make valid."""
        log.warning("block_invalid", hash=display_hash(block_hash), error=str(error))
        self._compact.pop(block_hash, None)
        self._wants.pop(block_hash, None)
        self._on_verdict(block_hash, Verdict.NEVER)

    async def _check(
        self, transactions: Sequence[Transaction], verified: Mapping[bytes, Checked]
    ) -> list[Checked]:
        """Checked transactions; the same bytes are never verified twice while they wait here."""
        result: list[Checked] = []
        fresh: list[Checked] = []
        for transaction in transactions:
            wtxid = transaction.wtxid
            checked = verified.get(wtxid) or self._pool.by_wtxid(wtxid)
            if checked is None:
                checked = check_transaction(transaction, self._genesis.parameters, self._prefix)
                fresh.append(checked)
            result.append(checked)
        for error in await self._verifier.verify(fresh):
            if error is not None:
                raise error
        return result

    async def _take_transactions(self, peer: Peer, message: BlockTransactions) -> None:
        """Complete a compact block, or give it up for the whole block from somebody else."""
        compact = self._compact.get(message.block_hash)
        if compact is None or compact.peer is not peer:
            return
        del self._compact[message.block_hash]
        self._want(message.block_hash, peer).asked_ms = None
        wanted = set(compact.missing())
        fetched = {item.wtxid: item for item in map(Transaction.decode, message.raws)}
        if not wanted.issuperset(fetched):
            raise WrongTransactions(hash=display_hash(message.block_hash))
        if len(fetched) < len(wanted):  # it does not hold the block any more
            self._ask(message.block_hash)
            return
        found = compact.found
        transactions = [
            found[wtxid].transaction if wtxid in found else fetched[wtxid]
            for wtxid in compact.proposal.wtxids
        ]
        await self.take_block(_rebuild(compact.proposal, transactions), found)

    def _arrived_body(self) -> None:
        for waiting in [wanted for wanted, want in self._wants.items() if want.resolve]:
            self._advance(waiting)

    def _advance(self, block_hash: bytes) -> None:
        """Execute a wanted block if all is there, else ask for what is missing."""
        want = self._wants.get(block_hash)
        if want is None or not want.resolve:
            return
        chain = self._chain
        if self._is_final(block_hash):
            del self._wants[block_hash]
            self._on_verdict(block_hash, Verdict.OK)
            return
        depth = 0
        while (candidate := chain.candidate(want.lowest)) is not None:
            want.lowest = candidate.body.block.parent
            depth = candidate.body.block.height - chain.final.height
        if not self._is_final(want.lowest):
            below = self._want(want.lowest, want.source)
            below.vouched = want.lowest != block_hash or want.vouched  # parents have certificates
            if depth > WALK_MAX and below.asked_ms is None:  # ranges should come first
                below.asked_ms = self._clock.monotonic_ms()
            self._ask(want.lowest)
            return
        del self._wants[block_hash]
        path: list[Candidate] = []
        at = block_hash
        while (candidate := chain.candidate(at)) is not None:
            path.append(candidate)
            at = candidate.body.block.parent
        if at == chain.final.hash:  # otherwise it stands beside the final chain: of no interest
            self._on_verdict(block_hash, self._execute(path))

    def _is_final(self, block_hash: bytes) -> bool:
        return block_hash == self._chain.final.hash or self._height_of(block_hash) is not None

    def _execute(self, path: Sequence[Candidate]) -> Verdict:
        """Run blocks given from the highest down to one on the final tip; what to say of it."""
        for candidate in reversed(path):
            block = candidate.body.block
            self._chain.execute(block.hash)
            if candidate.error is not None:
                shown = display_hash(block.hash)
                log.warning("block_invalid", hash=shown, error=str(candidate.error))
                return Verdict.NEVER
        return self._time_verdict(path[0].body.block)

    def _time_verdict(self, block: Block) -> Verdict:
        """OK; or UNTIMELY, and OK once this node's clock has caught up."""
        try:
            self._chain.check_time(block, self._clock.now_ms())
        except BlockUntimely as error:
            log.debug("block_untimely", height=block.height, error=str(error))
            assert block.commitment.time_ms is not None
            drift_ms = self._genesis.parameters.max_drift_ms
            self._early[block.hash] = block.commitment.time_ms - drift_ms
            return Verdict.UNTIMELY
        return Verdict.OK

    def _want(self, block_hash: bytes, source: Peer | None) -> _Want:
        want = self._wants.get(block_hash)
        if want is None:
            height = self._chain.final.height
            want = self._wants[block_hash] = _Want(block_hash, source, height)
        return want

    def _ask(self, block_hash: bytes) -> None:
        """Request a wanted block unless a request is fresh; prefer whom nobody asked yet."""
        want, now_ms = self._wants[block_hash], self._clock.monotonic_ms()
        peers = self._transport.peers()
        fresh = [peer for peer in peers if peer.node_id not in want.asked]
        is_due = want.asked_ms is None or now_ms - want.asked_ms >= self._retry_ms
        if not is_due or self._chain.candidate(block_hash) is not None:
            return
        if not fresh:
            want.asked.clear()
            fresh = peers
        if not fresh:
            return
        peer = want.source if want.source in fresh else fresh[0]
        assert peer is not None
        want.asked.add(peer.node_id)
        want.owed.add(peer.node_id)
        want.asked_ms = now_ms
        self._transport.send(peer, GetBlock(block_hash))


def _rebuild(proposal: Proposal, transactions: Sequence[Transaction]) -> Block:
    """The proposed block. Raises `PeerFault` where the parts are not those of its header."""
    return Block.rebuild(proposal.header, proposal.coinbase, proposal.commitment, transactions)
