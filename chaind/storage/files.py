"""The seam between the node and a file system. Above it nobody calls `os`.

Law: every call succeeds whole or raises; errno becomes an error of this room. An append file that
once failed to write or sync is *poisoned* and refuses for ever: after a failed fsync the kernel
may mark the lost pages clean, so a second fsync would succeed over a hole (Rebello et al., "Can
Applications Recover from fsync Failures?", 2020).

A simulated disk implements `Files` to lose and tear what was not synced, and to fail at will.
"""

import errno
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Protocol

from chaind.primitives.errors import LocalFault
from chaind.storage.errors import DiskDenied, DiskFailed, DiskFull, FileMissing, PathTaken

FILE_MODE = 0o600  # keys, votes and unconfirmed payments are nobody else's business
DIRECTORY_MODE = 0o700

_FULL = frozenset({errno.ENOSPC, errno.EDQUOT})
_DENIED = frozenset({errno.EACCES, errno.EPERM, errno.EROFS})
_MISSING = frozenset({errno.ENOENT})
_TAKEN = frozenset({errno.ENOTDIR, errno.EEXIST, errno.EISDIR, errno.ENAMETOOLONG, errno.ELOOP})


class AppendFile(Protocol):
    """A file that only grows. One thread at a time."""

    @property
    def size(self) -> int:
        """Bytes in the file, unsynced ones included."""

    def write(self, data: bytes) -> None:
        """Appends all of `data` or raises, and is then poisoned; durable only after `sync`."""

    def sync(self) -> None:
        """Makes everything written durable, the file's size included (fdatasync), or raises."""

    def close(self) -> None:
        """Releases the handle without syncing; twice is harmless."""


class Files(Protocol):
    """What the node needs of a file system. All methods raise this room's `LocalFault`s."""

    def open_append(self, path: Path) -> AppendFile:
        """The file at `path`, made if missing; its name is durable only after `sync_dir`."""

    def read(self, path: Path, offset: int, length: int) -> bytes:
        """Up to `length` bytes from `offset`; fewer only where the file ends."""

    def size(self, path: Path) -> int:
        """Bytes in the file."""

    def list(self, directory: Path) -> tuple[str, ...]:
        """Names in the directory, sorted."""

    def truncate(self, path: Path, size: int) -> None:
        """Cuts the file to `size` bytes, durably."""

    def remove(self, path: Path) -> None:
        """Unlinks the file; durable only after `sync_dir`."""

    def make_dir(self, path: Path) -> None:
        """Makes the directory and its missing parents, durably; an existing one is fine."""

    def write_atomic(self, path: Path, data: bytes, mode: int = FILE_MODE) -> None:
        """Replaces the file durably: after a crash it holds the old bytes or the new, whole."""

    def sync_dir(self, directory: Path) -> None:
        """Makes names made, renamed or removed in the directory durable."""


@contextmanager
def translated(path: Path, operation: str) -> Iterator[None]:
    """Turns an `OSError` of the body into the error of this room that its errno stands for."""
    try:
        yield
    except OSError as error:
        number = error.errno or errno.EIO
        raise fault(path, operation, number, error.strerror or str(error)) from error


def fault(path: Path, operation: str, number: int, reason: str) -> LocalFault:
    """The error of this room for an errno."""
    kind: type[LocalFault] = DiskFailed
    if number in _FULL:
        kind = DiskFull
    elif number in _DENIED:
        kind = DiskDenied
    elif number in _MISSING:
        kind = FileMissing
    elif number in _TAKEN:
        kind = PathTaken
    return kind(path=str(path), operation=operation, reason=reason)


class OsAppendFile:
    """`AppendFile` over a descriptor in O_APPEND mode."""

    def __init__(self, path: Path, descriptor: int, size: int) -> None:
        self._path = path
        self._descriptor: int | None = descriptor
        self._size = size
        self._poisoned = False

    @property
    def size(self) -> int:
        return self._size

    def write(self, data: bytes) -> None:
        with self._poisoning("append to") as descriptor:
            _write_all(descriptor, data)
        self._size += len(data)

    def sync(self) -> None:
        with self._poisoning("sync") as descriptor:
            os.fdatasync(descriptor)

    def close(self) -> None:
        if self._descriptor is not None:
            descriptor, self._descriptor = self._descriptor, None
            with translated(self._path, "close"):
                os.close(descriptor)

    @contextmanager
    def _poisoning(self, operation: str) -> Iterator[int]:
        """Yields the descriptor; whatever ends the body early also ends the file's usefulness."""
        assert self._descriptor is not None, "used after close"
        if self._poisoned:
            raise DiskFailed(
                path=str(self._path),
                operation=operation,
                reason="an earlier write or sync of this file failed",
            )
        self._poisoned = True
        with translated(self._path, operation):
            yield self._descriptor
        self._poisoned = False


class OsFiles:
    """`Files` over the operating system."""

    def open_append(self, path: Path) -> AppendFile:
        flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC
        with translated(path, "open"):
            descriptor = os.open(path, flags, FILE_MODE)
            return OsAppendFile(path, descriptor, os.fstat(descriptor).st_size)

    def read(self, path: Path, offset: int, length: int) -> bytes:
        with translated(path, "read"), _opened(path, os.O_RDONLY) as descriptor:
            data = os.pread(descriptor, length, offset)
            if len(data) == length:
                return data
            parts = [data]  # the end of the file, or more than the kernel gives at once (2 GiB)
            while parts[-1]:
                done = sum(map(len, parts))
                parts.append(os.pread(descriptor, length - done, offset + done))
            return b"".join(parts)

    def size(self, path: Path) -> int:
        with translated(path, "measure"):
            return path.stat().st_size

    def list(self, directory: Path) -> tuple[str, ...]:
        with translated(directory, "list"):
            return tuple(sorted(os.listdir(directory)))

    def truncate(self, path: Path, size: int) -> None:
        with translated(path, "truncate"), _opened(path, os.O_WRONLY) as descriptor:
            os.ftruncate(descriptor, size)
            os.fsync(descriptor)

    def remove(self, path: Path) -> None:
        with translated(path, "remove"):
            path.unlink()

    def make_dir(self, path: Path) -> None:
        if path.is_dir():
            return
        self.make_dir(path.parent)
        with translated(path, "make"):
            path.mkdir(DIRECTORY_MODE)
        self.sync_dir(path.parent)

    def write_atomic(self, path: Path, data: bytes, mode: int = FILE_MODE) -> None:
        temporary = path.with_name(path.name + ".tmp")
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL
        with translated(path, "write"):
            temporary.unlink(missing_ok=True)  # left by a crash, perhaps with another mode
            try:
                with _opened(temporary, flags, mode) as descriptor:
                    os.fchmod(descriptor, mode)  # whatever the umask says
                    _write_all(descriptor, data)
                    os.fsync(descriptor)
                temporary.rename(path)
            except OSError:
                with suppress(OSError):  # the first failure is the one to report
                    temporary.unlink()
                raise
        self.sync_dir(path.parent)

    def sync_dir(self, directory: Path) -> None:
        with (
            translated(directory, "sync"),
            _opened(directory, os.O_RDONLY | os.O_DIRECTORY) as descriptor,
        ):
            os.fsync(descriptor)


def set_aside(files: Files, path: Path) -> Path:
    """Keeps a damaged file or directory under a new name beside the old one; that name."""
    number = 1
    while (kept := path.with_name(f"{path.name}.damaged-{number}")).exists():
        number += 1
    with translated(path, "rename"):
        path.rename(kept)
    files.sync_dir(path.parent)
    return kept


@contextmanager
def _opened(path: Path, flags: int, mode: int = FILE_MODE) -> Iterator[int]:
    descriptor = os.open(path, flags | os.O_CLOEXEC, mode)
    try:
        yield descriptor
    finally:
        os.close(descriptor)


def _write_all(descriptor: int, data: bytes) -> None:
    """Writes on after a short write: the next one succeeds, or says why it cannot (ENOSPC)."""
    rest = memoryview(data)
    while rest:
        written = os.write(descriptor, rest)
        if written == 0:  # never seen on Linux, and no errno explains it
            raise OSError(errno.EIO, os.strerror(errno.EIO))
        rest = rest[written:]
