"""The state on the branch of most work: moved block by block, and what a lost branch held returned.

Law: a branch is left only for one of more work, and in one go; nothing that was handed to finality
is left at all.
"""

from collections.abc import Callable, Sequence

import structlog

from chaind.consensus.pow.entry import Entry
from chaind.consensus.pow.tree import Tree
from chaind.ledger.checks import Checked
from chaind.node.chain import Candidate, Chain
from chaind.node.finality import Finality

EXECUTE_AT_ONCE = 16  # blocks, before others have their turn

log = structlog.get_logger("chaind.work")


class Branches:
    """See the module's law.

    `restore` takes back what only a lost branch held, `invalidate` hears of a block that does not
    execute, and `on_moved` of another head, with the one before.
    """

    def __init__(
        self,
        *,
        chain: Chain,
        tree: Tree,
        finality: Finality,
        restore: Callable[[Checked], object],
        invalidate: Callable[[bytes, Exception], None],
        on_moved: Callable[[Entry], None],
    ) -> None:
        self._chain = chain
        self._tree = tree
        self._finality = finality
        self._restore = restore
        self._invalidate = invalidate
        self._on_moved = on_moved
        self.promised = tree.base.height  # handed to finality
        self.reorgs_total = 0
        self.reorg_depth_max = 0

    @property
    def head(self) -> Entry:
        """Where the state stands."""
        head = self._tree.get(self._chain.head.hash)
        assert head is not None, "only what stands in the tree is executed"
        return head

    def advance(self) -> bool:
        """Move the state towards the best block whose bodies are held; whether some way is left."""
        before, head = self._chain.executed(), self.head
        executed = 0
        while (ready := self._tree.ready) is not (here := self.head):
            if executed >= EXECUTE_AT_ONCE and here.chainwork > head.chainwork:
                break
            path = self._tree.path(here.hash, ready.hash)
            if path.undo and path.undo[-1].height <= self.promised:
                break  # what was handed to finality comes first; then this goes on
            executed += self._go(path.apply)
        if self.head is not head:
            self._moved(before, head)
        return self._tree.ready is not self.head and executed > 0

    def bury(self, depth: int) -> None:
        """Hand to finality what lies so deep under the head."""
        buried = self._tree.buried(self.head, depth)
        if buried is not None and buried.height > self.promised:
            self.promised = buried.height
            self._finality.deliver(buried.hash, None)

    def _go(self, way: Sequence[Entry]) -> int:
        """Execute the next block of a branch, or move to it; how many blocks."""
        for entry in way:
            known = self._chain.info(entry.hash) is not None
            candidate = self._chain.execute(entry.hash)
            if candidate.error is not None:
                self._invalidate(entry.hash, candidate.error)
                return 1
            if not known:
                return 1
        self._chain.move_to(way[-1].hash)
        return 1

    def _moved(self, before: Sequence[Candidate], head: Entry) -> None:
        """The head is another: what was lost goes back to the pool, and others hear of it."""
        after = self._chain.executed()
        shared = 0
        while shared < min(len(before), len(after)) and before[shared] is after[shared]:
            shared += 1
        if before[shared:]:
            self._return(before[shared:], after[shared:])
        self._finality.head_moved(
            [candidate.body for candidate in reversed(before[shared:])],
            [candidate.body for candidate in after[shared:]],
        )
        self._on_moved(head)

    def _return(self, lost: Sequence[Candidate], won: Sequence[Candidate]) -> None:
        """What only the lost branch held goes back to the pool."""
        self.reorgs_total += 1
        self.reorg_depth_max = max(self.reorg_depth_max, len(lost))
        log.warning("reorganised", depth=len(lost), height=self._chain.head.height)
        included = {checked.txid for candidate in won for checked in candidate.body.checked}
        for candidate in lost:
            for checked in candidate.body.checked:
                if checked.txid not in included:
                    self._restore(checked)
