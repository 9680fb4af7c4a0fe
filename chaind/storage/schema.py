"""Every key prefix of the database, in one table, and the forms of index rows.

    S ‖ state key                               a final row of the ledger (ledger.keys)
    H ‖ height(8)                               [block hash, segment, offset, transactions, time_ms]
    B ‖ block hash                              height(8)
    W ‖ height(8)                               header of a final mined block, 80 bytes
    K ‖ height(8)                               its coinbase
    C ‖ height(8)                               certificate that finalised this block
    X ‖ txid                                    where a final transaction is, and what it moved;
                                                also what a block's expiries and triggers moved, as
                                                `block_trades_id`
    A ‖ len ‖ address ‖ height(8) ‖ index(4)    txid of a final transaction that meant it
    U ‖ len ‖ address ‖ txid ‖ index(4)         a final unspent coin of an address
    R ‖ len ‖ address ‖ len ‖ reference ‖ height(8) ‖ index(4)
                                                txid of a final transaction whose memo refers to an
                                                invoice, and which paid the address; or refers to a
                                                payment that the address gives back by it
    P ‖ len ‖ address ‖ height(8)               the reward of a block's proposer, or what a mined
                                                block's coinbase paid an address, units(8)
    O ‖ txid                                    how a transaction that never applied ended
    Q N F T I D                                 what order books did: storage.market_rows
    M ‖ name                                    meta: format, genesis, tip

Integers are big-endian. All rows of one final block are one synced batch, so that tip, state and
indexes never disagree.
"""

from typing import NamedTuple

import msgspec

from chaind.ledger.trading import Refused
from chaind.primitives.codec import Decoder, encode
from chaind.primitives.hashes import tagged_hash

FORMAT_VERSION = 8

STATE = b"S"
HEIGHT = b"H"
BLOCK = b"B"
HEADER = b"W"
COINBASE = b"K"
CERTIFICATE = b"C"
TRANSACTION = b"X"
ACTIVITY = b"A"
COIN = b"U"
REFERENCE = b"R"
REWARD = b"P"
OUTCOME = b"O"
META = b"M"

META_FORMAT = META + b"format"
META_GENESIS = META + b"genesis"
META_TIP = META + b"tip"


class _Row(msgspec.Struct, array_like=True, frozen=True, gc=False):
    def encode(self) -> bytes:
        """Row value."""
        return encode(self)


class BlockRow(_Row, frozen=True, gc=False):
    """Where the body of a final block lies in the body log."""

    hash: bytes
    segment: int
    offset: int
    transactions: int
    time_ms: int


class TipRow(_Row, frozen=True, gc=False):
    """The newest final block and the state root after it."""

    height: int
    hash: bytes
    root: bytes
    time_ms: int
    view: int


class TransactionRow(_Row, frozen=True, gc=False):
    """Where a final transaction is, and what it moved.

    `place` counts within the block. `moves` are (address, asset, signed base units) of accounts,
    `coins` (address, signed base units) of every coin that it spent or made. `payer` paid the fee.
    `trades` where it acted on an order book: moves are then also between balances and reserves, and
    of those who traded with it; `refused` is what the book had against it. What a block moved by
    itself, by expiries and triggers, has such a row too, behind its transactions, and no payer.
    """

    height: int
    place: int
    time_ms: int
    payer: bytes
    fee: int
    moves: tuple[tuple[bytes, str, int], ...]
    coins: tuple[tuple[bytes, int], ...]
    memo: bytes
    trades: bool = False
    refused: Refused | None = None


class OutcomeRow(_Row, frozen=True, gc=False):
    """Why a transaction can never apply any more: "rejected" or "expired"."""

    status: str
    reason: str
    by: bytes | None
    height: int


class Location(NamedTuple):
    """Where a final transaction stands: block height and place among its transactions."""

    height: int
    place: int


block_row: Decoder[BlockRow] = Decoder("block row", BlockRow)
tip_row: Decoder[TipRow] = Decoder("tip row", TipRow)
transaction_row: Decoder[TransactionRow] = Decoder("transaction row", TransactionRow)
outcome_row: Decoder[OutcomeRow] = Decoder("outcome row", OutcomeRow)


_ACTIVITY_OF = tuple(ACTIVITY + bytes([length]) for length in range(64))  # built per transfer


def number(value: int) -> bytes:
    """8 bytes, so that scans go by number."""
    return value.to_bytes(8, "big")


def block_trades_id(height: int) -> bytes:
    """What stands for a txid where a block itself moved money on order books."""
    return tagged_hash("chaind/block-trades", number(height))


def height_key(height: int) -> bytes:
    """Row of a final block by height."""
    return HEIGHT + number(height)


def header_key(height: int) -> bytes:
    """Row of the header of a final mined block."""
    return HEADER + number(height)


def coinbase_key(height: int) -> bytes:
    """Row of the coinbase of a final mined block."""
    return COINBASE + number(height)


def certificate_key(height: int) -> bytes:
    """Row of the certificate that finalised the block of this height."""
    return CERTIFICATE + number(height)


def activity_prefix(address: bytes) -> bytes:
    """Prefix of an address's activity; `location_suffix` follows."""
    return _ACTIVITY_OF[len(address)] + address


def reference_prefix(address: bytes, reference: bytes) -> bytes:
    """Prefix of what refers to an invoice or a payment of an address; `location_suffix` follows."""
    return REFERENCE + bytes([len(address)]) + address + bytes([len(reference)]) + reference


def reward_prefix(address: bytes) -> bytes:
    """Prefix of what blocks brought their proposer; the height follows."""
    return REWARD + bytes([len(address)]) + address


def location_suffix(height: int, place: int) -> bytes:
    """What follows the prefix in a row of an address's activity."""
    return height.to_bytes(8, "big") + place.to_bytes(4, "big")


def coin_prefix(address: bytes) -> bytes:
    """Prefix of an address's coins; txid and index follow."""
    return COIN + bytes([len(address)]) + address


def coin_key(address: bytes, txid: bytes, index: int) -> bytes:
    """Row of one coin of an address; the value is the state's coin row."""
    return coin_prefix(address) + txid + index.to_bytes(4, "big")
