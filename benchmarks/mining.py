"""Variants of the mining kernel, each held against hashlib, and what bounds the best of them.

    python benchmarks/mining.py --record

Every variant is compiled anew in a process of its own. Rates are hashes for each second that the
process had on its core, the best of several short runs, so that others on the machine disturb them
least; by the wall the same core gives less while it is shared.
"""

import hashlib
import json
import os
import random
import re
import subprocess
import sys
import tempfile
import time
from collections import Counter
from typing import Any, NamedTuple

import click
from common import Table, output_options

from chaind.miner.search import NONCES, PREFIX_BYTES, Kernel, Reference

RUNS = 12
RUN_NONCES = 1 << 21
REFERENCE_NONCES = 1 << 15
CHECKED_HEADERS = 40
CHECKED_NONCES = 500
EASY = 1 << 250
BUDGET = "at least 32"
AVX2 = {"NUMBA_CPU_NAME": "x86-64-v3", "NUMBA_CPU_FEATURES": ""}
# Two operations on 512 bits start in a cycle of Zen 4, of which one may be a rotation or a shift.
STARTED_PER_CYCLE = 2
SHIFTS = re.compile(r"vp(ro|sr|sl)")


class Variant(NamedTuple):
    """A shape of the kernel: lanes, streams, ternary; and numba's environment."""

    what: str
    shape: tuple[int, int, bool]
    environ: dict[str, str]


VARIANTS = (
    Variant("AVX2, 1 x 8 lanes", (8, 1, False), AVX2),
    Variant("AVX2, 2 x 8 lanes", (8, 2, False), AVX2),
    Variant("AVX-512, 1 x 8 lanes", (8, 1, False), {}),
    Variant("AVX-512, 1 x 8 lanes, vpternlogd", (8, 1, True), {}),
    Variant("AVX-512, 1 x 16 lanes", (16, 1, False), {}),
    Variant("AVX-512, 1 x 16 lanes, vpternlogd", (16, 1, True), {}),
    Variant("AVX-512, 2 x 16 lanes", (16, 2, False), {}),
    Variant("AVX-512, 2 x 16 lanes, vpternlogd", (16, 2, True), {}),
    Variant("AVX-512, 3 x 16 lanes, vpternlogd", (16, 3, True), {}),
)
BEST = VARIANTS[7]


def rate(kernel: Kernel, nonces: int) -> float:
    """Million hashes for each second on the processor, the best of the runs."""
    best = 0.0
    for run in range(RUNS):
        prefix = run.to_bytes(PREFIX_BYTES, "big")
        began_s = time.process_time()
        assert kernel.find(prefix=prefix, target=0, first=0, end=nonces) is None
        best = max(best, nonces / (time.process_time() - began_s) / 1e6)
    return best


def check(kernel: Kernel) -> None:
    """The same nonces as hashlib's, on headers that are drawn anew each time."""
    dice = random.Random()
    for _ in range(CHECKED_HEADERS):
        prefix = dice.randbytes(PREFIX_BYTES)
        first = dice.randrange(NONCES - CHECKED_NONCES)
        end = at = first + dice.randrange(CHECKED_NONCES)
        at, found = first, []
        while (nonce := kernel.find(prefix=prefix, target=EASY, first=at, end=end)) is not None:
            found.append(nonce)
            at = nonce + 1
        assert found == [nonce for nonce in range(first, end) if _low(prefix, nonce)]


def _low(prefix: bytes, nonce: int) -> bool:
    digest = hashlib.sha256(hashlib.sha256(prefix + nonce.to_bytes(4, "little")).digest()).digest()
    return int.from_bytes(digest, "little") <= EASY


def clock_ghz() -> float:
    """Cycles in a nanosecond, by a chain of operations that wait for each other, a cycle each."""
    from numba import njit, uint64

    @njit("uint64(uint64, int64)")
    def chain(word: int, steps: int) -> int:
        for _ in range(steps):
            word ^= word << uint64(13)
            word ^= word >> uint64(7)
            word ^= word << uint64(17)
        return word

    steps, best = 2_000_000, 0.0
    for _ in range(RUNS):
        began_s = time.process_time()
        chain(88172645463325252, steps)
        best = max(best, 6 * steps / (time.process_time() - began_s) / 1e9)
    return best


def measure_here(shape: list[Any]) -> dict[str, Any]:
    """In the process of a variant."""
    from chaind.miner.kernel import CpuKernel, Shape

    kernel = CpuKernel(Shape(*shape))
    began_s = time.process_time()
    kernel.prepare(lambda _: None)
    compiled_s = time.process_time() - began_s
    check(kernel)
    instructions = Counter(re.findall(r"^\s+(v\w+)\s", kernel.assembly(), re.MULTILINE))
    return {
        "rate": rate(kernel, RUN_NONCES),
        "compiled_s": compiled_s,
        "instructions": instructions,
        "clock_ghz": clock_ghz(),
    }


def measure(variant: Variant) -> dict[str, Any]:
    """Start that process, with an empty cache of compiled code."""
    with tempfile.TemporaryDirectory() as cache:
        environ = {**os.environ, **variant.environ, "NUMBA_CACHE_DIR": cache}
        command = [sys.executable, __file__, "--shape", json.dumps(variant.shape)]
        done = subprocess.run(command, env=environ, capture_output=True, text=True, check=True)
    result: dict[str, Any] = json.loads(done.stdout)
    return result


def add_bound(table: Table, measured: dict[str, Any], hashes: int) -> None:
    """What the best variant executes, and how fast the processor could."""
    moves = {"vmovdqa64", "vmovdqu64", "vmovdqa", "vmovdqu", "vmovups", "vmovaps", "vzeroupper"}
    counted = measured["instructions"]
    moved = sum(count for name, count in counted.items() if name in moves or "broadcast" in name)
    worked = sum(counted.values()) - moved
    shifted = sum(count for name, count in counted.items() if SHIFTS.match(name))
    vectors = hashes // 16
    cycles = max(worked / STARTED_PER_CYCLE, shifted) / vectors
    table.add("vector operations for 16 hashes", worked / vectors, "", "about 2,960")
    table.add("of these rotations and shifts", shifted / vectors, "")
    table.add("loads, stores, copies of vectors for 16 hashes", moved / vectors, "")
    table.add("clock", measured["clock_ghz"], "GHz")
    bound = measured["clock_ghz"] * 1e3 / cycles * 16
    table.add("bound by two operations a cycle", bound, "MH/s", "about 38")


@click.command()
@click.option("--shape", help="Measure this one here: [lanes, streams, ternary].")
@output_options
def main(shape: str | None, as_json: bool, record: bool) -> None:
    """Variants of the mining kernel in one table."""
    if shape is not None:
        click.echo(json.dumps(measure_here(json.loads(shape))))
        return
    from llvmlite import binding

    has_avx512 = binding.get_host_cpu_features().get("avx512f", False)
    table = Table("mining", "Mining kernels, one core")
    table.add("hashlib", rate(Reference(), REFERENCE_NONCES), "MH/s")
    for variant in VARIANTS:
        if variant.environ or has_avx512:
            measured = measure(variant)
            table.add(variant.what, measured["rate"], "MH/s", BUDGET if variant is BEST else "")
            if variant is BEST:
                best = measured
    if has_avx512:
        table.add("compiling the best", best["compiled_s"], "s")
        add_bound(table, best, BEST.shape[0] * BEST.shape[1])
    table.note("rates: for each second on the processor, the best of a dozen runs of two million")
    table.note(f"each variant found the same nonces as hashlib on {CHECKED_HEADERS} drawn headers")
    table.note("each variant found block 0 of Bitcoin in every lane")
    table.finish(as_json=as_json, record=record)


if __name__ == "__main__":
    main()
