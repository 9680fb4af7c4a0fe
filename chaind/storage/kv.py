"""An ordered map from bytes to bytes: LevelDB on disk, a sorted dictionary in memory, one law.

Law: keys order by their bytes; `scan` is half-open, [start, stop), and sees the store as it was
when it was called; a batch is applied whole or not at all, its last word on a key counts; a
synced batch survives power loss, an unsynced one may be lost whole (with all that followed it),
never in part. What `prepare` returns may run on a worker thread while another thread reads, and
leaves the interpreter to others while it does. A store that failed
to write refuses every later write: LevelDB would append behind a half-written record, and lose
what follows it at the next start.
"""

import errno
import os
import threading
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Any, Protocol

import plyvel
from sortedcontainers import SortedDict

from chaind.primitives.errors import LocalFault
from chaind.storage.errors import DiskFailed, StoreCorrupt, StoreLocked
from chaind.storage.files import fault, translated

Row = tuple[bytes, bytes]
Change = tuple[bytes, bytes | None]  # None deletes
Rows = SortedDict[bytes, bytes]


class Reader(Protocol):
    """What a store and a snapshot of it have in common."""

    def get(self, key: bytes) -> bytes | None:
        """The value of `key`, or None."""

    def scan(
        self, start: bytes, stop: bytes | None, *, reverse: bool = False, limit: int | None = None
    ) -> Iterator[Row]:
        """Rows with start ≤ key < stop (None: to the last), by key, at most `limit` of them."""


class Snapshot(Reader, Protocol):
    """The store as it was; holds resources until closed."""

    def close(self) -> None:
        """Lets go of the old state; twice is harmless."""


class KeyValue(Reader, Protocol):
    """The store. Owned by one; its owner ends all readers and writers before `close`."""

    def prepare(self, batch: Iterable[Change], *, sync: bool) -> Callable[[], None]:
        """The write of a batch, made ready: calling it does what `write` does."""

    def write(self, batch: Iterable[Change], *, sync: bool) -> None:
        """Applies the batch atomically; with `sync` it is durable on return."""

    def snapshot(self) -> Snapshot:
        """A view that later writes do not change."""

    def close(self) -> None:
        """Releases the store; twice is harmless."""


def prefix_end(prefix: bytes) -> bytes | None:
    """The `stop` that makes a scan cover exactly the keys starting with `prefix`."""
    stem = prefix.rstrip(b"\xff")
    return stem[:-1] + bytes((stem[-1] + 1,)) if stem else None


class _LevelReader:
    """Reads of a plyvel DB or snapshot, checksums verified, errors translated."""

    def __init__(self, path: Path, raw: Any) -> None:
        self._path = path
        self._raw = raw
        self._get = raw.get

    def get(self, key: bytes) -> bytes | None:
        try:
            value: bytes | None = self._get(key, verify_checksums=True)
        except plyvel.Error as error:
            raise _fault(self._path, "read", error) from error
        return value

    def scan(
        self, start: bytes, stop: bytes | None, *, reverse: bool = False, limit: int | None = None
    ) -> Iterator[Row]:
        # Made here and not in the generator: the iterator pins the state of this moment.
        rows = self._raw.iterator(start=start, stop=stop, reverse=reverse, verify_checksums=True)
        return self._rows(rows, limit)

    def _rows(self, rows: Any, limit: int | None) -> Iterator[Row]:
        try:
            yield from islice(rows, limit)
        except plyvel.Error as error:
            raise _fault(self._path, "read", error) from error
        finally:
            rows.close()

    def close(self) -> None:
        self._raw.close()


class LevelStore(_LevelReader):
    """`KeyValue` on LevelDB."""

    def __init__(self, path: Path, database: Any) -> None:
        super().__init__(path, database)
        self._writing = threading.Lock()  # `close` waits for a write on another thread
        self._failed = False

    @classmethod
    def open(
        cls, path: Path, *, cache_bytes: int, write_buffer_bytes: int, bloom_bits: int = 10
    ) -> "LevelStore":
        """Opens or makes the store in the directory `path`, whose parent exists.

        `bloom_bits` per key: 10 make a miss cost a disk read once in a hundred. The caller holds
        the `DirectoryLock`: LevelDB's own lock is POSIX's, which a failed second open within this
        process gives away.
        """
        with translated(path, "open"), _translated(path, "open"):
            _check_complete(path)
            database = plyvel.DB(
                os.fspath(path),
                create_if_missing=True,
                paranoid_checks=True,  # damage stops the node; a batch is never skipped silently
                write_buffer_size=write_buffer_bytes,
                lru_cache_size=cache_bytes,
                bloom_filter_bits=bloom_bits,
                compression=None,  # hashes, keys and signatures do not compress
            )
        return cls(path, database)

    def write(self, batch: Iterable[Change], *, sync: bool) -> None:
        self.prepare(batch, sync=sync)()

    def prepare(self, batch: Iterable[Change], *, sync: bool) -> Callable[[], None]:
        changes = self._raw.write_batch(sync=sync)
        put, delete = changes.put, changes.delete
        for key, value in batch:
            if value is None:
                delete(key)
            else:
                put(key, value)
        return partial(self._write, changes)

    def _write(self, changes: Any) -> None:
        with self._writing:
            if self._failed:
                reason = "an earlier write to this store failed"
                raise DiskFailed(path=str(self._path), operation="write", reason=reason)
            try:
                changes.write()
            except plyvel.Error as error:
                self._failed = True
                raise _fault(self._path, "write", error) from error

    def snapshot(self) -> Snapshot:
        return _LevelReader(self._path, self._raw.snapshot())

    def close(self) -> None:
        with self._writing:
            super().close()


def _check_complete(path: Path) -> None:
    """LevelDB makes a fresh store where CURRENT is missing, whatever tables lie beside it."""
    if (
        path.is_dir()
        and not (path / "CURRENT").exists()
        and any(name.endswith((".ldb", ".sst")) for name in os.listdir(path))
    ):
        raise StoreCorrupt(path=str(path), reason="its file CURRENT is missing")


@contextmanager
def _translated(path: Path, operation: str) -> Iterator[None]:
    try:
        yield
    except plyvel.Error as error:
        raise _fault(path, operation, error) from error


def _fault(path: Path, operation: str, error: Exception) -> LocalFault:
    """LevelDB's status as an error of this room. Its kind is a type, its errno only a text."""
    raw = error.args[0] if error.args else b""
    reason = raw.decode("utf-8", "replace") if isinstance(raw, bytes) else str(raw)
    if isinstance(error, plyvel.CorruptionError):
        return StoreCorrupt(path=str(path), reason=reason)
    if reason.startswith("IO error: lock "):
        return StoreLocked(path=str(path), reason=reason)
    if reason.endswith(os.strerror(errno.EINVAL)):  # a table that ends before what it should hold
        return StoreCorrupt(path=str(path), reason=reason)
    number = next((n for n in errno.errorcode if reason.endswith(os.strerror(n))), errno.EIO)
    return fault(path, operation, number, reason)


class _MemoryReader:
    """Reads of sorted rows under their store's lock."""

    def __init__(self, rows: Rows, lock: threading.Lock) -> None:
        self._rows = rows
        self._lock = lock

    def get(self, key: bytes) -> bytes | None:
        with self._lock:
            value: bytes | None = self._rows.get(key)
        return value

    def scan(
        self, start: bytes, stop: bytes | None, *, reverse: bool = False, limit: int | None = None
    ) -> Iterator[Row]:
        if stop is not None and stop <= start:
            return iter(())
        with self._lock:
            rows = self._rows
            keys = rows.irange(start, stop, inclusive=(True, False), reverse=reverse)
            return iter([(key, rows[key]) for key in islice(keys, limit)])

    def close(self) -> None:
        """Memory goes when its last reader does."""


class MemoryStore(_MemoryReader):
    """`KeyValue` in memory, for tests and simulation: nothing survives it.

    Snapshots share the rows; the first write after one copies them.
    """

    def __init__(self) -> None:
        super().__init__(SortedDict(), threading.Lock())
        self._shared = False

    def write(self, batch: Iterable[Change], *, sync: bool) -> None:
        self.prepare(batch, sync=sync)()

    def prepare(self, batch: Iterable[Change], *, sync: bool) -> Callable[[], None]:  # noqa: ARG002
        return partial(self._write, list(batch))  # one that raises half-way changes nothing

    def _write(self, changes: Iterable[Change]) -> None:
        with self._lock:
            if self._shared:
                self._rows = self._rows.copy()
                self._shared = False
            for key, value in changes:
                if value is None:
                    self._rows.pop(key, None)
                else:
                    self._rows[key] = value

    def snapshot(self) -> Snapshot:
        with self._lock:
            self._shared = True
            return _MemoryReader(self._rows, threading.Lock())
