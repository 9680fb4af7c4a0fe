"""Every rule of the exchange that an action can break: its code, and that nothing changed."""

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from market_books import dump
from market_kit import ALICE, BOB, BTC_USD, BUY, CAROL, NOW_MS, SELL, Floor
from msgspec.structs import replace

from chaind.market import errors
from chaind.market.checks import check_market, to_lots, to_ticks
from chaind.market.errors import (
    REFUSALS,
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
    PriceOffTick,
    PriceOutOfBand,
    QuantityOffLot,
)
from chaind.primitives.amounts import AMOUNT_MAX
from chaind.primitives.errors import ChaindError
from chaind.primitives.orders import (
    BAND_PPM_MAX,
    FEE_PPM_MAX,
    Kind,
    Limits,
    Market,
    SelfTrade,
    TimeInForce,
    Trigger,
)

SMALLEST = 300_000_000  # 3 USD: three lots at 100
LIMITS = Limits(open_orders_max=3, fills_per_order_max=2)
GTT, FOK, IOC = TimeInForce.GTT, TimeInForce.FOK, TimeInForce.IOC
STOP = Trigger.STOP

LEAVES = [
    value
    for value in vars(errors).values()
    if isinstance(value, type) and value.__module__ == errors.__name__
]


@pytest.fixture
def floor() -> Floor:
    """Bids of alice at 95 and 94, asks of bob at 105 and 106; carol has all orders she may."""
    floor = Floor(replace(BTC_USD, min_notional_units=SMALLEST), limits=LIMITS)
    floor.place(ALICE, BUY, 10, 95, client_id="mine")
    floor.place(ALICE, BUY, 10, 94)
    floor.place(BOB, SELL, 10, 105)
    floor.place(BOB, SELL, 10, 106)
    for ticks in (91, 92, 93):
        floor.place(CAROL, BUY, 10, ticks)
    return floor


def number(value: int) -> bytes:
    return value.to_bytes(32, "big")


def placing(account: bytes, *values: Any, **more: Any) -> Callable[[Floor], object]:
    return lambda floor: floor.place(account, *values, **more)


def amending(account: bytes, which: int, **values: Any) -> Callable[[Floor], object]:
    return lambda floor: floor.amend(account, number(which), **values)


def cancelling(account: bytes, which: int) -> Callable[[Floor], object]:
    return lambda floor: floor.exchange.cancel(account, number(which))


REFUSED: tuple[tuple[type[ChaindError], Callable[[Floor], object]], ...] = (
    (MarketUnknown, placing(ALICE, BUY, 10, 95, symbol="ETH/USD")),
    (MarketUnknown, lambda floor: floor.exchange.cancel_all(ALICE, "ETH/USD")),
    (MarketUnknown, lambda floor: floor.exchange.depth("ETH/USD", BUY, 1)),
    (MarketExists, lambda floor: floor.exchange.list_market(BTC_USD)),
    (MarketInvalid, lambda floor: floor.exchange.list_market(replace(BTC_USD, symbol="A/B"))),
    (OrderInvalid, placing(ALICE, BUY, 0, 95)),
    (OrderInvalid, placing(ALICE, BUY, -1, 95)),
    (OrderInvalid, placing(ALICE, BUY, 10, -95)),
    (OrderInvalid, placing(ALICE, BUY, 10, kind=Kind.LIMIT)),
    (OrderInvalid, placing(ALICE, BUY, 10, 95, kind=Kind.MARKET, time_in_force=IOC)),
    (OrderInvalid, placing(ALICE, BUY, 10, time_in_force=TimeInForce.GTC)),
    (OrderInvalid, placing(ALICE, BUY, 10, post_only=True)),
    (OrderInvalid, placing(ALICE, BUY, 10, 95, post_only=True, time_in_force=IOC)),
    (OrderInvalid, placing(ALICE, BUY, 10, 95, post_only=True, trigger=STOP, stop_ticks=99)),
    (OrderInvalid, placing(ALICE, BUY, 10, 95, trigger=STOP)),
    (OrderInvalid, placing(ALICE, BUY, 10, 95, stop_ticks=99)),
    (OrderInvalid, placing(ALICE, BUY, 10, 95, trigger=STOP, stop_ticks=-99)),
    (OrderInvalid, placing(ALICE, BUY, 10, 95, trigger=STOP, stop_ticks=9, time_in_force=FOK)),
    (OrderInvalid, placing(ALICE, BUY, 10, 95, time_in_force=GTT)),
    (OrderInvalid, placing(ALICE, BUY, 10, 95, expires_ms=5_000)),
    (OrderInvalid, placing(ALICE, BUY, 10, 95, time_in_force=GTT, expires_ms=-1)),
    (OrderInvalid, placing(ALICE, BUY, 10, 95, time_in_force=GTT, expires_ms=1 << 60)),
    (OrderInvalid, placing(ALICE, BUY, 10, 95, client_id="a" * 37)),
    (OrderInvalid, placing(ALICE, BUY, 10, 95, client_id="später")),
    (OrderInvalid, placing(ALICE, BUY, 10, 95, client_id="a\n")),
    (OrderInvalid, amending(ALICE, 1, lots=-3)),
    (OrderInvalid, amending(ALICE, 1, ticks=-3)),
    (OrderInvalid, amending(ALICE, 1, stop_ticks=99)),
    (NotionalTooSmall, placing(ALICE, BUY, 3, 95)),
    (NotionalTooSmall, placing(ALICE, BUY, 2)),
    (NotionalTooSmall, placing(ALICE, SELL, 3, trigger=STOP, stop_ticks=99)),
    (NotionalTooSmall, amending(ALICE, 1, lots=3)),
    (NotionalTooLarge, placing(ALICE, BUY, AMOUNT_MAX // 95_000_000 + 1, 95)),
    (NotionalTooLarge, placing(ALICE, BUY, AMOUNT_MAX // 110_000_000 + 1)),
    (NotionalTooLarge, placing(ALICE, SELL, AMOUNT_MAX // 1_000_000 + 1)),
    (NotionalTooLarge, amending(ALICE, 1, lots=AMOUNT_MAX // 1_000_000)),
    (PriceOutOfBand, placing(ALICE, BUY, 10, 111)),
    (PriceOutOfBand, placing(ALICE, SELL, 10, 89)),
    (PriceOutOfBand, amending(ALICE, 1, ticks=111)),
    (PostOnlyWouldTake, placing(ALICE, BUY, 10, 105, post_only=True)),
    (PostOnlyWouldTake, placing(ALICE, SELL, 10, 95, post_only=True)),
    (PostOnlyWouldTake, amending(ALICE, 1, ticks=105, post_only=True)),
    (FillOrKillUnfilled, placing(ALICE, BUY, 11, 105, time_in_force=FOK)),
    (FillOrKillUnfilled, placing(ALICE, BUY, 21, time_in_force=FOK)),
    (FillOrKillUnfilled, placing(BOB, BUY, 4, 106, time_in_force=FOK)),
    (ExpiryPassed, placing(ALICE, BUY, 10, 95, time_in_force=GTT, expires_ms=NOW_MS)),
    (OpenOrdersExceeded, placing(CAROL, BUY, 10, 94)),
    (OpenOrdersExceeded, placing(CAROL, SELL, 10, trigger=STOP, stop_ticks=99, time_in_force=IOC)),
    (ClientOrderIdTaken, placing(ALICE, SELL, 10, 110, client_id="mine")),
    (OrderNotOpen, cancelling(ALICE, 99)),
    (OrderNotOpen, cancelling(ALICE, 3)),
    (OrderNotOpen, amending(ALICE, 99, lots=5)),
    (OrderNotOpen, amending(BOB, 1, lots=5)),
    (AmendmentEmpty, amending(ALICE, 1)),
    (AmendmentEmpty, amending(ALICE, 1, lots=10, ticks=95)),
)


@pytest.mark.parametrize(
    ("error", "act"), REFUSED, ids=[f"{n}-{error.code}" for n, (error, _) in enumerate(REFUSED)]
)
def test_what_is_refused_changes_nothing(
    floor: Floor, error: type[ChaindError], act: Callable[[Floor], object]
) -> None:
    before = dump(floor.exchange)
    with pytest.raises(error) as raised:
        act(floor)
    assert isinstance(raised.value, REFUSALS)
    assert dump(floor.exchange) == before
    assert floor.exchange.trigger() == []
    floor.exchange.journal.seal()
    standing = dump(floor.exchange)
    floor.begin(NOW_MS)
    with pytest.raises(error):
        act(floor)
    assert floor.exchange.journal.seal().writes == ()
    assert dump(floor.exchange) == standing


@pytest.mark.parametrize(
    "act",
    [
        placing(ALICE, BUY, 20, 106, time_in_force=FOK),
        placing(BOB, BUY, 4, 105, self_trade=SelfTrade.CANCEL_OLDEST),
        placing(ALICE, BUY, 4, 104, post_only=True),
        placing(ALICE, SELL, 4, 96, post_only=True),
        placing(ALICE, BUY, 4, 94, time_in_force=GTT, expires_ms=NOW_MS + 1),
        placing(b"dave", BUY, 3, 100),
        placing(b"dave", BUY, 3),
        placing(b"dave", BUY, 4, 110),
        placing(b"dave", SELL, 4, 90, client_id="mine"),
        placing(CAROL, SELL, 4, 95, time_in_force=IOC),
        amending(ALICE, 1, lots=4),
        amending(ALICE, 1, ticks=104, post_only=True),
    ],
)
def test_just_within_each_bound(floor: Floor, act: Callable[[Floor], object]) -> None:
    """What the table refuses, one step nearer: it is not the neighbour that is wrong."""
    before = dump(floor.exchange)
    act(floor)
    assert dump(floor.exchange) != before


@pytest.mark.parametrize(
    ("values", "reason"),
    [
        ({"base": "btc", "symbol": "btc/USD"}, "no asset"),
        ({"quote": "BTC", "symbol": "BTC/BTC"}, "same asset"),
        ({"symbol": "BTC-USD"}, "symbol is not"),
        ({"tick_units": 0}, "tick_units"),
        ({"lot_units": 0}, "lot_units"),
        ({"tick_units": 10, "lot_units": 1_000_000}, "not a multiple"),
        ({"reference_ticks": 0}, "reference_ticks"),
        ({"reference_ticks": AMOUNT_MAX // 1_000_000 + 1}, "more than any amount"),
        ({"min_notional_units": -1}, "min_notional"),
        ({"maker_fee_ppm": -1}, "maker_fee"),
        ({"maker_fee_ppm": FEE_PPM_MAX + 1}, "maker_fee"),
        ({"taker_fee_ppm": FEE_PPM_MAX + 1}, "taker_fee"),
        ({"band_ppm": 0}, "band_ppm"),
        ({"band_ppm": BAND_PPM_MAX + 1}, "band_ppm"),
    ],
)
def test_a_market_whose_numbers_do_not_fit(values: dict[str, Any], reason: str) -> None:
    check_market(BTC_USD)
    with pytest.raises(MarketInvalid, match=reason):
        check_market(replace(BTC_USD, **values))


def test_prices_and_quantities_between_ticks_and_lots() -> None:
    market: Market = BTC_USD
    assert to_ticks(market, 45_000_00000000) == 45_000
    assert to_lots(market, 1_50000000) == 150
    with pytest.raises(
        PriceOffTick, match=re.escape("price 45000.5 is not a multiple of the tick 1 ")
    ):
        to_ticks(market, 45_000_50000000)
    with pytest.raises(
        QuantityOffLot, match=re.escape("quantity 0.005 is not a multiple of the lot 0.01 ")
    ):
        to_lots(market, 500_000)


def test_every_error_of_the_room_has_a_case() -> None:
    text = Path(__file__).read_text()
    body = text[text.index("SMALLEST =") :]
    assert [leaf.__name__ for leaf in LEAVES if leaf.__name__ not in body] == []
