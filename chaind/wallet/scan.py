"""What an account has, found by asking: addresses in order until a gap of unused ones.

Nothing is counted in the wallet's file, so that a restored one finds the same. Addresses after
`GAP` unused ones in a row are not looked at (BIP-44, "Address gap limit").
"""

import asyncio
from itertools import islice
from typing import NamedTuple

from chaind.primitives.address import AddressFormat
from chaind.primitives.genesis import Genesis, Parameters
from chaind.primitives.transaction import NATIVE
from chaind.wallet.accounts import FIRST, Place, addresses_from
from chaind.wallet.answers import Holdings, PendingPage, units_of
from chaind.wallet.client import Client
from chaind.wallet.derivation import CHAINS
from chaind.wallet.keystore import Account
from chaind.wallet.selection import Balance, Funds, Spendable

GAP = 20  # BIP-44
FEE_TIMES_MAX = 100  # above the least fee: no node talks anybody into more


class Found(NamedTuple):
    """One address and what it has. `balances` are base units by symbol."""

    place: Place
    address: bytes
    text: str
    balances: dict[str, int]
    coin_units: int
    coin_count: int
    used: bool


class Scan(NamedTuple):
    """The addresses of an account that were ever used, the first one in any case, and the next
    free one of each chain."""

    found: tuple[Found, ...]
    free: tuple[Found, ...]

    @property
    def first(self) -> Found:
        """The account's first address, whose leases its payments take."""
        return self.found[0]

    @property
    def change(self) -> bytes:
        """Where change goes: the next free address for it, else the account's only address."""
        spare = [entry for entry in self.free if entry.place.chain == CHAINS[-1]]
        return spare[0].address if spare else self.first.address

    def totals(self) -> dict[str, int]:
        """Base units in accounts, by symbol."""
        sums: dict[str, int] = {}
        for entry in self.found:
            for symbol, units in entry.balances.items():
                sums[symbol] = sums.get(symbol, 0) + units
        return sums


async def scan(client: Client, account: Account, addresses: AddressFormat) -> Scan:
    """Ask for every address of an account. Raises `NodeSilent`."""
    found: list[Found] = []
    free: list[Found] = []
    for chain in CHAINS:
        unused: list[Found] = []  # in a row
        source = addresses_from(account, chain)
        while len(unused) < GAP and (batch := list(islice(source, GAP - len(unused)))):
            texts = [addresses.show(address) for _, address in batch]
            for (place, address), text, held in zip(
                batch, texts, await asyncio.gather(*map(client.holdings, texts)), strict=True
            ):
                entry = _found(place, address, text, held, client.url)
                if entry.used or place == FIRST:
                    found.append(entry)
                if entry.used:
                    unused.clear()
                else:
                    unused.append(entry)
        free += unused[:1]
    return Scan(tuple(found), tuple(free))


def _found(place: Place, address: bytes, text: str, held: Holdings, url: str) -> Found:
    balances = {symbol: units_of(amount, url) for symbol, amount in held.accounts.items()}
    coin_units = units_of(held.coins, url)
    return Found(place, address, text, balances, coin_units, held.utxo_count, held.used)


async def funds(client: Client, found: Scan, genesis: Genesis, waiting: PendingPage) -> Funds:
    """What the addresses can pay with now: without what `waiting` transactions take already, and
    without coins of mining that have not matured."""
    spent, debits = _taken(waiting, client.url)
    balances = [
        Balance(entry.address, NATIVE if symbol == genesis.native_symbol else symbol, left)
        for entry in found.found
        for symbol, units in entry.balances.items()
        if (left := units - debits.get((entry.text, symbol), 0)) > 0
    ]
    owners = [entry for entry in found.found if entry.coin_count]
    pages = await asyncio.gather(*(client.coins(entry.text) for entry in owners))
    next_height = (await client.status()).height + 1 if any(pages) else 0
    maturity = genesis.parameters.coinbase_maturity
    coins = [
        Spendable(bytes.fromhex(coin.tx_id), coin.output_index, owner.address, units)
        for owner, page in zip(owners, pages, strict=True)
        for coin in page
        if (units := units_of(coin.amount, client.url)) > 0
        and (coin.tx_id, coin.output_index) not in spent
        and not (coin.coinbase and next_height < coin.height + maturity)
    ]
    return Funds(tuple(balances), tuple(coins))


def _taken(
    waiting: PendingPage, url: str
) -> tuple[set[tuple[str, int]], dict[tuple[str, str], int]]:
    """Coins, and base units by (address, symbol), that waiting transactions take."""
    spent: set[tuple[str, int]] = set()
    debits: dict[tuple[str, str], int] = {}
    for entry in waiting.transactions:
        for taken in entry.transaction.inputs:
            if taken.type == "coin":
                spent.add((taken.tx_id, taken.output_index))
            else:
                row = (taken.address, taken.asset)
                debits[row] = debits.get(row, 0) + units_of(taken.amount, url)
    return spent, debits


def fee_rate(waiting: PendingPage, parameters: Parameters, url: str) -> int:
    """Base units for each byte that bring a transaction into the next block, as far as the
    oldest waiting ones tell: the chain's minimum unless they are more than a block holds."""
    seen = [(units_of(entry.fee, url), entry.size) for entry in waiting.transactions]
    room = parameters.block_bytes_max * len(seen) // max(1, waiting.count)
    least = parameters.min_fee_per_byte
    for fee_units, size in sorted(seen, key=lambda entry: -(entry[0] // entry[1])):
        room -= size
        if room < 0:
            return min(fee_units // size + 1, FEE_TIMES_MAX * max(1, least))
    return least
