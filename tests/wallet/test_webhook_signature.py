"""The signature of a delivery: frozen, as others make it, and refused when anything moves."""

import pytest
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.hmac import HMAC

from chaind.wallet.webhook_signature import SignatureInvalid, check_delivery, sign_delivery

SECRET, BODY, TIME_MS = "a secret of 16 or more", b'{"event":1}', 1_700_000_000_000
HEADER = "t=1700000000000,v1="
FROZEN = "d94d0e437a8b7de0b1c38f34ac956d6557bb00e745044b17cd89973cfe85712b"


def test_it_is_hmac_sha256_over_time_and_body() -> None:
    code = HMAC(SECRET.encode(), SHA256())
    code.update(b"1700000000000." + BODY)
    assert code.finalize().hex() == FROZEN
    assert sign_delivery(SECRET, BODY, TIME_MS) == HEADER + FROZEN


def test_the_right_one_is_taken_within_the_tolerance() -> None:
    for now_ms in (TIME_MS - 300_000, TIME_MS, TIME_MS + 300_000):
        check_delivery(SECRET, HEADER + FROZEN, BODY, now_ms)


@pytest.mark.parametrize(
    ("secret", "header", "body", "now_ms"),
    [
        (SECRET + "x", HEADER + FROZEN, BODY, TIME_MS),
        (SECRET, HEADER + FROZEN, BODY + b" ", TIME_MS),
        (SECRET, HEADER + FROZEN[:-1] + "0", BODY, TIME_MS),
        (SECRET, "t=1700000000001,v1=" + FROZEN, BODY, TIME_MS),
        (SECRET, HEADER + FROZEN, BODY, TIME_MS + 300_001),
        (SECRET, HEADER + FROZEN, BODY, TIME_MS - 300_001),
        (SECRET, HEADER + FROZEN.upper(), BODY, TIME_MS),
        (SECRET, "v1=" + FROZEN, BODY, TIME_MS),
        (SECRET, "", BODY, TIME_MS),
    ],
)
def test_anything_else_is_refused(secret: str, header: str, body: bytes, now_ms: int) -> None:
    with pytest.raises(SignatureInvalid) as caught:
        check_delivery(secret, header, body, now_ms)
    assert secret not in str(caught.value)
