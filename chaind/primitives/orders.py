"""What a market is and what a trader may ask of it. Values only.

Prices are whole ticks and quantities whole lots. One lot at one tick costs a whole number of base
units of the quote asset (`step_units`), so no price times no quantity is ever rounded.
"""

from enum import IntEnum
from typing import Union

import msgspec

from chaind.primitives.amounts import AMOUNT_MAX, UNIT, is_asset_symbol

PPM = 1_000_000  # fees and bands are in parts per million
FEE_PPM_MAX = PPM // 10  # a fee is a share of what is received, never all of it
BAND_PPM_MAX = PPM * PPM  # a million times the price: as good as none
NEVER_MS = 0  # `expires_ms` of an order that waits until it is done


class Side(IntEnum):
    """Who gives what: a buyer quote for base, a seller base for quote."""

    BUY = 0
    SELL = 1


class Kind(IntEnum):
    """A limit names its worst price; a market order takes the edge of the price band."""

    LIMIT = 0
    MARKET = 1


class TimeInForce(IntEnum):
    """What becomes of what does not trade at once."""

    GTC = 0  # it rests until it is cancelled
    GTT = 1  # it rests until `expires_ms` of chain time
    IOC = 2  # it is cancelled
    FOK = 3  # all of it trades at once, or none


class Trigger(IntEnum):
    """What an order waits for before it enters the book."""

    NONE = 0
    STOP = 1  # buy: the last price is `stop_ticks` or above; sell: or below
    TAKE_PROFIT = 2  # buy: the last price is `stop_ticks` or below; sell: or above


class SelfTrade(IntEnum):
    """What happens where an order meets one of its own account, in the arriving order's words."""

    CANCEL_NEWEST = 0  # the incoming one is cancelled
    CANCEL_OLDEST = 1  # the resting one is cancelled
    CANCEL_BOTH = 2
    DECREMENT = 3  # both lose the smaller quantity without a trade


# A member's name is looked up in its class at a cost that matching would pay many times an order.
BUY, SELL = Side
LIMIT, MARKET = Kind
GTC, GTT, IOC, FOK = TimeInForce
NONE, STOP, TAKE_PROFIT = Trigger
CANCEL_NEWEST, CANCEL_OLDEST, CANCEL_BOTH, DECREMENT = SelfTrade


class _Value(msgspec.Struct, array_like=True, frozen=True, gc=False, forbid_unknown_fields=True):
    pass


class _Action(_Value, frozen=True):
    pass


class Market(_Value, frozen=True):
    """The rules of one market. Units are base units; ppm parts per million."""

    symbol: str  # BASE/QUOTE
    base: str
    quote: str
    tick_units: int  # quote units that one tick adds to the price of a whole unit of base
    lot_units: int  # base units of one lot
    reference_ticks: int  # the price before the first trade
    min_notional_units: int = 0  # quote units that an order is worth at least
    maker_fee_ppm: int = 0
    taker_fee_ppm: int = 0
    band_ppm: int = 100_000  # how far from the last price of the block before an order may reach
    fee_account: bytes = b""  # an address: who is credited with the fees of its trades

    @property
    def step_units(self) -> int:
        """Quote units of one lot at one tick; exact, see `check_market`."""
        step_units: int = self.tick_units * self.lot_units // UNIT
        return step_units


class Terms(_Value, frozen=True):
    """An order as its trader asks for it; an amendment of quantity or price leaves it as it was."""

    symbol: str
    side: Side
    kind: Kind
    lots: int
    ticks: int = 0  # of a limit; a market order has none
    time_in_force: TimeInForce = GTC
    expires_ms: int = NEVER_MS  # of GTT, in chain time
    post_only: bool = False  # rests or is refused, never takes
    trigger: Trigger = NONE
    stop_ticks: int = 0  # of a trigger
    self_trade: SelfTrade = CANCEL_NEWEST
    client_id: str = ""  # unique among the open orders of its account

    @property
    def rests(self) -> bool:
        """Whether it can stand open after the block that brings it."""
        return self.trigger is not NONE or self.time_in_force in (GTC, GTT)


class PlaceOrder(_Action, frozen=True, tag=3):
    """A new order, which is named by its transaction's id."""

    owner: bytes
    terms: Terms


class CancelOrder(_Action, frozen=True, tag=4):
    """Takes one open order back."""

    owner: bytes
    order_id: bytes


class CancelOrders(_Action, frozen=True, tag=5):
    """Takes back every open order of an account, or those of one market, or of one side of it."""

    owner: bytes
    symbol: str = ""
    side: Side | None = None


class AmendOrder(_Action, frozen=True, tag=6):
    """Changes an open order; zero leaves a value as it is.

    `lots` is the new whole quantity, what has traded included: a fill that came in between never
    makes it trade more than was asked for. Less quantity alone keeps the order's place in its
    queue; anything else makes it the newest.
    """

    owner: bytes
    order_id: bytes
    lots: int = 0
    ticks: int = 0
    stop_ticks: int = 0
    post_only: bool = False  # refuse rather than take


class CreateMarket(_Action, frozen=True, tag=7):
    """Opens a market; the issuer of one of its assets signs."""

    issuer: bytes
    market: Market


OrderAction = Union[PlaceOrder, CancelOrder, CancelOrders, AmendOrder]  # noqa: UP007


class Limits(msgspec.Struct, frozen=True, gc=False):
    """Bounds on the work that a block can ask for."""

    fills_per_order_max: int = 100  # makers that one order may meet; what is left is cancelled
    open_orders_max: int = 1_000  # of one account, pending triggers included
    expiries_per_block_max: int = 1_000
    triggers_per_block_max: int = 100


def market_fault(market: Market) -> str | None:
    """Why prices and quantities of `market` are not exact and in range, None where they are."""
    return _wrong_names(market) or _wrong_numbers(market)


def _wrong_names(market: Market) -> str | None:
    for asset in (market.base, market.quote):
        if not is_asset_symbol(asset):
            return f"{asset[:20]!r} is no asset's symbol"
    if market.base == market.quote:
        return "base and quote are the same asset"
    if market.symbol != f"{market.base}/{market.quote}":
        return f"its symbol is not {market.base}/{market.quote}"
    return None


def _wrong_numbers(market: Market) -> str | None:
    bounds = (
        ("tick_units", market.tick_units, 1, AMOUNT_MAX),
        ("lot_units", market.lot_units, 1, AMOUNT_MAX),
        ("reference_ticks", market.reference_ticks, 1, AMOUNT_MAX),
        ("min_notional_units", market.min_notional_units, 0, AMOUNT_MAX),
        ("maker_fee_ppm", market.maker_fee_ppm, 0, FEE_PPM_MAX),
        ("taker_fee_ppm", market.taker_fee_ppm, 0, FEE_PPM_MAX),
        ("band_ppm", market.band_ppm, 1, BAND_PPM_MAX),
    )
    for name, value, low, high in bounds:
        if not low <= value <= high:
            return f"{name} is {value}, not within {low} and {high}"
    if market.tick_units * market.lot_units % UNIT:
        return f"tick_units times lot_units is not a multiple of {UNIT}"
    if market.reference_ticks * market.step_units > AMOUNT_MAX:
        return "one lot at the reference price is more than any amount"
    return None
