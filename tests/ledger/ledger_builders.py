"""Signed transactions and small worlds for the ledger's tests, one line per case.

A `World` is a state over a dict, with the chain time, height and parameters that its transactions
see. What is written here is built by hand from keys and rows, never through `chaind.wallet`.
"""

from collections.abc import Callable, Mapping, Sequence
from itertools import count
from typing import Any, NamedTuple

import pytest

from chaind.ledger.checks import Checked, check_transaction, verify_signatures
from chaind.ledger.execute import Context, Receipt, execute
from chaind.ledger.journal import Delta, State
from chaind.ledger.keys import (
    Asset,
    Coin,
    asset_key,
    balance_key,
    coin_key,
    decode_units,
    encode_units,
    supply_key,
)
from chaind.primitives.address import key_address, policy_address
from chaind.primitives.codec import encode
from chaind.primitives.errors import ChaindError
from chaind.primitives.genesis import Parameters
from chaind.primitives.hashes import sha256
from chaind.primitives.keys import SecretKey
from chaind.primitives.policy import Policy
from chaind.primitives.transaction import (
    NATIVE,
    VERSION,
    AccountInput,
    AccountOutput,
    Action,
    Body,
    CoinInput,
    CoinOutput,
    Input,
    KeyWitness,
    Lease,
    Output,
    PolicyWitness,
    Transaction,
    Witness,
    signing_digest,
)

CHAIN = bytes.fromhex("c0ffee0012345678")
NOW_MS = 1_700_000_000_000
HEIGHT = 500
PARAMETERS = Parameters()
SYMBOL = "COIN"

Signer = Callable[[bytes], Witness]  # digest → witness


class Person:
    """A key and its address; called with a digest it signs."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.key = SecretKey(sha256(b"ledger tests: " + name.encode()))
        self.public = self.key.public
        self.address = key_address(self.public)

    def __call__(self, digest: bytes) -> Witness:
        return KeyWitness(self.public, self.key.sign(digest))


ALICE, BOB, CAROL, DAVE = (Person(name) for name in ("alice", "bob", "carol", "dave"))
TREASURY = Person("treasury")  # issues GOLD


class Vault(NamedTuple):
    """A policy and its address; `way` makes the signer of one satisfaction."""

    policy: Policy

    @property
    def encoded(self) -> bytes:
        return encode(self.policy)

    @property
    def address(self) -> bytes:
        return policy_address(self.encoded)

    def way(
        self,
        *branches: int,
        keys: Sequence[tuple[int, Person]] = (),
        preimages: Sequence[bytes] = (),
    ) -> Signer:
        """Signer that takes `branches`, with key numbers and preimages in the order given."""

        def sign(digest: bytes) -> Witness:
            signatures = tuple((number, who.key.sign(digest)) for number, who in keys)
            return PolicyWitness(self.encoded, branches, signatures, tuple(preimages))

        return sign


_salts = count(1)


def pay_in(owner: Person | Vault, amount: int, asset: str = NATIVE) -> Input:
    return AccountInput(owner.address, asset, amount)


def pay_out(owner: Person | Vault, amount: int, asset: str = NATIVE) -> Output:
    return AccountOutput(owner.address, asset, amount)


def coin_out(owner: Person | Vault, amount: int) -> Output:
    return CoinOutput(owner.address, amount)


def make_body(
    inputs: Sequence[Input] = (),
    outputs: Sequence[Output] = (),
    *,
    valid_until: int | None = NOW_MS + 60_000,
    lease: Lease | None = None,
    action: Action | None = None,
    memo: bytes = b"",
    salt: bytes | None = None,
    chain: bytes = CHAIN,
    version: int = VERSION,
) -> Body:
    salt = next(_salts).to_bytes(8, "big") if salt is None else salt
    ends = (tuple(inputs), tuple(outputs))
    return Body(version, chain, salt, valid_until, lease, *ends, action, memo)


def sign(body: Body, *signers: Signer) -> Transaction:
    digest = signing_digest(encode(body))
    return Transaction(body, tuple(signer(digest) for signer in signers))


def make(*signers: Signer, **fields: Any) -> Transaction:
    """A transaction of `make_body(**fields)` with these witnesses, as it would arrive."""
    return Transaction.decode(sign(make_body(**fields), *signers).raw)


def payment(source: Person, target: Person | Vault, amount: int, **fields: Any) -> Transaction:
    """Account to account, native, no fee."""
    ends = {"inputs": [pay_in(source, amount)], "outputs": [pay_out(target, amount)]}
    return make(source, **{**ends, **fields})


def lease_of(owner: Person | Vault, number: int, intent: bytes = bytes(32)) -> Lease:
    return Lease(owner.address, sha256(number.to_bytes(8, "big")), intent)


class World:
    """State over a dict. `rows` is that dict: what tests put there is the final state."""

    def __init__(self, **parameters: int) -> None:
        self.parameters = Parameters(**parameters)
        self.rows: dict[bytes, bytes] = {}
        self.state = State(self.rows)
        self.height = HEIGHT
        self.now_ms = NOW_MS
        self._coins = count(1)

    def fund(self, owner: Person | Vault, units: int, asset: str = NATIVE) -> "World":
        self._add(balance_key(owner.address, asset), units)
        self._add(supply_key(asset), units)
        return self

    def coin(
        self, owner: Person | Vault, units: int, height: int = 1, coinbase: bool = False
    ) -> CoinInput:
        """Put a coin there; the input that spends it."""
        outpoint = CoinInput(sha256(next(self._coins).to_bytes(4, "big")), 0)
        row = Coin(owner.address, units, height, coinbase).encode()
        self.rows[coin_key(outpoint.txid, outpoint.index)] = row
        self._add(supply_key(NATIVE), units)
        return outpoint

    def asset(self, symbol: str, issuer: Person | Vault, mintable: bool = True) -> "World":
        self.rows[asset_key(symbol)] = Asset(issuer.address, mintable).encode()
        return self

    def _add(self, key: bytes, units: int) -> None:
        value = encode_units(decode_units(self.rows.get(key)) + units)
        assert value is not None
        self.rows[key] = value

    @property
    def context(self) -> Context:
        return Context(self.height, self.now_ms, self.parameters, SYMBOL)

    def check(self, transaction: Transaction) -> Checked:
        """Everything that needs no state."""
        checked = check_transaction(transaction, self.parameters, CHAIN)
        verify_signatures(checked)
        return checked

    def apply(self, transaction: Transaction) -> Receipt:
        """The transaction as a block of its own."""
        checked = self.check(transaction)
        self.state.begin()
        try:
            receipt = execute(self.state, checked, self.context)
        except ChaindError:
            self.state.abandon()
            raise
        self.state.seal()
        return receipt

    def refuses(self, transaction: Transaction, error: type[ChaindError], **values: object) -> None:
        """It is refused with exactly this class and these values, and no row has moved."""
        self.state.begin()
        with pytest.raises(ChaindError) as caught:
            execute(self.state, self.check(transaction), self.context)
        delta = self.state.seal()
        self.state.undo()
        assert not delta.writes, f"{error.__name__} left writes behind"
        check_error(caught.value, error, values)

    def balance(self, owner: Person | Vault, asset: str = NATIVE) -> int:
        return decode_units(self.state.get(balance_key(owner.address, asset)))

    def supply(self, asset: str = NATIVE) -> int:
        return decode_units(self.state.get(supply_key(asset)))

    def coin_at(self, txid: bytes, index: int) -> Coin | None:
        value = self.state.get(coin_key(txid, index))
        return None if value is None else Coin.decode(value)


def check_error(
    caught: ChaindError, error: type[ChaindError], values: Mapping[str, object]
) -> None:
    """Exactly `error`, carrying at least `values`, and saying every value it carries."""
    assert type(caught) is error, f"{caught!r} instead of {error.__name__}"
    for name, value in values.items():
        given = caught.values[name]
        if name == "reason":  # a phrase of it is enough
            assert str(value) in str(given)
        else:
            assert given == value, f"{name} is {given!r}, not {value!r}"
    for name, value in caught.values.items():
        if f"{{{name}}}" in caught.text:
            assert str(value) in str(caught)


def plus(base: Mapping[bytes, bytes], deltas: Sequence[Delta]) -> dict[bytes, bytes]:
    """All rows after applying deltas in order to `base`, by a plain dict."""
    rows = dict(base)
    for delta in deltas:
        for key, value in delta.writes:
            if value is None:
                del rows[key]
            else:
                rows[key] = value
    return rows
