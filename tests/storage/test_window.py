"""A segment read a stretch at a time gives what it gives when it is read at once."""

import pytest

from chaind.storage import window as window_module
from chaind.storage.segment import HEADER_BYTES, RECORD_BYTES, Segment
from chaind.storage.window import Window

SEGMENT = Segment.make("test", 0, 0, b"12345678")
WINDOW = 64
SIZES = (1, 2, 50, 52, 53, 200, 1, 64, 65, 7, 120, 3)  # within, at the edge of and beyond a window


@pytest.fixture(autouse=True)
def small_window(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(window_module, "WINDOW_BYTES", WINDOW)


def file_of(payloads: list[bytes]) -> tuple[bytearray, list[int]]:
    """A segment's file, and where its records begin."""
    data, offsets = bytearray(SEGMENT.header), []
    for payload in payloads:
        offsets.append(len(data))
        data += SEGMENT.encode(len(data), payload)
    return data, offsets


def window_over(data: bytes, reads: list[int] | None = None) -> Window:
    def read(offset: int, length: int) -> bytes:
        if reads is not None:
            reads.append(length)
        return bytes(data[offset : offset + length])

    return Window(SEGMENT, len(data), read)


PAYLOADS = [bytes([number]) * size for number, size in enumerate(SIZES)]


def test_every_record_is_found_and_no_read_is_longer_than_it_must_be() -> None:
    data, offsets = file_of(PAYLOADS)
    reads: list[int] = []
    window = window_over(data, reads)
    assert [window.payload(offset) for offset in offsets] == PAYLOADS
    assert max(reads) == RECORD_BYTES + max(SIZES)
    assert len(reads) <= 2 * len(SIZES)


def test_what_is_no_record_is_none_wherever_it_lies() -> None:
    data, offsets = file_of(PAYLOADS)
    for offset in range(HEADER_BYTES, len(data) + 3):
        if offset not in offsets:
            assert window_over(data).payload(offset) is None


def test_any_flipped_byte_costs_the_record_that_it_hits() -> None:
    data, offsets = file_of(PAYLOADS)
    starts = [*offsets, len(data)]
    for at in range(HEADER_BYTES, len(data)):
        data[at] ^= 0x40
        window = window_over(data)
        hit = max(index for index, offset in enumerate(offsets) if offset <= at)
        assert window.payload(offsets[hit]) is None
        behind = starts[hit + 1] if hit + 1 < len(offsets) else None
        assert window.find(offsets[hit] + 1) == behind
        if behind is not None:
            assert window.payload(behind) == PAYLOADS[hit + 1]
        data[at] ^= 0x40


@pytest.mark.parametrize("cut", [1, RECORD_BYTES - 1, RECORD_BYTES, RECORD_BYTES + 2])
def test_a_torn_end_is_no_record(cut: int) -> None:
    data, offsets = file_of(PAYLOADS)
    torn = data[: offsets[-1] + cut]
    assert window_over(torn).payload(offsets[-2]) == PAYLOADS[-2]
    assert window_over(torn).payload(offsets[-1]) is None
    assert window_over(torn).find(offsets[-1] + 1) is None
