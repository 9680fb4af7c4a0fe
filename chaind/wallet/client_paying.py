"""The part of the client that pays from accounts whose keys a node keeps, and keeps the books.

Law: as of `chaind.wallet.client`, of which this is a part. A payment, a payout or a refund is
repeated under its one Idempotency-Key; gifts and new invoices have none, and are asked for once.
"""

import asyncio
import secrets
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from typing import TypeVar
from urllib.parse import quote, urlencode

import aiohttp
import msgspec
from msgspec.structs import replace

from chaind.primitives.amounts import format_amount
from chaind.wallet.answers import (
    Gift,
    Invoice,
    InvoicesPage,
    Payee,
    Payout,
    Refund,
    RefundsState,
    StatementPage,
    Transfer,
)
from chaind.wallet.errors import NodeSilent
from chaind.wallet.secret import Secret
from chaind.wallet.statement import Statement, joined
from chaind.wallet.transport import HOLD_S_MAX, Nodes, Reply

PATIENCE_S = 10.0  # until nodes that do not answer are given up
FINAL_S = 60.0  # for finality: two holds of a node
KEY_BYTES = 16  # of a drawn Idempotency-Key: never drawn twice
JSON = {"Content-Type": "application/json"}

P = TypeVar("P", Transfer, Payout, Refund)


class PayingClient:
    """See the module's law. `pause` waits so many seconds, `tell` is given what a person who
    waits should know, and `draw_key` makes Idempotency-Keys."""

    def __init__(
        self,
        urls: Sequence[str],
        session: aiohttp.ClientSession,
        *,
        patience_s: float = PATIENCE_S,
        token: Secret[str] | None = None,
        pause: Callable[[float], Awaitable[None]] = asyncio.sleep,
        tell: Callable[[str], None] = lambda _: None,
        draw_key: Callable[[], str] = lambda: secrets.token_hex(KEY_BYTES),
    ) -> None:
        self._nodes = Nodes(urls, session, token=token, pause=pause, tell=tell)
        self._patience_s = patience_s
        self.draw_key = draw_key

    @property
    def url(self) -> str:
        """The node that is asked next."""
        return self._nodes.url

    # Payments. A key is drawn where none is given; the answer names it.

    async def transfer(
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
        """Pay from an account whose key the node keeps, once for this key, and be final.

        Raises `Refused`, `NodesBusy` where the payment is still in flight when patience ends.
        """
        order = {"from": source, "to": target, "amount": format_amount(units), "asset": asset}
        return await self._pay("/api/v1/transfers", order, memo, key, patience_s, Transfer)

    async def payout(
        self,
        source: str | int,
        payees: Sequence[Payee],
        *,
        memo: str = "",
        key: str | None = None,
        patience_s: float = FINAL_S,
    ) -> Payout:
        """Pay many in one transaction, whole or not at all; otherwise as `transfer`."""
        outputs = [
            _given({"to": payee.to, "amount": format_amount(payee.units), "asset": payee.asset})
            for payee in payees
        ]
        order = {"from": source, "outputs": outputs}
        return await self._pay("/api/v1/payouts", order, memo, key, patience_s, Payout)

    async def refund(
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
        """Give back some of a payment, or all that is left of it; otherwise as `transfer`.

        `source` is who was paid, and need not be said where that is clear.
        """
        order = {
            "payment": payment.hex(),
            "from": source,
            "amount": None if units is None else format_amount(units),
            "asset": asset,
        }
        return await self._pay("/api/v1/refunds", order, memo, key, patience_s, Refund)

    async def refunds(self, payment: bytes, payee: str) -> RefundsState:
        """What `payee` got by a final payment, gave back of it, and can still give back.

        Raises `NotThere`, `Refused`.
        """
        path = f"/api/v1/transactions/{payment.hex()}/refunds/{quote(payee, safe='')}"
        return (await self._read(path)).decode(RefundsState)

    async def faucet(self, target: str | int, units: int) -> Gift:
        """A gift on a development chain. Asked once: every request would be another gift."""
        reply = await self._once("/api/v1/faucet", {"to": target, "amount": format_amount(units)})
        return reply.decode(Gift)

    # Invoices, which only the node that made them knows.

    async def create_invoice(
        self,
        target: str | int,
        units: int,
        *,
        asset: str | None = None,
        memo: str = "",
        expires_in_ms: int | None = None,
    ) -> Invoice:
        """Ask for a payment. Asked once: every request would be another invoice."""
        order = {
            "to": target,
            "amount": format_amount(units),
            "asset": asset,
            "memo": memo or None,
            "expires_in_ms": expires_in_ms,
        }
        return (await self._once("/api/v1/invoices", _given(order))).decode(Invoice)

    async def invoice(self, invoice_id: str) -> Invoice:
        """An invoice and what became of it. Raises `NotThere`."""
        path = f"/api/v1/invoices/{quote(invoice_id, safe='')}"
        return (await self._read(path)).decode(Invoice)

    async def invoices(self, limit: int | None = None) -> list[Invoice]:
        """Invoices of the node, newest first: all, or the newest `limit`."""
        found: list[Invoice] = []
        async for reply in self._pages("/api/v1/invoices"):
            found += reply.decode(InvoicesPage).invoices
            if limit is not None and len(found) >= limit:
                return found[:limit]
        return found

    async def cancel_invoice(self, invoice_id: str) -> Invoice:
        """Ask for it no longer; twice is once. Raises `NotThere`, `Refused` where it is paid."""
        path = f"/api/v1/invoices/{quote(invoice_id, safe='')}/cancel"
        reply = await self._nodes.ask("POST", path, headers=JSON, patience_s=self._patience_s)
        return reply.decode(Invoice)

    # Statements.

    async def statement(
        self,
        who: str,
        *,
        asset: str | None = None,
        from_height: int | None = None,
        to_height: int | None = None,
        from_ms: int | None = None,
        to_ms: int | None = None,
    ) -> Statement:
        """What moved an account of one asset, page after page; the sums are exact.

        Raises `Refused` for a range that is too deep in the past.
        """
        wanted = {
            "asset": asset,
            "from_height": from_height,
            "to_height": to_height,
            "from_ms": from_ms,
            "to_ms": to_ms,
        }
        path = f"/api/v1/accounts/{quote(who, safe='')}/statement"
        query = urlencode(_given(wanted))
        pages = [
            reply.decode(StatementPage)
            async for reply in self._pages(f"{path}?{query}" if query else path)
        ]
        return joined(pages, self.url)

    # The way there.

    async def _pay(
        self,
        path: str,
        order: Mapping[str, object],
        memo: str,
        key: str | None,
        patience_s: float,
        kind: type[P],
    ) -> P:
        key = self.draw_key() if key is None else key
        body = msgspec.json.encode(_given({**order, "memo": memo or None}))
        headers = {**JSON, "Idempotency-Key": key}
        reply = await self._nodes.ask(
            "POST", path, body=body, headers=headers, patience_s=patience_s, in_flight=True
        )
        earlier = reply.headers.get("X-Idempotency-Hit") == "true"
        return replace(reply.decode(kind), key=key, earlier=earlier)

    async def _once(self, path: str, order: Mapping[str, object]) -> Reply:
        body = msgspec.json.encode(order)
        reply = await self._nodes.once(self.url, "POST", path, body, JSON, answer_s=HOLD_S_MAX)
        if reply.status > 299:
            raise reply.error()
        return reply

    async def _read(self, path: str) -> Reply:
        return await self._nodes.ask("GET", path, patience_s=self._patience_s)

    async def _pages(self, path: str) -> AsyncIterator[Reply]:
        joint = "&" if "?" in path else "?"
        cursor: str | None = ""
        while cursor is not None:
            reply = await self._read(f"{path}{joint}cursor={quote(cursor)}" if cursor else path)
            yield reply
            following = reply.decode(_Cursor).next_cursor
            if following == cursor:
                raise NodeSilent(url=reply.url, reason="its pages go in a circle")
            cursor = following


class _Cursor(msgspec.Struct, frozen=True):
    next_cursor: str | None


def _given(fields: Mapping[str, object]) -> dict[str, object]:
    """Without what was left out."""
    return {name: value for name, value in fields.items() if value is not None}
