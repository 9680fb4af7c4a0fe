"""Every kernel against hashlib: on headers that were mined, on drawn ones, on odd ranges."""

import hashlib
import threading
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from llvmlite import binding

from chaind.miner.kernel import (
    PLAIN,
    WIDE,
    CpuKernel,
    KernelBroken,
    KernelHomeless,
    Shape,
    host_shape,
)
from chaind.miner.search import BLOCK_0_NONCE, NONCES, PREFIX_BYTES, Kernel, Reference, meets
from chaind.primitives.work import target_of

# Bitcoin's block 0 and 100000, and the published Stratum example: (76 bytes, nonce, bits).
MINED = {
    "block 0": (
        "01000000000000000000000000000000000000000000000000000000000000000000000"
        "03ba3edfd7a7b12b27ac72c3e67768f617fc81bc3888a51323a9fb8aa4b1e5e4a29ab5f49ffff001d",
        2083236893,
        0x1D00FFFF,
    ),
    "block 100000": (
        "0100000050120119172a610421a6c3011dd330d9df07b63616c2cc1f1cd0020000000000"
        "6657a9252aacd5c0b2940996ecff952228c3067cc38d4885efb5a4ac4247e9f337221b4d4c86041b",
        274148111,
        0x1B04864C,
    ),
    "Stratum example": (
        "0000002032a72a8043f4ce5c962994ae137d350a0bff3032e9719e2923638cbc6abfcc9f"
        "7966320f123155d5fc4fc4cbbe864e4c933939c1f251f52f64b2bb6d872f35200025006bffff001f",
        0xE2270000,
        0x1F00FFFF,
    ),
}
HAS_AVX512 = binding.get_host_cpu_features().get("avx512f", False)
SHAPES = [PLAIN, WIDE] if HAS_AVX512 else [PLAIN]
EASY = (1 << 252) - 1  # one hash in sixteen
EDGE = (1 << 224) - 1 << 28  # its last word has bits that decide, and the words below do too


KERNELS: list[Kernel] = [Reference(), *map(CpuKernel, SHAPES)]


@pytest.fixture(scope="module", params=KERNELS, ids=lambda kernel: str(kernel.name))
def kernel(request: pytest.FixtureRequest) -> Kernel:
    kernel: Kernel = request.param
    return kernel


def hash_of(prefix: bytes, nonce: int) -> int:
    header = prefix + nonce.to_bytes(4, "little")
    return int.from_bytes(hashlib.sha256(hashlib.sha256(header).digest()).digest(), "little")


def all_hits(kernel: Kernel, prefix: bytes, target: int, first: int, end: int) -> list[int]:
    hits: list[int] = []
    at = first
    while (nonce := kernel.find(prefix=prefix, target=target, first=at, end=end)) is not None:
        hits.append(nonce)
        at = nonce + 1
    return hits


@pytest.mark.parametrize("name", MINED)
def test_mined_headers_are_mined_again(kernel: Kernel, name: str) -> None:
    text, nonce, bits = MINED[name]
    prefix, target = bytes.fromhex(text), target_of(bits)
    assert kernel.find(prefix=prefix, target=target, first=nonce - 1000, end=nonce + 1) == nonce
    assert kernel.find(prefix=prefix, target=target, first=nonce, end=NONCES) == nonce
    assert kernel.find(prefix=prefix, target=target, first=nonce - 1000, end=nonce) is None


@settings(max_examples=25)
@given(
    prefix=st.binary(min_size=PREFIX_BYTES, max_size=PREFIX_BYTES),
    target=st.sampled_from([EASY, EDGE, EASY >> 3]),
    first=st.one_of(st.integers(0, NONCES), st.integers(NONCES - 300, NONCES)),
    count=st.integers(0, 300),
)
def test_the_same_nonces_as_hashlib_one_by_one(
    kernel: Kernel, prefix: bytes, target: int, first: int, count: int
) -> None:
    end = min(first + count, NONCES)
    expected = [nonce for nonce in range(first, end) if hash_of(prefix, nonce) <= target]
    assert all_hits(kernel, prefix, target, first, end) == expected


def test_a_target_is_met_by_equality(kernel: Kernel) -> None:
    """At the hash itself and not one below, whichever word of it decides."""
    prefix, nonce = bytes(PREFIX_BYTES), 77
    value = hash_of(prefix, nonce)
    bounds = {"first": nonce, "end": nonce + 1}
    assert kernel.find(prefix=prefix, target=value, **bounds) == nonce
    assert kernel.find(prefix=prefix, target=value - 1, **bounds) is None
    assert meets(prefix, nonce, value)
    assert not meets(prefix, nonce, value - 1)


@pytest.mark.parametrize("size", [shape.lanes * shape.streams for shape in SHAPES])
def test_a_block_that_looks_good_and_is_not_hides_no_other(kernel: Kernel, size: int) -> None:
    """The target's first word is that of the block's lowest hash, which is one too high."""
    for fill in range(256):
        prefix = bytes([fill]) * PREFIX_BYTES
        low, following = (
            [hash_of(prefix, nonce) for nonce in range(first, first + size)] for first in (0, size)
        )
        if min(following) < min(low):
            break
    target = min(low) - 1
    expected = [size + at for at, value in enumerate(following) if value <= target]
    assert expected
    assert all_hits(kernel, prefix, target, 0, 2 * size) == expected


def test_the_hardest_and_the_easiest_target(kernel: Kernel) -> None:
    assert kernel.find(prefix=bytes(PREFIX_BYTES), target=0, first=0, end=500) is None
    assert all_hits(kernel, bytes(PREFIX_BYTES), 2**256 - 1, 5, 45) == list(range(5, 45))


def test_threads_share_a_kernel() -> None:
    kernel = CpuKernel()
    prefixes = [bytes([number]) * PREFIX_BYTES for number in range(4)]
    found: dict[bytes, list[int]] = {}

    def search(prefix: bytes) -> None:
        found[prefix] = all_hits(kernel, prefix, EASY >> 6, 0, 20_000)

    threads = [threading.Thread(target=search, args=(prefix,)) for prefix in prefixes]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert found == {p: all_hits(Reference(), p, EASY >> 6, 0, 20_000) for p in prefixes}


def test_the_shape_is_the_machines() -> None:
    assert host_shape() == (WIDE if HAS_AVX512 else PLAIN)
    assert CpuKernel().name == host_shape().name


@pytest.mark.parametrize(("told", "shape"), [("+avx2", PLAIN), ("+avx2,+avx512f", WIDE)])
def test_a_user_may_say_what_the_machine_has(
    told: str, shape: Shape, monkeypatch: pytest.MonkeyPatch
) -> None:
    """numba's own variable, NUMBA_CPU_FEATURES."""
    monkeypatch.setattr("numba.config.CPU_FEATURES", told)
    assert host_shape() == shape


def test_a_kernel_that_misses_a_lane_is_not_used(monkeypatch: pytest.MonkeyPatch) -> None:
    kernel = CpuKernel(PLAIN)
    scan = kernel._scan

    def blind(table: Any, first: int, end: int, limit: Any) -> Any:
        found = scan(table, first, end, limit)
        return end if first == BLOCK_0_NONCE - 5 else found

    blind.signatures = scan.signatures  # type: ignore[attr-defined]
    monkeypatch.setattr(kernel, "_scan", blind)
    with pytest.raises(KernelBroken, match="misses a known nonce in lane 5"):
        kernel.prepare(print)


def test_nowhere_to_keep_what_is_compiled(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(**_options: bool) -> None:
        raise RuntimeError("cannot cache function 'scan': no locator available")

    monkeypatch.setattr("chaind.miner.kernel.njit", refuse)
    with pytest.raises(KernelHomeless, match="no locator available"):
        CpuKernel()


class Impatient:
    """A timer that does not wait."""

    def __init__(self, _seconds: float, call: Callable[..., None], arguments: list[str]) -> None:
        self._call, self._arguments = call, arguments

    def start(self) -> None:
        self._call(*self._arguments)

    def cancel(self) -> None:
        assert self._arguments


def test_a_compilation_is_told_of_and_none_is_not(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("chaind.miner.kernel.Timer", Impatient)
    kernel, told = CpuKernel(), list[str]()
    kernel.prepare(told.append)
    assert told == ["compiling the mining kernel for this processor, once"]
    kernel.prepare(told.append)
    assert len(told) == 1
