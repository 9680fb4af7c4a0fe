"""Miners of blocks that nobody may take: without work, with it but invalid, or at odd times."""

from collections.abc import Callable, Sequence

import msgspec

from chaind.node.node import Node
from chaind.primitives.address import key_address
from chaind.primitives.block import Block
from chaind.primitives.coinbase import TAG, address_script, encode_coinbase
from chaind.primitives.transaction import Transaction
from chaind.primitives.work import target_of
from chaind.simulation.miners import work_engine
from chaind.simulation.pow_liars import MiningLiar, hand_in, mine, sealed

LIE_SHARE = 0.4  # of found blocks; the others keep the liar's peers from parting with it
NEW_S = (1, 30)  # beyond the future that the chain allows


async def mine_without_work(self: MiningLiar, node: Node, template: Block) -> None:
    """A header that hashes too high, or sets itself an easier target."""
    if self.rng.random() >= LIE_SHARE:
        await mine(self, node, template)
        return
    if self.rng.random() < 0.5:
        idle = template
        while int.from_bytes(idle.hash, "little") <= target_of(template.header.bits):
            idle = _with(template, nonce=self.rng.getrandbits(32))
        self.forge(node, idle)
    else:
        limit = self.genesis.proof_of_work.rules.limit_bits
        self.forge(node, sealed(template, bits=limit))


def _with(block: Block, **header: int) -> Block:
    """The block with other fields of its header, and whatever work that comes to."""
    changed = msgspec.structs.replace(block.header, **header)
    return Block(changed, block.coinbase_bytes, block.commitment_bytes, block.transactions)


async def mine_invalid(self: MiningLiar, node: Node, template: Block) -> None:
    """All the work for a block that breaks a rule which only its body shows."""
    if self.rng.random() >= LIE_SHARE:
        await mine(self, node, template)
        return
    wrong = self.rng.choice(_WRONGS)(self, template)
    self.forge(node, sealed(wrong))


def _again(
    block: Block, *, coinbase: bytes = b"", transactions: Sequence[Transaction] | None = None,
    **said: object,
) -> Block:  # fmt: skip
    """The block with other contents, under a Merkle root of their own."""
    return Block.assemble(
        parent=block.parent,
        time=block.header.time,
        bits=block.header.bits,
        coinbase=coinbase or block.coinbase_bytes,
        commitment=msgspec.structs.replace(block.commitment, **said),
        transactions=block.transactions if transactions is None else transactions,
    )


def _wrong_root(self: MiningLiar, block: Block) -> Block:
    return _again(block, parent_root=self.rng.randbytes(32))


def _wrong_height(_self: MiningLiar, block: Block) -> Block:
    return _again(block, height=block.height + 1)


def _too_much(self: MiningLiar, block: Block) -> Block:
    """More than subsidy and fees."""
    due = sum(output.amount for output in block.coinbase.outputs) + 1
    outputs = ((address_script(key_address(self.key.public)), due),)
    extra = TAG + self.rng.randbytes(8)
    return _again(block, coinbase=encode_coinbase(block.height, extra, outputs))


def _twice(self: MiningLiar, block: Block) -> Block:
    if not block.transactions:
        return _too_much(self, block)
    return _again(block, transactions=(*block.transactions, block.transactions[0]))


def _unsigned(self: MiningLiar, block: Block) -> Block:
    if not block.transactions:
        return _wrong_root(self, block)
    return _again(block, transactions=[self.swapped(one) for one in block.transactions])


_WRONGS: Sequence[Callable[[MiningLiar, Block], Block]] = (
    _wrong_root,
    _wrong_height,
    _too_much,
    _twice,
    _unsigned,
)


async def mine_out_of_time(self: MiningLiar, node: Node, template: Block) -> None:
    """At the earliest and the latest time that a header may carry, and just beyond."""
    tree, rules = work_engine(node).tree, self.genesis.proof_of_work.rules
    parent = tree.get(template.parent)
    assert parent is not None, "templates stand on the head"
    first = tree.next_time_min(parent)
    last = max(first, (node.clock.now_ms() + rules.max_future_ms) // 1000)
    self.lies += 1
    match self.rng.randrange(4):
        case 0:
            self.forge(node, sealed(template, time=first - 1))
        case 1:
            self.forge(node, sealed(template, time=last + self.rng.randint(*NEW_S)))
        case choice:
            await hand_in(self, node, sealed(template, time=first if choice == 2 else last))
