"""Every row of the state, by table. Integers are big-endian, so that scans follow their order.

    a ‖ len ‖ address ‖ asset           balance, 8 bytes; a zero balance is no row
    c ‖ txid ‖ index(4)                 coin: amount(8) ‖ height(8) ‖ coinbase(1) ‖ address
    t ‖ valid_until(8) ‖ txid           applied transaction, while its id must be remembered
    l ‖ len ‖ owner ‖ id                lease: expiry(8) ‖ txid ‖ intent
    n ‖ period(8) ‖ owner               leases taken by owner in that period, 8 bytes
    i ‖ symbol                          asset: [issuer, mintable]
    s ‖ symbol                          supply: issued − burnt, 8 bytes ("" is the native asset)
    m ‖ symbol                          market: its rules and the last price (market.rows)
    o ‖ order id                        open order, from which its reserve follows (market.rows)
    d                                   digest of all books, 32 bytes; none before the first market

Rows of t, l and n expire by comparison with chain time and are dropped lazily after finality;
whether an expired row is still there can be seen by nobody.
"""

from typing import NamedTuple

import msgspec

from chaind.primitives.codec import Decoder, encode
from chaind.primitives.transaction import NATIVE

BALANCE = b"a"
COIN = b"c"
APPLIED = b"t"
LEASE = b"l"
LEASE_COUNT = b"n"
ASSET = b"i"
SUPPLY = b"s"
BOOKS_DIGEST = b"d"  # the whole key

_LENGTH = tuple(bytes([length]) for length in range(64))
_BALANCES_OF = tuple(BALANCE + length for length in _LENGTH)  # the prefix is built per transfer


def balance_key(address: bytes, asset: str) -> bytes:
    """Row of one balance."""
    return _BALANCES_OF[len(address)] + address + asset.encode("ascii")


def balances_prefix(address: bytes) -> bytes:
    """Prefix of all balances of an address; the asset's symbol follows."""
    return _BALANCES_OF[len(address)] + address


def coin_key(txid: bytes, index: int) -> bytes:
    """Row of one coin."""
    return COIN + txid + index.to_bytes(4, "big")


def applied_key(valid_until: int, txid: bytes) -> bytes:
    """Row that remembers an applied transaction."""
    return APPLIED + valid_until.to_bytes(8, "big") + txid


def lease_key(owner: bytes, lease_id: bytes) -> bytes:
    """Row of one lease."""
    return LEASE + _LENGTH[len(owner)] + owner + lease_id


def lease_count_key(period: int, owner: bytes) -> bytes:
    """Row that counts an owner's leases in one period."""
    return LEASE_COUNT + period.to_bytes(8, "big") + owner


def asset_key(symbol: str) -> bytes:
    """Row of one asset."""
    return ASSET + symbol.encode("ascii")


def supply_key(symbol: str) -> bytes:
    """Row of one supply."""
    return SUPPLY + symbol.encode("ascii")


def ledger_asset(symbol: str, native_symbol: str) -> str:
    """An asset as balances name it: the native one, which markets call by its symbol, has none."""
    return NATIVE if symbol == native_symbol else symbol


def encode_units(units: int) -> bytes | None:
    """Value of a balance, supply or count row; None (no row) for zero."""
    return units.to_bytes(8, "big") if units else None


def decode_units(value: bytes | None) -> int:
    """Inverse of `encode_units`."""
    return int.from_bytes(value, "big") if value else 0


class Coin(NamedTuple):
    """An unspent output of the native asset."""

    address: bytes
    amount: int
    height: int
    coinbase: bool

    def encode(self) -> bytes:
        """Row value."""
        return (
            self.amount.to_bytes(8, "big")
            + self.height.to_bytes(8, "big")
            + (b"\1" if self.coinbase else b"\0")
            + self.address
        )

    @classmethod
    def decode(cls, value: bytes) -> "Coin":
        """Inverse of `encode`."""
        return cls(
            value[17:],
            int.from_bytes(value[:8], "big"),
            int.from_bytes(value[8:16], "big"),
            value[16] == 1,
        )


class LeaseRow(NamedTuple):
    """Who holds a lease, and until when."""

    expiry_ms: int
    txid: bytes
    intent: bytes

    def encode(self) -> bytes:
        """Row value."""
        return self.expiry_ms.to_bytes(8, "big") + self.txid + self.intent

    @classmethod
    def decode(cls, value: bytes) -> "LeaseRow":
        """Inverse of `encode`."""
        return cls(int.from_bytes(value[:8], "big"), value[8:40], value[40:72])


class Asset(msgspec.Struct, array_like=True, frozen=True):
    """Who issues an asset, and whether more may be minted."""

    issuer: bytes
    mintable: bool

    def encode(self) -> bytes:
        """Row value."""
        return encode(self)


asset_decoder: Decoder[Asset] = Decoder("asset row", Asset)
