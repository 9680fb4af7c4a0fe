"""Orders on the ledger: what an action needs of a balance, and what its events book.

Law: the engine says who trades; this module moves the money, and nothing else does. An order's
reserve is derived from its row and stands nowhere else, so balances and reserves can never
disagree about it. What no book can change (form, funds, an unknown market, too many open orders)
keeps an action out of blocks; what the book says against it (`OUTCOMES`) is an outcome: the
transaction is applied, has paid its fee, and its receipt says what it was refused for.
"""

from collections.abc import Iterable, Sequence
from string import Formatter

import msgspec

from chaind.ledger.actions import COST_MEETING, order_action
from chaind.ledger.errors import AssetUnknown, BlockOutOfTurn, NotIssuer
from chaind.ledger.journal import State, View
from chaind.ledger.keys import asset_decoder, asset_key, balance_key, ledger_asset
from chaind.market.errors import (
    AmendmentEmpty,
    ClientOrderIdTaken,
    ExpiryPassed,
    FillOrKillUnfilled,
    MarketExists,
    NotionalTooLarge,
    NotionalTooSmall,
    OrderInvalid,
    OrderNotOpen,
    PostOnlyWouldTake,
    PriceOutOfBand,
)
from chaind.market.events import Done, Event, Matched, Reason, Reduced, moves
from chaind.market.exchange import Exchange, Held
from chaind.market.turns import in_turn
from chaind.primitives.block import Block
from chaind.primitives.errors import ChaindError
from chaind.primitives.orders import (
    AmendOrder,
    CancelOrders,
    CreateMarket,
    OrderAction,
    PlaceOrder,
)

# What the book says against an action. Whatever an amendment breaks, its order decides.
OUTCOMES: tuple[type[ChaindError], ...] = (
    PostOnlyWouldTake,
    FillOrKillUnfilled,
    OrderNotOpen,
    ClientOrderIdTaken,
    PriceOutOfBand,
    ExpiryPassed,
    AmendmentEmpty,
    NotionalTooSmall,
    NotionalTooLarge,
    OrderInvalid,
)


Booked = tuple[bytes, str, int]  # whose balance, of which asset, how many units more or less


class Refused(msgspec.Struct, array_like=True, frozen=True, gc=False):
    """An outcome as a row keeps it: the error's code, and its values as its text names them."""

    code: str
    values: tuple[int | str, ...]

    @classmethod
    def of(cls, error: ChaindError) -> "Refused":
        """What is kept of an error of `OUTCOMES`."""
        values = [error.values[name] for name in _NAMES[error.code]]
        return cls(
            error.code, tuple(value if isinstance(value, int) else str(value) for value in values)
        )

    def error(self) -> ChaindError:
        """The error again, with code, text, values and advice."""
        values = zip(_NAMES[self.code], self.values, strict=True)
        return _BY_CODE[self.code](**dict(values))


_BY_CODE = {error.code: error for error in OUTCOMES}
_NAMES = {
    error.code: tuple(name for _, name, _, _ in Formatter().parse(error.text) if name)
    for error in OUTCOMES
}


def check_turns(block: Block) -> None:
    """Raise `BlockOutOfTurn` unless the block's order actions stand at its end, in their turns."""
    transactions = block.transactions
    orders = [
        (transaction.txid, order)
        for transaction in transactions
        if transaction.body.action is not None
        and (order := order_action(transaction.body.action)) is not None
    ]
    if not orders:
        return
    due = in_turn(block.parent, orders)
    last = transactions[len(transactions) - len(orders) :]
    for place, (transaction, txid) in enumerate(zip(last, due, strict=True)):
        if transaction.txid != txid:
            raise BlockOutOfTurn(
                height=block.height,
                reason="order actions stand otherwise than in their turns",
                index=len(transactions) - len(orders) + place,
                given=transaction.txid.hex(),
                due=txid.hex(),
            )


def check_market_creation(state: View, action: CreateMarket, native_symbol: str) -> None:
    """Raise unless the market is new, its assets are there, and one of them is the creator's."""
    market = action.market
    if market.symbol in state.books.journal.books:
        raise MarketExists(symbol=market.symbol)
    issuers = []
    for symbol in (market.base, market.quote):
        if symbol == native_symbol:  # which nobody issued
            continue
        value = state.get(asset_key(symbol))
        if value is None:
            raise AssetUnknown(asset=symbol)
        issuers.append(asset_decoder.decode(value).issuer)
    if action.issuer not in issuers:
        raise NotIssuer(symbol=market.symbol, base=market.base, quote=market.quote)


def needed_reserve(books: Exchange, order: OrderAction) -> Held | None:
    """What an action moves from its owner's balance to a reserve, None for nothing.

    Raises what keeps the action out of a block; what the book has against it comes later.
    """
    match order:
        case PlaceOrder(owner, terms):
            held = books.reserve_for(terms)
            books.check_open_orders(owner, terms)
            return held
        case AmendOrder():
            try:
                held = books.reserve_to_amend(order)
            except OUTCOMES:
                return None
            return held if held.units > 0 else None
        case CancelOrders(_, symbol) if symbol:
            books.check_symbol(symbol)
    return None


def apply_order(
    books: Exchange, txid: bytes, order: OrderAction
) -> tuple[Sequence[Event], Refused | None]:
    """Let the engine do what an action asks for, or say what the book has against it."""
    try:
        return books.apply(txid, order), None
    except OUTCOMES as error:
        return (), Refused.of(error)


def settle_events(state: State, events: Iterable[Event], native_symbol: str) -> tuple[Booked, ...]:
    """Book what events move between balances and reserves, and fees to the market's account.

    What each balance has more or less in the end, in order of first appearance.
    """
    books = state.books.journal.books
    sums: dict[tuple[bytes, str], int] = {}
    for event in events:
        market = books[event.symbol].market
        for account, asset, available, _ in moves(market, event):
            key = (market.fee_account if account is None else account, asset)
            sums[key] = sums.get(key, 0) + available
    booked = tuple(
        (account, ledger_asset(asset, native_symbol), units)
        for (account, asset), units in sums.items()
        if units
    )
    for account, asset, units in booked:
        state.add(balance_key(account, asset), units)
    return booked


def cost_of(order_id: bytes, events: Iterable[Event]) -> int:
    """What the resting orders cost that an action met: by trading, or by clearing them away.

    `order_id` is its own order, which costs nothing more than its transaction.
    """
    return COST_MEETING * sum(
        isinstance(event, Matched)
        or (
            isinstance(event, (Done, Reduced))
            and event.order_id != order_id
            and event.reason is not Reason.FILLED  # which its match has counted
        )
        for event in events
    )
