"""The JSON forms of what a transaction does beside moving money, and back.

Orders are shown as the ledger has them: whole lots and ticks, see GET /api/v1/markets for what
one of each is worth.
"""

from collections.abc import Callable
from enum import IntEnum
from typing import Any, Literal, TypeVar

import msgspec

from chaind.api.fields import Amount, Count, Form, Hex, bytes_of, integer_of
from chaind.primitives import orders
from chaind.primitives.amounts import format_amount, parse_amount
from chaind.primitives.transaction import Action, Burn, Issue, Mint

E = TypeVar("E", bound=IntEnum)

SideName = Literal["buy", "sell"]


class IssueForm(Form, frozen=True, tag_field="type", tag="issue"):
    """Declares an asset."""

    asset: str
    issuer: str
    amount: Amount
    mintable: bool


class MintForm(Form, frozen=True, tag_field="type", tag="mint"):
    """Adds to a mintable asset."""

    asset: str
    amount: Amount


class BurnForm(Form, frozen=True, tag_field="type", tag="burn"):
    """Destroys some of an asset."""

    owner: str
    asset: str
    amount: Amount


class PlaceOrderForm(Form, frozen=True, tag_field="type", tag="place_order"):
    """A new order, named by the transaction's id. `ticks` is zero for a market order."""

    owner: str
    symbol: str
    side: SideName
    kind: Literal["limit", "market"]
    lots: Count
    ticks: Count
    time_in_force: Literal["gtc", "gtt", "ioc", "fok"]
    expires_ms: Count
    post_only: bool
    trigger: Literal["none", "stop", "take_profit"]
    stop_ticks: Count
    self_trade: Literal["cancel_newest", "cancel_oldest", "cancel_both", "decrement"]
    client_id: str


class CancelOrderForm(Form, frozen=True, tag_field="type", tag="cancel_order"):
    """Takes one open order back."""

    owner: str
    order_id: Hex


class CancelOrdersForm(Form, frozen=True, tag_field="type", tag="cancel_orders"):
    """Takes back all open orders of an account, of a market ("" for all), of a side."""

    owner: str
    symbol: str
    side: SideName | None


class AmendOrderForm(Form, frozen=True, tag_field="type", tag="amend_order"):
    """Changes an open order; zero leaves a value as it is."""

    owner: str
    order_id: Hex
    lots: Count
    ticks: Count
    stop_ticks: Count
    post_only: bool


class CreateMarketForm(Form, frozen=True, tag_field="type", tag="create_market"):
    """Opens a market. Units are base units, ppm parts per million."""

    issuer: str
    symbol: str
    base: str
    quote: str
    tick_units: Count
    lot_units: Count
    reference_ticks: Count
    min_notional_units: Count
    maker_fee_ppm: Count
    taker_fee_ppm: Count
    band_ppm: Count
    fee_account: str


ActionForm = (
    IssueForm
    | MintForm
    | BurnForm
    | PlaceOrderForm
    | CancelOrderForm
    | CancelOrdersForm
    | AmendOrderForm
    | CreateMarketForm
)


class ActionForms:
    """Both ways. `show` and `parse` are of addresses, `symbol` and `asset` of assets."""

    def __init__(
        self,
        *,
        show: Callable[[bytes], str],
        parse: Callable[[str], bytes],
        symbol: Callable[[str], str],
        asset: Callable[[str], str],
    ) -> None:
        self._show = show
        self._parse = parse
        self._symbol = symbol
        self._asset = asset

    def show(self, action: Action) -> ActionForm:
        """The form of an action."""
        show = self._show
        match action:
            case Issue(asset, issuer, amount, mintable):
                return IssueForm(asset, show(issuer), format_amount(amount), mintable)
            case Mint(asset, amount):
                return MintForm(asset, format_amount(amount))
            case Burn(owner, asset, amount):
                return BurnForm(show(owner), self._symbol(asset), format_amount(amount))
            case orders.PlaceOrder(owner, terms):
                return _show_terms(show(owner), terms)
            case orders.CancelOrder(owner, order_id):
                return CancelOrderForm(show(owner), order_id.hex())
            case orders.CancelOrders(owner, symbol, side):
                return CancelOrdersForm(show(owner), symbol, None if side is None else _name(side))
            case orders.AmendOrder(owner, order_id, lots, ticks, stop_ticks, post_only):
                shown = order_id.hex()
                return AmendOrderForm(show(owner), shown, lots, ticks, stop_ticks, post_only)
            case orders.CreateMarket(issuer, market):
                rules = msgspec.structs.asdict(market)
                rules["fee_account"] = show(market.fee_account)
                return CreateMarketForm(issuer=show(issuer), **rules)

    def read(self, form: ActionForm) -> Action:
        """Inverse of `show`. Raises `AddressInvalid`, `AmountInvalid` or `FieldInvalid`."""
        parse = self._parse
        for name, value in msgspec.structs.asdict(form).items():
            if type(value) is int:
                integer_of(name, value)
        match form:
            case IssueForm(asset, issuer, amount, mintable):
                return Issue(asset, parse(issuer), parse_amount(amount), mintable)
            case MintForm(asset, amount):
                return Mint(asset, parse_amount(amount))
            case BurnForm(owner, symbol, amount):
                return Burn(parse(owner), self._asset(symbol), parse_amount(amount))
            case PlaceOrderForm(owner):
                return orders.PlaceOrder(parse(owner), _read_terms(form))
            case CancelOrderForm(owner, order_id):
                return orders.CancelOrder(parse(owner), bytes_of("order_id", order_id))
            case CancelOrdersForm(owner, symbol, side):
                return orders.CancelOrders(
                    parse(owner), symbol, None if side is None else _member(orders.Side, side)
                )
            case AmendOrderForm(owner, order_id, lots, ticks, stop_ticks, post_only):
                named = bytes_of("order_id", order_id)
                return orders.AmendOrder(parse(owner), named, lots, ticks, stop_ticks, post_only)
            case CreateMarketForm():
                given = msgspec.structs.asdict(form)
                del given["issuer"]
                given["fee_account"] = parse(form.fee_account)
                return orders.CreateMarket(parse(form.issuer), orders.Market(**given))


def _show_terms(owner: str, terms: orders.Terms) -> PlaceOrderForm:
    values = {
        name: _name(value) if isinstance(value, IntEnum) else value
        for name, value in msgspec.structs.asdict(terms).items()
    }
    return PlaceOrderForm(owner=owner, **values)


def _read_terms(form: PlaceOrderForm) -> orders.Terms:
    values = msgspec.structs.asdict(form)
    del values["owner"]
    for name, kind in (
        ("side", orders.Side),
        ("kind", orders.Kind),
        ("time_in_force", orders.TimeInForce),
        ("trigger", orders.Trigger),
        ("self_trade", orders.SelfTrade),
    ):
        values[name] = _member(kind, values[name])
    return orders.Terms(**values)


def _name(value: IntEnum) -> Any:
    return value.name.lower()


def _member(kind: type[E], name: str) -> E:
    return kind[name.upper()]
