"""Who waits for a transaction, and when they are told.

An answer "final" means final here *and* reported final by every peer that is in step, so that a
client can read its own payment on any node at once. A peer that does not follow is waited for
once, briefly, and then left out until it has caught up.
"""

import asyncio
from bisect import insort
from collections.abc import Callable, Iterable

from chaind.network.peer import Peer
from chaind.node.events import DroppedEvent, Event, FinalEvent

VISIBLE_MS = 100.0  # longer than any peer in step takes, short beside a person's patience


class Waiters:
    """Futures by txid. `handle` is subscribed to the node's events."""

    def __init__(
        self,
        peers: Callable[[], Iterable[Peer]],
        call_later: Callable[[float, Callable[[], None]], object],
    ) -> None:
        self._peers = peers
        self._call_later = call_later
        self._by_txid: dict[bytes, list[asyncio.Future[None]]] = {}
        self._unseen: list[tuple[int, list[asyncio.Future[None]]]] = []  # (height, waiters)
        self._lagging: set[str] = set()  # node ids that were given up, until they are at our tip
        self._height = 0  # of the newest final block
        self._timer_set = False

    async def wait(self, txid: bytes, timeout_ms: float) -> None:
        """Return when the transaction has ended, or after `timeout_ms`."""
        future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        waiting = self._by_txid.setdefault(txid, [])
        waiting.append(future)
        try:
            async with asyncio.timeout(timeout_ms / 1000):
                await future
        except TimeoutError:
            return
        finally:
            if future in waiting:
                waiting.remove(future)
            if not waiting and self._by_txid.get(txid) is waiting:
                del self._by_txid[txid]

    async def visible(self, height: int) -> None:
        """Return when peers in step have made this height final, at once where they have."""
        future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        insort(self._unseen, (height, [future]), key=lambda item: item[0])
        self.check()
        await future

    def release(self) -> None:
        """The node ends: nobody waits any longer."""
        for waiting in self._by_txid.values():
            _resolve(waiting)
        self._by_txid.clear()
        self._tell(self._unseen[-1][0] if self._unseen else 0)

    def handle(self, event: Event) -> None:
        """Find out who waited for what has just ended."""
        if isinstance(event, FinalEvent):
            self._height = event.block.height
        if not self._by_txid:
            return
        if isinstance(event, FinalEvent):
            found: list[asyncio.Future[None]] = []
            for receipt in event.receipts:
                found += self._by_txid.pop(receipt.checked.txid, ())
            if found:
                self._unseen.append((event.block.height, found))
        elif isinstance(event, DroppedEvent) and event.ended:
            _resolve(self._by_txid.pop(event.txid, ()))

    def check(self) -> None:
        """The final tip moved, here or at a peer: tell whoever can be told."""
        if not (self._unseen or self._lagging):
            return
        heights = {peer.node_id: peer.final_height for peer in self._peers()}
        self._lagging = {
            node for node in self._lagging if node in heights and heights[node] < self._height
        }
        if not self._unseen:
            return
        newest = self._unseen[-1][0]
        seen = min(
            (height for node, height in heights.items() if node not in self._lagging),
            default=newest,
        )
        self._tell(seen)
        if self._unseen and not self._timer_set:
            self._timer_set = True
            height = self._unseen[-1][0]
            self._call_later(VISIBLE_MS / 1000, lambda: self._give_up(height))

    def _give_up(self, height: int) -> None:
        """Peers that have not followed up to `height` by now are not waited for."""
        self._timer_set = False
        self._lagging |= {peer.node_id for peer in self._peers() if peer.final_height < height}
        self.check()

    def _tell(self, height: int) -> None:
        while self._unseen and self._unseen[0][0] <= height:
            _resolve(self._unseen.pop(0)[1])


def _resolve(futures: Iterable[asyncio.Future[None]]) -> None:
    for future in futures:
        if not future.done():
            future.set_result(None)
