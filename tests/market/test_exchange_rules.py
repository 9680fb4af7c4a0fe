"""The exchange's rules with figures worked out by hand, as a trader would tell them."""

from typing import Any

import pytest
from market_kit import ALICE, BOB, BTC_USD, BUY, CAROL, LOT, NOW_MS, SELL, STEP, Floor, order
from msgspec.structs import replace

from chaind.market.events import (
    Accepted,
    Amended,
    Done,
    Event,
    Matched,
    Move,
    Reason,
    Reduced,
    Triggered,
    moves,
)
from chaind.market.exchange import Held, Quote
from chaind.market.matching import Matching
from chaind.market.orders import Order
from chaind.market.turns import Turn, in_turn, turn_of
from chaind.primitives.hashes import sha256
from chaind.primitives.orders import (
    AmendOrder,
    CancelOrder,
    CancelOrders,
    Limits,
    PlaceOrder,
    SelfTrade,
    TimeInForce,
    Trigger,
)

DAVE = b"dave"
_GTC = {"time_in_force": TimeInForce.GTC}


def only(kind: type[Event], events: Any) -> list[Any]:
    return [event for event in events if isinstance(event, kind)]


def trades(events: Any) -> list[tuple[int, int, int]]:
    """(number of the maker, lots, price) of each trade."""
    return [(int.from_bytes(e.maker_id, "big"), e.lots, e.ticks) for e in only(Matched, events)]


def ends(events: Any) -> list[tuple[int, Reason, int]]:
    """(number of the order, why, lots that never traded) of each order that is done."""
    return [(int.from_bytes(e.order_id, "big"), e.reason, e.lots) for e in only(Done, events)]


def test_the_best_price_then_the_oldest_order() -> None:
    floor = Floor()
    floor.place(ALICE, SELL, 5, 102)
    floor.place(ALICE, SELL, 5, 101)
    floor.place(BOB, SELL, 5, 101)
    floor.place(CAROL, BUY, 13, 102)
    assert trades(floor.told) == [(2, 5, 101), (3, 5, 101), (1, 3, 102)]
    assert floor.queue(SELL) == [(1, 2)]
    assert floor.queue(BUY) == []
    assert floor.exchange.last_ticks("BTC/USD") == 102


def test_the_taker_gets_the_better_price_and_both_pay_from_what_they_receive() -> None:
    floor = Floor()
    ask = floor.place(ALICE, SELL, 3, 100)
    bid = floor.place(BOB, BUY, 5, 104)
    accepted, trade, done = floor.told
    assert accepted == Accepted("BTC/USD", bid, BOB, BUY, 5, 104, 5 * 104 * STEP)
    paid, got = 3 * 100 * STEP, 3 * LOT
    assert trade == Matched(
        "BTC/USD",
        (2 << 32) + 3,  # block 2; the two orders were its first and second place
        taker_id=bid,
        taker=BOB,
        maker_id=ask,
        maker=ALICE,
        taker_side=BUY,
        ticks=100,
        lots=3,
        base_units=got,
        quote_units=paid,
        taker_fee_units=6_000,  # 0.2 % of 0.03 BTC
        maker_fee_units=300_000,  # 0.1 % of 3 USD
        released_units=3 * 4 * STEP,
    )
    assert done == Done("BTC/USD", ask, ALICE, SELL, 0, Reason.FILLED, 0)
    assert list(moves(BTC_USD, accepted)) == [Move(BOB, "USD", -520 * STEP, 520 * STEP)]
    assert list(moves(BTC_USD, trade)) == [
        Move(BOB, "USD", 12 * STEP, -312 * STEP),
        Move(BOB, "BTC", got - 6_000, 0),
        Move(ALICE, "BTC", 0, -got),
        Move(ALICE, "USD", paid - 300_000, 0),
        Move(None, "BTC", 6_000, 0),
        Move(None, "USD", 300_000, 0),
    ]
    assert floor.queue(BUY) == [(2, 2)]


def test_fees_add_up_to_the_fee_of_the_sum_rounded_up_once() -> None:
    floor = Floor(replace(BTC_USD, lot_units=1, tick_units=10**8, maker_fee_ppm=33_333))
    floor.place(ALICE, SELL, 100, 100)
    charged = []
    for _ in range(10):
        floor.place(BOB, BUY, 1, 100)
        charged += [event.maker_fee_units for event in only(Matched, floor.told)]
    assert sum(charged) == 34  # 3.3333 % of 1,000, where each by itself would be 4
    assert charged == [4, 3, 3, 4, 3, 3, 4, 3, 3, 4]


def test_less_keeps_the_place_and_anything_else_loses_it() -> None:
    floor = Floor()
    first, second, third = (floor.place(who, BUY, 10, 99) for who in (ALICE, BOB, CAROL))
    (less,) = floor.amend(ALICE, first, lots=4)
    assert less == Reduced("BTC/USD", first, ALICE, BUY, 6, Reason.AMENDED, 6 * 99 * STEP)
    assert floor.queue(BUY) == [(1, 4), (2, 10), (3, 10)]
    (more,) = floor.amend(BOB, second, lots=11)
    assert more == Amended("BTC/USD", second, BOB, BUY, 11, 99, 0, 99 * STEP)
    assert floor.queue(BUY) == [(1, 4), (3, 10), (2, 11)]
    (better,) = floor.amend(CAROL, third, lots=2, ticks=100)
    assert better == Amended("BTC/USD", third, CAROL, BUY, 2, 100, 0, (200 - 990) * STEP)
    assert floor.queue(BUY) == [(3, 2), (1, 4), (2, 11)]


def test_an_amended_quantity_counts_what_has_traded() -> None:
    floor = Floor()
    bid = floor.place(ALICE, BUY, 10, 99)
    floor.place(BOB, SELL, 6, 99)
    assert only(Reduced, floor.amend(ALICE, bid, lots=8))[0].lots == 2
    assert floor.queue(BUY) == [(1, 2)]
    (done,) = floor.amend(ALICE, bid, lots=5)
    assert done == Done("BTC/USD", bid, ALICE, BUY, 2, Reason.AMENDED, 2 * 99 * STEP)


def test_an_amended_price_trades_where_it_reaches_the_other_side() -> None:
    floor = Floor()
    bid = floor.place(ALICE, BUY, 10, 99)
    floor.place(BOB, SELL, 4, 101)
    assert trades(floor.amend(ALICE, bid, ticks=102)) == [(2, 4, 101)]
    assert floor.queue(BUY) == [(1, 6)]


@pytest.mark.parametrize(
    ("mode", "ended", "bids", "asks"),
    [
        (SelfTrade.CANCEL_NEWEST, [(3, Reason.SELF_TRADE, 10)], [], [(1, 4), (2, 5)]),
        (SelfTrade.CANCEL_OLDEST, [(1, Reason.SELF_TRADE, 4)], [(3, 5)], []),
        (
            SelfTrade.CANCEL_BOTH,
            [(1, Reason.SELF_TRADE, 4), (3, Reason.SELF_TRADE, 10)],
            [],
            [(2, 5)],
        ),
        (SelfTrade.DECREMENT, [(1, Reason.SELF_TRADE, 4)], [(3, 1)], []),
    ],
)
def test_an_account_does_not_trade_with_itself(
    mode: SelfTrade, ended: Any, bids: Any, asks: Any
) -> None:
    floor = Floor()
    floor.place(ALICE, SELL, 4, 100)
    floor.place(BOB, SELL, 5, 100)
    floor.place(ALICE, BUY, 10, 100, self_trade=mode)
    assert [one for one in ends(floor.told) if one[1] is not Reason.FILLED] == ended
    assert (floor.queue(BUY), floor.queue(SELL)) == (bids, asks)


def test_decrement_takes_the_smaller_from_the_larger() -> None:
    floor = Floor()
    floor.place(ALICE, SELL, 9, 100)
    floor.place(ALICE, BUY, 4, 100, self_trade=SelfTrade.DECREMENT)
    assert only(Reduced, floor.told)[0].released_units == 4 * LOT
    assert ends(floor.told) == [(2, Reason.SELF_TRADE, 4)]
    assert floor.queue(SELL) == [(1, 5)]


@pytest.mark.parametrize(
    ("more", "ended", "left"),
    [
        ({"time_in_force": TimeInForce.IOC}, [(2, Reason.UNFILLED, 6)], []),
        ({"time_in_force": TimeInForce.GTC}, [], [(2, 6)]),
        ({"time_in_force": TimeInForce.GTT, "expires_ms": NOW_MS + 1}, [], [(2, 6)]),
    ],
)
def test_what_becomes_of_the_rest(more: Any, ended: Any, left: Any) -> None:
    floor = Floor()
    floor.place(ALICE, SELL, 4, 100)
    floor.place(BOB, BUY, 10, 100, **more)
    assert [one for one in ends(floor.told) if one[1] is not Reason.FILLED] == ended
    assert floor.queue(BUY) == left


def test_a_market_order_reaches_to_the_edge_of_the_band() -> None:
    floor = Floor(replace(BTC_USD, band_ppm=20_000))
    for ticks in (101, 102, 103):
        floor.place(ALICE, SELL, 1, ticks)
    assert floor.exchange.reserve_for(order(BUY, 4)) == Held("USD", 4 * 102 * STEP)
    floor.place(BOB, BUY, 4)
    assert trades(floor.told) == [(1, 1, 101), (2, 1, 102)]
    assert ends(floor.told)[-1] == (4, Reason.UNFILLED, 2)
    assert only(Done, floor.told)[-1].released_units == 2 * 102 * STEP


def test_the_band_moves_with_the_last_price_of_the_block_before() -> None:
    floor = Floor()  # 10 % around 100
    floor.place(ALICE, SELL, 2, 110)
    floor.place(BOB, BUY, 1, 110)
    assert floor.exchange.reserve_for(order(BUY, 1)).units == 110 * STEP
    floor.next_block(NOW_MS + 1)
    assert floor.exchange.reserve_for(order(BUY, 1)).units == 121 * STEP


def test_stops_wait_for_the_last_price_and_arrive_at_the_end_of_the_block() -> None:
    floor = Floor()
    floor.place(ALICE, BUY, 2, 99)
    floor.place(ALICE, BUY, 9, 97)
    low = floor.place(CAROL, SELL, 3, trigger=Trigger.STOP, stop_ticks=98, **_GTC)
    high = floor.place(CAROL, SELL, 1, trigger=Trigger.STOP, stop_ticks=99, **_GTC)
    floor.place(DAVE, BUY, 1, 97, trigger=Trigger.STOP, stop_ticks=100)
    floor.place(BOB, SELL, 1, 99)
    triggered, _ = floor.next_block(NOW_MS + 1)
    assert [e.order_id for e in only(Triggered, triggered)] == [high]
    assert trades(triggered) == [(1, 1, 99)]
    floor.place(BOB, SELL, 1, 97)
    triggered, _ = floor.next_block(NOW_MS + 2)
    assert [e.order_id for e in only(Triggered, triggered)] == [low]
    assert trades(triggered) == [(2, 3, 97)]
    assert not floor.exchange.open_orders(CAROL)
    assert len(floor.exchange.open_orders(DAVE)) == 1


def test_take_profit_waits_for_the_other_way() -> None:
    floor = Floor()
    floor.place(ALICE, SELL, 1, 99)
    floor.place(DAVE, BUY, 1, 99, trigger=Trigger.TAKE_PROFIT, stop_ticks=99)
    floor.place(CAROL, SELL, 1, 105, trigger=Trigger.TAKE_PROFIT, stop_ticks=105)
    floor.place(BOB, BUY, 1, 99)
    triggered, _ = floor.next_block(NOW_MS + 1)
    assert [e.account for e in only(Triggered, triggered)] == [DAVE]
    assert floor.queue(BUY) == [(2, 1)]


def test_what_triggered_orders_trigger_waits_for_the_next_block() -> None:
    floor = Floor()
    floor.place(ALICE, BUY, 2, 99)
    floor.place(ALICE, BUY, 2, 98)
    floor.place(BOB, SELL, 2, trigger=Trigger.STOP, stop_ticks=99, **_GTC)
    floor.place(CAROL, SELL, 1, trigger=Trigger.STOP, stop_ticks=98, **_GTC)
    floor.place(DAVE, SELL, 1, 99)
    first, _ = floor.next_block(NOW_MS + 1)
    second, _ = floor.next_block(NOW_MS + 2)
    assert [e.account for e in only(Triggered, first)] == [BOB]
    assert trades(first) == [(1, 1, 99), (2, 1, 98)]
    assert [e.account for e in only(Triggered, second)] == [CAROL]


def test_a_triggered_limit_order_beyond_the_band_is_cancelled() -> None:
    floor = Floor()
    floor.place(ALICE, SELL, 1, 101)
    floor.place(CAROL, BUY, 1, 130, trigger=Trigger.STOP, stop_ticks=101)
    floor.place(BOB, BUY, 1, 101)
    triggered, _ = floor.next_block(NOW_MS + 1)
    assert ends(triggered) == [(2, Reason.OUT_OF_BAND, 1)]


def test_at_most_so_many_triggers_and_expiries_a_block() -> None:
    floor = Floor(limits=Limits(triggers_per_block_max=2, expiries_per_block_max=2))
    for number in range(3):
        floor.place(CAROL, SELL, 1, 110, trigger=Trigger.STOP, stop_ticks=110 - number)
        floor.place(CAROL, BUY, 1, 90, time_in_force=TimeInForce.GTT, expires_ms=NOW_MS + 9)
    floor.place(ALICE, BUY, 1, 100)
    floor.place(BOB, SELL, 1, 100)
    counts = []
    for _ in range(3):
        triggered, expired = floor.next_block(NOW_MS + 9)
        counts.append((len(only(Triggered, triggered)), len(only(Done, expired))))
    assert counts == [(2, 2), (1, 1), (0, 0)]


def test_a_block_looks_no_further_than_what_is_due(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever waits for later costs a block nothing: one look tells that it is not due."""
    floor = Floor()
    for number in range(50):
        more = {"time_in_force": TimeInForce.GTT, "expires_ms": NOW_MS + 9}
        floor.place(CAROL, BUY, 1, 50 + number, **more)
    looks = 0

    def counted(self: Matching, order: Order) -> bool:
        nonlocal looks
        looks += 1
        return honest(self, order)

    honest = Matching.expired
    monkeypatch.setattr(Matching, "expired", counted)
    assert floor.next_block(NOW_MS + 1) == ([], [])
    assert looks == 1


def test_an_expired_order_cannot_trade_while_it_waits_to_be_cleared_away() -> None:
    floor = Floor(limits=Limits(expiries_per_block_max=1))
    for _ in range(2):
        floor.place(ALICE, SELL, 1, 100, time_in_force=TimeInForce.GTT, expires_ms=NOW_MS + 1)
    floor.place(ALICE, SELL, 1, 101)
    floor.next_block(NOW_MS + 1)
    assert floor.queue(SELL) == [(2, 1), (3, 1)]
    floor.place(BOB, BUY, 1, 101)
    assert ends(floor.told)[0] == (2, Reason.EXPIRED, 1)
    assert trades(floor.told) == [(3, 1, 101)]


def test_an_order_meets_at_most_so_many_others() -> None:
    floor = Floor(limits=Limits(fills_per_order_max=2))
    for _ in range(3):
        floor.place(ALICE, SELL, 1, 100)
    floor.place(BOB, BUY, 9, 100)
    assert len(trades(floor.told)) == 2
    assert ends(floor.told)[-1] == (4, Reason.FILLS_EXCEEDED, 7)
    floor.place(BOB, BUY, 9, 99)
    assert floor.queue(BUY) == [(5, 9)]


def test_cancel_all_takes_a_market_or_a_side_oldest_first() -> None:
    floor = Floor(BTC_USD, replace(BTC_USD, symbol="ETH/USD", base="ETH"))
    floor.place(ALICE, SELL, 1, 109)
    floor.place(ALICE, BUY, 1, 91)
    floor.place(ALICE, BUY, 1, 92, symbol="ETH/USD")
    floor.place(BOB, BUY, 1, 93)
    assert ends(floor.exchange.cancel_all(ALICE, "BTC/USD", BUY)) == [(2, Reason.CANCELLED, 1)]
    assert ends(floor.exchange.cancel_all(ALICE)) == [
        (1, Reason.CANCELLED, 1),
        (3, Reason.CANCELLED, 1),
    ]
    assert floor.queue(BUY) == [(4, 1)]


def test_a_client_order_id_names_an_open_order_and_is_free_again_afterwards() -> None:
    floor = Floor()
    first = floor.place(ALICE, BUY, 1, 99, client_id="mine")
    floor.place(BOB, BUY, 1, 99, client_id="mine")
    named = floor.exchange.named(ALICE, "mine")
    assert named is not None
    assert named.id == first
    floor.exchange.cancel(ALICE, first)
    assert floor.exchange.named(ALICE, "mine") is None
    floor.place(ALICE, BUY, 1, 98, client_id="mine")
    assert floor.exchange.named(ALICE, "mine") is not None


def test_depth_and_reserves_are_told_without_a_change() -> None:
    floor = Floor()
    bid = floor.place(ALICE, BUY, 2, 99)
    floor.place(BOB, BUY, 3, 99)
    floor.place(BOB, BUY, 4, 98)
    assert floor.exchange.depth("BTC/USD", BUY, 1) == [Quote(99, 5, 2)]
    assert floor.exchange.depth("BTC/USD", SELL, 9) == []
    assert floor.exchange.reserve_to_amend(AmendOrder(ALICE, bid, lots=5, ticks=100)) == Held(
        "USD", (500 - 198) * STEP
    )
    assert floor.exchange.markets() == [BTC_USD]


def test_cancels_come_first_then_what_rests_then_what_takes() -> None:
    parent = bytes(32)
    rest, take = order(BUY, 1), order(BUY, 1)
    actions = {
        b"a": PlaceOrder(ALICE, take),
        b"b": PlaceOrder(ALICE, replace(rest, post_only=True)),
        b"c": CancelOrder(ALICE, bytes(32)),
        b"d": CancelOrders(ALICE),
        b"e": AmendOrder(ALICE, bytes(32), lots=1),
        b"f": AmendOrder(ALICE, bytes(32), lots=1, post_only=True),
    }
    classes = [Turn.TAKE, Turn.REST, Turn.CANCEL, Turn.CANCEL, Turn.TAKE, Turn.REST]
    assert [turn_of(action) for action in actions.values()] == classes
    turns = in_turn(parent, actions.items())
    assert turns == in_turn(parent, reversed(list(actions.items())))
    assert {*turns[:2]} == {b"c", b"d"}
    assert {*turns[2:4]} == {b"b", b"f"}
    for pair in (turns[:2], turns[2:4], turns[4:]):
        assert pair == sorted(pair, key=lambda txid: sha256(parent + txid))
    others = [in_turn(bytes([n]) * 32, actions.items()) for n in range(8)]
    assert len({tuple(one) for one in others}) > 1
