"""Payment URIs: what a payer has to know, in one line that can be a link or a QR code.

    chaind:ADDRESS?amount=12.5&asset=COIN&memo=invoice%3AID&chain=PREFIX&expires_ms=MS&note=TEXT

Shaped as BIP-21. `chain` is the 8-byte prefix of the genesis hash in hex, so that nobody pays on
another chain.
"""

from typing import NamedTuple
from urllib.parse import quote, urlencode

SCHEME = "chaind"
_KNOWN = ("amount", "asset", "memo", "chain", "expires_ms", "note")


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
