"""Amounts and assets: integers in base units inside, decimal strings outside, floats nowhere.

One unit is 10⁸ base units for every asset. No amount and no whole supply exceeds 2⁶³−1.
"""

import re
from decimal import Decimal

from chaind.primitives.errors import Malformed

DECIMALS = 8
UNIT = 10**DECIMALS
AMOUNT_MAX = 2**63 - 1
ASSET_ALPHABET = frozenset("ABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789")
ASSET_CHARS_MAX = 12

# A plain decimal: no sign but minus (refused with its own words), no exponent, no underscores.
_DECIMAL = re.compile(r"-?\d{1,40}(\.\d{1,40})?", re.ASCII)
_CHARS_MAX = 100  # longer than the pattern ever matches: what is cut off is refused
_EXPONENT_MAX = 40  # beyond it stay exponents: "1e999999999" written out is a gigabyte


class AmountInvalid(Malformed):
    """Not a positive decimal with at most 8 decimals that fits 63 bits."""

    code = "amount-invalid"
    text = "amount {amount} is refused: {reason}"
    advice = (
        f'Give a positive decimal such as "12.5": at most {DECIMALS} decimals, '
        f"no more than {AMOUNT_MAX // UNIT}.{AMOUNT_MAX % UNIT:08d}."
    )


def parse_amount(value: object) -> int:
    """Base units of a decimal given as string, integer or Decimal (never float, never bool).

    Raises `AmountInvalid` for anything that is not positive, exact to 8 decimals and ≤ 2⁶³−1.
    """
    if isinstance(value, bool) or not isinstance(value, (str, int, Decimal)):
        raise AmountInvalid(amount=_shown(value), reason="neither a string nor a number")
    text = (value if isinstance(value, str) else _plain(Decimal(value)))[:_CHARS_MAX]
    if not _DECIMAL.fullmatch(text):
        raise AmountInvalid(amount=repr(text), reason="not a plain decimal number")
    if text.startswith("-"):
        raise AmountInvalid(amount=text, reason="negative")
    whole, _, fraction = text.partition(".")
    fraction = fraction.rstrip("0")
    if len(fraction) > DECIMALS:
        raise AmountInvalid(amount=text, reason=f"more than {DECIMALS} decimals")
    units: int = int(whole) * UNIT + int(fraction.ljust(DECIMALS, "0"))
    if units == 0:
        raise AmountInvalid(amount=text, reason="zero")
    if units > AMOUNT_MAX:
        raise AmountInvalid(amount=text, reason=f"above {format_amount(AMOUNT_MAX)}")
    return units


def _shown(value: object) -> str:
    """What is no amount at all, as its sender may have written it: in the words of JSON."""
    match value:
        case None:
            return "null"
        case bool():
            return str(value).lower()
        case list() | tuple():
            return "[…]"
        case dict():
            return "{…}"
    return repr(value)[:40]


def _plain(value: Decimal) -> str:
    """Digits without an exponent, unless the pattern would refuse them anyway."""
    if value.is_finite() and abs(value.adjusted()) <= _EXPONENT_MAX:
        return format(value, "f")
    return f"{value:.1E}"


def format_amount(units: int) -> str:
    """Shortest exact decimal: 1250000000 → "12.5", 0 → "0"."""
    sign = "-" if units < 0 else ""
    whole, fraction = divmod(abs(units), UNIT)
    if not fraction:
        return f"{sign}{whole}"
    return f"{sign}{whole}.{fraction:08d}".rstrip("0")


def is_asset_symbol(symbol: str) -> bool:
    """1 to 12 capital letters and digits."""
    return 1 <= len(symbol) <= ASSET_CHARS_MAX and ASSET_ALPHABET.issuperset(symbol)
