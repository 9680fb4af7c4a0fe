"""The GPU kernel on a card: finds it what hashlib does, how fast is it, and what bounds it.

    python benchmarks/gpu.py --record
    python benchmarks/gpu.py --static --record      no card: instructions alone, and what they allow

A variant's prediction is the bound of sass.py at the clock that the card showed while it ran; its
outcome is the rate by CUDA events around launches in one stream, for seconds. The pipeline's rate
is by the wall, as a miner drives it: launches of 12 ms, two in flight, new ones begun by the host.
"""

import random
import statistics
import subprocess
import sys
import time
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager
from threading import Event, Thread
from typing import Any, NamedTuple

import click
import numpy as np
from common import Table, output_options
from sass import Counted, ToolMissing, count

from chaind.miner.card_worker import LAUNCH_S
from chaind.miner.devices import GpuFault
from chaind.miner.gpu import BEST, CAPACITY, Card, Shape, argument_of, load, source
from chaind.miner.search import NONCES, PREFIX_BYTES, Reference

SHARE = "at least 90 %"
CHECKED_HEADERS, CHECKED_NONCES = 40, 3_000
EASY = (1 << 252) - 1  # one hash in sixteen
SPAN, RARE = 1 << 30, (1 << 236) - 1  # some thousand of these nonces meet it
LOOK_S = 0.1  # between two readings of the clock
PROBE_NONCES = 1 << 24
STATIC = {"sm_90": (132, 1.98, "H100 SXM, H200"), "sm_89": (128, 2.52, "RTX 4090")}


class Variant(NamedTuple):
    """A shape, and how many nonces a thread takes in a launch, None for what fills `LAUNCH_S`."""

    what: str
    shape: Shape
    nonces: int | None = None


VARIANTS = (
    Variant("integer pipe alone", BEST._replace(products=0)),
    Variant("additions as products", BEST._replace(products=1)),
    Variant("and shifts", BEST._replace(products=2)),
    Variant("and a rotation", BEST._replace(products=3)),
    Variant("two nonces in a turn", BEST._replace(unroll=2)),
    Variant("128 threads in a block", BEST._replace(threads=128, blocks=8)),
    Variant("512 threads in a block", BEST._replace(threads=512, blocks=2)),
    Variant("half as many threads", BEST._replace(blocks=2)),
    Variant("32 nonces a thread", BEST, 32),
    Variant("256 nonces a thread", BEST, 256),
    Variant("4,096 nonces a thread", BEST, 4_096),
)


class Run(NamedTuple):
    """Billion hashes per second, and the clock meanwhile, in GHz, where it could be read."""

    rate: float
    clock_ghz: float | None


def check(card: Card) -> None:
    """All of hashlib's nonces and no other, on headers and ranges that are drawn anew each time."""
    dice = random.Random()
    for _ in range(CHECKED_HEADERS):
        prefix = dice.randbytes(PREFIX_BYTES)
        first = dice.choice([0, dice.randrange(NONCES - CHECKED_NONCES), NONCES - CHECKED_NONCES])
        end = first + dice.randrange(1, CHECKED_NONCES)
        launch = card.launch(prefix=prefix, target=EASY, first=first, end=end)
        assert card.collect(launch) == list(_by_hashlib(prefix, first, end))


def _by_hashlib(prefix: bytes, first: int, end: int) -> Iterator[int]:
    at = first
    while (n := Reference().find(prefix=prefix, target=EASY, first=at, end=end)) is not None:
        yield n
        at = n + 1


def hits_of_a_span(card: Card) -> list[int]:
    """Rare nonces among a billion, which every variant must agree on."""
    prefix = bytes(range(PREFIX_BYTES))
    return card.collect(card.launch(prefix=prefix, target=RARE, first=0, end=SPAN))


@contextmanager
def clock_of(index: int) -> Iterator[list[float]]:
    """Readings of the clock in GHz, taken beside what runs; none where nvidia-smi gives none."""
    readings: list[float] = []
    over = Event()

    def look() -> None:
        command = ["nvidia-smi", f"--id={index}", "--query-gpu=clocks.sm"]
        command.append("--format=csv,noheader,nounits")
        while not over.wait(LOOK_S):
            try:
                done = subprocess.run(command, capture_output=True, text=True, check=True)
            except (OSError, subprocess.CalledProcessError):
                return
            readings.append(float(done.stdout) / 1000)

    thread = Thread(target=look)
    thread.start()
    try:
        yield readings
    finally:
        over.set()
        thread.join()


def measure(card: Card, nonces: int | None, seconds: float) -> Run:
    """By CUDA events, launches of one stream without the host in between."""
    cupy = load()
    search = cupy.RawModule(code=source(), options=card.shape.options).get_function("search")
    found = cupy.empty(1 + CAPACITY, dtype=np.uint32)  # nobody looks into it
    stream = cupy.cuda.Stream(non_blocking=True)
    argument = argument_of(bytes(PREFIX_BYTES))

    def spend(launches: int, size: int) -> float:
        """Milliseconds on the card."""
        begun, ended = cupy.cuda.Event(), cupy.cuda.Event()
        words = [np.uint32(word) for word in (0, 0, size, CAPACITY)]
        blocks = card.processors * card.shape.blocks
        with stream:
            begun.record(stream)
            for _ in range(launches):
                search((blocks,), (card.shape.threads,), (argument, *words, found))
            ended.record(stream)
        ended.synchronize()
        return float(cupy.cuda.get_elapsed_time(begun, ended))

    spend(4, PROBE_NONCES)  # clocks rise
    rate = PROBE_NONCES * 16 / spend(16, PROBE_NONCES)  # in a millisecond
    size = int(rate * LAUNCH_S * 1000) if nonces is None else nonces * card.threads
    size = min(size, 1 << 31)
    launches = max(1, int(seconds * 1000 * rate / size))
    with clock_of(card.index) as readings:
        took_ms = spend(launches, size)
    clock = statistics.median(readings) if readings else None
    return Run(launches * size / took_ms / 1e6, clock)


def pipeline(card: Card, seconds: float, rate: float) -> float:
    """Billion hashes per second by the wall, with launches and collecting by turns."""
    size = min(int(rate * 1e9 * LAUNCH_S), 1 << 31)
    flights: deque[Any] = deque()
    searched, begun_s = 0, time.perf_counter()
    while time.perf_counter() - begun_s < seconds or flights:
        while card.has_slot and time.perf_counter() - begun_s < seconds:
            prefix = searched.to_bytes(PREFIX_BYTES, "big")
            flights.append(card.launch(prefix=prefix, target=0, first=0, end=size))
            searched += size
        card.collect(flights.popleft())
    return searched / (time.perf_counter() - begun_s) / 1e9


def counted(shape: Shape, architecture: str) -> Counted | None:
    """None where the tools are missing, which is said."""
    try:
        return count(shape, architecture)
    except ToolMissing as error:
        click.echo(f"instructions are not counted: {error}", err=True)
        return None


def add_instructions(table: Table, what: str, one: Counted) -> None:
    """What a double hash takes."""
    table.add(f"{what}: instructions of a double hash", one.all, "")
    table.add(f"{what}: of these in the integer pipe", one.integer, "")
    table.add(f"{what}: products", one.products + one.upper_halves, "")


def static() -> Table:
    """Instructions, and what they allow on cards of known size. Raises `ToolMissing`."""
    table = Table("gpu_static", "GPU kernel: instructions of a double hash, counted without a card")
    for architecture, (processors, clock_ghz, cards) in STATIC.items():
        for variant in VARIANTS[:5]:
            one = count(variant.shape, architecture)
            what = f"{architecture}, {variant.what}"
            add_instructions(table, what, one)
            bound = one.bound(processors=processors, clock_ghz=clock_ghz)
            table.add(f"{what}: bound at {clock_ghz} GHz ({cards})", bound, "GH/s")
    table.note(
        "nothing was timed: bounds are those of sass.py, at a clock that a card may not hold"
    )
    return table


def on_card(index: int, seconds: float) -> Table:
    """Everything. Raises a `GpuFault`."""
    table = Table("gpu", "GPU kernel")
    spans: set[tuple[int, ...]] = set()
    rates: dict[str, float] = {}
    for variant in VARIANTS:
        card = Card.open(index, variant.shape)
        check(card)
        spans.add(tuple(hits_of_a_span(card)))
        run = measure(card, variant.nonces, seconds)
        one = counted(variant.shape, architecture_of(index))
        best = variant.shape == BEST and variant.nonces is None
        rates[variant.what] = run.rate
        table.add(f"{variant.what}: rate by events", run.rate, "GH/s")
        if one is not None and run.clock_ghz is not None:
            bound = one.bound(processors=card.processors, clock_ghz=run.clock_ghz)
            table.add(f"{variant.what}: predicted", bound, "GH/s")
            table.add(f"{variant.what}: of it", 100 * run.rate / bound, "%", SHARE if best else "")
        if best:
            table.add(
                f"{variant.what}: pipeline by the wall", pipeline(card, seconds, run.rate), "GH/s"
            )
            if run.clock_ghz is not None:
                table.add("clock", run.clock_ghz, "GHz")
            if one is not None:
                add_instructions(table, variant.what, one)
    assert len(spans) == 1, "variants disagree"
    table.add("the fastest", max(rates, key=lambda what: rates[what]), "")
    table.machine["card"] = f"{card.name}, {card.processors} multiprocessors"
    table.note(
        f"each variant found what hashlib does on {CHECKED_HEADERS} drawn headers and ranges"
    )
    table.note(
        f"all found the same {len(spans.pop())} nonces in {SPAN:,}, each looked at by hashlib"
    )
    table.note("predicted: the bound by the pipes, see sass.py, at the median clock of the run")
    return table


def architecture_of(index: int) -> str:
    """As compilers call it."""
    properties = load().cuda.runtime.getDeviceProperties(index)
    return f"sm_{properties['major']}{properties['minor']}"


@click.command()
@click.option("--static", "is_static", is_flag=True, help="Only count instructions; needs no card.")
@click.option("--device-index", "index", type=int, default=0, help="Which card.")
@click.option("--seconds", type=float, default=3.0, show_default=True, help="For each variant.")
@output_options
def main(is_static: bool, index: int, seconds: float, as_json: bool, record: bool) -> None:
    """The GPU kernel: correct, how fast, and why not faster."""
    try:
        table = static() if is_static else on_card(index, seconds)
    except (GpuFault, ToolMissing) as error:
        click.echo(f"Nothing is measured and nothing recorded: {error}", err=True)
        sys.exit(GpuFault.exit_code)
    table.finish(as_json=as_json, record=record)


if __name__ == "__main__":
    main()
