"""Policies: text, value and bytes say the same, within bounds that are tested at their edges."""

from typing import Any

import msgpack
import pytest
from hypothesis import given
from hypothesis import strategies as st
from primitive_samples import ALICE, BOB, PREIMAGE, SWAP, TIME_MS, sample_key

from chaind.primitives.codec import encode
from chaind.primitives.hashes import sha256
from chaind.primitives.policy import (
    AGE_BLOCKS_MAX,
    CHAIN_TIME_MS_MAX,
    DEPTH_MAX,
    ENCODED_BYTES_MAX,
    After,
    And,
    Multi,
    Older,
    Or,
    Pk,
    Policy,
    PolicyInvalid,
    Sha256,
    Thresh,
    check_policy,
    format_policy,
    parse_policy,
    policy_decoder,
)

KEYS = tuple(sample_key(number).public for number in range(20))
HEX = [key.hex() for key in KEYS]
LOCK = sha256(PREIMAGE).hex()

TEXTS = [
    (f"pk({HEX[0]})", Pk(KEYS[0]), [0, KEYS[0]]),
    (f"multi(1,{HEX[0]})", Multi(1, KEYS[:1]), [1, 1, [KEYS[0]]]),
    (f"multi(2,{','.join(HEX[:3])})", Multi(2, KEYS[:3]), [1, 2, list(KEYS[:3])]),
    (f"after({TIME_MS})", After(TIME_MS), [2, TIME_MS]),
    ("older(144)", Older(144), [3, 144]),
    (f"sha256({LOCK})", Sha256(sha256(PREIMAGE)), [4, sha256(PREIMAGE)]),
    ("and(older(1),older(2))", And(Older(1), Older(2)), [5, [3, 1], [3, 2]]),
    ("or(older(1),older(2))", Or(Older(1), Older(2)), [6, [3, 1], [3, 2]]),
    ("thresh(1,older(1))", Thresh(1, (Older(1),)), [7, 1, [[3, 1]]]),
    (
        f"or(and(pk({HEX[1]}),sha256({LOCK})),and(pk({HEX[0]}),after({TIME_MS})))",
        SWAP,
        [
            6,
            [5, [0, BOB.public], [4, sha256(PREIMAGE)]],
            [5, [0, ALICE.public], [2, TIME_MS]],
        ],
    ),
]


def nested(depth: int) -> Policy:
    """A policy of exactly `depth` levels."""
    policy: Policy = Older(1)
    for _ in range(depth - 1):
        policy = Or(policy, Older(2))
    return policy


@pytest.mark.parametrize(("text", "value", "plain"), TEXTS)
def test_text_value_and_bytes_say_the_same(text: str, value: Policy, plain: list[Any]) -> None:
    assert parse_policy(text) == value
    assert format_policy(value) == text
    assert encode(value) == msgpack.packb(plain)
    assert policy_decoder.decode(msgpack.packb(plain)) == value


def test_spaces_and_capital_digits_are_read() -> None:
    text = f" thresh ( 2 ,\n pk( {HEX[0].upper()} ) , older(7)\t)  "
    assert parse_policy(text) == Thresh(2, (Pk(KEYS[0]), Older(7)))


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("", "a term expected"),
        ("pk", "a term expected"),
        ("pk()", "')' is not hexadecimal"),
        ("pk(02)", "is not a compressed secp256k1 public key"),
        (f"pk({'02' + '00' * 32})", "is not a compressed secp256k1 public key"),
        (f"pk({HEX[0]}", ") expected"),
        (f"pk({HEX[0]}))", "follows the policy"),
        (f"pk({HEX[0]}) pk({HEX[0]})", "follows the policy"),
        (f"pk({HEX[0]},{HEX[1]})", ") expected"),
        (f"PK({HEX[0]})", "a term expected"),
        (f"pkh({HEX[0]})", "'pkh' is not a policy"),
        (f"pk(0x{HEX[0]})", "not hexadecimal"),
        (f"pk({HEX[0][:-1]})", "not hexadecimal"),
        ("after(0)", "out of range"),
        ("after(-1)", "a term expected"),
        ("after(1.5)", ") expected"),
        ("after(ff)", "is not a number"),
        ("after(١)", "a term expected"),
        (f"after({CHAIN_TIME_MS_MAX + 1})", "out of range"),
        ("after(" + "9" * 19 + ")", "out of range"),
        ("after(21700555555000000000)", "is not a number"),  # beyond 64 bits; found by fuzzing
        ("after(" + "9" * 5000 + ")", "is not a number"),
        ("older(0)", "out of range"),
        (f"older({AGE_BLOCKS_MAX + 1})", "out of range"),
        ("sha256(00)", "needs 32 bytes"),
        (f"sha256({LOCK}00)", "needs 32 bytes"),
        ("and(older(1))", ", expected"),
        ("and(older(1),older(2),older(3))", ") expected"),
        ("or(older(1),)", "( expected"),
        ("multi(1)", "1 ≤ m"),
        (f"multi(0,{HEX[0]})", "1 ≤ m"),
        (f"multi(2,{HEX[0]})", "1 ≤ m"),
        (f"multi(1,{HEX[0]},{HEX[0]})", "distinct"),
        (f"multi(1,{','.join(HEX[:17])})", "1 ≤ m"),
        ("thresh(1)", "1 ≤ k"),
        ("thresh(0,older(1))", "1 ≤ k"),
        ("thresh(2,older(1))", "1 ≤ k"),
        (f"thresh(1,{','.join(['older(1)'] * 17)})", "1 ≤ k"),
        ("or(" * 9 + "older(1)", "nested deeper than 8"),
        ("or(" * 5000, "nested deeper than 8"),
        ("(" * 20_000, "text longer than"),
        ("\x00", "a term expected"),
    ],
)
def test_text_that_is_no_policy_is_refused_with_its_reason(text: str, reason: str) -> None:
    with pytest.raises(PolicyInvalid) as caught:
        parse_policy(text)
    assert reason in str(caught.value)
    assert len(str(caught.value)) < 300


@pytest.mark.parametrize(
    "policy",
    [
        nested(DEPTH_MAX),
        Multi(16, KEYS[:16]),
        Thresh(16, tuple(Pk(key) for key in KEYS[:16])),
        Or(Multi(8, KEYS[:8]), Multi(1, KEYS[:8])),  # a key may stand in two places
        After(1),
        After(CHAIN_TIME_MS_MAX),
        Older(AGE_BLOCKS_MAX),
    ],
    ids=lambda policy: type(policy).__name__,
)
def test_the_bounds_themselves_are_allowed(policy: Policy) -> None:
    check_policy(policy)
    assert parse_policy(format_policy(policy)) == policy


@pytest.mark.parametrize(
    ("policy", "reason"),
    [
        (nested(DEPTH_MAX + 1), "nested deeper"),
        (nested(400), "nested deeper"),
        (Or(Multi(8, KEYS[:8]), Multi(9, KEYS[8:17])), "17 keys"),
        (Thresh(1, (Multi(1, KEYS[:16]), Pk(KEYS[16]))), "17 keys"),
        (Multi(-1, KEYS[:1]), "1 ≤ m"),
        (Thresh(-1, (Older(1),)), "1 ≤ k"),
        (Thresh(0, ()), "1 ≤ k"),
        (After(-5), "out of range"),
        (Older(-5), "out of range"),
        (After(2**64 - 1), "out of range"),
        (Sha256(b""), "32 bytes"),
        (Pk(b""), "public key"),
        (Pk(bytes(5000)), f"longer than {ENCODED_BYTES_MAX}"),
    ],
)
def test_values_beyond_the_bounds_are_refused(policy: Policy, reason: str) -> None:
    """Bytes reach these values without passing the text."""
    assert policy_decoder.decode(encode(policy)) == policy
    with pytest.raises(PolicyInvalid, match=reason):
        check_policy(policy)


def test_the_encoded_bound_is_exact() -> None:
    """sha256 takes 36 bytes: sixteen, in sixteens, is beyond 4096."""
    lock = Sha256(bytes(32))

    def sized(locks: int, times: int) -> Policy:
        parts: list[Policy] = [*[lock] * locks, *[After(CHAIN_TIME_MS_MAX)] * times]
        rows: list[Policy] = [Thresh(1, tuple(parts[i : i + 16])) for i in range(0, len(parts), 16)]
        return Thresh(1, tuple(rows))

    sizes = {}
    for locks in range(100, 118):
        for times in range(12):
            policy = sized(locks, times)
            sizes[len(encode(policy))] = policy
    largest = max(size for size in sizes if size <= ENCODED_BYTES_MAX)
    smallest = min(size for size in sizes if size > ENCODED_BYTES_MAX)
    assert smallest - largest < 5
    check_policy(sizes[largest])
    assert parse_policy(format_policy(sizes[largest])) == sizes[largest]
    with pytest.raises(PolicyInvalid, match="longer than"):
        check_policy(sizes[smallest])


def test_order_is_meaning() -> None:
    assert encode(And(Older(1), Older(2))) != encode(And(Older(2), Older(1)))
    assert encode(Multi(1, KEYS[:2])) != encode(Multi(1, KEYS[1::-1]))


leaves: st.SearchStrategy[Policy] = st.one_of(
    st.sampled_from(KEYS).map(Pk),
    st.integers(1, CHAIN_TIME_MS_MAX).map(After),
    st.integers(1, AGE_BLOCKS_MAX).map(Older),
    st.binary(min_size=32, max_size=32).map(Sha256),
    st.sets(st.sampled_from(KEYS), min_size=1, max_size=4).flatmap(
        lambda keys: st.integers(1, len(keys)).map(lambda m: Multi(m, tuple(sorted(keys))))
    ),
)
policies: st.SearchStrategy[Policy] = st.recursive(
    leaves,
    lambda parts: st.one_of(
        st.builds(And, parts, parts),
        st.builds(Or, parts, parts),
        st.lists(parts, min_size=1, max_size=4).flatmap(
            lambda row: st.integers(1, len(row)).map(lambda k: Thresh(k, tuple(row)))
        ),
    ),
    max_leaves=12,
)


@given(policies)
def test_text_and_bytes_are_inverse(policy: Policy) -> None:
    try:
        check_policy(policy)
    except PolicyInvalid:
        with pytest.raises(PolicyInvalid):
            parse_policy(format_policy(policy))
    else:
        assert parse_policy(format_policy(policy)) == policy
    assert policy_decoder.decode(encode(policy)) == policy
