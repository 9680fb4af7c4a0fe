"""One card: launches of sha256d.cu, as many in flight as there are slots, and what they find.

Law: whatever knows CuPy is here. A launch searches a range of one header's nonces; its answer is
all of them that meet the target, in order, each looked at by hashlib, or a fault. A range with more
candidates than its buffer has places is searched again in halves, so that nothing is lost.

Counted for a double hash on Hopper (compute capability 9.0), compiler of CUDA 13.0, from the
disassembled loop: some 1,810 instructions of the integer pipe (rotations 1,020, logic 630, shifts
155) and 1,050 additions. The pipe starts 64 lanes in a cycle of a multiprocessor: with additions
beside it, in the pipe of multiplications, it bounds the rate; see benchmarks/gpu.py.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from functools import lru_cache
from importlib import resources
from typing import Any, NamedTuple

import numpy as np

from chaind.miner.device_work import FIXED_WORDS, fixed_of
from chaind.miner.devices import (
    CardMissing,
    CardUnusable,
    CupyBroken,
    CupyMissing,
    DriverMissing,
)
from chaind.miner.search import BLOCK_0, BLOCK_0_NONCE, check_range, meets
from chaind.primitives.work import BITCOIN_MAIN, target_of

SLOTS = 2  # one launch runs while the next waits and the host looks at the last
CAPACITY = 1 << 12  # candidates of a launch, 16 KiB; worth a launch's while to search again
REASON_CHARS = 200
CAUSE = "Original error:"
NO_DRIVER, NO_CARD = 35, 100  # cudaErrorInsufficientDriver, cudaErrorNoDevice
CHECKED_SPAN = 1 << 10  # nonces to either side
EASY = (1 << 252) - 1  # one hash in sixteen
_FIXED = np.dtype([("words", np.uint32, (FIXED_WORDS,))])


class Shape(NamedTuple):
    """How the kernel is compiled: threads in a block, blocks that a multiprocessor shall hold, what
    is done in the pipe of products (see sha256d.cu), nonces in a turn of the loop."""

    threads: int
    blocks: int
    products: int
    unroll: int = 1

    @property
    def options(self) -> tuple[str, ...]:
        """For the compiler."""
        return (
            f"-DTHREADS={self.threads}",
            f"-DBLOCKS={self.blocks}",
            f"-DPRODUCTS={self.products}",
            f"-DUNROLL={self.unroll}",
        )


# By count, not yet by the clock: `benchmarks/gpu.py` compares others on a card.
BEST = Shape(threads=256, blocks=4, products=1)


class _Slot(NamedTuple):
    """What a launch has for itself: its buffer, there and here, and a mark on its stream."""

    stream: Any
    done: Any
    found: Any
    copy: "np.ndarray[Any, np.dtype[np.uint32]]"


class Launch(NamedTuple):
    """A range that a card searches."""

    prefix: bytes
    target: int
    first: int
    end: int
    slot: _Slot


def source() -> str:
    """The kernel's text."""
    return resources.files("chaind.miner").joinpath("sha256d.cu").read_text()


def load() -> Any:
    """The module `cupy`. Raises `CupyMissing`, or `CupyBroken`."""
    try:
        import cupy
    except (ImportError, OSError) as error:
        if isinstance(error, ModuleNotFoundError) and error.name == "cupy":
            raise CupyMissing from None
        raise CupyBroken(reason=_reason(error)) from None
    return cupy


def count_cards() -> int:
    """How many CUDA sees, at least one. Raises a `GpuFault`."""
    cupy = load()
    with _telling(cupy, 0):
        count = int(cupy.cuda.runtime.getDeviceCount())
    if not count:
        raise CardMissing(index=0, count=0)
    return count


def _reason(error: Exception) -> str:
    """The line that says it: CuPy frames some of its messages, and ends them with their cause."""
    lines = [line.strip() for line in str(error).splitlines()]
    lines = [line for line in lines if any(map(str.isalnum, line))]
    at = lines.index(CAUSE) + 1 if CAUSE in lines[:-1] else 0
    return (lines[at] if lines else type(error).__name__)[:REASON_CHARS]


@contextmanager
def _telling(cupy: Any, index: int) -> Iterator[None]:
    """Faults of the card, the driver and the compiler in this project's words."""
    try:
        yield
    except cupy.cuda.runtime.CUDARuntimeError as error:
        if error.status == NO_DRIVER:
            raise DriverMissing(reason=_reason(error)) from None
        if error.status == NO_CARD:
            raise CardMissing(index=index, count=0) from None
        raise CardUnusable(index=index, reason=_reason(error)) from None
    except (cupy.cuda.compiler.CompileException, RuntimeError, OSError) as error:
        raise CardUnusable(index=index, reason=_reason(error)) from None


@lru_cache(maxsize=8)
def argument_of(prefix: bytes) -> "np.ndarray[Any, Any]":
    """`struct fixed`, by value: CuPy passes an array of one record so."""
    return np.array(fixed_of(prefix).words(), dtype=np.uint32).view(_FIXED)


class Card:
    """`launch` and `collect` by turns; see the module's law. For one thread of one process."""

    def __init__(self, cupy: Any, index: int, shape: Shape) -> None:
        """Of `open`."""
        self.index = index
        self._cupy = cupy
        cupy.cuda.Device(index).use()
        properties = cupy.cuda.runtime.getDeviceProperties(index)
        self.name = str(properties["name"].decode())
        self.processors = int(properties["multiProcessorCount"])
        self.shape = shape
        self._search = cupy.RawModule(code=source(), options=shape.options).get_function("search")
        self._free = [self._slot() for _ in range(SLOTS)]

    @classmethod
    def open(cls, index: int, shape: Shape = BEST) -> "Card":
        """Take hold of it, compile the kernel or load it from CuPy's cache, and try it.

        Raises a `GpuFault`.
        """
        count = count_cards()
        if not 0 <= index < count:
            raise CardMissing(index=index, count=count)
        cupy = load()
        with _telling(cupy, index):
            card = cls(cupy, index, shape)
        card._check()
        return card

    @property
    def threads(self) -> int:
        """That the card holds at a time: a launch has no more, each takes nonce after nonce."""
        return self.processors * self.shape.blocks * self.shape.threads

    @property
    def has_slot(self) -> bool:
        """May another launch begin?"""
        return bool(self._free)

    def launch(self, *, prefix: bytes, target: int, first: int, end: int) -> Launch:
        """Begin to search first ≤ nonce < end, to be collected. Raises `CardUnusable`."""
        check_range(prefix, first, end)
        assert first < end
        assert end - first <= 1 << 31, "offsets and strides share 32 bits"
        launch = Launch(prefix, target, first, end, self._free.pop())
        with _telling(self._cupy, self.index):
            self._begin(launch)
        return launch

    def collect(self, launch: Launch) -> list[int]:
        """Wait for a launch: its nonces, in order. Raises `CardUnusable`."""
        slot = launch.slot
        with _telling(self._cupy, self.index):
            slot.done.synchronize()
        count = int(slot.copy[0])
        candidates = sorted(map(int, slot.copy[1 : 1 + min(count, CAPACITY)]))
        self._free.append(slot)
        if count <= CAPACITY:
            return [one for one in candidates if meets(launch.prefix, one, launch.target)]
        middle = (launch.first + launch.end) // 2
        nonces: list[int] = []
        for first, end in ((launch.first, middle), (middle, launch.end)):
            half = self.launch(prefix=launch.prefix, target=launch.target, first=first, end=end)
            nonces += self.collect(half)
        return nonces

    def _begin(self, launch: Launch) -> None:
        count = launch.end - launch.first
        blocks = min(self.processors * self.shape.blocks, -(-count // self.shape.threads))
        words = (launch.target >> 224, launch.first, count, CAPACITY)
        stream, done, found, copy = launch.slot
        with stream:
            found.data.memset_async(0, found.itemsize, stream)
            self._search(
                (blocks,),
                (self.shape.threads,),
                (argument_of(launch.prefix), *map(np.uint32, words), found),
            )
            found.get(stream=stream, out=copy, blocking=False)
            done.record(stream)

    def _slot(self) -> _Slot:
        cuda = self._cupy.cuda
        found = self._cupy.empty(1 + CAPACITY, dtype=np.uint32)
        pinned = cuda.alloc_pinned_memory(found.nbytes)
        return _Slot(
            stream=cuda.Stream(non_blocking=True),
            done=cuda.Event(block=True, disable_timing=True),
            found=found,
            copy=np.frombuffer(pinned, np.uint32, 1 + CAPACITY),
        )

    def _check(self) -> None:
        """What hashlib finds around Bitcoin's block 0, at its target and at one that many meet."""
        first, end = BLOCK_0_NONCE - CHECKED_SPAN, BLOCK_0_NONCE + CHECKED_SPAN
        for target in (target_of(BITCOIN_MAIN.limit_bits), EASY):
            launch = self.launch(prefix=BLOCK_0, target=target, first=first, end=end)
            if self.collect(launch) != [n for n in range(first, end) if meets(BLOCK_0, n, target)]:
                reason = "its kernel does not find what hashlib does; do not mine with it"
                raise CardUnusable(index=self.index, reason=reason)
