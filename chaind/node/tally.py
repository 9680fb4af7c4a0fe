"""A second opinion on the money: plain sums over blocks, sharing nothing with execution.

Law: what a transaction says it does is counted from its fields alone. Rows of a state are then
held against the sums. Whoever keeps these books cannot be misled by a mistake in the ledger.
"""

from collections import deque
from collections.abc import Iterator

from chaind.ledger.block import GENESIS_COIN_TXID
from chaind.ledger.keys import ASSET, BALANCE, COIN, LEASE, SUPPLY, Coin, decode_units
from chaind.market.rows import MARKET, ORDER, market_decoder, order_decoder
from chaind.primitives.amounts import AMOUNT_MAX, UNIT, parse_amount
from chaind.primitives.block import Block
from chaind.primitives.genesis import Genesis
from chaind.primitives.hashes import sha256d
from chaind.primitives.orders import Market, Side
from chaind.primitives.transaction import (
    NATIVE,
    Burn,
    CoinInput,
    CoinOutput,
    Issue,
    Lease,
    Mint,
    Transaction,
)

UNIT_BYTES = 8


class Tally:
    """What all blocks so far must have led to. `supply` is by asset, "" the native one."""

    def __init__(self, genesis: Genesis) -> None:
        self._parameters = genesis.parameters
        self.supply = {NATIVE: 0, **{asset.symbol: 0 for asset in genesis.assets}}
        self.coins: set[tuple[bytes, int]] = set()
        self._amounts: dict[tuple[bytes, int], int] = {}
        self.leases_total = 0
        self.coins_spent = 0
        self._leases: dict[tuple[bytes, bytes], bytes] = {}  # live ones, and who took them
        self._expiries: deque[tuple[int, tuple[bytes, bytes]]] = deque()
        for index, entry in enumerate(genesis.allocations):
            self._issue(entry.asset, parse_amount(entry.amount))
            if entry.coin:
                self._make(GENESIS_COIN_TXID, index, parse_amount(entry.amount))

    def block(self, block: Block, parent_time_ms: int) -> Iterator[str]:
        """Count a block; yields what it may not do, each naming its transaction."""
        while self._expiries and self._expiries[0][0] <= parent_time_ms:
            del self._leases[self._expiries.popleft()[1]]
        mined = block.commitment.proposer is None
        if mined:
            self._coinbase(block)
        else:
            halvings = block.height // self._parameters.halving_interval
            self._issue(NATIVE, self._parameters.subsidy_units >> min(halvings, 63))
        seen: set[bytes] = set()
        for transaction in block.transactions:
            if transaction.txid in seen:
                yield f"transaction {transaction.txid.hex()} stands in it twice"
            seen.add(transaction.txid)
            yield from self._transaction(transaction, parent_time_ms, mined=mined)

    def _coinbase(self, block: Block) -> None:
        """What it claims is made; what it leaves of subsidy and fees is burnt."""
        txid = sha256d(block.coinbase_bytes)
        for index, output in enumerate(block.coinbase.outputs):
            if output.address is not None and output.amount:
                self._make(txid, index, output.amount)
                self._issue(NATIVE, output.amount)

    def _transaction(self, transaction: Transaction, now_ms: int, *, mined: bool) -> Iterator[str]:
        txid, body = transaction.txid, transaction.body
        fee = 0
        for entry in body.inputs:
            if isinstance(entry, CoinInput):
                outpoint = (entry.txid, entry.index)
                if outpoint not in self.coins:
                    shown = f"{entry.txid.hex()}:{entry.index}"
                    yield f"transaction {txid.hex()} spends coin {shown}, which is not there"
                self.coins.discard(outpoint)
                fee += self._amounts.pop(outpoint, 0)
                self.coins_spent += 1
            elif entry.asset == NATIVE:
                fee += entry.amount
        for index, output in enumerate(body.outputs):
            if isinstance(output, CoinOutput):
                self._make(txid, index, output.amount)
                fee -= output.amount
            elif output.asset == NATIVE:
                fee -= output.amount
        if mined:  # taken off the supply here; the coinbase claims it
            self._issue(NATIVE, -fee)
        match body.action:
            case Issue(asset=asset, amount=amount) | Mint(asset=asset, amount=amount):
                self._issue(asset, amount)
            case Burn(asset=asset, amount=amount):
                self._issue(asset, -amount)
        if body.lease is not None:
            yield from self._lease(body.lease, txid, now_ms)

    def _lease(self, lease: Lease, txid: bytes, now_ms: int) -> Iterator[str]:
        key = (lease.owner, lease.id)
        self.leases_total += 1
        if key in self._leases:
            first = self._leases[key].hex()
            yield f"transaction {txid.hex()} takes lease {lease.id.hex()} of transaction {first}"
            return
        self._leases[key] = txid
        self._expiries.append((now_ms + self._parameters.lease_ms, key))

    def _make(self, txid: bytes, index: int, units: int) -> None:
        self.coins.add((txid, index))
        self._amounts[txid, index] = units

    def _issue(self, asset: str, units: int) -> None:
        self.supply[asset] = self.supply.get(asset, 0) + units


class Holdings:
    """What the rows of a state hold, added up. `held` and `supply` are by asset.

    What open orders reserve is held too, and is worked out here from their rows.
    """

    def __init__(self, native_symbol: str) -> None:
        self._native_symbol = native_symbol
        self._markets: dict[str, Market] = {}
        self.orders = 0
        self.held: dict[str, int] = {}
        self.supply: dict[str, int] = {}
        self.balances = 0
        self.accounts = 0
        self.assets = 0
        self.leases = 0
        self.coins: set[tuple[bytes, int]] = set()
        self._address = b""

    def row(self, key: bytes, value: bytes) -> str | None:
        """Count one row of the state, in key order; what is wrong with it, if anything."""
        match key[:1]:
            case table if table == BALANCE:
                return self._balance(key, value)
            case table if table == COIN:
                return self._coin(key, value)
            case table if table == SUPPLY:
                self.supply[key[1:].decode("ascii")] = decode_units(value)
                return _wrong_units(value)
            case table if table == LEASE:
                self.leases += 1
            case table if table == ASSET:
                self.assets += 1
            case table if table == MARKET:
                market = market_decoder.decode(value).market
                self._markets[market.symbol] = market
            case table if table == ORDER:
                return self._order(value)
        return None

    def against(self, tally: Tally) -> Iterator[str]:
        """Where these holdings and the sums over the blocks disagree."""
        for asset in sorted({*tally.supply, *self.held, *self.supply}):
            name = asset or "the native asset"
            issued, held = tally.supply.get(asset, 0), self.held.get(asset, 0)
            if held != issued:
                yield f"{name}: coins, balances and reserves hold {held}, {issued} were issued"
            if self.supply.get(asset, 0) != issued:
                told = self.supply.get(asset, 0)
                yield f"{name}: the supply row says {told}, {issued} were issued"
        for txid, index in sorted(self.coins ^ tally.coins):
            there = "is spent" if (txid, index) in self.coins else "is missing"
            yield f"coin {txid.hex()}:{index} {there}"

    def _balance(self, key: bytes, value: bytes) -> str | None:
        end = 2 + key[1]
        address, asset = key[2:end], key[end:].decode("ascii")
        self.accounts += address != self._address
        self._address = address
        self.balances += 1
        self.held[asset] = self.held.get(asset, 0) + decode_units(value)
        return _wrong_units(value)

    def _order(self, value: bytes) -> str | None:
        """Its market comes before it, in key order."""
        row = order_decoder.decode(value)
        market = self._markets.get(row.terms.symbol)
        if market is None:
            return f"order on {row.terms.symbol}, which is no market"
        self.orders += 1
        symbol, units = market.base, row.lots * market.lot_units
        if row.terms.side is Side.BUY:
            lot_price_units = row.ticks * market.tick_units * market.lot_units // UNIT
            symbol, units = market.quote, row.lots * lot_price_units
        if not 0 < units <= AMOUNT_MAX:
            return f"reserve of {units} is not within 1 and 2^63-1"
        asset = NATIVE if symbol == self._native_symbol else symbol
        self.held[asset] = self.held.get(asset, 0) + units
        return None

    def _coin(self, key: bytes, value: bytes) -> str | None:
        self.coins.add((key[1:33], int.from_bytes(key[33:], "big")))
        amount = Coin.decode(value).amount
        self.held[NATIVE] = self.held.get(NATIVE, 0) + amount
        return _wrong_units(value[:UNIT_BYTES])


def _wrong_units(value: bytes) -> str | None:
    """Rows hold positive amounts: zero is no row, and the top bit would be a negative number."""
    units = int.from_bytes(value, "big", signed=True)
    if len(value) == UNIT_BYTES and 0 < units <= AMOUNT_MAX:
        return None
    return f"amount {value.hex()} is not within 1 and 2^63-1"
