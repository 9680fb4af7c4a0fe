"""What became of the transactions that this node accepted: every one ends in a truthful state.

A refusal must be true for ever, or a client pays twice. So a journaled transaction is *open* until
it is final, or a rival with its coin or lease is final, or its `valid_until` has passed in a final
block. Leaving the pool (evicted, replaced) ends nothing. The journal keeps open transactions over
a restart; its segments go when all in them have ended.
"""

import heapq
from collections.abc import Callable, Iterable, Sequence
from typing import NamedTuple

from chaind.ledger.block import GENESIS_COIN_TXID
from chaind.ledger.checks import Checked
from chaind.ledger.errors import CoinMissing, LeaseTaken
from chaind.primitives.errors import ChaindError
from chaind.storage.log import AppendLog
from chaind.storage.schema import OutcomeRow


class Open(NamedTuple):
    """An accepted transaction whose end is not known yet."""

    checked: Checked
    segment: int


def lost_for_ever(error: ChaindError, checked: Checked, is_final: Callable[[bytes], bool]) -> bool:
    """Whether a transaction that was valid once fails on the final state for a rival there.

    A coin may also be missing because what makes it is not final yet, or not final here again.
    """
    if isinstance(error, CoinMissing):
        makers = {entry.txid for entry in checked.coin_inputs} - {GENESIS_COIN_TXID}
        return all(is_final(maker) for maker in makers)
    return isinstance(error, LeaseTaken)


class Tracker:
    """Open transactions by txid, over the intake journal."""

    def __init__(self, journal: AppendLog) -> None:
        self.journal = journal
        self._open: dict[bytes, Open] = {}
        self._claims: dict[bytes, set[bytes]] = {}
        self._deadlines: list[tuple[int, bytes]] = []
        self._segments: dict[int, int] = {}  # segment → open transactions in it
        self._unsynced = False  # an outcome was told since the last synced batch

    def __len__(self) -> int:
        return len(self._open)

    def get(self, txid: bytes) -> Checked | None:
        """An open transaction."""
        found = self._open.get(txid)
        return found.checked if found else None

    def open(self) -> tuple[Checked, ...]:
        """All open transactions, those followed first first."""
        return tuple(found.checked for found in self._open.values())

    def check_room(self, raws: Sequence[bytes]) -> None:
        """Raise `LogBacklog` where the journal has no room for all of these."""
        self.journal.check_room(raws)

    def accept(self, batch: Iterable[Checked]) -> None:
        """Append to the journal and follow; the caller waits for the journal's sync."""
        fresh = {checked.txid: checked for checked in batch if checked.txid not in self._open}
        raws = [checked.transaction.raw for checked in fresh.values()]
        for checked, position in zip(fresh.values(), self.journal.append_all(raws), strict=True):
            self.follow(checked, position.segment)

    def follow(self, checked: Checked, segment: int) -> None:
        """Follow a transaction that stands in a segment of the journal."""
        txid = checked.txid
        self._open[txid] = Open(checked, segment)
        for claim in checked.claims:
            self._claims.setdefault(claim, set()).add(txid)
        if checked.valid_until is not None:
            heapq.heappush(self._deadlines, (checked.valid_until, txid))
        self._segments[segment] = self._segments.get(segment, 0) + 1

    def settle(
        self, included: Iterable[Checked], height: int, chain_time_ms: int
    ) -> list[tuple[bytes, OutcomeRow]]:
        """A block is being made final: the transactions that it ends without applying them."""
        ended: list[tuple[bytes, OutcomeRow]] = []
        for checked in included:
            self._end(checked.txid)
            if not self._claims:
                continue
            for claim in checked.claims:
                for rival in sorted(self._claims.get(claim, ())):
                    self._end(rival)
                    outcome = OutcomeRow("rejected", "conflict", checked.txid, height)
                    ended.append((rival, outcome))
        while self._deadlines and self._deadlines[0][0] <= chain_time_ms:
            _, txid = heapq.heappop(self._deadlines)
            if self._end(txid):
                ended.append((txid, OutcomeRow("expired", "valid_until passed", None, height)))
        if len(self._deadlines) > 2 * len(self._open) + 1000:  # mostly ended long before
            self._deadlines = [item for item in self._deadlines if item[1] in self._open]
            heapq.heapify(self._deadlines)
        if ended:
            self._unsynced = True
        return ended

    def reject(self, txid: bytes, by: bytes | None, height: int) -> list[tuple[bytes, OutcomeRow]]:
        """A rival of this open transaction is found to be final since long."""
        self._end(txid)
        self._unsynced = True
        return [(txid, OutcomeRow("rejected", "conflict", by, height))]

    def synced(self) -> None:
        """A batch of final blocks was written and synced, with every outcome told before it."""
        self._unsynced = False

    def droppable_before(self) -> int | None:
        """The oldest journal segment still needed, once older ones exist.

        Outcomes are written unsynced: the next synced batch makes them durable, and until then
        only the journal can tell them again.
        """
        if self._unsynced:
            return None
        newest = self.journal.segments()[-1]
        needed = min((n for n, count in self._segments.items() if count), default=newest)
        return needed if self.journal.segments()[0] < needed else None

    def _end(self, txid: bytes) -> bool:
        found = self._open.pop(txid, None)
        if found is None:
            return False
        for claim in found.checked.claims:
            txids = self._claims[claim]
            txids.discard(txid)
            if not txids:
                del self._claims[claim]
        self._segments[found.segment] -= 1
        if not self._segments[found.segment]:
            del self._segments[found.segment]
        return True
