"""The signature of a webhook delivery, for nodes that make it and receivers that check it.

    X-Chaind-Signature: t=1700000000000,v1=<hex of HMAC-SHA256>

The code is over `t`, a full stop, and the body as it came, with the subscription's secret in UTF-8
as key; `t` is when it was sent, in ms since the Unix epoch. A receiver that refuses old times
cannot be fed a recorded delivery again; one that keeps ids of `X-Chaind-Event-Id` counts nothing
twice, since deliveries come at least once.
"""

import hashlib
import hmac
import re

from chaind.primitives.errors import NotAllowed

SIGNATURE_HEADER = "X-Chaind-Signature"
EVENT_ID_HEADER = "X-Chaind-Event-Id"
TOLERANCE_MS = 300_000  # clocks that differ, and a slow way
_HEADER = re.compile(r"t=([0-9]{1,15}),v1=([0-9a-f]{64})")


class SignatureInvalid(NotAllowed):
    """A delivery that the owner of the secret did not make, or made at another time."""

    code = "signature-invalid"
    text = "the delivery's signature is refused: {reason}"
    advice = "Compare the secret with that of the subscription, and the clocks of both machines."


def sign_delivery(secret: str, body: bytes, time_ms: int) -> str:
    """The header's value."""
    return f"t={time_ms},v1={_code(secret, body, str(time_ms))}"


def check_delivery(
    secret: str, header: str, body: bytes, now_ms: int, tolerance_ms: int = TOLERANCE_MS
) -> None:
    """Raise `SignatureInvalid` unless the header's value is that of this body, about now."""
    found = _HEADER.fullmatch(header)
    if found is None:
        raise SignatureInvalid(reason=f"no {SIGNATURE_HEADER} of the form t=…,v1=…")
    if not hmac.compare_digest(found[2], _code(secret, body, found[1])):
        raise SignatureInvalid(reason="it is not of this body and secret")
    if abs(now_ms - int(found[1])) > tolerance_ms:
        raise SignatureInvalid(reason=f"its time is more than {tolerance_ms} ms away from now")


def _code(secret: str, body: bytes, time_text: str) -> str:
    message = time_text.encode() + b"." + body
    return hmac.new(secret.encode(), message, hashlib.sha256).hexdigest()
