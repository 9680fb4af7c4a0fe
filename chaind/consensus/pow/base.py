"""What must be known of the block that a piece of a header chain stands on."""

from typing import NamedTuple


class Base(NamedTuple):
    """A block that is not in doubt, and what the rules of later ones need of those below it.

    `hash` is a raw digest. `times` are the last (up to) eleven header times, its own the last.
    `chainwork` includes its own work; `window_time` is the time of its window's first header.
    """

    hash: bytes
    height: int
    bits: int
    times: tuple[int, ...]
    chainwork: int
    window_time: int
