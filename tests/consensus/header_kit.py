"""Chains of real, easy work: headers mined here by trying nonces."""

import struct
from collections.abc import Sequence
from itertools import count, pairwise

from chaind.consensus.pow.retarget import Anchor, retarget_asert, retarget_window
from chaind.primitives.block import HEADER_BYTES, Header
from chaind.primitives.hashes import ZERO_HASH, sha256d
from chaind.primitives.work import WorkParameters, target_of

EASY = 0x207FFFFF  # one hash in two
BEGIN = 1_700_000_000
NOW = BEGIN + 10_000_000


def mine(*, parent: bytes, time: int, bits: int, done: bool = True) -> bytes:
    """A header whose hash meets its bits, or, where it is not `done`, does not."""
    root = sha256d(parent + struct.pack("<I", time))
    for nonce in count():
        header = Header(1, parent, root, time, bits, nonce).encode()
        if (int.from_bytes(sha256d(header), "little") <= target_of(bits)) is done:
            return header
    raise AssertionError("count() does not end")


def mine_chain(times: Sequence[int], parameters: WorkParameters) -> list[bytes]:
    """One header per time, from block 0, with the bits that the rule gives."""
    chain: list[bytes] = []
    bits = parameters.limit_bits
    for height, time in enumerate(times):
        if parameters.retarget == "asert" and height > 1:
            bits = retarget_asert(
                anchor=Anchor(height=1, bits=parameters.limit_bits, parent_time=times[0]),
                height=height - 1,
                time=times[height - 1],
                parameters=parameters,
            )
        elif parameters.retarget != "asert" and height and height % parameters.window == 0:
            bits = retarget_window(
                bits=bits,
                first_time=times[height - parameters.window],
                last_time=times[height - 1],
                parameters=parameters,
            )
        parent = sha256d(chain[-1]) if chain else ZERO_HASH
        chain.append(mine(parent=parent, time=time, bits=bits))
    return chain


def changes(chain: Sequence[bytes]) -> int:
    """How many headers carry other bits than their parent."""
    bits = [Header.decode(header).bits for header in chain]
    return sum(before != after for before, after in pairwise(bits))


def altered(chain: Sequence[bytes], height: int, **fields: int | bytes) -> bytes:
    """The header at `height` with other fields, mined again."""
    old = Header.decode(chain[height])
    header = {"parent": old.parent, "time": old.time, "bits": old.bits, **fields}
    return mine(**header)  # type: ignore[arg-type]


def flip(data: bytes, bit: int) -> bytes:
    """`data` with one bit changed."""
    number = int.from_bytes(data, "little") ^ 1 << bit
    return number.to_bytes(HEADER_BYTES, "little")
