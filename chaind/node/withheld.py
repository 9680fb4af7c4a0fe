"""Which blocks are worth waiting for: not those whose headers are told and whose bodies are not.

Headers cost their maker some blocks' work and their bodies can be kept back for ever: who waited
for them would leave the chain to whoever does that.
"""

import structlog

from chaind.consensus.pow.entry import Entry
from chaind.consensus.pow.tree import Tree

log = structlog.get_logger("chaind.work")


class Withheld:
    """Watches bodies come. `patience_ms` is how long one of the best branch may be missing."""

    def __init__(self, tree: Tree, patience_ms: float, now_ms: float) -> None:
        self._tree = tree
        self._patience_ms = patience_ms
        self._brought_ms = now_ms  # when a body came last, or none was missing
        self._lowest: Entry | None = None  # of a branch whose bodies nobody gives
        self._looked: tuple[Entry, bool] | None = None  # a best header; whether it stands on that

    def brought(self, now_ms: float) -> None:
        """A body has come, or none is missing."""
        self._brought_ms = now_ms

    def awaited(self, behind: int) -> int:
        """How many of the blocks between the head and the best header are worth waiting for."""
        known, best = self._lowest, self._tree.best
        if known is None or known.held or not self._tree.base.height < known.height <= best.height:
            return behind
        return 0 if self._stands_on(best, known) else behind

    def _stands_on(self, best: Entry, known: Entry) -> bool:
        """Walks no further than to what was best when this was asked last."""
        looked, answer = self._looked or (None, False)
        at = best
        while at is not looked and at.height > known.height:
            assert at.parent is not None, "the base is below"
            at = at.parent
        if at is not looked:
            answer = at is known
        self._looked = (best, answer)
        return answer

    def tick(self, behind: int, now_ms: float) -> None:
        """Time passes: the best branch's lowest missing body may have been awaited long enough."""
        if not self.awaited(behind) or now_ms - self._brought_ms < self._patience_ms:
            return
        at = best = self._tree.best
        while at.parent is not None and at.parent.complete is None:
            at = at.parent
        if not at.held:
            self._lowest, self._looked = at, (best, True)
            log.warning("bodies_withheld", from_height=at.height, to_height=best.height)
