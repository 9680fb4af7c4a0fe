"""The JSON form of a transaction: every field readable, and back to the same bytes.

Addresses are texts of the chain, amounts decimal strings, other bytes hex; the native asset goes
by its symbol. `transaction_from_json(transaction_to_json(t))` is `t`.
"""

from collections.abc import Callable
from functools import lru_cache
from typing import Annotated, TypeVar

import msgspec

from chaind.api.action_forms import ActionForm, ActionForms
from chaind.api.fields import Amount as Amount
from chaind.api.fields import Count, Form, bytes_of, integer_of
from chaind.api.fields import FieldInvalid as FieldInvalid
from chaind.api.fields import Hex as Hex
from chaind.primitives import transaction as ledger
from chaind.primitives.amounts import ASSET_CHARS_MAX, format_amount, parse_amount
from chaind.primitives.codec import encode
from chaind.primitives.genesis import Genesis
from chaind.primitives.policy import format_policy, parse_policy, policy_decoder
from chaind.primitives.transaction import MEMO_BYTES_MAX, NATIVE, Body, Transaction

S = TypeVar("S")
T = TypeVar("T")

SHOWN_ADDRESSES_MAX = 65_536  # texts kept: Bech32 in Python costs 30 µs, a block names thousands

AccountId = Annotated[
    int, msgspec.Meta(extra_json_schema={"minimum": 1, "maximum": 2**31 - 1, "examples": [1]})
]
Name = Annotated[str, msgspec.Meta(extra_json_schema={"minLength": 1, "examples": ["alice"]})]
Who = Name | AccountId  # an address, the name of an account that the node keeps, or its number
SYMBOL_PATTERN = f"^[A-Z0-9]{{1,{ASSET_CHARS_MAX}}}$"
Symbol = Annotated[str, msgspec.Meta(extra_json_schema={"pattern": SYMBOL_PATTERN})]
Memo = Annotated[str, msgspec.Meta(extra_json_schema={"maxLength": MEMO_BYTES_MAX})]


def maybe(shape: Callable[[T], S], value: T | None) -> S | None:
    """`shape(value)`, or None where there is none."""
    return None if value is None else shape(value)


class CoinInputForm(Form, frozen=True, tag_field="type", tag="coin"):
    """Spends the coin (tx_id, output_index) whole."""

    tx_id: Hex
    output_index: Count


class AccountInputForm(Form, frozen=True, tag_field="type", tag="account"):
    """Takes `amount` from the account of `address`."""

    address: str
    asset: str
    amount: Amount


class CoinOutputForm(Form, frozen=True, tag_field="type", tag="coin"):
    """Makes a coin of the native asset."""

    address: str
    amount: Amount


class AccountOutputForm(Form, frozen=True, tag_field="type", tag="account"):
    """Credits `amount` to the account of `address`."""

    address: str
    asset: str
    amount: Amount


class LeaseForm(Form, frozen=True):
    """Makes an intention apply once."""

    owner: str
    id: Hex
    intent: Hex


class KeyWitnessForm(Form, frozen=True, tag_field="type", tag="key"):
    """A public key and one signature."""

    public_key: Hex
    signature: Hex


class PolicyWitnessForm(Form, frozen=True, tag_field="type", tag="policy"):
    """A policy in text form and one way of satisfying it."""

    policy: str
    branches: tuple[Count, ...]
    signatures: tuple[tuple[Count, Hex], ...]
    preimages: tuple[Hex, ...]


class TransactionForm(Form, frozen=True):
    """A signed transaction. `valid_until` is chain time in ms, `memo` hex of at most 256 bytes."""

    version: Count
    chain: Hex
    salt: Hex
    valid_until: Count | None
    lease: LeaseForm | None
    inputs: tuple[CoinInputForm | AccountInputForm, ...]
    outputs: tuple[CoinOutputForm | AccountOutputForm, ...]
    action: ActionForm | None
    memo: Hex
    witnesses: tuple[KeyWitnessForm | PolicyWitnessForm, ...]


class Forms:
    """Outward and inward forms of one chain's values."""

    def __init__(self, genesis: Genesis) -> None:
        self._symbol = genesis.native_symbol
        self._parse = genesis.addresses.parse
        self.show: Callable[[bytes], str] = lru_cache(SHOWN_ADDRESSES_MAX)(genesis.addresses.show)
        self._actions = ActionForms(
            show=self.show, parse=self._parse, symbol=self.symbol, asset=self.asset
        )

    def symbol(self, asset: str) -> str:
        """Outward name of an asset."""
        return asset or self._symbol

    def asset(self, symbol: str | None) -> str:
        """Inward name of an asset, the chain's own where none is named. Raises `FieldInvalid`."""
        if symbol == NATIVE:  # a name that this API tells nobody
            raise FieldInvalid(field="asset", reason="it must be the symbol of an asset")
        return NATIVE if symbol in (None, self._symbol) else symbol

    def transaction_to_json(self, transaction: Transaction) -> TransactionForm:
        """The form of a transaction."""
        body = transaction.body
        return TransactionForm(
            version=body.version,
            chain=body.chain.hex(),
            salt=body.salt.hex(),
            valid_until=body.valid_until,
            lease=maybe(self._show_lease, body.lease),
            inputs=tuple(map(self._show_input, body.inputs)),
            outputs=tuple(map(self._show_output, body.outputs)),
            action=None if body.action is None else self._actions.show(body.action),
            memo=body.memo.hex(),
            witnesses=tuple(map(_show_witness, transaction.witnesses)),
        )

    def transaction_from_json(self, form: TransactionForm) -> Transaction:
        """The transaction of a form. Raises `Malformed` leaves; the rules are checked elsewhere."""
        body = Body(
            version=integer_of("version", form.version),
            chain=bytes_of("chain", form.chain),
            salt=bytes_of("salt", form.salt),
            valid_until=maybe(lambda time_ms: integer_of("valid_until", time_ms), form.valid_until),
            lease=maybe(self._read_lease, form.lease),
            inputs=tuple(map(self._read_input, form.inputs)),
            outputs=tuple(map(self._read_output, form.outputs)),
            action=None if form.action is None else self._actions.read(form.action),
            memo=bytes_of("memo", form.memo),
        )
        return Transaction(body, tuple(map(_read_witness, form.witnesses)))

    def _show_lease(self, lease: ledger.Lease) -> LeaseForm:
        return LeaseForm(self.show(lease.owner), lease.id.hex(), lease.intent.hex())

    def _read_lease(self, form: LeaseForm) -> ledger.Lease:
        return ledger.Lease(
            self._parse(form.owner),
            bytes_of("lease.id", form.id),
            bytes_of("lease.intent", form.intent),
        )

    def _show_input(self, entry: ledger.Input) -> CoinInputForm | AccountInputForm:
        match entry:
            case ledger.CoinInput(txid, index):
                return CoinInputForm(txid.hex(), index)
            case ledger.AccountInput(address, asset, amount):
                shown = self.show(address)
                return AccountInputForm(shown, self.symbol(asset), format_amount(amount))

    def _read_input(self, form: CoinInputForm | AccountInputForm) -> ledger.Input:
        match form:
            case CoinInputForm(tx_id, output_index):
                index = integer_of("output_index", output_index)
                return ledger.CoinInput(bytes_of("tx_id", tx_id), index)
            case AccountInputForm(address, symbol, amount):
                asset = self.asset(symbol)
                return ledger.AccountInput(self._parse(address), asset, parse_amount(amount))

    def _show_output(self, entry: ledger.Output) -> CoinOutputForm | AccountOutputForm:
        match entry:
            case ledger.CoinOutput(address, amount):
                return CoinOutputForm(self.show(address), format_amount(amount))
            case ledger.AccountOutput(address, asset, amount):
                shown = self.show(address)
                return AccountOutputForm(shown, self.symbol(asset), format_amount(amount))

    def _read_output(self, form: CoinOutputForm | AccountOutputForm) -> ledger.Output:
        match form:
            case CoinOutputForm(address, amount):
                return ledger.CoinOutput(self._parse(address), parse_amount(amount))
            case AccountOutputForm(address, symbol, amount):
                asset = self.asset(symbol)
                return ledger.AccountOutput(self._parse(address), asset, parse_amount(amount))


def _show_witness(witness: ledger.Witness) -> KeyWitnessForm | PolicyWitnessForm:
    match witness:
        case ledger.KeyWitness(public_key, signature):
            return KeyWitnessForm(public_key.hex(), signature.hex())
        case ledger.PolicyWitness(policy, branches, signatures, preimages):
            return PolicyWitnessForm(
                format_policy(policy_decoder.decode(policy)),
                branches,
                tuple((key, signature.hex()) for key, signature in signatures),
                tuple(preimage.hex() for preimage in preimages),
            )


def _read_witness(form: KeyWitnessForm | PolicyWitnessForm) -> ledger.Witness:
    match form:
        case KeyWitnessForm(public_key, signature):
            key = bytes_of("public_key", public_key)
            return ledger.KeyWitness(key, bytes_of("signature", signature))
        case PolicyWitnessForm(policy, branches, signatures, preimages):
            return ledger.PolicyWitness(
                encode(parse_policy(policy)),
                tuple(integer_of("branches", branch) for branch in branches),
                tuple(
                    (integer_of("signatures", key), bytes_of("signatures", signature))
                    for key, signature in signatures
                ),
                tuple(bytes_of("preimages", preimage) for preimage in preimages),
            )
