"""DirectoryLock: one holder per directory, released by close and by death."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from chaind.storage.errors import DirectoryInUse, FileMissing
from chaind.storage.lock import DirectoryLock

HOLDER = """
import sys, time
from pathlib import Path
from chaind.storage.lock import DirectoryLock
lock = DirectoryLock.acquire(Path(sys.argv[1]))
print("held", flush=True)
sys.stdin.read()
"""


def test_the_second_holder_is_told_who_holds_it(tmp_path: Path) -> None:
    with DirectoryLock.acquire(tmp_path):
        for _ in range(2):  # being refused does not disturb the holder
            with pytest.raises(DirectoryInUse) as caught:
                DirectoryLock.acquire(tmp_path)
            assert caught.value.values == {"path": str(tmp_path), "pid": str(os.getpid())}
            assert caught.value.exit_code == 80
    again = DirectoryLock.acquire(tmp_path)
    again.close()
    again.close()


def test_the_kernel_releases_the_lock_of_a_killed_process(tmp_path: Path) -> None:
    holder = subprocess.Popen(
        [sys.executable, "-c", HOLDER, str(tmp_path)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    )
    with holder:
        try:
            assert holder.stdout is not None
            assert holder.stdout.readline() == b"held\n"
            with pytest.raises(DirectoryInUse, match=f"process {holder.pid}$"):
                DirectoryLock.acquire(tmp_path)
        finally:
            holder.send_signal(signal.SIGKILL)
    with DirectoryLock.acquire(tmp_path) as lock:
        assert lock.path.read_text() == f"{os.getpid()}\n"


def test_a_shorter_process_id_leaves_nothing_of_a_longer_one(tmp_path: Path) -> None:
    (tmp_path / "LOCK").write_text("99999999999999\n")
    with DirectoryLock.acquire(tmp_path) as lock:
        assert lock.path.read_text() == f"{os.getpid()}\n"


def test_the_directory_must_exist(tmp_path: Path) -> None:
    with pytest.raises(FileMissing):
        DirectoryLock.acquire(tmp_path / "none")
