"""Frames over Noise: how messages of any size share a stream of bounded ciphertexts. Sans-IO.

    stream   = record*      record = length u16 ‖ ciphertext      (one Noise message)
    contents = frame*       frame  = length u32 ‖ body            (one message of ours)

Lengths are big-endian. Frames ignore record borders: many small ones share a record, a large one
spans several. A length out of bounds is refused before a byte behind it is kept.
"""

import struct
from collections.abc import Iterable

from chaind.network.noise import MESSAGE_BYTES_MAX, TAG_BYTES, CipherState
from chaind.primitives.errors import Malformed, PeerFault, TooLarge

FRAME_BYTES_MAX = 1 << 22  # one full block (2 MiB by default) plus certificates and slack
RECORD_PLAIN_MAX = MESSAGE_BYTES_MAX - TAG_BYTES

_U16 = struct.Struct(">H")
_U32 = struct.Struct(">I")


class FrameTooLarge(TooLarge, PeerFault):
    """A frame announces more than any message may have."""

    code = "frame-too-large"
    text = "a frame announces {length} bytes, 1 to {limit} are allowed"


class RecordEmpty(Malformed, PeerFault):
    """A record without contents: it costs a decryption and says nothing."""

    code = "record-empty"
    text = "a record of {length} bytes carries nothing"


def seal(cipher: CipherState, bodies: Iterable[bytes]) -> bytes:
    """The records that carry `bodies` as frames, as few as possible."""
    parts: list[bytes] = []
    for body in bodies:
        assert 0 < len(body) <= FRAME_BYTES_MAX
        parts.append(_U32.pack(len(body)))
        parts.append(body)
    plain = b"".join(parts)
    records: list[bytes] = []
    with memoryview(plain) as view:
        for at in range(0, len(plain), RECORD_PLAIN_MAX):
            sealed = cipher.encrypt(view[at : at + RECORD_PLAIN_MAX])
            records.append(_U16.pack(len(sealed)))
            records.append(sealed)
    return b"".join(records)


class FrameReader:
    """Takes bytes as they arrive, gives the frame bodies that are complete.

    Holds at most one record and one frame that are not. `records` counts those decrypted, so that
    the caller can charge a peer that cuts its stream into crumbs.
    """

    def __init__(self, cipher: CipherState) -> None:
        self.records = 0
        self._cipher = cipher
        self._sealed = bytearray()
        self._plain = bytearray()

    def feed(self, data: bytes) -> list[bytes]:
        """Raises `DecryptFailed`, `RecordEmpty`, `FrameTooLarge`; the reader is dead after."""
        sealed = self._sealed
        sealed += data
        bodies: list[bytes] = []
        at, end = 0, len(sealed)
        with memoryview(sealed) as view:
            while end - at >= _U16.size:
                (length,) = _U16.unpack_from(view, at)
                if length <= TAG_BYTES:
                    raise RecordEmpty(length=length)
                start = at + _U16.size
                if start + length > end:
                    break
                at = start + length
                self._plain += self._cipher.decrypt(view[start:at])
                self.records += 1
                self._take_frames(bodies)
        del sealed[:at]
        return bodies

    def _take_frames(self, bodies: list[bytes]) -> None:
        plain = self._plain
        at, end = 0, len(plain)
        with memoryview(plain) as view:
            while end - at >= _U32.size:
                (length,) = _U32.unpack_from(view, at)
                if not 0 < length <= FRAME_BYTES_MAX:
                    raise FrameTooLarge(length=length, limit=FRAME_BYTES_MAX)
                start = at + _U32.size
                if start + length > end:
                    break
                at = start + length
                bodies.append(bytes(view[start:at]))
        del plain[:at]
