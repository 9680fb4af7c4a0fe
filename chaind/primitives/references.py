"""Memos that refer to something else, by which nodes index payments.

    invoice:ID [TEXT]              pays an invoice; ID is 20 hex digits
    refund:TXID NUMBER KEY [TEXT]  gives back some of payment TXID, as its refund NUMBER

Anybody may write any memo: who was paid, how much, and by whom is for the reader to check. KEY is
32 hex digits that stand for an Idempotency-Key, so that a retry finds its refund on any node and
however late. A refund also holds the lease of `refund_lease_id`, whose owner gives back: so there
is one refund of each number, whatever nodes are asked at once.
"""

from typing import NamedTuple

from chaind.primitives.hashes import tagged_hash

INVOICE, REFUND = b"invoice:", b"refund:"
INVOICE_ID_BYTES = 10
REFUNDS_MAX = 1_000  # of one payment by one payee; all are read for the next one
REFUND_KEY_BYTES = 16
_TXID_HEX = 64
_HEX = frozenset(b"0123456789abcdef")


class RefundMemo(NamedTuple):
    """Which payment is given back, as which of its refunds, and under which key."""

    txid: bytes
    number: int
    key: bytes


def invoice_of(memo: bytes) -> bytes | None:
    """The reference of a memo to an invoice; None where it has none."""
    if not memo.startswith(INVOICE):  # of all payments: most have no memo
        return None
    word = memo.split(b" ", 1)[0]
    return word if _is_hex(word[len(INVOICE) :], 2 * INVOICE_ID_BYTES) else None


def invoice_reference(invoice_id: str) -> bytes:
    """The memo that pays an invoice."""
    return INVOICE + invoice_id.encode("ascii")


def refund_of(memo: bytes) -> RefundMemo | None:
    """What a memo says it gives back; None where it says nothing of that."""
    if not memo.startswith(REFUND):
        return None
    words = memo.split(b" ", 3)
    if len(words) < 3:
        return None
    txid, number, key = words[0][len(REFUND) :], words[1], words[2]
    if not _is_hex(txid, _TXID_HEX) or not _is_hex(key, 2 * REFUND_KEY_BYTES):
        return None
    if not number.isdigit() or number.startswith(b"0") or not len(number) <= len(str(REFUNDS_MAX)):
        return None
    if int(number) > REFUNDS_MAX:
        return None
    return RefundMemo(bytes.fromhex(txid.decode()), int(number), bytes.fromhex(key.decode()))


def refund_text(memo: bytes) -> bytes:
    """What a refund's memo says to people."""
    return memo.split(b" ", 3)[3] if memo.count(b" ") > 2 else b""


def refund_reference(txid: bytes) -> bytes:
    """What all refunds of a payment refer to."""
    return REFUND + txid.hex().encode("ascii")


def refund_memo(refund: RefundMemo, text: bytes = b"") -> bytes:
    """The memo of a refund."""
    head = b"%b %d %b" % (
        refund_reference(refund.txid),
        refund.number,
        refund.key.hex().encode("ascii"),
    )
    return head + b" " + text if text else head


def refund_key(txid: bytes, key: str) -> bytes:
    """What stands for an Idempotency-Key in refunds of a payment."""
    return tagged_hash("chaind/refund-key", txid + key.encode())[:REFUND_KEY_BYTES]


def refund_lease_id(txid: bytes, number: int) -> bytes:
    """The id of the lease that makes refund `number` of a payment exist once.

    Tagged: no Idempotency-Key hashes to it.
    """
    return tagged_hash("chaind/refund", txid + number.to_bytes(4, "big"))


def _is_hex(word: bytes, digits: int) -> bool:
    return len(word) == digits and _HEX.issuperset(word)
