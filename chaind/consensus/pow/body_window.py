"""Which bodies to ask of whom: along each peer's best branch, from the lowest missing one up.

A window bounds how far ahead of the first missing body others are asked for, for what came early
waits in memory; each body is asked of one peer at a time, each peer for a few at a time. One that
does not come in time is asked of another peer.
"""

from collections import deque
from collections.abc import Iterator, Sequence

from chaind.consensus.pow.entry import Entry
from chaind.consensus.pow.tree import Tree

WINDOW = 128  # bodies ahead of the first missing one: 256 MiB of full blocks
PER_PEER_MAX = 16  # Bitcoin's
BODY_STALL_MS = 10_000.0  # a full block over a slow line


class _Peer:
    __slots__ = ("asked", "best", "lacking", "missing")

    def __init__(self) -> None:
        self.best: Entry | None = None  # the heaviest block that it has shown
        self.missing: deque[Entry] = deque()  # of that branch, lowest first
        self.asked: dict[bytes, float] = {}  # since when
        self.lacking: set[bytes] = set()  # blocks that it has said it does not hold


class BodyWindow:
    """See the module's law."""

    def __init__(
        self,
        tree: Tree,
        *,
        window: int = WINDOW,
        per_peer_max: int = PER_PEER_MAX,
        stall_ms: float = BODY_STALL_MS,
    ) -> None:
        self._tree = tree
        self._size = window
        self._per_peer_max = per_peer_max
        self._stall_ms = stall_ms
        self._peers: dict[int, _Peer] = {}
        self._asked: dict[bytes, int] = {}  # of whom

    def peer_up(self, peer: int) -> None:
        """A peer of which nothing is known yet."""
        self._peers[peer] = _Peer()

    def peer_down(self, peer: int) -> None:
        """What it was asked for can be asked of others."""
        for block_hash in self._peers.pop(peer).asked:
            del self._asked[block_hash]

    def knows(self, peer: int, entry: Entry) -> bool:
        """Whether a peer's best branch is known to hold a block."""
        known = self._peers.get(peer)
        best = known.best if known else None
        return (
            best is not None
            and self._tree.get(best.hash) is best
            and best.height >= entry.height
            and self._tree.ancestor(best, entry.height) is entry
        )

    def awaits(self, peer: int, block_hash: bytes) -> bool:
        """Whether a peer was asked for a body that has not come."""
        return self._asked.get(block_hash) == peer

    def learn(self, peer: int, entry: Entry) -> None:
        """A peer has a block, and so all below it."""
        known = self._peers.get(peer)
        if known is None or (known.best and known.best.chainwork >= entry.chainwork):
            return
        fresh: list[Entry] = []
        at: Entry | None = entry
        while at is not None and at is not known.best and at.complete is None:
            fresh.append(at)
            at = at.parent
        if at is None or at is not known.best:  # another branch than before
            known.missing.clear()
        known.missing.extend(reversed(fresh))
        known.best = entry
        known.lacking.clear()

    def came(self, block_hash: bytes) -> None:
        """A body came."""
        peer = self._asked.pop(block_hash, None)
        if peer is not None:
            del self._peers[peer].asked[block_hash]

    def lacks(self, peer: int, block_hash: bytes) -> None:
        """A peer does not hold it, whatever it has shown."""
        self.came(block_hash)
        if peer in self._peers:
            self._peers[peer].lacking.add(block_hash)

    def stalled(self, now_ms: float) -> tuple[int, ...]:
        """Peers that left a body due; what they were asked for can be asked of others."""
        late = []
        for number, peer in self._peers.items():
            if any(now_ms - since >= self._stall_ms for since in peer.asked.values()):
                late.append(number)
                for block_hash in peer.asked:
                    del self._asked[block_hash]
                peer.asked.clear()
        return tuple(late)

    def plan(self, able: Sequence[int], now_ms: float) -> Iterator[tuple[int, bytes]]:
        """Whom to ask for which bodies now, each peer in turn."""
        for number in able:
            peer = self._peers[number]
            for entry in self._wanted(peer):
                if len(peer.asked) >= self._per_peer_max:
                    break
                if entry.hash in self._asked or entry.hash in peer.lacking:
                    continue
                self._asked[entry.hash] = number
                peer.asked[entry.hash] = now_ms
                yield number, entry.hash

    def _wanted(self, peer: _Peer) -> Iterator[Entry]:
        """Missing bodies of a peer's branch within the window, lowest first."""
        best, missing = peer.best, peer.missing
        if best is None or best.invalid or self._tree.get(best.hash) is not best:
            peer.best = None
            missing.clear()
            return
        if best.chainwork < self._tree.ready.chainwork:
            return
        while missing and (missing[0].complete is not None or missing[0].held):
            missing.popleft()
        if not missing:
            return
        limit = missing[0].height + self._size
        for entry in missing:
            if entry.height >= limit:
                return
            if not entry.held:
                yield entry
