"""What channels tell of transactions, heads and rewards: the forms, and whom they concern."""

from collections.abc import Iterator
from typing import Any

import msgspec

from chaind.ledger.checks import Checked
from chaind.ledger.execute import Receipt
from chaind.node.events import FinalEvent, HeadEvent
from chaind.node.node import Node
from chaind.primitives.amounts import format_amount
from chaind.primitives.block import Block
from chaind.primitives.hashes import display_hash
from chaind.storage.indexes import paid_by_coinbase


class TransactionState(msgspec.Struct, frozen=True):
    """What a tx channel tells, at once and at every change."""

    tx_id: str
    status: str
    reason: str | None = None
    by: str | None = None
    height: int | None = None
    block_hash: str | None = None
    time_ms: int | None = None


def final_state(txid: bytes, event: FinalEvent) -> TransactionState:
    """A transaction of a block that is final now."""
    block = event.block
    return TransactionState(
        txid.hex(),
        "final",
        height=block.height,
        block_hash=display_hash(block.hash),
        time_ms=block.time_ms,
    )


def head_news(node: Node, event: HeadEvent) -> dict[str, Any]:
    """The newest block of a mined chain, and how it came to be that."""
    head = node.chain.head
    return {
        "height": head.height,
        "hash": display_hash(head.hash),
        "undone": len(event.undone),
        "applied": len(event.applied),
        "final_height": node.chain.final.height,
    }


def reward_news(block: Block, maturity: int, status: str) -> Iterator[tuple[bytes, dict[str, Any]]]:
    """Whom a mined block pays, and what."""
    for address, units in paid_by_coinbase(block.coinbase).items():
        data = {
            "status": status,
            "amount": format_amount(units),
            "height": block.height,
            "block_hash": display_hash(block.hash),
            "matures_at_height": block.height + maturity,
        }
        yield address, data


def touched(receipt: Receipt) -> Iterator[bytes]:
    """Addresses that a transaction meant something to, each once."""
    found = dict.fromkeys(coin.address for coin in receipt.spent)
    found.update(dict.fromkeys(meant(receipt.checked)))
    return iter(found)


def meant(checked: Checked) -> Iterator[bytes]:
    """The same without its receipt: whoever spends a coin signs."""
    found = dict.fromkeys(move[3] for move in checked.moves)
    found.update(dict.fromkeys(address for _, address, _ in checked.coin_outputs))
    found.update(dict.fromkeys(demand.address for demand in checked.demands))
    return iter(found)
