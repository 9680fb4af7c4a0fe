"""Wallet import format (WIF): a secret key as Base58Check text, as Bitcoin's tools write it.

The version byte is 128 more than that of the chain's P2PKH addresses, as on Bitcoin's networks and
those that follow them. A byte 1 at the end says that the public key is compressed.
"""

from chaind.primitives.address import (
    AddressFormat,
    AddressInvalid,
    base58check_decode,
    base58check_encode,
)
from chaind.primitives.errors import Malformed
from chaind.primitives.keys import SECRET_KEY_BYTES, BadSecretKey, SecretKey

_COMPRESSED = b"\1"


class WifInvalid(Malformed):
    """Not a key in WIF. The error never repeats the text: it may be nearly right."""

    code = "wif-invalid"
    text = "not a secret key in wallet import format: {reason}"
    advice = "Give it as `chaind wallet export` prints it."


def wif_version(addresses: AddressFormat) -> int:
    """The version byte of a chain's secret keys."""
    return addresses.p2pkh_version + 0x80 & 0xFF


def encode_wif(key: SecretKey, version: int) -> str:
    """The text of a key whose public key is compressed."""
    return base58check_encode(bytes([version]) + key.reveal() + _COMPRESSED)


def decode_wif(text: str, version: int) -> SecretKey:
    """The key of a WIF text. Raises `WifInvalid`."""
    try:
        payload = base58check_decode(text)
    except AddressInvalid:
        raise WifInvalid(reason="a character is wrong or missing") from None
    if payload[:1] != bytes([version]):
        raise WifInvalid(reason=f"version byte {payload[0]} of another network, not {version}")
    if len(payload) == 1 + SECRET_KEY_BYTES:
        raise WifInvalid(reason="it is for an uncompressed public key, which no address has here")
    if len(payload) != 2 + SECRET_KEY_BYTES or payload[-1:] != _COMPRESSED:
        raise WifInvalid(reason="wrong length")
    try:
        return SecretKey(payload[1:-1])
    except BadSecretKey:
        raise WifInvalid(reason="its number is no key of the curve") from None
