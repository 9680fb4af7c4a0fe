"""The coinbase: transaction 0 of every block, in Bitcoin's serialisation.

Mining devices parse height (BIP-34) and outputs out of it, so its shape is Bitcoin's to the byte.
In `bft` it pays nothing and is a function of the height alone.
"""

import struct
from collections.abc import Sequence

import msgspec

from chaind.primitives.address import KEY_ADDRESS_BYTES, POLICY_ADDRESS_BYTES
from chaind.primitives.amounts import AMOUNT_MAX
from chaind.primitives.errors import Malformed, PeerFault

COINBASE_BYTES_MIN = 65  # 64 bytes would pass for a Merkle node
COINBASE_BYTES_MAX = 4096  # room for every extranonce, tag and payout that real pools use
SCRIPT_SIG_BYTES = (2, 100)  # Bitcoin's bad-cb-length bounds
OUTPUTS_MAX = 64
_NULL_OUTPOINT = bytes(32) + b"\xff\xff\xff\xff"
_OP_RETURN = 0x6A
TAG = b"/chaind/"  # what pools write to be known by; keeps the shortest coinbase above 64 bytes


class CoinbaseInvalid(Malformed, PeerFault):
    """Not a coinbase of the shape that Bitcoin defines."""

    code = "coinbase-invalid"
    text = "coinbase is refused: {reason}"


class CoinbaseOutput(msgspec.Struct, frozen=True):
    """`address` is None for OP_RETURN outputs, whose value is 0."""

    address: bytes | None
    amount: int


class Coinbase(msgspec.Struct, frozen=True):
    """What the ledger reads in a coinbase."""

    height: int
    outputs: tuple[CoinbaseOutput, ...]


def push_height(height: int) -> bytes:
    """BIP-34 height push in Core's minimal form: OP_0, OP_1…OP_16, else a script number."""
    if height == 0:
        return b"\x00"
    if height <= 16:
        return bytes([0x50 + height])
    number = height.to_bytes(height.bit_length() // 8 + 1, "little")  # top bit is the sign
    return bytes([len(number)]) + number


def compact_size(value: int) -> bytes:
    """Bitcoin's variable-length integer."""
    if value < 0xFD:
        return bytes([value])
    if value <= 0xFFFF:
        return b"\xfd" + struct.pack("<H", value)
    return b"\xfe" + struct.pack("<I", value)


def address_script(address: bytes) -> bytes:
    """P2PKH of a key address, P2WSH of a policy address."""
    if len(address) == KEY_ADDRESS_BYTES:
        return b"\x76\xa9\x14" + address + b"\x88\xac"
    assert len(address) == POLICY_ADDRESS_BYTES
    return b"\x00\x20" + address


def script_address(script: bytes) -> bytes | None:
    """Address of a P2PKH, P2WPKH or P2WSH script; None for OP_RETURN.

    Raises `CoinbaseInvalid` for every other script: the ledger could not spend it.
    """
    if len(script) == 25 and script[:3] == b"\x76\xa9\x14" and script[23:] == b"\x88\xac":
        return script[3:23]
    if script[:2] in (b"\x00\x14", b"\x00\x20") and len(script) == 2 + script[1]:
        return script[2:]
    if script[:1] == bytes([_OP_RETURN]):
        return None
    raise CoinbaseInvalid(reason=f"output script {script.hex()[:80]} is of no known kind")


def encode_coinbase(
    height: int, extra: bytes = TAG, outputs: Sequence[tuple[bytes, int]] = ()
) -> bytes:
    """Coinbase bytes paying `outputs` = (script, base units); `extra` follows the height push.

    Without outputs one empty OP_RETURN stands in, since Bitcoin demands an output.
    """
    script_sig = push_height(height) + extra
    if len(script_sig) < SCRIPT_SIG_BYTES[0]:
        script_sig += b"\x00"
    assert len(script_sig) <= SCRIPT_SIG_BYTES[1]
    paid = outputs or ((bytes([_OP_RETURN]), 0),)
    body = b"".join(
        struct.pack("<q", amount) + compact_size(len(script)) + script for script, amount in paid
    )
    coinbase = (
        struct.pack("<i", 1)
        + b"\x01"
        + _NULL_OUTPOINT
        + compact_size(len(script_sig))
        + script_sig
        + b"\xff\xff\xff\xff"
        + compact_size(len(paid))
        + body
        + struct.pack("<I", 0)
    )
    assert len(coinbase) >= COINBASE_BYTES_MIN
    return coinbase


class _Cursor:
    """Reads Bitcoin's serialisation; every over-run is a `CoinbaseInvalid`."""

    def __init__(self, data: bytes) -> None:
        self.data = data
        self.at = 0

    def take(self, count: int) -> bytes:
        piece = self.data[self.at : self.at + count]
        if len(piece) != count:
            raise CoinbaseInvalid(reason="ends too early")
        self.at += count
        return piece

    def size(self) -> int:
        first = self.take(1)[0]
        if first < 0xFD:
            return first
        value = int.from_bytes(
            self.take(2 if first == 0xFD else 4 if first == 0xFE else 8), "little"
        )
        if value > COINBASE_BYTES_MAX or compact_size(value)[0] != first:
            raise CoinbaseInvalid(reason="a length is not minimal or out of range")
        return value


def parse_coinbase(data: bytes) -> Coinbase:
    """Height and outputs of coinbase bytes. Raises `CoinbaseInvalid`."""
    if not COINBASE_BYTES_MIN <= len(data) <= COINBASE_BYTES_MAX:
        raise CoinbaseInvalid(reason=f"{len(data)} bytes")
    cursor = _Cursor(data)
    cursor.take(4)
    if cursor.take(1) != b"\x01" or cursor.take(36) != _NULL_OUTPOINT:
        raise CoinbaseInvalid(reason="exactly one null input is needed")
    script_sig = cursor.take(cursor.size())
    if not SCRIPT_SIG_BYTES[0] <= len(script_sig) <= SCRIPT_SIG_BYTES[1]:
        raise CoinbaseInvalid(reason=f"script of {len(script_sig)} bytes")
    cursor.take(4)
    count = cursor.size()
    if not 1 <= count <= OUTPUTS_MAX:
        raise CoinbaseInvalid(reason=f"{count} outputs")
    outputs = []
    for _ in range(count):
        amount = int.from_bytes(cursor.take(8), "little")
        if amount > AMOUNT_MAX:  # Bitcoin's bad-txns-vout-negative
            raise CoinbaseInvalid(reason=f"output of {amount} base units")
        address = script_address(cursor.take(cursor.size()))
        if address is None and amount:
            raise CoinbaseInvalid(reason="OP_RETURN output with a value")
        outputs.append(CoinbaseOutput(address=address, amount=amount))
    cursor.take(4)
    if cursor.at != len(data):
        raise CoinbaseInvalid(reason="bytes follow the lock time")
    return Coinbase(height=_parse_height(script_sig), outputs=tuple(outputs))


def split_coinbase(data: bytes) -> tuple[bytes, bytes]:
    """The coinbase that `data` begins with, and what follows it. Raises `CoinbaseInvalid`."""
    cursor = _Cursor(data[:COINBASE_BYTES_MAX])
    cursor.take(4)
    if cursor.take(1) != b"\x01":
        raise CoinbaseInvalid(reason="exactly one null input is needed")
    cursor.take(36)
    cursor.take(cursor.size())
    cursor.take(4)
    for _ in range(cursor.size()):
        cursor.take(8)
        cursor.take(cursor.size())
    cursor.take(4)
    return data[: cursor.at], data[cursor.at :]


def _parse_height(script_sig: bytes) -> int:
    """BIP-34, in Core's minimal form."""
    first = script_sig[0]
    if first == 0:
        height = 0
    elif 0x51 <= first <= 0x60:
        height = first - 0x50
    else:
        height = int.from_bytes(script_sig[1 : 1 + min(first, 8)], "little")
    if not script_sig.startswith(push_height(height)):
        raise CoinbaseInvalid(reason="does not begin with the height (BIP-34)")
    return height
