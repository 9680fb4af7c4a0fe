"""Broken rules of the exchange, one class each. All are raised before the first change.

`check_market` and `check_terms` raise what the form alone shows; whatever the engine raises
depends on the book, which two honest nodes may see a block apart, so it is nobody's fault.
"""

from chaind.primitives.errors import Conflict, Malformed, PeerFault, RuleBroken, Temporary, Unknown


class MarketInvalid(Malformed, PeerFault):
    code = "market-invalid"
    text = "market {symbol} is refused: {reason}"
    advice = "Declare it again with values that fit; its assets, tick and lot decide what does."


class MarketUnknown(Unknown):
    code = "market-unknown"
    text = "there is no market {symbol}"
    advice = "GET /api/v1/markets lists the markets of this chain."


class MarketExists(Conflict):
    code = "market-exists"
    text = "market {symbol} exists already"
    advice = "Trade on it; GET /api/v1/markets shows its rules."


class OrderInvalid(Malformed, PeerFault):
    code = "order-invalid"
    text = "order is refused: {reason}"
    advice = "Leave out or correct what is named; /openapi.json describes an order's fields."


class PriceOffTick(RuleBroken):
    code = "price-off-tick"
    text = "price {price} is not a multiple of the tick {tick} of {symbol}"
    advice = "Round the price to the tick that GET /api/v1/markets shows."


class QuantityOffLot(RuleBroken):
    code = "quantity-off-lot"
    text = "quantity {quantity} is not a multiple of the lot {lot} of {symbol}"
    advice = "Round the quantity to the lot that GET /api/v1/markets shows."


class NotionalTooSmall(RuleBroken):
    code = "notional-too-small"
    text = "order is worth {notional} {asset}, at least {needed} are needed"
    advice = "Order more, or at a price that makes it worth the market's minimum."


class NotionalTooLarge(RuleBroken):
    code = "notional-too-large"
    text = "order of {lots} lots at {ticks} ticks exceeds {limit} base units"
    advice = "Order less, in several orders if need be."


class PriceOutOfBand(RuleBroken, Temporary):
    code = "price-out-of-band"
    text = "price of {ticks} ticks is beyond {edge_ticks} ticks, the edge of the price band"
    advice = "Name a price within the band around the last trade, or wait until it has moved."


class PostOnlyWouldTake(RuleBroken, Temporary):
    code = "post-only-would-take"
    text = "post-only order at {ticks} ticks would trade at {best_ticks} ticks"
    advice = "Name a price that does not reach the other side, or order without post-only."


class FillOrKillUnfilled(RuleBroken, Temporary):
    code = "fill-or-kill-unfilled"
    text = "of {lots} lots only {available_lots} would trade at once"
    advice = "Order less, name a worse price, or use immediate-or-cancel."


class ExpiryPassed(RuleBroken):
    code = "expiry-passed"
    text = "expiry {expires_ms} is not after chain time {chain_time_ms}"
    advice = "Give a later expiry."


class OpenOrdersExceeded(RuleBroken, Temporary):
    code = "open-orders-exceeded"
    text = "account has {count} open orders, at most {limit} are allowed"
    advice = "Cancel orders, or wait until some are done."


class ClientOrderIdTaken(Conflict):
    code = "client-order-id-taken"
    text = "client order id {client_id} names the open order {order_id}"
    advice = "The order was placed: look that one up, or use a new client order id for a new one."


class OrderNotOpen(Unknown):
    code = "order-not-open"
    text = "account has no open order {order_id}"
    advice = "It is done already, or it is another account's: GET /api/v1/orders shows which."


class AmendmentEmpty(RuleBroken):
    code = "amendment-empty"
    text = "amendment leaves order {order_id} as it is"
    advice = "Give a quantity, price or stop price that differs from the order's."


# What the engine can refuse an action with; anything else that is raised is this machine's fault.
REFUSALS = (RuleBroken, Conflict, Unknown, Malformed)
