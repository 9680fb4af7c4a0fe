"""Bodies of final blocks that this disk has lost: found by reading, fetched from peers again.

Law: a damaged body is never served, nor anything in its place. Its hash is known for certain, so
any peer may give it: what hashes to it is it. Once after its start a node reads all its final
blocks through, so that damage is found while peers still have what it hit.
"""

import structlog

from chaind.network.messages import BlockData, GetBlock
from chaind.network.peer import Peer
from chaind.node.bodies import Transport, WrongBlock
from chaind.node.clock import Clock
from chaind.primitives.block import Block
from chaind.primitives.hashes import display_hash
from chaind.storage.chain_store import BlockDamaged, ChainStore

SCRUB_BLOCKS = 20  # read through per tick: 200 a second, under a hundredth of a core
SCRUB_BYTES = 1 << 20  # and no more bytes than one tick's worth of the loop's time
ASKED_MAX = 16  # requests under way: a block may take a whole frame

log = structlog.get_logger("chaind.healer")


class Healer:
    """See the module's law. `tick` often; `received` sees answers first."""

    def __init__(
        self, *, store: ChainStore, transport: Transport, clock: Clock, retry_ms: int
    ) -> None:
        self._store = store
        self._transport = transport
        self._clock = clock
        self._retry_ms = retry_ms
        self._asked: dict[bytes, float] = {}  # when a peer was asked last
        self._refused: dict[bytes, set[str]] = {}  # node ids that were asked since all were
        self._scrub_height = 1
        self._scrub_end = store.tip.height
        self.healed_total = 0

    @property
    def damaged(self) -> int:
        """Final blocks that are known to be unreadable here."""
        return len(self._store.damaged)

    def tick(self) -> None:
        """Read on, and ask for what is damaged."""
        if self._scrub_height <= self._scrub_end:
            self._scrub()
        for block_hash in list(self._store.damaged)[:ASKED_MAX]:
            self._ask(block_hash)

    def received(self, peer: Peer, message: BlockData) -> bool:
        """Take an answer to a question of ours; False where it is somebody else's.

        Raises `PeerFault` where it is not the block that was asked for.
        """
        block_hash = message.block_hash
        if self._asked.pop(block_hash, None) is None or block_hash not in self._store.damaged:
            return False
        if message.raw is None:
            return True
        block = Block.decode(message.raw)
        if block.hash != block_hash:
            raise WrongBlock(hash=display_hash(block_hash), other=display_hash(block.hash))
        self._store.replace_body(block)
        self._refused.pop(block_hash, None)
        self.healed_total += 1
        log.warning("block_healed", height=block.height, peer=peer.node_id[:8])
        return True

    def _scrub(self) -> None:
        size = 0
        stop = min(self._scrub_height + SCRUB_BLOCKS, self._scrub_end + 1)
        while self._scrub_height < stop and size < SCRUB_BYTES:
            try:
                size += len(self._store.raw_block(self._scrub_height) or b"")
            except BlockDamaged as error:
                log.error("block_damaged", error=str(error))
            self._scrub_height += 1

    def _ask(self, block_hash: bytes) -> None:
        """Of a peer that was not asked yet; of all of them again once all were."""
        now_ms = self._clock.monotonic_ms()
        asked_ms = self._asked.get(block_hash)
        if asked_ms is not None and now_ms < asked_ms + self._retry_ms:
            return
        peers = self._transport.peers()
        if not peers:
            return
        refused = self._refused.setdefault(block_hash, set())
        fresh = [peer for peer in peers if peer.node_id not in refused]
        if not fresh:
            refused.clear()
            fresh = peers
        refused.add(fresh[0].node_id)
        self._asked[block_hash] = now_ms
        self._transport.send(fresh[0], GetBlock(block_hash))
