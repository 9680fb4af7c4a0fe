"""Genesis: one document, one hash; every bad value is refused by its name."""

import hashlib
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgpack
import pytest
from primitive_samples import ADDRESSES, ALICE, TIME_MS, A, sample_genesis, sample_key

from chaind.primitives.amounts import is_asset_symbol
from chaind.primitives.block import Header
from chaind.primitives.coinbase import encode_coinbase
from chaind.primitives.genesis import Genesis, GenesisInvalid, Parameters
from chaind.primitives.hashes import ZERO_HASH, merkle_root, sha256d
from chaind.primitives.keys import SecretKey

Document = dict[str, Any]


def document() -> Document:
    value = json.loads(sample_genesis().to_json())
    assert isinstance(value, dict)
    return value


def load(value: Document) -> Genesis:
    return Genesis.from_json(json.dumps(value).encode())


def put(*path: str | int, value: Any) -> Callable[[Document], None]:
    """Sets one value deep inside a document."""

    def change(doc: Any) -> None:
        for step in path[:-1]:
            doc = doc[step]
        doc[path[-1]] = value

    return change


def append(name: str, value: Document) -> Callable[[Document], None]:
    return lambda doc: doc[name].append(value)


PAID = {"address": ADDRESSES.show(A), "amount": "1"}
KEY = ALICE.public.hex()


def test_the_file_comes_back(tmp_path: Path) -> None:
    genesis = sample_genesis()
    path = tmp_path / "genesis.json"
    path.write_bytes(genesis.to_json())
    loaded = Genesis.load(path)
    assert loaded == genesis
    assert loaded.hash == genesis.hash
    assert loaded.to_json() == genesis.to_json()
    assert genesis.to_json().endswith(b"}\n")


def test_the_hash_does_not_depend_on_how_the_file_is_written() -> None:
    """Order, spaces and left-out defaults are no values."""
    genesis, doc = sample_genesis(), document()
    shuffled = dict(sorted(doc.items(), reverse=True))
    assert load(shuffled).hash == genesis.hash
    assert Genesis.from_json(json.dumps(doc, indent=7).encode()).hash == genesis.hash
    for name in ("mode", "dev", "native_symbol", "addresses", "parameters", "consensus"):
        del doc[name]
    assert load(doc).hash == genesis.hash


OTHER_MARKET = {
    "symbol": "COIN/GOLD",
    "tick": "0.05",
    "lot": "0.01",
    "reference_price": "450.01",
    "min_notional": "0",
    "maker_fee_ppm": 0,
    "taker_fee_ppm": 100_000,
    "band_ppm": 1,
    "fee_account": ADDRESSES.show(bytes(20)),
}


def test_the_hash_depends_on_every_value() -> None:
    hashes = {sample_genesis().hash}
    changes: list[Callable[[Document], Any]] = [
        put("name", value="other"),
        put("time_ms", value=TIME_MS + 1),
        put("dev", value=True),
        put("markets", value=[]),
        lambda doc: doc.update(native_symbol="OTHER", markets=[]),
        put("validators", 0, "public_key", value=sample_key(99).public.hex()),
        put("validators", 0, "weight", value=2),
        put("validators", 0, "name", value="other"),
        put("assets", 0, "issuer", value=ADDRESSES.show(bytes(20))),
        put("assets", 0, "mintable", value=True),
        append("assets", {"symbol": "SILVER", "issuer": ADDRESSES.show(A)}),
        put("allocations", 0, "address", value=ADDRESSES.show(bytes(20))),
        put("allocations", 0, "amount", value="999"),
        put("allocations", 0, "coin", value=True),
        append("allocations", PAID),
        *(put("markets", 0, name, value=value) for name, value in OTHER_MARKET.items()),
        lambda doc: doc["allocations"].reverse(),
        lambda doc: doc["validators"].reverse(),
        put("consensus", "mesh_max", value=64),
        put("consensus", "mesh_max", value=4),
        put("consensus", "overlay_degree", value=12),
    ]
    for group in ("parameters", "consensus"):
        changes += [
            put(group, name, value=value + 1)
            for name, value in document()[group].items()
            if name != "algorithm"  # there is one
        ]
    for change in changes:
        doc = document()
        change(doc)
        hashes.add(load(doc).hash)
    for form in ({"hrp": "other"}, {"p2pkh_version": 5}):
        doc = {**document(), "allocations": [], "assets": [], "markets": []}  # free of addresses
        hashes.add(load(doc).hash)
        doc["addresses"].update(form)
        hashes.add(load(doc).hash)
    assert len(hashes) == 1 + len(changes) + 1 + 2


def test_the_genesis_block_commits_to_the_document() -> None:
    genesis = sample_genesis()
    plain = msgpack.unpackb(genesis.encode())
    assert plain == document()  # a map, under the names of the file
    assert genesis.encode() == msgpack.packb(plain)
    root = merkle_root([sha256d(encode_coinbase(0)), sha256d(genesis.encode())])
    header = Header(0x20000000, ZERO_HASH, root, TIME_MS // 1000, 0x207FFFFF, 0)
    assert genesis.header() == header
    assert genesis.hash == sha256d(header.encode())
    assert genesis.chain_prefix == genesis.hash[:8]


def test_the_validators_hash_is_of_keys_and_weights_in_order() -> None:
    genesis = sample_genesis()
    plain = [[validator.key, validator.weight] for validator in genesis.validators]
    data = b"\x11chaind/validators" + msgpack.packb(plain)
    twice = hashlib.sha256(hashlib.sha256(data).digest()).digest()
    assert genesis.validators_hash == twice
    assert genesis.validators[0].address == A
    doc = document()
    doc["validators"].reverse()
    assert load(doc).validators_hash != genesis.validators_hash


BAD: list[tuple[Callable[[Document], Any], str]] = [
    (put("name", value=5), "$.name"),
    (lambda doc: doc.pop("name"), "`name`"),
    (put("colour", value=1), "`colour`"),
    (put("consensus", "mesh_max", value=0), "mesh_max = 0"),
    (put("consensus", "mesh_max", value=None), "mesh_max"),
    (put("consensus", "overlay_degree", value=1), "overlay_degree 1"),
    (put("consensus", "overlay_degree", value=65), "overlay_degree 65"),
    (put("consensus", "overlay_degree", value=0), "overlay_degree = 0"),
    (put("mode", value="pos"), "$.mode"),
    (put("dev", value=1), "$.dev"),
    (put("time_ms", value=0), "time_ms 0"),
    (put("time_ms", value=-1), "time_ms -1"),
    (put("time_ms", value=True), "$.time_ms"),
    (put("time_ms", value=1.5), "$.time_ms"),
    (put("time_ms", value="1"), "$.time_ms"),
    (put("time_ms", value=2**32 * 1000), "time_ms 4294967296000"),
    (put("time_ms", value=10**30), "time_ms 1000000"),
    (put("validators", value=[]), "1 to 4096 validators"),
    (lambda doc: doc.update(validators=doc["validators"] * 1025), "1 to 4096 validators"),
    (append("validators", {"public_key": KEY}), "same public key"),
    (append("validators", {"public_key": KEY.upper()}), "same public key"),
    (append("validators", {"public_key": KEY[:2] + " " + KEY[2:]}), "66 hex digits"),
    (put("validators", 0, "public_key", value=""), "public_key ''"),
    (put("validators", 0, "public_key", value="xy" * 33), "public_key 'xyxy"),
    (put("validators", 0, "public_key", value="02" + "00" * 32), "public_key '0200"),
    (put("validators", 0, "public_key", value=KEY[:-2]), "is no public key"),
    (put("validators", 0, "public_key", value="é" * 66), "is no public key"),
    (put("validators", 1, "weight", value=0), "weight 0"),
    (put("validators", 1, "weight", value=-1), "weight -1"),
    (put("validators", 1, "weight", value=1_000_001), "weight 1000001"),
    (put("validators", 1, "weight", value=1.0), "$.validators[1].weight"),
    (put("validators", 1, "stake", value=1), "`stake`"),
    (put("addresses", "hrp", value=""), "addresses.hrp ''"),
    (put("addresses", "hrp", value="CHD"), "addresses.hrp 'CHD'"),
    (put("addresses", "hrp", value="c-d"), "addresses.hrp 'c-d'"),
    (put("addresses", "hrp", value="çhd"), "addresses.hrp 'çhd'"),
    (put("addresses", "hrp", value="12"), "addresses.hrp '12'"),
    (put("addresses", "hrp", value="c" * 31), "addresses.hrp 'ccc"),
    (put("addresses", "hrp", value="other"), "is not an address of this chain"),
    (put("addresses", "p2pkh_version", value=256), "addresses.p2pkh_version 256"),
    (put("addresses", "p2pkh_version", value=-1), "addresses.p2pkh_version -1"),
    (put("native_symbol", value="GOLD"), "same symbol"),
    (put("native_symbol", value=""), "symbol ''"),
    (put("native_symbol", value="coin"), "symbol 'coin'"),
    (put("native_symbol", value="ABCDEFGHIJKLM"), "symbol 'ABCDEFGHIJKLM'"),
    (put("assets", 0, "symbol", value="Gold"), "symbol 'Gold'"),
    (put("assets", 0, "symbol", value="ＧＯＬＤ"), "symbol 'ＧＯＬＤ'"),
    (put("assets", 0, "symbol", value="GOLD2"), "'GOLD': no such asset"),
    (put("assets", 0, "issuer", value="chd1"), "is not an address of this chain"),
    (put("assets", 0, "mintable", value="yes"), "$.assets[0].mintable"),
    (append("assets", {"symbol": "GOLD", "issuer": ADDRESSES.show(A)}), "same symbol"),
    (append("allocations", {**PAID, "address": "nowhere"}), "is not an address of this chain"),
    (append("allocations", {**PAID, "amount": "0"}), "amount 0"),
    (append("allocations", {**PAID, "amount": "-1"}), "amount -1"),
    (append("allocations", {**PAID, "amount": "1e3"}), "amount '1e3'"),
    (append("allocations", {**PAID, "amount": 1}), "$.allocations[3].amount"),
    (append("allocations", {**PAID, "asset": "LEAD"}), "'LEAD': no such asset"),
    (append("allocations", {**PAID, "asset": "COIN"}), "'COIN': no such asset"),
    (append("allocations", {**PAID, "asset": "GOLD", "coin": True}), "as a coin"),
    (append("allocations", {**PAID, "asset": "GOLD"}), "supply of GOLD"),
    (append("allocations", {**PAID, "amount": "92233720368"}), "supply of native"),
    (put("markets", 0, "symbol", value="GOLD/TIN"), "market 'GOLD/TIN': it trades an asset that"),
    (put("markets", 0, "symbol", value="GOLD"), "'' is no asset's symbol"),
    (put("markets", 0, "symbol", value="COIN/COIN"), "the same asset"),
    (put("markets", 0, "tick", value="0"), "amount 0"),
    (put("markets", 0, "lot", value="0.00000001"), "not a multiple of 100000000"),
    (put("markets", 0, "reference_price", value="450.001"), "not ticks of 0.01"),
    (put("markets", 0, "taker_fee_ppm", value=100_001), "taker_fee_ppm is 100001"),
    (put("markets", 0, "fee_account", value="nobody"), "nobody"),
    (put("markets", 0, "fee", value=1), "`fee`"),
    (lambda doc: doc["markets"].append(doc["markets"][0]), "two markets have the same symbol"),
    (put("consensus", "algorithm", value="paxos"), "$.consensus.algorithm"),
    (put("consensus", "delta_ms", value=0), "delta_ms = 0"),
    (put("parameters", "validity_window_ms", value=86_400_001), "lease_ms is shorter"),
    (put("parameters", "inputs_max", value=0), "inputs_max = 0"),
    (put("parameters", "min_fee_per_byte", value=-1), "min_fee_per_byte = -1"),
    (put("parameters", "block_bytes_max", value=2**53 + 1), "block_bytes_max = 9007199254740993"),
    (put("parameters", "blocksize", value=1), "`blocksize`"),
    (put("parameters", "transaction_bytes_max", value=262_145), "transaction_bytes_max exceeds 26"),
    (put("parameters", "block_bytes_max", value=65_535), "transaction_bytes_max exceeds block"),
    (put("parameters", "block_bytes_max", value=(3 << 20) + 1), "block_bytes_max exceeds"),
    (put("parameters", "subsidy_units", value=2**53), "supply of native"),
]


@pytest.mark.parametrize(("change", "named"), BAD, ids=[named for _, named in BAD])
def test_each_bad_value_is_named(change: Callable[[Document], Any], named: str) -> None:
    doc = document()
    change(doc)
    with pytest.raises(GenesisInvalid) as caught:
        load(doc)
    assert named in str(caught.value)
    assert str(caught.value).startswith("genesis document is refused: ")


@pytest.mark.parametrize("name", Parameters.__struct_fields__)
def test_every_parameter_has_a_lower_bound(name: str) -> None:
    doc = document()
    doc["parameters"][name] = -1
    with pytest.raises(GenesisInvalid, match=f"{name} = -1"):
        load(doc)


@pytest.mark.parametrize(
    "change",
    [
        put("time_ms", value=1),
        put("time_ms", value=2**32 * 1000 - 1),
        put("validators", 0, "weight", value=1_000_000),
        put("validators", 0, "public_key", value=KEY.upper()),
        lambda doc: doc.update(native_symbol="ABCDEFGHIJKL", markets=[]),
        put("parameters", "min_fee_per_byte", value=0),
        put("parameters", "block_bytes_max", value=3 << 20),
        put("parameters", "validity_window_ms", value=86_400_000),
        put("allocations", value=[]),
        lambda doc: doc.update(
            validators=[
                {"public_key": SecretKey(number.to_bytes(32, "big")).public.hex()}
                for number in range(1, 4097)
            ]
        ),
    ],
)
def test_the_bounds_themselves_are_allowed(change: Callable[[Document], Any]) -> None:
    doc = document()
    change(doc)
    genesis = load(doc)
    assert len(genesis.hash) == 32
    assert Genesis.from_json(genesis.to_json()) == genesis


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"{",
        b"null",
        b"[]",
        b"{}",
        b"\xff\xfe",
        b'{"name": "\xff"}',
        b'{"name": "\\ud800"}',
        sample_genesis().to_json().replace(b'"sample"', b'"s\xffmple"'),
        sample_genesis().to_json().replace(b'"sample"', b'"\\ud800"'),
        sample_genesis().to_json() + b"x",
        b"[" * 100_000,
        b'{"name":' + b'{"a":' * 100_000,
    ],
    ids=range(13),
)
def test_what_is_no_document_is_refused(data: bytes) -> None:
    with pytest.raises(GenesisInvalid):
        Genesis.from_json(data)


def test_a_file_that_cannot_be_read_is_named(tmp_path: Path) -> None:
    for path in (tmp_path / "nowhere.json", tmp_path):
        with pytest.raises(GenesisInvalid) as caught:
            Genesis.load(path)
        assert str(path) in str(caught.value)
        assert caught.value.exit_code == 78  # EX_CONFIG


def test_text_of_any_language_may_name_chain_and_voters() -> None:
    genesis = sample_genesis(name="Zürich 連鎖 \U0001f517")
    assert Genesis.from_json(genesis.to_json()) == genesis


def test_symbols() -> None:
    assert all(map(is_asset_symbol, ("A", "0", "GOLD", "ABCDEFGHIJ12")))
    assert not any(map(is_asset_symbol, ("", "gold", "A B", "A" * 13, "Ä", "A\n", "Ａ")))
