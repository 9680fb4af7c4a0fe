"""The order in which a block's actions are applied: a rule, not its proposer's choice.

Cancels first, then what can only rest, then what may take: who withdraws or offers is not picked
off by who only was put earlier into the block. Within a class sha256(parent hash ‖ txid) decides.

The advantage that is left: whoever knows the parent hash can grind the salt of an own transaction
until it comes first of its class, a proposer with everybody's transactions in view and the last
word on which of them are in. Nobody can make an order trade before a cancel of the same block.
"""

from collections.abc import Iterable
from enum import IntEnum

from chaind.primitives.hashes import sha256
from chaind.primitives.orders import AmendOrder, CancelOrder, CancelOrders, OrderAction, PlaceOrder


class Turn(IntEnum):
    """Classes of actions, in the order of their turns."""

    CANCEL = 0
    REST = 1
    TAKE = 2


def turn_of(action: OrderAction) -> Turn:
    """The class of an action, by its form alone."""
    match action:
        case CancelOrder() | CancelOrders():
            return Turn.CANCEL
        case PlaceOrder(_, terms):
            return Turn.REST if terms.post_only else Turn.TAKE
        case AmendOrder():
            return Turn.REST if action.post_only else Turn.TAKE


def in_turn(parent_hash: bytes, actions: Iterable[tuple[bytes, OrderAction]]) -> list[bytes]:
    """The txids of (txid, action) in the order in which their actions are applied."""
    keyed = [(turn_of(action), sha256(parent_hash + txid), txid) for txid, action in actions]
    return [txid for _, _, txid in sorted(keyed)]
