"""Readers of the values of the chain."""

from fuzz_law import ADDRESSES, same

from chaind.ledger.checks import check_transaction
from chaind.primitives.address import (
    KEY_ADDRESS_BYTES,
)
from chaind.primitives.amounts import AMOUNT_MAX, format_amount, parse_amount
from chaind.primitives.codec import encode
from chaind.primitives.coinbase import parse_coinbase
from chaind.primitives.genesis import Genesis, Parameters
from chaind.primitives.policy import check_policy, format_policy, parse_policy, policy_decoder
from chaind.primitives.references import REFUNDS_MAX, refund_memo, refund_of, refund_text
from chaind.primitives.transaction import Transaction
from chaind.primitives.votes import (
    Certificate,
    Vote,
    certificate_decoder,
    check_certificate_form,
    check_vote_form,
    vote_decoder,
)
from chaind.wallet.payment_uri import format_uri, parse_uri


def read_transaction(data: bytes) -> None:
    """The checks that need no state come after the decoder wherever bytes come in."""
    transaction = Transaction.decode(data)
    same(transaction.raw, data)
    check_transaction(transaction, Parameters(), transaction.body.chain)


def read_policy(data: bytes) -> None:
    policy = policy_decoder.decode(data)
    check_policy(policy)
    assert parse_policy(format_policy(policy)) == policy
    same(encode(policy), data)


def read_policy_text(data: bytes) -> None:
    text = data.decode("utf-8", "replace")
    policy = parse_policy(text)
    check_policy(policy)
    assert parse_policy(format_policy(policy)) == policy


def read_vote(data: bytes) -> None:
    vote: Vote = vote_decoder.decode(data)
    check_vote_form(vote)
    same(encode(vote), data)


def read_certificate(data: bytes) -> None:
    certificate: Certificate = certificate_decoder.decode(data)
    check_certificate_form(certificate)
    assert len(list(certificate.votes())) == len(certificate.signatures)
    same(certificate.encode(), data)


def read_coinbase(data: bytes) -> None:
    coinbase = parse_coinbase(data)
    assert coinbase.height >= 0
    assert all(0 <= output.amount <= AMOUNT_MAX for output in coinbase.outputs)


def read_address(data: bytes) -> None:
    """What is accepted is what we show, or its capitals: BIP-173 has them for QR codes."""
    text = data.decode("utf-8", "replace")
    address = ADDRESSES.parse(text)
    shown = [ADDRESSES.show(address)]
    if len(address) == KEY_ADDRESS_BYTES:
        shown.append(ADDRESSES.show_base58(address))
    assert text in shown or (text.isupper() and text.lower() == shown[0])


def read_amount(data: bytes) -> None:
    units = parse_amount(data.decode("utf-8", "replace"))
    assert 0 < units <= AMOUNT_MAX
    assert parse_amount(format_amount(units)) == units


def read_genesis(data: bytes) -> None:
    genesis = Genesis.from_json(data)
    assert Genesis.from_json(genesis.to_json()) == genesis
    assert len(genesis.hash) == 32


def read_payment_uri(data: bytes) -> None:
    uri = parse_uri(data.decode("utf-8", "replace"))
    assert uri.amount
    assert parse_uri(format_uri(uri)) == uri


def read_refund_memo(data: bytes) -> None:
    """A memo is anything; what is read of one as a refund is all that it says."""
    refund = refund_of(data)
    if refund is not None:
        assert 1 <= refund.number <= REFUNDS_MAX
        written = refund_memo(refund, refund_text(data))
        assert data in (written, written + b" ")
