"""Index rows of a final block: where its transactions are and what they meant to whom.

Pure functions from a block and its receipts to rows; `chain_store` writes them with the state.
"""

from collections.abc import Iterator, Sequence

from chaind.ledger.execute import Receipt
from chaind.ledger.journal import Writes
from chaind.ledger.keys import COIN, Coin
from chaind.primitives.coinbase import Coinbase
from chaind.primitives.transaction import NATIVE, Issue, Mint
from chaind.storage.kv import Change
from chaind.storage.schema import (
    COUNTERPARTIES_MAX,
    TRANSACTION,
    ActivityRow,
    activity_key,
    coin_key,
    number,
)


def block_rows(height: int, time_ms: int, receipts: Sequence[Receipt]) -> Iterator[Change]:
    """Location, activity and coin rows of all transactions of a block, in order."""
    prefix = number(height)
    for index, receipt in enumerate(receipts):
        checked = receipt.checked
        yield TRANSACTION + checked.txid, prefix + index.to_bytes(4, "big")
        yield from _activity_rows(height, index, time_ms, receipt)
        for entry, coin in zip(checked.coin_inputs, receipt.spent, strict=True):
            yield coin_key(coin.address, entry.txid, entry.index), None
        for output, address, amount in checked.coin_outputs:
            row = Coin(address, amount, height, coinbase=False).encode()
            yield coin_key(address, checked.txid, output), row


def coinbase_rows(height: int, txid: bytes, coinbase: Coinbase) -> Iterator[Change]:
    """Coin rows of a coinbase that pays."""
    for index, output in enumerate(coinbase.outputs):
        if output.address is not None and output.amount:
            row = Coin(output.address, output.amount, height, coinbase=True).encode()
            yield coin_key(output.address, txid, index), row


def state_coin_rows(writes: Writes) -> Iterator[Change]:
    """Coin rows of state rows themselves: the coins of block 0, which no transaction made."""
    for key, value in writes:
        if key[:1] == COIN and value is not None:
            txid, output = key[1:33], int.from_bytes(key[33:], "big")
            yield coin_key(Coin.decode(value).address, txid, output), value


def _activity_rows(height: int, index: int, time_ms: int, receipt: Receipt) -> Iterator[Change]:
    checked = receipt.checked
    changes: dict[bytes, dict[str, int]] = {}
    coins: dict[bytes, int] = {}
    for coin in receipt.spent:
        coins[coin.address] = coins.get(coin.address, 0) - coin.amount
    for _, debit, credit, address, asset in checked.moves:
        changes.setdefault(address, {})[asset] = credit - debit
    for _, address, amount in checked.coin_outputs:
        coins[address] = coins.get(address, 0) + amount
    action = checked.transaction.body.action
    if isinstance(action, (Issue, Mint)):
        signer = action.issuer if isinstance(action, Issue) else checked.demands[-1].address
        mine = changes.setdefault(signer, {})
        mine[action.asset] = mine.get(action.asset, 0) + action.amount
    addresses = list(dict.fromkeys((*coins, *changes)))
    payer = checked.demands[0].address
    body = checked.transaction.body
    for address in addresses:
        others = [other for other in addresses if other != address][:COUNTERPARTIES_MAX]
        row = ActivityRow(
            checked.txid,
            time_ms,
            tuple(changes.get(address, {}).items()),
            coins.get(address, 0),
            receipt.fee if address == payer else 0,
            tuple(others),
            body.memo,
        )
        yield activity_key(address, height, index), row.encode()


def native_change(row: ActivityRow) -> int:
    """Signed native base units of an activity row, accounts and coins together."""
    return row.coin_change + sum(units for asset, units in row.changes if asset == NATIVE)
