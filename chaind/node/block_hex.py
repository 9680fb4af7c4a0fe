"""A block as mining software hands it in: Bitcoin's serialisation around our own transactions.

    header(80) ‖ count ‖ coinbase ‖ commitment ‖ transaction ‖ …

`count` is Bitcoin's compact size and counts coinbase and commitment. A coinbase ends by itself, and
so does a MessagePack value; nothing else stands between them. With `submit/coinbase` (BIP-23) it
ends after the coinbase.
"""

import struct
from typing import NamedTuple

from chaind.node.templates import Plan
from chaind.primitives.block import HEADER_BYTES, Block, Header
from chaind.primitives.coinbase import split_coinbase
from chaind.primitives.errors import Malformed
from chaind.primitives.hashes import sha256d
from chaind.primitives.transaction import Transaction

NESTING_MAX = 64  # no value of ours is nested as deeply
_SIZES = {0xFD: "<H", 0xFE: "<I", 0xFF: "<Q"}
# MessagePack: how many bytes of length follow the first, and how many bytes that is by itself.
_FIXED = {0xC0: 0, 0xC2: 0, 0xC3: 0, 0xCA: 4, 0xCB: 8}
_FIXED |= {0xCC + at: 1 << at for at in range(4)} | {0xD0 + at: 1 << at for at in range(4)}
_COUNTED = {0xC4: 1, 0xC5: 2, 0xC6: 4, 0xD9: 1, 0xDA: 2, 0xDB: 4}
_ARRAYS = {0xDC: 2, 0xDD: 4}


class BlockUnreadable(Malformed):
    """Not a block of this form."""

    code = "block-unreadable"
    text = "what was handed in is no block: {reason}"
    advice = "Send the header, the number of transactions, the coinbase and all others, in hex."


class BlockParts(NamedTuple):
    """What was read without looking into it. `rest` is commitment and transactions, or nothing."""

    raw_header: bytes
    header: Header
    coinbase: bytes
    rest: tuple[bytes, ...]

    @property
    def hash(self) -> bytes:
        """The header's."""
        return sha256d(self.raw_header)

    def block(self, plan: Plan | None) -> Block:
        """The block; a plan is for one that lacks its transactions.

        Raises `MerkleMismatch`, `CoinbaseInvalid`, `Undecodable` or `NonCanonical`.
        """
        if plan is not None:
            committed, transactions = plan.committed, plan.transactions
        else:
            committed = self.rest[0]
            transactions = tuple(map(Transaction.decode, self.rest[1:]))
        return Block.rebuild(self.raw_header, self.coinbase, committed, transactions)


def parse_parts(data: bytes) -> BlockParts:
    """Raises `BlockUnreadable`, or `CoinbaseInvalid`."""
    if len(data) <= HEADER_BYTES:
        raise BlockUnreadable(reason=f"{len(data)} bytes")
    header = data[:HEADER_BYTES]
    count, at = _compact_size(data, HEADER_BYTES)
    coinbase, rest = split_coinbase(data[at:])
    values = []
    at = 0
    while at < len(rest):
        end = _value_end(rest, at)
        values.append(rest[at:end])
        at = end
    if values and 1 + len(values) != count:
        raise BlockUnreadable(reason=f"it counts {count} transactions and has {1 + len(values)}")
    return BlockParts(header, Header.decode(header), coinbase, tuple(values))


def _compact_size(data: bytes, at: int) -> tuple[int, int]:
    form = _SIZES.get(data[at])
    if form is None:
        return data[at], at + 1
    end = at + 1 + struct.calcsize(form)
    if end > len(data):
        raise BlockUnreadable(reason="it ends within the number of transactions")
    return int(struct.unpack(form, data[at + 1 : end])[0]), end


def _value_end(data: bytes, at: int) -> int:
    """Where the MessagePack value ends that begins there; only the kinds that our values have."""
    pending = [1]  # values still to come, by depth
    while pending:
        if not pending[-1]:
            pending.pop()
            continue
        pending[-1] -= 1
        size, items, at = _head(data, at)
        at += size
        if items:
            pending.append(items)
        if len(pending) > NESTING_MAX or at > len(data):
            raise BlockUnreadable(reason="a transaction does not end where it should")
    return at


def _head(data: bytes, at: int) -> tuple[int, int, int]:
    """Bytes of a value's content, values within it, and where both begin."""
    if at >= len(data):
        raise BlockUnreadable(reason="it ends within a transaction")
    first, at = data[at], at + 1
    if first < 0x80 or first >= 0xE0:
        return 0, 0, at
    if 0x90 <= first <= 0x9F:
        return 0, first & 0x0F, at
    if 0xA0 <= first <= 0xBF:
        return first & 0x1F, 0, at
    if first in _FIXED:
        return _FIXED[first], 0, at
    width = _COUNTED.get(first) or _ARRAYS.get(first)
    if width is None:
        raise BlockUnreadable(reason=f"byte {first:#04x} begins no value of a transaction")
    number = int.from_bytes(data[at : at + width], "big")
    at += width
    return (number, 0, at) if first in _COUNTED else (0, number, at)
