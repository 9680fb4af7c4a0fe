"""Wallet import format against Bitcoin Core's vectors, and what is no key."""

import json
from pathlib import Path
from typing import Any

import pytest

from chaind.primitives.address import AddressFormat, base58check_encode
from chaind.primitives.keys import CURVE_ORDER, SecretKey
from chaind.wallet.wif import WifInvalid, decode_wif, encode_wif, wif_version

KEYS = json.loads((Path(__file__).parents[1] / "vectors" / "wif.json").read_text())["keys"]
COMPRESSED = [entry for entry in KEYS if entry["compressed"]]
KEY = SecretKey(bytes(range(1, 33)))


@pytest.mark.parametrize("entry", COMPRESSED, ids=lambda entry: entry["wif"][:8])
def test_published_keys_go_there_and_back(entry: dict[str, Any]) -> None:
    key = decode_wif(entry["wif"], entry["version"])
    assert key.reveal().hex() == entry["secret"]
    assert encode_wif(key, entry["version"]) == entry["wif"]


@pytest.mark.parametrize(
    "entry",
    [entry for entry in KEYS if not entry["compressed"]],
    ids=lambda entry: entry["wif"][:8],
)
def test_keys_of_uncompressed_addresses_are_refused(entry: dict[str, Any]) -> None:
    with pytest.raises(WifInvalid, match="uncompressed"):
        decode_wif(entry["wif"], entry["version"])


def test_the_version_follows_that_of_addresses() -> None:
    """Bitcoin: 0 and 128, its test net: 111 and 239."""
    for p2pkh, expected in ((0, 128), (111, 239), (0x1C, 0x9C), (255, 127)):
        assert wif_version(AddressFormat(hrp="x", p2pkh_version=p2pkh)) == expected


def refuse(text: str, why: str) -> None:
    with pytest.raises(WifInvalid, match=why) as caught:
        decode_wif(text, 0x9C)
    if text:
        assert text not in f"{caught.value!r} {caught.value} {caught.value.values}"
    assert caught.value.__context__ is None or caught.value.__suppress_context__


def test_every_changed_character_is_refused() -> None:
    text = encode_wif(KEY, 0x9C)
    for place in range(len(text)):
        for other in "2z":
            if text[place] != other:
                refuse(text[:place] + other + text[place + 1 :], "a character is wrong")
        refuse(text[:place], "a character is wrong")


@pytest.mark.parametrize(
    ("payload", "why"),
    [
        (b"\x80" + KEY.reveal() + b"\1", "version byte 128 of another network, not 156"),
        (b"\x9c" + KEY.reveal() + b"\2", "wrong length"),
        (b"\x9c" + KEY.reveal() + b"\1\1", "wrong length"),
        (b"\x9c", "wrong length"),
        (b"\x9c" + bytes(32) + b"\1", "no key of the curve"),
        (b"\x9c" + CURVE_ORDER.to_bytes(32, "big") + b"\1", "no key of the curve"),
    ],
)
def test_what_is_no_key_of_ours_is_refused(payload: bytes, why: str) -> None:
    refuse(base58check_encode(payload), why)


@pytest.mark.parametrize("text", ["", "1", "0OIl", "é" * 52])
def test_other_text_is_refused(text: str) -> None:
    refuse(text, "a character is wrong")
