"""OsFiles: whole or an error, and never a second chance after a failed write or sync."""

import errno
import os
from collections.abc import Callable
from pathlib import Path

import pytest

from chaind.storage.errors import DiskDenied, DiskFailed, DiskFull, FileMissing
from chaind.storage.files import OsFiles


def failing(code: int) -> Callable[..., int]:
    def fail(*_: object) -> int:
        raise OSError(code, os.strerror(code))

    return fail


def test_append_read_truncate(tmp_path: Path) -> None:
    files, path = OsFiles(), tmp_path / "a"
    handle = files.open_append(path)
    handle.write(b"hello ")
    handle.write(b"world")
    handle.sync()
    assert handle.size == files.size(path) == 11
    assert files.read(path, 0, 5) == b"hello"
    assert files.read(path, 6, 100) == b"world"
    assert files.read(path, 11, 10) == files.read(path, 50, 10) == b""
    assert path.stat().st_mode & 0o777 == 0o600
    handle.close()
    handle.close()
    files.truncate(path, 5)
    again = files.open_append(path)
    assert again.size == 5
    again.write(b"!")
    again.close()
    assert path.read_bytes() == b"hello!"


def test_a_full_disk_poisons_the_file() -> None:
    handle = OsFiles().open_append(Path("/dev/full"))
    with pytest.raises(DiskFull) as caught:
        handle.write(b"x")
    assert caught.value.values["path"] == "/dev/full"
    for again in (lambda: handle.write(b"x"), handle.sync):
        with pytest.raises(DiskFailed, match="an earlier"):
            again()
    handle.close()


def test_a_failed_sync_is_never_retried(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    handle = OsFiles().open_append(tmp_path / "a")
    handle.write(b"x")
    with monkeypatch.context() as patch:
        patch.setattr(os, "fdatasync", failing(errno.EIO))
        with pytest.raises(DiskFailed, match="Input/output error"):
            handle.sync()
    for again in (handle.sync, lambda: handle.write(b"y")):  # the disk would work again
        with pytest.raises(DiskFailed, match="an earlier"):
            again()
    handle.close()
    assert (tmp_path / "a").read_bytes() == b"x"


def test_short_writes_are_completed_or_end_the_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write, room = os.write, [100]

    def little(descriptor: int, data: memoryview) -> int:
        if room[0] == 0:
            raise OSError(errno.ENOSPC, "full")
        done = write(descriptor, data[: min(3, room[0])])
        room[0] -= done
        return done

    handle = OsFiles().open_append(tmp_path / "a")
    monkeypatch.setattr(os, "write", little)
    handle.write(b"0123456789" * 6)
    assert (tmp_path / "a").read_bytes() == b"0123456789" * 6
    with pytest.raises(DiskFull):
        handle.write(b"0123456789" * 6)
    room[0] = 1000
    with pytest.raises(DiskFailed, match="an earlier"):
        handle.write(b"0123456789" * 6)
    handle.close()


@pytest.mark.parametrize(
    ("code", "kind"),
    [
        (errno.ENOSPC, DiskFull),
        (errno.EDQUOT, DiskFull),
        (errno.EACCES, DiskDenied),
        (errno.EROFS, DiskDenied),
        (errno.ENOENT, FileMissing),
        (errno.EIO, DiskFailed),
        (errno.EMFILE, DiskFailed),
    ],
)
def test_errno_decides_the_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, code: int, kind: type[Exception]
) -> None:
    monkeypatch.setattr(os, "open", failing(code))
    with pytest.raises(kind, match=os.strerror(code)):
        OsFiles().open_append(tmp_path / "a")


def test_what_is_not_there_is_missing(tmp_path: Path) -> None:
    files, path = OsFiles(), tmp_path / "none"
    for call in (
        lambda: files.read(path, 0, 1),
        lambda: files.size(path),
        lambda: files.list(path),
        lambda: files.truncate(path, 0),
        lambda: files.remove(path),
        lambda: files.sync_dir(path),
        lambda: files.open_append(path / "a"),
        lambda: files.write_atomic(path / "a", b""),
    ):
        with pytest.raises(FileMissing, match="none"):
            call()


def test_directories_are_made_with_their_parents_and_synced(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    files, synced = OsFiles(), []
    monkeypatch.setattr(files, "sync_dir", synced.append)
    files.make_dir(tmp_path / "a" / "b")
    files.make_dir(tmp_path / "a" / "b")
    assert synced == [tmp_path, tmp_path / "a"]
    assert (tmp_path / "a" / "b").stat().st_mode & 0o777 == 0o700
    (tmp_path / "b").touch()
    assert files.list(tmp_path) == ("a", "b")
    files.remove(tmp_path / "b")
    assert files.list(tmp_path) == ("a",)


@pytest.mark.parametrize("mode", [0o600, 0o644])
def test_atomic_write_replaces_whole_with_the_mode_asked_for(tmp_path: Path, mode: int) -> None:
    files, path = OsFiles(), tmp_path / "key"
    (tmp_path / "key.tmp").write_bytes(b"left by a crash, readable by all, and longer")
    (tmp_path / "key.tmp").chmod(0o666)
    path.write_bytes(b"old")
    umask = os.umask(0o077)
    try:
        files.write_atomic(path, b"new", mode)
    finally:
        os.umask(umask)
    assert path.read_bytes() == b"new"
    assert path.stat().st_mode & 0o777 == mode
    assert files.list(tmp_path) == ("key",)


def test_atomic_write_is_synced_before_the_rename_and_the_rename_after(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    order: list[str] = []
    fsync, rename = os.fsync, Path.rename

    def traced_sync(descriptor: int) -> None:
        order.append(os.readlink(f"/proc/self/fd/{descriptor}").removeprefix(str(tmp_path)))
        fsync(descriptor)

    def traced_rename(source: Path, target: Path) -> Path:
        order.append("rename")
        return rename(source, target)

    monkeypatch.setattr(os, "fsync", traced_sync)
    monkeypatch.setattr(Path, "rename", traced_rename)
    OsFiles().write_atomic(tmp_path / "key", b"new")
    assert order == ["/key.tmp", "rename", ""]


def test_a_failed_atomic_write_keeps_the_old_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    files, path = OsFiles(), tmp_path / "key"
    path.write_bytes(b"old")
    monkeypatch.setattr(os, "fsync", failing(errno.EIO))
    with pytest.raises(DiskFailed):
        files.write_atomic(path, b"new")
    assert path.read_bytes() == b"old"
    assert files.list(tmp_path) == ("key",)
