"""The simulated disk: what a crash may take and what it must leave."""

from pathlib import Path
from random import Random

import pytest

from chaind.simulation.disk import CrashDisk, PowerLoss
from chaind.storage.errors import DiskFailed, DiskFull

PATH = Path("/log")
STORE = Path("/db")


def test_a_crash_keeps_what_was_synced_and_a_prefix_of_the_rest_or_garbage() -> None:
    kept = set()
    for seed in range(200):
        disk = CrashDisk()
        file = disk.open_append(PATH)
        disk.sync_dir(PATH.parent)
        file.write(b"synced")
        file.sync()
        file.write(b"lost?")
        disk.crash(Random(seed))
        data = disk.read(PATH, 0, 100)
        assert data.startswith(b"synced")
        assert len(data) <= len(b"syncedlost?")
        kept.add(data[6:])
    assert {b"", b"lost?"} <= kept
    assert any(rest and not b"lost?".startswith(rest) for rest in kept), "never any garbage"


def test_of_unsynced_batches_a_crash_takes_the_last_first() -> None:
    found = set()
    for seed in range(100):
        disk = CrashDisk()
        store = disk.open_store(STORE)
        store.write([(b"a", b"1")], sync=True)
        store.write([(b"a", b"2"), (b"b", b"2")], sync=False)
        store.write([(b"a", None)], sync=False)
        disk.crash(Random(seed))
        found.add((store.get(b"a"), store.get(b"b")))
    assert found == {(b"1", None), (b"2", b"2"), (None, b"2")}


def test_a_copy_leaves_the_old_disk_to_whoever_still_writes_there() -> None:
    disk = CrashDisk()
    file, store = disk.open_append(PATH), disk.open_store(STORE)
    file.write(b"before")
    store.write([(b"k", b"before")], sync=False)
    copy = disk.copied()
    file.write(b" and after")
    store.write([(b"k", b"after")], sync=True)
    assert copy.read(PATH, 0, 100) == b"before"
    assert copy.open_store(STORE).get(b"k") == b"before"


@pytest.mark.parametrize("operation", ["write", "sync"])
def test_a_failed_operation_poisons_file_and_store(operation: str) -> None:
    disk = CrashDisk()
    file, store = disk.open_append(PATH), disk.open_store(STORE)
    disk.failing = operation
    with pytest.raises(DiskFailed):
        _write_and_sync(file)
    with pytest.raises(DiskFailed):
        store.write([(b"k", b"v")], sync=True)
    disk.failing = ""
    with pytest.raises(DiskFailed):
        file.sync()
    with pytest.raises(DiskFailed):
        store.write([(b"k", b"v")], sync=True)


def _write_and_sync(file: "object") -> None:
    file.write(b"x")  # type: ignore[attr-defined]
    file.sync()  # type: ignore[attr-defined]


def test_a_full_disk_refuses_to_grow_and_still_reads() -> None:
    disk = CrashDisk()
    file = disk.open_append(PATH)
    file.write(b"x")
    disk.full = True
    with pytest.raises(DiskFull):
        file.write(b"y")
    assert disk.read(PATH, 0, 1) == b"x"


def test_power_goes_at_the_operation_that_was_named_and_is_told_first() -> None:
    disk = CrashDisk()
    file = disk.open_append(PATH)
    told: list[int] = []
    disk.operations_left = 2
    disk.on_power_loss = lambda: told.append(1)
    file.write(b"x")
    with pytest.raises(PowerLoss):
        file.sync()
    assert told == [1]
    assert disk.names[PATH].durable_bytes == 0
