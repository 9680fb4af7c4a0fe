"""Retarget rules: the bits that the next header must carry.

Integers only, and the roundings of the originals: a difference of one in the last place is a fork.
Times of headers are Unix seconds.
"""

from typing import NamedTuple

from chaind.primitives.work import WorkParameters, target_of, to_bits

ADJUSTMENT_MAX = 4  # Bitcoin: a window is taken to last between a quarter and four times its due
_RADIX_BITS = 16  # aserti3-2d: fixed-point fraction of the exponent
_SHIFT_MAX = 512  # a target moved further is at an end of the scale, whatever it was


class Anchor(NamedTuple):
    """What an asert schedule hangs on: a height, its bits, and the time of the header before."""

    height: int
    bits: int
    parent_time: int


def retarget_window(
    *, bits: int, first_time: int, last_time: int, parameters: WorkParameters
) -> int:
    """Bits of a window's first header, from the window before it: its bits, its first header's
    time and its last header's. That is one interval fewer than the window has blocks: Bitcoin's
    famous off-by-one, kept.
    """
    due_ms = parameters.window_ms
    took_ms = (last_time - first_time) * 1000
    took_ms = max(due_ms // ADJUSTMENT_MAX, min(took_ms, due_ms * ADJUSTMENT_MAX))
    target = target_of(bits) * took_ms // due_ms
    return to_bits(_bounded(target, parameters))


def retarget_asert(*, anchor: Anchor, height: int, time: int, parameters: WorkParameters) -> int:
    """Bits of the header after the one of `height` and `time`, by aserti3-2d.

    target · 2^((time − due time) / half-life), with 2^x for 0 ≤ x < 1 by a cubic polynomial in
    16-bit fixed point. Source: Bitcoin Cash upgrade specification 2020-11-15-asert.
    """
    elapsed_ms = (time - anchor.parent_time) * 1000
    due_ms = parameters.target_spacing_ms * (height - anchor.height + 1)
    exponent = _divide_to_zero((elapsed_ms - due_ms) << _RADIX_BITS, parameters.half_life_ms)
    shift, fraction = exponent >> _RADIX_BITS, exponent & (1 << _RADIX_BITS) - 1
    x = fraction  # 2^x − 1 ≈ 0.695502049 x + 0.2262698 x² + 0.0782318 x³, scaled by 2^48
    cubic = 195_766_423_245_049 * x + 971_821_376 * x**2 + 5_127 * x**3
    factor = (1 << _RADIX_BITS) + (cubic + (1 << 47) >> 48)
    target = target_of(anchor.bits) * factor
    shift = max(-_SHIFT_MAX, min(shift, _SHIFT_MAX)) - _RADIX_BITS
    target = target << shift if shift >= 0 else target >> -shift
    return to_bits(_bounded(target, parameters))


def _bounded(target: int, parameters: WorkParameters) -> int:
    return max(1, min(target, target_of(parameters.limit_bits)))


def _divide_to_zero(dividend: int, divisor: int) -> int:
    """C's division, which the specification of aserti3-2d prescribes; Python's rounds down."""
    quotient = abs(dividend) // divisor
    return quotient if dividend >= 0 else -quotient
