"""LevelStore: survives its process, reports damage, and never writes on after a failure."""

import subprocess
import sys
import textwrap
from pathlib import Path
from random import Random
from typing import Any

import plyvel
import pytest

from chaind.storage.errors import FileMissing, StoreCorrupt, StoreLocked
from chaind.storage.kv import LevelStore


def open_level(path: Path, write_buffer_bytes: int = 1 << 16) -> LevelStore:
    return LevelStore.open(path, cache_bytes=1 << 20, write_buffer_bytes=write_buffer_bytes)


def run(code: str, path: Path) -> subprocess.CompletedProcess[str]:
    prelude = """
        import os, resource, signal, sys
        from pathlib import Path
        from chaind.storage.errors import *
        from chaind.storage.kv import LevelStore
        path = Path(sys.argv[1])
        def open_level():
            return LevelStore.open(path, cache_bytes=1 << 20, write_buffer_bytes=1 << 20)
    """
    script = textwrap.dedent(prelude) + textwrap.dedent(code)
    command = [sys.executable, "-c", script, str(path)]
    return subprocess.run(command, capture_output=True, text=True, timeout=30, check=False)


def test_rows_survive_close_and_kill(tmp_path: Path) -> None:
    path = tmp_path / "store"
    store = open_level(path)
    store.write([(b"a", b"1"), (b"b", b"2")], sync=False)
    store.close()
    killed = run(
        """
        store = open_level()
        store.write([(b"a", None), (b"c", b"3")], sync=True)
        os.kill(os.getpid(), signal.SIGKILL)
        """,
        path,
    )
    assert killed.returncode == -9, killed.stderr
    store = open_level(path)
    assert list(store.scan(b"", None)) == [(b"b", b"2"), (b"c", b"3")]
    store.close()


def test_a_second_opener_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "store"
    store = open_level(path)
    other = run(
        """
        try: open_level()
        except StoreLocked as error: print(error.exit_code)
        """,
        path,
    )
    assert other.stdout == "85\n", other.stderr
    with pytest.raises(StoreLocked, match=str(path)):
        open_level(path)
    store.close()
    open_level(path).close()


def test_the_parent_directory_must_exist(tmp_path: Path) -> None:
    with pytest.raises(FileMissing):
        open_level(tmp_path / "none" / "store")


def filled(path: Path) -> dict[bytes, bytes]:
    """A store whose rows lie in tables; returns them."""
    random = Random(5)
    store = open_level(path)
    rows = {random.randbytes(20): random.randbytes(40) for _ in range(4000)}
    for start in range(0, len(rows), 500):
        store.write(list(rows.items())[start : start + 500], sync=True)
    store.close()
    assert list(path.glob("*.ldb"))
    return rows


def test_damaged_rows_are_reported_never_read(tmp_path: Path) -> None:
    path = tmp_path / "store"
    rows = filled(path)
    for table in path.glob("*.ldb"):  # one bit in some blocks: most would still parse
        data = bytearray(table.read_bytes())
        for at in range(1000, len(data) * 3 // 4, 20_000):
            data[at] ^= 1
        table.write_bytes(data)
    store = open_level(path)
    faults: list[StoreCorrupt] = []
    for key, value in rows.items():
        try:
            assert store.get(key) == value
        except StoreCorrupt as error:
            faults.append(error)
    assert 0 < len(faults) < len(rows)
    assert {(fault.exit_code, fault.values["path"]) for fault in faults} == {(84, str(path))}
    snapshot = store.snapshot()
    for reader in (store, snapshot):
        for reverse in (False, True):
            scanned = reader.scan(b"", None, reverse=reverse)
            with pytest.raises(StoreCorrupt):
                assert all(rows[key] == value for key, value in scanned)
    snapshot.close()
    store.close()


class _Spy:
    """Passes all on to the database, and notes which batches were to be synced."""

    def __init__(self, database: Any) -> None:
        self.database = database
        self.syncs: list[bool] = []

    def write_batch(self, *, sync: bool) -> Any:
        self.syncs.append(sync)
        return self.database.write_batch(sync=sync)

    def __getattr__(self, name: str) -> Any:
        return getattr(self.database, name)


def test_sync_reaches_leveldb(tmp_path: Path) -> None:
    spy = _Spy(plyvel.DB(str(tmp_path), create_if_missing=True))
    store = LevelStore(tmp_path, spy)
    for sync in (True, False, True):
        store.write([(b"a", b"1")], sync=sync)
    store.close()
    assert spy.syncs == [True, False, True]


def test_a_damaged_write_ahead_log_is_refused_not_skipped(tmp_path: Path) -> None:
    path = tmp_path / "store"
    store = open_level(path, 1 << 20)
    for n in range(20):
        store.write([(b"%d" % n, bytes([n]) * 200)], sync=True)
    store.close()
    (log,) = path.glob("*.log")
    data = bytearray(log.read_bytes())
    data[300] ^= 1
    log.write_bytes(data)
    with pytest.raises(StoreCorrupt):
        open_level(path)


@pytest.mark.parametrize("lost", ["CURRENT", "MANIFEST", "ldb"])
def test_a_store_with_a_file_missing_is_not_taken_for_a_new_one(tmp_path: Path, lost: str) -> None:
    path = tmp_path / "store"
    filled(path)
    for file in path.iterdir():
        if lost in file.name:
            file.unlink()
    with pytest.raises((StoreCorrupt, FileMissing)):
        open_level(path)


def test_after_a_failed_write_every_later_one_is_refused(tmp_path: Path) -> None:
    """The disk works again, LevelDB would go on behind a half-written record: we do not."""
    outcome = run(
        """
        store = open_level()
        store.write([(b"before", b"1")], sync=True)
        hard = resource.getrlimit(resource.RLIMIT_FSIZE)[1]
        resource.setrlimit(resource.RLIMIT_FSIZE, (4096, hard))
        try: store.write([(b"large", b"x" * 100_000)], sync=False)
        except DiskFailed as error: print(error)
        resource.setrlimit(resource.RLIMIT_FSIZE, (hard, hard))
        try: store.write([(b"after", b"2")], sync=True)
        except DiskFailed as error: print(error)
        print([key for key, _ in store.scan(b"", None)])
        """,
        tmp_path / "store",
    )
    first, second, rows = outcome.stdout.splitlines() or [outcome.stderr, "", ""]
    assert "File too large" in first
    assert "an earlier write to this store failed" in second
    assert rows == "[b'before']"


def test_a_table_that_was_cut_short_is_damage(tmp_path: Path) -> None:
    """LevelDB maps tables into memory and calls what lies beyond the end an invalid argument."""
    path = tmp_path / "store"
    store = open_level(path)
    for number in range(2_000):
        store.write([(number.to_bytes(4, "big"), bytes(100))], sync=False)
    store.close()
    open_level(path).close()
    table = sorted(path.glob("*.ldb"))[0]
    table.write_bytes(table.read_bytes()[:100])
    store = open_level(path)
    with pytest.raises(StoreCorrupt):
        list(store.scan(b"", None))
    store.close()
