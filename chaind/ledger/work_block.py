"""Mined blocks: what `ledger.block` asks of blocks of validators, asked of those of miners.

`check_work_block` needs only the block, `check_work_in_context` its parent. That the work was done,
and the rules of bits and times, are those of headers: `chaind.consensus.pow`.
"""

from chaind.ledger.block import ParentInfo
from chaind.ledger.errors import BlockInvalid, RootMismatch
from chaind.ledger.trading import check_turns
from chaind.primitives.block import Block, Commitment
from chaind.primitives.coinbase import Coinbase
from chaind.primitives.genesis import Parameters
from chaind.primitives.hashes import sha256d

VERSION_TOP_BITS = 0b001  # BIP-9's; miners may roll the others (BIP-320)
WORK_EPOCH = 0  # nobody votes: epochs and views do not pass


def work_commitment(parent: ParentInfo, validators_hash: bytes) -> Commitment:
    """The one commitment that a mined block on `parent` may carry."""
    return Commitment(
        height=parent.height + 1,
        time_ms=None,
        epoch=WORK_EPOCH,
        view=0,
        proposer=None,
        parent_root=parent.root,
        validators_hash=validators_hash,
        last_certificate=None,
        snapshot=None,
        evidence=(),
    )


def check_work_block(block: Block, parameters: Parameters) -> None:
    """Rules that need only the block: sizes, version, height in the coinbase, no repetition."""

    def refuse(reason: str) -> BlockInvalid:
        return BlockInvalid(height=block.height, reason=reason)

    size = sum(transaction.size for transaction in block.transactions)
    if size > parameters.block_bytes_max:
        raise refuse(f"{size} bytes of transactions, at most {parameters.block_bytes_max}")
    if block.header.version >> 29 != VERSION_TOP_BITS:
        raise refuse(f"version {block.header.version:#010x} does not begin with bits 001 (BIP-9)")
    if block.commitment.time_ms is not None or block.commitment.proposer is not None:
        raise refuse("miners have no chain time of their own, and are paid by the coinbase")
    if block.coinbase.height != block.commitment.height:
        raise refuse(f"coinbase says {block.coinbase.height} (BIP-34)")
    wtxids = {transaction.wtxid for transaction in block.transactions}
    if len(wtxids) != len(block.transactions):
        raise refuse("a transaction stands in it twice")
    check_turns(block)


def check_work_in_context(block: Block, parent: ParentInfo, validators_hash: bytes) -> None:
    """Rules that need the parent, executed: everything that the commitment says follows from it."""

    def refuse(reason: str) -> BlockInvalid:
        return BlockInvalid(height=block.height, reason=reason)

    commitment, due = block.commitment, work_commitment(parent, validators_hash)
    if block.parent != parent.hash or commitment.height != due.height:
        raise refuse(f"does not stand on block {parent.height}")
    if commitment.parent_root != due.parent_root:
        raise RootMismatch(
            height=block.height, given=commitment.parent_root.hex(), ours=due.parent_root.hex()
        )
    if commitment != due:
        raise refuse("commitment is not the one that its parent leads to")


def paid_coinbase(block: Block) -> tuple[bytes, Coinbase]:
    """What `execute_block` pays by: the coinbase's id and what it says."""
    return sha256d(block.coinbase_bytes), block.coinbase
