"""Whom a wallet pays: pairs of the command line, rows of a file, and what is wrong with them."""

from pathlib import Path

import click
import pytest
from load_kit import GENESIS

from chaind.cli.wallet_payees import PayeesInvalid, PayeesUnreadable, parse_payees, read_payees
from chaind.primitives.address import AddressInvalid
from chaind.primitives.amounts import AMOUNT_MAX, format_amount
from chaind.primitives.transaction import NATIVE, Part

ADDRESSES = [bytes([number]) * 20 for number in (1, 2)]
ONE, TWO = map(GENESIS.addresses.show, ADDRESSES)


def rows(tmp_path: Path, data: bytes) -> list[tuple[str, str, str]]:
    path = tmp_path / "payouts.csv"
    path.write_bytes(data)
    return read_payees((), path)


def test_pairs_and_rows_mean_the_same(tmp_path: Path) -> None:
    wanted = [(ONE, "1.5", ""), (TWO, "2", "")]
    assert read_payees((ONE, "1.5", TWO, "2"), None) == wanted
    text = f"\ufeffto, amount\r\n{ONE}, 1.5\r\n\r\n{TWO},2\r\n"
    assert rows(tmp_path, text.encode()) == wanted


def test_a_row_may_name_its_asset(tmp_path: Path) -> None:
    found = rows(tmp_path, f"to,amount,asset\n{ONE},1,GOLD\n{TWO},2,\n{TWO},3,COIN\n".encode())
    assert parse_payees(found, GENESIS, None) == (
        Part(ADDRESSES[0], "GOLD", 100_000_000),
        Part(ADDRESSES[1], NATIVE, 200_000_000),
        Part(ADDRESSES[1], NATIVE, 300_000_000),
    )
    assert [part.asset for part in parse_payees(found, GENESIS, "TEA")] == ["GOLD", "TEA", NATIVE]


@pytest.mark.parametrize(
    ("arguments", "with_file"), [((), False), ((ONE, "1"), True), ((ONE,), False)]
)
def test_what_is_no_list_is_a_usage_error(arguments: tuple[str, ...], with_file: bool) -> None:
    with pytest.raises(click.UsageError):
        read_payees(arguments, Path("payouts.csv") if with_file else None)


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"", "names other columns"),
        (b"who,what\na,1\n", "names other columns"),
        (b"to,amount\n\n", "names nobody"),
        (b"to,amount\na,1,GOLD\n", "row 1 has 3 cells"),
        (b"to,amount\n\xff,1\n", "not text in UTF-8"),
        (b'to,amount\n"a,1\n', "unexpected end"),
        (b"to,amount\n" + b"a,1\n" * 300_000, "longer than 1048576 bytes"),
    ],
    ids=lambda value: str(value)[:20],
)
def test_what_is_no_file_of_payees_is_refused(tmp_path: Path, data: bytes, reason: str) -> None:
    with pytest.raises(PayeesUnreadable, match=reason):
        rows(tmp_path, data)


def test_every_bad_row_is_named() -> None:
    bad = [(ONE, "1", ""), ("nobody", "1", ""), (TWO, "-1", ""), *[("x", "1", "")] * 30]
    with pytest.raises(PayeesInvalid) as caught:
        parse_payees(bad, GENESIS, None)
    text = str(caught.value)
    assert text.startswith("32 of 33 receivers are refused: row 2: ")
    assert "row 3: " in text
    assert text.endswith("and 12 more")


def test_a_single_receiver_has_its_own_error_and_sums_are_bounded() -> None:
    with pytest.raises(AddressInvalid):
        parse_payees([("nobody", "1", "")], GENESIS, None)
    most = format_amount(AMOUNT_MAX)
    with pytest.raises(PayeesInvalid, match="sum is more than there can be"):
        parse_payees([(ONE, most, ""), (TWO, most, "")], GENESIS, None)
