"""Work as numbers: compact bits, targets, expected hashes, and the parameters of a mined chain.

Bitcoin writes a 256-bit target into 32 bits as a floating-point number of base 256: an exponent
byte, a sign bit and 23 bits of mantissa. What it allows is wider than what a chain accepts, so
reading is one thing (`read_bits`, total) and accepting another (`target_of`, which raises).
"""

from typing import Literal, NamedTuple

import msgspec

from chaind.primitives.errors import PeerFault, RuleBroken

TARGET_BITS = 256
BITS_MAX = 0xFFFF_FFFF
_SIGN = 0x0080_0000
_MANTISSA = 0x007F_FFFF


class BitsInvalid(RuleBroken, PeerFault):
    """Compact bits that no header of the chain may carry."""

    code = "bits-invalid"
    text = "bits {bits:#010x} are refused: {reason}"
    advice = "Write the target as Bitcoin does, in its shortest form, such as 0x1d00ffff."


class CompactNumber(NamedTuple):
    """What compact bits say. `magnitude` is exact, also where it overflows 256 bits."""

    magnitude: int
    negative: bool
    overflow: bool


def read_bits(bits: int) -> CompactNumber:
    """The number in `bits`, a 32-bit integer; Bitcoin's SetCompact. A zero has no sign."""
    assert 0 <= bits <= BITS_MAX
    exponent, mantissa = bits >> 24, bits & _MANTISSA
    shift = 8 * (exponent - 3)
    magnitude = mantissa << shift if shift >= 0 else mantissa >> -shift
    # Bitcoin takes the sign from the mantissa after the bytes that do not fit are dropped.
    negative = magnitude != 0 and bits & _SIGN != 0
    return CompactNumber(magnitude, negative, magnitude >> TARGET_BITS != 0)


def to_bits(target: int) -> int:
    """The canonical bits of `target`, cut to the bytes that fit; Bitcoin's GetCompact."""
    assert 0 <= target < 1 << TARGET_BITS
    size = (target.bit_length() + 7) // 8
    shift = 8 * (size - 3)
    mantissa = target >> shift if shift >= 0 else target << -shift
    if mantissa & _SIGN:  # would read as negative
        mantissa >>= 8
        size += 1
    return size << 24 | mantissa


def target_of(bits: int) -> int:
    """The target that `bits` stand for. Raises `BitsInvalid` unless 0 < target < 2²⁵⁶, canonical.

    Bitcoin compares bits with the ones it computed itself, which are canonical, and so refuses
    the others too.
    """
    number = read_bits(bits)
    if number.negative:
        raise BitsInvalid(bits=bits, reason="the target is negative")
    if number.overflow:
        raise BitsInvalid(bits=bits, reason="the target exceeds 256 bits")
    if number.magnitude == 0:
        raise BitsInvalid(bits=bits, reason="the target is zero")
    canonical = to_bits(number.magnitude)
    if bits != canonical:
        raise BitsInvalid(bits=bits, reason=f"the same target is written {canonical:#010x}")
    return number.magnitude


def work_of(target: int) -> int:
    """Hashes expected until one is at or below `target`: ⌊2²⁵⁶ / (target + 1)⌋."""
    return (1 << TARGET_BITS) // (target + 1)


class WorkParameters(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """What all nodes of a mined chain must agree on. Times in ms; 0 switches a time rule off.

    `retarget` names the rule: `bitcoin` (every `window` blocks, by their time), `bitcoin-bip94`
    (the same, and a window may not begin long before its predecessor ended), `asert` (every block,
    by the distance from the schedule; off by a factor of two per `half_life_ms`). No target is
    above that of `limit_bits`.
    """

    retarget: Literal["bitcoin", "bitcoin-bip94", "asert"]
    limit_bits: int
    target_spacing_ms: int
    window: int = 2016
    half_life_ms: int = 172_800_000  # two days, as its authors chose for ten-minute blocks
    max_future_ms: int = 7_200_000
    min_block_interval_ms: int = 0

    @property
    def window_ms(self) -> int:
        """How long a window should take."""
        return self.window * self.target_spacing_ms


BITCOIN_MAIN = WorkParameters(retarget="bitcoin", limit_bits=0x1D00FFFF, target_spacing_ms=600_000)
BITCOIN_MAIN_GENESIS = bytes.fromhex(
    "6fe28c0ab6f1b372c1a6a246ae63f74f931e8365e15a089c68d6190000000000"
)
