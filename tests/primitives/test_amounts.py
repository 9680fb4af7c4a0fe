"""Amounts: decimal strings outside, integers inside, exact both ways, floats nowhere."""

import resource
from decimal import Decimal

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from chaind.primitives.amounts import AMOUNT_MAX, UNIT, AmountInvalid, format_amount, parse_amount


@pytest.mark.parametrize(
    ("text", "units"),
    [
        ("1", UNIT),
        ("12.5", 1_250_000_000),
        ("0.00000001", 1),
        ("00012.50", 1_250_000_000),
        ("1.0000000000000000", UNIT),  # zeros beyond the eighth decimal lose nothing
        ("92233720368.54775807", AMOUNT_MAX),
    ],
)
def test_a_decimal_is_read_exactly(text: str, units: int) -> None:
    assert parse_amount(text) == units
    assert parse_amount(Decimal(text)) == units


@pytest.mark.parametrize(
    ("value", "units"),
    [
        (7, 7 * UNIT),
        (Decimal("1E+3"), 1000 * UNIT),
        (Decimal("1E-8"), 1),
        (Decimal("1.50E1"), 15 * UNIT),
    ],
)
def test_json_numbers_arrive_as_int_or_decimal(value: object, units: int) -> None:
    assert parse_amount(value) == units


@pytest.mark.parametrize(
    ("value", "reason"),
    [
        ("0", "zero"),
        ("0.00000000", "zero"),
        (0, "zero"),
        ("-1", "negative"),
        (-1, "negative"),
        (Decimal("-0"), "negative"),
        ("0.000000001", "more than 8 decimals"),
        (Decimal("1E-9"), "more than 8 decimals"),
        ("92233720368.54775808", "above 92233720368.54775807"),
        ("9" * 19, "above"),
        (AMOUNT_MAX, "above"),
        ("9" * 20, "above"),
        ("0." + "0" * 41, "not a plain decimal"),
        ("1" + "0" * 63 + "x", "not a plain decimal"),
        ("1.0" + "0" * 61 + "1", "not a plain decimal"),  # no cutting off of what does not fit
        ("", "not a plain decimal"),
        (".5", "not a plain decimal"),
        ("5.", "not a plain decimal"),
        ("+1", "not a plain decimal"),
        ("--1", "not a plain decimal"),
        ("1e3", "not a plain decimal"),
        ("1_000", "not a plain decimal"),
        ("1,5", "not a plain decimal"),
        (" 1", "not a plain decimal"),
        ("1\n", "not a plain decimal"),
        ("0x10", "not a plain decimal"),
        ("١٢", "not a plain decimal"),  # digits, but not ours
        ("１２", "not a plain decimal"),
        ("NaN", "not a plain decimal"),
        (Decimal("NaN"), "not a plain decimal"),
        (Decimal("sNaN"), "not a plain decimal"),
        (Decimal("Infinity"), "not a plain decimal"),
        (1.5, "neither a string nor a number"),
        (True, "amount true is refused: neither a string nor a number"),
        (False, "amount false is refused: neither a string nor a number"),
        (None, "amount null is refused: neither a string nor a number"),
        ([[None]], "amount […] is refused: neither a string nor a number"),
        ({"units": 1}, "amount {…} is refused: neither a string nor a number"),
        (b"1", "neither a string nor a number"),
    ],
)
def test_what_is_no_amount_is_refused_with_its_reason(value: object, reason: str) -> None:
    with pytest.raises(AmountInvalid) as caught:
        parse_amount(value)
    assert reason in str(caught.value)
    assert len(str(caught.value)) < 200
    assert format_amount(AMOUNT_MAX) in caught.value.advice, "it serves for every reason"


@pytest.mark.parametrize(
    "value",
    [
        10**5000,  # beyond Python's own limit of decimal digits
        -(10**5000),
        Decimal("1e999999999"),
        Decimal("1e-999999999"),
        msgspec.json.decode(b"1e999999999999999999", type=Decimal),
        Decimal("1" * 100_000),
        "1" * 1_000_000,
    ],
    ids=lambda value: type(value).__name__,
)
def test_huge_numbers_are_refused_without_writing_them_out(value: object) -> None:
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with pytest.raises(AmountInvalid) as caught:
        parse_amount(value)
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 50_000  # KiB
    assert len(str(caught.value)) < 200


@given(st.integers(1, AMOUNT_MAX))
def test_formatting_and_parsing_are_inverse(units: int) -> None:
    text = format_amount(units)
    assert parse_amount(text) == units
    assert Decimal(text) * UNIT == units


@given(st.decimals(allow_nan=None, allow_infinity=None))
def test_any_decimal_is_read_exactly_or_refused(value: Decimal) -> None:
    try:
        units = parse_amount(value)
    except AmountInvalid:
        return
    assert Decimal(units).scaleb(-8) == value


@pytest.mark.parametrize(
    ("units", "text"),
    [(0, "0"), (1, "0.00000001"), (UNIT, "1"), (-UNIT // 2, "-0.5"), (10 * UNIT, "10")],
)
def test_the_shortest_exact_form_is_shown(units: int, text: str) -> None:
    assert format_amount(units) == text
