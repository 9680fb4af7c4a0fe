"""Payment URIs: read back as they were written, and refused where they leave anything open."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chaind.wallet.payment_uri import PaymentUri, PaymentUriInvalid, format_uri, parse_uri

GOOD = "chaind:chd1qx?amount=12.5&asset=COIN&memo=invoice%3A00&chain=0123456789abcdef&expires_ms=9"


def test_every_part_is_read() -> None:
    assert parse_uri(GOOD + "&note=two%20chairs%20%26%20a%20t%C3%A4ble") == PaymentUri(
        address="chd1qx",
        amount="12.5",
        asset="COIN",
        memo="invoice:00",
        chain="0123456789abcdef",
        expires_ms=9,
        note="two chairs & a täble",
    )
    assert parse_uri(GOOD.replace("chaind:", "CHAIND:")) == parse_uri(GOOD)


@pytest.mark.parametrize(
    ("uri", "words"),
    [
        ("", "does not begin with chaind:"),
        ("chd1qx", "does not begin with chaind:"),
        (GOOD.replace("chaind", "bitcoin"), "does not begin with chaind:"),
        ("chaind:chd1qx", "names no address, or nothing else"),
        (GOOD.replace("chd1qx", ""), "names no address, or nothing else"),
        (GOOD + "&req-more=1", "'req-more' is none of its fields"),
        (GOOD + "&", "'' is none of its fields"),
        (GOOD + "&note", "'note' is none of its fields"),
        (GOOD + "&amount=1", "amount stands twice"),
        (GOOD.replace("amount=12.5&", ""), "does not say amount"),
        (GOOD.replace("12.5", ""), "does not say amount"),
        (GOOD.replace("asset=COIN&", "").replace("&expires_ms=9", ""), "not say asset, expires_ms"),
        (GOOD.replace("abcdef", "ABCDEF"), "chain is not 16 hex digits"),
        (GOOD.replace("abcdef", "abcde"), "chain is not 16 hex digits"),
        (GOOD.replace("=9", "=0"), "expires_ms is no time"),
        (GOOD.replace("=9", "=1e3"), "expires_ms is no time"),
        (GOOD.replace("=9", "=" + "9" * 16), "expires_ms is no time"),
        (GOOD + "&note=100%", "note has a percent sign"),
        (GOOD + "&note=%zz", "note has a percent sign"),
        (GOOD + "&note=%ff", "note is not UTF-8"),
        (GOOD + "&note=" + "x" * 8_192, "longer than"),
    ],
)
def test_what_leaves_anything_open_is_refused(uri: str, words: str) -> None:
    with pytest.raises(PaymentUriInvalid) as caught:
        parse_uri(uri)
    assert words in str(caught.value)


texts = st.text(min_size=1, max_size=40)


@given(
    st.builds(
        PaymentUri,
        address=st.from_regex("[a-z0-9]{1,60}", fullmatch=True),
        amount=texts,
        asset=texts,
        memo=texts,
        chain=st.from_regex("[0-9a-f]{16}", fullmatch=True),
        expires_ms=st.integers(1, 10**15 - 1),
        note=st.text(max_size=100),
    )
)
def test_what_is_written_is_read_back(uri: PaymentUri) -> None:
    assert parse_uri(format_uri(uri)) == uri
