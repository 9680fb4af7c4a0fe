"""What is wrong with an order, in the words of whoever asked for it: fields and decimals.

Law: codes are those of the rules. The engine speaks of ticks and lots, which only it counts.
"""

from chaind.api.order_forms import TYPES
from chaind.market.errors import (
    FillOrKillUnfilled,
    NotionalTooLarge,
    OrderInvalid,
    PostOnlyWouldTake,
    PriceOffTick,
    PriceOutOfBand,
)
from chaind.node.orders import lots_of, ticks_of
from chaind.primitives.amounts import AMOUNT_MAX, AmountInvalid, format_amount, parse_amount
from chaind.primitives.errors import ChaindError
from chaind.primitives.orders import LIMIT, NONE, Market


def read_ticks(market: Market, field: str, value: object | None) -> int:
    """Ticks of a price that may be left out. Raises `AmountInvalid`, `PriceOffTick`."""
    if value is None:
        return 0
    try:
        return ticks_of(market, _units(field, value))
    except PriceOffTick as error:
        raise error.worded(
            "{field} {price} is not a multiple of the tick {tick} of {symbol}", field=field
        ) from None


def read_lots(market: Market, field: str, value: object | None) -> int:
    """Lots of a quantity that may be left out. Raises `AmountInvalid`, `QuantityOffLot`."""
    return 0 if value is None else lots_of(market, _units(field, value))


def _units(field: str, value: object) -> int:
    try:
        return parse_amount(value)
    except AmountInvalid as error:
        raise error.worded("{field} {amount} is refused: {reason}", field=field) from None


def check_given(
    kind_name: str,
    *,
    price: object | None,
    stop_price: object | None,
    time_in_force: str | None,
    expires_ms: int | None,
) -> None:
    """Raise `OrderInvalid` where a field is missing that another asks for, or has no use."""
    kind, trigger = TYPES[kind_name]
    if kind is LIMIT and price is None:
        refuse("price", f"is missing: orders of type {kind_name} have one")
    if kind is not LIMIT and price is not None:
        refuse("price", f"is not for orders of type {kind_name}, which trade at the market's")
    if trigger is not NONE and stop_price is None:
        refuse("stop_price", f"is missing: orders of type {kind_name} wait for it")
    if trigger is NONE and stop_price is not None:
        refuse("stop_price", f"is not for orders of type {kind_name}, which wait for none")
    if time_in_force == "gtt" and not expires_ms:
        refuse("expires_ms", "is missing: with time_in_force gtt it says until when")
    if time_in_force != "gtt" and expires_ms:
        refuse("expires_ms", "goes with time_in_force gtt alone")


def refuse(field: str, reason: str) -> None:
    """Raise `OrderInvalid` for a field."""
    raise OrderInvalid(reason=f"{field} {reason}", field=field)


def in_decimals(error: ChaindError, market: Market) -> ChaindError:
    """What the rules or the book have against an order of this market, without ticks and lots."""

    def price(name: str) -> str:
        return format_amount(int(str(error.values[name])) * market.tick_units)

    def quantity(name: str) -> str:
        return format_amount(int(str(error.values[name])) * market.lot_units)

    symbol = market.symbol
    match error:
        case PriceOutOfBand():
            return error.worded(
                "price {price} is beyond {edge}, the edge of the price band of {symbol}",
                price=price("ticks"),
                edge=price("edge_ticks"),
                symbol=symbol,
            )
        case PostOnlyWouldTake():
            return error.worded(
                "post-only order at price {price} would trade at {best} on {symbol}",
                price=price("ticks"),
                best=price("best_ticks"),
                symbol=symbol,
            )
        case FillOrKillUnfilled():
            return error.worded(
                "of quantity {quantity} only {available} would trade at once on {symbol}",
                quantity=quantity("lots"),
                available=quantity("available_lots"),
                symbol=symbol,
            )
        case NotionalTooLarge():
            return error.worded(
                "order of quantity {quantity} at price {price} of {symbol} is worth more than "
                "{most}",
                quantity=quantity("lots"),
                price=price("ticks"),
                most=format_amount(AMOUNT_MAX),
                symbol=symbol,
            )
    return error
