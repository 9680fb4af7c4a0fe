"""The formats as they are, from fixed keys and salts; `tests/vectors` holds them as they must be.

Whoever changes a format on purpose, and with it every chain that exists, writes them anew:

    .venv/bin/python tests/primitives/format_vectors.py
"""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from primitive_samples import (
    ADDRESSES,
    ALICE,
    BOB,
    SWAP,
    SWAP_ADDRESS,
    sample_block,
    sample_certificates,
    sample_evidence,
    sample_genesis,
    sample_transactions,
)
from test_work_genesis import sample_work_genesis

from chaind.primitives.address import key_address
from chaind.primitives.codec import encode
from chaind.primitives.genesis import Genesis, Validator
from chaind.primitives.hashes import display_hash
from chaind.primitives.policy import format_policy
from chaind.primitives.transaction import payment_intent
from chaind.primitives.votes import VoteKind, vote_digest

VECTORS = Path(__file__).parents[1] / "vectors"
Vector = dict[str, Any]


def address_vectors() -> Vector:
    keys = {
        name: {
            "public_key": key.public.hex(),
            "address": key_address(key.public).hex(),
            "bech32": ADDRESSES.show(key_address(key.public)),
            "base58check": ADDRESSES.show_base58(key_address(key.public)),
        }
        for name, key in (("alice", ALICE), ("bob", BOB))
    }
    policy = {
        "text": format_policy(SWAP),
        "encoded": encode(SWAP).hex(),
        "address": SWAP_ADDRESS.hex(),
        "bech32": ADDRESSES.show(SWAP_ADDRESS),
    }
    return {**keys, "policy": policy}


def transaction_vectors() -> Vector:
    transactions = {
        name: {
            "raw": transaction.raw.hex(),
            "txid": transaction.txid.hex(),
            "wtxid": transaction.wtxid.hex(),
            "sighash": transaction.sighash.hex(),
        }
        for name, transaction in sample_transactions().items()
    }
    intent = payment_intent(key_address(ALICE.public), SWAP_ADDRESS, "GOLD", 5, b"memo")
    return {**transactions, "payment intent": {"digest": intent.hex()}}


def block_vectors() -> Vector:
    changes: dict[str, Vector] = {
        "full": {"evidence": (sample_evidence(),), "snapshot": bytes(range(32))},
        "mined": {"time_ms": None, "proposer": None, "last_certificate": None},
        "first": {"height": 1, "view": 1},
    }
    blocks = {name: sample_block(**fields) for name, fields in changes.items()}
    return {
        name: {
            "block": block.encode().hex(),
            "header": block.header_bytes.hex(),
            "coinbase": block.coinbase_bytes.hex(),
            "commitment": block.commitment_bytes.hex(),
            "hash": block.hash.hex(),
            "shown": display_hash(block.hash),
        }
        for name, block in blocks.items()
    }


def vote_vectors() -> Vector:
    chain = sample_genesis().hash
    digests = {
        f"digest of {kind.name}{'' if block else ' for nothing'}": vote_digest(
            chain, 0, 7, kind, block
        ).hex()
        for kind in VoteKind
        for block in (bytes(range(32)), None)
    }
    certificates = {
        name: certificate.encode().hex() for name, certificate in sample_certificates().items()
    }
    return {
        "chain": chain.hex(),
        "digests": digests,
        "vote": encode(sample_evidence()[0]).hex(),
        "certificates": certificates,
    }


def genesis_vectors() -> Vector:
    validator = Validator(public_key=ALICE.public.hex())
    smallest = Genesis(name="", time_ms=1, validators=(validator,), allocations=())
    return {
        name: {
            "json": genesis.to_json().decode(),
            "encoded": genesis.encode().hex(),
            "hash": genesis.hash.hex(),
            "chain_prefix": genesis.chain_prefix.hex(),
            "validators_hash": genesis.validators_hash.hex(),
        }
        for name, genesis in (
            ("sample", sample_genesis()),
            ("smallest", smallest),
            ("mined", sample_work_genesis()),
        )
    }


FORMATS: dict[str, Callable[[], Vector]] = {
    "addresses": address_vectors,
    "transactions": transaction_vectors,
    "blocks": block_vectors,
    "votes": vote_vectors,
    "genesis": genesis_vectors,
}


def stored(name: str) -> Vector:
    """What `tests/vectors` holds."""
    value = json.loads((VECTORS / f"{name}.json").read_text(encoding="utf-8"))
    assert isinstance(value, dict)
    return value


def main() -> None:
    for name, make in FORMATS.items():
        text = json.dumps(make(), indent=2, ensure_ascii=False) + "\n"
        (VECTORS / f"{name}.json").write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
