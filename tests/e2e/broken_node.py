"""`chaind run` with one mistake in it, to see that `nemesis.py` finds it: for tests alone.

    python broken_node.py run --home …

BROKEN names the mistake: "ack" acknowledges some payments that it does not keep, "lease" forgets
which payment a key has made, "balance" tells a unit too much now and then.
"""

import os
from collections.abc import Callable, Iterator
from itertools import cycle
from typing import Any

import skewed_node

from chaind.cli import daemon
from chaind.cli.main import main
from chaind.node.holdings import BalanceInfo
from chaind.node.payments import Payment, Payments
from chaind.node.queries import Queries, TransactionInfo
from chaind.primitives.transaction import Transaction


def every(count: int) -> Iterator[bool]:
    """True at each so-manyth time."""
    return cycle([False] * (count - 1) + [True])


def break_ack() -> None:
    """A fourth of what is queued is answered and dropped."""
    submit, due = Payments._submit, every(4)

    async def drop(self: Payments, transaction: Transaction, wait: bool) -> Payment:
        if wait or not next(due):
            return await submit(self, transaction, wait)
        info = TransactionInfo(
            transaction.txid, "pending", None, None, None, None, None, 0, None, transaction
        )
        return Payment(transaction.txid, None, info)

    Payments._submit = drop  # type: ignore[method-assign]


def break_lease() -> None:
    """No earlier payment is found, and none has a lease that another one could run into."""
    spend = Payments.spend

    async def forget(self: Payments, spending: Any, *, wait: bool = True) -> Payment:
        return await spend(self, spending._replace(lease=None), wait=True)

    Payments.spend = forget  # type: ignore[method-assign]


def break_balance() -> None:
    """One base unit more, at every two-hundredth question."""
    balance, due = Queries.balance, every(200)

    def add(self: Queries, address: bytes, **which: Any) -> BalanceInfo:
        found = balance(self, address, **which)
        return found._replace(native=found.native + next(due))

    Queries.balance = add  # type: ignore[method-assign]


MISTAKES: dict[str, Callable[[], None]] = {
    "ack": break_ack,
    "lease": break_lease,
    "balance": break_balance,
}

if __name__ == "__main__":
    MISTAKES[os.environ["BROKEN"]]()
    daemon.run = skewed_node.run_skewed
    main()
