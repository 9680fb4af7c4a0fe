"""Accidents that happen to bytes, and to the values that they encode.

Most of a decoder's work is done in C, where coverage sees nothing: bytes changed blindly fail at
the first length. So half of the mutations change a value inside and encode it again.
"""

import json
from collections.abc import Callable
from random import Random
from typing import Any

import msgpack

NASTY = (b"\0", b"\xff", b"\xc1", b"\x80", b"\x90", b"\xdf\xff\xff\xff\xff",
         b"\xc6\xff\xff\xff\xff", b"\x7f\xff\xff\xff", b"\xff\xff\xff\xff", b'"', b"\\", b"\n",
         b"[" * 50, b"{" * 50, b"(" * 50, b"1e999", b"NaN", b"-", b"9" * 30, b"\xed\xa0\x80",
         b"\\ud800")  # fmt: skip
VALUES: tuple[Any, ...] = (
    None, True, False, 0, 1, -1, 2**31, 2**53, 2**63 - 1, 2**63, 2**64 - 1, -(2**63), 0.5,
    "", "a", "COIN", "x" * 70, "\0", "é", [], [[]], {}, {"raw": ""}, "00", "-1", "1.5", "1e9",
)  # fmt: skip
BLOBS = (b"", b"\0", bytes(20), bytes(32), bytes(33), bytes(64), bytes(65), b"\x02" + bytes(32))


def damaged(dice: Random, samples: tuple[bytes, ...]) -> bytes:
    """One of the samples after one to four accidents to its bytes."""
    data = bytearray(dice.choice(samples))
    for _ in range(dice.randint(1, 4)):
        at = dice.randint(0, len(data))
        match dice.randrange(7):
            case 0:
                data[at : at + 1] = dice.randbytes(1)
            case 1 if at < len(data):
                data[at] ^= 1 << dice.randrange(8)
            case 2:
                data[at:at] = dice.choice(NASTY)
            case 3:
                del data[at : at + dice.randint(1, 40)]
            case 4:
                del data[at:]
            case 5:
                end = dice.randint(at, len(data))
                data[at:at] = data[at:end]
            case 6:
                other = dice.choice(samples)
                start = dice.randint(0, len(other))
                data[at:] = other[start:]
    return bytes(data)


def _change(dice: Random, root: Any, values: tuple[Any, ...]) -> Any:
    """The tree with something in it replaced, nudged, repeated, removed or wrapped."""
    holder: list[Any] = [root]
    node: Any = holder
    at: Any = 0
    while True:
        below = node[at]
        if not isinstance(below, (list, dict)) or not below or dice.random() < 0.2:
            break
        node, at = (
            below,
            dice.choice(list(below)) if isinstance(below, dict) else dice.randrange(len(below)),
        )
    match dice.randrange(6):
        case 0 | 1:
            node[at] = dice.choice(values)
        case 2 if isinstance(node[at], (int, float)):
            node[at] += dice.choice((-1, 1, 2**32))
        case 2 | 3 if isinstance(node[at], (bytes, str)) and node[at]:
            cut = dice.randrange(len(node[at]))
            node[at] = node[at][:cut] + node[at][cut + dice.randint(0, 2) :]
        case 4 if isinstance(node, list) and node is not holder:
            node.insert(at, node[at])
        case 5 if isinstance(node, list) and node is not holder:
            del node[at]
        case _:
            node[at] = [node[at]]
    return holder[0]


def messagepack(data: bytes, dice: Random) -> bytes:
    """A changed value; other MessagePack or none comes back as it is."""
    try:
        tree = msgpack.unpackb(data, strict_map_key=False)
        return bytes(msgpack.packb(_change(dice, tree, VALUES + BLOBS)))
    except (ValueError, TypeError, OverflowError, msgpack.UnpackException):
        return data


def json_text(data: bytes, dice: Random) -> bytes:
    """A changed value; what is no JSON comes back as it is."""
    try:
        return json.dumps(_change(dice, json.loads(data), VALUES)).encode()
    except (ValueError, TypeError, RecursionError):
        return data


SHAPES: dict[str, Callable[[bytes, Random], bytes]] = {
    "messagepack": messagepack,
    "json": json_text,
}
