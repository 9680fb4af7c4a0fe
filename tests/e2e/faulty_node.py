"""`chaind run` on a disk that can be told to fail: for tests alone, and not part of the node.

    python faulty_node.py run --home …

The file named by FAULTY_CONTROL holds one order, as JSON {"at": …, "errno": …, "name": …}: from the
next such operation on a file whose name begins so, everything fails; the order is removed
when it does. `at` is write, sync, read, batch or get (of the database; damage, no errno).
"""

import json
import os
from collections.abc import Callable, Iterable
from contextlib import suppress
from pathlib import Path
from typing import Any

from chaind.cli import daemon
from chaind.cli.main import main
from chaind.node.config import Config
from chaind.storage.errors import StoreCorrupt
from chaind.storage.files import AppendFile, OsFiles, fault
from chaind.storage.kv import Change, KeyValue, LevelStore

CONTROL = Path(os.environ["FAULTY_CONTROL"])


class Orders:
    """What is to fail."""

    def __init__(self) -> None:
        self.order: dict[str, Any] | None = None

    def due(self, at: str, path: Path) -> dict[str, Any] | None:
        """The order that this operation is to fail by."""
        if self.order is None and CONTROL.exists():
            order = json.loads(CONTROL.read_text())
            if order["at"] == at and path.name.startswith(order["name"]):
                with suppress(FileNotFoundError):  # two threads may both have seen it
                    CONTROL.unlink()
                self.order = order
        order = self.order
        if order is not None and order["at"] == at and path.name.startswith(order["name"]):
            return order
        return None

    def check(self, at: str, path: Path) -> None:
        """Raise as a disk does."""
        order = self.due(at, path)
        if order is not None:
            raise fault(path, at, order["errno"], os.strerror(order["errno"]))


ORDERS = Orders()


class FaultyFile:
    """An append file whose writes may stop half-way and whose syncs may fail."""

    def __init__(self, path: Path, file: AppendFile) -> None:
        self._path = path
        self._file = file
        self._failed = False

    @property
    def size(self) -> int:
        return self._file.size

    def write(self, data: bytes) -> None:
        if ORDERS.due("write", self._path) is not None and not self._failed:
            self._failed = True
            self._file.write(data[: len(data) // 2])
        ORDERS.check("write", self._path)
        self._file.write(data)

    def sync(self) -> None:
        ORDERS.check("sync", self._path)
        self._file.sync()

    def close(self) -> None:
        self._file.close()


class FaultyFiles(OsFiles):
    """`OsFiles` under orders."""

    def open_append(self, path: Path) -> AppendFile:
        ORDERS.check("write", path)
        return FaultyFile(path, super().open_append(path))

    def read(self, path: Path, offset: int, length: int) -> bytes:
        ORDERS.check("read", path)
        return super().read(path, offset, length)


class FaultyStore(LevelStore):
    """`LevelStore` under orders."""

    def prepare(self, batch: Iterable[Change], *, sync: bool) -> Callable[[], None]:
        write = super().prepare(batch, sync=sync)

        def finish() -> None:
            ORDERS.check("batch", self._path)
            write()

        return finish

    def get(self, key: bytes) -> bytes | None:
        order = ORDERS.due("get", self._path)
        if order is not None:
            ORDERS.order = None  # damage is in one place
            raise StoreCorrupt(path=str(self._path), reason="told to be damaged")
        return super().get(key)


def open_faulty(path: Path) -> KeyValue:
    """The database of `chaind run`."""
    return FaultyStore.open(
        path,
        cache_bytes=daemon.DATABASE_CACHE_BYTES,
        write_buffer_bytes=daemon.WRITE_BUFFER_BYTES,
    )


_run = daemon.run


def run_faulty(config: Config) -> int:
    """`daemon.run` on that disk."""
    return _run(config, daemon.SYSTEM._replace(files=FaultyFiles(), open_database=open_faulty))


if __name__ == "__main__":
    daemon.run = run_faulty
    main()
