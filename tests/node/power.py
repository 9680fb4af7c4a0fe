"""A real disk that can lose power: files and LevelDB keep only what a sync had reached."""

import os
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

from chaind.storage.errors import DiskFailed
from chaind.storage.files import AppendFile, OsFiles
from chaind.storage.kv import Change, LevelStore


class _Appender:
    """An append file that remembers how much of it is durable."""

    def __init__(self, disk: "PowerFiles", path: Path, file: AppendFile) -> None:
        self._disk, self._path, self._file = disk, path, file

    @property
    def size(self) -> int:
        return self._file.size

    def write(self, data: bytes) -> None:
        self._disk.check(self._path)
        self._file.write(data)

    def sync(self) -> None:
        self._disk.check(self._path)
        size = self._file.size
        self._file.sync()
        self._disk.durable[self._path] = size

    def close(self) -> None:
        self._file.close()


class PowerFiles(OsFiles):
    """Files that can lose power: then nothing is written any more, and `cut` drops what no sync
    had reached."""

    def __init__(self) -> None:
        super().__init__()
        self.powered = True
        self.durable: dict[Path, int] = {}

    def check(self, path: Path) -> None:
        if not self.powered:
            raise DiskFailed(path=str(path), operation="write", reason="the power is off")

    def open_append(self, path: Path) -> AppendFile:
        self.check(path)
        file = super().open_append(path)
        self.durable.setdefault(path, file.size)
        return _Appender(self, path, file)

    def cut(self) -> None:
        for path, size in self.durable.items():
            if path.exists():
                os.truncate(path, size)


class PowerStore(LevelStore):
    """A LevelDB whose unsynced batches a power cut takes back."""

    powered = True

    def __init__(self, path: Path, database: Any) -> None:
        super().__init__(path, database)
        self._unsynced: list[Change] = []

    def prepare(self, batch: Iterable[Change], *, sync: bool) -> Callable[[], None]:
        changes = list(batch)
        write = super().prepare(changes, sync=sync)

        def finish() -> None:
            if not self.powered:
                raise DiskFailed(path="db", operation="write", reason="the power is off")
            self._unsynced += [(key, self.get(key)) for key, _ in changes]
            write()
            if sync:
                self._unsynced.clear()

        return finish

    def close(self) -> None:
        if not self.powered and self._unsynced:
            undo, self._unsynced = self._unsynced, []
            super().prepare(reversed(undo), sync=True)()
        super().close()
