"""What the index knows of transactions: where each stands, how it ended, whom it meant."""

from collections.abc import Iterator

from chaind.storage.indexes import Activity, activity_of
from chaind.storage.kv import KeyValue, prefix_end
from chaind.storage.schema import (
    OUTCOME,
    TRANSACTION,
    Location,
    OutcomeRow,
    TransactionRow,
    activity_prefix,
    block_trades_id,
    location_suffix,
    outcome_row,
    reference_prefix,
    transaction_row,
)


class TransactionReads:
    """The part of a chain's store that answers about transactions."""

    def __init__(self, database: KeyValue) -> None:
        self._database = database

    def location(self, txid: bytes) -> Location | None:
        """Where a final transaction stands."""
        row = self.transaction_row(txid)
        return Location(row.height, row.place) if row is not None else None

    def transaction_row(self, txid: bytes) -> TransactionRow | None:
        """Where a final transaction stands, and what it moved."""
        value = self._database.get(TRANSACTION + txid)
        return transaction_row.decode(value) if value is not None else None

    def outcome(self, txid: bytes) -> OutcomeRow | None:
        """How a transaction that never applied ended."""
        value = self._database.get(OUTCOME + txid)
        return outcome_row.decode(value) if value else None

    def outcomes(self, height: int) -> Iterator[tuple[bytes, OutcomeRow]]:
        """All that was told of by final blocks up to a height."""
        for key, value in self._database.scan(OUTCOME, prefix_end(OUTCOME)):
            row = outcome_row.decode(value)
            if row.height <= height:
                yield key[1:], row

    def activity(
        self, address: bytes, before: Location | None, limit: int
    ) -> list[tuple[Location, Activity]]:
        """Newest first: transactions of an address strictly before a location."""
        prefix = activity_prefix(address)
        stop = prefix_end(prefix) if before is None else prefix + location_suffix(*before)
        found: list[tuple[Location, Activity]] = []
        for _, txid in self._database.scan(prefix, stop, reverse=True):
            if len(found) == limit:
                break
            value = self._database.get(TRANSACTION + txid)
            assert value is not None, "both rows are of one batch"
            row = transaction_row.decode(value)
            if row.payer:  # what a block moved by itself is no transaction
                found.append((Location(row.height, row.place), activity_of(txid, row, address)))
        return found

    def last_active(self, address: bytes) -> int | None:
        """The last final height whose transactions, or expiries and triggers, meant an address."""
        prefix = activity_prefix(address)
        for key, _ in self._database.scan(prefix, prefix_end(prefix), reverse=True, limit=1):
            return int.from_bytes(key[len(prefix) : len(prefix) + 8], "big")
        return None

    def block_trades(self, height: int) -> TransactionRow | None:
        """What a final block moved by itself, by expiries and triggers."""
        return self.transaction_row(block_trades_id(height))

    def activity_from(self, address: bytes, start: Location, limit: int) -> list[bytes]:
        """Oldest first: ids of transactions of an address at a location or above it."""
        prefix = activity_prefix(address)
        rows = self._database.scan(
            prefix + location_suffix(*start), prefix_end(prefix), limit=limit
        )
        return [txid for _, txid in rows]

    def referring(
        self, address: bytes, reference: bytes, after: Location | None, limit: int
    ) -> list[tuple[bytes, TransactionRow]]:
        """What refers to an invoice or a payment of an address, oldest first, after a place."""
        prefix = reference_prefix(address, reference)
        start = prefix if after is None else prefix + location_suffix(*after) + b"\0"
        found = []
        for _, txid in self._database.scan(start, prefix_end(prefix), limit=limit):
            value = self._database.get(TRANSACTION + txid)
            assert value is not None, "both rows are of one batch"
            found.append((txid, transaction_row.decode(value)))
        return found
