"""What the form of a market and of an order shows, without any book."""

import re

from chaind.market.errors import (
    MarketInvalid,
    NotionalTooLarge,
    NotionalTooSmall,
    OrderInvalid,
    PriceOffTick,
    QuantityOffLot,
)
from chaind.primitives.amounts import AMOUNT_MAX, UNIT, format_amount
from chaind.primitives.orders import (
    BUY,
    FOK,
    GTC,
    GTT,
    IOC,
    LIMIT,
    MARKET,
    NEVER_MS,
    NONE,
    PPM,
    Market,
    Side,
    Terms,
    market_fault,
)

CLIENT_ID = re.compile(r"[A-Za-z0-9_.:/-]{0,36}", re.ASCII)  # a UUID fits
TIME_MS_MAX = 2**53 - 1  # what every JSON reader keeps exact


def check_market(market: Market) -> None:
    """Raise `MarketInvalid` unless prices and quantities of `market` are exact and in range."""
    reason = market_fault(market)
    if reason:
        raise MarketInvalid(symbol=repr(market.symbol[:32]), reason=reason)


def check_terms(market: Market, terms: Terms) -> None:
    """Raise what forbids these terms on `market`, whatever its book holds."""
    check_form(terms)
    check_size(market, terms, terms.lots, terms.ticks)


def check_form(terms: Terms) -> None:
    """Raise `OrderInvalid` where a term contradicts another, or is out of range."""
    reason = _contradiction(terms)
    if reason:
        raise OrderInvalid(reason=reason)


def check_size(market: Market, terms: Terms, lots: int, ticks: int) -> None:
    """Raise what forbids this whole quantity and price for terms that are sound themselves."""
    if not 0 < lots <= AMOUNT_MAX:
        raise OrderInvalid(reason="its quantity is not positive, or beyond any amount")
    if terms.kind is LIMIT:
        if not 0 < ticks <= AMOUNT_MAX:
            raise OrderInvalid(reason="its price is not positive, or beyond any amount")
        check_worth(market, lots, ticks, ticks)
    elif ticks:
        raise OrderInvalid(reason="a market order has no price")
    elif terms.trigger is not NONE:
        check_worth(market, lots, band_edge(market, terms.side, terms.stop_ticks), terms.stop_ticks)
    elif lots * market.lot_units > AMOUNT_MAX:  # only the book knows its price
        raise NotionalTooLarge(lots=lots, ticks=1, limit=AMOUNT_MAX)


def _contradiction(terms: Terms) -> str | None:
    """The first such thing, quantity and price aside."""
    if terms.client_id and not CLIENT_ID.fullmatch(terms.client_id):
        return "its client order id is not up to 36 letters, digits, or _ . : / -"
    time_in_force, waits = terms.time_in_force, terms.trigger is not NONE
    if terms.kind is MARKET:
        if terms.post_only:
            return "a market order always takes"
        if not waits and time_in_force in (GTC, GTT):
            return "a market order is immediate: IOC or FOK"
    if waits != bool(terms.stop_ticks) or not 0 <= terms.stop_ticks <= AMOUNT_MAX:
        return "a stop price and a trigger come together"
    if waits and time_in_force is FOK:
        return "what waits for a price cannot be fill-or-kill"
    if (time_in_force is GTT) is (terms.expires_ms == NEVER_MS):
        return "an expiry and GTT come together"
    if not 0 <= terms.expires_ms <= TIME_MS_MAX:
        return "its expiry is no time"
    if terms.post_only and (waits or time_in_force in (IOC, FOK)):
        return "what is post-only rests at once: GTC or GTT, without a stop price"
    return None


def check_worth(market: Market, lots: int, worst_ticks: int, usual_ticks: int) -> None:
    """Raise unless both legs of a whole order are amounts at the worst price, and it is worth the
    market's minimum at the usual one."""
    lot_ticks = lots * market.tick_units * market.lot_units // UNIT  # times `step_units`
    if lot_ticks * worst_ticks > AMOUNT_MAX or lots * market.lot_units > AMOUNT_MAX:
        raise NotionalTooLarge(lots=lots, ticks=worst_ticks, limit=AMOUNT_MAX)
    if lot_ticks * usual_ticks < market.min_notional_units:
        raise NotionalTooSmall(
            notional=format_amount(lot_ticks * usual_ticks),
            asset=market.quote,
            needed=format_amount(market.min_notional_units),
        )


def to_ticks(market: Market, price_units: int) -> int:
    """Ticks of a price given in quote units for a whole unit of base."""
    ticks, rest = divmod(price_units, market.tick_units)
    if rest:
        raise PriceOffTick(
            price=format_amount(price_units),
            tick=format_amount(market.tick_units),
            symbol=market.symbol,
        )
    return ticks


def to_lots(market: Market, units: int) -> int:
    """Lots of a quantity given in base units."""
    lots, rest = divmod(units, market.lot_units)
    if rest:
        raise QuantityOffLot(
            quantity=format_amount(units),
            lot=format_amount(market.lot_units),
            symbol=market.symbol,
        )
    return lots


def band_edge(market: Market, side: Side, reference_ticks: int) -> int:
    """The worst price that an order of that side may reach, at least a tick from the reference.

    No order can name a price beyond `AMOUNT_MAX`, so none is the edge.
    """
    reach = max(1, reference_ticks * market.band_ppm // PPM)
    if side is BUY:
        return min(AMOUNT_MAX, reference_ticks + reach)
    return max(1, reference_ticks - reach)
