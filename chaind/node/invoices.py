"""Invoices: requests for payment that this node remembers, and what the chain says became of them.

Law: a status is a function of the stored invoice and the final chain, and nothing else: a restart,
or the same invoice on another node, gives the same. A payment belongs to an invoice by the
reference in its memo, and counts by what its receiver has more of its asset.
"""

import asyncio
from collections.abc import Callable
from typing import NamedTuple

from msgspec.structs import replace

from chaind.ledger.keys import asset_key
from chaind.node.chain import Chain
from chaind.node.clock import Clock, Workers
from chaind.primitives.amounts import is_asset_symbol
from chaind.primitives.errors import Conflict, RuleBroken, TooLarge, TooMany, Unknown
from chaind.primitives.references import INVOICE_ID_BYTES, invoice_reference
from chaind.primitives.transaction import NATIVE
from chaind.storage.chain_store import ChainStore
from chaind.storage.indexes import paid_by
from chaind.storage.invoices import Invoice, InvoiceFiles
from chaind.storage.schema import Location

INVOICES_MAX = 10_000  # some 10 MB of memory, and half a second of reading at start
KEPT_MS = 30 * 86_400_000  # after its end an invoice may have to give way to a new one
NOTE_CHARS_MAX = 500
PAYMENTS_SHOWN_MAX = 50
PAGE_ROWS = 200  # payments read before the loop serves others


class InvoiceUnknown(Unknown):
    code = "invoice-unknown"
    text = "this node has no invoice {id!r}"
    advice = "Ask the node that made it; ended invoices are forgotten when room is needed."


class InvoiceAssetUnknown(RuleBroken):
    code = "invoice-asset-unknown"
    text = "there is no asset {asset!r} that could be paid"
    advice = "GET /api/v1/assets lists the assets of this chain."


class InvoiceNoteTooLong(TooLarge):
    code = "invoice-note-too-long"
    text = "the text of an invoice has {length} characters, at most {limit} are kept"
    advice = "Shorten it, or name a document that says the rest."


class InvoiceSettled(Conflict):
    code = "invoice-settled"
    text = "invoice {id} is {status}: it cannot be cancelled any more"
    advice = "Give the money back with a payment to whoever paid it."


class InvoicesFull(TooMany):
    code = "invoices-full"
    text = "this node remembers {limit} invoices, and none of them ended long enough ago"
    advice = "Cancel some that nobody will pay, or ask for payments by another node."


class InvoiceOrder(NamedTuple):
    """What is asked for, by whom it is to be paid, and for how long."""

    address: bytes
    asset: str
    units: int
    note: str
    expires_in_ms: int


class InvoicePayment(NamedTuple):
    """A final payment of an invoice; `late` where it does not count towards it any more."""

    txid: bytes
    units: int
    height: int
    time_ms: int
    late: bool


class InvoiceState(NamedTuple):
    """What the chain says. `status` is unpaid, partial, paid, overpaid, expired or cancelled.

    `paid` came on time, `late` did not; `payments` are the first of `payment_count`.
    """

    invoice: Invoice
    status: str
    paid: int
    late: int
    payments: tuple[InvoicePayment, ...]
    payment_count: int


class Invoices:
    """See the module's law."""

    def __init__(
        self,
        *,
        files: InvoiceFiles,
        chain: Chain,
        store: ChainStore,
        clock: Clock,
        workers: Workers,
        entropy: Callable[[int], bytes],
    ) -> None:
        self._files = files
        self._chain = chain
        self._store = store
        self._clock = clock
        self._workers = workers
        self._entropy = entropy
        self._invoices: dict[str, Invoice] = {}  # oldest first
        self._making = asyncio.Lock()  # the bound holds for requests at once, too

    async def load(self) -> None:
        """Read what was stored. Raises `InvoiceDamaged`."""
        found = await self._workers.disk(self._files.load)
        self._invoices = {invoice.id: invoice for invoice in found}

    async def create(self, order: InvoiceOrder) -> Invoice:
        """A new invoice, durable on return. Raises the leaves of this module."""
        if len(order.note) > NOTE_CHARS_MAX:
            raise InvoiceNoteTooLong(length=len(order.note), limit=NOTE_CHARS_MAX)
        asset = order.asset
        known = asset == NATIVE or (is_asset_symbol(asset) and self._store.get(asset_key(asset)))
        if not known:
            raise InvoiceAssetUnknown(asset=asset[:40])
        async with self._making:
            await self._make_room()
            now_ms, final = self._clock.now_ms(), self._chain.final
            invoice = Invoice(
                id=self._entropy(INVOICE_ID_BYTES).hex(),
                address=order.address,
                asset=asset,
                units=order.units,
                note=order.note,
                created_ms=now_ms,
                created_height=final.height,
                # Of chain time, which may be ahead of this clock.
                expires_ms=max(now_ms, final.time_ms) + order.expires_in_ms,
            )
            await self._workers.disk(lambda: self._files.put(invoice))
            self._invoices[invoice.id] = invoice
        return invoice

    async def _make_room(self) -> None:
        """Forget the oldest invoice that ended long ago, where there is no room for another."""
        if len(self._invoices) < INVOICES_MAX:
            return
        long_ago_ms = self._clock.now_ms() - KEPT_MS
        for invoice in self._invoices.values():
            if (invoice.cancelled_ms or invoice.expires_ms) < long_ago_ms:
                await self._workers.disk(lambda: self._files.drop(invoice.id))  # noqa: B023
                del self._invoices[invoice.id]
                return
        raise InvoicesFull(limit=INVOICES_MAX)

    def get(self, invoice_id: str) -> Invoice:
        """An invoice. Raises `InvoiceUnknown`."""
        invoice = self._invoices.get(invoice_id)
        if invoice is None:
            raise InvoiceUnknown(id=invoice_id[:40])
        return invoice

    def newest(self, before: str | None, limit: int) -> list[Invoice]:
        """Invoices, newest first, those made before another. Raises `InvoiceUnknown`."""
        found = list(reversed(self._invoices.values()))
        start = found.index(self.get(before)) + 1 if before is not None else 0
        return found[start : start + limit]

    async def cancel(self, invoice_id: str) -> Invoice:
        """End an invoice; payments in later blocks are late. Raises `InvoiceSettled`."""
        async with self._making:
            invoice = self.get(invoice_id)
            if invoice.cancelled_ms is not None:
                return invoice
            state = await self.state(invoice)
            if state.status in ("paid", "overpaid"):
                raise InvoiceSettled(id=invoice_id, status=state.status)
            ended = replace(
                invoice,
                cancelled_ms=self._clock.now_ms(),
                cancelled_height=self._chain.final.height,
            )
            await self._workers.disk(lambda: self._files.put(ended))
            self._invoices[invoice_id] = ended
        return ended

    async def state(self, invoice: Invoice) -> InvoiceState:
        """What the final chain says of an invoice; see the module's law."""
        now_ms = self._chain.final.time_ms  # first: what is read after it is not older
        paid = late = count = 0
        payments: list[InvoicePayment] = []
        reference = invoice_reference(invoice.id)
        after = Location(invoice.created_height, 2**32 - 1)
        while True:
            rows = self._store.referring(invoice.address, reference, after, PAGE_ROWS)
            for txid, row in rows:
                units = paid_by(row).get(invoice.address, {}).get(invoice.asset, 0)
                if not units:
                    continue
                is_late = row.time_ms >= invoice.expires_ms or (
                    invoice.cancelled_height is not None and row.height > invoice.cancelled_height
                )
                paid, late = (paid, late + units) if is_late else (paid + units, late)
                count += 1
                if len(payments) < PAYMENTS_SHOWN_MAX:
                    payments.append(InvoicePayment(txid, units, row.height, row.time_ms, is_late))
            if len(rows) < PAGE_ROWS:
                break
            after = Location(rows[-1][1].height, rows[-1][1].place)
            await asyncio.sleep(0)
        status = _status(invoice, paid, now_ms)
        return InvoiceState(invoice, status, paid, late, tuple(payments), count)


def _status(invoice: Invoice, paid: int, now_ms: int) -> str:
    """In one word. What was paid in full on time stays paid."""
    if invoice.cancelled_ms is not None:
        return "cancelled"
    if paid >= invoice.units:
        return "paid" if paid == invoice.units else "overpaid"
    if now_ms >= invoice.expires_ms:
        return "expired"
    return "partial" if paid else "unpaid"
