"""Blocks to be mined: what the pool offers on a tip, with a coinbase that pays the miner.

Miners roll what they like of nonce, time, version bits and `extra`; the commitment is fixed by the
parent, and so no execution is needed once the work is done.
"""

from chaind.ledger.block import subsidy
from chaind.ledger.work_block import work_commitment
from chaind.node.chain import Chain
from chaind.primitives.block import Block
from chaind.primitives.coinbase import TAG, address_script, encode_coinbase


def make_template(
    chain: Chain, *, parent_hash: bytes, time: int, bits: int, address: bytes, extra: bytes = TAG
) -> Block | None:
    """A block on an executed parent that lacks only its work; None where the parent is unknown.

    `address` is paid fees and subsidy as a coin; `time` is in Unix seconds.
    """
    receipts = chain.select(parent_hash)
    parent = chain.info(parent_hash)
    if receipts is None or parent is None:
        return None
    due = sum(receipt.fee for receipt in receipts)
    due += subsidy(parent.height + 1, chain.genesis.parameters)
    outputs = ((address_script(address), due),) if due else ()
    return Block.assemble(
        parent=parent_hash,
        time=time,
        bits=bits,
        coinbase=encode_coinbase(parent.height + 1, extra, outputs),
        commitment=work_commitment(parent, chain.genesis.validators_hash),
        transactions=[receipt.checked.transaction for receipt in receipts],
    )
