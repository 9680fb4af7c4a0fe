"""SHA-256 below the surface, FIPS 180-4: what a kernel needs and hashlib does not show."""

import struct
from collections.abc import Sequence
from itertools import count, islice
from math import isqrt

MASK = 0xFFFF_FFFF
ROUNDS = 64
BLOCK_BYTES = 64
_WORDS = struct.Struct(">16I")


def _primes(number: int) -> list[int]:
    found: list[int] = []
    for candidate in count(2):
        if len(found) == number:
            break
        if all(candidate % prime for prime in found):
            found.append(candidate)
    return found


def _cube_root(value: int) -> int:
    """⌊∛value⌋, by halving."""
    low, high = 0, 1 << value.bit_length() // 3 + 1
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (middle, high) if middle**3 <= value else (low, middle)
    return low


# The first 32 bits of the fractions of roots of the first primes, FIPS 180-4, 4.2.2 and 5.3.3.
ROUND_CONSTANTS = tuple(_cube_root(prime << 96) & MASK for prime in _primes(ROUNDS))
INITIAL_STATE = tuple(isqrt(prime << 64) & MASK for prime in islice(_primes(ROUNDS), 8))


def _rotated(word: int, by: int) -> int:
    return (word >> by | word << 32 - by) & MASK


def compress(state: Sequence[int], block: bytes) -> tuple[int, ...]:
    """The state of eight words after one more block of 64 bytes."""
    words = list(_WORDS.unpack(block))
    for t in range(16, ROUNDS):
        near, far = words[t - 2], words[t - 15]
        mixed = _rotated(near, 17) ^ _rotated(near, 19) ^ near >> 10
        spread = _rotated(far, 7) ^ _rotated(far, 18) ^ far >> 3
        words.append(mixed + words[t - 7] + spread + words[t - 16] & MASK)
    a, b, c, d, e, f, g, h = state
    for constant, word in zip(ROUND_CONSTANTS, words, strict=True):
        first = h + (_rotated(e, 6) ^ _rotated(e, 11) ^ _rotated(e, 25))
        first += (e & f ^ ~e & g) + constant + word
        second = (_rotated(a, 2) ^ _rotated(a, 13) ^ _rotated(a, 22)) + (a & b ^ a & c ^ b & c)
        a, b, c, d, e, f, g, h = first + second & MASK, a, b, c, d + first & MASK, e, f, g
    added = zip(state, (a, b, c, d, e, f, g, h), strict=True)
    return tuple(before + after & MASK for before, after in added)
