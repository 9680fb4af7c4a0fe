"""What transactions meant to an account: the histories of its addresses, put together.

A payment with change touches several addresses of one account; here it is one entry with what the
account as a whole sent or received, the fee apart.
"""

from collections.abc import Iterable
from typing import NamedTuple

from chaind.wallet.answers import Activity, signed_units


class Entry(NamedTuple):
    """A final transaction and an account. `units` of `asset` were sent, received, or stayed."""

    tx_id: str
    direction: str
    asset: str
    units: int
    fee_units: int
    counterparties: tuple[str, ...]
    memo: str | None
    memo_hex: str
    height: int
    time_ms: int


def merge(
    activities: Iterable[Activity], own: frozenset[str], native_symbol: str, url: str
) -> list[Entry]:
    """One entry for each transaction, newest first. `own` are the account's address texts."""
    by_tx: dict[str, list[Activity]] = {}
    for activity in sorted(activities, key=lambda entry: -entry.height):
        by_tx.setdefault(activity.tx_id, []).append(activity)
    return [_entry(parts, own, native_symbol, url) for parts in by_tx.values()]


def _entry(parts: list[Activity], own: frozenset[str], native_symbol: str, url: str) -> Entry:
    fee_units = sum(signed_units(part.fee, url) for part in parts)  # one of them paid it
    net: dict[str, int] = {native_symbol: fee_units}
    for part in parts:
        for symbol, amount in part.changes.items():
            net[symbol] = net.get(symbol, 0) + signed_units(amount, url)
    # Whoever pays in another asset loses native units too, but only for the fee.
    moved = {symbol: units for symbol, units in net.items() if units}
    others = [symbol for symbol in moved if symbol != native_symbol]
    asset = native_symbol if native_symbol in moved or not others else others[0]
    units = moved.get(asset, 0)
    direction = "received" if units > 0 else "sent" if units < 0 else "self"
    first = parts[0]
    counterparties = dict.fromkeys(
        address for part in parts for address in part.counterparties if address not in own
    )
    return Entry(
        tx_id=first.tx_id,
        direction=direction,
        asset=asset,
        units=abs(units),
        fee_units=fee_units,
        counterparties=tuple(counterparties),
        memo=first.memo,
        memo_hex=first.memo_hex,
        height=first.height,
        time_ms=first.time_ms,
    )
