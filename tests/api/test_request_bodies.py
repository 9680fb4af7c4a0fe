"""JSON as the door reads it: one meaning, no floats, no surprises."""

from decimal import Decimal

import pytest

from chaind.api.bodies import parse_json
from chaind.api.problems import BodyMalformed
from chaind.primitives.amounts import parse_amount


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"{",
        b'{"a": 1, "a": 2}',
        b'[{"b": {"a": 1, "\\u0061": 1}}]',  # the same key, written differently
        b'{"a": NaN}',
        b'{"a": -Infinity}',
        b'{"a": "\\ud800"}',  # half a character
        b'["\\udc00 alone"]',
        b'{"a": "\xff"}',
        b"\xff\xfe{\x00}\x00",  # UTF-16
        b"1e999999999",  # short to write, endless to write out
        b"1e-999999999",
        b"[0." + b"1" * 100 + b"]",
        b"[" * 100_000,
        b"9" * 5_000,
        b'{"a": 1} x',
    ],
)
def test_ambiguous_or_endless_json_is_refused(body: bytes) -> None:
    with pytest.raises(BodyMalformed):
        parse_json(body)


def test_numbers_never_pass_through_floats() -> None:
    value = parse_json(b'{"amount": 0.30000001, "n": 7}')
    assert value == {"amount": Decimal("0.30000001"), "n": 7}
    assert type(value["n"]) is int
    whole = parse_json(b"[7.0, 1e3, -0.0, 12.50]")
    assert whole == [7, 1000, 0, Decimal("12.5")]
    assert [type(each) for each in whole] == [int, int, int, Decimal]  # 7.0 is an integer in JSON
    assert parse_amount(parse_json(b"92233720368.54775807")) == 2**63 - 1
    assert parse_amount(parse_json(b"12.5")) == parse_amount("12.5") == 1_250_000_000
    assert parse_amount(parse_json(b"1e2")) == 100 * 10**8


def test_escapes_are_read() -> None:
    assert parse_json(b'"\\u00e9\\ud83d\\ude00"') == "é😀"
