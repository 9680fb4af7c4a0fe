"""Readers of mined blocks that come in short: ids, and then what the pool lacked."""

from collections.abc import Callable
from types import SimpleNamespace
from typing import Any, cast

from fuzz_law import vectors

from chaind.network.messages import (
    BlockTransactions,
    CompactBlock,
    GetBlock,
    GetBlockTransactions,
    Message,
    decode_message,
    encode_message,
)
from chaind.node.compact import Compacts, in_short
from chaind.primitives.block import Block
from chaind.primitives.errors import Malformed
from chaind.primitives.transaction import Transaction

BLOCK = max(
    (Block.decode(bytes.fromhex(each["block"])) for each in vectors("blocks").values()),
    key=lambda block: len(block.transactions),
)
PEER = cast(Any, object())


class Unasked(Malformed):
    """Another message than was asked for, or of another block."""


class _Pool:
    """What it holds is all that is asked of it."""

    def __init__(self, held: tuple[Transaction, ...]) -> None:
        self._held = {one.wtxid: SimpleNamespace(transaction=one) for one in held}

    def by_wtxid(self, wtxid: bytes) -> Any:
        return self._held.get(wtxid)


def _compacts(held: tuple[Transaction, ...], sent: list[Message]) -> Compacts:
    return Compacts(
        pool=cast(Any, _Pool(held)),
        send=lambda _peer, message: sent.append(message),
        header_of=lambda _hash: BLOCK.header_bytes,
    )


def _take(data: bytes, kind: type[Message]) -> Any:
    message = decode_message(data)
    if not isinstance(message, kind) or message.block_hash != BLOCK.hash:
        raise Unasked
    return message


def read_compact(held: bool) -> Callable[[bytes], None]:
    """What is rebuilt from a pool is the block; what the pool lacks is asked for, and no more."""
    transactions = BLOCK.transactions if held else BLOCK.transactions[1:]

    def read(data: bytes) -> None:
        message, sent = _take(data, CompactBlock), list[Message]()
        block = _compacts(transactions, sent).take(PEER, message)
        if block is not None:
            assert block.encode() == BLOCK.encode()
            assert not sent
            return
        [asked] = sent
        assert isinstance(asked, GetBlockTransactions)
        known = {one.wtxid for one in transactions}
        assert asked.wtxids == tuple(one for one in message.wtxids if one not in known)

    return read


def read_rest(data: bytes) -> None:
    """What was lacking makes the block; where it is less, the whole block is asked for."""
    sent: list[Message] = []
    compacts = _compacts(BLOCK.transactions[1:], sent)
    assert compacts.take(PEER, in_short(BLOCK)) is None
    block = compacts.complete(PEER, _take(data, BlockTransactions))
    if block is None:
        assert sent[1:] == [GetBlock(BLOCK.hash)]
    else:
        assert block.encode() == BLOCK.encode()


def compact() -> bytes:
    return encode_message(in_short(BLOCK))


def rest() -> tuple[bytes, bytes]:
    """All that is missing, and nothing of it."""
    whole = BlockTransactions(BLOCK.hash, (BLOCK.transactions[0].raw,))
    return encode_message(whole), encode_message(BlockTransactions(BLOCK.hash, ()))
