"""BIP-39: words from entropy and back, against the published vectors."""

import json
from pathlib import Path
from random import Random

import pytest

from chaind.wallet.derivation import MNEMONIC_WORDS
from chaind.wallet.mnemonic import (
    WordListDamaged,
    WordsInvalid,
    entropy_bytes,
    mnemonic_from_entropy,
    read_mnemonic,
    word_list,
)

VECTORS = json.loads((Path(__file__).parents[1] / "vectors" / "bip39.json").read_text())["valid"]
each = pytest.mark.parametrize("case", VECTORS, ids=lambda case: case["entropy"][:8])


@each
def test_words_of_the_published_entropy(case: dict[str, str]) -> None:
    assert mnemonic_from_entropy(bytes.fromhex(case["entropy"])) == case["mnemonic"]
    assert read_mnemonic(case["mnemonic"]) == case["mnemonic"]


@each
def test_words_may_be_typed_as_people_type_them(case: dict[str, str]) -> None:
    words = case["mnemonic"].split()
    assert read_mnemonic("  " + "\n".join(words).upper() + "\t") == case["mnemonic"]
    assert read_mnemonic(" ".join(word[:4] for word in words)) == case["mnemonic"]


@pytest.mark.parametrize("count", MNEMONIC_WORDS)
def test_every_length_goes_there_and_back(count: int) -> None:
    entropy = Random(count).randbytes(entropy_bytes(count))
    words = mnemonic_from_entropy(entropy)
    assert len(words.split()) == count
    assert read_mnemonic(words) == words


def test_the_list_is_that_of_the_standard() -> None:
    words = word_list()
    assert (len(words), words[0], words[-1]) == (2048, "abandon", "zoo")
    assert list(words) == sorted(words)
    assert len({word[:4] for word in words}) == 2048  # BIP-39: four letters tell them apart


def test_a_damaged_list_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("chaind.wallet.mnemonic.WORDS_SHA256", "00" * 32)
    word_list.cache_clear()
    try:
        with pytest.raises(WordListDamaged):
            word_list()
    finally:
        word_list.cache_clear()


def test_a_wrong_word_is_named_by_its_place_and_never_repeated() -> None:
    words = VECTORS[0]["mnemonic"].split()
    words[6] = "abandom"
    with pytest.raises(WordsInvalid, match="word 7 is not in the English list") as caught:
        read_mnemonic(" ".join(words))
    assert "abandom" not in f"{caught.value!r} {caught.value}"


def fits(text: str) -> bool:
    try:
        return read_mnemonic(text) == text
    except WordsInvalid as error:
        if "checksum" not in str(error):
            raise
        return False


def test_one_last_word_in_sixteen_has_the_right_checksum() -> None:
    words = VECTORS[0]["mnemonic"].split()[:-1]
    good = [word for word in word_list() if fits(" ".join([*words, word]))]
    assert len(good) == 128  # 7 free bits beside 4 of checksum
    assert VECTORS[0]["mnemonic"].split()[-1] in good


@pytest.mark.parametrize("count", [0, 1, 11, 13, 25])
def test_other_counts_are_refused(count: int) -> None:
    with pytest.raises(WordsInvalid, match=f"there are {count}"):
        read_mnemonic("zoo " * count)
