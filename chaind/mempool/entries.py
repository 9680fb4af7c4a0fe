"""What waits in the pool, and the queues that it waits in: best fee rate first, then the oldest.

Orders have queues of their own, so that nobody's flood of one kind hides another kind from who
fills a block: `mempool.selection` gives each its share.
"""

from collections.abc import Iterator
from enum import IntEnum

from sortedcontainers import SortedDict

from chaind.ledger.checks import Checked, Move
from chaind.ledger.execute import Receipt
from chaind.market.turns import Turn, turn_of
from chaind.primitives.orders import AmendOrder, PlaceOrder

RATE_SCALE = 1000  # fee rates are base units per 1000 bytes, so that they stay integers


class Kind(IntEnum):
    """Which queue a transaction waits in."""

    OTHER = 0  # payments and the like
    CANCEL = 1
    ORDER = 2


# A member's name is looked up in its class at a cost that every transaction would pay.
OTHER, CANCEL, ORDER = Kind


class Entry:
    """One waiting transaction. `sequence` is its age: lower is older.

    `moves` are what it takes from and gives to balances, the reserve of an order among them;
    `queue` is where the pool has it wait; `resting` is whose open orders it may add to
    or change.
    """

    __slots__ = (
        "checked",
        "executed",
        "fee",
        "hidden",
        "kind",
        "moves",
        "queue",
        "rate",
        "received_ms",
        "resting",
        "sequence",
        "size",
    )

    queue: "Queue"

    def __init__(self, receipt: Receipt, received_ms: int, sequence: int) -> None:
        checked = receipt.checked
        self.checked: Checked = checked
        self.fee = receipt.fee
        self.size = len(checked.transaction.raw)
        self.rate = receipt.fee * RATE_SCALE // self.size
        self.received_ms = received_ms
        self.sequence = sequence
        self.hidden = False
        self.executed = False  # hidden for being inside an executed block, not for having failed
        self.kind = OTHER
        self.moves = checked.moves
        self.resting: bytes | None = None
        order = checked.order
        if order is not None:
            self.kind = CANCEL if turn_of(order) is Turn.CANCEL else ORDER
            if isinstance(order, AmendOrder) or (
                isinstance(order, PlaceOrder) and order.terms.rests
            ):
                self.resting = order.owner
            if receipt.held is not None:
                self.moves = _with_reserve(checked.moves, receipt.held)


def _with_reserve(moves: tuple[Move, ...], held: Move) -> tuple[Move, ...]:
    """One move a row still: a reserve of what the fee is paid in joins the fee's."""
    key, units, _, address, asset = held
    others = tuple(move for move in moves if move[0] != key)
    debit = sum(move[1] for move in moves if move[0] == key)
    credit = sum(move[2] for move in moves if move[0] == key)
    return (*others, (key, debit + units, credit, address, asset))


class Queue:
    """Entries by fee rate, then age. Do not change it while it is iterated over."""

    def __init__(self) -> None:
        self._buckets: SortedDict[int, dict[bytes, Entry]] = SortedDict()  # by −rate
        self._unordered: set[int] = set()  # buckets whose entries came back out of order

    def __len__(self) -> int:
        return sum(len(bucket) for bucket in self._buckets.values())

    def __bool__(self) -> bool:
        return bool(self._buckets)

    def __iter__(self) -> Iterator[Entry]:
        self._order()
        for bucket in self._buckets.values():
            yield from bucket.values()

    def worst_first(self) -> Iterator[Entry]:
        """The other way round: the lowest rate first, of one rate the youngest."""
        self._order()
        for bucket in reversed(self._buckets.values()):
            yield from reversed(bucket.values())

    def enter(self, entry: Entry) -> None:
        """The youngest of its rate joins."""
        bucket = self._buckets.get(-entry.rate)
        if bucket is None:
            bucket = self._buckets[-entry.rate] = {}
        bucket[entry.checked.txid] = entry

    def come_back(self, entry: Entry) -> None:
        """One that was here joins again, at the place of its age."""
        self.enter(entry)
        self._unordered.add(-entry.rate)

    def leave(self, entry: Entry) -> None:
        """It goes, if it is here."""
        bucket = self._buckets.get(-entry.rate)
        if bucket is not None and bucket.pop(entry.checked.txid, None) is not None and not bucket:
            del self._buckets[-entry.rate]

    def _order(self) -> None:
        """Put buckets in order of age again."""
        for rate in self._unordered:
            if rate in self._buckets:
                in_order = sorted(self._buckets[rate].items(), key=lambda item: item[1].sequence)
                self._buckets[rate] = dict(in_order)
        self._unordered.clear()
