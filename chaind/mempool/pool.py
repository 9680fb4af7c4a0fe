"""The pool: what may go into the next block, in which order, and what had to leave.

Entries stand by txid; two transactions that cannot both apply (same coin, same lease) never stand
together: the newcomer replaces or is refused. An owner's pending debits never exceed the balance
that the caller goes by. Entries inside executed blocks that are not final yet are *hidden*: they
keep their place in every sum but are not selected. Where the caller goes by the head (`at_head`),
what the head has executed is in its balances already, and so out of the pending debits. The pool
forgets; whether a forgotten transaction can still apply is for the node to say.
"""

import heapq
from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import chain
from typing import NamedTuple

from chaind.ledger.checks import Checked
from chaind.ledger.execute import Receipt
from chaind.ledger.keys import BALANCE, balances_prefix
from chaind.market.rows import market_key
from chaind.mempool.entries import Entry, Kind, Queue
from chaind.mempool.errors import (
    ConflictsWithPending,
    Overcommitted,
    OwnerQuotaExceeded,
    PoolFull,
    WaitingOrdersExceeded,
)
from chaind.primitives.amounts import format_amount
from chaind.primitives.orders import PlaceOrder


class PoolLimits(NamedTuple):
    """Bounds on what waits. `owner_*` bound one signing address.

    Orders of one owner beyond those that it may have open do not apply and pay for nothing, however
    high their fees. Nor do amendments that ask for more than there is, which nobody can tell while
    their order waits as well. So no more of both wait here than `owner_orders_max`.
    """

    transactions_max: int = 200_000
    bytes_max: int = 100_000_000
    owner_transactions_max: int = 100_000
    owner_bytes_max: int = 50_000_000
    owner_orders_max: int = 1_000


class Dropped(NamedTuple):
    """An entry that left without being final. `by` is the transaction that made it impossible."""

    entry: Entry
    reason: str  # replaced, evicted, conflict, expired
    by: bytes | None


def _needed_rows(entry: Entry) -> list[bytes]:
    """Rows for want of which an entry may fail on the head.

    An order may lack any balance of its owner: whatever ends one of its other orders, and makes
    room for this one, changes a balance.
    """
    rows = [*(row for row, debit, _, _, _ in entry.moves if debit), *entry.checked.claims]
    order = entry.checked.order
    if order is None:
        return rows
    if isinstance(order, PlaceOrder):
        rows.append(market_key(order.terms.symbol))
    return [*rows, balances_prefix(order.owner)]


def rows_of_owners(included: Iterable[Checked]) -> list[bytes]:
    """What orders wait for, of owners for whom these acted: an order that one of them ended may
    have given back what another transaction took, and then no balance is another."""
    return [balances_prefix(one.order.owner) for one in included if one.order is not None]


def _waited_for(row: bytes) -> tuple[bytes, ...]:
    """What a changed row may be waited for as: itself, or as any balance of its owner."""
    return (row, row[: 2 + row[1]]) if row[:1] == BALANCE else (row,)


class Pool:
    """See the module's law. Sizes in bytes, times in ms of the caller's clock or chain time."""

    def __init__(
        self,
        limits: PoolLimits,
        native_symbol: str,
        show: Callable[[bytes], str] = bytes.hex,
        *,
        at_head: bool = False,
    ) -> None:
        self.limits = limits
        self._at_head = at_head
        self.bytes_total = 0
        self._native_symbol = native_symbol
        self._show = show
        self._entries: dict[bytes, Entry] = {}
        self._by_wtxid: dict[bytes, Entry] = {}
        self._queues = tuple(Queue() for _ in Kind)
        self._claims: dict[bytes, bytes] = {}  # claimed row → txid
        self._debits: dict[bytes, int] = {}  # balance row → sum of pending debits
        self._owners: dict[bytes, tuple[int, int]] = {}  # address → (count, bytes)
        self._resting: dict[bytes, int] = {}  # owner → entries in no block, see `Entry.resting`
        self._deadlines: list[tuple[int, bytes]] = []  # heap of (valid_until, txid)
        self._parked: dict[bytes, set[bytes]] = {}  # row → txids that failed for want of it
        self._sequence = 0

    def __len__(self) -> int:
        return len(self._entries)

    def get(self, txid: bytes) -> Entry | None:
        """The entry of a txid."""
        return self._entries.get(txid)

    def by_wtxid(self, wtxid: bytes) -> Checked | None:
        """The transaction of a wtxid, for rebuilding proposals and answering peers."""
        entry = self._by_wtxid.get(wtxid)
        return entry.checked if entry else None

    def claimant(self, claim: bytes) -> Entry | None:
        """The entry that uses a coin or lease row."""
        txid = self._claims.get(claim)
        return self._entries[txid] if txid is not None else None

    def has_wtxid(self, wtxid: bytes) -> bool:
        """Whether these very bytes wait here."""
        return wtxid in self._by_wtxid

    def entries(self) -> Iterator[Entry]:
        """All entries, oldest first."""
        return iter(self._entries.values())

    def pending_debit(self, row: bytes) -> int:
        """Sum of what waiting transactions will take from a balance row."""
        return self._debits.get(row, 0)

    @property
    def selectable(self) -> int:
        """Number of entries that a block could take now."""
        return sum(map(len, self._queues))

    def has_work(self) -> bool:
        """Whether a block could take anything now."""
        return any(self._queues)

    def add(
        self, receipt: Receipt, received_ms: int, balance: Callable[[bytes], int]
    ) -> Sequence[Dropped]:
        """Take a transaction that holds on the caller's state; `balance` maps row to units there.

        Raises the pool's errors and then changes nothing. Returns what had to leave for it. A txid
        that waits already stays as it is.
        """
        if receipt.checked.txid in self._entries:
            return ()
        entry = Entry(receipt, received_ms, self._sequence)
        rivals = self._rivals(entry) if receipt.checked.claims else ()
        self._check_owners(entry, rivals)
        self._check_debits(entry, rivals, balance)
        victims = self._make_room(entry, rivals)
        dropped = [Dropped(rival, "replaced", receipt.checked.txid) for rival in rivals]
        dropped += [Dropped(victim, "evicted", None) for victim in victims]
        for item in dropped:
            self.remove(item.entry.checked.txid)
        self._sequence += 1
        self._insert(entry)
        return dropped

    def remove(self, txid: bytes) -> Entry | None:
        """Forget an entry."""
        entry = self._entries.pop(txid, None)
        if entry is None:
            return None
        checked = entry.checked
        del self._by_wtxid[checked.transaction.wtxid]
        self.bytes_total -= entry.size
        entry.queue.leave(entry)
        for claim in entry.checked.claims:
            del self._claims[claim]
        if not (entry.executed and self._at_head):
            self._uncount_debits(entry)
        if entry.resting is not None and not entry.executed:
            self._count_order(entry.resting, -1)
        for demand in checked.demands:
            count, size = self._owners[demand.address]
            if count == 1:
                del self._owners[demand.address]
            else:
                self._owners[demand.address] = (count - 1, size - entry.size)
        if entry.hidden and self._parked:
            self._unpark(entry)
        return entry

    def hide(self, txids: Iterable[bytes]) -> None:
        """These are inside an executed block now."""
        for txid in txids:
            entry = self._entries.get(txid)
            if entry is None or entry.executed:
                continue
            if entry.hidden:
                self._unpark(entry)
            else:
                entry.queue.leave(entry)
            entry.hidden = entry.executed = True
            if entry.resting is not None:
                self._count_order(entry.resting, -1)
            if self._at_head:
                self._uncount_debits(entry)

    def show(self, txids: Iterable[bytes]) -> None:
        """The block that held these was undone; what failed on top of it may hold again."""
        self._bring_back(txids)
        parked, self._parked = self._parked, {}
        for waiting in parked.values():
            self._bring_back(waiting)

    def _bring_back(self, txids: Iterable[bytes]) -> None:
        for txid in txids:
            entry = self._entries.get(txid)
            if entry is not None and entry.hidden:
                if entry.executed:
                    if entry.resting is not None:
                        self._count_order(entry.resting, 1)
                    if self._at_head:
                        self._count_debits(entry)
                entry.hidden = entry.executed = False
                entry.queue.come_back(entry)

    def select(self, kind: Kind = Kind.OTHER) -> Iterator[Entry]:
        """Entries of a kind that are not hidden, by fee rate, then age. Do not change the pool
        meanwhile."""
        return iter(self._queues[kind])

    def park(self, entry: Entry) -> None:
        """It failed on the head: do not select it again until a row that it needs changes."""
        if entry.hidden:
            return
        entry.queue.leave(entry)
        entry.hidden = True
        for row in _needed_rows(entry):
            self._parked.setdefault(row, set()).add(entry.checked.txid)

    def _unpark(self, entry: Entry) -> None:
        """Nobody waits for its rows on its behalf any more."""
        for row in _needed_rows(entry):
            waiting = self._parked.get(row)
            if waiting is not None:
                waiting.discard(entry.checked.txid)
                if not waiting:
                    del self._parked[row]

    def settle(
        self, included: Iterable[Checked], changed_rows: Iterable[bytes], chain_time_ms: int
    ) -> list[Dropped]:
        """A block is final: forget its transactions and all that can never apply any more."""
        dropped: list[Dropped] = []
        applied = tuple(included)
        for checked in applied:
            self.remove(checked.txid)
            for claim in checked.claims:
                rival = self._claims.get(claim)
                if rival is not None:
                    entry = self.remove(rival)
                    assert entry is not None
                    dropped.append(Dropped(entry, "conflict", checked.txid))
        while self._deadlines and self._deadlines[0][0] <= chain_time_ms:
            _, txid = heapq.heappop(self._deadlines)
            entry = self.remove(txid)
            if entry is not None:
                dropped.append(Dropped(entry, "expired", None))
        if len(self._deadlines) > 2 * len(self._entries) + 1000:  # mostly gone long before
            self._deadlines = [item for item in self._deadlines if item[1] in self._entries]
            heapq.heapify(self._deadlines)
        self.wake(chain(changed_rows, rows_of_owners(applied)))
        return dropped

    def wake(self, changed_rows: Iterable[bytes]) -> None:
        """What failed for want of one of these rows may hold now."""
        if not self._parked:
            return
        for row in chain.from_iterable(map(_waited_for, changed_rows)):
            for txid in tuple(self._parked.get(row, ())):
                self._unpark(self._entries[txid])
                self._bring_back((txid,))

    def _rivals(self, entry: Entry) -> list[Entry]:
        """Entries that cannot apply beside this one; all must be outbid."""
        rivals: dict[bytes, Entry] = {}
        for claim in entry.checked.claims:
            txid = self._claims.get(claim)
            if txid is None or txid in rivals:
                continue
            rival = self._entries[txid]
            if entry.fee <= rival.fee or entry.rate <= rival.rate:
                what = "its lease" if claim[:1] == b"l" else "a coin"
                raise ConflictsWithPending(what=what, txid=txid.hex())
            rivals[txid] = rival
        return list(rivals.values())

    def _check_owners(self, entry: Entry, rivals: Sequence[Entry]) -> None:
        limits = self.limits
        for demand in entry.checked.demands:
            count, size = self._owners.get(demand.address) or (0, 0)
            for rival in rivals:
                if any(other.address == demand.address for other in rival.checked.demands):
                    count, size = count - 1, size - rival.size
            if count >= limits.owner_transactions_max or size + entry.size > limits.owner_bytes_max:
                raise OwnerQuotaExceeded(
                    address=self._show(demand.address), count=count, bytes=size
                )

        owner = entry.resting
        if owner is not None:
            count = self._resting.get(owner, 0)
            count -= sum(rival.resting == owner and not rival.executed for rival in rivals)
            if count >= limits.owner_orders_max:
                raise WaitingOrdersExceeded(address=self._show(owner), count=count)

    def _check_debits(
        self, entry: Entry, rivals: Iterable[Entry], balance: Callable[[bytes], int]
    ) -> None:
        freed: dict[bytes, int] = {}
        for rival in rivals:
            if rival.executed and self._at_head:
                continue
            for row, debit, _, _, _ in rival.moves:
                freed[row] = freed.get(row, 0) + debit
        for row, debit, _, address, asset in entry.moves:
            if not debit:
                continue
            pending = self._debits.get(row, 0)
            if freed:
                pending -= freed.get(row, 0)
            available = balance(row)
            if pending + debit > available:
                raise Overcommitted(
                    address=self._show(address),
                    asset=asset or self._native_symbol,
                    available=format_amount(available),
                    pending=format_amount(pending),
                    needed=format_amount(debit),
                )

    def _make_room(self, entry: Entry, rivals: Sequence[Entry]) -> Sequence[Entry]:
        """Entries of strictly lower fee rate that make room, cheapest and youngest first."""
        limits = self.limits
        count, size = len(self._entries) + 1, self.bytes_total + entry.size
        if count <= limits.transactions_max and size <= limits.bytes_max:
            return ()
        count, size = count - len(rivals), size - sum(rival.size for rival in rivals)
        victims: list[Entry] = []
        if count <= limits.transactions_max and size <= limits.bytes_max:
            return victims
        worst = heapq.merge(*(queue.worst_first() for queue in self._queues), key=_worth)
        for victim in worst:
            if victim.rate >= entry.rate:
                break
            if victim in rivals:
                continue
            victims.append(victim)
            count, size = count - 1, size - victim.size
            if count <= limits.transactions_max and size <= limits.bytes_max:
                return victims
        raise PoolFull(count=len(self._entries), bytes=self.bytes_total)

    def _insert(self, entry: Entry) -> None:
        checked = entry.checked
        txid = checked.txid
        self._entries[txid] = entry
        self._by_wtxid[checked.transaction.wtxid] = entry
        self.bytes_total += entry.size
        entry.queue = self._queues[entry.kind]
        entry.queue.enter(entry)
        for claim in entry.checked.claims:
            self._claims[claim] = txid
        self._count_debits(entry)
        if entry.resting is not None:
            self._count_order(entry.resting, 1)
        for demand in checked.demands:
            count, size = self._owners.get(demand.address, (0, 0))
            self._owners[demand.address] = (count + 1, size + entry.size)
        if checked.valid_until is not None:
            heapq.heappush(self._deadlines, (checked.valid_until, txid))

    def _count_order(self, owner: bytes, sign: int) -> None:
        left = self._resting.get(owner, 0) + sign
        if left:
            self._resting[owner] = left
        else:
            del self._resting[owner]

    def _count_debits(self, entry: Entry) -> None:
        for row, debit, _, _, _ in entry.moves:
            if debit:
                self._debits[row] = self._debits.get(row, 0) + debit

    def _uncount_debits(self, entry: Entry) -> None:
        for row, debit, _, _, _ in entry.moves:
            if debit:
                left = self._debits[row] - debit
                if left:
                    self._debits[row] = left
                else:
                    del self._debits[row]


def _worth(entry: Entry) -> tuple[int, int]:
    """What grows with the claim to a place: the fee rate, then the age."""
    return entry.rate, -entry.sequence
