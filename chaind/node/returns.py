"""Transactions of branches that were left: pending again, until they end in some way.

Law: whoever saw a transaction in a block is told the truth when that block is lost. It is followed
from then on as if a client had brought it, over a restart as well (`tracker`), and goes back to the
pool. Where the pool or the new head does not take it now (the coin that it spends was made on the
lost branch too; its owner's money is there no longer), it is tried again when the head moves.
"""

from collections import OrderedDict
from collections.abc import Callable, Iterable

import structlog

from chaind.ledger.checks import Checked
from chaind.mempool.pool import Pool
from chaind.node.chain import Chain
from chaind.node.events import Event, HeadEvent
from chaind.node.tracker import Tracker
from chaind.storage.errors import LogBacklog

WAITING_MAX = 20_000  # tried again at the next start, beyond
TRIED_MAX = 1_000  # for one block: some 20 ms

log = structlog.get_logger("chaind.returns")


class Returns:
    """See the module's law. `handle` is subscribed to the node's events.

    `restore` puts a transaction into the pool, or says why it cannot.
    """

    def __init__(
        self,
        *,
        chain: Chain,
        pool: Pool,
        tracker: Tracker,
        restore: Callable[[Checked], object | None],
    ) -> None:
        self._chain = chain
        self._pool = pool
        self._tracker = tracker
        self._restore = restore
        self._waiting: OrderedDict[bytes, Checked] = OrderedDict()  # those tried last come last

    def __len__(self) -> int:
        return len(self._waiting)

    def take(self, checked: Checked) -> None:
        """A block that held it is lost, and no block of the new branch holds it."""
        try:
            self._tracker.accept((checked,))
        except LogBacklog as error:  # the disk is behind: forgotten if the node ends before long
            log.warning("return_not_journaled", txid=checked.txid.hex(), error=str(error))
        if self._pool.get(checked.txid) is None and self._restore(checked) is not None:
            self._wait(checked)

    def resume(self, journaled: Iterable[Checked]) -> None:
        """After a start, once the head is where it was: some hold only there."""
        for checked in journaled:
            if not self._is_placed(checked.txid) and self._restore(checked) is not None:
                self._wait(checked)

    def handle(self, event: Event) -> None:
        """The head moved: what could not come back may do so now."""
        if not isinstance(event, HeadEvent):
            return
        for txid in list(self._waiting)[:TRIED_MAX]:
            checked = self._waiting.pop(txid)
            if self._is_placed(txid) or self._tracker.get(txid) is None:
                continue
            if self._restore(checked) is not None:
                self._wait(checked)

    def _is_placed(self, txid: bytes) -> bool:
        return self._pool.get(txid) is not None or self._chain.find(txid) is not None

    def _wait(self, checked: Checked) -> None:
        self._waiting[checked.txid] = checked
        while len(self._waiting) > WAITING_MAX:
            self._waiting.popitem(last=False)
