"""The transaction: what it says (`Body`), who agreed (`Witness`), and its two identities.

    Body = [version, chain, salt, valid_until, lease, inputs, outputs, action, memo]
    Raw  = [Body, [witness per owner, in order of first appearance]]

`txid = sha256d(Body)` names the transaction in state, leases and API. `wtxid = sha256d(Raw)` is
the key of everything that handles bytes: Merkle leaves, proposals, caches. Two Raws of one Body
are the same transaction with different witnesses.
"""

from collections.abc import Iterable
from typing import NamedTuple, Union

import msgspec

from chaind.primitives.codec import Decoder, NonCanonical, encode
from chaind.primitives.hashes import sha256d, tagged_hash
from chaind.primitives.orders import (
    AmendOrder,
    CancelOrder,
    CancelOrders,
    CreateMarket,
    PlaceOrder,
)

VERSION = 1
CHAIN_PREFIX_BYTES = 8
SALT_BYTES = 8
MEMO_BYTES_MAX = 256
NATIVE = ""  # the native asset's name on the wire and in state
TRANSACTION_TAG = "chaind/tx"


class _Value(msgspec.Struct, array_like=True, frozen=True, gc=False, forbid_unknown_fields=True):
    pass


class CoinInput(_Value, frozen=True, tag=0):
    """Spends the coin (txid, index) whole."""

    txid: bytes
    index: int


class AccountInput(_Value, frozen=True, tag=1):
    """Takes `amount` base units of `asset` from the account of `address`."""

    address: bytes
    asset: str
    amount: int


class CoinOutput(_Value, frozen=True, tag=0):
    """Makes a coin of the native asset."""

    address: bytes
    amount: int


class AccountOutput(_Value, frozen=True, tag=1):
    """Credits `amount` base units of `asset` to the account of `address`."""

    address: bytes
    asset: str
    amount: int


Input = Union[CoinInput, AccountInput]  # noqa: UP007 — one alias style for tagged unions
Output = Union[CoinOutput, AccountOutput]  # noqa: UP007


class Lease(_Value, frozen=True):
    """Makes an intention apply once: one transaction per (owner, id) while it is remembered.

    `id` and `intent` are 32 bytes; for the payments API they are sha256 of the Idempotency-Key
    and of the canonical payment (see `payment_intent`).
    """

    owner: bytes
    id: bytes
    intent: bytes


class Issue(_Value, frozen=True, tag=0):
    """Declares `asset`; its issuer signs and receives `amount`. `mintable` allows `Mint` later."""

    asset: str
    issuer: bytes
    amount: int
    mintable: bool


class Mint(_Value, frozen=True, tag=1):
    """Adds `amount` to a mintable asset, credited to its issuer, who signs."""

    asset: str
    amount: int


class Burn(_Value, frozen=True, tag=2):
    """Destroys `amount` of `asset` from the account of `owner`, who signs."""

    owner: bytes
    asset: str
    amount: int


# One alias style for tagged unions; an order's actions are with the words of orders.
Action = Union[  # noqa: UP007
    Issue, Mint, Burn, PlaceOrder, CancelOrder, CancelOrders, AmendOrder, CreateMarket
]


class KeyWitness(_Value, frozen=True, tag=0):
    """For a 20-byte address: the public key and one signature."""

    public_key: bytes
    signature: bytes


class PolicyWitness(_Value, frozen=True, tag=1):
    """For a 32-byte address: the policy and one way of satisfying it.

    Walking the policy depth first, `branches` gives the side of every `or` (0, 1) and the parts
    of every `thresh` (a bit mask); `signatures` are (key index, signature) with keys numbered in
    the same walk over the whole policy; `preimages` are in order of use. All are used up.
    """

    policy: bytes
    branches: tuple[int, ...]
    signatures: tuple[tuple[int, bytes], ...]
    preimages: tuple[bytes, ...]


Witness = Union[KeyWitness, PolicyWitness]  # noqa: UP007


class Body(_Value, frozen=True):
    """What a transaction says; see the module's law. `valid_until` is chain time in ms."""

    version: int
    chain: bytes
    salt: bytes
    valid_until: int | None
    lease: Lease | None
    inputs: tuple[Input, ...]
    outputs: tuple[Output, ...]
    action: Action | None
    memo: bytes


class _Raw(_Value, frozen=True):
    body: Body
    witnesses: tuple[Witness, ...]


_decoder: Decoder[_Raw] = Decoder("transaction", _Raw)
body_decoder: Decoder[Body] = Decoder("transaction body", Body)


class Transaction:
    """A decoded transaction with its bytes and identities. Immutable by convention of slots.

    `raw` is the canonical encoding; `sighash` the digest that every witness signs.
    """

    __slots__ = ("_sighash", "body", "body_bytes", "raw", "txid", "witnesses", "wtxid")

    def __init__(self, body: Body, witnesses: tuple[Witness, ...]) -> None:
        self.body = body
        self.witnesses = witnesses
        self.body_bytes = encode(body)
        self.raw = b"\x92" + self.body_bytes + encode(witnesses)  # array of two
        self.txid = sha256d(self.body_bytes)
        self.wtxid = sha256d(self.raw)
        self._sighash: bytes | None = None

    @classmethod
    def decode(cls, raw: bytes) -> "Transaction":
        """The transaction of canonical bytes. Raises `Undecodable` or `NonCanonical`."""
        value = _decoder.decode_lenient(raw)
        transaction = cls(value.body, value.witnesses)
        if transaction.raw != raw:
            raise NonCanonical(what="transaction", length=len(raw), canonical=len(transaction.raw))
        return transaction

    @property
    def sighash(self) -> bytes:
        """32 bytes that every witness signs: tagged hash of the Body."""
        if self._sighash is None:
            self._sighash = signing_digest(self.body_bytes)
        return self._sighash

    @property
    def size(self) -> int:
        """Bytes of Raw, what fees are charged for."""
        return len(self.raw)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Transaction) and self.raw == other.raw

    def __hash__(self) -> int:
        return hash(self.wtxid)

    def __repr__(self) -> str:
        return f"Transaction({self.txid.hex()})"


def signing_digest(body_bytes: bytes) -> bytes:
    """The 32 bytes that witnesses of a Body sign."""
    return tagged_hash(TRANSACTION_TAG, body_bytes)


class Part(NamedTuple):
    """One receiver of a payment, and what it gets. `units` are base units of `asset`."""

    target: bytes
    asset: str
    units: int


def totals(parts: Iterable[Part]) -> dict[str, int]:
    """Base units by asset that parts come to, in order of first appearance."""
    sums: dict[str, int] = {}
    for part in parts:
        sums[part.asset] = sums.get(part.asset, 0) + part.units
    return sums


def payment_intent(source: bytes, target: bytes, asset: str, units: int, memo: bytes) -> bytes:
    """sha256 of the canonical (from, to, asset, units, memo): what a payment means to its maker."""
    return tagged_hash("chaind/intent", encode((source, target, asset, units, memo)))


def payout_intent(source: bytes, parts: Iterable[Part], memo: bytes) -> bytes:
    """sha256 of the canonical (from, parts in order, memo): what a payout means to its maker.

    Never a `payment_intent`, so that one key cannot stand for a payment and a payout.
    """
    return tagged_hash("chaind/payout-intent", encode((source, tuple(parts), memo)))
