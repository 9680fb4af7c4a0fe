"""Headers whose parent is not known: kept a while, so that order of arrival does not matter.

Bounded in number and so in bytes (a header has 80), for each peer and in all: a newcomer over a
bound drives out the oldest of its own peer, then of the peer that has most.
"""

from collections import OrderedDict
from typing import NamedTuple

ORPHANS_MAX = 1_000  # 80 kB of headers
ORPHANS_PER_PEER_MAX = 100  # a burst of blocks that overtook each other; more is asked for in order


class Orphan(NamedTuple):
    """A header, and who sent it."""

    hash: bytes
    header: bytes
    peer: int

    @property
    def parent(self) -> bytes:
        """Hash of the header that is missing."""
        return self.header[4:36]


class Orphans:
    """See the module's law."""

    def __init__(
        self, *, count_max: int = ORPHANS_MAX, per_peer_max: int = ORPHANS_PER_PEER_MAX
    ) -> None:
        assert 1 <= per_peer_max <= count_max
        self._count_max = count_max
        self._per_peer_max = per_peer_max
        self._by_hash: dict[bytes, Orphan] = {}
        self._by_parent: dict[bytes, dict[bytes, Orphan]] = {}
        self._by_peer: dict[int, OrderedDict[bytes, Orphan]] = {}

    def __len__(self) -> int:
        return len(self._by_hash)

    def __contains__(self, block_hash: bytes) -> bool:
        return block_hash in self._by_hash

    def of_peer(self, peer: int) -> int:
        """How many of a peer's wait."""
        return len(self._by_peer.get(peer, ()))

    def add(self, orphan: Orphan) -> None:
        """Keep one; nothing changes where it is kept already."""
        if orphan.hash in self._by_hash:
            return
        if self.of_peer(orphan.peer) >= self._per_peer_max:
            self._drop_oldest(orphan.peer)
        elif len(self._by_hash) >= self._count_max:
            self._drop_oldest(max(self._by_peer, key=self.of_peer))
        self._by_hash[orphan.hash] = orphan
        self._by_parent.setdefault(orphan.parent, {})[orphan.hash] = orphan
        self._by_peer.setdefault(orphan.peer, OrderedDict())[orphan.hash] = orphan

    def adopt(self, parent: bytes) -> list[Orphan]:
        """Take out those that waited for a parent, first come first."""
        found = list(self._by_parent.get(parent, {}).values())
        for orphan in found:
            self._remove(orphan)
        return found

    def forget_peer(self, peer: int) -> None:
        """Drop all that a peer sent."""
        for orphan in list(self._by_peer.get(peer, {}).values()):
            self._remove(orphan)

    def _drop_oldest(self, peer: int) -> None:
        self._remove(next(iter(self._by_peer[peer].values())))

    def _remove(self, orphan: Orphan) -> None:
        del self._by_hash[orphan.hash]
        siblings = self._by_parent[orphan.parent]
        del siblings[orphan.hash]
        if not siblings:
            del self._by_parent[orphan.parent]
        theirs = self._by_peer[orphan.peer]
        del theirs[orphan.hash]
        if not theirs:
            del self._by_peer[orphan.peer]
