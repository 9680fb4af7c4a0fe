"""The client for code without an event loop: every method waits and returns what `Client`'s does.

with SyncClient.open(["http://127.0.0.1:8080"]) as client:
    print(client.holdings("alice").balance)
"""

import asyncio
from collections.abc import Callable, Coroutine, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, TypeVar

from chaind.primitives.genesis import Genesis
from chaind.primitives.transaction import Transaction
from chaind.wallet.answers import (
    Activity,
    Coin,
    Gift,
    Holdings,
    Invoice,
    LeaseState,
    NodeStatus,
    Payee,
    Payout,
    PendingPage,
    Refund,
    RefundsState,
    Submitted,
    TransactionState,
    Transfer,
)
from chaind.wallet.client import PENDING_SEEN, Client
from chaind.wallet.client_paying import FINAL_S, PATIENCE_S
from chaind.wallet.secret import Secret
from chaind.wallet.statement import Statement

R = TypeVar("R")


class SyncClient:
    """See `Client` for what each method does and raises."""

    def __init__(self, client: Client, run: Callable[[Coroutine[Any, Any, Any]], Any]) -> None:
        self._client = client
        self._run = run

    @classmethod
    @contextmanager
    def open(
        cls,
        urls: Sequence[str],
        *,
        patience_s: float = PATIENCE_S,
        token: Secret[str] | None = None,
    ) -> Iterator["SyncClient"]:
        """A client with an event loop and a session of its own."""
        with asyncio.Runner() as runner:
            opened = Client.open(urls, patience_s=patience_s, token=token)
            client = runner.run(opened.__aenter__())
            try:
                yield cls(client, runner.run)
            finally:
                runner.run(opened.__aexit__(None, None, None))

    def wait(self, work: Coroutine[Any, Any, R]) -> R:
        """The result of any coroutine that uses this client's own."""
        result: R = self._run(work)
        return result

    def genesis(self) -> Genesis:
        """The chain's rules."""
        return self.wait(self._client.genesis())

    def status(self) -> NodeStatus:
        """Where the node stands."""
        return self.wait(self._client.status())

    def pending(self, limit: int = PENDING_SEEN) -> PendingPage:
        """The oldest transactions that wait for a block."""
        return self.wait(self._client.pending(limit))

    def holdings(self, who: str) -> Holdings:
        """Balances at the final tip."""
        return self.wait(self._client.holdings(who))

    def coins(self, who: str) -> list[Coin]:
        """All unspent coins."""
        return self.wait(self._client.coins(who))

    def history(self, who: str, limit: int | None = None) -> list[Activity]:
        """Final transactions, newest first."""
        return self.wait(self._client.history(who, limit))

    def transaction(self, txid: bytes) -> TransactionState | None:
        """Where a transaction is."""
        return self.wait(self._client.transaction(txid))

    def lease(self, owner: str, lease_id: bytes) -> LeaseState | None:
        """Who holds a lease."""
        return self.wait(self._client.lease(owner, lease_id))

    def submit(
        self, transaction: Transaction, *, final: bool = True, patience_s: float = FINAL_S
    ) -> Submitted:
        """Hand in a signed transaction."""
        return self.wait(self._client.submit(transaction, final=final, patience_s=patience_s))

    def transfer(
        self,
        source: str | int,
        target: str | int,
        units: int,
        *,
        asset: str | None = None,
        memo: str = "",
        key: str | None = None,
        patience_s: float = FINAL_S,
    ) -> Transfer:
        """Pay from an account whose key the node keeps."""
        return self.wait(
            self._client.transfer(
                source, target, units, asset=asset, memo=memo, key=key, patience_s=patience_s
            )
        )

    def payout(
        self,
        source: str | int,
        payees: Sequence[Payee],
        *,
        memo: str = "",
        key: str | None = None,
        patience_s: float = FINAL_S,
    ) -> Payout:
        """Pay many in one transaction."""
        return self.wait(
            self._client.payout(source, payees, memo=memo, key=key, patience_s=patience_s)
        )

    def refund(
        self,
        payment: bytes,
        *,
        source: str | int | None = None,
        units: int | None = None,
        asset: str | None = None,
        memo: str = "",
        key: str | None = None,
        patience_s: float = FINAL_S,
    ) -> Refund:
        """Give back some of a payment, or all that is left of it."""
        return self.wait(
            self._client.refund(
                payment,
                source=source,
                units=units,
                asset=asset,
                memo=memo,
                key=key,
                patience_s=patience_s,
            )
        )

    def refunds(self, payment: bytes, payee: str) -> RefundsState:
        """What a payee got, gave back, and can still give back."""
        return self.wait(self._client.refunds(payment, payee))

    def create_invoice(
        self,
        target: str | int,
        units: int,
        *,
        asset: str | None = None,
        memo: str = "",
        expires_in_ms: int | None = None,
    ) -> Invoice:
        """Ask for a payment."""
        return self.wait(
            self._client.create_invoice(
                target, units, asset=asset, memo=memo, expires_in_ms=expires_in_ms
            )
        )

    def invoice(self, invoice_id: str) -> Invoice:
        """An invoice and what became of it."""
        return self.wait(self._client.invoice(invoice_id))

    def invoices(self, limit: int | None = None) -> list[Invoice]:
        """Invoices of the node, newest first."""
        return self.wait(self._client.invoices(limit))

    def cancel_invoice(self, invoice_id: str) -> Invoice:
        """Ask for it no longer."""
        return self.wait(self._client.cancel_invoice(invoice_id))

    def statement(
        self,
        who: str,
        *,
        asset: str | None = None,
        from_height: int | None = None,
        to_height: int | None = None,
        from_ms: int | None = None,
        to_ms: int | None = None,
    ) -> Statement:
        """What moved an account of one asset."""
        return self.wait(
            self._client.statement(
                who,
                asset=asset,
                from_height=from_height,
                to_height=to_height,
                from_ms=from_ms,
                to_ms=to_ms,
            )
        )

    def faucet(self, target: str | int, units: int) -> Gift:
        """A gift on a development chain."""
        return self.wait(self._client.faucet(target, units))

    def wait_ended(self, txid: bytes, bound_s: float = FINAL_S) -> TransactionState:
        """Where a transaction is when it has ended."""
        return self.wait(self._client.wait_ended(txid, bound_s))
