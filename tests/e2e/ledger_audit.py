"""A second opinion on a stopped node's data: plain sums over its blocks against its state rows.

Shares the storage and the decoders with the node, none of its execution.
"""

from collections import Counter
from pathlib import Path
from typing import NamedTuple

from chaind.ledger.keys import BALANCE, decode_units
from chaind.node.recovery import open_disk
from chaind.primitives.amounts import parse_amount
from chaind.primitives.genesis import Genesis
from chaind.primitives.transaction import AccountInput, AccountOutput
from chaind.storage.files import OsFiles
from chaind.storage.kv import LevelStore


class Audit(NamedTuple):
    """What a data directory holds. `balances` are base units by address ‖ asset, which is empty
    for the native one."""

    height: int
    hashes: list[bytes]
    txids: set[bytes]
    balances: dict[bytes, int]


def audit(home: Path) -> Audit:
    """Read all final blocks of a stopped node; fails where sums and state rows differ."""
    genesis = Genesis.load(home / "genesis.json")
    database = LevelStore.open(
        home / "chain" / "db", cache_bytes=8 << 20, write_buffer_bytes=4 << 20
    )
    disk = open_disk(OsFiles(), home / "chain", database, genesis)
    try:
        sums: Counter[bytes] = Counter()
        for entry in genesis.allocations:
            owner = genesis.addresses.parse(entry.address)
            sums[owner + entry.asset.encode()] += parse_amount(entry.amount)
        txids: set[bytes] = set()
        hashes = []
        parent = genesis.hash
        for height in range(1, disk.store.tip.height + 1):
            block = disk.store.block(height)
            assert block is not None, f"block {height} is missing"
            assert block.parent == parent, f"block {height} does not stand on {height - 1}"
            parent = block.hash
            hashes.append(parent)
            for transaction in block.transactions:
                assert transaction.txid not in txids, "a transaction applied twice"
                txids.add(transaction.txid)
                for source in transaction.body.inputs:
                    assert isinstance(source, AccountInput)
                    sums[source.address + source.asset.encode()] -= source.amount
                for target in transaction.body.outputs:
                    assert isinstance(target, AccountOutput)
                    sums[target.address + target.asset.encode()] += target.amount
        rows = {key[2:]: decode_units(value) for key, value in disk.store.state_rows(BALANCE)}
        expected = {key: units for key, units in sums.items() if units}
        assert rows == expected, "balances differ from the sums of the blocks"
        return Audit(disk.store.tip.height, hashes, txids, rows)
    finally:
        disk.close()
