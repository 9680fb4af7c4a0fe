"""Readers of the small files in homes: wallets, invoices, webhooks."""

from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import msgspec
from fuzz_law import HASH

from chaind.api.webhook_records import Record, Records
from chaind.primitives.codec import encode
from chaind.primitives.hashes import sha256
from chaind.storage.invoices import Invoice, InvoiceFiles
from chaind.wallet.keystore import (
    DIGEST_BYTES,
    Account,
    Contents,
    OpenPart,
    SealedPart,
    read_open,
    seal,
)
from chaind.wallet.secret import Secret

OWN = "0123456789abcdef"
NAME = f"{OWN}.json"
INVOICE = Invoice(
    id=OWN,
    address=HASH[:20],
    asset="COIN",
    units=5,
    note="two books",
    created_ms=1,
    created_height=2,
    expires_ms=3,
)
WEBHOOK = Record(
    id=OWN,
    url="https://shop.example/paid",
    secret="at-least-16-characters",
    kinds=("payment",),
    account="5a" * 20,
    asset=None,
    created_ms=1,
    cursor="1.0.0",
)


class _Directory:
    """One that is there, and holds one file."""

    def exists(self) -> bool:
        return True

    is_dir = exists

    def __truediv__(self, name: str) -> Path:
        return Path("/home") / name


def _files(data: bytes) -> Any:
    return SimpleNamespace(
        list=lambda _directory: (NAME,),
        read=lambda _path, offset, length: data[offset : offset + length],
    )


def read_invoice(data: bytes) -> None:
    [invoice] = InvoiceFiles(_files(data), cast(Path, _Directory())).load()
    assert msgspec.json.decode(msgspec.json.encode(invoice), type=Invoice) == invoice


def read_webhook(data: bytes) -> None:
    [record] = Records(_files(data), cast(Path, _Directory())).load()
    assert msgspec.json.decode(record.encode(), type=Record) == record
    assert record.selection.kinds == record.kinds


def read_keystore(data: bytes) -> None:
    """The digest keeps accidents out; here it is put right, as somebody would who means harm."""
    body = data[:-DIGEST_BYTES]
    whole = body + sha256(body)[:DIGEST_BYTES]
    public = read_open(whole, "fuzzed")
    assert encode(public) in whole


def keystore() -> bytes:
    """A file of an account with words, at a cost that nobody should have."""
    account = Account("main", "m/44'/1'/0'", "xpub", b"", True)
    drawn: Callable[[int], bytes] = bytes
    return seal(
        Contents(OpenPart("chd", 0x1C, (account,)), SealedPart("", HASH * 2, {})),
        Secret("password"),
        log2_n=1,
        entropy=drawn,
    )
