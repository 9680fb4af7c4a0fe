"""Who mined what, and how fast the network is: read from the chain, so that reorganisations need no
care. Nothing here counts events.
"""

from collections.abc import Iterator
from typing import NamedTuple

from chaind.consensus.pow.tree import Tree
from chaind.node.chain import Chain
from chaind.primitives.block import Header
from chaind.primitives.coinbase import Coinbase, parse_coinbase
from chaind.primitives.work import target_of, work_of
from chaind.storage.chain_store import ChainStore
from chaind.storage.indexes import paid_by_coinbase

RATE_BLOCKS = 120  # of chance, a tenth is left


class Mined(NamedTuple):
    """What blocks of the best chain paid one address; a block counts for each that it pays.

    `final_blocks` and `final_units` are those that no reorganisation takes any more.
    """

    address: bytes
    blocks: int
    units: int
    final_blocks: int
    final_units: int


class MinedBlock(NamedTuple):
    """A block of the best chain, and what its coinbase pays to whom. `time` is the header's."""

    height: int
    hash: bytes
    time: int
    bits: int
    transactions: int
    paid: dict[bytes, int]


class NetworkRate(NamedTuple):
    """Hashes per second that the last blocks took, and how many blocks that were."""

    hashes_per_second: float
    blocks: int


def mined_by(chain: Chain, store: ChainStore, start: int, stop: int) -> list[Mined]:
    """Who was paid by the blocks from height `start` up to below `stop`, most blocks first."""
    found: dict[bytes, list[int]] = {}
    for height, coinbase in _coinbases(chain, store, start, stop):
        final = height <= chain.final.height
        for address, units in paid_by_coinbase(coinbase).items():
            sums = found.setdefault(address, [0, 0, 0, 0])
            for at, value in enumerate((1, units, final, units * final)):
                sums[at] += value
    rows = [Mined(address, *sums) for address, sums in found.items()]
    return sorted(rows, key=lambda row: (-row.blocks, -row.units, row.address))


def recent_blocks(chain: Chain, store: ChainStore, count: int) -> list[MinedBlock]:
    """The newest blocks of the best chain, the newest first; the genesis is not among them."""
    blocks = [candidate.body.block for candidate in chain.executed()[-count:]]
    found = [
        MinedBlock(
            block.height,
            block.hash,
            block.header.time,
            block.header.bits,
            len(block.transactions),
            paid_by_coinbase(block.coinbase),
        )
        for block in reversed(blocks)
    ]
    stop = chain.final.height + 1
    start = max(1, stop - (count - len(found)))
    final = zip(store.headers(start, stop), store.coinbases(start, stop), strict=True)
    stored = []
    for height, (record, coinbase) in enumerate(final, start=start):
        row, header = store.block_row(height), Header.decode(record)
        assert row is not None, "it is final"
        paid = paid_by_coinbase(parse_coinbase(coinbase))
        stored.append(
            MinedBlock(height, row.hash, header.time, header.bits, row.transactions, paid)
        )
    return found + stored[::-1]


def _coinbases(
    chain: Chain, store: ChainStore, start: int, stop: int
) -> Iterator[tuple[int, Coinbase]]:
    last = chain.final.height + 1
    stored = store.coinbases(start, min(stop, last))
    for height, coinbase in enumerate(stored, start=max(start, 1)):
        yield height, parse_coinbase(coinbase)
    for candidate in chain.executed():
        block = candidate.body.block
        if start <= block.height < stop:
            yield block.height, block.coinbase


def network_rate(tree: Tree, store: ChainStore, head: bytes) -> NetworkRate | None:
    """From the blocks up to the head; None where there are too few to tell."""
    newest: list[tuple[int, int]] = []  # time and bits, downwards
    entry = tree.get(head)
    while entry is not None and entry is not tree.base and len(newest) <= RATE_BLOCKS:
        newest.append((entry.time, entry.bits))
        entry = entry.parent
    stop = tree.base.height + 1
    start = max(1, stop - (RATE_BLOCKS + 1 - len(newest)))
    stored = [Header.decode(header) for header in store.headers(start, stop)]
    newest += [(header.time, header.bits) for header in reversed(stored)]
    if len(newest) < 2:
        return None
    work = sum(work_of(target_of(bits)) for _, bits in newest[:-1])
    took_s = max(time for time, _ in newest) - newest[-1][0]
    return NetworkRate(work / max(1, took_s), len(newest) - 1)
