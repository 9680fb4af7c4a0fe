"""One process per data directory.

Law: the kernel holds the lock (flock), so a crash releases it and no stale file can block a
start. The process id in the file is for people; nothing is decided by it. The file stays behind
after release: unlinking it would let two processes hold locks on two files of one name.
"""

import fcntl
import os
from pathlib import Path

from chaind.storage.errors import DirectoryInUse
from chaind.storage.files import FILE_MODE, translated

LOCK_NAME = "LOCK"
PID_BYTES_MAX = 20  # a 64-bit integer in decimal


class DirectoryLock:
    """Holds a directory until `close`. Usable as a context manager."""

    def __init__(self, path: Path, descriptor: int) -> None:
        self.path = path
        self._descriptor: int | None = descriptor

    @classmethod
    def acquire(cls, directory: Path) -> "DirectoryLock":
        """Takes the lock of an existing directory, or raises `DirectoryInUse` at once."""
        path = directory / LOCK_NAME
        with translated(path, "lock"):
            descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, FILE_MODE)
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                os.ftruncate(descriptor, 0)
                os.pwrite(descriptor, b"%d\n" % os.getpid(), 0)
            except BlockingIOError:
                pid = os.pread(descriptor, PID_BYTES_MAX, 0).decode("ascii", "replace").strip()
                os.close(descriptor)
                raise DirectoryInUse(path=str(directory), pid=pid or "unknown") from None
            except OSError:
                os.close(descriptor)
                raise
        return cls(path, descriptor)

    def close(self) -> None:
        """Releases the directory; twice is harmless."""
        if self._descriptor is not None:
            descriptor, self._descriptor = self._descriptor, None
            with translated(self.path, "unlock"):
                os.close(descriptor)

    def __enter__(self) -> "DirectoryLock":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
