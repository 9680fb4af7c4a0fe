"""What happened, told to whoever subscribed: one synchronous call each, on the loop."""

from collections.abc import Callable, Sequence
from typing import NamedTuple

from chaind.ledger.checks import Checked
from chaind.ledger.execute import Receipt
from chaind.node.chain import Body
from chaind.primitives.block import Block
from chaind.primitives.votes import Certificate
from chaind.storage.market_index import UNCHANGED, MarketChange


class FinalEvent(NamedTuple):
    """A block is final and durable here; `time_ms` is the chain time that its children see."""

    block: Block
    receipts: tuple[Receipt, ...]
    certificate: Certificate | None
    final_ms: int
    market: MarketChange = UNCHANGED
    time_ms: int = 0


class HeadEvent(NamedTuple):
    """Another block is the head of a chain of miners, and not final yet.

    `undone` were executed before and are no longer, highest first; `applied` are now, lowest first.
    """

    undone: tuple[Body, ...]
    applied: tuple[Body, ...]


class PendingEvent(NamedTuple):
    """Transactions entered the pool."""

    entered: tuple[Checked, ...]


class DroppedEvent(NamedTuple):
    """A transaction left the pool without being final. `ended` says that it never will be."""

    txid: bytes
    reason: str
    by: bytes | None
    ended: bool


Event = FinalEvent | HeadEvent | PendingEvent | DroppedEvent
Callback = Callable[[Event], None]


class Events:
    """The list of subscribers. A callback must not block and must not raise."""

    def __init__(self) -> None:
        self._callbacks: dict[int, Callback] = {}
        self._next = 0

    def subscribe(self, callback: Callback) -> Callable[[], None]:
        """Call `callback` for every event from now on; the result ends that."""
        number = self._next
        self._next += 1
        self._callbacks[number] = callback

        def unsubscribe() -> None:
            self._callbacks.pop(number, None)

        return unsubscribe

    def publish(self, event: Event) -> None:
        """Tell everyone, in order of subscription."""
        for callback in tuple(self._callbacks.values()):
            callback(event)

    def publish_all(self, events: Sequence[Event]) -> None:
        """Tell everyone of each event."""
        if self._callbacks:
            for event in events:
                self.publish(event)
