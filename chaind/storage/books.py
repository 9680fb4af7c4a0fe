"""What accounts held and what moved them, at one moment: the rows that statements are made from.

Law: all reads are of one snapshot, so that a balance and the movements behind it belong together
while the node writes on. Native units in an account and in coins are one balance here.
"""

from collections.abc import Iterator
from typing import NamedTuple

from chaind.ledger.keys import Coin, balance_key, decode_units
from chaind.primitives.transaction import NATIVE
from chaind.storage.indexes import activity_of
from chaind.storage.kv import Reader, prefix_end
from chaind.storage.schema import (
    META_TIP,
    STATE,
    TRANSACTION,
    Location,
    TipRow,
    activity_prefix,
    block_row,
    coin_prefix,
    height_key,
    location_suffix,
    number,
    reward_prefix,
    tip_row,
    transaction_row,
)

PLACE_MAX = 2**32 - 1  # where a reward stands: after all transactions of its block


class Movement(NamedTuple):
    """One change of a balance: a transaction's, or (no txid) what a block brought its proposer or
    moved by itself on order books."""

    where: Location
    txid: bytes | None
    time_ms: int
    change: int
    fee: int
    counterparties: tuple[bytes, ...]
    memo: bytes


Step = tuple[Location, Movement | None]


class Books:
    """The final ledger at one moment."""

    def __init__(self, reader: Reader) -> None:
        self._reader = reader
        tip = reader.get(META_TIP)
        assert tip is not None, "the tip is written with the genesis"
        self.tip: TipRow = tip_row.decode(tip)

    def account_units(self, address: bytes, asset: str) -> int:
        """What is in the account."""
        return decode_units(self._reader.get(STATE + balance_key(address, asset)))

    def coin_units(self, address: bytes) -> Iterator[int]:
        """The amounts of unspent coins."""
        prefix = coin_prefix(address)
        for _, value in self._reader.scan(prefix, prefix_end(prefix)):
            yield Coin.decode(value).amount

    def time_ms(self, height: int) -> int:
        """When a final block above the genesis was made."""
        value = self._reader.get(height_key(height))
        assert value is not None, "every final block has a row"
        return block_row.decode(value).time_ms

    def movements(
        self, address: bytes, asset: str, after: Location, upto: Location, *, reverse: bool = False
    ) -> Iterator[Step]:
        """What moved a balance, with after < where ≤ upto, in order.

        None for a transaction that moved only other assets, so that a reader can count its steps.
        """
        transactions = self._transactions(address, asset, after, upto, reverse)
        if asset != NATIVE:
            return transactions
        return _merge(transactions, self._rewards(address, after, upto, reverse), reverse)

    def _transactions(
        self, address: bytes, asset: str, after: Location, upto: Location, reverse: bool
    ) -> Iterator[Step]:
        prefix = activity_prefix(address)
        start, stop = (prefix + location_suffix(*place) + b"\0" for place in (after, upto))
        for _, txid in self._reader.scan(start, stop, reverse=reverse):
            value = self._reader.get(TRANSACTION + txid)
            assert value is not None, "both rows are of one batch"
            row = transaction_row.decode(value)
            found = activity_of(txid, row, address)
            where = Location(row.height, row.place)
            change = dict(found.changes).get(asset, 0)
            fee = 0
            if asset == NATIVE:
                change += found.coin_change
                fee = found.fee
            if not change:
                yield where, None
                continue
            yield (
                where,
                Movement(
                    where,
                    txid if row.payer else None,
                    row.time_ms,
                    change,
                    fee,
                    found.counterparties,
                    found.memo,
                ),
            )

    def _rewards(
        self, address: bytes, after: Location, upto: Location, reverse: bool
    ) -> Iterator[Step]:
        prefix = reward_prefix(address)
        first = after.height + (after.place == PLACE_MAX)
        last = upto.height - (upto.place < PLACE_MAX)
        rows = self._reader.scan(prefix + number(first), prefix + number(last + 1), reverse=reverse)
        for key, value in rows:
            where = Location(int.from_bytes(key[-8:], "big"), PLACE_MAX)
            units = int.from_bytes(value, "big")
            time_ms = self.time_ms(where.height)
            yield where, Movement(where, None, time_ms, units, 0, (), b"")


def _merge(left: Iterator[Step], right: Iterator[Step], reverse: bool) -> Iterator[Step]:
    """Both, in order of place."""
    one, other = next(left, None), next(right, None)
    while one is not None or other is not None:
        if other is None or (one is not None and (one[0] > other[0]) is reverse):
            assert one is not None
            yield one
            one = next(left, None)
        else:
            yield other
            other = next(right, None)
