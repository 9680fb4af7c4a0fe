"""Derivation: the published vectors of BIP-32, BIP-39 and BIP-84, and paths that are none."""

import json
import unicodedata
from pathlib import Path

import pytest

from chaind.primitives.address import base58check_decode, bech32_encode, key_address
from chaind.primitives.keys import CURVE_ORDER
from chaind.wallet.derivation import (
    DEVELOPMENT_MNEMONIC,
    HARDENED,
    ExtendedKey,
    ExtendedKeyInvalid,
    ExtendedPublic,
    HardenedFromPublic,
    PathInvalid,
    account_path,
    derive,
    development_key,
    faucet_key,
    parse_path,
    seed_from_mnemonic,
)
from chaind.wallet.wif import encode_wif

VECTORS = Path(__file__).parents[1] / "vectors"
BIP32 = json.loads((VECTORS / "bip32.json").read_text())
BIP39 = json.loads((VECTORS / "bip39.json").read_text())
BIP84 = json.loads((VECTORS / "bip84.json").read_text())
ABANDON = "abandon " * 11 + "about"
# test_JP_BIP39.json, to which BIP-39 points: neither text is in NFKD, the spaces are ideographic.
JAPANESE = (
    "\u3000".join(["あいこくしん"] * 11 + ["あおぞら"]),
    "㍍ガバヴァぱばぐゞちぢ十人十色",
    "a262d6fb6122ecf45be09c50492b31f92e9beb7d9a845987a02cefda57a15f9c"
    "467a17872029a9e92299b5cbdf306e3a0ee620245cbd508959b6cb7ca637bd55",
)


CHAINS = [(vector["seed"], chain) for vector in BIP32["valid"] for chain in vector["chains"]]


@pytest.mark.parametrize(("seed", "chain"), CHAINS)
def test_bip32_vectors(seed: str, chain: dict[str, str]) -> None:
    path = chain["path"]
    payload = base58check_decode(chain["xprv"])
    found = ExtendedKey.from_seed(bytes.fromhex(seed)).derive(path)
    assert payload[:4].hex() == "0488ade4"  # xprv
    assert payload[4] == path.count("/") == found.depth
    assert payload[5:9] == found.parent
    assert payload[9:13] == found.number.to_bytes(4, "big")
    assert payload[13:45] == found.chain_code
    assert payload[-32:] == found.key.reveal() == derive(bytes.fromhex(seed), path).reveal()
    assert derive(bytes.fromhex(seed), path.replace("'", "h")).reveal() == payload[-32:]
    assert str(found.neuter()) == chain["xpub"]
    assert ExtendedPublic.parse(chain["xpub"]) == found.neuter()


@pytest.mark.parametrize(("seed", "chain"), CHAINS)
def test_a_plain_child_follows_from_the_public_key_alone(seed: str, chain: dict[str, str]) -> None:
    secret = ExtendedKey.from_seed(bytes.fromhex(seed)).derive(chain["path"])
    for number in (0, 1, HARDENED - 1):
        assert secret.neuter().child(number) == secret.child(number).neuter()
    with pytest.raises(HardenedFromPublic, match="hardened child 5"):
        secret.neuter().child(HARDENED + 5)


def test_bip32_vectors_of_public_steps_are_walked_without_the_secret() -> None:
    """m/0'/1 of vector 1 from m/0', and m/0'/1/2'/2/1000000000 from m/0'/1/2'."""
    chains = {chain["path"]: chain["xpub"] for chain in BIP32["valid"][0]["chains"]}
    assert str(ExtendedPublic.parse(chains["m/0'"]).child(1)) == chains["m/0'/1"]
    parent = ExtendedPublic.parse(chains["m/0'/1/2'"])
    assert str(parent.child(2).child(1_000_000_000)) == chains["m/0'/1/2'/2/1000000000"]


@pytest.mark.parametrize("case", BIP32["invalid"], ids=lambda case: case["reason"])
def test_bip32_invalid_keys_are_refused(case: dict[str, str]) -> None:
    with pytest.raises(ExtendedKeyInvalid) as caught:
        ExtendedPublic.parse(case["key"])
    assert case["key"] not in str(caught.value)


WHY = {
    "pubkey version / prvkey mismatch": "not a compressed",
    "invalid pubkey prefix 04": "not a compressed",
    "invalid pubkey prefix 01": "not a compressed",
    "zero depth with non-zero parent fingerprint": "a root with a parent",
    "zero depth with non-zero index": "a root with a parent",
    "unknown extended key version": "another kind of key",
}


def test_bip32_invalid_public_keys_are_refused_for_their_own_reason() -> None:
    told = set()
    for case in BIP32["invalid"]:
        if case["reason"] in WHY and not case["key"].startswith("xprv"):
            told.add(case["reason"])
            with pytest.raises(ExtendedKeyInvalid, match=WHY[case["reason"]]):
                ExtendedPublic.parse(case["key"])
    assert told == set(WHY)


def test_the_leading_zeros_of_vectors_3_and_4_are_there() -> None:
    zeros = [
        base58check_decode(chain["xprv"])[-32]
        for vector in BIP32["valid"][2:]
        for chain in vector["chains"]
    ]
    assert zeros.count(0) >= 2


@pytest.mark.parametrize("case", BIP39["valid"], ids=lambda case: case["entropy"][:8])
def test_bip39_seeds(case: dict[str, str]) -> None:
    seed = seed_from_mnemonic(case["mnemonic"], "TREZOR")
    assert seed.hex() == case["seed"]
    master = ExtendedKey.from_seed(seed)
    assert base58check_decode(case["xprv"])[13:] == (
        master.chain_code + b"\0" + master.key.reveal()
    )


@pytest.mark.parametrize("entry", BIP84["keys"], ids=lambda entry: entry["path"])
def test_bip84_tree_gives_the_published_keys_and_addresses(entry: dict[str, str]) -> None:
    """A tree of BIP-44's shape down to WIF (Bitcoin's version) and BIP-173 addresses."""
    key = derive(seed_from_mnemonic(BIP84["mnemonic"]), entry["path"])
    assert key.public.hex() == entry["public_key"]
    assert bech32_encode(BIP84["hrp"], key_address(key.public)) == entry["address"]
    assert encode_wif(key, BIP84["wif_version"]) == entry["wif"]


def test_bip39_normalises_both_texts() -> None:
    mnemonic, passphrase, seed = JAPANESE
    assert seed_from_mnemonic(mnemonic, passphrase).hex() == seed
    for form in ("NFC", "NFD", "NFKC", "NFKD"):
        other = [unicodedata.normalize(form, text) for text in (mnemonic, passphrase)]
        assert seed_from_mnemonic(*other).hex() == seed


def test_a_passphrase_makes_another_wallet() -> None:
    assert seed_from_mnemonic(ABANDON) != seed_from_mnemonic(ABANDON, "TREZOR")
    assert len(seed_from_mnemonic(ABANDON)) == 64


@pytest.mark.parametrize(
    ("path", "numbers"),
    [
        ("m", ()),
        ("m/0", (0,)),
        ("m/2147483647", (HARDENED - 1,)),
        ("m/2147483647'", (2**32 - 1,)),
        ("m/44'/1h/0", (HARDENED + 44, HARDENED + 1, 0)),
    ],
)
def test_paths(path: str, numbers: tuple[int, ...]) -> None:
    assert parse_path(path) == numbers


@pytest.mark.parametrize(
    "path",
    [
        "",
        "m/",
        "/0",
        "0/1",
        "M/0",
        "m//0",
        "m/0/",
        "m/'",
        "m/h",
        "m/0''",
        "m/0'h",
        "m/0H",
        "m/-1",
        "m/+1",
        "m/ 1",
        "m/1_0",
        "m/0x1",
        "m/²",
        "m/١",
        "m/2147483648",
        "m/2147483648'",
        "m/" + "9" * 5000,  # beyond Python's own limit of decimal digits
    ],
)
def test_what_is_no_path_is_refused(path: str) -> None:
    with pytest.raises(PathInvalid):
        parse_path(path)
    with pytest.raises(PathInvalid):
        derive(bytes(32), path)


def test_hardened_and_plain_children_differ() -> None:
    seed = bytes(32)
    secrets = {derive(seed, path).reveal() for path in ("m", "m/0", "m/0'", "m/1", "m/0/0")}
    assert len(secrets) == 5
    assert all(0 < int.from_bytes(secret, "big") < CURVE_ORDER for secret in secrets)


def test_development_accounts_are_the_documented_paths() -> None:
    seed = seed_from_mnemonic(DEVELOPMENT_MNEMONIC)
    keys = [development_key(index).reveal() for index in range(3)]
    assert keys == [derive(seed, f"m/44'/1'/0'/0/{index}").reveal() for index in range(3)]
    assert faucet_key().reveal() == derive(seed, "m/44'/1'/1000000'/0/0").reveal()
    # The first key that every Ethereum development chain makes of these words, for its coin type.
    assert derive(seed, "m/44'/60'/0'/0/0").reveal().hex() == (
        "ac0974bec39a17e36ba4a6b4d238ff944bacb478cbed5efcae784d7bf4f2ff80"
    )


def test_account_paths_are_bip44_with_the_coin_type_of_unregistered_chains() -> None:
    assert [account_path(number) for number in (0, 3)] == ["m/44'/1'/0'", "m/44'/1'/3'"]
    seed = seed_from_mnemonic(DEVELOPMENT_MNEMONIC)
    account = ExtendedKey.from_seed(seed).derive(account_path(0)).neuter()
    assert account.child(0).child(2).public == development_key(2).public


def test_an_extended_key_shows_no_secret() -> None:
    key = ExtendedKey.from_seed(bytes(range(32)))
    for text in (repr(key), str(key), f"{key}"):
        assert key.key.reveal().hex() not in text
        assert key.chain_code.hex() not in text
