"""Invoices on disk: one small file each, written whole or not at all.

Law: what a node was asked to remember is durable before it is told; a file that cannot be read
stops the opening by its name, and is never taken for an invoice that was not there.
"""

from pathlib import Path

import msgspec

from chaind.primitives.errors import LocalFault
from chaind.storage.files import Files

SUFFIX = ".json"
FILE_BYTES_MAX = 16_384


class InvoiceDamaged(LocalFault):
    """A file that holds no invoice."""

    code = "invoice-damaged"
    text = "{path} does not hold an invoice: {reason}"
    advice = "Put the file back from its copy, or move it away: the node then forgets that invoice."
    exit_code = 74  # EX_IOERR


class Invoice(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A request for payment of `units` base units to `address`.

    Payments of blocks above `created_height` count, on time where their block is before
    `expires_ms`, and not above `cancelled_height` where it is cancelled. `note` is for people.
    """

    id: str
    address: bytes
    asset: str
    units: int
    note: str
    created_ms: int
    created_height: int
    expires_ms: int
    cancelled_ms: int | None = None
    cancelled_height: int | None = None


class InvoiceFiles:
    """The files of a directory. Blocking: called on a worker thread, one call at a time a file."""

    def __init__(self, files: Files, directory: Path) -> None:
        self._files = files
        self._directory = directory

    def load(self) -> list[Invoice]:
        """All invoices, oldest first. Raises `InvoiceDamaged`."""
        if not self._directory.exists():
            return []
        found = [
            self._read(self._directory / name)
            for name in self._files.list(self._directory)
            if name.endswith(SUFFIX)
        ]
        return sorted(found, key=lambda invoice: (invoice.created_ms, invoice.id))

    def _read(self, path: Path) -> Invoice:
        data = self._files.read(path, 0, FILE_BYTES_MAX + 1)
        try:
            invoice = msgspec.json.decode(data, type=Invoice)
        except (msgspec.DecodeError, UnicodeDecodeError) as error:
            raise InvoiceDamaged(path=path, reason=str(error)) from None
        if path.name != invoice.id + SUFFIX:
            raise InvoiceDamaged(path=path, reason=f"it is invoice {invoice.id[:40]}")
        return invoice

    def put(self, invoice: Invoice) -> None:
        """Write an invoice, durably, in place of one with its id."""
        self._files.make_dir(self._directory)
        self._files.write_atomic(self._path(invoice.id), msgspec.json.encode(invoice))

    def drop(self, invoice_id: str) -> None:
        """Forget an invoice, durably."""
        self._files.remove(self._path(invoice_id))
        self._files.sync_dir(self._directory)

    def _path(self, invoice_id: str) -> Path:
        return self._directory / f"{invoice_id}{SUFFIX}"
