"""Index rows of a final block: where its transactions are and what they meant to whom.

Pure functions from a block and its receipts to rows; `chain_store` writes them with the state.
"""

from collections.abc import Iterator, Sequence
from itertools import islice
from typing import NamedTuple

from chaind.ledger.checks import Checked
from chaind.ledger.execute import Receipt
from chaind.ledger.journal import Writes
from chaind.ledger.keys import COIN, Coin
from chaind.ledger.trading import Booked
from chaind.primitives.coinbase import Coinbase
from chaind.primitives.references import (
    invoice_of,
    refund_lease_id,
    refund_of,
    refund_reference,
)
from chaind.primitives.transaction import NATIVE, Issue, Mint
from chaind.storage.kv import Change
from chaind.storage.schema import (
    TRANSACTION,
    TransactionRow,
    activity_prefix,
    block_trades_id,
    coin_key,
    location_suffix,
    reference_prefix,
)

COUNTERPARTIES_MAX = 8  # shown of a transaction; the block itself has them all


def block_rows(height: int, time_ms: int, receipts: Sequence[Receipt]) -> list[Change]:
    """Transaction, activity and coin rows of all transactions of a block, in order."""
    rows: list[Change] = []
    for place, receipt in enumerate(receipts):
        checked = receipt.checked
        txid = checked.txid
        row = _transaction_row(height, place, time_ms, receipt)
        rows.append((TRANSACTION + txid, row.encode()))
        where = location_suffix(height, place)
        for address in addresses_of(row):
            rows.append((activity_prefix(address) + where, txid))
        if row.memo and not row.trades:  # whoever trades gives something for what it is paid
            for prefix in _referring(row, checked):
                rows.append((prefix + where, txid))
        for entry, coin in zip(checked.coin_inputs, receipt.spent, strict=True):
            rows.append((coin_key(coin.address, entry.txid, entry.index), None))
        for output, address, amount in checked.coin_outputs:
            made = Coin(address, amount, height, coinbase=False).encode()
            rows.append((coin_key(address, txid, output), made))
    return rows


def _referring(row: TransactionRow, checked: Checked) -> Iterator[bytes]:
    """Prefixes of what a memo refers to: an invoice by whoever is paid, a refund by its maker, who
    signed for the lease; so nobody can fill the rows of another one's refunds."""
    if (invoice := invoice_of(row.memo)) is not None:
        for address in paid_by(row):
            yield reference_prefix(address, invoice)
        return
    lease, refund = checked.transaction.body.lease, refund_of(row.memo)
    if refund is None or lease is None:
        return
    if lease.id == refund_lease_id(refund.txid, refund.number):
        yield reference_prefix(lease.owner, refund_reference(refund.txid))


def coinbase_rows(height: int, txid: bytes, coinbase: Coinbase) -> Iterator[Change]:
    """Coin rows of a coinbase that pays."""
    for index, output in enumerate(coinbase.outputs):
        if output.address is not None and output.amount:
            row = Coin(output.address, output.amount, height, coinbase=True).encode()
            yield coin_key(output.address, txid, index), row


def paid_by_coinbase(coinbase: Coinbase) -> dict[bytes, int]:
    """Base units that a coinbase pays, by address."""
    paid: dict[bytes, int] = {}
    for output in coinbase.outputs:
        if output.address is not None and output.amount:
            paid[output.address] = paid.get(output.address, 0) + output.amount
    return paid


def state_coin_rows(writes: Writes) -> Iterator[Change]:
    """Coin rows of state rows themselves: the coins of block 0, which no transaction made."""
    for key, value in writes:
        if key[:1] == COIN and value is not None:
            txid, output = key[1:33], int.from_bytes(key[33:], "big")
            yield coin_key(Coin.decode(value).address, txid, output), value


def block_trades_rows(
    height: int, place: int, time_ms: int, booked: tuple[Booked, ...]
) -> list[Change]:
    """Rows of what a block moved by expiries and triggers, `place` being behind all else."""
    if not booked:
        return []
    row = TransactionRow(height, place, time_ms, b"", 0, booked, (), b"", trades=True)
    name, where = block_trades_id(height), location_suffix(height, place)
    rows: list[Change] = [(TRANSACTION + name, row.encode())]
    rows += [(activity_prefix(address) + where, name) for address in addresses_of(row)]
    return rows


def _transaction_row(height: int, place: int, time_ms: int, receipt: Receipt) -> TransactionRow:
    checked = receipt.checked
    body = checked.transaction.body
    moves = [(address, asset, credit - debit) for _, debit, credit, address, asset in checked.moves]
    if isinstance(body.action, (Issue, Mint)):
        issuer = body.action.issuer if isinstance(body.action, Issue) else _issuer(checked)
        moves.append((issuer, body.action.asset, body.action.amount))
    coins = [(coin.address, -coin.amount) for coin in receipt.spent]
    coins += [(address, amount) for _, address, amount in checked.coin_outputs]
    payer = checked.demands[0].address
    if checked.order is not None:
        return TransactionRow(
            height,
            place,
            time_ms,
            payer,
            receipt.fee,
            (*moves, *receipt.booked),
            tuple(coins),
            body.memo,
            trades=True,
            refused=receipt.refused,
        )
    return TransactionRow(
        height, place, time_ms, payer, receipt.fee, tuple(moves), tuple(coins), body.memo
    )


def _issuer(checked: Checked) -> bytes:
    """Who mints: its witness is the last (`ledger.checks.stateful_owners`)."""
    return checked.demands[-1].address


def addresses_of(row: TransactionRow) -> dict[bytes, None]:
    """Addresses that a transaction meant something to, each once: coins first, then accounts."""
    found = dict.fromkeys([coin[0] for coin in row.coins]) if row.coins else {}
    for move in row.moves:
        found[move[0]] = None
    if row.trades and row.payer:  # whatever it moved
        found[row.payer] = None
    return found


def paid_by(row: TransactionRow) -> dict[bytes, dict[str, int]]:
    """Who has more of an asset after a transaction than before: units by address and asset."""
    net: dict[bytes, dict[str, int]] = {}
    coins = ((owner, NATIVE, units) for owner, units in row.coins)
    for address, asset, units in (*row.moves, *coins):
        sums = net.setdefault(address, {})
        sums[asset] = sums.get(asset, 0) + units
    more = {
        address: {asset: units for asset, units in sums.items() if units > 0}
        for address, sums in net.items()
    }
    return {address: sums for address, sums in more.items() if sums}


class Activity(NamedTuple):
    """What one transaction meant to one address.

    `changes` are (asset, signed base units) of accounts, `coin_change` the signed base units moved
    as coins; `fee` is set where the address paid it; `counterparties` are the other addresses, at
    most `COUNTERPARTIES_MAX`.
    """

    txid: bytes
    time_ms: int
    changes: tuple[tuple[str, int], ...]
    coin_change: int
    fee: int
    counterparties: tuple[bytes, ...]
    memo: bytes


def activity_of(txid: bytes, row: TransactionRow, address: bytes) -> Activity:
    """One address's part of a transaction."""
    changes: dict[str, int] = {}
    for mover, asset, units in row.moves:
        if mover == address:
            changes[asset] = changes.get(asset, 0) + units
    others = islice((other for other in addresses_of(row) if other != address), COUNTERPARTIES_MAX)
    return Activity(
        txid,
        row.time_ms,
        tuple(changes.items()),
        sum(units for mover, units in row.coins if mover == address),
        row.fee if address == row.payer else 0,
        tuple(others),
        row.memo,
    )
