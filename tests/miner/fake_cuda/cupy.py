"""Stands for CuPy and cards: what chaind.miner.gpu uses of it, with the host's C compiler behind.

A stream is a queue: what is put on it, copies too, happens when somebody waits for an event behind
it, not before; memory holds garbage until then. FAKE_CUDA_DIRECTORY keeps what was compiled.
FAKE_CUDA_CARDS says how many cards there are, FAKE_CUDA_STATUS which error the driver answers,
FAKE_CUDA_BAD which cards answer an error of their own.
"""

import ctypes
import os
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np

sys.path.append(str(Path(__file__).parent.parent))
from cuda_host import compile_for_host

GARBAGE = 0xDEADBEEF
_state = {"device": -1}
_streams: list["Stream"] = []


class CUDARuntimeError(RuntimeError):
    """As CuPy's: `status` is CUDA's number."""

    def __init__(self, status: int) -> None:
        self.status = status
        super().__init__(f"cudaErrorFake: status {status}")


class CompileException(Exception):
    """The compiler refuses."""


class Stream:
    """Work to be done in order, later."""

    def __init__(self, non_blocking: bool = False) -> None:
        assert non_blocking, "it would wait for the default stream"
        self.device = _state["device"]
        self.tasks: list[Callable[[], None]] = []
        self.done = 0

    def __enter__(self) -> "Stream":
        _streams.append(self)
        return self

    def __exit__(self, *_: object) -> None:
        _streams.pop()


class Event:
    """A place in a stream."""

    def __init__(self, block: bool = False, disable_timing: bool = False) -> None:
        assert block, "waiting would keep a core busy"
        self.stream: Stream | None = None
        self.behind = 0

    def record(self, stream: Stream) -> None:
        self.stream, self.behind = stream, len(stream.tasks)

    def synchronize(self) -> None:
        assert self.stream is not None
        while self.stream.done < self.behind:
            self.stream.tasks[self.stream.done]()
            self.stream.done += 1


class Device:
    """One of the cards."""

    def __init__(self, index: int) -> None:
        self.index = index

    def use(self) -> None:
        _state["device"] = self.index


class Array:
    """Memory of a card."""

    def __init__(self, size: int, dtype: type) -> None:
        self.device = _state["device"]
        self.values = np.full(size, GARBAGE, dtype)
        self.itemsize, self.nbytes = self.values.itemsize, self.values.nbytes
        self.data = self

    def memset_async(self, value: int, size: int, stream: Stream) -> None:
        assert stream.device == self.device
        stream.tasks.append(lambda: self.values.view(np.uint8)[:size].fill(value))

    def get(self, *, stream: Stream, out: Any, blocking: bool) -> None:
        assert not blocking
        out.fill(GARBAGE)
        stream.tasks.append(lambda: np.copyto(out, self.values))


class RawModule:
    """Source and options."""

    def __init__(self, *, code: str, options: Sequence[str]) -> None:
        self.code, self.options = code, options

    def get_function(self, name: str) -> Callable[..., None]:
        assert name == "search"
        if "refuse" in self.code:
            raise CompileException("sha256d.cu(1): error: refused\n1 error detected")
        directory = Path(os.environ["FAKE_CUDA_DIRECTORY"])
        launch = compile_for_host(self.code, self.options, directory)

        def enqueue(grid: tuple[int], block: tuple[int], args: tuple[Any, ...]) -> None:
            fixed, *words, found = args
            stream = _streams[-1]
            assert stream.device == found.device == _state["device"]
            assert all(type(word) is np.uint32 for word in words)
            assert fixed.shape == (1,), "a record by value"
            record = ctypes.create_string_buffer(fixed.tobytes(), fixed.nbytes)
            numbers = [*grid, *block, record, *map(int, words), found.values.ctypes.data]
            stream.tasks.append(lambda: launch(*numbers))

        return enqueue


def empty(size: int, dtype: type) -> Array:
    return Array(size, dtype)


def _count() -> int:
    status = int(os.environ.get("FAKE_CUDA_STATUS", "0"))
    if status:
        raise CUDARuntimeError(status)
    return int(os.environ.get("FAKE_CUDA_CARDS", "1"))


def _properties(index: int) -> dict[str, Any]:
    if str(index) in os.environ.get("FAKE_CUDA_BAD", ""):
        raise CUDARuntimeError(719)
    return {"name": b"Fake card %d" % index, "multiProcessorCount": 2}


cuda = SimpleNamespace(
    Device=Device,
    Event=Event,
    Stream=Stream,
    alloc_pinned_memory=bytearray,
    compiler=SimpleNamespace(CompileException=CompileException),
    runtime=SimpleNamespace(
        CUDARuntimeError=CUDARuntimeError,
        getDeviceCount=_count,
        getDeviceProperties=_properties,
    ),
)
