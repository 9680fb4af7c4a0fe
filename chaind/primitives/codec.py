"""Canonical MessagePack: one value, one encoding.

msgspec decodes and checks types in one pass. What it accepts beyond the canonical form (longer
integer and length forms, trailing array elements) is refused by encoding the result again and
comparing, so that no two byte strings ever mean the same value.
"""

from typing import Any, Generic, TypeVar

import msgspec

from chaind.primitives.errors import Malformed, PeerFault

T = TypeVar("T")

_encoder = msgspec.msgpack.Encoder()
encode = _encoder.encode


class Undecodable(Malformed, PeerFault):
    """Not MessagePack, or not of the shape that the type demands."""

    code = "undecodable"
    text = "{what} does not decode: {reason}"
    advice = "Build it with a wallet of this version: one canonical MessagePack array, no more."


class NonCanonical(Malformed, PeerFault):
    """Decodes, but is not the one canonical encoding of its value."""

    code = "non-canonical"
    text = "{what} is not in canonical encoding: {length} bytes given, {canonical} expected"
    advice = "Use the shortest form of every integer and length, and no trailing bytes."


class Decoder(Generic[T]):
    """Decodes one type from canonical bytes; raises `Undecodable` or `NonCanonical`."""

    def __init__(self, what: str, kind: Any) -> None:
        self.what = what
        self._decode = msgspec.msgpack.Decoder(kind).decode

    def decode(self, data: bytes) -> T:
        """The value of `data`, which must be its canonical encoding to the last byte."""
        value = self.decode_lenient(data)
        again = encode(value)
        if again != data:
            raise NonCanonical(what=self.what, length=len(data), canonical=len(again))
        return value

    def decode_lenient(self, data: bytes) -> T:
        """The value of `data` where the caller compares encodings itself."""
        try:
            value: T = self._decode(data)
        except (msgspec.DecodeError, UnicodeDecodeError) as error:  # strings are raised apart
            raise Undecodable(what=self.what, reason=str(error)) from None
        except RecursionError:  # nested deeper than any value of ours
            raise Undecodable(what=self.what, reason="nested too deeply") from None
        return value
