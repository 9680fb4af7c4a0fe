"""sha256d.cu, compiled by the host's C compiler, against hashlib: its arithmetic needs no card."""

import ctypes
import hashlib
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import pytest
from cuda_host import compile_for_host, compiler
from hypothesis import given, settings
from hypothesis import strategies as st

from chaind.miner.device_work import FIXED_WORDS, fixed_of
from chaind.miner.search import BLOCK_0, BLOCK_0_NONCE, NONCES, PREFIX_BYTES

SOURCE = Path(__file__).parents[2] / "chaind" / "miner" / "sha256d.cu"
GOLDEN = bytes.fromhex(  # the published Stratum example
    "0000002032a72a8043f4ce5c962994ae137d350a0bff3032e9719e2923638cbc6abfcc9f"
    "7966320f123155d5fc4fc4cbbe864e4c933939c1f251f52f64b2bb6d872f35200025006bffff001f"
)
MINED = {"golden": (GOLDEN, 0xE2270000), "block 0": (BLOCK_0, BLOCK_0_NONCE)}
CAPACITY = 4096
EASY = (1 << 28) - 1  # one hash in sixteen
prefixes = st.binary(min_size=PREFIX_BYTES, max_size=PREFIX_BYTES)


class Found(NamedTuple):
    """What a launch left in its buffer, and what lies behind it."""

    count: int
    nonces: list[int]
    beyond: int


Search = Callable[..., Found]


def last_word(prefix: bytes, nonce: int) -> int:
    """As a target has it: its most significant 32 bits."""
    header = prefix + (nonce % NONCES).to_bytes(4, "little")
    return int.from_bytes(hashlib.sha256(hashlib.sha256(header).digest()).digest()[28:], "little")


def below(prefix: bytes, first: int, count: int, limit: int) -> list[int]:
    nonces = (nonce % NONCES for nonce in range(first, first + count))
    return sorted(nonce for nonce in nonces if last_word(prefix, nonce) <= limit)


@pytest.fixture(scope="module", params=range(4), ids="products-{}".format)
def search(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Search:
    """All ways to add, shift and rotate."""
    if compiler() is None:
        pytest.skip("NO C COMPILER HERE: the arithmetic of sha256d.cu is not checked")
    options = [f"-DPRODUCTS={request.param}"]
    launch = compile_for_host(SOURCE.read_text(), options, tmp_path_factory.mktemp("cuda"))

    def run(
        prefix: bytes,
        *,
        limit: int,
        first: int,
        count: int,
        grid: tuple[int, int] = (2, 8),
        capacity: int = CAPACITY,
    ) -> Found:
        fixed = (ctypes.c_uint32 * FIXED_WORDS)(*fixed_of(prefix).words())
        found = (ctypes.c_uint32 * (capacity + 2))()
        launch(*grid, fixed, limit, first, count, capacity, found)
        held = min(found[0], capacity)
        return Found(found[0], sorted(found[1 : 1 + held]), found[capacity + 1])

    return run


@pytest.mark.parametrize("name", MINED)
def test_mined_headers_are_mined_again(search: Search, name: str) -> None:
    prefix, nonce = MINED[name]
    assert nonce in below(prefix, nonce, 1, 0xFFFF)
    for first in (nonce - 1000, nonce):
        count = nonce - first
        before = search(prefix, limit=0xFFFF, first=first, count=count)
        assert before.nonces == below(prefix, first, count, 0xFFFF)
        assert nonce in search(prefix, limit=0xFFFF, first=first, count=count + 1).nonces
    value = last_word(prefix, nonce)
    assert search(prefix, limit=value, first=nonce, count=1).nonces == [nonce]
    if value:
        assert search(prefix, limit=value - 1, first=nonce, count=1).nonces == []


@settings(max_examples=40)
@given(
    prefix=prefixes,
    limit=st.sampled_from([EASY, EASY >> 3, 0, NONCES - 1]),
    first=st.one_of(st.integers(0, NONCES - 1), st.integers(NONCES - 300, NONCES - 1)),
    count=st.integers(0, 300),
    grid=st.sampled_from([(1, 1), (1, 7), (3, 5), (2, 32), (4, 256)]),
)
def test_the_same_nonces_as_hashlib(
    search: Search, prefix: bytes, limit: int, first: int, count: int, grid: tuple[int, int]
) -> None:
    """Ranges end anywhere within the stride of a thread, are shorter than one, and wrap."""
    found = search(prefix, limit=limit, first=first, count=count, grid=grid)
    expected = below(prefix, first, count, limit)
    assert found == (len(expected), expected, 0)


@pytest.mark.parametrize("nonce", [0, 1, 0x7FFFFFFF, 0x80000000, NONCES - 1])
def test_nonces_at_the_edge(search: Search, nonce: int) -> None:
    value = last_word(GOLDEN, nonce)
    assert search(GOLDEN, limit=value, first=nonce, count=1).nonces == [nonce]
    assert search(GOLDEN, limit=value - 1, first=nonce, count=1).nonces == []


def test_a_range_that_wraps_goes_on_at_zero(search: Search) -> None:
    found = search(GOLDEN, limit=NONCES - 1, first=NONCES - 3, count=6, grid=(1, 4))
    assert found.nonces == [0, 1, 2, NONCES - 3, NONCES - 2, NONCES - 1]


def test_candidates_without_a_place_are_counted_and_written_nowhere(search: Search) -> None:
    found = search(GOLDEN, limit=NONCES - 1, first=0, count=50, capacity=8)
    assert found.count == 50
    assert len(found.nonces) == 8
    assert set(found.nonces) <= set(range(50))
    assert found.beyond == 0
