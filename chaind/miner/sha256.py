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


def near_sum(word: int) -> int:
    """σ₁, of the word two before in the schedule."""
    return _rotated(word, 17) ^ _rotated(word, 19) ^ word >> 10


def far_sum(word: int) -> int:
    """σ₀, of the word fifteen before in the schedule."""
    return _rotated(word, 7) ^ _rotated(word, 18) ^ word >> 3


def advance(state: Sequence[int], given: int) -> tuple[int, ...]:
    """One round on the working variables a … h; `given` is its constant and its word, added."""
    a, b, c, d, e, f, g, h = state
    first = h + (_rotated(e, 6) ^ _rotated(e, 11) ^ _rotated(e, 25)) + (e & f ^ ~e & g) + given
    second = (_rotated(a, 2) ^ _rotated(a, 13) ^ _rotated(a, 22)) + (a & b ^ a & c ^ b & c)
    return (first + second & MASK, a, b, c, d + first & MASK, e, f, g)


def compress(state: Sequence[int], block: bytes) -> tuple[int, ...]:
    """The state of eight words after one more block of 64 bytes."""
    words = list(_WORDS.unpack(block))
    for t in range(16, ROUNDS):
        near, far = near_sum(words[t - 2]), far_sum(words[t - 15])
        words.append(near + words[t - 7] + far + words[t - 16] & MASK)
    variables = tuple(state)
    for constant, word in zip(ROUND_CONSTANTS, words, strict=True):
        variables = advance(variables, constant + word)
    return tuple(before + after & MASK for before, after in zip(state, variables, strict=True))
