"""Building and signing transactions: values in, signed `Transaction` out. No clock, no dice."""

from collections.abc import Mapping, Sequence
from typing import TypedDict, Unpack

from msgspec.structs import replace

from chaind.ledger.checks import LEASE_EXTRA_BYTES
from chaind.primitives.address import key_address
from chaind.primitives.genesis import Parameters
from chaind.primitives.keys import SecretKey
from chaind.primitives.transaction import (
    NATIVE,
    VERSION,
    AccountInput,
    AccountOutput,
    Action,
    Body,
    KeyWitness,
    Lease,
    Part,
    Transaction,
    totals,
)


class Rest(TypedDict):
    """What all payments from an account are made of, beside whom they pay."""

    memo: bytes
    lease: Lease | None
    valid_until_ms: int
    salt: bytes
    chain_prefix: bytes
    parameters: Parameters


def sign(body: Body, *keys: SecretKey) -> Transaction:
    """The body with one key witness per owner; keys in order of the owners' first appearance."""
    digest = Transaction(body, ()).sighash
    return Transaction(body, tuple(KeyWitness(key.public, key.sign(digest)) for key in keys))


def build_payment(
    *,
    key: SecretKey,
    target: bytes,
    asset: str,
    units: int,
    **rest: Unpack[Rest],
) -> Transaction:
    """A signed payment from the key's account, paying exactly the minimum fee."""
    return build_payout(key=key, parts=(Part(target, asset, units),), **rest)


def build_payout(
    *,
    key: SecretKey,
    parts: Sequence[Part],
    memo: bytes,
    lease: Lease | None,
    valid_until_ms: int,
    salt: bytes,
    chain_prefix: bytes,
    parameters: Parameters,
) -> Transaction:
    """A signed payment to many from the key's account, paying exactly the minimum fee."""
    outputs = tuple(AccountOutput(*part) for part in parts)
    body = Body(VERSION, chain_prefix, salt, valid_until_ms, lease, (), outputs, None, memo)
    return _with_fee(key, body, totals(parts), parameters)


def build_action(
    *,
    key: SecretKey,
    action: Action,
    memo: bytes,
    lease: Lease | None,
    valid_until_ms: int,
    salt: bytes,
    chain_prefix: bytes,
    parameters: Parameters,
) -> Transaction:
    """A signed action of the key's account, such as an order, paying exactly the minimum fee.

    An order is named by the transaction's id, and reserves what it needs by itself.
    """
    body = Body(VERSION, chain_prefix, salt, valid_until_ms, lease, (), (), action, memo)
    return _with_fee(key, body, {}, parameters)


def _with_fee(
    key: SecretKey, body: Body, sums: Mapping[str, int], parameters: Parameters
) -> Transaction:
    """The body signed, with the key's account paying these sums and the least fee."""
    source = key_address(key.public)

    def build(fee: int) -> Transaction:
        inputs = [
            AccountInput(source, asset, units + (fee if asset == NATIVE else 0))
            for asset, units in sums.items()
        ]
        if NATIVE not in sums and fee:
            inputs.append(AccountInput(source, NATIVE, fee))
        return sign(replace(body, inputs=tuple(inputs)), key)

    extra = LEASE_EXTRA_BYTES if body.lease is not None else 0
    transaction, fee = build(0), 0
    while fee < (needed := (transaction.size + extra) * parameters.min_fee_per_byte):
        fee = needed  # a higher fee may need a byte more to write down: at most a few rounds
        transaction = build(fee)
    return transaction
