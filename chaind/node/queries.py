"""What the node can be asked: synchronous reads of final state, indexes, pool and chain.

Lists and indexes are of final blocks. Balances, coins and leases are those that clients can go by
(`Chain.tip`): final where validators vote, the head's on chains of miners, or whichever is asked
for. Amounts are base units, hashes raw digests; the API gives them their outward forms.
"""

from typing import NamedTuple

from chaind.ledger.execute import live_lease
from chaind.ledger.journal import FinalState
from chaind.ledger.keys import ASSET, asset_decoder, decode_units, lease_key, supply_key
from chaind.mempool.pool import Pool
from chaind.network.manager import Network
from chaind.node.chain import Chain
from chaind.node.holdings import BalanceInfo, CoinInfo, HoldingsReader
from chaind.node.sync import serve_mined, serve_range
from chaind.node.tracker import Tracker
from chaind.primitives.block import Block
from chaind.primitives.errors import Unknown
from chaind.primitives.genesis import Genesis
from chaind.primitives.transaction import NATIVE, Transaction
from chaind.primitives.votes import Certificate
from chaind.storage.chain_store import ChainStore
from chaind.storage.schema import Location

BLOCKS_PAGE_MAX = 100


class TransactionUnknown(Unknown):
    code = "transaction-unknown"
    text = "no transaction {txid} is known here"
    advice = "It was never accepted by this node, or it expired before this node was started."


class ActivityInfo(NamedTuple):
    """What a final transaction meant to an address; `changes` are (symbol, signed base units)."""

    txid: bytes
    height: int
    place: int
    time_ms: int
    changes: tuple[tuple[str, int], ...]
    coin_change: int
    fee: int
    counterparties: tuple[bytes, ...]
    memo: bytes


class TransactionInfo(NamedTuple):
    """Where a transaction is: pending, included, final, rejected or expired.

    `confirmations` counts blocks from its own on up to the one that clients go by (`Chain.tip`).
    """

    txid: bytes
    status: str
    reason: str | None
    by: bytes | None
    height: int | None
    place: int | None
    block_hash: bytes | None
    confirmations: int
    time_ms: int | None
    transaction: Transaction | None


class BlockInfo(NamedTuple):
    """A block. `certificate` is None where a later block's certificate covers it."""

    height: int
    hash: bytes
    block: Block
    certificate: Certificate | None
    final: bool


class PendingInfo(NamedTuple):
    """A transaction that waits."""

    transaction: Transaction
    fee: int
    size: int
    received_ms: int


class LeaseInfo(NamedTuple):
    """Who holds a lease: a final transaction, or one that is in a block or waits."""

    txid: bytes
    intent: bytes
    final: bool


class PeerInfo(NamedTuple):
    """A connected peer."""

    node_id: str
    address: str
    inbound: bool
    latency_ms: float | None
    height: int
    agent: str
    validator_index: int | None
    score: float
    connected_ms: float


class AssetInfo(NamedTuple):
    """An asset and its supply. The native asset has no issuer."""

    symbol: str
    issuer: bytes | None
    mintable: bool
    supply: int


class Queries:
    """See the module's law."""

    def __init__(
        self,
        *,
        genesis: Genesis,
        chain: Chain,
        store: ChainStore,
        pool: Pool,
        tracker: Tracker,
        network: Network,
    ) -> None:
        self._genesis = genesis
        self._chain = chain
        self._store = store
        self._pool = pool
        self._tracker = tracker
        self._network = network
        self.final_state = FinalState(chain.state)
        self._holdings = HoldingsReader(genesis, chain, store)
        self._validators = {
            validator.key.hex(): index for index, validator in enumerate(genesis.validators)
        }

    def symbol(self, asset: str) -> str:
        """Outward name of an asset: the native one has its genesis symbol."""
        return asset or self._genesis.native_symbol

    def asset(self, symbol: str) -> str:
        """Inward name of a symbol: the native one is the empty string."""
        return NATIVE if symbol == self._genesis.native_symbol else symbol

    def balance(self, address: bytes, *, at_head: bool | None = None) -> BalanceInfo:
        """Holdings; all zero for an address that nobody paid."""
        return self._holdings.balance(address, at_head=self._at_head(at_head))

    def coins(self, address: bytes, limit: int, *, at_head: bool | None = None) -> list[CoinInfo]:
        """Unspent coins, by outpoint."""
        return self._holdings.coins(address, limit, at_head=self._at_head(at_head))

    def _at_head(self, asked: bool | None) -> bool:
        return self._chain.at_head if asked is None else asked

    def activity(
        self, address: bytes, before: tuple[int, int] | None, limit: int
    ) -> list[ActivityInfo]:
        """History, newest first, strictly before (height, place)."""
        rows = self._store.activity(address, Location(*before) if before else None, limit)
        return [
            ActivityInfo(
                row.txid,
                location.height,
                location.place,
                row.time_ms,
                tuple((self.symbol(asset), units) for asset, units in row.changes),
                row.coin_change,
                row.fee,
                row.counterparties,
                row.memo,
            )
            for location, row in rows
        ]

    def transaction(self, txid: bytes) -> TransactionInfo:
        """State of a transaction. Raises `TransactionUnknown`."""
        location = self._store.location(txid)
        # While a batch is being written its blocks may be on disk before the tip has moved.
        if location is not None and location.height <= self._chain.final.height:
            return self._final_transaction(txid, location)
        entry = self._pool.get(txid)
        found = self._chain.find(txid)
        if found is not None:
            info, place = found
            transaction = entry.checked.transaction if entry else None
            return TransactionInfo(
                txid, "included", None, None, info.height, place, info.hash,
                max(0, self._chain.tip.height - info.height + 1), info.time_ms, transaction,
            )  # fmt: skip
        waiting = entry.checked if entry else self._tracker.get(txid)
        if waiting is not None:
            return TransactionInfo(
                txid, "pending", None, None, None, None, None, 0, None, waiting.transaction
            )
        outcome = self._store.outcome(txid)
        if outcome is None:
            raise TransactionUnknown(txid=txid.hex())
        return TransactionInfo(
            txid, outcome.status, outcome.reason, outcome.by, outcome.height, None, None, 0, None,
            None,
        )  # fmt: skip

    def _final_transaction(self, txid: bytes, location: Location) -> TransactionInfo:
        block = self._store.block(location.height)
        assert block is not None, "the index points to a final block"
        return TransactionInfo(
            txid,
            "final",
            None,
            None,
            location.height,
            location.place,
            block.hash,
            self._chain.tip.height - location.height + 1,
            block.time_ms,
            block.transactions[location.place],
        )

    def is_open(self, txid: bytes) -> bool:
        """Whether a transaction is known here and has not ended yet."""
        try:
            return self.transaction(txid).status in ("pending", "included")
        except TransactionUnknown:
            return False

    def is_final(self, txid: bytes) -> bool:
        """Whether a transaction is in a final block."""
        return self._store.location(txid) is not None

    def block(self, ref: int | bytes) -> BlockInfo | None:
        """A final block by height or hash; by hash also one of those that lead to the head, where
        clients go by that."""
        height = ref if isinstance(ref, int) else self._store.height_of(ref)
        if height is None:
            return self._block_above(ref)
        block = self._store.block(height)
        if block is None:
            return None
        found = self._store.certificate_from(height)
        certificate = found[1] if found is not None and found[0] == height else None
        return BlockInfo(height, block.hash, block, certificate, final=True)

    def _block_above(self, ref: int | bytes) -> BlockInfo | None:
        for candidate in self._chain.executed() if self._chain.at_head else ():
            block = candidate.body.block
            if block.hash == ref:
                return BlockInfo(block.height, block.hash, block, None, final=False)
        return None

    def height_of(self, block_hash: bytes) -> int | None:
        """Height of a block that is final, or executed above the final tip."""
        info = self._chain.info(block_hash)
        return self.final_height(block_hash) if info is None else info.height

    def final_height(self, block_hash: bytes) -> int | None:
        """Height of a final block above the genesis."""
        return self._store.height_of(block_hash)

    def blocks(self, start: int, end: int) -> list[BlockInfo]:
        """Final blocks of heights start…end, ascending, at most `BLOCKS_PAGE_MAX`."""
        stop = min(end, start + BLOCKS_PAGE_MAX - 1, self._chain.final.height)
        found = (self.block(height) for height in range(max(1, start), stop + 1))
        return [info for info in found if info is not None]

    def raw_blocks(
        self, start: int, limit: int
    ) -> tuple[int, tuple[bytes, ...], Certificate | None]:
        """Final blocks from `start` as they are hashed, and the certificate of the last, if they
        are of validators.

        Raises `BlockDamaged` where the first one cannot be read.
        """
        serve = serve_mined if self._chain.at_head else serve_range
        found = serve(self._store, start, limit)
        if not found.raws and start <= self._store.tip.height:
            self._store.raw_block(start)
        return found.start_height, found.raws, found.certificate

    def certificate(self, height: int) -> tuple[int, Certificate] | None:
        """The certificate that covers a height, with the height that it names."""
        return self._store.certificate_from(height)

    def tip_certificate(self) -> tuple[int, Certificate] | None:
        """The newest certificate."""
        return self._store.certificate_upto(self._chain.final.height)

    def pending(self, limit: int) -> list[PendingInfo]:
        """Waiting transactions, oldest first."""
        found: list[PendingInfo] = []
        for entry in self._pool.entries():
            if len(found) >= limit:
                break
            found.append(
                PendingInfo(entry.checked.transaction, entry.fee, entry.size, entry.received_ms)
            )
        return found

    @property
    def pending_count(self) -> int:
        """Number of waiting transactions."""
        return len(self._pool)

    def lease(self, owner: bytes, lease_id: bytes) -> LeaseInfo | None:
        """Who holds a lease on the chain, else who would take it of what waits here."""
        time_ms = self._chain.tip.time_ms
        row = live_lease(self._chain.tip_state, owner, lease_id, time_ms)
        if row is not None:
            is_final = not self._chain.at_head or self.is_final(row.txid)
            return LeaseInfo(row.txid, row.intent, final=is_final)
        entry = self._pool.claimant(lease_key(owner, lease_id))
        if entry is None:
            return None
        lease = entry.checked.transaction.body.lease
        assert lease is not None, "it claims one"
        return LeaseInfo(entry.checked.txid, lease.intent, final=False)

    def supply(self, asset: str) -> int:
        """Issued minus burnt."""
        return decode_units(self.final_state.get(supply_key(asset)))

    def assets(self) -> list[AssetInfo]:
        """All assets, the native one first."""
        native = AssetInfo(self._genesis.native_symbol, None, False, self.supply(NATIVE))
        found = [native]
        for key, value in self._store.state_rows(ASSET):
            symbol, row = key[1:].decode("ascii"), asset_decoder.decode(value)
            found.append(AssetInfo(symbol, row.issuer, row.mintable, self.supply(symbol)))
        return found

    def peers(self) -> list[PeerInfo]:
        """Connected peers. `score` is what stands against one: at 100 it is banned."""
        return [
            PeerInfo(
                peer.node_id,
                peer.address,
                peer.inbound,
                peer.latency_ms,
                peer.final_height,
                peer.agent,
                self._validators.get(peer.validator_key_hex or ""),
                peer.score,
                peer.connected_ms,
            )
            for peer in self._network.stats()
        ]
