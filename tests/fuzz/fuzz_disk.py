"""Readers of what lies on the disk, and of the settings."""

from collections.abc import Callable
from pathlib import Path
from typing import Any, cast

import msgspec

from chaind.node.config import Config, load
from chaind.storage.errors import FileMissing, LogCorrupt
from chaind.storage.log import AppendLog


class _Memory:
    """Files in memory, as much of them as a log needs; nothing is ever lost."""

    def __init__(self, names: dict[str, bytes]) -> None:
        self.names = {name: bytearray(data) for name, data in names.items()}

    def open_append(self, path: Path) -> "_MemoryFile":
        return _MemoryFile(self.names.setdefault(path.name, bytearray()))

    def read(self, path: Path, offset: int, length: int) -> bytes:
        if path.name not in self.names:
            raise FileMissing(path=str(path), operation="read", reason="not there")
        return bytes(self.names[path.name][offset : offset + length])

    def size(self, path: Path) -> int:
        return len(self.names[path.name])

    def list(self, directory: Path) -> tuple[str, ...]:
        return tuple(sorted(self.names))

    def truncate(self, path: Path, size: int) -> None:
        del self.names[path.name][size:]

    def remove(self, path: Path) -> None:
        del self.names[path.name]

    def sync_dir(self, directory: Path) -> None:
        pass


class _MemoryFile:
    def __init__(self, data: bytearray) -> None:
        self._data = data

    @property
    def size(self) -> int:
        return len(self._data)

    def write(self, data: bytes) -> None:
        self._data += data

    def sync(self) -> None:
        pass

    def close(self) -> None:
        pass


def _open_log(files: _Memory, lossy: bool) -> AppendLog:
    directory = Path("/log")
    return AppendLog.open(
        cast(Any, files), directory, "x", 400, 300, salt=lambda count: b"s" * count, lossy=lossy
    )


RECORDS = tuple(bytes([number]) * (20 + number) for number in range(24))


def _log_segments() -> list[bytes]:
    files = _Memory({})
    log = _open_log(files, lossy=False)
    for record in RECORDS:
        log.append(record)
    log.close()
    return [bytes(files.names[name]) for name in sorted(files.names)]


SEGMENTS = _log_segments()


def read_log(lossy: bool) -> Callable[[bytes], None]:
    """A log whose last segment is anything: refused, or what it gives was written, and it works.

    A lossy one is never refused.
    """

    def read(data: bytes) -> None:
        names = {f"x-{number:010}.log": whole for number, whole in enumerate(SEGMENTS[:-1])}
        files = _Memory({**names, f"x-{len(SEGMENTS) - 1:010}.log": data})
        try:
            log = _open_log(files, lossy)
        except LogCorrupt:
            assert not lossy
            raise
        before = [record for _, record in log.replay()]
        log.append(b"new")
        log.close()
        again = [record for _, record in _open_log(files, lossy).replay()]
        assert again == [*before, b"new"]
        known = sum(record in RECORDS for record in before)
        assert known == len(before) or len(data) > 500, "a record that nobody wrote"

    return read


class _File:
    """A path whose text is given."""

    def __init__(self, data: bytes) -> None:
        self._data = data

    def read_text(self, encoding: str) -> str:
        return self._data.decode(encoding)

    def __str__(self) -> str:
        return "fuzzed.toml"


def read_config(data: bytes) -> None:
    config = load(cast(Path, _File(data)), {})
    assert msgspec.convert(msgspec.to_builtins(config), Config) == config
