"""What the form of an action shows, without any state: ranges, lengths, and who must sign."""

from chaind.ledger.errors import TransactionMalformed
from chaind.market.checks import check_form, check_market
from chaind.market.errors import OrderInvalid
from chaind.primitives.address import KEY_ADDRESS_BYTES, POLICY_ADDRESS_BYTES
from chaind.primitives.amounts import AMOUNT_MAX, ASSET_CHARS_MAX, is_asset_symbol
from chaind.primitives.genesis import Parameters
from chaind.primitives.orders import (
    AmendOrder,
    CancelOrder,
    CancelOrders,
    CreateMarket,
    OrderAction,
    PlaceOrder,
)
from chaind.primitives.transaction import NATIVE, Action, Burn, Issue, Mint

ORDER_ID_BYTES = 32
SYMBOL_CHARS_MAX = 2 * ASSET_CHARS_MAX + 1  # BASE/QUOTE
# What is met: a resting order that trades, or that is only cleared away. About a microsecond a
# unit; rows of balances and of the order are in it.
COST_MEETING = 20
ADDRESS_LENGTHS = (KEY_ADDRESS_BYTES, POLICY_ADDRESS_BYTES)


def check_action(action: Action) -> None:
    """Raise what the form of an action forbids, whatever the state."""
    match action:
        case Issue(asset, issuer, amount):
            check_symbol(asset)
            _check_amount(amount, low=0)
            check_address(issuer)
        case Mint(asset, amount):
            check_symbol(asset)
            _check_amount(amount, low=1)
        case Burn(owner, asset, amount):
            if asset != NATIVE:
                check_symbol(asset)
            _check_amount(amount, low=1)
            check_address(owner)
        case CreateMarket(issuer, market):
            check_address(issuer)
            check_address(market.fee_account)
            check_market(market)
        case _:
            check_address(action.owner)
            _check_order(action)


def _check_order(action: OrderAction) -> None:
    match action:
        case PlaceOrder(_, terms):
            _check_market_name(terms.symbol)
            _check_range("quantity", terms.lots, low=1)
            _check_range("price", terms.ticks, low=0)
            check_form(terms)
        case CancelOrder(_, order_id):
            _check_order_id(order_id)
        case CancelOrders(_, symbol):
            _check_market_name(symbol)
        case AmendOrder(_, order_id, lots, ticks, stop_ticks):
            _check_order_id(order_id)
            _check_range("quantity", lots, low=0)
            _check_range("price", ticks, low=0)
            _check_range("stop price", stop_ticks, low=0)


def order_action(action: Action) -> OrderAction | None:
    """The action where it is one of the exchange, which takes its turn at the end of a block."""
    if isinstance(action, (Issue, Mint, Burn, CreateMarket)):
        return None
    return action


def signer_of(action: Action) -> bytes | None:
    """Whose witness an action needs, None where only the state knows."""
    match action:
        case Mint():
            return None
        case Issue(_, issuer) | CreateMarket(issuer):
            return issuer
        case _:
            return action.owner


def meetings_max(action: OrderAction, parameters: Parameters) -> int:
    """Resting orders that an action may meet; a block must have room for all of them."""
    match action:
        case PlaceOrder(_, terms):
            return 0 if terms.post_only else parameters.fills_per_order_max
        case AmendOrder():
            return 0 if action.post_only else parameters.fills_per_order_max
        case CancelOrders():
            return parameters.open_orders_max
        case CancelOrder():
            return 1


def check_address(address: bytes) -> None:
    """Raise unless it is as long as an address of a kind that there is."""
    if len(address) not in ADDRESS_LENGTHS:
        raise TransactionMalformed(reason=f"address of {len(address)} bytes")


def check_symbol(asset: str) -> None:
    """Raise unless an asset may have that name."""
    if not is_asset_symbol(asset):
        raise TransactionMalformed(reason=f"asset symbol {asset[:20]!r}")


def _check_amount(amount: int, *, low: int) -> None:
    if not low <= amount <= AMOUNT_MAX:
        raise TransactionMalformed(reason=f"amount {amount} is out of range")


def _check_range(what: str, value: int, *, low: int) -> None:
    if not low <= value <= AMOUNT_MAX:
        raise OrderInvalid(reason=f"its {what} is not within {low} and {AMOUNT_MAX}")


def _check_order_id(order_id: bytes) -> None:
    if len(order_id) != ORDER_ID_BYTES:
        raise TransactionMalformed(reason=f"order id of {len(order_id)} bytes")


def _check_market_name(symbol: str) -> None:
    if len(symbol) > SYMBOL_CHARS_MAX:
        raise TransactionMalformed(reason=f"market symbol of {len(symbol)} characters")
