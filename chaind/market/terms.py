"""What a market is and what a trader may ask of it. Values only.

Prices are whole ticks and quantities whole lots. One lot at one tick costs a whole number of base
units of the quote asset (`step_units`), so no price times no quantity is ever rounded.
"""

from enum import IntEnum

import msgspec

from chaind.primitives.amounts import UNIT

PPM = 1_000_000  # fees and bands are in parts per million
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


class Market(msgspec.Struct, frozen=True, array_like=True, gc=False):
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

    @property
    def step_units(self) -> int:
        """Quote units of one lot at one tick; exact, see `check_market`."""
        step_units: int = self.tick_units * self.lot_units // UNIT
        return step_units


class Terms(msgspec.Struct, frozen=True, array_like=True, gc=False):
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


class Place(msgspec.Struct, frozen=True, array_like=True, tag=0, gc=False):
    """A new order."""

    terms: Terms


class Cancel(msgspec.Struct, frozen=True, array_like=True, tag=1, gc=False):
    """Takes one open order back."""

    order_id: bytes


class CancelAll(msgspec.Struct, frozen=True, array_like=True, tag=2, gc=False):
    """Takes back every open order of an account, or those of one market, or of one side of it."""

    symbol: str = ""
    side: Side | None = None


class Amend(msgspec.Struct, frozen=True, array_like=True, tag=3, gc=False):
    """Changes an open order; zero leaves a value as it is.

    `lots` is the new whole quantity, what has traded included: a fill that came in between never
    makes it trade more than was asked for. Less quantity alone keeps the order's place in its
    queue; anything else makes it the newest.
    """

    order_id: bytes
    lots: int = 0
    ticks: int = 0
    stop_ticks: int = 0
    post_only: bool = False  # refuse rather than take


Action = Place | Cancel | CancelAll | Amend


class Limits(msgspec.Struct, frozen=True, gc=False):
    """Bounds on the work that a block can ask for."""

    fills_per_order_max: int = 100  # makers that one order may meet; what is left is cancelled
    open_orders_max: int = 1_000  # of one account, pending triggers included
    expiries_per_block_max: int = 1_000
    triggers_per_block_max: int = 100
