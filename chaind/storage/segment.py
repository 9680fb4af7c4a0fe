"""How an append-only log lies on disk: segments, and the records in them.

Law: bytes in, values out; no file is touched here. Integers are little-endian.

    header   magic 8 | number 4 | end of the previous segment 8 | salt 8 | CRC-32 4
    record   marker 4 | length 4 | CRC-32 4 | payload

The header's checksum covers the log's name too, and seeds those of the segment's records, which
also cover offset and length: a record is valid in one place of one file only. The marker derives
from the same seed; no one who does not know the salt can make a payload that holds a record.
"""

import struct
import zlib
from dataclasses import dataclass
from typing import NamedTuple

MAGIC = b"chaindL\x01"  # the last byte is the version of the format
SALT_BYTES = 8

_HEADER = struct.Struct(f"<8sIQ{SALT_BYTES}s")
_RECORD = struct.Struct("<4sII")
_PLACE = struct.Struct("<QI")
_CHECKSUM = struct.Struct("<I")
HEADER_BYTES = _HEADER.size + _CHECKSUM.size
RECORD_BYTES = _RECORD.size  # what a record takes beside its payload


def record_size(head: bytes) -> int:
    """Bytes of the whole record that begins with `head`, as its length field claims."""
    _, length, _ = _RECORD.unpack_from(head)
    return RECORD_BYTES + int(length)


class Position(NamedTuple):
    """Where a record begins. Positions order as their records were appended."""

    segment: int
    offset: int


@dataclass(frozen=True, slots=True)
class Segment:
    """A segment's identity, and with it the code of its records."""

    number: int
    previous_end: int  # bytes of the segment before it; 0 for the first
    header: bytes
    seed: int
    marker: bytes

    @classmethod
    def make(cls, name: str, number: int, previous_end: int, salt: bytes) -> "Segment":
        fields = _HEADER.pack(MAGIC, number, previous_end, salt)
        seed = zlib.crc32(fields, zlib.crc32(name.encode()))
        marker = _CHECKSUM.pack(zlib.crc32(b"record", seed))
        return cls(number, previous_end, fields + _CHECKSUM.pack(seed), seed, marker)

    @classmethod
    def parse(cls, name: str, number: int, header: bytes) -> "Segment | None":
        """The segment with this header; None unless it is whole and belongs to this place."""
        if len(header) != HEADER_BYTES:
            return None
        _, _, previous_end, salt = _HEADER.unpack_from(header)
        segment = cls.make(name, number, previous_end, salt)
        return segment if segment.header == header else None

    def encode(self, offset: int, payload: bytes) -> bytes:
        length = len(payload)
        return _RECORD.pack(self.marker, length, self._checksum(offset, payload)) + payload

    def decode(self, data: bytes, offset: int, *, base: int = 0) -> bytes | None:
        """The payload of the record at `offset` of the file, whose bytes from `base` on are
        `data`; None unless a whole, valid record lies there."""
        at = offset - base
        if len(data) - at < RECORD_BYTES:
            return None
        marker, length, checksum = _RECORD.unpack_from(data, at)
        payload = data[at + RECORD_BYTES : at + RECORD_BYTES + length]
        whole = marker == self.marker and len(payload) == length > 0
        return payload if whole and self._checksum(offset, payload) == checksum else None

    def find_record(self, data: bytes, start: int, *, base: int = 0) -> int | None:
        """Where in the file, whose bytes from `base` on are `data`, the first valid record at or
        behind `start` begins; None where there is none."""
        at = data.find(self.marker, start - base)
        while at >= 0:
            if self.decode(data, base + at, base=base) is not None:
                return base + at
            at = data.find(self.marker, at + 1)
        return None

    def _checksum(self, offset: int, payload: bytes) -> int:
        place = zlib.crc32(_PLACE.pack(offset, len(payload)), self.seed)
        return zlib.crc32(payload, place)
