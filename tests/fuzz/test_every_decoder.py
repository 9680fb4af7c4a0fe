"""No bytes from outside are read by anything that is not fuzzed.

Every place of the code that decodes is found in its source, and must be named here: with the
entries of `fuzz_decoders` that lead there, or with why nobody else writes what is read.
"""

import ast
from functools import cache
from pathlib import Path

import pytest
from fuzz_decoders import DECODERS, try_one

import chaind
from chaind.network import messages
from chaind.primitives import codec

ROOT = Path(chaind.__file__).parent
DECODING = {
    "Decoder",
    "json.loads",
    "msgspec.convert",
    "msgspec.json.Decoder",
    "msgspec.json.decode",
    "msgspec.msgpack.Decoder",
    "msgspec.msgpack.decode",
}

FUZZED = {
    "api/batches.py": ("json-array", "json-item"),
    "api/bodies.py": ("json", "request-body"),
    "api/rpc_mining.py": ("rpc-call",),
    "api/webhook_records.py": ("webhook-file",),
    "consensus/records.py": ("vote-record",),
    "ledger/keys.py": ("asset-row",),
    "market/rows.py": ("market-row", "order-row"),
    "miner/gbt_client.py": ("block-template",),
    "miner/stratum.py": ("stratum-request",),
    "miner/stratum_client.py": ("stratum-answer",),
    "network/handshake.py": ("hello", "handshake-initiator", "handshake-responder"),
    "network/messages.py": ("message",),
    "node/config.py": ("config",),
    "primitives/block.py": ("block", "commitment"),
    "primitives/genesis.py": ("genesis",),
    "primitives/policy.py": ("policy",),
    "primitives/transaction.py": ("transaction", "transaction-body"),
    "primitives/votes.py": ("vote", "certificate"),
    "storage/invoices.py": ("invoice-file",),
    "storage/market_rows.py": ("order-record", "trade-row", "fill-row", "candle-row"),
    "storage/schema.py": ("block-row", "tip-row", "transaction-row", "outcome-row"),
    "wallet/keystore.py": ("keystore",),
}
A_NODE = "the answers of a node that was chosen, to a program that ends when they make no sense"
OURS = {
    "cli/audit_url.py": A_NODE,
    "cli/exchange_online.py": A_NODE,
    "cli/load_drive.py": A_NODE,
    "cli/load_watch.py": A_NODE,
    "cli/status.py": A_NODE,
    "cli/webhook_listen.py": "a receiver to try webhooks with",
    "miner/node_rpc.py": A_NODE,
    "miner/scheme.py": A_NODE,
    "wallet/client.py": A_NODE,
    "wallet/client_trading.py": A_NODE,
    "wallet/transport.py": A_NODE,
    "cli/supervise.py": "a file of the command's own",
    "miner/devices.py": "what a process of ours says of a card",
    "miner/worker.py": "what a process and its worker say to each other",
    "primitives/codec.py": "the Decoder itself",
}
# Types of `codec.Decoder` that are read after something else has proven whose they are.
SEALED = {"keystore"}  # its sealed part is authenticated by the password


@cache
def calls() -> list[tuple[str, ast.Call]]:
    """All calls in chaind's code, each with its file; the simulator's are no node's."""
    found = []
    for path in ROOT.rglob("*.py"):
        name = path.relative_to(ROOT).as_posix()
        if not name.startswith("simulation/"):
            nodes = ast.walk(ast.parse(path.read_text()))
            found += [(name, node) for node in nodes if isinstance(node, ast.Call)]
    return found


def decoding_files() -> set[str]:
    """The files of chaind that turn bytes, or what JSON gave, into values of a type."""
    return {name for name, call in calls() if called(call) in DECODING}


def called(call: ast.Call) -> str:
    """The name of what is called, less its type parameters."""
    function = call.func.value if isinstance(call.func, ast.Subscript) else call.func
    return ast.unparse(function) if isinstance(function, ast.Name | ast.Attribute) else ""


def test_every_file_that_decodes_is_named() -> None:
    assert decoding_files() == FUZZED.keys() | OURS.keys()
    assert not FUZZED.keys() & OURS.keys()


def test_every_entry_that_is_named_is_there() -> None:
    assert {name for names in FUZZED.values() for name in names} <= DECODERS.keys()


def test_canonical_decoders_are_reached(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each type that has a `Decoder` is decoded by some sample."""
    reached: set[str] = set()
    decode = codec.Decoder.decode_lenient

    def note(self: codec.Decoder[object], data: bytes) -> object:
        reached.add(self.what)
        return decode(self, data)

    monkeypatch.setattr(codec.Decoder, "decode_lenient", note)
    for name, decoder in DECODERS.items():
        for sample in decoder.samples:
            try_one(name, sample)
    named = {ast.literal_eval(call.args[0]) for _, call in calls() if called(call) == "Decoder"}
    assert named - reached <= SEALED


def test_there_is_a_sample_of_every_message() -> None:
    samples = DECODERS["message"].samples
    assert {type(messages.decode_message(sample)) for sample in samples} == set(messages.BYTES_MAX)
