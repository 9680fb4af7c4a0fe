"""How transactions travel: pushed to a few peers at once, announced to the rest.

A node with few peers pushes to all of them. What came from a peer is announced onwards, in batches.
Gossip is best effort: what is lost here is fetched when a proposal names it.
"""

from collections import deque
from collections.abc import Callable, Iterable, Sequence
from random import Random
from typing import Protocol

from chaind.ledger.checks import Checked
from chaind.mempool.pool import Pool
from chaind.network.messages import (
    ANNOUNCE_IDS_MAX,
    BYTES_MAX,
    Announce,
    GetTransactions,
    Message,
    Transactions,
)
from chaind.network.peer import Peer
from chaind.node.clock import Clock

PUSH_PEERS_MAX = 8  # up to so many peers get whole transactions unasked
FLUSH_MS = 2.0  # between two flushes: the first transaction goes at once, a flood in batches
KNOWN_MAX = 50_000  # wtxids remembered per peer; 5 MiB each
ASKED_MAX = 100_000  # requests under way
PUSH_BYTES = BYTES_MAX[Transactions] // 2
PUSH_COUNT = 2_000


class Outlet(Protocol):
    """What this module needs of the network."""

    def send(self, peer: Peer, message: Message) -> None:
        """Queue a message for one peer."""
        ...

    def broadcast(self, message: Message, *, only: Iterable[Peer]) -> None:
        """Queue a message, encoded once, for some peers."""
        ...


class Relay:
    """See the module's law. `call_later` takes seconds and a callback."""

    def __init__(
        self,
        *,
        pool: Pool,
        outlet: Outlet,
        rng: Random,
        call_later: Callable[[float, Callable[[], None]], object],
        clock: Clock,
    ) -> None:
        self._clock = clock
        self._flushed_ms = clock.monotonic_ms()
        self._pool = pool
        self._outlet = outlet
        self._rng = rng
        self._call_later = call_later
        self._known: dict[Peer, dict[bytes, None]] = {}
        self._fresh: list[Checked] = []
        self._relayed: list[Checked] = []
        self._asked: dict[bytes, None] = {}
        self._scheduled = False

    def peer_up(self, peer: Peer) -> None:
        """Announce what waits here: the peer may have missed it."""
        self._known[peer] = {}
        waiting = [entry.checked.transaction.wtxid for entry in self._pool.entries()]
        for start in range(0, len(waiting), ANNOUNCE_IDS_MAX):
            part = tuple(waiting[start : start + ANNOUNCE_IDS_MAX])
            self._outlet.send(peer, Announce(part))

    def peer_down(self, peer: Peer) -> None:
        """Forget what it knew."""
        self._known.pop(peer, None)

    def accepted(self, batch: Sequence[Checked], *, local: bool) -> None:
        """Transactions that have just entered the pool."""
        if not self._known:
            return
        (self._fresh if local else self._relayed).extend(batch)
        if not self._scheduled:
            self._scheduled = True
            due_ms = self._flushed_ms + FLUSH_MS - self._clock.monotonic_ms()
            self._call_later(max(0.0, due_ms) / 1000, self._flush)

    def heard(self, peer: Peer, wtxids: Iterable[bytes]) -> None:
        """The peer holds these."""
        known = self._known.get(peer)
        if known is None:
            return
        known.update(dict.fromkeys(wtxids))
        while len(known) > KNOWN_MAX:
            del known[next(iter(known))]

    def on_announce(self, peer: Peer, message: Announce) -> None:
        """Ask for what is new."""
        self.heard(peer, message.wtxids)
        wanted = tuple(
            wtxid
            for wtxid in message.wtxids
            if not self._pool.has_wtxid(wtxid) and wtxid not in self._asked
        )
        if wanted:
            self._asked.update(dict.fromkeys(wanted))
            while len(self._asked) > ASKED_MAX:
                del self._asked[next(iter(self._asked))]
            self._outlet.send(peer, GetTransactions(wanted))

    def on_get_transactions(self, peer: Peer, message: GetTransactions) -> None:
        """Send what waits here."""
        found = [self._pool.by_wtxid(wtxid) for wtxid in message.wtxids]
        self.heard(peer, message.wtxids)
        self._push([peer], [checked for checked in found if checked is not None])

    def arrived(self, wtxids: Iterable[bytes]) -> None:
        """Answers came: they may be asked for again if they are refused now and announced later."""
        for wtxid in wtxids:
            self._asked.pop(wtxid, None)

    def _flush(self) -> None:
        self._scheduled = False
        self._flushed_ms = self._clock.monotonic_ms()
        fresh, self._fresh = self._fresh, []
        relayed, self._relayed = self._relayed, []
        peers = list(self._known)
        pushed = peers
        if len(peers) > PUSH_PEERS_MAX:
            pushed = self._rng.sample(peers, PUSH_PEERS_MAX)
        self._push(pushed, fresh)
        for peer in pushed:
            self.heard(peer, (checked.transaction.wtxid for checked in fresh))
        for peer in peers:
            known = self._known[peer]
            batch = relayed if peer in pushed else relayed + fresh
            news = [
                checked.transaction.wtxid
                for checked in batch
                if checked.transaction.wtxid not in known
            ]
            for start in range(0, len(news), ANNOUNCE_IDS_MAX):
                part = tuple(news[start : start + ANNOUNCE_IDS_MAX])
                self.heard(peer, part)
                self._outlet.send(peer, Announce(part))

    def _push(self, peers: list[Peer], batch: Sequence[Checked]) -> None:
        """Whole transactions, in messages of bounded size."""
        queue = deque(checked.transaction.raw for checked in batch)
        while queue:
            raws: list[bytes] = []
            size = 0
            while queue and size < PUSH_BYTES and len(raws) < PUSH_COUNT:
                raw = queue.popleft()
                raws.append(raw)
                size += len(raw)
            self._outlet.broadcast(Transactions(tuple(raws)), only=peers)
