"""Mined blocks in short: ids instead of transactions that wait here already.

A block that has just been announced is asked for in short (`GetCompact`), rebuilt from the pool,
and what the pool lacks is fetched from the same peer: a miss means *fetch*, never *invalid*. Parts
that do not give the header's Merkle root say nothing of the block, and are the sender's fault. It
is tried once; after that the block is asked for whole.
"""

from collections.abc import Callable, Sequence

from chaind.ledger.checks import Checked
from chaind.mempool.pool import Pool
from chaind.network import messages as wire
from chaind.network.peer import Peer
from chaind.node.bodies import WrongTransactions
from chaind.primitives.block import Block
from chaind.primitives.hashes import display_hash
from chaind.primitives.transaction import Transaction

AHEAD_MAX = 4  # blocks above the head: of older ones the pool has forgotten the transactions
TRIED_MAX = 1_024  # blocks remembered as tried; a second try costs one message more


def in_short(block: Block) -> wire.CompactBlock:
    """What answers `GetCompact`."""
    wtxids = tuple(transaction.wtxid for transaction in block.transactions)
    return wire.CompactBlock(block.hash, block.coinbase_bytes, block.commitment_bytes, wtxids)


class _Partial:
    """A block whose missing transactions were asked of the peer that sent it."""

    __slots__ = ("found", "message", "peer")

    def __init__(
        self, peer: Peer, message: wire.CompactBlock, found: dict[bytes, Transaction]
    ) -> None:
        self.peer = peer
        self.message = message
        self.found = found

    def missing(self) -> tuple[bytes, ...]:
        return tuple(wtxid for wtxid in self.message.wtxids if wtxid not in self.found)


class Compacts:
    """See the module's law. `header_of` gives the header of a hash that was asked for."""

    def __init__(
        self,
        *,
        pool: Pool,
        send: Callable[[Peer, wire.Message], None],
        header_of: Callable[[bytes], bytes],
    ) -> None:
        self._pool = pool
        self._send = send
        self._header_of = header_of
        self._partial: dict[bytes, _Partial] = {}
        self._tried: dict[bytes, None] = {}  # oldest first
        self.rebuilt_total = 0
        self.fetched_total = 0  # transactions that the pool lacked

    def ask(self, peer: Peer, block_hash: bytes, ahead: int) -> None:
        """Ask for a block that is `ahead` of the head; in short where that may save something."""
        self._partial.pop(block_hash, None)
        if not len(self._pool) or ahead > AHEAD_MAX or block_hash in self._tried:
            self._send(peer, wire.GetBlock(block_hash))
            return
        self._tried[block_hash] = None
        while len(self._tried) > TRIED_MAX:
            del self._tried[next(iter(self._tried))]
        self._send(peer, wire.GetCompact(block_hash))

    def take(self, peer: Peer, message: wire.CompactBlock) -> Block | None:
        """The block, where the pool has all of it; else the rest is asked for.

        Raises `PeerFault` where the parts do not make the block.
        """
        found: dict[bytes, Transaction] = {}
        for wtxid in message.wtxids:
            checked: Checked | None = self._pool.by_wtxid(wtxid)
            if checked is not None:
                found[wtxid] = checked.transaction
        partial = _Partial(peer, message, found)
        missing = partial.missing()
        if not missing:
            return self._rebuild(partial)
        self._partial[message.block_hash] = partial
        self._send(peer, wire.GetBlockTransactions(message.block_hash, missing))
        return None

    def complete(self, peer: Peer, message: wire.BlockTransactions) -> Block | None:
        """The block, with what was missing; None where nobody waits for that, or the peer lacks
        some and was asked for the whole block.

        Raises `PeerFault` where it is something else.
        """
        partial = self._partial.get(message.block_hash)
        if partial is None or partial.peer is not peer:
            return None
        del self._partial[message.block_hash]
        fetched: Sequence[Transaction] = [Transaction.decode(raw) for raw in message.raws]
        wanted = set(partial.missing())
        if not wanted.issuperset(transaction.wtxid for transaction in fetched):
            raise WrongTransactions(hash=display_hash(message.block_hash))
        partial.found |= {transaction.wtxid: transaction for transaction in fetched}
        if partial.missing():
            self._send(peer, wire.GetBlock(message.block_hash))
            return None
        self.fetched_total += len(fetched)
        return self._rebuild(partial)

    def forget(self, block_hash: bytes) -> None:
        """Its body came."""
        self._partial.pop(block_hash, None)
        self._tried.pop(block_hash, None)

    def peer_down(self, peer: Peer) -> None:
        """What it was to complete is asked of others."""
        for block_hash in [one for one, it in self._partial.items() if it.peer is peer]:
            del self._partial[block_hash]

    def _rebuild(self, partial: _Partial) -> Block:
        message = partial.message
        transactions = [partial.found[wtxid] for wtxid in message.wtxids]
        header = self._header_of(message.block_hash)
        block = Block.rebuild(header, message.coinbase, message.commitment, transactions)
        self.rebuilt_total += 1
        return block
