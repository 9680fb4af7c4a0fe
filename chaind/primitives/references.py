"""Memos that refer to an invoice: `invoice:ID`, where ID is 20 hex digits.

The word before the first space is the reference, by which nodes index payments. Anybody may write
any memo: who was paid, how much, and by whom is for the reader to check.
"""

INVOICE = b"invoice:"
INVOICE_ID_BYTES = 10


def reference_of(memo: bytes) -> bytes | None:
    """The reference of a memo; None where it has none."""
    if not memo.startswith(INVOICE):  # of all payments: most have no memo
        return None
    word = memo.split(b" ", 1)[0]
    return word if _is_id(word[len(INVOICE) :]) else None


def invoice_reference(invoice_id: str) -> bytes:
    """The memo that pays an invoice."""
    return INVOICE + invoice_id.encode("ascii")


def _is_id(word: bytes) -> bool:
    return len(word) == 2 * INVOICE_ID_BYTES and all(char in b"0123456789abcdef" for char in word)
