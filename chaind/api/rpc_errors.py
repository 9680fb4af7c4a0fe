"""Errors of JSON-RPC with bitcoind's numbers (rpc/protocol.h), and BIP-22's words for blocks."""

from enum import IntEnum

from chaind.consensus.pow import errors as headers
from chaind.consensus.pow.tree_errors import ParentInvalid, ReorgTooDeep
from chaind.ledger.errors import BlockTransactionInvalid
from chaind.node.bodies import WrongTransactions
from chaind.node.gbt import BlockKnown, BlockOutrun
from chaind.node.work_errors import ParentUnknown, TransactionsRefused
from chaind.primitives.block import MerkleMismatch
from chaind.primitives.errors import ChaindError
from chaind.primitives.work import BitsInvalid


class RpcCode(IntEnum):
    """The number of an error."""

    INVALID_REQUEST = -32600
    METHOD_NOT_FOUND = -32601
    PARSE_ERROR = -32700
    MISC = -1
    TYPE_ERROR = -3
    INVALID_ADDRESS = -5
    INVALID_PARAMETER = -8
    NOT_CONNECTED = -9
    IN_INITIAL_DOWNLOAD = -10
    DESERIALIZATION = -22


class RpcRefused(Exception):
    """A call is answered by an error."""

    def __init__(self, code: RpcCode, text: str) -> None:
        super().__init__(text)
        self.code = code


# The first class that an error is of decides. Other rules have no word of their own in BIP-22.
REASONS: tuple[tuple[type[ChaindError], str], ...] = (
    (headers.BitsUnexpected, "bad-diffbits"),
    (headers.TargetTooEasy, "bad-diffbits"),
    (BitsInvalid, "bad-diffbits"),
    (headers.HashTooHigh, "high-hash"),
    (headers.TimeTooOld, "time-too-old"),
    (headers.TimeTooNew, "time-too-new"),
    (headers.TimeTooSoon, "time-invalid"),
    (headers.TimeWarped, "time-invalid"),
    (MerkleMismatch, "bad-txnmrklroot"),
    (ParentInvalid, "bad-prevblk"),
    (ParentUnknown, "bad-prevblk"),
    (ReorgTooDeep, "stale-prevblk"),
    (BlockOutrun, "inconclusive"),
    (BlockTransactionInvalid, "bad-txns"),
    (TransactionsRefused, "bad-txns"),
    (WrongTransactions, "bad-txns"),
)
REJECTED = "rejected"
_OWN_WORDS = frozenset({"unknown-work", "stale-prevblk"})


def reason_of(error: ChaindError) -> str:
    """Why a block is refused, in BIP-22's words."""
    if isinstance(error, BlockKnown):
        state = error.values["state"]
        return "duplicate" if state == "valid" else f"duplicate-{state}"
    if error.code in _OWN_WORDS:
        return error.code
    return next((word for kind, word in REASONS if isinstance(error, kind)), REJECTED)
