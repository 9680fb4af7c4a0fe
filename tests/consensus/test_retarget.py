"""Retarget rules: what Bitcoin and the authors of asert published, and exact fractions."""

import json
from fractions import Fraction
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from chaind.consensus.pow.retarget import Anchor, retarget_asert, retarget_window
from chaind.primitives.block import Header
from chaind.primitives.hashes import sha256d
from chaind.primitives.work import BITCOIN_MAIN, target_of, to_bits

VECTORS = Path(__file__).parents[1] / "vectors"
BITCOIN = json.loads((VECTORS / "bitcoin_retargets.json").read_bytes())
ASERT = json.loads((VECTORS / "asert.json").read_bytes())
ASERT_MAIN = msgspec.structs.replace(BITCOIN_MAIN, retarget="asert")
HEADERS = {
    int(height): Header.decode(bytes.fromhex(text)) for height, text in BITCOIN["headers"].items()
}
BOUNDARIES = [height for height in HEADERS if height % 2016 == 0][1:]
LIMIT = target_of(BITCOIN_MAIN.limit_bits)
TIMES = st.integers(0, 2**32 - 1)
TARGETS = st.integers(0, 223).flatmap(
    lambda width: st.integers(2**width, min(LIMIT, 2 ** (width + 1)))
)


@pytest.mark.parametrize("row", BITCOIN["calculations"], ids=lambda row: str(row[0]))
def test_bitcoins_published_calculations(row: list[Any]) -> None:
    _, bits, first_time, last_time, following = row
    assert retarget_window(
        bits=int(bits, 16), first_time=first_time, last_time=last_time, parameters=BITCOIN_MAIN
    ) == int(following, 16)


@pytest.mark.parametrize("height", BOUNDARIES)
def test_main_net_headers_carry_the_bits_of_the_rule(height: int) -> None:
    first, last, following = (HEADERS[at] for at in (height - 2016, height - 1, height))
    assert following.parent == sha256d(last.encode())
    assert int.from_bytes(sha256d(following.encode()), "little") <= target_of(following.bits)
    assert last.bits == first.bits != following.bits
    assert following.bits == retarget_window(
        bits=last.bits, first_time=first.time, last_time=last.time, parameters=BITCOIN_MAIN
    )


def test_main_net_headers_cross_four_boundaries_in_both_directions() -> None:
    eased = [HEADERS[at].bits > HEADERS[at - 1].bits for at in BOUNDARIES]
    assert eased == [False, False, True, False]


@given(TARGETS, TIMES, TIMES)
def test_a_window_moves_the_target_by_its_time(target: int, first: int, last: int) -> None:
    bits = to_bits(target)
    ratio = min(Fraction(4), max(Fraction(1, 4), Fraction(last - first, 2016 * 600)))
    exact = int(target_of(bits) * ratio)
    assert retarget_window(
        bits=bits, first_time=first, last_time=last, parameters=BITCOIN_MAIN
    ) == to_bits(max(1, min(LIMIT, exact)))


@pytest.mark.parametrize("run", ASERT["runs"], ids=lambda run: str(run["name"]))
def test_asert_vectors(run: dict[str, Any]) -> None:
    height, anchor_bits, parent_time = run["anchor"]
    anchor = Anchor(height=height, bits=int(anchor_bits, 16), parent_time=parent_time)
    for at, time, following in run["rows"]:
        bits = retarget_asert(anchor=anchor, height=at, time=time, parameters=ASERT_MAIN)
        assert (at, f"{bits:08x}") == (at, following)


@given(TARGETS, TIMES, st.integers(1, 2**31))
def test_asert_is_the_exponential_to_a_part_in_five_thousand(
    target: int, time: int, height: int
) -> None:
    """The polynomial's authors give 0.013 % for it; the rest is the 15 bits that bits keep."""
    anchor = Anchor(height=1, bits=to_bits(target), parent_time=1_231_006_505)
    late = Fraction(time - anchor.parent_time - 600 * height, 172_800)
    found = target_of(
        retarget_asert(anchor=anchor, height=height, time=time, parameters=ASERT_MAIN)
    )
    if late < -300:
        assert found == 1
    elif late > 300:
        assert found == LIMIT
    else:
        exact = target_of(anchor.bits) * Fraction(2.0 ** float(late))
        nearest = min(Fraction(LIMIT), max(Fraction(1), exact))
        assert abs(found - nearest) <= nearest / 5_000 + 1


@given(st.integers(0, 2**32 - 1), st.integers(1, 10**18))
def test_asert_never_leaves_the_scale(time: int, height: int) -> None:
    """Half-lives of a millisecond and heights of centuries: a bounded shift, no endless number."""
    hasty = msgspec.structs.replace(ASERT_MAIN, half_life_ms=1, target_spacing_ms=1)
    anchor = Anchor(height=1, bits=0x1802AEE8, parent_time=2**31)
    found = target_of(retarget_asert(anchor=anchor, height=height, time=time, parameters=hasty))
    assert 1 <= found <= LIMIT


def test_asert_divides_as_c_does() -> None:
    """A second early is no step of the fixed-point exponent, rounded towards the anchor."""
    anchor = Anchor(height=1, bits=0x1802AEE8, parent_time=0)
    early = [
        retarget_asert(anchor=anchor, height=2, time=1200 - seconds, parameters=ASERT_MAIN)
        for seconds in range(4)
    ]
    assert early[0] == early[1] == early[2] == anchor.bits
    assert early[3] < anchor.bits
