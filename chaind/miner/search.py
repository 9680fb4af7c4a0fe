"""What every kernel does, and the one that is obvious: hash each nonce of a range by hashlib."""

import hashlib
from typing import Protocol

from chaind.primitives.block import HEADER_BYTES
from chaind.primitives.hashes import sha256d

NONCE_BYTES = 4
NONCES = 1 << 8 * NONCE_BYTES
PREFIX_BYTES = HEADER_BYTES - NONCE_BYTES  # what of a header stays while its nonce is searched

BLOCK_0 = bytes.fromhex(  # of Bitcoin's main net, without its nonce: what every kernel must find
    "01000000000000000000000000000000000000000000000000000000000000000000000"
    "03ba3edfd7a7b12b27ac72c3e67768f617fc81bc3888a51323a9fb8aa4b1e5e4a29ab5f49ffff001d"
)
BLOCK_0_NONCE = 2083236893


class Kernel(Protocol):
    """Finds nonces. `name` tells which kernel it is."""

    @property
    def name(self) -> str:
        """As the benchmark's table shows it."""

    def find(self, *, prefix: bytes, target: int, first: int, end: int) -> int | None:
        """The lowest nonce of first ≤ nonce < end whose header hashes to `target` or below.

        `prefix` is the header without its nonce, 76 bytes.
        """


def check_range(prefix: bytes, first: int, end: int) -> None:
    """What a caller owes to every kernel."""
    assert len(prefix) == PREFIX_BYTES
    assert 0 <= first <= end <= NONCES


def meets(prefix: bytes, nonce: int, target: int) -> bool:
    """Has the header of `nonce` done the work? By hashlib, whatever found the nonce."""
    digest = sha256d(prefix + nonce.to_bytes(NONCE_BYTES, "little"))
    return int.from_bytes(digest, "little") <= target


class Reference:
    """Slow and obvious; every other kernel is held against it."""

    name = "hashlib"

    def find(self, *, prefix: bytes, target: int, first: int, end: int) -> int | None:
        """See `Kernel`. The hash of the first 64 bytes is kept, as everywhere."""
        check_range(prefix, first, end)
        begun = hashlib.sha256(prefix)
        for nonce in range(first, end):
            inner = begun.copy()
            inner.update(nonce.to_bytes(NONCE_BYTES, "little"))
            digest = hashlib.sha256(inner.digest()).digest()
            if int.from_bytes(digest, "little") <= target:
                return nonce
        return None
