"""Payment URIs: what a payer has to know, in one line that can be a link or a QR code.

    chaind:ADDRESS?amount=12.5&asset=COIN&memo=invoice%3AID&chain=PREFIX&expires_ms=MS&note=TEXT

Shaped as BIP-21. `chain` is the 8-byte prefix of the genesis hash in hex, so that nobody pays on
another chain. Whoever reads one pays what it says: a field that is unknown, stands twice or is
missing is refused, and `note` alone may be left out.
"""

import re
from typing import NamedTuple
from urllib.parse import quote, unquote_to_bytes, urlencode

from chaind.primitives.errors import Malformed

SCHEME = "chaind"
URI_CHARS_MAX = 8_192  # a note of 500 characters in percent-encoding, and all the rest
_KNOWN = ("amount", "asset", "memo", "chain", "expires_ms", "note")
_PERCENT = re.compile(r"%(?![0-9A-Fa-f]{2})")
_CHAIN = re.compile("[0-9a-f]{16}")
_TIME = re.compile("[1-9][0-9]{0,14}")


class PaymentUriInvalid(Malformed):
    """A text that is no payment URI, or that does not say all of one."""

    code = "payment-uri-invalid"
    text = "the payment URI is refused: {reason}"
    advice = "Copy it whole and in quotes, as its maker's node gave it."


class PaymentUri(NamedTuple):
    """Its parts. Amount and address are texts still; `chain` is hex; `expires_ms` chain time."""

    address: str
    amount: str
    asset: str
    memo: str
    chain: str
    expires_ms: int
    note: str = ""


def format_uri(uri: PaymentUri) -> str:
    """The URI of its parts."""
    fields = {name: getattr(uri, name) for name in _KNOWN if getattr(uri, name)}
    return f"{SCHEME}:{uri.address}?{urlencode(fields, quote_via=quote)}"


def parse_uri(text: str) -> PaymentUri:
    """The parts of a URI. Raises `PaymentUriInvalid`."""
    if len(text) > URI_CHARS_MAX:
        raise PaymentUriInvalid(reason=f"it is longer than {URI_CHARS_MAX} characters")
    scheme, colon, rest = text.partition(":")
    address, mark, query = rest.partition("?")
    if not colon or scheme.lower() != SCHEME:  # RFC 3986: schemes have no case
        raise PaymentUriInvalid(reason=f"it does not begin with {SCHEME}:")
    if not address or not mark:
        raise PaymentUriInvalid(reason="it names no address, or nothing else")
    fields: dict[str, str] = {}
    for pair in query.split("&"):
        name, equals, value = pair.partition("=")
        if name not in _KNOWN or not equals:
            raise PaymentUriInvalid(reason=f"{name[:40]!r} is none of its fields")
        if name in fields:
            raise PaymentUriInvalid(reason=f"{name} stands twice")
        fields[name] = _decoded(name, value)
    missing = [name for name in _KNOWN if name != "note" and not fields.get(name)]
    if missing:
        raise PaymentUriInvalid(reason=f"it does not say {', '.join(missing)}")
    if not _CHAIN.fullmatch(fields["chain"]):
        raise PaymentUriInvalid(reason="chain is not 16 hex digits")
    if not _TIME.fullmatch(fields["expires_ms"]):
        raise PaymentUriInvalid(reason="expires_ms is no time")
    return PaymentUri(
        address=_decoded("the address", address),
        amount=fields["amount"],
        asset=fields["asset"],
        memo=fields["memo"],
        chain=fields["chain"],
        expires_ms=int(fields["expires_ms"]),
        note=fields.get("note", ""),
    )


def _decoded(name: str, value: str) -> str:
    if _PERCENT.search(value):
        raise PaymentUriInvalid(reason=f"{name} has a percent sign that escapes nothing")
    try:
        return unquote_to_bytes(value).decode("utf-8")
    except UnicodeDecodeError:
        raise PaymentUriInvalid(reason=f"{name} is not UTF-8") from None
