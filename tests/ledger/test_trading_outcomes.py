"""Orders in blocks: outcomes that are paid for, the order of turns, and what all of it costs."""

from collections.abc import Callable
from typing import Any

import pytest
from ledger_builders import ALICE, BOB
from ledger_chain import TIME_MS
from trading_kit import Pit, events_of

from chaind.ledger.actions import COST_MEETING
from chaind.ledger.checks import COST_SIGNATURE
from chaind.ledger.errors import (
    BlockInvalid,
    BlockOutOfTurn,
    TransactionTooLarge,
)
from chaind.ledger.trading import OUTCOMES, Refused
from chaind.market import errors as market_errors
from chaind.market.errors import (
    AmendmentEmpty,
    ClientOrderIdTaken,
    ExpiryPassed,
    FillOrKillUnfilled,
    MarketExists,
    MarketInvalid,
    MarketUnknown,
    NotionalTooLarge,
    NotionalTooSmall,
    OpenOrdersExceeded,
    OrderInvalid,
    OrderNotOpen,
    PostOnlyWouldTake,
    PriceOutOfBand,
)
from chaind.market.events import Matched
from chaind.primitives.codec import encode
from chaind.primitives.errors import ChaindError
from chaind.primitives.orders import (
    BUY,
    SELL,
    TimeInForce,
)
from chaind.primitives.transaction import Transaction


def one_bid(pit: Pit) -> bytes:
    bid = pit.place(ALICE, BUY, 5, 10, client_id="mine")
    pit.trade(bid)
    return bid.txid


Made = Callable[[Pit, bytes], Transaction]
OUTCOME_CASES: list[tuple[type[ChaindError], Made]] = [
    (PostOnlyWouldTake, lambda pit, _: pit.place(BOB, SELL, 1, 10, post_only=True)),
    (FillOrKillUnfilled, lambda pit, _: pit.place(BOB, SELL, 6, 10, time_in_force=TimeInForce.FOK)),
    (OrderNotOpen, lambda pit, _: pit.cancel(ALICE, bytes(32))),
    (OrderNotOpen, lambda pit, bid: pit.cancel(BOB, bid)),
    (OrderNotOpen, lambda pit, _: pit.amend(ALICE, bytes(32), lots=1)),
    (ClientOrderIdTaken, lambda pit, _: pit.place(ALICE, BUY, 1, 9, client_id="mine")),
    (PriceOutOfBand, lambda pit, _: pit.place(ALICE, BUY, 1, 16)),
    (
        ExpiryPassed,
        lambda pit, _: pit.place(
            ALICE, BUY, 1, 9, time_in_force=TimeInForce.GTT, expires_ms=TIME_MS
        ),
    ),
    (AmendmentEmpty, lambda pit, bid: pit.amend(ALICE, bid, lots=5)),
    (NotionalTooSmall, lambda pit, bid: pit.amend(ALICE, bid, lots=1, ticks=1)),
    (NotionalTooLarge, lambda pit, bid: pit.amend(ALICE, bid, lots=10**10, ticks=10**9)),
    (OrderInvalid, lambda pit, bid: pit.amend(ALICE, bid, stop_ticks=9)),
]


@pytest.mark.parametrize(("error", "make"), OUTCOME_CASES)
def test_what_the_book_says_is_an_outcome_that_changes_nothing(
    error: type[ChaindError], make: Made
) -> None:
    pit = Pit()
    bid = one_bid(pit)
    before, digest = pit.all_rows(), pit.state.books.journal.digest
    transaction = make(pit, bid)
    executed = pit.trade(transaction)
    (receipt,) = executed.receipts
    assert receipt.refused is not None
    assert type(receipt.refused.error()) is error
    assert receipt.refused.error().values
    after = pit.all_rows()
    applied = receipt.checked.applied_row
    assert {key for key in {*before, *after} if before.get(key) != after.get(key)} == {applied}
    assert pit.state.books.journal.digest == digest


def test_every_outcome_has_a_case() -> None:
    assert {error for error, _ in OUTCOME_CASES} == set(OUTCOMES)


@pytest.mark.parametrize("error", OUTCOMES)
def test_a_kept_outcome_says_what_the_error_said(error: Any) -> None:
    names = Refused.of(error(**VALUES)).error().values
    assert str(Refused.of(error(**VALUES)).error()) == str(error(**VALUES))
    assert set(names) <= set(VALUES)
    assert encode(Refused.of(error(**VALUES)))


VALUES: dict[str, object] = {
    "best_ticks": 1,
    "ticks": 2,
    "available_lots": 3,
    "lots": 4,
    "order_id": "ab",
    "client_id": "x",
    "edge_ticks": 5,
    "chain_time_ms": 6,
    "expires_ms": 7,
    "asset": "GOLD",
    "needed": "8",
    "notional": "9",
    "limit": 10,
    "reason": "so",
}


# --- turns


def test_orders_stand_at_the_end_of_a_block_in_their_turns() -> None:
    pit = Pit()
    orders = [pit.place(ALICE, BUY, 1, 9 - index % 2) for index in range(4)]
    right = pit.in_turn([*orders, pit.pay(3)])
    first, second = right[-2:]
    wrong = [[*right[:-2], second, first], [*right[1:], right[0]], [right[1], right[0], *right[2:]]]
    for listed in wrong:
        pit.refuses(BlockOutOfTurn, lambda listed=listed: pit.add(pit.block(*listed)))  # type: ignore[misc]
    pit.refuses(
        BlockOutOfTurn,
        lambda: pit.add(pit.block(*wrong[0])),
        given=second.txid.hex(),
        due=first.txid.hex(),
        index=3,
    )
    pit.add(pit.block(*right))


def test_a_cancel_comes_before_what_would_trade_with_its_order() -> None:
    pit = Pit()
    bid = one_bid(pit)
    taker = pit.place(BOB, SELL, 5, 10)
    executed = pit.trade(taker, pit.cancel(ALICE, bid))
    assert not [one for one in events_of(executed, taker.txid) if isinstance(one, Matched)]


# --- cost


def test_what_an_order_meets_is_charged_to_the_block() -> None:
    pit = Pit(fills_per_order_max=10, open_orders_max=10)
    asks = [pit.place(BOB, SELL, 1, 10) for _ in range(3)]
    pit.trade(*asks)
    (plain,) = pit.check([pit.place(ALICE, BUY, 3, 11)])
    assert plain.room == plain.cost + 10 * COST_MEETING
    assert pit.check([pit.cancel(ALICE, bytes(32))])[0].room == plain.cost + COST_MEETING
    assert pit.check([pit.place(ALICE, BUY, 3, 11, post_only=True)])[0].room == plain.cost
    limit = plain.room + 3 * COST_MEETING
    for spare, error in ((0, None), (-1, BlockInvalid)):
        again = Pit(
            fills_per_order_max=10,
            open_orders_max=10,
            block_cost_max=plain.cost + limit + spare,
        )
        again.trade(*(again.place(BOB, SELL, 1, 10, post_only=True) for _ in range(3)))
        two = [again.place(ALICE, BUY, 3, 11) for _ in range(2)]
        if error is None:
            again.trade(*two)
        else:
            again.refuses(error, lambda again=again, two=two: again.trade(*two), reason="cost")  # type: ignore[misc]


def test_a_cancel_all_needs_room_for_what_is_open() -> None:
    pit = Pit()
    paid, cancel = (one.cost for one in pit.check([pit.pay(1), pit.cancel_all(ALICE)]))
    for spare, error in ((0, None), (-1, BlockInvalid)):
        limits = {"fills_per_order_max": 1, "open_orders_max": 4}
        again = Pit(**limits, block_cost_max=paid + cancel + 3 * COST_MEETING + spare)
        for _ in range(3):
            again.trade(again.place(ALICE, BUY, 1, 9, post_only=True))
        two = [again.pay(1), again.cancel_all(ALICE)]
        if error is None:
            again.trade(*two)
            assert not again.state.books.journal.orders
        else:
            again.refuses(error, lambda again=again, two=two: again.trade(*two), reason="cost")  # type: ignore[misc]


def test_an_order_that_no_block_has_room_for() -> None:
    pit = Pit(block_cost_max=COST_SIGNATURE + 100)
    with pytest.raises(TransactionTooLarge):
        pit.check([pit.place(ALICE, BUY, 1, 10)])


def test_no_error_of_the_market_is_forgotten() -> None:
    """What the engine raises keeps an order out, or is an outcome."""
    told = {
        *OUTCOMES,
        *(MarketExists, MarketInvalid, MarketUnknown, OpenOrdersExceeded),
        *(market_errors.PriceOffTick, market_errors.QuantityOffLot),  # of the API's decimals
    }
    leaves = {
        kind
        for kind in vars(market_errors).values()
        if isinstance(kind, type)
        and issubclass(kind, ChaindError)
        and kind.__module__ == market_errors.__name__
    }
    assert told == leaves
