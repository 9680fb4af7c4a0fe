"""Whom a wallet pays: TO and AMOUNT of the command line, or the rows of a CSV file.

Law: every bad row is named before anything is asked or paid.
"""

import csv
from pathlib import Path
from typing import TYPE_CHECKING

import click

from chaind.primitives.errors import Malformed

if TYPE_CHECKING:
    from chaind.primitives.genesis import Genesis
    from chaind.primitives.transaction import Part

FILE_BYTES_MAX = 1 << 20  # far above what one transaction can pay
ROWS_NAMED_MAX = 20
COLUMNS = ("to", "amount", "asset")


class PayeesInvalid(Malformed):
    """Receivers or amounts that cannot be paid."""

    code = "payees-invalid"
    text = "{count} of {total} receivers are refused: {summary}"
    advice = "Correct them (they count from 1) and ask again; nothing was paid."


class PayeesUnreadable(Malformed):
    """A file that is no list of receivers."""

    code = "payees-unreadable"
    text = "{path} is no list of receivers: {reason}"
    advice = "Write a CSV file whose first line is to,amount or to,amount,asset."


def read_payees(arguments: tuple[str, ...], file: Path | None) -> list[tuple[str, str, str]]:
    """(to, amount, asset or "") of the pairs or the file that were given. Raises `UsageError`."""
    if (file is None) == (not arguments):
        raise click.UsageError("Give TO AMOUNT, again for more, or --file; not both.")
    if file is not None:
        return _read_file(file)
    if len(arguments) % 2:
        raise click.UsageError(f"{arguments[-1]!r} has no amount: give pairs of TO and AMOUNT.")
    return [(to, amount, "") for to, amount in zip(arguments[::2], arguments[1::2], strict=True)]


def _read_file(path: Path) -> list[tuple[str, str, str]]:
    with path.open("rb") as stream:
        data = stream.read(FILE_BYTES_MAX + 1)
    if len(data) > FILE_BYTES_MAX:
        raise PayeesUnreadable(path=path, reason=f"it is longer than {FILE_BYTES_MAX} bytes")
    try:
        rows = list(csv.reader(data.decode("utf-8-sig").splitlines(), strict=True))
    except UnicodeDecodeError:
        raise PayeesUnreadable(path=path, reason="it is not text in UTF-8") from None
    except csv.Error as error:
        raise PayeesUnreadable(path=path, reason=str(error)) from None
    rows = [[cell.strip() for cell in row] for row in rows if any(map(str.strip, row))]
    if not rows or tuple(rows[0]) not in (COLUMNS, COLUMNS[:2]):
        raise PayeesUnreadable(path=path, reason="its first line names other columns")
    if len(rows) == 1:
        raise PayeesUnreadable(path=path, reason="it names nobody")
    width = len(rows[0])
    for number, row in enumerate(rows[1:], start=1):
        if len(row) != width:
            raise PayeesUnreadable(path=path, reason=f"row {number} has {len(row)} cells")
    return [(row[0], row[1], row[2] if width > 2 else "") for row in rows[1:]]


def parse_payees(
    payees: list[tuple[str, str, str]], genesis: "Genesis", asset: str | None
) -> "tuple[Part, ...]":
    """What each receiver gets; `asset` where its row names none. Raises `PayeesInvalid`."""
    from chaind.primitives.amounts import AMOUNT_MAX, parse_amount
    from chaind.primitives.errors import ChaindError
    from chaind.primitives.transaction import NATIVE, Part, totals

    parts: list[Part] = []
    wrong: list[str] = []
    for number, (to, amount, symbol) in enumerate(payees, start=1):
        chosen = symbol or asset or genesis.native_symbol
        inward = NATIVE if chosen == genesis.native_symbol else chosen
        try:
            parts.append(Part(genesis.addresses.parse(to), inward, parse_amount(amount)))
        except ChaindError as error:
            if len(payees) == 1:
                raise
            wrong.append(f"row {number}: {error}")
    if not wrong and any(units > AMOUNT_MAX for units in totals(parts).values()):
        wrong = ["their sum is more than there can be of an asset"]
    if wrong:
        more = len(wrong) - ROWS_NAMED_MAX
        summary = "; ".join(wrong[:ROWS_NAMED_MAX]) + (f"; and {more} more" if more > 0 else "")
        raise PayeesInvalid(count=len(wrong), total=len(payees), summary=summary)
    return tuple(parts)
