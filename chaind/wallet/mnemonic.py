"""BIP-39 mnemonics: entropy as words that a person can write down, with a checksum.

The English word list in `english.txt` is that of BIP-39 (bip-0039/english.txt of github.com/
bitcoin/bips, MIT licence), byte for byte; its digest is checked when it is read.
"""

import unicodedata
from functools import cache
from importlib.resources import files

from chaind.primitives.errors import LocalFault, Malformed
from chaind.primitives.hashes import sha256
from chaind.wallet.derivation import MNEMONIC_WORDS

WORDS_SHA256 = "2f5eed53a4727b4bf8880d8f3f199efc90e58503646d9ff8eff3a2ed3b24dbda"
WORD_BITS = 11


class WordListDamaged(LocalFault):
    """The installed word list is not that of BIP-39."""

    code = "word-list-damaged"
    text = "the word list of this installation is damaged"
    advice = "Install chaind again: other words would make another wallet."
    exit_code = 78  # EX_CONFIG


class WordsInvalid(Malformed):
    """Words that are no mnemonic. The error never repeats them: they may be nearly right."""

    code = "words-invalid"
    text = "these words are no BIP-39 mnemonic: {reason}"
    advice = "Compare them with what you wrote down, word by word and in order."


@cache
def word_list() -> tuple[str, ...]:
    """The 2048 English words in order. Raises `WordListDamaged`."""
    data = files("chaind.wallet").joinpath("english.txt").read_bytes()
    if sha256(data).hex() != WORDS_SHA256:
        raise WordListDamaged
    return tuple(data.decode("ascii").split())


@cache
def _places() -> dict[str, int]:
    """Places of whole words and of their first four letters."""
    words = word_list()
    return {form: place for place, word in enumerate(words) for form in (word, word[:4])}


def mnemonic_from_entropy(entropy: bytes) -> str:
    """Words of 16, 20, 24, 28 or 32 bytes, apart by single blanks."""
    bits = len(entropy) * 8
    assert bits * 33 // 32 in {count * WORD_BITS for count in MNEMONIC_WORDS}
    checksum_bits = bits // 32
    number = int.from_bytes(entropy, "big") << checksum_bits
    number |= sha256(entropy)[0] >> 8 - checksum_bits
    words, shift = word_list(), bits + checksum_bits
    chosen = []
    while shift:
        shift -= WORD_BITS
        chosen.append(words[number >> shift & (1 << WORD_BITS) - 1])
    return " ".join(chosen)


def entropy_bytes(word_count: int) -> int:
    """How many random bytes make a mnemonic of so many words."""
    assert word_count in MNEMONIC_WORDS
    return word_count * WORD_BITS * 32 // 33 // 8


def read_mnemonic(text: str) -> str:
    """The words in their canonical form, whatever their case and spacing. Raises `WordsInvalid`.

    Words may be cut to their first four letters, which are enough to tell them apart.
    """
    given = unicodedata.normalize("NFKD", text).lower().split()
    if len(given) not in MNEMONIC_WORDS:
        raise WordsInvalid(reason=f"there are {len(given)}, not 12, 15, 18, 21 or 24")
    places = _places()
    number = 0
    for position, word in enumerate(given, start=1):
        if word not in places:
            raise WordsInvalid(reason=f"word {position} is not in the English list")
        number = number << WORD_BITS | places[word]
    checksum_bits = len(given) * WORD_BITS // 33
    size = entropy_bytes(len(given))
    canonical = mnemonic_from_entropy((number >> checksum_bits).to_bytes(size, "big"))
    if [places[word] for word in canonical.split()] != [places[word] for word in given]:
        raise WordsInvalid(reason="the checksum does not match")
    return canonical
