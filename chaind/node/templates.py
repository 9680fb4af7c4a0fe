"""Blocks to be mined: what stands in them whoever mines, and the block for one who is paid.

Choosing the transactions executes them; everything after that is cheap, and is done for each miner.
"""

from typing import NamedTuple

from chaind.ledger.block import subsidy
from chaind.ledger.work_block import work_commitment
from chaind.node.chain import Chain
from chaind.primitives.block import BLOCK_VERSION, Block, Header, block_leaves
from chaind.primitives.codec import encode
from chaind.primitives.coinbase import TAG, address_script, encode_coinbase
from chaind.primitives.hashes import merkle_root
from chaind.primitives.transaction import Transaction


class Plan(NamedTuple):
    """A block without its coinbase and its work.

    `time` is the header's, in Unix seconds, and `time_min` the lowest that the chain allows; `due`
    are the base units of fees and subsidy, `fees` those of each transaction.
    """

    parent: bytes
    height: int
    time: int
    time_min: int
    bits: int
    committed: bytes  # the commitment's bytes
    transactions: tuple[Transaction, ...]
    fees: tuple[int, ...]
    due: int

    def coinbase(self, address: bytes, extra: bytes = TAG) -> bytes:
        """A coinbase that pays all of it to an address, as a coin."""
        outputs = ((address_script(address), self.due),) if self.due else ()
        return encode_coinbase(self.height, extra, outputs)

    def block(self, coinbase: bytes) -> Block:
        """The block with its Merkle root, which lacks only its work."""
        root = merkle_root(block_leaves(coinbase, self.committed, self.transactions))
        header = Header(BLOCK_VERSION, self.parent, root, self.time, self.bits, 0)
        return Block(header, coinbase, self.committed, self.transactions)


def plan_block(
    chain: Chain, *, parent_hash: bytes, now: int, time_min: int, bits: int, empty: bool = False
) -> Plan | None:
    """A plan on an executed parent at Unix second `now`, with what the pool offers or `empty`.

    None where the parent is unknown.
    """
    receipts = [] if empty else chain.select(parent_hash)
    parent = chain.info(parent_hash)
    if receipts is None or parent is None:
        return None
    fees = tuple(receipt.fee for receipt in receipts)
    return Plan(
        parent=parent_hash,
        height=parent.height + 1,
        time=max(now, time_min),
        time_min=time_min,
        bits=bits,
        committed=encode(work_commitment(parent, chain.genesis.validators_hash)),
        transactions=tuple(receipt.checked.transaction for receipt in receipts),
        fees=fees,
        due=sum(fees) + subsidy(parent.height + 1, chain.genesis.parameters),
    )
