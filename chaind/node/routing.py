"""What peers send, to whom it belongs; and answers to what they ask. The network's handler."""

from typing import TYPE_CHECKING

import structlog

from chaind.ledger.checks import Checked
from chaind.network import messages as wire
from chaind.network.peer import Peer
from chaind.node.compact import in_short
from chaind.node.sync import serve_range
from chaind.storage.chain_store import BlockDamaged

if TYPE_CHECKING:
    from chaind.node.parts import Parts
    from chaind.storage.chain_store import ChainStore

log = structlog.get_logger("chaind.node")


class Router:
    """See the module's law."""

    def __init__(self, node: "Parts", store: "ChainStore") -> None:
        self._node = node
        self._store = store

    def peer_up(self, peer: Peer) -> None:
        """See `network.manager.Handler`."""
        log.info("peer_up", peer=peer.node_id[:8], inbound=peer.inbound, agent=peer.hello.agent)
        self._node.engine.peer_up(peer)
        self._node.relay.peer_up(peer)

    def peer_down(self, peer: Peer, reason: str) -> None:
        """See `network.manager.Handler`."""
        log.info("peer_down", peer=peer.node_id[:8], reason=reason)
        self._node.engine.peer_down(peer)
        self._node.relay.peer_down(peer)
        self._node.ingest.peer_down(peer)
        self._node.sync.peer_down(peer)
        self._node.waiters.check()

    def message(self, peer: Peer, message: wire.Message) -> None:
        """See `network.manager.Handler`."""
        match message:
            case wire.Transactions(raws):
                self._node.ingest.take(peer, raws)
            case wire.Announce():
                self._node.relay.on_announce(peer, message)
            case wire.GetTransactions():
                self._node.relay.on_get_transactions(peer, message)
            case wire.Tip(final_height):
                peer.final_height = final_height
                self._node.waiters.check()
            case wire.Status():
                self._node.engine.received(peer, message)
                self._node.waiters.check()
            case wire.BlockData() if self._node.healer.received(peer, message):
                pass
            case wire.Blocks():
                self._node.sync.received(peer, message)
            case wire.GetBlock(block_hash):
                self._node.network.send(
                    peer, wire.BlockData(block_hash, self._raw_block(block_hash))
                )
            case wire.GetCompact(block_hash):
                self._node.network.send(peer, self._compact_block(block_hash))
            case wire.GetBlockTransactions():
                self._node.network.send(peer, self._block_transactions(message))
            case wire.GetBlocks(start_height, count):
                self._node.network.send(peer, serve_range(self._store, start_height, count))
            case _:
                self._node.engine.received(peer, message)

    def _raw_block(self, block_hash: bytes) -> bytes | None:
        candidate = self._node.chain.candidate(block_hash)
        if candidate is not None:
            return candidate.body.block.encode()
        height = self._store.height_of(block_hash)
        try:
            return self._store.raw_block(height) if height else None
        except BlockDamaged:
            return None

    def _compact_block(self, block_hash: bytes) -> wire.CompactBlock | wire.BlockData:
        """In short while it may still be news; a final block is whole."""
        candidate = self._node.chain.candidate(block_hash)
        if candidate is None:
            return wire.BlockData(block_hash, self._raw_block(block_hash))
        return in_short(candidate.body.block)

    def _block_transactions(self, asked: wire.GetBlockTransactions) -> wire.BlockTransactions:
        """From the block itself, or from the pool, which also holds what was just proposed.

        Each one once, and no more bytes than a block can have: more is not asked in good faith.
        """
        candidate = self._node.chain.candidate(asked.block_hash)
        found: dict[bytes, Checked] = {}
        if candidate is not None:
            found = {item.transaction.wtxid: item for item in candidate.body.checked}
        raws = []
        room = self._node.genesis.parameters.block_bytes_max
        for wtxid in dict.fromkeys(asked.wtxids):
            checked = found.get(wtxid) or self._node.pool.by_wtxid(wtxid)
            if checked is not None:
                room -= checked.transaction.size
                if room < 0:
                    break
                raws.append(checked.transaction.raw)
        return wire.BlockTransactions(asked.block_hash, tuple(raws))
