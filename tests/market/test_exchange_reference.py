"""The engine and the reference agree on random scripts: fill by fill, book by book, unit by unit.

CHAIND_TEST_STEPS is how many steps all scripts together have, two thousand a second:

    CHAIND_TEST_STEPS=1000000 .venv/bin/pytest tests/market/test_exchange_reference.py -k agree
"""

import os
from collections import Counter
from collections.abc import Callable
from random import Random
from typing import Any

import pytest
from exchange_script import LIMITS, Disagreement, Run, draw_script, run_script
from msgspec.structs import replace

from chaind.market import errors, matching
from chaind.market.events import Reason
from chaind.market.exchange import Exchange
from chaind.market.journal import Journal
from chaind.market.matching import Matching
from chaind.market.orders import Book, Order
from chaind.primitives.orders import SelfTrade

STEPS = int(os.environ.get("CHAIND_TEST_STEPS", "50000"))
SCRIPT_STEPS = 5_000
# Form alone shows these, or only another path: tests of their own hold them.
NOT_DRAWN = {
    "market-invalid",
    "market-exists",
    "order-invalid",
    "price-off-tick",
    "quantity-off-lot",
}
CODES = {
    value.code
    for value in vars(errors).values()
    if isinstance(value, type) and value.__module__ == errors.__name__
}
SEEN = {
    "Accepted",
    "Amended",
    "Matched",
    "Triggered",
    "Reduced AMENDED",
    "Reduced SELF_TRADE",
    *(f"Done {reason.name}" for reason in Reason),
    *(CODES - NOT_DRAWN),
    "abandon",
    "checked",
    "redo",
    "short of funds",
    "undo",
}


def test_agree() -> None:
    seen: Counter[str] = Counter()
    for seed in range(max(1, STEPS // SCRIPT_STEPS)):
        seen += run_script(seed, SCRIPT_STEPS)
    missing = SEEN - set(seen)
    assert not missing, f"never happened: {missing}"


# --- what the comparison is worth: each of these mistakes is noticed


def last_in_first_out(patch: pytest.MonkeyPatch) -> None:
    def join(self: Journal, order: Order) -> None:
        self.touch(order.book)
        order.prev, order.next = order.level, order.level.next
        self._entries.append((0, order, 0, 0))
        self._enter(order)

    patch.setattr(Journal, "join", join)


def fees_round_down(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(
        matching, "_charged", lambda before, added: (before + added) // 10**6 - before // 10**6
    )


def each_fee_rounds_up(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(matching, "_charged", lambda _before, added: -(-added // 10**6))


def expired_orders_trade(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(
        Matching, "open_block", lambda self, height, _now: setattr(self, "_place", height << 32)
    )


def own_orders_trade(patch: pytest.MonkeyPatch) -> None:
    def prevent(self: Matching, taker: Order, maker: Order, events: list[Any]) -> bool:
        self._trade(taker.book, taker, maker, events)
        return False

    patch.setattr(Matching, "_prevent", prevent)


def decrement_is_cancel_oldest(patch: pytest.MonkeyPatch) -> None:
    honest = Matching._prevent

    def prevent(self: Matching, taker: Order, maker: Order, events: list[Any]) -> bool:
        if taker.terms.self_trade is SelfTrade.DECREMENT:
            self.take_out(maker, Reason.SELF_TRADE, events)
            return False
        return honest(self, taker, maker, events)

    patch.setattr(Matching, "_prevent", prevent)


def one_fill_more(patch: pytest.MonkeyPatch) -> None:
    honest = Exchange.__init__

    def init(self: Exchange, limits: Any = None) -> None:
        honest(self, replace(limits, fills_per_order_max=limits.fills_per_order_max + 1))

    patch.setattr(Exchange, "__init__", init)


def shrinking_forgets_the_level(patch: pytest.MonkeyPatch) -> None:
    def shrink(self: Journal, order: Order, lots: int) -> None:
        self._entries.append((3, order, lots, 0))
        order.lots -= lots

    patch.setattr(Journal, "shrink", shrink)


def fills_are_not_journaled(patch: pytest.MonkeyPatch) -> None:
    honest = Journal.fill

    def fill(self: Journal, order: Order, lots: int, fee: int) -> None:
        honest(self, order, lots, fee)
        self._entries.pop()

    patch.setattr(Journal, "fill", fill)


def undo_from_the_front(patch: pytest.MonkeyPatch) -> None:
    honest = Journal._take_back

    def take_back(self: Journal, entries: Any, lasts: Any, listed: Any) -> None:
        honest(self, list(reversed(entries)), lasts, listed)

    patch.setattr(Journal, "_take_back", take_back)


def farthest_stop_first(patch: pytest.MonkeyPatch) -> None:
    honest = Book.triggered
    patch.setattr(Book, "triggered", lambda self: iter(sorted(honest(self), key=lambda x: -x.key)))


def amended_keeps_its_rank(patch: pytest.MonkeyPatch) -> None:
    honest = Order.moved

    def moved(self: Order, terms: Any, ticks: int, lots: int, _rank: int) -> Order:
        return honest(self, terms, ticks, lots, self.rank)

    patch.setattr(Order, "moved", moved)


def whole_size_is_open_size(patch: pytest.MonkeyPatch) -> None:
    honest = Exchange._amended

    def amended(self: Exchange, order: Order, amendment: Any) -> Any:
        terms, lots, ticks = honest(self, order, amendment)
        return terms, lots + (order.filled if amendment.lots else 0), ticks

    patch.setattr(Exchange, "_amended", amended)


MISTAKES = (
    last_in_first_out,
    fees_round_down,
    each_fee_rounds_up,
    expired_orders_trade,
    own_orders_trade,
    decrement_is_cancel_oldest,
    one_fill_more,
    shrinking_forgets_the_level,
    fills_are_not_journaled,
    undo_from_the_front,
    farthest_stop_first,
    amended_keeps_its_rank,
    whole_size_is_open_size,
)


@pytest.mark.parametrize("mistake", MISTAKES, ids=lambda one: one.__name__)
def test_a_mistake_is_noticed(
    mistake: Callable[[pytest.MonkeyPatch], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    mistake(monkeypatch)
    with pytest.raises((AssertionError, KeyError)):
        Run(Exchange(LIMITS)).play(draw_script(Random(1), SCRIPT_STEPS))


def test_what_fails_is_cut_down(monkeypatch: pytest.MonkeyPatch) -> None:
    """One trade shows that fees are rounded the wrong way: two orders, whatever else was drawn."""
    fees_round_down(monkeypatch)
    with pytest.raises(Disagreement, match="seed 1: told") as failure:
        run_script(1, 200)
    assert str(failure.value).count("('place'") == 2
    assert "('block'" not in str(failure.value)
