"""How transactions travel: pushed to a few peers at once, announced to the rest.

A node with few peers pushes to all of them. What came from a peer is announced onwards, in batches.
Gossip is best effort: what is lost here is fetched when a proposal names it.
"""

from collections import OrderedDict, deque
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
RELAY_MS = 30.0  # what was pushed to us was pushed to others: in a small network nobody misses it
KNOWN_MAX = 50_000  # wtxids remembered per peer; 5 MiB each
ASKED_MAX = 100_000  # requests under way
ASKED_MS = 2_000.0  # after which the next announcement is asked for the same transaction
PUSH_BYTES = BYTES_MAX[Transactions] // 2
PUSH_COUNT = 2_000
ANSWER_BYTES_MAX = 8 << 20  # to one request: what it asks for beyond is sent in blocks


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
        # Ordered dictionaries forget their oldest at once; a plain one looks for it ever longer.
        self._known: dict[Peer, OrderedDict[bytes, None]] = {}
        self._fresh: list[Checked] = []
        self._relayed: list[Checked] = []
        self._asked: OrderedDict[bytes, float] = OrderedDict()  # wtxid → when, oldest first

    def peer_up(self, peer: Peer) -> None:
        """Announce what waits here: the peer may have missed it."""
        self._known[peer] = OrderedDict()
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
        if local:
            if not self._fresh:
                due_ms = self._flushed_ms + FLUSH_MS - self._clock.monotonic_ms()
                self._call_later(max(0.0, due_ms) / 1000, self._flush_fresh)
            self._fresh.extend(batch)
            return
        if not self._relayed:
            self._call_later(RELAY_MS / 1000, self._flush_relayed)
        self._relayed.extend(batch)

    def heard(self, peer: Peer, wtxids: Iterable[bytes]) -> None:
        """The peer holds these."""
        known = self._known.get(peer)
        if known is None:
            return
        known.update(dict.fromkeys(wtxids))
        while len(known) > KNOWN_MAX:
            known.popitem(last=False)

    def on_announce(self, peer: Peer, message: Announce) -> None:
        """Ask for what is new."""
        self.heard(peer, message.wtxids)
        now_ms = self._clock.monotonic_ms()
        stale_ms = now_ms - ASKED_MS
        wanted = tuple(
            wtxid
            for wtxid in message.wtxids
            if not self._pool.has_wtxid(wtxid) and self._asked.get(wtxid, stale_ms) <= stale_ms
        )
        if wanted:
            for wtxid in wanted:
                self._asked.pop(wtxid, None)
                self._asked[wtxid] = now_ms
            while len(self._asked) > ASKED_MAX:
                self._asked.popitem(last=False)
            self._outlet.send(peer, GetTransactions(wanted))

    def on_get_transactions(self, peer: Peer, message: GetTransactions) -> None:
        """Send what waits here."""
        found: list[Checked] = []
        room = ANSWER_BYTES_MAX
        for wtxid in dict.fromkeys(message.wtxids):
            checked = self._pool.by_wtxid(wtxid)
            if checked is not None:
                room -= checked.transaction.size
                if room < 0:
                    break
                found.append(checked)
        self.heard(peer, [checked.transaction.wtxid for checked in found])
        self._push([peer], found)

    def arrived(self, wtxids: Iterable[bytes]) -> None:
        """Answers came: they may be asked for again if they are refused now and announced later."""
        for wtxid in wtxids:
            self._asked.pop(wtxid, None)

    def _flush_fresh(self) -> None:
        """Push what clients gave us to a few peers, announce it to the rest."""
        self._flushed_ms = self._clock.monotonic_ms()
        fresh, self._fresh = self._fresh, []
        peers = list(self._known)
        pushed = peers
        if len(peers) > PUSH_PEERS_MAX:
            pushed = self._rng.sample(peers, PUSH_PEERS_MAX)
        self._push(pushed, fresh)
        wtxids = [checked.transaction.wtxid for checked in fresh]
        for peer in pushed:
            self.heard(peer, wtxids)
        self._announce([peer for peer in peers if peer not in pushed], wtxids)

    def _flush_relayed(self) -> None:
        """Announce onwards what still waits: most of it is in a block by now."""
        relayed, self._relayed = self._relayed, []
        wtxids = []
        for checked in relayed:
            entry = self._pool.get(checked.txid)
            if entry is not None and not entry.hidden:
                wtxids.append(checked.transaction.wtxid)
        self._announce(self._known, wtxids)

    def _announce(self, peers: Iterable[Peer], wtxids: Sequence[bytes]) -> None:
        """Tell each peer of what it is not known to hold."""
        for peer in peers:
            known = self._known[peer]
            news = [wtxid for wtxid in wtxids if wtxid not in known]
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
