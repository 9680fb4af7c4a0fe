"""Addresses: 20 bytes name a public key (HASH160), 32 bytes name a policy (SHA-256).

Inside, an address is those bytes and its length is its kind. Outside it is Bech32 witness version
0 (BIP-173) for both kinds, and Base58Check P2PKH for the first; version byte and human-readable
part come from the genesis. Checksums are checked on input, and Bech32 is shown.
"""

from collections.abc import Iterable

import msgspec

from chaind.primitives.errors import Malformed
from chaind.primitives.hashes import hash160, sha256, sha256d

KEY_ADDRESS_BYTES = 20
POLICY_ADDRESS_BYTES = 32
_TEXT_MIN = 14  # the shortest Bech32 of the shortest human-readable part is longer
_TEXT_MAX = 90  # BIP-173: longer strings lose the checksum's guarantees
HRP_CHARS_MAX = 30  # what 90 leave beside "1", the version, a 32-byte program and the checksum
_P2PKH_CHARS_MAX = 35  # 25 bytes in base 58; the shortest Bech32 address has 41 characters

_BASE58 = "123456789ABCDEFGHJKLMNPQRSTUVWXYZabcdefghijkmnopqrstuvwxyz"
_BASE58_VALUES = {char: value for value, char in enumerate(_BASE58)}
_BECH32 = "qpzry9x8gf2tvdw0s3jn54khce6mua7l"
_BECH32_VALUES = {char: value for value, char in enumerate(_BECH32)}
_BECH32_GENERATOR = (0x3B6A57B2, 0x26508E6D, 0x1EA119FA, 0x3D4233DD, 0x2A1462B3)


class AddressInvalid(Malformed):
    """Text that is no address of this chain."""

    code = "address-invalid"
    text = "{address} is not an address of this chain: {reason}"
    advice = "Use a Bech32 address of this chain, or a Base58Check address of a public key."


class AddressFormat(msgspec.Struct, frozen=True):
    """How a chain writes its addresses: Bech32 part and Base58Check P2PKH version byte."""

    hrp: str
    p2pkh_version: int

    def show(self, address: bytes) -> str:
        """Bech32 v0 of a 20- or 32-byte address."""
        return bech32_encode(self.hrp, address)

    def show_base58(self, address: bytes) -> str:
        """Base58Check P2PKH of a 20-byte address."""
        assert len(address) == KEY_ADDRESS_BYTES
        return base58check_encode(bytes([self.p2pkh_version]) + address)

    def parse(self, text: str) -> bytes:
        """The 20 or 32 bytes that `text` names. Raises `AddressInvalid`."""
        if not isinstance(text, str) or not _TEXT_MIN <= len(text) <= _TEXT_MAX:
            reason = f"an address has {_TEXT_MIN} to {_TEXT_MAX} characters"
            raise AddressInvalid(address=repr(text)[:100], reason=reason)
        if len(text) > _P2PKH_CHARS_MAX:  # Base58 may begin like Bech32, but never is as long
            return bech32_decode(self.hrp, text)
        payload = base58check_decode(text)
        if len(payload) != 1 + KEY_ADDRESS_BYTES or payload[0] != self.p2pkh_version:
            raise AddressInvalid(address=text, reason="version byte of another network or kind")
        return payload[1:]


def key_address(public_key: bytes) -> bytes:
    """Address of a compressed public key: HASH160, 20 bytes."""
    return hash160(public_key)


def policy_address(encoded_policy: bytes) -> bytes:
    """Address of an encoded policy: SHA-256, 32 bytes."""
    return sha256(encoded_policy)


def base58check_encode(payload: bytes) -> str:
    """Base58 of payload ‖ first four bytes of its sha256d; leading zero bytes become '1's."""
    data = payload + sha256d(payload)[:4]
    number = int.from_bytes(data, "big")
    digits: list[str] = []
    while number:
        number, rest = divmod(number, 58)
        digits.append(_BASE58[rest])
    zeros = len(data) - len(data.lstrip(b"\0"))
    return "1" * zeros + "".join(reversed(digits))


def base58check_decode(text: str) -> bytes:
    """Payload of a Base58Check string. Raises `AddressInvalid`."""
    number = 0
    for char in text:
        if char not in _BASE58_VALUES:
            raise AddressInvalid(address=text, reason=f"{char!r} is not a Base58 digit")
        number = number * 58 + _BASE58_VALUES[char]
    zeros = len(text) - len(text.lstrip("1"))
    data = bytes(zeros) + number.to_bytes((number.bit_length() + 7) // 8, "big")
    if len(data) < 5 or sha256d(data[:-4])[:4] != data[-4:]:
        raise AddressInvalid(address=text, reason="checksum does not match")
    return data[:-4]


def _polymod(values: Iterable[int]) -> int:
    check = 1
    for value in values:
        top = check >> 25
        check = (check & 0x1FFFFFF) << 5 ^ value
        for bit, generator in enumerate(_BECH32_GENERATOR):
            if top >> bit & 1:
                check ^= generator
    return check


def _expand(hrp: str) -> list[int]:
    return [ord(char) >> 5 for char in hrp] + [0] + [ord(char) & 31 for char in hrp]


def _regroup(values: Iterable[int], width: int, new_width: int, *, pad: bool) -> list[int] | None:
    """Repack `width`-bit numbers as `new_width`-bit ones; None where padding bits are wrong."""
    pending, bits, output = 0, 0, []
    for value in values:
        pending = pending << width | value
        bits += width
        while bits >= new_width:
            bits -= new_width
            output.append(pending >> bits & (1 << new_width) - 1)
            pending &= (1 << bits) - 1
    if pad:
        if bits:
            output.append(pending << new_width - bits)
        return output
    return None if bits >= width or pending else output


def bech32_encode(hrp: str, program: bytes) -> str:
    """BIP-173 address of a version-0 witness program."""
    data = [0, *(_regroup(program, 8, 5, pad=True) or [])]
    checksum = _polymod([*_expand(hrp), *data, 0, 0, 0, 0, 0, 0]) ^ 1
    data += [checksum >> 5 * (5 - i) & 31 for i in range(6)]
    return hrp + "1" + "".join(_BECH32[value] for value in data)


def bech32_decode(hrp: str, text: str) -> bytes:
    """Program (20 or 32 bytes) of a BIP-173 version-0 address. Raises `AddressInvalid`."""

    def refuse(reason: str) -> AddressInvalid:
        return AddressInvalid(address=text[:100], reason=reason)

    if not text.isascii():  # other alphabets have capitals of our letters: K, the Kelvin sign
        raise refuse("characters outside of ASCII")
    if text.lower() != text and text.upper() != text:
        raise refuse("mixed upper and lower case")
    lowered = text.lower()
    if len(lowered) > _TEXT_MAX or not lowered.startswith(hrp + "1"):
        raise refuse(f"does not begin with {hrp}1")
    try:
        data = [_BECH32_VALUES[char] for char in lowered[len(hrp) + 1 :]]
    except KeyError as error:
        raise refuse(f"{error.args[0]!r} is not a Bech32 digit") from None
    if len(data) < 7 or _polymod([*_expand(hrp), *data]) != 1:
        raise refuse("checksum does not match")
    if data[0] != 0:
        raise refuse(f"witness version {data[0]}, only 0 is known")
    program = _regroup(data[1:-6], 5, 8, pad=False)
    if program is None or len(program) not in (KEY_ADDRESS_BYTES, POLICY_ADDRESS_BYTES):
        raise refuse("program is neither 20 nor 32 bytes")
    return bytes(program)
