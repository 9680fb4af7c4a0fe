"""BIP-39 seeds, BIP-32 keys and their BIP-44 paths, and the development accounts made from them.

Law: what derives secrets is `ExtendedKey`; what a watcher may hold is `ExtendedPublic`, from which
no secret follows. (With it *and* one secret of its plain children the parent's secret follows:
BIP-32, "Implications".)

The development mnemonic is public: whoever can read this file can spend from its accounts.
`development_key` is therefore for chains whose genesis says dev, and callers check that.
"""

import hashlib
import hmac
import unicodedata
from dataclasses import dataclass

from coincurve import PublicKey

from chaind.primitives.address import AddressInvalid, base58check_decode, base58check_encode
from chaind.primitives.errors import Malformed
from chaind.primitives.hashes import hash160
from chaind.primitives.keys import CURVE_ORDER, BadPublicKey, SecretKey, check_public_key

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
TRADER_NAMES = ("trader1", "trader2")  # whom a development chain gives what its markets trade
FIXED_NAMES = (*DEVELOPMENT_NAMES, *TRADER_NAMES)  # numbered from 1 in this order
FAUCET_ACCOUNT = 1_000_000  # an account number that no person is given
EXCHANGE_ACCOUNT = FAUCET_ACCOUNT + 1
MNEMONIC_WORDS = (12, 15, 18, 21, 24)  # 128 to 256 bits of entropy in steps of 32
HARDENED = 1 << 31
XPUB_VERSION = bytes.fromhex("0488b21e")  # BIP-32, main net: what every tool writes as "xpub…"
COIN_TYPE = 1  # SLIP-44: the type shared by chains that are not registered there
CHAINS = (0, 1)  # BIP-44: addresses given to others, addresses for one's own change
_CHILD_DIGITS_MAX = 10  # digits of 2³¹
_XPUB_BYTES = 78


class PathInvalid(Malformed):
    """Not a BIP-32 path."""

    code = "path-invalid"
    text = "derivation path {path!r} is refused"
    advice = "Write it like m/44'/1'/0'/0/0."


class ExtendedKeyInvalid(Malformed):
    """Not an extended public key."""

    code = "extended-key-invalid"
    text = "not an extended public key: {reason}"
    advice = 'Give the one that begins with "xpub", as `chaind wallet export --xpub` prints it.'


class HardenedFromPublic(Malformed):
    """A child that only the secret key has."""

    code = "hardened-from-public"
    text = "hardened child {number} cannot be derived from a public key"
    advice = "Derive it where the secret is, and export the extended public key below it."


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


def account_path(number: int) -> str:
    """BIP-44 path of an account: m/44'/1'/number'."""
    return f"m/44'/{COIN_TYPE}'/{number}'"


@dataclass(frozen=True, slots=True, kw_only=True)
class ExtendedPublic:
    """A public key with what derives its plain children. `parent` is a fingerprint of 4 bytes."""

    public: bytes
    chain_code: bytes
    depth: int = 0
    parent: bytes = bytes(4)
    number: int = 0

    def child(self, number: int) -> "ExtendedPublic":
        """BIP-32 CKDpub. Raises `HardenedFromPublic`."""
        if number >= HARDENED:
            raise HardenedFromPublic(number=number - HARDENED)
        data = self.public + number.to_bytes(4, "big")
        digest = hmac.digest(self.chain_code, data, "sha512")
        return ExtendedPublic(
            public=PublicKey(self.public).add(digest[:32]).format(compressed=True),
            chain_code=digest[32:],
            depth=self.depth + 1,
            parent=hash160(self.public)[:4],
            number=number,
        )

    def __str__(self) -> str:
        """BIP-32 serialisation: "xpub…"."""
        place = bytes([self.depth]) + self.parent + self.number.to_bytes(4, "big")
        return base58check_encode(XPUB_VERSION + place + self.chain_code + self.public)

    @classmethod
    def parse(cls, text: str) -> "ExtendedPublic":
        """The key that `str` writes. Raises `ExtendedKeyInvalid`, which does not repeat it."""
        try:
            data = base58check_decode(text)
        except AddressInvalid as error:
            raise ExtendedKeyInvalid(reason=error.values["reason"]) from None
        if len(data) != _XPUB_BYTES or data[:4] != XPUB_VERSION:
            raise ExtendedKeyInvalid(reason="another kind of key, or of another network")
        depth, parent, number = data[4], data[5:9], int.from_bytes(data[9:13], "big")
        if depth == 0 and (any(parent) or number):
            raise ExtendedKeyInvalid(reason="a root with a parent")
        try:
            check_public_key(data[45:])
        except BadPublicKey as error:
            raise ExtendedKeyInvalid(reason=str(error)) from None
        return cls(
            public=data[45:], chain_code=data[13:45], depth=depth, parent=parent, number=number
        )


@dataclass(frozen=True, slots=True, kw_only=True, repr=False)
class ExtendedKey:
    """A secret key with what derives its children. Shows nothing of either."""

    key: SecretKey
    chain_code: bytes
    depth: int = 0
    parent: bytes = bytes(4)
    number: int = 0

    @classmethod
    def from_seed(cls, seed: bytes) -> "ExtendedKey":
        """BIP-32 master key of a seed."""
        digest = hmac.digest(b"Bitcoin seed", seed, "sha512")
        return cls(key=SecretKey(digest[:32]), chain_code=digest[32:])

    def child(self, number: int) -> "ExtendedKey":
        """BIP-32 CKDpriv."""
        secret, public = self.key.reveal(), self.key.public
        data = (b"\0" + secret if number >= HARDENED else public) + number.to_bytes(4, "big")
        digest = hmac.digest(self.chain_code, data, "sha512")
        scalar = (int.from_bytes(digest[:32], "big") + int.from_bytes(secret, "big")) % CURVE_ORDER
        return ExtendedKey(
            key=SecretKey(scalar.to_bytes(32, "big")),
            chain_code=digest[32:],
            depth=self.depth + 1,
            parent=hash160(public)[:4],
            number=number,
        )

    def derive(self, path: str) -> "ExtendedKey":
        """The key at the end of a path that starts here. Raises `PathInvalid`."""
        found = self
        for number in parse_path(path):
            found = found.child(number)
        return found

    def neuter(self) -> ExtendedPublic:
        """What a watcher needs."""
        return ExtendedPublic(
            public=self.key.public,
            chain_code=self.chain_code,
            depth=self.depth,
            parent=self.parent,
            number=self.number,
        )

    def __repr__(self) -> str:
        return f"ExtendedKey(public={self.key.public.hex()}, depth={self.depth})"


def derive(seed: bytes, path: str) -> SecretKey:
    """BIP-32 private derivation along `path` from a seed."""
    return ExtendedKey.from_seed(seed).derive(path).key


def development_key(index: int) -> SecretKey:
    """Key number `index` (from 0) of the development mnemonic, path m/44'/1'/0'/0/index."""
    return derive(seed_from_mnemonic(DEVELOPMENT_MNEMONIC), f"m/44'/1'/0'/0/{index}")


def exchange_key() -> SecretKey:
    """Key of the account that issues the assets of a development chain, and is paid the fees of
    its markets."""
    return derive(seed_from_mnemonic(DEVELOPMENT_MNEMONIC), f"m/44'/1'/{EXCHANGE_ACCOUNT}'/0/0")


def faucet_key() -> SecretKey:
    """Key of the faucet of development chains."""
    return derive(seed_from_mnemonic(DEVELOPMENT_MNEMONIC), f"m/44'/1'/{FAUCET_ACCOUNT}'/0/0")
