"""Final blocks on disk: one synced batch each, bodies in their log, and how to find them.

The body log holds every block that this node ever built, checked or fetched, final or not, and
behind them the certificates that made blocks final; the database knows the positions of final
blocks. What lies in the log behind the tip's record is read again at start; a block that came
before its parents is not, and is fetched again. From the log alone the database can be made again:
`chaind.node.repair`.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

from msgspec.structs import replace

from chaind.ledger.execute import Receipt
from chaind.ledger.journal import Writes
from chaind.ledger.trading import Booked
from chaind.primitives.block import HEADER_BYTES, Block
from chaind.primitives.errors import LocalFault, NotReady
from chaind.primitives.hashes import sha256d
from chaind.primitives.votes import Certificate, certificate_decoder
from chaind.storage.books import Books
from chaind.storage.errors import DiskFailed, FileMissing, LogCorrupt, NoSuchRecord
from chaind.storage.files import Files
from chaind.storage.indexes import (
    block_rows,
    block_trades_rows,
    coinbase_rows,
    paid_by_coinbase,
    state_coin_rows,
)
from chaind.storage.kv import Change, KeyValue, prefix_end
from chaind.storage.log import SYSTEM_MAKING, AppendLog, SegmentMaking
from chaind.storage.market_index import (
    UNCHANGED,
    MarketChange,
    MarketIndex,
    digest_rows,
)
from chaind.storage.market_reads import MarketReads
from chaind.storage.schema import (
    BLOCK,
    CERTIFICATE,
    FORMAT_VERSION,
    META_FORMAT,
    META_GENESIS,
    META_TIP,
    OUTCOME,
    STATE,
    BlockRow,
    OutcomeRow,
    TipRow,
    block_row,
    certificate_key,
    coin_prefix,
    coinbase_key,
    header_key,
    height_key,
    number,
    reward_prefix,
    tip_row,
)
from chaind.storage.segment import Position
from chaind.storage.transaction_reads import TransactionReads

BODY_SEGMENT_BYTES = 32 << 20
DECODED_BLOCKS_MAX = 32  # what is asked for is mostly new; a full block takes some 10 MiB
BLOCK_HEAD = b"\x94"  # MessagePack: an array of four; a certificate is one of seven
HEADER_AT = 3  # in a block's canonical bytes, behind the heads of an array and of a byte string
BODY_BYTES_MAX = 16 << 20  # far above any block_bytes_max that a frame could carry


class WrongDirectory(LocalFault):
    """The data belongs to another chain or format."""

    code = "wrong-directory"
    exit_code = 88
    text = "the data directory holds {found}, this node runs {wanted}"
    advice = "Use another --home for this chain, or remove the directory if its data is not needed."


class BlockDamaged(NotReady):
    """The body of a final block cannot be read back; nothing else is given in its place."""

    code = "block-damaged"
    text = "block {height} is damaged on the disk of this node"
    advice = "The node fetches it again from its peers: ask again shortly, or ask another node."


class FinalBlock(NamedTuple):
    """Everything about a block that becomes final, in one value."""

    block: Block
    position: Position
    root: bytes
    writes: Writes
    receipts: tuple[Receipt, ...]
    certificate: Certificate | None  # None where a descendant's certificate covers it
    reward: int  # base units that were due to its maker: fees and subsidy
    time_ms: int  # chain time that its children see
    market: MarketChange = UNCHANGED  # what it did to order books: of `ChainStore.market`
    booked: tuple[Booked, ...] = ()


class ChainStore(TransactionReads):
    """Rows of final blocks. Reads from the loop; the second half of `prepare` on any thread."""

    def __init__(self, database: KeyValue, bodies: AppendLog, tip: TipRow) -> None:
        super().__init__(database)
        self.bodies = bodies
        self.tip = tip
        self._decoded: dict[int, Block] = {}
        self.damaged: dict[bytes, int] = {}  # final blocks found unreadable: height by hash
        self.market = MarketIndex(database)
        self.trading = MarketReads(database)

    @classmethod
    def open(
        cls,
        database: KeyValue,
        files: Files,
        directory: Path,
        genesis_hash: bytes,
        genesis_writes: Writes,
        genesis_tip: TipRow,
        making: SegmentMaking = SYSTEM_MAKING,
    ) -> "ChainStore":
        """Open the store, writing block 0 into an empty one. Raises `WrongDirectory`."""
        bodies = AppendLog.open(
            files,
            directory,
            "bodies",
            min(BODY_SEGMENT_BYTES, making.bytes_max),
            BODY_BYTES_MAX,
            salt=making.salt,
            lossy=True,
        )
        found = database.get(META_FORMAT)
        if found is None:
            return cls.begin(database, bodies, genesis_hash, genesis_writes, genesis_tip)
        if found != number(FORMAT_VERSION):
            raise WrongDirectory(
                found=f"format {int.from_bytes(found, 'big')}", wanted=f"format {FORMAT_VERSION}"
            )
        stored = database.get(META_GENESIS)
        if stored != genesis_hash:
            shown = stored.hex() if stored else "no chain"
            raise WrongDirectory(found=f"chain {shown}", wanted=f"chain {genesis_hash.hex()}")
        tip = database.get(META_TIP)
        assert tip is not None, "the tip is written with the genesis"
        return cls(database, bodies, tip_row.decode(tip))

    @classmethod
    def begin(
        cls,
        database: KeyValue,
        bodies: AppendLog,
        genesis_hash: bytes,
        genesis_writes: Writes,
        genesis_tip: TipRow,
    ) -> "ChainStore":
        """Write block 0 into an empty database, beside a log that may hold bodies already."""
        rows: list[Change] = [(STATE + key, value) for key, value in genesis_writes]
        rows += state_coin_rows(genesis_writes)
        rows += digest_rows(0, genesis_writes)
        rows += [
            (META_FORMAT, number(FORMAT_VERSION)),
            (META_GENESIS, genesis_hash),
            (META_TIP, genesis_tip.encode()),
            (BLOCK + genesis_hash, number(0)),
        ]
        database.write(rows, sync=True)
        return cls(database, bodies, genesis_tip)

    def close(self) -> None:
        """Release log and database."""
        self.bodies.close()
        self._database.close()

    def get(self, key: bytes) -> bytes | None:
        """A final row of the ledger's state (the `Reader` that `ledger.journal.State` needs)."""
        return self._database.get(STATE + key)

    def state_rows(self, prefix: bytes) -> Iterator[tuple[bytes, bytes]]:
        """Final rows of the ledger under a prefix of its own keys, in order."""
        for key, value in self._database.scan(STATE + prefix, prefix_end(STATE + prefix)):
            yield key[1:], value

    def write(self, finals: Sequence[FinalBlock], *, sync: bool = True) -> TipRow:
        """Write consecutive final blocks as one batch, durable with `sync`; the new tip."""
        self.prepare(finals, sync=sync)()
        return self.tip

    def prepare(self, finals: Sequence[FinalBlock], *, sync: bool = True) -> Callable[[], None]:
        """`write` made ready: rows are made here, calling the result writes them (any thread)."""
        rows: list[Change] = []
        for final in finals:
            rows += self._rows(final)
        last = finals[-1]
        commitment = last.block.commitment
        tip = TipRow(commitment.height, last.block.hash, last.root, last.time_ms, commitment.view)
        rows.append((META_TIP, tip.encode()))
        write = self._database.prepare(rows, sync=sync)

        def finish() -> None:
            write()
            self.tip = tip

        return finish

    def write_outcomes(self, outcomes: Iterable[tuple[bytes, OutcomeRow]]) -> None:
        """How transactions ended that never applied. Unsynced: the journal tells it again."""
        rows = [(OUTCOME + txid, outcome.encode()) for txid, outcome in outcomes]
        self._database.write(rows, sync=False)

    def _rows(self, final: FinalBlock) -> list[Change]:
        block = final.block
        height, time_ms = block.height, final.time_ms
        rows: list[Change] = [(STATE + key, value) for key, value in final.writes]
        row = BlockRow(
            block.hash, final.position.segment, final.position.offset, len(final.receipts), time_ms
        )
        rows.append((height_key(height), row.encode()))
        rows.append((BLOCK + block.hash, number(height)))
        if final.certificate is not None:
            rows.append((certificate_key(height), final.certificate.encode()))
        rows += block_rows(height, time_ms, final.receipts)
        rows += block_trades_rows(height, len(final.receipts), time_ms, final.booked)
        rows += final.market.rows
        rows += digest_rows(height, final.writes)
        proposer = block.commitment.proposer
        if proposer is not None and final.reward:
            rows.append((reward_prefix(proposer) + number(height), number(final.reward)))
        if proposer is None:
            rows.append((header_key(height), block.header_bytes))
            rows.append((coinbase_key(height), block.coinbase_bytes))
            rows += coinbase_rows(height, sha256d(block.coinbase_bytes), block.coinbase)
            for address, units in paid_by_coinbase(block.coinbase).items():
                rows.append((reward_prefix(address) + number(height), number(units)))
        return rows

    def headers(self, start: int, stop: int) -> Iterator[bytes]:
        """Headers of final mined blocks from height `start` up to below `stop`, 80 bytes each."""
        for _, header in self._database.scan(header_key(start), header_key(stop)):
            yield header

    def coinbases(self, start: int, stop: int) -> Iterator[bytes]:
        """Coinbases of final mined blocks from height `start` up to below `stop`."""
        for _, coinbase in self._database.scan(coinbase_key(start), coinbase_key(stop)):
            yield coinbase

    def block_row(self, height: int) -> BlockRow | None:
        """Where and what the final block of this height is."""
        value = self._database.get(height_key(height))
        return block_row.decode(value) if value else None

    def height_of(self, block_hash: bytes) -> int | None:
        """Height of a final block."""
        value = self._database.get(BLOCK + block_hash)
        return int.from_bytes(value, "big") if value else None

    def raw_block(self, height: int) -> bytes | None:
        """Canonical bytes of a final block. Raises `BlockDamaged`, and notes it for healing."""
        row = self.block_row(height)
        if row is None:
            return None
        try:
            raw = self.bodies.read(Position(row.segment, row.offset))
        except (LogCorrupt, NoSuchRecord, FileMissing, DiskFailed):
            raw = b""
        if header_hash(raw) != row.hash:
            self.damaged[row.hash] = height
            raise BlockDamaged(height=height)
        return raw

    def replace_body(self, block: Block) -> None:
        """Write the body of a damaged final block anew, and point its row there."""
        height = self.damaged[block.hash]
        row = self.block_row(height)
        assert row is not None, "only final blocks are noted as damaged"
        position = self.bodies.append(block.encode())
        self.bodies.sync()  # before a row names it
        row = replace(row, segment=position.segment, offset=position.offset)
        self._database.write([(height_key(height), row.encode())], sync=True)
        del self.damaged[block.hash]

    def block(self, height: int) -> Block | None:
        """A final block, decoded."""
        block = self._decoded.get(height)
        if block is None and (raw := self.raw_block(height)) is not None:
            block = self._decoded[height] = Block.decode(raw)
            if len(self._decoded) > DECODED_BLOCKS_MAX:
                del self._decoded[next(iter(self._decoded))]
        return block

    def reward(self, proposer: bytes, height: int) -> int:
        """Base units that a final block brought its proposer."""
        value = self._database.get(reward_prefix(proposer) + number(height))
        return int.from_bytes(value, "big") if value else 0

    def rewarded_from(self, address: bytes, height: int, limit: int) -> list[int]:
        """Oldest first: heights from one on whose blocks brought an address a reward."""
        prefix = reward_prefix(address)
        rows = self._database.scan(prefix + number(height), prefix_end(prefix), limit=limit)
        return [int.from_bytes(key[len(prefix) :], "big") for key, _ in rows]

    def last_reward(self, address: bytes) -> int | None:
        """Height of the newest final block that brought an address a reward."""
        prefix = reward_prefix(address)
        for key, _ in self._database.scan(prefix, prefix_end(prefix), reverse=True, limit=1):
            return int.from_bytes(key[len(prefix) :], "big")
        return None

    def certificate_from(self, height: int) -> tuple[int, Certificate] | None:
        """The lowest certificate at or above `height`, with its block's height."""
        stop = prefix_end(CERTIFICATE)
        for key, value in self._database.scan(certificate_key(height), stop, limit=1):
            return int.from_bytes(key[1:], "big"), certificate_decoder.decode(value)
        return None

    def certificate_upto(self, height: int) -> tuple[int, Certificate] | None:
        """The highest certificate at or below `height`, with its block's height."""
        rows = self._database.scan(
            certificate_key(0), certificate_key(height + 1), reverse=True, limit=1
        )
        for key, value in rows:
            return int.from_bytes(key[1:], "big"), certificate_decoder.decode(value)
        return None

    @contextmanager
    def books(self) -> Iterator[Books]:
        """The accounts as they are now, whatever is written meanwhile."""
        snapshot = self._database.snapshot()
        try:
            yield Books(snapshot)
        finally:
            snapshot.close()

    def coins(self, address: bytes, limit: int) -> list[tuple[bytes, int, bytes]]:
        """(txid, index, coin row) of an address's final unspent coins, by outpoint."""
        prefix = coin_prefix(address)
        return [
            (key[-36:-4], int.from_bytes(key[-4:], "big"), value)
            for key, value in self._database.scan(prefix, prefix_end(prefix), limit=limit)
        ]

    def keep_certificates(self, finals: Sequence[FinalBlock]) -> None:
        """Append what made blocks final to the body log: a copy, so that nobody waits for it."""
        for final in finals:
            if final.certificate is not None:
                self.bodies.append(final.certificate.encode())

    def records_above_tip(self) -> Iterator[tuple[Position, bytes]]:
        """The body log from the tip's own record on, or whole where that is not in its place."""
        row = self.block_row(self.tip.height)
        start = Position(row.segment, row.offset) if row else None
        try:
            if start is not None and header_hash(self.bodies.read(start)) != self.tip.hash:
                start = None
        except (LogCorrupt, NoSuchRecord, FileMissing, DiskFailed):
            start = None
        return self.bodies.replay(start)

    def bodies_above_tip(self) -> Iterator[tuple[Position, Block]]:
        """Blocks in the body log from the tip's own record on; final ones below it may recur."""
        for position, raw in self.records_above_tip():
            if is_block(raw):
                yield position, Block.decode(raw)


def is_block(record: bytes) -> bool:
    """Whether a record of the body log is a block; it is a certificate otherwise."""
    return record[:1] == BLOCK_HEAD


def header_hash(raw_block: bytes) -> bytes:
    """Hash of the header within a block's canonical bytes."""
    return sha256d(raw_block[HEADER_AT : HEADER_AT + HEADER_BYTES])


def parent_hash(raw_block: bytes) -> bytes:
    """The block below, as the header within canonical bytes names it."""
    return raw_block[HEADER_AT + 4 : HEADER_AT + 36]
