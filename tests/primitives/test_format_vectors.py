"""Formats are frozen: a byte that changes here changes for every chain and client there is."""

from typing import Any

import pytest
from format_vectors import FORMATS, stored

from chaind.primitives.block import Block
from chaind.primitives.genesis import Genesis
from chaind.primitives.policy import parse_policy, policy_decoder
from chaind.primitives.transaction import Transaction
from chaind.primitives.votes import certificate_decoder, check_certificate_form, vote_decoder


def differences(wanted: Any, made: Any, path: str) -> list[str]:
    if isinstance(wanted, dict) and isinstance(made, dict):
        keys = sorted({*wanted, *made})
        return [
            line
            for key in keys
            for line in differences(wanted.get(key), made.get(key), f"{path} › {key}")
        ]
    return [] if wanted == made else [f"{path}\n  was {wanted}\n  is  {made}"]


@pytest.mark.parametrize("name", FORMATS)
def test_the_format_has_not_changed(name: str) -> None:
    found = differences(stored(name), FORMATS[name](), name)
    assert not found, (
        "A format changed: nodes and clients that exist will refuse each other's bytes.\n"
        "If that is meant, run `.venv/bin/python tests/primitives/format_vectors.py`.\n"
        + "\n".join(found)
    )


def test_frozen_transactions_are_read() -> None:
    for name, vector in stored("transactions").items():
        if "raw" in vector:
            transaction = Transaction.decode(bytes.fromhex(vector["raw"]))
            assert transaction.txid.hex() == vector["txid"], name
            assert transaction.wtxid.hex() == vector["wtxid"], name
            assert transaction.sighash.hex() == vector["sighash"], name


def test_frozen_blocks_are_read() -> None:
    for name, vector in stored("blocks").items():
        block = Block.decode(bytes.fromhex(vector["block"]))
        assert block.hash.hex() == vector["hash"], name
        assert block.encode().hex() == vector["block"], name
        assert block.hash[::-1].hex() == vector["shown"], name


def test_frozen_votes_are_read() -> None:
    vector = stored("votes")
    assert vote_decoder.decode(bytes.fromhex(vector["vote"])).view == 7
    for data in vector["certificates"].values():
        check_certificate_form(certificate_decoder.decode(bytes.fromhex(data)))


def test_frozen_policies_and_genesis_files_are_read() -> None:
    policy = stored("addresses")["policy"]
    assert parse_policy(policy["text"]) == policy_decoder.decode(bytes.fromhex(policy["encoded"]))
    for vector in stored("genesis").values():
        genesis = Genesis.from_json(vector["json"].encode())
        assert genesis.hash.hex() == vector["hash"]
