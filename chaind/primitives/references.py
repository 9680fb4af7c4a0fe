"""Memos that refer to something: the invoice that a payment pays, the payment that it refunds.

    invoice:ID                 pays the invoice ID (20 hex digits)
    refund:TXID NUMBER         gives back some of what the transaction TXID paid

The word before the first space is the reference, by which nodes index payments. Anybody may write
any memo: who was paid, how much, and by whom is for the reader to check.
"""

INVOICE = b"invoice:"
REFUND = b"refund:"
INVOICE_ID_BYTES = 10
_LENGTHS = {INVOICE: 2 * INVOICE_ID_BYTES, REFUND: 64}


def reference_of(memo: bytes) -> bytes | None:
    """The reference of a memo; None where it is not one of the forms above."""
    if memo[:1] not in (b"i", b"r"):  # of all payments: most have no memo
        return None
    word = memo.split(b" ", 1)[0]
    for kind, length in _LENGTHS.items():
        if word.startswith(kind) and _is_hex(word[len(kind) :], length):
            return word
    return None


def invoice_reference(invoice_id: str) -> bytes:
    """The memo that pays an invoice."""
    return INVOICE + invoice_id.encode("ascii")


def _is_hex(word: bytes, length: int) -> bool:
    return len(word) == length and all(char in b"0123456789abcdef" for char in word)
