"""BIP-39 seeds and BIP-32 secret derivation, and the development accounts made from them.

The development mnemonic is public: whoever can read this file can spend from its accounts.
`development_key` is therefore for chains whose genesis says dev, and callers check that.
"""

import hashlib
import hmac
import unicodedata

from chaind.primitives.errors import Malformed
from chaind.primitives.keys import CURVE_ORDER, SecretKey

DEVELOPMENT_MNEMONIC = "test test test test test test test test test test test junk"
DEVELOPMENT_NAMES = (
    "alice",
    "bob",
    "carol",
    "dave",
    "erin",
    "frank",
    "grace",
    "heidi",
    "ivan",
    "judy",
)
FAUCET_ACCOUNT = 1_000_000  # an account number that no person is given
MNEMONIC_WORDS = (12, 15, 18, 21, 24)
HARDENED = 1 << 31
_CHILD_DIGITS_MAX = 10  # digits of 2³¹


class PathInvalid(Malformed):
    """Not a BIP-32 path."""

    code = "path-invalid"
    text = "derivation path {path!r} is refused"
    advice = "Write it like m/44'/1'/0'/0/0."


class MnemonicInvalid(Malformed):
    """Not the shape of a BIP-39 mnemonic. Never shows a word of it."""

    code = "mnemonic-invalid"
    text = "the mnemonic has {count} words: 12, 15, 18, 21 or 24 are needed"
    advice = "Compare it with the copy on paper, in one line or several, its words apart by blanks."


def check_mnemonic(mnemonic: str) -> str:
    """The words one blank apart, when there are as many as BIP-39 allows. Which words they may be
    depends on a language's list, and is not looked at. Raises `MnemonicInvalid`."""
    words = mnemonic.split()
    if len(words) not in MNEMONIC_WORDS:
        raise MnemonicInvalid(count=len(words))
    return " ".join(words)


def seed_from_mnemonic(mnemonic: str, passphrase: str = "") -> bytes:
    """BIP-39: PBKDF2-HMAC-SHA512, 2048 rounds, over NFKD text. 64 bytes."""
    words = unicodedata.normalize("NFKD", mnemonic).encode()
    salt = unicodedata.normalize("NFKD", "mnemonic" + passphrase).encode()
    return hashlib.pbkdf2_hmac("sha512", words, salt, 2048)


def parse_path(path: str) -> tuple[int, ...]:
    """Child numbers of "m/44'/1'/0'/0/0"; an apostrophe or h hardens. Raises `PathInvalid`."""
    head, *parts = path.split("/")
    if head != "m":
        raise PathInvalid(path=path)
    numbers = []
    for part in parts:
        hardened = part[-1:] in ("'", "h")
        digits = part[:-1] if hardened else part
        plain = digits.isascii() and digits.isdigit() and len(digits) <= _CHILD_DIGITS_MAX
        if not plain or int(digits) >= HARDENED:
            raise PathInvalid(path=path)
        numbers.append(int(digits) + (HARDENED if hardened else 0))
    return tuple(numbers)


def derive(seed: bytes, path: str) -> SecretKey:
    """BIP-32 private derivation along `path` from a seed."""
    digest = hmac.digest(b"Bitcoin seed", seed, "sha512")
    secret, chain_code = digest[:32], digest[32:]
    for number in parse_path(path):
        if number >= HARDENED:
            data = b"\0" + secret + number.to_bytes(4, "big")
        else:
            data = SecretKey(secret).public + number.to_bytes(4, "big")
        digest = hmac.digest(chain_code, data, "sha512")
        scalar = (int.from_bytes(digest[:32], "big") + int.from_bytes(secret, "big")) % CURVE_ORDER
        secret, chain_code = scalar.to_bytes(32, "big"), digest[32:]
    return SecretKey(secret)


def development_key(index: int) -> SecretKey:
    """Key number `index` (from 0) of the development mnemonic, path m/44'/1'/0'/0/index."""
    return derive(seed_from_mnemonic(DEVELOPMENT_MNEMONIC), f"m/44'/1'/0'/0/{index}")


def faucet_key() -> SecretKey:
    """Key of the faucet of development chains."""
    return derive(seed_from_mnemonic(DEVELOPMENT_MNEMONIC), f"m/44'/1'/{FAUCET_ACCOUNT}'/0/0")
