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
HEADS_MAX = 1 << 20  # values within values: a full block of small payments has half as many
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
    """What was read without looking into it. `number` is of all transactions, `rest` the bytes of
    commitment and transactions, or nothing."""

    raw_header: bytes
    header: Header
    number: int
    coinbase: bytes
    rest: bytes

    @property
    def hash(self) -> bytes:
        """The header's."""
        return sha256d(self.raw_header)

    def is_of(self, plan: Plan) -> bool:
        """Whether what follows the coinbase is what a plan has, or nothing."""
        if not self.rest:
            return True
        raws = [transaction.raw for transaction in plan.transactions]
        return self.rest == plan.committed + b"".join(raws)

    def block(self, plan: Plan | None) -> Block:
        """The block; a plan is for one that lacks its transactions, or has the plan's.

        Raises `BlockUnreadable`, `MerkleMismatch`, `CoinbaseInvalid`, `Undecodable` or
        `NonCanonical`.
        """
        if plan is not None:
            committed, transactions = plan.committed, plan.transactions
        else:
            committed, *raws = split_values(self.rest)
            if 2 + len(raws) != self.number:
                raise BlockUnreadable(
                    reason=f"it counts {self.number} transactions and has {2 + len(raws)}"
                )
            transactions = tuple(map(Transaction.decode, raws))
        return Block.rebuild(self.raw_header, self.coinbase, committed, transactions)


def parse_parts(data: bytes) -> BlockParts:
    """Raises `BlockUnreadable`, or `CoinbaseInvalid`."""
    if len(data) <= HEADER_BYTES:
        raise BlockUnreadable(reason=f"{len(data)} bytes")
    header = data[:HEADER_BYTES]
    count, at = _compact_size(data, HEADER_BYTES)
    coinbase, rest = split_coinbase(data[at:])
    return BlockParts(header, Header.decode(header), count, coinbase, rest)


def split_values(data: bytes) -> list[bytes]:
    """MessagePack values that stand side by side, at least one. Raises `BlockUnreadable`."""
    found: list[bytes] = []
    at, heads = 0, HEADS_MAX
    while at < len(data) or not found:
        end, heads = _value_end(data, at, heads)
        found.append(data[at:end])
        at = end
    return found


def _compact_size(data: bytes, at: int) -> tuple[int, int]:
    form = _SIZES.get(data[at])
    if form is None:
        return data[at], at + 1
    end = at + 1 + struct.calcsize(form)
    if end > len(data):
        raise BlockUnreadable(reason="it ends within the number of transactions")
    return int(struct.unpack(form, data[at + 1 : end])[0]), end


def _value_end(data: bytes, at: int, heads: int) -> tuple[int, int]:
    """Where the MessagePack value ends that begins there, and how many heads may still come."""
    pending = [1]  # values still to come, by depth
    while pending:
        if not pending[-1]:
            pending.pop()
            continue
        pending[-1] -= 1
        size, items, at = _head(data, at)
        at += size
        heads -= 1
        if items:
            pending.append(items)
        if len(pending) > NESTING_MAX or at > len(data) or heads < 0:
            raise BlockUnreadable(reason="a transaction does not end where it should")
    return at, heads


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
