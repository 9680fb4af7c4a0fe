"""Account statements: an opening balance, every entry, a closing balance that is their sum.

Law: nothing is estimated. The balance before a range is that of now less all that came after, or
that of the genesis where the range begins there; a page goes on from the balance that the page
before ended with. Whoever asks for a range too deep in the past is told so, not given a guess.
"""

import asyncio
from collections import OrderedDict
from typing import NamedTuple

from chaind.primitives.amounts import parse_amount
from chaind.primitives.errors import RuleBroken
from chaind.primitives.genesis import Genesis
from chaind.primitives.transaction import NATIVE
from chaind.storage.books import PLACE_MAX, Books, Movement
from chaind.storage.chain_store import ChainStore
from chaind.storage.schema import Location

STEPS_MAX = 100_000  # rows read for one page, about a second, in slices
SLICE_STEPS = 200  # between two of them the loop serves others: about 2 ms
BALANCES_MAX = 10_000  # of pages given before, remembered for the pages after them


class StatementTooFar(RuleBroken):
    code = "statement-too-far"
    text = "more than {limit} transactions of {address} came after height {height}"
    advice = "Begin at from_height 0 and follow next_cursor, or nearer to the newest block."


class Entry(NamedTuple):
    """A movement, and the balance after it."""

    movement: Movement
    balance: int


class Statement(NamedTuple):
    """One page. `following` is where the next one goes on; `tip` the height it was made at."""

    from_height: int
    to_height: int
    opening: int
    entries: tuple[Entry, ...]
    closing: int
    following: Location | None


class Range(NamedTuple):
    """What is asked for: heights and times (from ≤, to: height ≤, time <), None where open."""

    from_height: int = 0
    to_height: int | None = None
    from_ms: int | None = None
    to_ms: int | None = None


class _Account(NamedTuple):
    address: bytes
    asset: str


class Statements:
    """See the module's law."""

    def __init__(self, genesis: Genesis, store: ChainStore) -> None:
        self._genesis = genesis
        self._store = store
        self._beginning: dict[_Account, int] | None = None
        self._known: OrderedDict[tuple[_Account, Location], int] = OrderedDict()

    async def page(
        self, address: bytes, asset: str, span: Range, after: Location | None, limit: int
    ) -> Statement:
        """The entries of a range, at most `limit`, strictly after a place where one is given.

        Raises `StatementTooFar`.
        """
        account = _Account(address, asset)
        with self._store.books() as books:
            first, last = _heights(books, span)
            start = after or Location(max(0, first - 1), PLACE_MAX)
            opening = await self._balance_at(books, account, start)
            upto = Location(last, PLACE_MAX)
            entries: list[Entry] = []
            balance, steps = opening, 0
            following, latest = None, start
            for place, movement in books.movements(address, asset, start, upto):
                if len(entries) == limit or steps == STEPS_MAX:
                    following = latest
                    break
                steps, latest = steps + 1, place
                if steps % SLICE_STEPS == 0:
                    await asyncio.sleep(0)
                if movement is not None:
                    balance += movement.change
                    entries.append(Entry(movement, balance))
        if following is not None:
            self._remember(account, following, balance)
        return Statement(first, last, opening, tuple(entries), balance, following)

    async def _balance_at(self, books: Books, account: _Account, where: Location) -> int:
        """What an account held after everything up to a place."""
        if where.height == 0:
            return self._at_the_beginning().get(account, 0)
        known = self._known.get((account, where))
        if known is not None:
            return known
        steps = 0
        balance = books.account_units(*account)
        if account.asset == NATIVE:
            for units in books.coin_units(account.address):
                steps = await self._step(steps, account, where)
                balance += units
        now = Location(books.tip.height, PLACE_MAX)
        for _, movement in books.movements(*account, where, now, reverse=True):
            steps = await self._step(steps, account, where)
            if movement is not None:
                balance -= movement.change
        return balance

    async def _step(self, steps: int, account: _Account, where: Location) -> int:
        """One step more, which may be one too many."""
        if steps == STEPS_MAX:
            shown = self._genesis.addresses.show(account.address)
            raise StatementTooFar(limit=STEPS_MAX, address=shown, height=where.height)
        if steps % SLICE_STEPS == SLICE_STEPS - 1:
            await asyncio.sleep(0)
        return steps + 1

    def _at_the_beginning(self) -> dict[_Account, int]:
        """What the genesis gave, by account."""
        if self._beginning is None:
            self._beginning = {}
            for entry in self._genesis.allocations:
                account = _Account(self._genesis.addresses.parse(entry.address), entry.asset)
                units = self._beginning.get(account, 0) + parse_amount(entry.amount)
                self._beginning[account] = units
        return self._beginning

    def _remember(self, account: _Account, where: Location, balance: int) -> None:
        self._known[account, where] = balance
        self._known.move_to_end((account, where))
        if len(self._known) > BALANCES_MAX:
            self._known.popitem(last=False)


def _heights(books: Books, span: Range) -> tuple[int, int]:
    """First and last height of a range, the last at most the newest; an empty one ends before it
    begins."""
    newest = books.tip.height
    first, last = min(span.from_height, newest + 1), newest
    if span.to_height is not None:
        last = min(last, span.to_height)
    if span.from_ms is not None:
        first = max(first, _height_at(books, span.from_ms))
    if span.to_ms is not None:
        last = min(last, _height_at(books, span.to_ms) - 1)
    return first, max(last, first - 1, 0)


def _height_at(books: Books, time_ms: int) -> int:
    """The first height whose block is not before a time; block times only grow."""
    low, high = 1, books.tip.height + 1
    while low < high:
        middle = (low + high) // 2
        if books.time_ms(middle) < time_ms:
            low = middle + 1
        else:
            high = middle
    return low
