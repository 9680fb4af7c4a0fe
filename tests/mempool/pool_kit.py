"""Receipts for the pool's tests: real signed transactions, one line each."""

from itertools import count

from chaind.ledger.checks import Checked, check_transaction
from chaind.ledger.execute import Receipt
from chaind.ledger.keys import balance_key
from chaind.primitives.address import key_address
from chaind.primitives.genesis import Parameters
from chaind.primitives.hashes import sha256
from chaind.primitives.keys import SecretKey
from chaind.primitives.transaction import (
    NATIVE,
    VERSION,
    AccountInput,
    AccountOutput,
    Action,
    Body,
    CoinInput,
    Input,
    KeyWitness,
    Lease,
    Transaction,
)

CHAIN = b"poolkit!"
NOW_MS = 1_700_000_000_000
PARAMETERS = Parameters()
COIN_UNITS = 1_000_000
_salts = count(1)


class Person:
    def __init__(self, name: str) -> None:
        self.key = SecretKey(sha256(b"pool tests: " + name.encode()))
        self.address = key_address(self.key.public)
        self.row = balance_key(self.address, NATIVE)


ALICE, BOB, SHOP = Person("alice"), Person("bob"), Person("shop")


def coin(number: int) -> CoinInput:
    return CoinInput(sha256(b"coin %d" % number), 0)


def payment(
    source: Person = ALICE,
    amount: int = 10,
    *,
    fee: int = 0,
    coins: tuple[int, ...] = (),
    lease: int | None = None,
    valid_ms: int | None = 60_000,
    memo: bytes = b"",
) -> Receipt:
    """`source` pays the shop from its account, and with coins of `COIN_UNITS` if any are named."""
    inputs: list[Input] = [coin(number) for number in coins]
    if not coins:
        inputs.append(AccountInput(source.address, NATIVE, amount + fee))
    else:
        amount = COIN_UNITS * len(coins) - fee
    held = None
    if lease is not None:
        held = Lease(source.address, sha256(b"lease %d" % lease), bytes(32))
    valid_until = None if valid_ms is None else NOW_MS + valid_ms
    salt = next(_salts).to_bytes(8, "big")
    outputs = (AccountOutput(SHOP.address, NATIVE, amount),)
    body = Body(VERSION, CHAIN, salt, valid_until, held, tuple(inputs), outputs, None, memo)
    return Receipt(_checked(source, body), fee, ())


def ordering(source: Person, action: Action, *, fee: int = 0, reserve: int = 0) -> Receipt:
    """An order action that pays a fee and takes a reserve, both in the native asset."""
    inputs = (AccountInput(source.address, NATIVE, fee),) if fee else ()
    salt = next(_salts).to_bytes(8, "big")
    body = Body(VERSION, CHAIN, salt, NOW_MS + 60_000, None, inputs, (), action, b"")
    held = (source.row, reserve, 0, source.address, NATIVE) if reserve else None
    return Receipt(_checked(source, body), fee, (), held)


def _checked(source: Person, body: Body) -> Checked:
    digest = Transaction(body, ()).sighash
    signed = Transaction(body, (KeyWitness(source.key.public, source.key.sign(digest)),))
    return check_transaction(signed, PARAMETERS, CHAIN)
