"""PNG files of the browser as grey pixels: 8 bits a channel, RGB or RGBA, not interlaced."""

import struct
import zlib

CHANNELS = {2: 3, 6: 4}


def grey(png: bytes) -> tuple[int, int, bytes]:
    """(width, height, a byte for each pixel)."""
    width, height, depth, colour = struct.unpack(">IIBB", png[16:26])
    assert depth == 8, "what Chromium writes"
    channels = CHANNELS[colour]
    raw = zlib.decompress(b"".join(_chunks(png, b"IDAT")))
    stride = width * channels
    above = bytearray(stride)
    found = bytearray()
    for start in range(0, len(raw), stride + 1):
        above = _unfilter(
            raw[start], bytearray(raw[start + 1 : start + 1 + stride]), above, channels
        )
        found += above[1::channels]  # green is near enough to grey
    return width, height, bytes(found)


def _chunks(png: bytes, wanted: bytes) -> list[bytes]:
    found, at = [], 8
    while at < len(png):
        (length,) = struct.unpack(">I", png[at : at + 4])
        if png[at + 4 : at + 8] == wanted:
            found.append(png[at + 8 : at + 8 + length])
        at += 12 + length
    return found


def _unfilter(kind: int, line: bytearray, above: bytearray, channels: int) -> bytearray:
    """A line before its filter (PNG specification, 9.2)."""
    for index in range(len(line)):
        left = line[index - channels] if index >= channels else 0
        up = above[index]
        corner = above[index - channels] if index >= channels else 0
        match kind:
            case 0:
                return line
            case 1:
                guess = left
            case 2:
                guess = up
            case 3:
                guess = (left + up) // 2
            case _:
                guess = _paeth(left, up, corner)
        line[index] = (line[index] + guess) & 0xFF
    return line


def _paeth(left: int, up: int, corner: int) -> int:
    estimate = left + up - corner
    return min((left, up, corner), key=lambda value: abs(estimate - value))
