"""SHA-256 inside out: equal to hashlib for any message, and the constants of the standard."""

import hashlib
import struct

from hypothesis import given
from hypothesis import strategies as st

from chaind.miner.sha256 import BLOCK_BYTES, INITIAL_STATE, ROUND_CONSTANTS, compress


def sha256_by_compress(message: bytes) -> bytes:
    """FIPS 180-4, 5.1.1: a one, zeros, the length in bits."""
    fill = -(len(message) + 9) % BLOCK_BYTES
    padded = message + b"\x80" + bytes(fill) + struct.pack(">Q", 8 * len(message))
    state = INITIAL_STATE
    for at in range(0, len(padded), BLOCK_BYTES):
        state = compress(state, padded[at : at + BLOCK_BYTES])
    return struct.pack(">8I", *state)


def test_the_constants_are_the_standards() -> None:
    """The ends of the tables in FIPS 180-4, 4.2.2 and 5.3.3."""
    assert INITIAL_STATE[:2] == (0x6A09E667, 0xBB67AE85)
    assert INITIAL_STATE[-1] == 0x5BE0CD19
    assert ROUND_CONSTANTS[:2] == (0x428A2F98, 0x71374491)
    assert ROUND_CONSTANTS[-1] == 0xC67178F2
    assert (len(INITIAL_STATE), len(ROUND_CONSTANTS)) == (8, 64)


@given(st.binary(max_size=200))
def test_it_is_the_hash_of_hashlib(message: bytes) -> None:
    assert sha256_by_compress(message) == hashlib.sha256(message).digest()
