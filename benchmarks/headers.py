"""How long a node takes to load a long mined chain from its own store, and in how much memory.

python benchmarks/headers.py --headers 1000000

The chain's work is trivial, for loading is what is measured; its bits change with every block, as
they do on a chain with asert, or with every window.
"""

import json
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from random import Random
from typing import Literal, NamedTuple, cast

import click
from common import Table, output_options

from chaind.cli.chains import development_genesis
from chaind.consensus.pow.retarget import retarget_asert, retarget_window
from chaind.consensus.pow.tree import Tree
from chaind.node.header_chain import StoredFinals, first_anchor, stored_base
from chaind.node.recovery import open_disk
from chaind.primitives.block import Header
from chaind.primitives.genesis import Genesis, ProofOfWork
from chaind.primitives.hashes import ZERO_HASH, sha256d
from chaind.primitives.work import WorkParameters, target_of
from chaind.storage.files import OsFiles
from chaind.storage.kv import Change, LevelStore
from chaind.storage.schema import (
    BLOCK,
    META_TIP,
    BlockRow,
    TipRow,
    header_key,
    height_key,
    number,
)

LIMIT_BITS = 0x207FFFFF  # one hash in two
SPACING_S = 600
HURRIED = (
    300  # first blocks, a second apart: half a half-life ahead of the schedule, so targets move
)
BATCH = 5_000  # headers, in one write
SECONDS_MAX, MIB_MAX = 5.0, 400.0
SIZES = {"cache_bytes": 32 << 20, "write_buffer_bytes": 16 << 20}  # of a node, roughly

Rule = Literal["asert", "bitcoin"]


class Loaded(NamedTuple):
    """What a process that loaded the chain says of itself."""

    seconds: float
    cpu_s: float
    peak_mib: float
    height: int
    chainwork: str


def make_genesis(rule: Rule) -> Genesis:
    """A chain of miners that anybody can mine."""
    rules = WorkParameters(
        retarget=rule, limit_bits=LIMIT_BITS, target_spacing_ms=1_000 * SPACING_S
    )
    work = ProofOfWork(rules=rules, start_bits=LIMIT_BITS)
    return development_genesis([], time_ms=1_000_000_000_000, work=work)


def mined(genesis: Genesis, count: int) -> Iterator[tuple[int, bytes, bytes]]:
    """Height, header and hash of every block: in a hurry at first, so that targets move."""
    rng, rules = Random(1), genesis.proof_of_work.rules
    first = genesis.header()
    parent, bits, at_s = genesis.hash, first.bits, first.time
    opened_s = at_s
    for height in range(1, count + 1):
        if rules.retarget == "asert" and height > 1:
            anchor = first_anchor(genesis)
            bits = retarget_asert(anchor=anchor, height=height - 1, time=at_s, parameters=rules)
        elif rules.retarget == "bitcoin" and height % rules.window == 0:
            bits = retarget_window(bits=bits, first_time=opened_s, last_time=at_s, parameters=rules)
        hurry = rules.retarget == "asert" and height < HURRIED
        at_s += 1 if hurry else rng.randrange(SPACING_S // 2, SPACING_S * 3 // 2)
        if height % rules.window == 0:
            opened_s = at_s
        target = target_of(bits)
        start = Header(0x20000000, parent, ZERO_HASH, at_s, bits, 0).encode()[:-4]
        for nonce in range(1 << 32):
            header = start + nonce.to_bytes(4, "little")
            block_hash = sha256d(header)
            if int.from_bytes(block_hash, "little") <= target:
                break
        parent = block_hash
        yield height, header, block_hash


def fill(directory: Path, genesis: Genesis, count: int) -> None:
    """A node's database with so many final blocks, without their bodies."""
    database = LevelStore.open(directory / "db", **SIZES)
    disk = open_disk(OsFiles(), directory, database, genesis)
    root = disk.store.tip.root
    blocks = mined(genesis, count)
    while batch := list(islice(blocks, BATCH)):
        rows: list[Change] = []
        for height, header, block_hash in batch:
            time_ms = 1_000 * int.from_bytes(header[68:72], "little")
            row = BlockRow(block_hash, 0, 0, 0, time_ms)
            rows += [
                (height_key(height), row.encode()),
                (BLOCK + block_hash, number(height)),
                (header_key(height), header),
            ]
        rows.append((META_TIP, TipRow(height, block_hash, root, time_ms, 0).encode()))
        database.write(rows, sync=False)
    disk.close()


def load(directory: Path, rule: Rule) -> Loaded:
    """What a node does with its headers when it starts. Peak memory is this whole process's."""
    genesis = make_genesis(rule)
    begun_s, begun_cpu_s = time.perf_counter(), time.process_time()
    database = LevelStore.open(directory / "db", **SIZES)
    disk = open_disk(OsFiles(), directory, database, genesis)
    tree = Tree(
        parameters=genesis.proof_of_work.rules,
        base=stored_base(genesis, disk.store),
        anchor=first_anchor(genesis),
        finals=StoredFinals(genesis, disk.store),
    )
    seconds, cpu_s = time.perf_counter() - begun_s, time.process_time() - begun_cpu_s
    peak_kib = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    disk.close()
    return Loaded(seconds, cpu_s, peak_kib / 1024, tree.base.height, f"{tree.base.chainwork:x}")


def load_apart(directory: Path, rule: Rule) -> Loaded:
    """`load` in a process of its own."""
    command = [sys.executable, __file__, "--load", str(directory), "--retarget", rule]
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    return Loaded(*json.loads(done.stdout))


@click.command()
@click.option("--headers", type=int, default=1_000_000, show_default=True)
@click.option("--retarget", type=click.Choice(["asert", "bitcoin"]), default="asert")
@click.option("--loads", type=int, default=3, show_default=True, help="The median is shown.")
@click.option("--load", "directory", type=Path, hidden=True)
@output_options
def main(
    headers: int, retarget: str, loads: int, directory: Path | None, as_json: bool, record: bool
) -> None:
    """A database of a long mined chain, made and then loaded as a node does at its start."""
    rule = cast(Rule, retarget)
    if directory is not None:
        click.echo(json.dumps(load(directory, rule)))
        return
    table = Table("headers", f"Loading {headers:,} headers of a mined chain ({rule})")
    with tempfile.TemporaryDirectory(prefix="chaind-headers-") as name:
        begun_s = time.perf_counter()
        fill(Path(name), make_genesis(rule), headers)
        made_s = time.perf_counter() - begun_s
        found = sorted(load_apart(Path(name), rule) for _ in range(loads))
    assert {one.height for one in found} == {headers}
    table.add("load, median", found[loads // 2].seconds, "s", f"< {SECONDS_MAX:g}")
    table.add("load, slowest", found[-1].seconds, "s", f"< {SECONDS_MAX:g}")
    table.add("processor time of the median", found[loads // 2].cpu_s, "s")
    table.add("a header, processor time", found[loads // 2].cpu_s / headers * 1e6, "µs")
    table.add(
        "peak memory of the process", max(one.peak_mib for one in found), "MiB", f"< {MIB_MAX:g}"
    )
    table.add("making the chain", made_s, "s")
    table.note(f"Median of {loads} loads, each in a process of its own; imports are not counted.")
    table.note(f"Chainwork {found[0].chainwork}, the same in all of them.")
    table.finish(as_json=as_json, record=record)


if __name__ == "__main__":
    main()
