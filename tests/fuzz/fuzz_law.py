"""What a decoder under fuzzing is, and what all of them share."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

from chaind.primitives.address import (
    AddressFormat,
)
from chaind.primitives.codec import Decoder as Canonical
from chaind.primitives.codec import encode
from chaind.primitives.errors import Malformed

VECTORS = Path(__file__).parents[1] / "vectors"
ADDRESSES = AddressFormat(hrp="chd", p2pkh_version=0x1C)
CHAIN_HASH = bytes(range(32))
HASH = b"\x5a" * 32
PACKED = "messagepack"


class Decoder(NamedTuple):
    """See the module's law."""

    read: Callable[[bytes], object]
    samples: tuple[bytes, ...]
    refusals: tuple[type[Exception], ...] = (Malformed,)
    shape: str = "bytes"  # or a name of `fuzz_mutators.SHAPES`


def vectors(name: str) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((VECTORS / f"{name}.json").read_text())
    return found


def hexes(*values: str) -> tuple[bytes, ...]:
    return tuple(bytes.fromhex(value) for value in values)


def same(again: bytes, data: bytes) -> None:
    """What is accepted is the one way of writing it."""
    assert again == data, f"accepted {data.hex()}, writes {again.hex()}"


def rows(decoder: Canonical[Any]) -> Callable[[bytes], None]:
    return lambda data: same(encode(decoder.decode(data)), data)
