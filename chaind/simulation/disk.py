"""A disk in memory that keeps only what was synced, tears the rest when power fails, and fails.

Law: what a program sees is what it wrote; what the next start finds is what a sync had reached,
and of the rest what chance leaves: a prefix of each file's unsynced bytes, perhaps garbage behind
it, each name or not, and of unsynced batches of a store the first few.
"""

from collections.abc import Callable, Iterable
from functools import partial
from pathlib import Path
from random import Random

from chaind.storage.errors import DiskFailed, DiskFull, FileMissing
from chaind.storage.files import AppendFile
from chaind.storage.kv import Change, MemoryStore

CHANGES = frozenset({"open", "write", "sync", "truncate", "remove", "make", "replace"})
SPACE = frozenset({"write", "make", "replace"})  # what a full disk refuses


class PowerLoss(BaseException):
    """The machine is off. No code under test may catch it as an error of its own."""


class _Content:
    def __init__(self) -> None:
        self.data = bytearray()
        self.durable_bytes = 0

    def durable_holds(self, data: bytes) -> bool:
        """Whether these bytes stand in what no crash can take."""
        return self.data.rfind(data, 0, self.durable_bytes) >= 0

    def copied(self) -> "_Content":
        copy = _Content()
        copy.data += self.data
        copy.durable_bytes = self.durable_bytes
        return copy


class _Appender:
    """`AppendFile`; poisoned by its first failure, as the law of `storage.files` wants it."""

    def __init__(self, disk: "CrashDisk", path: Path) -> None:
        self.disk, self.path = disk, path
        self.content = disk.names[path]
        self._poisoned = False

    @property
    def size(self) -> int:
        return len(self.content.data)

    def write(self, data: bytes) -> None:
        self._check("write")
        self.content.data += data  # power may fail during the write: `crash` decides on the rest
        self._step("write")

    def sync(self) -> None:
        self._check("sync")
        self._step("sync")
        self.content.durable_bytes = self.size

    def close(self) -> None:
        pass

    def _check(self, operation: str) -> None:
        if self._poisoned:
            reason = "an earlier write or sync of this file failed"
            raise DiskFailed(path=str(self.path), operation=operation, reason=reason)

    def _step(self, operation: str) -> None:
        self._poisoned = True
        self.disk.step(operation, self.path)
        self._poisoned = False


class CrashDisk:
    """`Files`. `operations_left` counts down to a `PowerLoss`; `failing` names an operation that
    raises `DiskFailed` each time; `full` refuses what needs space. `heard` is told of every
    operation before it may fail."""

    def __init__(self) -> None:
        self.names: dict[Path, _Content] = {}
        self.durable_names: dict[Path, _Content] = {}
        self.stores: dict[Path, CrashStore] = {}
        self.operations_left: int | None = None
        self.failing = ""
        self.full = False
        self.heard: Callable[[str, Path], None] = _nothing
        self.on_power_loss: Callable[[], None] | None = None  # before `PowerLoss` is raised

    def step(self, operation: str, path: Path) -> None:
        """An operation is about to be done, or in the middle of it (write)."""
        self.heard(operation, path)
        if operation == self.failing:
            raise DiskFailed(path=str(path), operation=operation, reason="told to fail")
        if self.full and operation in SPACE:
            raise DiskFull(path=str(path), operation=operation, reason="told to be full")
        if self.operations_left is not None and operation in CHANGES:
            self.operations_left -= 1
            if self.operations_left <= 0:
                if self.on_power_loss is not None:
                    self.on_power_loss()
                raise PowerLoss

    def copied(self) -> "CrashDisk":
        """A disk with the same content; what happens to one does not reach the other."""
        copy = CrashDisk()
        copy.failing, copy.full = self.failing, self.full
        contents = {id(one): one.copied() for one in (*self.names.values(),)}
        for one in self.durable_names.values():
            contents.setdefault(id(one), one.copied())
        copy.names = {path: contents[id(one)] for path, one in self.names.items()}
        copy.durable_names = {path: contents[id(one)] for path, one in self.durable_names.items()}
        copy.stores = {path: store.copied(copy) for path, store in self.stores.items()}
        return copy

    def open_store(self, path: Path) -> "CrashStore":
        """The store at `path`, made if missing."""
        store = self.stores.get(path)
        if store is None:
            store = self.stores[path] = CrashStore(self, path)
        return store

    def crash(self, random: Random) -> None:
        """Loses power: each unsynced name and byte is kept or lost, by chance."""
        for path in sorted(self.names.keys() ^ self.durable_names.keys()):
            if random.random() < 0.5:  # the change since the last sync of the directory is lost
                if path in self.durable_names:
                    self.names[path] = self.durable_names[path]
                else:
                    del self.names[path]
        for content in self.names.values():
            unsynced = len(content.data) - content.durable_bytes
            kept = random.randint(0, unsynced)
            hole = random.choice((0, random.randint(0, unsynced - kept)))
            del content.data[content.durable_bytes + kept :]
            content.data += bytes(hole) if random.random() < 0.5 else random.randbytes(hole)
            content.durable_bytes = len(content.data)
        self.durable_names = dict(self.names)
        for store in self.stores.values():
            store.crash(random)
        self.operations_left = None

    def kill(self) -> None:
        """Ends the process only: the kernel keeps all, but has made none of it durable."""
        self.operations_left = None

    def _content(self, path: Path) -> _Content:
        if path not in self.names:
            raise FileMissing(path=str(path), operation="find", reason="not there")
        return self.names[path]

    def open_append(self, path: Path) -> AppendFile:
        """See `Files`."""
        self.names.setdefault(path, _Content())
        self.step("open", path)
        return _Appender(self, path)

    def read(self, path: Path, offset: int, length: int) -> bytes:
        """See `Files`."""
        self.step("read", path)
        return bytes(self._content(path).data[offset : offset + length])

    def size(self, path: Path) -> int:
        """See `Files`."""
        return len(self._content(path).data)

    def list(self, directory: Path) -> tuple[str, ...]:
        """See `Files`."""
        return tuple(sorted(path.name for path in self.names if path.parent == directory))

    def truncate(self, path: Path, size: int) -> None:
        """See `Files`."""
        self.step("truncate", path)
        content = self._content(path)
        del content.data[size:]
        content.durable_bytes = size

    def remove(self, path: Path) -> None:
        """See `Files`."""
        self.step("remove", path)
        del self.names[path]

    def make_dir(self, path: Path) -> None:
        """See `Files`."""
        self.step("make", path)

    def write_atomic(self, path: Path, data: bytes, mode: int = 0o600) -> None:  # noqa: ARG002
        """See `Files`."""
        self.step("replace", path)
        content = _Content()
        content.data += data
        content.durable_bytes = len(data)
        self.names[path] = self.durable_names[path] = content

    def sync_dir(self, directory: Path) -> None:
        """See `Files`."""
        self.step("sync", directory)
        self.durable_names = dict(self.names)


class CrashStore(MemoryStore):
    """`KeyValue` on a `CrashDisk`, whose unsynced batches a crash may take back, the last first."""

    def __init__(self, disk: CrashDisk, path: Path) -> None:
        super().__init__()
        self._disk = disk
        self._path = path
        self._failed = False
        self._undo: list[list[Change]] = []  # of unsynced batches, oldest first

    def copied(self, disk: CrashDisk) -> "CrashStore":
        """The same rows on another disk, for another program to open."""
        copy = CrashStore(disk, self._path)
        copy._rows = self._rows.copy()
        copy._undo = list(self._undo)
        return copy

    def get(self, key: bytes) -> bytes | None:
        """See `Reader`."""
        value: bytes | None = self._rows.get(key)  # one thread only: no lock
        return value

    def prepare(self, batch: Iterable[Change], *, sync: bool) -> Callable[[], None]:
        """See `KeyValue`."""
        return partial(self._write_or_fail, list(batch), sync)

    def _write_or_fail(self, changes: list[Change], sync: bool) -> None:
        if self._failed:
            reason = "an earlier write to this store failed"
            raise DiskFailed(path=str(self._path), operation="write", reason=reason)
        self._failed = True
        self._disk.step("write", self._path)
        self._undo.append([(key, self.get(key)) for key, _ in changes])
        self._write(changes)
        if sync:
            self._disk.step("sync", self._path)
            self._undo.clear()
        self._failed = False

    def crash(self, random: Random) -> None:
        """Loses power: the first few unsynced batches are kept, by chance."""
        kept = random.randint(0, len(self._undo))
        for changes in reversed(self._undo[kept:]):
            self._write(reversed(changes))
        self._undo.clear()


def _nothing(_operation: str, _path: Path) -> None:
    pass
