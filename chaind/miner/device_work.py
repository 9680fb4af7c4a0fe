"""What a card is told of a header: all that its nonces have in common, made once, by plain Python.

The order is that of `struct fixed` in sha256d.cu. SHA-256 sees a header's second block as words
0 … 15: the end of the Merkle root, time, bits, the nonce with its bytes turned, padding, length.
"""

import struct
from typing import NamedTuple

from chaind.miner.sha256 import (
    BLOCK_BYTES,
    INITIAL_STATE,
    MASK,
    ROUND_CONSTANTS,
    advance,
    compress,
    far_sum,
    near_sum,
)

PADDING = 0x8000_0000
LENGTH = 640  # bits of a header
POWERS = (1, 1 << 22, 1 << 25, 1 << 29)
FIXED_WORDS = 31


class Fixed(NamedTuple):
    """Eight words are `state`, eight `begun`, three `given`; see `struct fixed`."""

    state: tuple[int, ...]
    begun: tuple[int, ...]
    given: tuple[int, ...]
    word16: int
    word17: int
    given16: int
    given17: int
    part18: int
    part19: int
    part31: int
    part32: int

    def words(self) -> tuple[int, ...]:
        """As they lie in memory."""
        return (*self.state, *self.begun, *self.given, *self[3:], *POWERS)


def fixed_of(prefix: bytes) -> Fixed:
    """`prefix`: the header without its nonce, 76 bytes."""
    state = compress(INITIAL_STATE, prefix[:BLOCK_BYTES])
    words = struct.unpack(">3I", prefix[BLOCK_BYTES:])
    begun = state
    for t, word in enumerate((*words, 0)):  # a nonce of 0 adds nothing to a and e
        begun = advance(begun, ROUND_CONSTANTS[t] + word)
    word16 = words[0] + far_sum(words[1]) & MASK
    word17 = words[1] + far_sum(words[2]) + near_sum(LENGTH) & MASK
    return Fixed(
        state=state,
        begun=begun,
        given=(
            begun[7] + ROUND_CONSTANTS[4] + PADDING & MASK,
            begun[6] + ROUND_CONSTANTS[5] & MASK,
            begun[5] + ROUND_CONSTANTS[6] & MASK,
        ),
        word16=word16,
        word17=word17,
        given16=word16 + ROUND_CONSTANTS[16] & MASK,
        given17=word17 + ROUND_CONSTANTS[17] & MASK,
        part18=words[2] + near_sum(word16) & MASK,
        part19=far_sum(PADDING) + near_sum(word17) & MASK,
        part31=far_sum(word16) + LENGTH & MASK,
        part32=far_sum(word17) + word16 & MASK,
    )
