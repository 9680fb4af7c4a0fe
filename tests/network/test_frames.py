"""Frames: whatever is cut or joined on the way, the bodies arrive; whatever is too much, not."""

import random
import struct

import pytest

from chaind.network.frames import (
    FRAME_BYTES_MAX,
    RECORD_PLAIN_MAX,
    FrameReader,
    FrameTooLarge,
    RecordEmpty,
    seal,
)
from chaind.network.noise import CipherState, DecryptFailed


def ends() -> tuple[CipherState, FrameReader]:
    return CipherState(bytes(32)), FrameReader(CipherState(bytes(32)))


def record(cipher: CipherState, plain: bytes) -> bytes:
    sealed = cipher.encrypt(plain)
    return struct.pack(">H", len(sealed)) + sealed


@pytest.mark.parametrize("seed", range(5))
def test_bodies_survive_any_cutting_of_the_stream(seed: int) -> None:
    dice = random.Random(seed)
    cipher, reader = ends()
    bodies = [dice.randbytes(dice.choice([1, 200, 5_000, 70_000, 200_000])) for _ in range(20)]
    stream = b"".join(seal(cipher, bodies[at : at + 4]) for at in range(0, 20, 4))
    received: list[bytes] = []
    while stream:
        cut = dice.choice([1, 2, 3, 1_000, 65_537, 262_144])
        received += reader.feed(stream[:cut])
        stream = stream[cut:]
    assert received == bodies


def test_small_messages_share_one_record() -> None:
    cipher, reader = ends()
    stream = seal(cipher, [bytes(200)] * 100)
    assert len(stream) == 2 + 16 + 100 * 204
    assert len(reader.feed(stream)) == 100
    assert reader.records == 1


def test_largest_frame_spans_records() -> None:
    cipher, reader = ends()
    body = bytes(FRAME_BYTES_MAX)
    stream = seal(cipher, [body])
    assert reader.feed(stream) == [body]
    assert reader.records == -(-(FRAME_BYTES_MAX + 4) // RECORD_PLAIN_MAX)


@pytest.mark.parametrize("length", [0, FRAME_BYTES_MAX + 1, 2**32 - 1])
def test_length_out_of_bounds_is_refused_on_its_first_four_bytes(length: int) -> None:
    cipher, reader = ends()
    with pytest.raises(FrameTooLarge, match=str(length)):
        reader.feed(record(cipher, struct.pack(">I", length)))


@pytest.mark.parametrize("length", [0, 16])
def test_record_without_contents_is_refused(length: int) -> None:
    _, reader = ends()
    with pytest.raises(RecordEmpty):
        reader.feed(struct.pack(">H", length))


def test_flipped_bit_is_refused() -> None:
    cipher, reader = ends()
    stream = bytearray(seal(cipher, [b"body"]))
    stream[-1] ^= 1
    with pytest.raises(DecryptFailed):
        reader.feed(bytes(stream))


def test_dropped_record_is_noticed() -> None:
    cipher, reader = ends()
    seal(cipher, [b"lost"])
    with pytest.raises(DecryptFailed):
        reader.feed(seal(cipher, [b"next"]))
