"""The chain as this node sees it: blocks above the last final one, and the live state on them.

Synchronous and without IO of its own: execution owns the state alone, and everyone else reads
between calls. Blocks are executed on their parent by undoing and redoing deltas; `path_to`
hands over what becomes final, in order, and `settle` forgets it once it is durable.
"""

import heapq
from collections.abc import Callable, Iterable, Sequence
from typing import NamedTuple

from chaind.ledger.block import Applying, Executed, ParentInfo, block_context
from chaind.ledger.checks import Checked
from chaind.ledger.errors import REFUSALS, BlockUntimely
from chaind.ledger.execute import Context, Receipt
from chaind.ledger.journal import FinalState, State, View
from chaind.mempool.pool import Pool, rows_of_owners
from chaind.mempool.selection import fill
from chaind.node.rules import EPOCH, rules_of
from chaind.primitives.block import BFT_BITS, Block, Commitment
from chaind.primitives.coinbase import encode_coinbase
from chaind.primitives.errors import LocalFault
from chaind.primitives.genesis import Genesis
from chaind.primitives.hashes import display_hash


class Diverged(LocalFault):
    """A certified block does not execute here: this node's state is not the network's."""

    code = "diverged"
    exit_code = 70
    text = "certified block {height} ({hash}) fails here: {reason}"
    advice = "Run `chaind audit` on the data directory; restore it from another node if it differs."


class Body(NamedTuple):
    """A block with its transactions checked; signatures included."""

    block: Block
    checked: tuple[Checked, ...]


class Candidate:
    """A block above the final tip. `executed` is None until it has run on its parent."""

    __slots__ = ("_places", "body", "error", "executed", "info")

    def __init__(self, body: Body) -> None:
        self._places: dict[bytes, int] | None = None
        self.body = body
        self.executed: Executed | None = None
        self.info: ParentInfo | None = None  # what its children need; set with `executed`
        self.error: Exception | None = None  # the rule it breaks, for ever

    def place_of(self, txid: bytes) -> int | None:
        """Where a transaction stands in it; None where it does not."""
        if self._places is None:
            checked = self.body.checked
            self._places = {item.txid: place for place, item in enumerate(checked)}
        return self._places.get(txid)


class Chain:
    """See the module's law. `leader_address` maps a view to the address of its leader."""

    def __init__(
        self,
        genesis: Genesis,
        state: State,
        pool: Pool,
        tip: ParentInfo,
        leader_address: Callable[[int], bytes],
    ) -> None:
        self.genesis = genesis
        self.state = state
        self.pool = pool
        self.final = tip
        self._rules = rules_of(genesis, leader_address)
        self._leader_address = leader_address
        self._validators_hash = genesis.validators_hash
        self._candidates: dict[bytes, Candidate] = {}
        self._children: dict[bytes, list[bytes]] = {}  # candidates by the block that they stand on
        self._ranked: list[list[tuple[int, bytes]]] = []  # candidates in a heap for each rank
        self._stack: list[Candidate] = []  # executed blocks above final, lowest first
        self._promised = tip.hash  # newest block handed over by `path_to` and `promise`
        self.at_head = self._rules.at_head
        self.tip_state: View = state if self.at_head else FinalState(state)

    @property
    def head(self) -> ParentInfo:
        """The block on which the state stands now."""
        if not self._stack:
            return self.final
        info = self._stack[-1].info
        assert info is not None
        return info

    @property
    def tip(self) -> ParentInfo:
        """The block on which clients stand: what they read and spend is the state after it.

        The last final one; the head on chains of miners. `tip_state` is that state.
        """
        return self.head if self.at_head else self.final

    def candidate(self, block_hash: bytes) -> Candidate | None:
        """A known block above the final tip."""
        return self._candidates.get(block_hash)

    def candidates(self) -> Iterable[Candidate]:
        """All known blocks above the final tip."""
        return self._candidates.values()

    def executed(self) -> tuple[Candidate, ...]:
        """The blocks between the final tip and the head, lowest first."""
        return tuple(self._stack)

    def info(self, block_hash: bytes) -> ParentInfo | None:
        """What children of an executed block need, None where it is unknown or not executed."""
        if block_hash == self.final.hash:
            return self.final
        candidate = self._candidates.get(block_hash)
        return candidate.info if candidate else None

    def find(self, txid: bytes) -> tuple[ParentInfo, int] | None:
        """The executed block above the final tip that holds a transaction, and its place."""
        for candidate in reversed(self._stack):
            place = candidate.place_of(txid)
            if place is not None:
                assert candidate.info is not None
                return candidate.info, place
        return None

    def final_context(self) -> Context:
        """What a transaction sees if it is executed right on the final tip."""
        return block_context(self.final, self.genesis)

    def tip_context(self) -> Context:
        """What a transaction sees if it is executed right on `tip`."""
        return block_context(self.tip, self.genesis)

    def add(self, body: Body) -> Candidate:
        """Keep a block whose Merkle root was checked; breaking `check_block` marks it for ever."""
        known = self._candidates.get(body.block.hash)
        if known is not None:
            return known
        candidate = self._register(Candidate(body))
        try:
            self._rules.check_block(body.block)
        except REFUSALS as error:
            candidate.error = error
        return candidate

    def execute(self, block_hash: bytes) -> Candidate:
        """Run a known block whose parent has been executed; a broken rule is kept in `error`."""
        candidate = self._candidates[block_hash]
        if candidate.error is not None or candidate.executed is not None:
            return candidate
        block = candidate.body.block
        parent = self.info(block.parent)
        assert parent is not None, "the parent is executed first"
        try:
            self._rules.check_in_context(block, parent)
            self.move_to(block.parent)
            executed = self._rules.execute(self.state, block, candidate.body.checked, parent)
        except REFUSALS as error:
            candidate.error = error
            return candidate
        self._push(candidate, executed, parent)
        return candidate

    def check_time(self, block: Block, now_ms: int) -> None:
        """Raise `BlockUntimely` where its chain time is too far ahead of this node's clock."""
        time_ms, drift_ms = block.commitment.time_ms, self.genesis.parameters.max_drift_ms
        if time_ms is not None and time_ms > now_ms + drift_ms:
            raise BlockUntimely(
                height=block.height, time_ms=time_ms, now_ms=now_ms, max_drift_ms=drift_ms
            )

    def build(self, parent_hash: bytes, view: int, now_ms: int) -> Candidate | None:
        """A new block on an executed parent from what the pool selects; None if it is unknown."""
        parent = self.info(parent_hash)
        if parent is None:
            return None
        self.move_to(parent_hash)
        proposer = self._leader_address(view)
        applying = Applying(self.state, block_context(parent, self.genesis))
        try:
            self._fill(applying, parent_hash)
            executed = applying.seal(parent.root, proposer, None)
        except BaseException:
            self.state.abandon()
            raise
        receipts = executed.receipts
        interval_ms = max(1, self.genesis.parameters.min_block_interval_ms)
        time_ms = max(now_ms, parent.time_ms + interval_ms)
        commitment = Commitment(
            height=parent.height + 1,
            time_ms=time_ms,
            epoch=EPOCH,
            view=view,
            proposer=proposer,
            parent_root=parent.root,
            validators_hash=self._validators_hash,
            last_certificate=(parent.view, parent.hash),
            snapshot=None,
            evidence=(),
        )
        block = Block.assemble(
            parent=parent.hash,
            time=time_ms // 1000,
            bits=BFT_BITS,
            coinbase=encode_coinbase(parent.height + 1),
            commitment=commitment,
            transactions=[receipt.checked.transaction for receipt in receipts],
        )
        checked = tuple(receipt.checked for receipt in receipts)
        candidate = self._register(Candidate(Body(block, checked)))
        self._push(candidate, executed, parent)
        return candidate

    def select(self, parent_hash: bytes) -> list[Receipt] | None:
        """What a block on an executed parent would take from the pool; None if it is unknown.

        The state stands on the parent afterwards.
        """
        parent = self.info(parent_hash)
        if parent is None:
            return None
        self.move_to(parent_hash)
        applying = Applying(self.state, block_context(parent, self.genesis))
        try:
            self._fill(applying, parent_hash)
        finally:
            self.state.abandon()
        return applying.receipts

    def _fill(self, applying: Applying, parent_hash: bytes) -> None:
        """Apply what the pool offers until bytes or cost are full; park what does not apply."""
        failed = fill(applying, self.pool, self.genesis.parameters, parent_hash)
        for entry in failed:
            self.pool.park(entry)

    def move_to(self, block_hash: bytes) -> None:
        """Undo and redo until the state stands on an executed block."""
        if self.head.hash == block_hash:
            return
        target = self._ancestry(block_hash)
        shared = 0
        for ours, theirs in zip(self._stack, target, strict=False):
            if ours is not theirs:
                break
            shared += 1
        while len(self._stack) > shared:
            candidate = self._stack.pop()
            self.state.undo()
            self.pool.show(checked.txid for checked in candidate.body.checked)
        for candidate in target[shared:]:
            assert candidate.executed is not None
            self.state.redo(candidate.executed.delta)
            self._stack.append(candidate)
            self._hide(candidate)

    def path_to(self, block_hash: bytes) -> list[Candidate]:
        """Blocks above the last promised one up to `block_hash`, executed; the state goes there.

        Empty where it was promised before. Raises `Diverged` where one of them fails here although
        it is certified.
        """
        path: list[Candidate] = []
        at = block_hash
        while at != self._promised:
            candidate = self._candidates.get(at)
            if candidate is None:  # below the final tip: promised and settled before
                return []
            path.append(candidate)
            at = candidate.body.block.parent
        path.reverse()
        for candidate in path:
            block = candidate.body.block
            self.execute(block.hash)
            if candidate.error is not None:
                raise Diverged(
                    height=block.height, hash=display_hash(block.hash), reason=candidate.error
                )
        if path and path[-1] not in self._stack:
            self.move_to(block_hash)
        return path

    def promise(self, path: Sequence[Candidate]) -> None:
        """These will be settled once they are durable; nothing beside them will be."""
        self._promised = path[-1].body.block.hash

    def settle(self, path: Sequence[Candidate]) -> list[bytes]:
        """These are final and durable: forget how to undo them, and every block beside them.

        Returns the hashes of all that is no candidate any more.
        """
        forgotten: list[bytes] = []
        if path[-1] not in self._stack:
            self.move_to(path[-1].body.block.hash)
        for candidate in path:
            assert candidate.executed is not None
            assert candidate.info is not None
            assert self._stack[0] is candidate, "blocks settle from the bottom"
            self.state.settle(candidate.executed.delta)
            self._stack.pop(0)
            self.final = candidate.info
            self._forget(candidate.body.block.hash)
            forgotten.append(candidate.body.block.hash)
        return forgotten + self._forget_rivals()

    def descends_from_final(self, block_hash: bytes) -> bool:
        """Whether all blocks between the final tip and this one are known."""
        at = block_hash
        while at != self.final.hash:
            candidate = self._candidates.get(at)
            if candidate is None:
                return False
            at = candidate.body.block.parent
        return True

    def _register(self, candidate: Candidate) -> Candidate:
        block = candidate.body.block
        self._candidates[block.hash] = candidate
        self._children.setdefault(block.parent, []).append(block.hash)
        ranks = self._rules.ranks(block.height, block.commitment.view)
        self._ranked = self._ranked or [[] for _ in ranks]
        for ranked, rank in zip(self._ranked, ranks, strict=True):
            heapq.heappush(ranked, (rank, block.hash))
        return candidate

    def _forget(self, block_hash: bytes) -> None:
        block = self._candidates.pop(block_hash).body.block
        siblings = self._children[block.parent]
        siblings.remove(block_hash)
        if not siblings:
            del self._children[block.parent]

    def _forget_rivals(self) -> list[bytes]:
        """Blocks that cannot become final any more: beside the final one, or on such a block."""
        final, stale = self.final, []
        for ranked, rank in zip(
            self._ranked, self._rules.ranks(final.height, final.view), strict=False
        ):
            while ranked and ranked[0][0] <= rank:
                _, block_hash = heapq.heappop(ranked)
                if block_hash in self._candidates:
                    stale.append(block_hash)
        forgotten = []
        for block_hash in stale:  # grows while it is walked
            if block_hash in self._candidates:
                stale += self._children.get(block_hash, ())
                self._forget(block_hash)
                forgotten.append(block_hash)
        return forgotten

    def _push(self, candidate: Candidate, executed: Executed, parent: ParentInfo) -> None:
        candidate.executed = executed
        candidate.info = self._rules.info(candidate.body.block, parent, executed.root)
        self._stack.append(candidate)
        self._hide(candidate)

    def _hide(self, candidate: Candidate) -> None:
        """What a block holds is no longer selected; what failed before it may hold on it."""
        self.pool.hide(checked.txid for checked in candidate.body.checked)
        if self.at_head:
            assert candidate.executed is not None
            self.pool.wake(key for key, _ in candidate.executed.delta.writes)
            self.pool.wake(rows_of_owners(candidate.body.checked))

    def _ancestry(self, block_hash: bytes) -> list[Candidate]:
        """Candidates above the final tip up to and including an executed block, lowest first."""
        found: list[Candidate] = []
        at = block_hash
        while at != self.final.hash:
            candidate = self._candidates[at]
            found.append(candidate)
            at = candidate.body.block.parent
        found.reverse()
        return found
