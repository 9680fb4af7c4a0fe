"""Statements of accounts: pages put together, addresses of one account too; every sum checked.

Pure. Law: a statement whose opening balance and changes do not come to its closing balance is
refused, whoever tells it.
"""

import csv
import io
from collections.abc import Iterable, Iterator, Sequence
from datetime import UTC, datetime
from typing import NamedTuple

from chaind.primitives.amounts import format_amount
from chaind.wallet.answers import StatementPage, signed_units
from chaind.wallet.errors import NodeSilent, printable

COLUMNS = (
    "time", "height", "tx_id", "kind", "change", "fee", "balance", "asset", "counterparties", "memo"
)  # fmt: skip
_FORMULA = ("=", "+", "-", "@", "\uff1d", "\uff0b", "\uff0d", "\uff20")  # full width too
_REWARD_PLACE = 2**32  # behind every transaction of its block


class Line(NamedTuple):
    """A movement and the balance after it, in base units; `change` holds the `fee`."""

    kind: str
    tx_id: str | None
    height: int
    place: int
    time_ms: int
    change: int
    fee: int
    balance: int
    counterparties: tuple[str, ...]
    memo: str | None
    memo_hex: str


class Statement(NamedTuple):
    """What moved an account of one asset, oldest first; opening + all changes = closing."""

    asset: str
    from_height: int
    to_height: int
    opening: int
    lines: tuple[Line, ...]
    closing: int


def joined(pages: Sequence[StatementPage], url: str) -> Statement:
    """The statement of its pages. Raises `NodeSilent` where they do not fit together."""
    balance = opening = signed_units(pages[0].opening_balance, url)
    lines: list[Line] = []
    for page in pages:
        if signed_units(page.opening_balance, url) != balance:
            raise NodeSilent(url=url, reason="a page of the statement opens with another balance")
        for entry in page.entries:
            change = signed_units(entry.change, url)
            balance += change
            lines.append(
                Line(
                    kind=entry.kind,
                    tx_id=entry.tx_id,
                    height=entry.height,
                    place=_REWARD_PLACE if entry.place is None else entry.place,
                    time_ms=entry.time_ms,
                    change=change,
                    fee=signed_units(entry.fee, url),
                    balance=balance,
                    counterparties=tuple(entry.counterparties),
                    memo=entry.memo,
                    memo_hex=entry.memo_hex,
                )
            )
        if signed_units(page.closing_balance, url) != balance:
            raise NodeSilent(url=url, reason="the statement does not come to its closing balance")
    first, last = pages[0], pages[-1]
    return Statement(first.asset, first.from_height, last.to_height, opening, tuple(lines), balance)


def merged(statements: Sequence[Statement], own: frozenset[str], url: str) -> Statement:
    """One statement of several addresses of one account, all of the same blocks. What moves between
    them is one line without a change, or with the fee alone. `own` are the address texts.

    Raises `NodeSilent` where nodes told of different blocks.
    """
    first = statements[0]
    if any(other[:3] != first[:3] for other in statements):
        raise NodeSilent(url=url, reason="the statements of two addresses are of different blocks")
    parts: dict[tuple[int, int], list[Line]] = {}
    for statement in statements:
        for line in statement.lines:
            parts.setdefault((line.height, line.place), []).append(line)
    balance = opening = sum(statement.opening for statement in statements)
    lines: list[Line] = []
    for where in sorted(parts):
        together = parts[where]
        change = sum(line.change for line in together)
        balance += change
        others = dict.fromkeys(
            address for line in together for address in line.counterparties if address not in own
        )
        lines.append(
            together[0]._replace(
                change=change,
                fee=sum(line.fee for line in together),
                balance=balance,
                counterparties=tuple(others),
            )
        )
    assert balance == sum(statement.closing for statement in statements), "sums of checked ones"
    return first._replace(opening=opening, lines=tuple(lines), closing=balance)


def to_csv(statement: Statement) -> str:
    """For a spreadsheet: a head, the opening balance, every line, the closing balance.

    A cell that a stranger wrote never begins as a formula does: such text gets an apostrophe in
    front (OWASP, "CSV Injection").
    """
    text = io.StringIO()
    csv.writer(text).writerows((COLUMNS, *_rows(statement)))
    return text.getvalue()


def _rows(statement: Statement) -> Iterator[Iterable[str]]:
    def edge(kind: str, height: int, units: int) -> tuple[str, ...]:
        return ("", str(height), "", kind, "", "", format_amount(units), statement.asset, "", "")

    yield edge("opening balance", statement.from_height, statement.opening)
    for line in statement.lines:
        yield (
            datetime.fromtimestamp(line.time_ms / 1000, UTC).isoformat(timespec="milliseconds"),
            str(line.height),
            line.tx_id or "",
            line.kind,
            format_amount(line.change),
            format_amount(line.fee),
            format_amount(line.balance),
            statement.asset,
            " ".join(line.counterparties),
            safe_cell(line.memo if line.memo is not None else f"hex {line.memo_hex}"),
        )
    yield edge("closing balance", statement.to_height, statement.closing)


def safe_cell(text: str) -> str:
    """A stranger's text for a spreadsheet: nothing to obey, and no formula."""
    shown = printable(text)
    return f"'{shown}" if shown.lstrip().startswith(_FORMULA) else shown
