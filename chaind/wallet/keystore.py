"""The keystore file: what a wallet knows, its secrets sealed under a password.

Version 1, integers big-endian:

    magic     8   "CHAINDKS"
    version   1   1
    cost      3   scrypt (RFC 7914): log₂ N, r, p
    salt     16
    check    16   bytes 32…47 of scrypt's output: tells a wrong password from a damaged file
    nonce    12
    size      4   of the open part
    open          MessagePack of `OpenPart`: what anybody may know who watches the chain
    sealed        ChaCha20-Poly1305 (RFC 8439) of MessagePack of `SealedPart`, tag last; the key
                  is bytes 0…31 of scrypt's output, the associated data all that stands before
    digest    8   first bytes of sha256 of all that stands before

The digest finds damage without the password, so that each fault has an error of its own. It keeps
out nobody: that the file was not *forged* is known once the password has opened it. Whatever
spends, adds or exports therefore opens; addresses and balances are read from the open part alone.

Salt and nonce are new with every sealing. Nothing here touches a disk or draws by itself.
"""

import struct
import unicodedata
from collections.abc import Callable
from typing import NamedTuple

import msgspec
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import ChaCha20Poly1305
from cryptography.hazmat.primitives.kdf.scrypt import Scrypt

from chaind.primitives.address import AddressFormat
from chaind.primitives.codec import Decoder, NonCanonical, Undecodable, encode
from chaind.primitives.errors import LocalFault
from chaind.primitives.hashes import sha256
from chaind.wallet.secret import Secret

MAGIC = b"CHAINDKS"
VERSION = 1
SALT_BYTES = 16
CHECK_BYTES = 16
NONCE_BYTES = 12
DIGEST_BYTES = 8
KEYSTORE_BYTES_MAX = 1 << 20  # thousands of imported keys
LOG2_N_FLOOR = 17  # of what people's passwords protect: 128 MiB and some 0.4 s for each guess
LOG2_N_MAX = 22  # 4 GiB: more is no file of ours, and would only exhaust memory
_R, _P = 8, 1
_HEAD = struct.Struct(">8s4B16s16s12sI")


class KeystoreUnknown(LocalFault):
    """Another kind of file, or a newer version."""

    code = "keystore-unknown"
    text = "{path} is no keystore that this version reads: {reason}"
    advice = "Name a file that `chaind wallet create` made, or use a newer chaind."
    exit_code = 65  # EX_DATAERR


class KeystoreDamaged(LocalFault):
    """Bytes have changed since the file was written."""

    code = "keystore-damaged"
    text = "the keystore {path} is damaged: {reason}"
    advice = "Use a copy of the file, or `chaind wallet restore` with the words you wrote down."
    exit_code = 65  # EX_DATAERR


class PasswordWrong(LocalFault):
    """The file is whole and the password is another one."""

    code = "password-wrong"
    text = "this password does not open {path}"
    advice = (
        "Try again. Without it the keys come back only from what is kept elsewhere: the words of a "
        "wallet, or keys that were exported."
    )
    exit_code = 77  # EX_NOPERM


class Account(msgspec.Struct, frozen=True, array_like=True, forbid_unknown_fields=True):
    """An account in the open part.

    With `xpub` its addresses are the children 0/i and 1/i of that key, else `address` is its only
    one. `path` leads from the seed to it; "" where it does not come from the seed. `keyed` says
    whether the sealed part holds a key for it, `path` or not.
    """

    name: str
    path: str
    xpub: str
    address: bytes
    keyed: bool


class OpenPart(msgspec.Struct, frozen=True, array_like=True, forbid_unknown_fields=True):
    """What may be read without the password: how the chain writes addresses, and the accounts."""

    hrp: str
    p2pkh_version: int
    accounts: tuple[Account, ...]

    @property
    def addresses(self) -> AddressFormat:
        """How the wallet's chain writes addresses."""
        return AddressFormat(hrp=self.hrp, p2pkh_version=self.p2pkh_version)


class SealedPart(msgspec.Struct, frozen=True, array_like=True, forbid_unknown_fields=True):
    """The secrets: the words and the 64-byte seed made of them (b"" for a wallet without), and
    the imported keys by name of account. A BIP-39 passphrase is in the seed and nowhere else."""

    mnemonic: str
    seed: bytes
    keys: dict[str, bytes]

    def __repr__(self) -> str:
        return "SealedPart(…)"


class Contents(NamedTuple):
    """Both parts."""

    open: OpenPart
    sealed: SealedPart


_open_decoder: Decoder[OpenPart] = Decoder("keystore", OpenPart)
_sealed_decoder: Decoder[SealedPart] = Decoder("keystore", SealedPart)


def seal(
    contents: Contents, password: Secret[str], *, log2_n: int, entropy: Callable[[int], bytes]
) -> bytes:
    """The file. `log2_n` is the cost of a guess, `LOG2_N_FLOOR` or more for people's files."""
    assert 1 <= log2_n <= LOG2_N_MAX
    salt, nonce = entropy(SALT_BYTES), entropy(NONCE_BYTES)
    key, check = _stretch(password, salt, log2_n, _R, _P)
    public = encode(contents.open)
    head = _HEAD.pack(MAGIC, VERSION, log2_n, _R, _P, salt, check, nonce, len(public)) + public
    body = head + ChaCha20Poly1305(key).encrypt(nonce, encode(contents.sealed), head)
    return body + sha256(body)[:DIGEST_BYTES]


def read_open(data: bytes, path: object) -> OpenPart:
    """The open part of a file, not proven to be its owner's. `path` is for errors.

    Raises `KeystoreUnknown` or `KeystoreDamaged`.
    """
    return _Parsed.of(data, path).open


def cost_of(data: bytes, path: object) -> int:
    """log₂ N of a file. Raises `KeystoreUnknown` or `KeystoreDamaged`."""
    return _Parsed.of(data, path).log2_n


def unseal(data: bytes, password: Secret[str], path: object) -> Contents:
    """Everything in a file. `path` is for errors.

    Raises `KeystoreUnknown`, `KeystoreDamaged` or `PasswordWrong`.
    """
    parsed = _Parsed.of(data, path)
    key, check = _stretch(password, parsed.salt, parsed.log2_n, parsed.r, parsed.p)
    if check != parsed.check:
        raise PasswordWrong(path=path)
    try:
        plain = ChaCha20Poly1305(key).decrypt(parsed.nonce, parsed.sealed, parsed.head)
        return Contents(parsed.open, _sealed_decoder.decode(plain))
    except (InvalidTag, Undecodable, NonCanonical):
        raise KeystoreDamaged(path=path, reason="it was changed by someone") from None


class _Parsed(NamedTuple):
    """A file cut into its parts, before any secret is known."""

    log2_n: int
    r: int
    p: int
    salt: bytes
    check: bytes
    nonce: bytes
    head: bytes
    open: OpenPart
    sealed: bytes

    @classmethod
    def of(cls, data: bytes, path: object) -> "_Parsed":
        if data[: len(MAGIC)] != MAGIC:
            raise KeystoreUnknown(path=path, reason="it does not begin like one")
        body = data[:-DIGEST_BYTES]
        if len(body) < _HEAD.size or sha256(body)[:DIGEST_BYTES] != data[-DIGEST_BYTES:]:
            raise KeystoreDamaged(path=path, reason="its digest does not match")
        _, version, log2_n, r, p, salt, check, nonce, size = _HEAD.unpack_from(body)
        if version != VERSION:
            raise KeystoreUnknown(path=path, reason=f"it is of version {version}")
        if not 1 <= log2_n <= LOG2_N_MAX or (r, p) != (_R, _P):
            raise KeystoreUnknown(path=path, reason=f"scrypt of 2^{log2_n}, {r}, {p}")
        end = _HEAD.size + size
        try:
            public = _open_decoder.decode(body[_HEAD.size : end])
        except (Undecodable, NonCanonical):
            raise KeystoreDamaged(path=path, reason="its open part does not decode") from None
        return cls(log2_n, r, p, salt, check, nonce, body[:end], public, body[end:])


def _stretch(
    password: Secret[str], salt: bytes, log2_n: int, r: int, p: int
) -> tuple[bytes, bytes]:
    """(key, check) of a password. Other forms of the same characters are the same password."""
    text = unicodedata.normalize("NFKD", password.reveal()).encode()
    output = Scrypt(salt=salt, length=32 + CHECK_BYTES, n=1 << log2_n, r=r, p=p).derive(text)
    return output[:32], output[32:]
