"""What goes into a block: payments first, then order actions in their turns.

Law: order actions get at most half of a block's cost and bytes while payments wait for the rest,
and cancels a quarter that no other order can take. Where nothing else waits each may have all.
"""

from collections.abc import Iterator
from itertools import chain

from chaind.ledger.block import Applying
from chaind.ledger.errors import REFUSALS, CoinImmature, TooEarly, ValidTooLong
from chaind.market.turns import in_turn
from chaind.mempool.entries import Entry, Kind
from chaind.mempool.pool import Pool
from chaind.primitives.genesis import Parameters
from chaind.primitives.orders import OrderAction

FAILURES_MAX = 1_000  # a proposer gives up on a queue that mostly does not apply
EARLY = (CoinImmature, TooEarly, ValidTooLong)  # what the next height may do, with no row changed
SHARES = 4  # of a block: one of them for cancels, one more for orders


class _Space:
    """Bytes and cost that are left of a block, or of a part of it."""

    def __init__(self, size: int, cost: int) -> None:
        self.size = size
        self.cost = cost

    def take(self, size: int, cost: int) -> bool:
        """Use some of it, if there is as much."""
        if size > self.size or cost > self.cost:
            return False
        self.size -= size
        self.cost -= cost
        return True


def fill(applying: Applying, pool: Pool, parameters: Parameters, parent_hash: bytes) -> list[Entry]:
    """Apply what the pool offers until the block is full; what does not apply."""
    space = _Space(parameters.block_bytes_max, parameters.block_cost_max)
    share = _Space(0, 0)
    orders: list[Entry] = []
    others: list[Iterator[Entry]] = []
    for kind in (Kind.CANCEL, Kind.ORDER):
        share.size += parameters.block_bytes_max // SHARES
        share.cost += parameters.block_cost_max // SHARES
        waiting = pool.select(kind)
        for entry in waiting:
            room = applying.room_for(entry.checked)
            if not share.take(entry.size, room):
                others.append(chain((entry,), waiting))
                break
            orders.append(entry)
            space.take(entry.size, room)
    failed, exhausted = _fill_payments(applying, pool, space)
    if exhausted and others:
        # There is room that nobody else wants. Few orders meet as many others as they may: the
        # actions are picked by what they cost at least, and those without room stay for the next.
        space.cost = parameters.block_cost_max - applying.cost
        space.cost -= sum(entry.checked.cost for entry in orders)
        for entry in chain.from_iterable(others):
            if not space.take(entry.size, entry.checked.cost):
                break
            orders.append(entry)
    return failed + _apply_in_turn(applying, orders, parent_hash)


def _fill_payments(applying: Applying, pool: Pool, space: _Space) -> tuple[list[Entry], bool]:
    """Apply all but orders, best first; what fails, and whether all that waits was tried."""
    failed: list[Entry] = []
    early = 0
    for entry in pool.select():
        checked = entry.checked
        if entry.size > space.size or checked.cost > space.cost:
            return failed, False
        try:
            applying.add(checked)
        except REFUSALS as error:
            if isinstance(error, EARLY):
                early += 1
            else:
                failed.append(entry)
            if len(failed) + early >= FAILURES_MAX:
                return failed, False
            continue
        space.size -= entry.size
        space.cost -= checked.cost
    return failed, True


def _apply_in_turn(applying: Applying, entries: list[Entry], parent_hash: bytes) -> list[Entry]:
    """Apply orders in the one order that their block may have them; what does not apply."""
    by_txid: dict[bytes, Entry] = {}
    actions: list[tuple[bytes, OrderAction]] = []
    for entry in entries:
        order = entry.checked.order
        assert order is not None, "its kind says that it is one"
        by_txid[entry.checked.txid] = entry
        actions.append((entry.checked.txid, order))
    failed: list[Entry] = []
    early = 0
    for txid in in_turn(parent_hash, actions):
        if len(failed) + early >= FAILURES_MAX:
            break
        entry = by_txid[txid]
        if not applying.has_room(entry.checked):
            continue
        try:
            applying.add(entry.checked)
        except EARLY:
            early += 1
        except REFUSALS:
            failed.append(entry)
    return failed
