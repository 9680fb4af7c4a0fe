"""A block that waits for its work: what every miner varies in it, and the header that comes out.

    coinbase = head ‖ extranonce ‖ tail
    root     = fold(sha256d(coinbase), branch)
    header   = version ‖ parent ‖ root ‖ time ‖ bits ‖ nonce

The same template serves Stratum and getblocktemplate. Hashes are raw digests, times Unix seconds.
"""

import struct
from collections.abc import Sequence

import msgspec

from chaind.primitives.hashes import merkle_path, sha256d
from chaind.primitives.work import target_of

EXTRANONCE1_BYTES = 4  # the server's, one per connection
EXTRANONCE2_BYTES = 4  # the miner's
EXTRANONCE_BYTES = EXTRANONCE1_BYTES + EXTRANONCE2_BYTES
VERSION_MASK = 0x1FFFE000  # bits that a miner may roll (BIP-320)
DIFFICULTY_1 = 0xFFFF << 208  # the share target of difficulty 1

_HEADER = struct.Struct("<I32s32sIII")


class Template(msgspec.Struct, frozen=True, kw_only=True):
    """A block without its work. `id` is unique among all templates of the process.

    `branch` folds the coinbase's hash into the Merkle root. A header's time lies within `time_min`
    and `time_max`.
    """

    id: str
    height: int
    version: int
    parent: bytes
    bits: int
    time: int
    time_min: int
    time_max: int
    coinbase_head: bytes
    coinbase_tail: bytes
    branch: tuple[bytes, ...]

    @property
    def target(self) -> int:
        """What the header's hash, as a little-endian number, must not exceed."""
        return target_of(self.bits)

    def coinbase(self, extranonce: bytes) -> bytes:
        """The coinbase of one miner's extranonce."""
        assert len(extranonce) == EXTRANONCE_BYTES
        return self.coinbase_head + extranonce + self.coinbase_tail

    def header(self, *, extranonce: bytes, time: int, nonce: int, version: int) -> bytes:
        """The 80 bytes that were hashed for a share."""
        root = sha256d(self.coinbase(extranonce))
        for sibling in self.branch:
            root = sha256d(root + sibling)
        return _HEADER.pack(version, self.parent, root, time, self.bits, nonce)


def coinbase_branch(leaves: Sequence[bytes]) -> tuple[bytes, ...]:
    """The branch of a template, whose leaf 0 is the coinbase's and does not matter."""
    return merkle_path(leaves, 0)


def share_target(difficulty: float) -> int:
    """The target of a Stratum difficulty, which may be a fraction: (0xffff · 2²⁰⁸) / difficulty."""
    assert difficulty > 0
    return min(int(DIFFICULTY_1 / difficulty), (1 << 256) - 1)


def share_hashes(difficulty: float) -> float:
    """Hashes that a share of this difficulty takes on average."""
    return float(1 << 256) / (share_target(difficulty) + 1)
