"""Hash functions of the ledger. All digests are raw bytes in computation order.

Bitcoin shows block hashes and transaction ids byte-reversed; chaind reverses block hashes only
(`display_hash`), because mining software does, and shows every other digest as it is.
"""

import hashlib
from collections.abc import Sequence
from functools import cache

HASH_BYTES = 32
ZERO_HASH = bytes(HASH_BYTES)

_sha256 = hashlib.sha256


def sha256(data: bytes) -> bytes:
    """SHA-256, FIPS 180-4. 32 bytes."""
    return _sha256(data).digest()


def sha256d(data: bytes) -> bytes:
    """SHA-256 applied twice, Bitcoin's hash for blocks and transactions. 32 bytes."""
    return _sha256(_sha256(data).digest()).digest()


try:
    hashlib.new("ripemd160")
except ValueError:  # OpenSSL 3.0.0 to 3.0.6 keep RIPEMD-160 in the legacy provider only
    from Crypto.Hash import RIPEMD160

    def hash160(data: bytes) -> bytes:
        """RIPEMD-160 of SHA-256, Bitcoin's HASH160. 20 bytes."""
        digest: bytes = RIPEMD160.new(_sha256(data).digest()).digest()
        return digest
else:

    def hash160(data: bytes) -> bytes:
        """RIPEMD-160 of SHA-256, Bitcoin's HASH160. 20 bytes."""
        return hashlib.new("ripemd160", _sha256(data).digest(), usedforsecurity=False).digest()


def tagged_hash(tag: str, data: bytes) -> bytes:
    """Domain-separated hash for everything that is signed: sha256d(len(tag) ‖ tag ‖ data)."""
    return sha256d(_label(tag) + data)


@cache
def _label(tag: str) -> bytes:
    """A handful of constants, each needed thousands of times a second."""
    label = tag.encode("ascii")
    return bytes([len(label)]) + label


def display_hash(block_hash: bytes) -> str:
    """Block hash as people and mining software write it: byte-reversed hex."""
    return block_hash[::-1].hex()


def merkle_root(leaves: Sequence[bytes]) -> bytes:
    """Bitcoin's Merkle root over 32-byte leaves; an odd row repeats its last node.

    The repetition lets two different lists share a root (CVE-2012-2459): callers refuse lists
    for which `merkle_is_mutated` holds.
    """
    assert leaves, "a block has at least its coinbase"
    row = list(leaves)
    while len(row) > 1:
        if len(row) & 1:
            row.append(row[-1])
        row = [sha256d(row[i] + row[i + 1]) for i in range(0, len(row), 2)]
    return row[0]


def merkle_is_mutated(leaves: Sequence[bytes]) -> bool:
    """True where two equal siblings stand side by side in any row (CVE-2012-2459)."""
    row = list(leaves)
    while len(row) > 1:
        if any(row[i] == row[i + 1] for i in range(0, len(row) - 1, 2)):
            return True
        if len(row) & 1:
            row.append(row[-1])
        row = [sha256d(row[i] + row[i + 1]) for i in range(0, len(row), 2)]
    return False


def merkle_path(leaves: Sequence[bytes], index: int) -> tuple[bytes, ...]:
    """Sibling hashes from leaf `index` up to the root, lowest first."""
    assert 0 <= index < len(leaves)
    path: list[bytes] = []
    row = list(leaves)
    while len(row) > 1:
        if len(row) & 1:
            row.append(row[-1])
        path.append(row[index ^ 1])
        row = [sha256d(row[i] + row[i + 1]) for i in range(0, len(row), 2)]
        index >>= 1
    return tuple(path)


def merkle_root_from_path(leaf: bytes, index: int, path: Sequence[bytes]) -> bytes:
    """The root that `leaf` at `index` leads to along `path`. Inverse of `merkle_path`."""
    node = leaf
    for sibling in path:
        node = sha256d(sibling + node) if index & 1 else sha256d(node + sibling)
        index >>= 1
    return node
