"""What addresses hold, at the last final block or at the head.

Final rows come from the database, by address. What executed blocks changed above them is found
from their deltas, once a block and when somebody asks: a handful of keys for each address.
"""

from typing import NamedTuple

from chaind.ledger.keys import (
    BALANCE,
    COIN,
    Coin,
    balances_prefix,
    decode_units,
)
from chaind.node.chain import Candidate, Chain
from chaind.primitives.genesis import Genesis
from chaind.storage.chain_store import ChainStore

BALANCE_COINS_MAX = 10_000  # coins summed for one balance; people hold far fewer


class BalanceInfo(NamedTuple):
    """Holdings of an address. `assets` are account balances by symbol, the native one included.

    They are of the state after block `height`, `at_head` or final. `immature` is the part of
    `coins` that the next block cannot spend yet. `reserved` is what open orders hold, by symbol,
    and in none of the other sums. `confirmations` counts the blocks from the newest one on that
    changed something for the address; None where none did.
    """

    address: bytes
    native: int
    assets: dict[str, int]
    coins: int
    utxo_count: int
    reserved: dict[str, int]
    last_activity_block: int | None
    at_head: bool
    height: int
    immature: int
    confirmations: int | None


class CoinInfo(NamedTuple):
    """An unspent coin. `mature`: the next block can spend it."""

    txid: bytes
    output: int
    amount: int
    address: bytes
    height: int
    coinbase: bool
    confirmations: int
    mature: bool


class _Changes:
    """State rows that one executed block changed, by the address that they belong to."""

    __slots__ = ("balances", "coins")

    def __init__(self, candidate: Candidate) -> None:
        assert candidate.executed is not None, "it is executed"
        delta = candidate.executed.delta
        self.balances: dict[bytes, list[bytes]] = {}
        self.coins: dict[bytes, list[bytes]] = {}
        for key, value in delta.writes:
            if key[:1] == BALANCE:
                self.balances.setdefault(key[2 : 2 + key[1]], []).append(key)
            elif key[:1] == COIN:
                row = delta.undo[key] if value is None else value
                assert row is not None, "a net write makes a coin or spends one"
                self.coins.setdefault(Coin.decode(row).address, []).append(key)


class HoldingsReader:
    """See the module's law."""

    def __init__(self, genesis: Genesis, chain: Chain, store: ChainStore) -> None:
        self._native_symbol = genesis.native_symbol
        self._maturity = genesis.parameters.coinbase_maturity
        self._chain = chain
        self._store = store
        self._changes: dict[bytes, _Changes] = {}  # of executed blocks

    def balance(self, address: bytes, *, at_head: bool) -> BalanceInfo:
        """Holdings of an address; all zero for one that nobody paid."""
        prefix = balances_prefix(address)
        rows = {prefix + key[len(prefix) :]: value for key, value in self._store.state_rows(prefix)}
        changed = None
        for height, changes in self._above_final() if at_head else ():
            for key in changes.balances.get(address, ()):
                value = self._chain.state.get(key)
                if value is None:
                    rows.pop(key, None)
                else:
                    rows[key] = value
            if address in changes.balances or address in changes.coins:
                changed = height
        assets = {
            key[len(prefix) :].decode("ascii") or self._native_symbol: decode_units(rows[key])
            for key in sorted(rows)
        }
        coins = self.coins(address, BALANCE_COINS_MAX, at_head=at_head)
        active = changed or self._store.last_active(address)
        paid = changed or max(active or 0, self._store.last_reward(address) or 0)
        top = self._top(at_head)
        return BalanceInfo(
            address,
            assets.get(self._native_symbol, 0),
            assets,
            sum(coin.amount for coin in coins),
            len(coins),
            self._reserved(address, at_head=at_head),
            active,
            at_head,
            top,
            sum(coin.amount for coin in coins if not coin.mature),
            top - paid + 1 if paid else None,
        )

    def _reserved(self, address: bytes, *, at_head: bool) -> dict[str, int]:
        """What open orders hold. The books stand at the head: below it the index says what was open
        of those that still are."""
        below = not at_head and self._chain.head.hash != self._chain.final.hash
        found: dict[str, int] = {}
        for order in self._chain.state.books.open_orders(address):
            held = order.reserve(order.lots)
            if below:
                record = self._store.trading.order(order.id)
                if record is None:
                    continue
                units = record.ticks * order.book.step_units if order.buys else order.book.lot_units
                held = record.lots * units
            market = order.book.market
            asset = market.quote if order.buys else market.base
            found[asset] = found.get(asset, 0) + held
        return found

    def coins(self, address: bytes, limit: int, *, at_head: bool) -> list[CoinInfo]:
        """At most `limit` unspent coins, by outpoint."""
        keys = [
            key
            for _, changes in (self._above_final() if at_head else ())
            for key in changes.coins.get(address, ())
        ]
        rows = {
            (txid, index): value
            for txid, index, value in self._store.coins(address, limit + len(keys))
        }
        for key in keys:
            value, outpoint = self._chain.state.get(key), (key[1:33], int.from_bytes(key[33:]))
            if value is None:
                rows.pop(outpoint, None)
            else:
                rows[outpoint] = value
        top = self._top(at_head)
        return [self._coin(*outpoint, rows[outpoint], top) for outpoint in sorted(rows)[:limit]]

    def _coin(self, txid: bytes, index: int, value: bytes, top: int) -> CoinInfo:
        coin = Coin.decode(value)
        return CoinInfo(
            txid,
            index,
            coin.amount,
            coin.address,
            coin.height,
            coin.coinbase,
            max(0, top - coin.height + 1),
            not coin.coinbase or top + 1 >= coin.height + self._maturity,
        )

    def _top(self, at_head: bool) -> int:
        return self._chain.head.height if at_head else self._chain.final.height

    def _above_final(self) -> list[tuple[int, _Changes]]:
        """What each executed block changed, with its height, lowest first."""
        found: dict[bytes, _Changes] = {}
        listed = []
        for candidate in self._chain.executed():
            block = candidate.body.block
            changes = self._changes.get(block.hash) or _Changes(candidate)
            found[block.hash] = changes
            listed.append((block.height, changes))
        self._changes = found
        return listed
