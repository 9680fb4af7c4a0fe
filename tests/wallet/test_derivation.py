"""Derivation: the published vectors of BIP-32 and BIP-39, and paths that are none."""

import unicodedata

import pytest

from chaind.primitives.address import base58check_decode
from chaind.primitives.keys import CURVE_ORDER
from chaind.wallet.derivation import (
    DEVELOPMENT_MNEMONIC,
    HARDENED,
    PathInvalid,
    derive,
    development_key,
    faucet_key,
    parse_path,
    seed_from_mnemonic,
)

# BIP-32, test vectors 1 to 4 (3 and 4 for leading zeros): seed, then paths with extended keys.
BIP32 = {
    "vector 1": (
        "000102030405060708090a0b0c0d0e0f",
        {
            "m": (
                "xprv9s21ZrQH143K3QTDL4LXw2F7HEK3wJUD2nW2nRk4stbPy6cq3jPPqjiC"
                "hkVvvNKmPGJxWUtg6LnF5kejMRNNU3TGtRBeJgk33yuGBxrMPHi"
            ),
            "m/0'": (
                "xprv9uHRZZhk6KAJC1avXpDAp4MDc3sQKNxDiPvvkX8Br5ngLNv1TxvUxt4c"
                "V1rGL5hj6KCesnDYUhd7oWgT11eZG7XnxHrnYeSvkzY7d2bhkJ7"
            ),
            "m/0'/1": (
                "xprv9wTYmMFdV23N2TdNG573QoEsfRrWKQgWeibmLntzniatZvR9BmLnvSxq"
                "u53Kw1UmYPxLgboyZQaXwTCg8MSY3H2EU4pWcQDnRnrVA1xe8fs"
            ),
            "m/0'/1/2'": (
                "xprv9z4pot5VBttmtdRTWfWQmoH1taj2axGVzFqSb8C9xaxKymcFzXBDptWm"
                "T7FwuEzG3ryjH4ktypQSAewRiNMjANTtpgP4mLTj34bhnZX7UiM"
            ),
            "m/0'/1/2'/2": (
                "xprvA2JDeKCSNNZky6uBCviVfJSKyQ1mDYahRjijr5idH2WwLsEd4Hsb2Tyh"
                "8RfQMuPh7f7RtyzTtdrbdqqsunu5Mm3wDvUAKRHSC34sJ7in334"
            ),
            "m/0'/1/2'/2/1000000000": (
                "xprvA41z7zogVVwxVSgdKUHDy1SKmdb533PjDz7J6N6mV6uS3ze1ai8FHa8k"
                "mHScGpWmj4WggLyQjgPie1rFSruoUihUZREPSL39UNdE3BBDu76"
            ),
        },
    ),
    "vector 2": (
        "fffcf9f6f3f0edeae7e4e1dedbd8d5d2cfccc9c6c3c0bdbab7b4b1aeaba8a5a2"
        "9f9c999693908d8a8784817e7b7875726f6c696663605d5a5754514e4b484542",
        {
            "m": (
                "xprv9s21ZrQH143K31xYSDQpPDxsXRTUcvj2iNHm5NUtrGiGG5e2DtALGdso"
                "3pGz6ssrdK4PFmM8NSpSBHNqPqm55Qn3LqFtT2emdEXVYsCzC2U"
            ),
            "m/0": (
                "xprv9vHkqa6EV4sPZHYqZznhT2NPtPCjKuDKGY38FBWLvgaDx45zo9WQRUT3"
                "dKYnjwih2yJD9mkrocEZXo1ex8G81dwSM1fwqWpWkeS3v86pgKt"
            ),
            "m/0/2147483647'": (
                "xprv9wSp6B7kry3Vj9m1zSnLvN3xH8RdsPP1Mh7fAaR7aRLcQMKTR2vidYEe"
                "Eg2mUCTAwCd6vnxVrcjfy2kRgVsFawNzmjuHc2YmYRmagcEPdU9"
            ),
            "m/0/2147483647'/1": (
                "xprv9zFnWC6h2cLgpmSA46vutJzBcfJ8yaJGg8cX1e5StJh45BBciYTRXSd2"
                "5UEPVuesF9yog62tGAQtHjXajPPdbRCHuWS6T8XA2ECKADdw4Ef"
            ),
            "m/0/2147483647'/1/2147483646'": (
                "xprvA1RpRA33e1JQ7ifknakTFpgNXPmW2YvmhqLQYMmrj4xJXXWYpDPS3xz7"
                "iAxn8L39njGVyuoseXzU6rcxFLJ8HFsTjSyQbLYnMpCqE2VbFWc"
            ),
            "m/0/2147483647'/1/2147483646'/2": (
                "xprvA2nrNbFZABcdryreWet9Ea4LvTJcGsqrMzxHx98MMrotbir7yrKCEXw7"
                "nadnHM8Dq38EGfSh6dqA9QWTyefMLEcBYJUuekgW4BYPJcr9E7j"
            ),
        },
    ),
    "vector 3": (
        "4b381541583be4423346c643850da4b320e46a87ae3d2a4e6da11eba819cd4ac"
        "ba45d239319ac14f863b8d5ab5a0d0c64d2e8a1e7d1457df2e5a3c51c73235be",
        {
            "m": (
                "xprv9s21ZrQH143K25QhxbucbDDuQ4naNntJRi4KUfWT7xo4EKsHt2QJDu7K"
                "Xp1A3u7Bi1j8ph3EGsZ9Xvz9dGuVrtHHs7pXeTzjuxBrCmmhgC6"
            ),
            "m/0'": (
                "xprv9uPDJpEQgRQfDcW7BkF7eTya6RPxXeJCqCJGHuCJ4GiRVLzkTXBAJMu2"
                "qaMWPrS7AANYqdq6vcBcBUdJCVVFceUvJFjaPdGZ2y9WACViL4L"
            ),
        },
    ),
    "vector 4": (
        "3ddd5602285899a946114506157c7997e5444528f3003f6134712147db19b678",
        {
            "m": (
                "xprv9s21ZrQH143K48vGoLGRPxgo2JNkJ3J3fqkirQC2zVdk5Dgd5w14S7fR"
                "DyHH4dWNHUgkvsvNDCkvAwcSHNAQwhwgNMgZhLtQC63zxwhQmRv"
            ),
            "m/0'": (
                "xprv9vB7xEWwNp9kh1wQRfCCQMnZUEG21LpbR9NPCNN1dwhiZkjjeGRnaALm"
                "PXCX7SgjFTiCTT6bXes17boXtjq3xLpcDjzEuGLQBM5ohqkao9G"
            ),
            "m/0'/1'": (
                "xprv9xJocDuwtYCMNAo3Zw76WENQeAS6WGXQ55RCy7tDJ8oALr4FWkuVoHJe"
                "HVAcAqiZLE7Je3vZJHxspZdFHfnBEjHqU5hG1Jaj32dVoS6XLT1"
            ),
        },
    ),
}

ABANDON = "abandon " * 11 + "about"
# python-mnemonic's vectors.json, to which BIP-39 points; the passphrase is "TREZOR".
BIP39 = [
    (
        ABANDON,
        "c55257c360c07c72029aebc1b53c05ed0362ada38ead3e3e9efa3708e5349553"
        "1f09a6987599d18264c1e1c92f2cf141630c7a3c4ab7c81b2f001698e7463b04",
    ),
    (
        "legal winner thank year wave sausage worth useful legal winner thank yellow",
        "2e8905819b8723fe2c1d161860e5ee1830318dbf49a83bd451cfb8440c28bd6f"
        "a457fe1296106559a3c80937a1c1069be3a3a5bd381ee6260e8d9739fce1f607",
    ),
    (
        "letter advice cage absurd amount doctor acoustic avoid letter advice cage above",
        "d71de856f81a8acc65e6fc851a38d4d7ec216fd0796d0a6827a3ad6ed5511a30"
        "fa280f12eb2e47ed2ac03b5c462a0358d18d69fe4f985ec81778c1b370b652a8",
    ),
    (
        "zoo " * 11 + "wrong",
        "ac27495480225222079d7be181583751e86f571027b0497b5b5d11218e0a8a13"
        "332572917f0f8e5a589620c6f15b11c61dee327651a14c34e18231052e48c069",
    ),
]
# test_JP_BIP39.json, to which BIP-39 points: neither text is in NFKD, the spaces are ideographic.
JAPANESE = (
    "\u3000".join(["あいこくしん"] * 11 + ["あおぞら"]),
    "㍍ガバヴァぱばぐゞちぢ十人十色",
    "a262d6fb6122ecf45be09c50492b31f92e9beb7d9a845987a02cefda57a15f9c"
    "467a17872029a9e92299b5cbdf306e3a0ee620245cbd508959b6cb7ca637bd55",
)


@pytest.mark.parametrize("vector", BIP32)
def test_bip32_vectors(vector: str) -> None:
    seed, chains = BIP32[vector]
    for path, extended in chains.items():
        payload = base58check_decode(extended)
        secret = payload[-32:]
        assert payload[:4].hex() == "0488ade4"  # xprv
        assert payload[4] == path.count("/")
        assert derive(bytes.fromhex(seed), path).reveal() == secret, path
        assert derive(bytes.fromhex(seed), path.replace("'", "h")).reveal() == secret, path


def test_the_leading_zeros_of_vectors_3_and_4_are_there() -> None:
    zeros = [
        base58check_decode(extended)[-32]
        for vector in ("vector 3", "vector 4")
        for extended in BIP32[vector][1].values()
    ]
    assert zeros.count(0) >= 2


@pytest.mark.parametrize(("mnemonic", "seed"), BIP39)
def test_bip39_vectors(mnemonic: str, seed: str) -> None:
    assert seed_from_mnemonic(mnemonic, "TREZOR").hex() == seed


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
