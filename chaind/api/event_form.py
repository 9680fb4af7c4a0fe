"""The outward form of a movement of money, as the feed answers it and webhooks carry it."""

from chaind.api.answers import Answer
from chaind.api.forms import Forms, maybe
from chaind.node.movements import Kind, Movement
from chaind.primitives.amounts import format_amount


class EventForm(Answer, frozen=True, kw_only=True):
    """One movement of money, as it is told to everybody and at every node.

    `amount` is signed and the whole change of what `account` holds of `asset` as account balance or
    as coins (`held`); `fee` is how much of it was the transaction's fee. `index` counts
    transactions within the block. `tx_id` is null for the genesis and for a block's reward. `id`
    names the event on this chain for ever.
    """

    id: str
    height: int
    index: int
    tx_id: str | None
    kind: Kind
    account: str
    asset: str
    held: str
    amount: str
    fee: str
    counterparties: list[str]
    memo: str | None
    memo_hex: str
    time_ms: int


def event_form(forms: Forms, movement: Movement) -> EventForm:
    """The outward form of a movement."""
    try:
        memo: str | None = movement.memo.decode("utf-8")
    except UnicodeDecodeError:
        memo = None
    return EventForm(
        id=str(movement.position),
        height=movement.position.height,
        index=movement.position.place,
        tx_id=maybe(bytes.hex, movement.txid),
        kind=movement.kind,
        account=forms.show(movement.account),
        asset=forms.symbol(movement.asset),
        held=movement.held,
        amount=format_amount(movement.units),
        fee=format_amount(movement.fee),
        counterparties=[forms.show(address) for address in movement.counterparties],
        memo=memo,
        memo_hex=movement.memo.hex(),
        time_ms=movement.time_ms,
    )
