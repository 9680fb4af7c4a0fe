"""A disk in memory that keeps only what was synced, and tears the rest when power fails."""

from pathlib import Path
from random import Random

from chaind.storage.errors import DiskFailed, FileMissing


class PowerLoss(BaseException):
    """No code under test may catch it as an error of its own."""


class _Content:
    def __init__(self) -> None:
        self.data = bytearray()
        self.durable_bytes = 0


class _Appender:
    def __init__(self, disk: "CrashDisk", path: Path) -> None:
        self.disk, self.path = disk, path
        self.content = disk.names[path]

    @property
    def size(self) -> int:
        return len(self.content.data)

    def write(self, data: bytes) -> None:
        self.content.data += data  # power may fail during the write: `crash` decides on the rest
        self.disk.step("write", self.path)

    def sync(self) -> None:
        self.disk.step("sync", self.path)
        self.content.durable_bytes = self.size

    def close(self) -> None:
        pass


class CrashDisk:
    """`Files`. `operations_left` counts down to a `PowerLoss`; `failing` names an operation that
    raises `DiskFailed` each time."""

    def __init__(self) -> None:
        self.names: dict[Path, _Content] = {}
        self.durable_names: dict[Path, _Content] = {}
        self.operations_left: int | None = None
        self.failing = ""
        self.journal: list[str] = []

    def step(self, operation: str, path: Path) -> None:
        self.journal.append(f"{operation} {path.name}")
        if operation == self.failing:
            raise DiskFailed(path=str(path), operation=operation, reason="told to fail")
        if self.operations_left is not None:
            self.operations_left -= 1
            if self.operations_left <= 0:
                raise PowerLoss

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
        self.operations_left = None

    def kill(self) -> None:
        """Ends the process only: the kernel keeps all, but has made none of it durable."""
        self.operations_left = None

    def _content(self, path: Path) -> _Content:
        if path not in self.names:
            raise FileMissing(path=str(path), operation="find", reason="not there")
        return self.names[path]

    def open_append(self, path: Path) -> _Appender:
        self.names.setdefault(path, _Content())
        self.step("open", path)
        return _Appender(self, path)

    def read(self, path: Path, offset: int, length: int) -> bytes:
        return bytes(self._content(path).data[offset : offset + length])

    def size(self, path: Path) -> int:
        return len(self._content(path).data)

    def list(self, directory: Path) -> tuple[str, ...]:
        return tuple(sorted(path.name for path in self.names if path.parent == directory))

    def truncate(self, path: Path, size: int) -> None:
        self.step("truncate", path)
        content = self._content(path)
        del content.data[size:]
        content.durable_bytes = size

    def remove(self, path: Path) -> None:
        self.step("remove", path)
        del self.names[path]

    def make_dir(self, path: Path) -> None:
        self.step("make", path)

    def write_atomic(self, path: Path, data: bytes, mode: int = 0o600) -> None:
        self.step("replace", path)
        content = _Content()
        content.data += data
        content.durable_bytes = len(data)
        self.names[path] = self.durable_names[path] = content

    def sync_dir(self, directory: Path) -> None:
        self.step("sync", directory)
        self.durable_names = dict(self.names)
