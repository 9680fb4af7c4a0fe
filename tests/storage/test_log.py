"""AppendLog: what goes in comes out, in order, by position, and is durable when promised."""

import threading
from pathlib import Path
from random import Random

import pytest
from crash_disk import CrashDisk

from chaind.storage import log as log_module
from chaind.storage.errors import DiskFailed, DiskStalled, LogCorrupt, NoSuchRecord
from chaind.storage.files import AppendFile, Files, OsFiles
from chaind.storage.log import READ_BYTES, AppendLog
from chaind.storage.segment import HEADER_BYTES, RECORD_BYTES, Position, Segment

DIR = Path("/logs")


def open_log(files: Files, directory: Path = DIR, segment_bytes: int = 256) -> AppendLog:
    return AppendLog.open(files, directory, "votes", segment_bytes, 1 << 20)


def test_round_trip_over_segments_and_restarts(tmp_path: Path) -> None:
    random = Random(1)
    expected: list[tuple[Position, bytes]] = []
    for _ in range(4):
        log = open_log(OsFiles(), tmp_path)
        assert list(log.replay()) == expected
        for _ in range(20):
            payload = random.randbytes(random.randint(1, 90))
            expected.append((log.append(payload), payload))
            if random.random() < 0.3:
                log.flush()
        assert [log.read(position) for position, _ in expected] == [p for _, p in expected]
        assert list(log.replay()) == expected
        sizes = [path.stat().st_size for path in tmp_path.iterdir()]
        assert len(log.segments()) == len(sizes) > 1
        assert max(sizes) <= 256
        log.close()
        log.close()
    positions = [position for position, _ in expected]
    assert positions == sorted(set(positions))


def test_replay_from_any_position_and_from_the_end() -> None:
    log = open_log(CrashDisk())
    ends = [log.end]
    rows = []
    for index in range(30):
        payload = b"%d" % index * 9
        rows.append((log.append(payload), payload))
        ends.append(log.end)
    for index, (position, _) in enumerate(rows):
        assert list(log.replay(position)) == rows[index:]
    for index, end in enumerate(ends):
        assert list(log.replay(end)) == rows[index:]
    with pytest.raises(NoSuchRecord):
        log.replay(Position(log.end.segment, log.end.offset + 1))
    with pytest.raises(NoSuchRecord):
        log.replay(Position(log.end.segment + 1, HEADER_BYTES))


@pytest.mark.parametrize("extra", [-1, 0, 1, 5 * READ_BYTES])
def test_reads_records_of_any_length(tmp_path: Path, extra: int) -> None:
    log = open_log(OsFiles(), tmp_path)
    payload = Random(extra).randbytes(READ_BYTES - RECORD_BYTES + extra)
    before, large, after = log.append(b"before"), log.append(payload), log.append(b"after")
    assert [p.segment for p in (before, large, after)] == [0, 1, 2]  # has a segment of its own
    log.sync()
    assert [log.read(p) for p in (before, large, after)] == [b"before", payload, b"after"]


def test_absent_and_misaligned_positions() -> None:
    log = open_log(CrashDisk())
    log.append(b"a" * 30)
    position = log.append(b"b" * 30)
    log.sync()
    for absent in (Position(0, 0), Position(0, log.end.offset), Position(1, HEADER_BYTES)):
        with pytest.raises(NoSuchRecord):
            log.read(absent)
    with pytest.raises(LogCorrupt, match=f"byte {position.offset + 1}"):
        log.read(Position(0, position.offset + 1))


def test_drop_before_removes_whole_segments_and_keeps_the_numbering() -> None:
    disk = CrashDisk()
    log = open_log(disk)
    rows = [(log.append(bytes([n]) * 60), bytes([n]) * 60) for n in range(1, 20)]
    log.sync()
    last = log.segments()[-1]
    log.drop_before(3)
    assert log.segments() == tuple(range(3, last + 1))
    kept = [(position, payload) for position, payload in rows if position.segment >= 3]
    assert list(log.replay()) == kept
    for position, payload in rows:
        if position.segment < 3:
            with pytest.raises(NoSuchRecord):
                log.read(position)
        else:
            assert log.read(position) == payload
    log.drop_before(last)
    log.close()
    again = open_log(disk)
    assert again.segments() == (last,)
    assert list(again.replay()) == [row for row in rows if row[0].segment == last]


def test_dropped_record_is_absent_even_between_look_up_and_read() -> None:
    disk = CrashDisk()
    log = open_log(disk)
    positions = [log.append(b"x" * 60) for _ in range(9)]
    log.sync()
    original = disk.read

    def drop_first(path: Path, offset: int, length: int) -> bytes:
        log.drop_before(1)
        return original(path, offset, length)

    disk.read = drop_first  # type: ignore[method-assign]
    with pytest.raises(NoSuchRecord):
        log.read(positions[0])


def test_sync_with_nothing_new_does_not_touch_the_disk() -> None:
    disk = CrashDisk()
    log = open_log(disk)
    log.append(b"one")
    log.append(b"two")
    log.sync()
    assert [line.split()[0] for line in disk.journal[-2:]] == ["write", "sync"]  # one batch
    before = len(disk.journal)
    log.sync()
    assert len(disk.journal) == before
    log.append(b"three")
    log.flush()
    log.sync()  # the flush wrote, it did not sync
    assert [line.split()[0] for line in disk.journal[before:]] == ["write", "sync"]


def test_a_segment_is_synced_before_the_next_is_made() -> None:
    disk = CrashDisk()
    log = open_log(disk)
    log.append(b"x" * 200)
    log.append(b"y" * 200)
    log.flush()
    first, second = "votes-0000000000.log", "votes-0000000001.log"
    assert disk.journal[-7:] == [
        f"write {first}",
        f"sync {first}",
        f"open {second}",
        f"write {second}",
        f"sync {second}",
        "sync logs",
        f"write {second}",
    ]


@pytest.mark.parametrize("failing", ["write", "sync", "open"])
def test_after_a_failed_write_or_sync_the_log_refuses_for_good(failing: str) -> None:
    disk = CrashDisk()
    log = open_log(disk)
    position = log.append(b"never durable")
    disk.failing = failing
    with pytest.raises(DiskFailed, match="told to fail"):
        log.sync()
    disk.failing = ""
    for again in (log.sync, log.flush, lambda: log.append(b"x"), lambda: log.drop_before(0)):
        with pytest.raises(DiskFailed, match="an earlier"):
            again()
    assert log.read(position) == b"never durable"
    log.close()


def test_the_buffer_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(log_module, "BUFFER_BYTES_MAX", 100)
    log = open_log(CrashDisk())
    log.append(b"x" * 500)  # alone, any record is taken
    with pytest.raises(DiskStalled):
        log.append(b"y")
    log.flush()
    log.append(b"y" * (100 - RECORD_BYTES))
    with pytest.raises(DiskStalled):
        log.append(b"z")
    log.flush()
    assert len(list(log.replay())) == 2


class _SlowDisk(CrashDisk):
    """Each sync of a file waits until the test lets it go."""

    def __init__(self) -> None:
        super().__init__()
        self.entered, self.go = threading.Event(), threading.Event()

    def step(self, operation: str, path: Path) -> None:
        if operation == "sync" and path.suffix == ".log" and threading.current_thread().daemon:
            self.entered.set()
            assert self.go.wait(10)
        super().step(operation, path)


def test_append_and_read_do_not_wait_for_a_sync_on_another_thread() -> None:
    disk = _SlowDisk()
    log = open_log(disk)
    first = log.append(b"first")
    worker = threading.Thread(target=log.sync, daemon=True)
    worker.start()
    assert disk.entered.wait(10)
    later = [log.append(b"later %d" % n) for n in range(100)]  # begins new segments, too
    assert log.read(first) == b"first"
    assert [log.read(p) for p in later] == [b"later %d" % n for n in range(100)]
    disk.go.set()
    worker.join(10)
    assert not worker.is_alive()
    log.sync()
    disk.crash(Random(0))
    assert [payload for _, payload in open_log(disk).replay()] == [
        b"first",
        *(b"later %d" % n for n in range(100)),
    ]


def test_threads_append_sync_and_read_at_once(tmp_path: Path) -> None:
    log = open_log(OsFiles(), tmp_path, segment_bytes=4096)
    done = threading.Event()

    def sync_on() -> None:
        while not done.is_set():
            log.sync()

    workers = [threading.Thread(target=sync_on) for _ in range(2)]
    for worker in workers:
        worker.start()
    rows = []
    try:
        for index in range(3000):
            payload = b"%d" % index * (1 + index % 7)
            rows.append((log.append(payload), payload))
            position, expected = rows[index * 7919 % len(rows)]
            assert log.read(position) == expected
    finally:
        done.set()
        for worker in workers:
            worker.join(10)
    log.close()
    assert list(open_log(OsFiles(), tmp_path).replay()) == rows


VECTOR_HEX = (
    "636861696e644c01" "00000000" "0000000000000000" "0001020304050607" "74240999"
    "77950cb0" "05000000" "7432beb4" "68656c6c6f"
    "77950cb0" "05000000" "8fd72e28" "776f726c64"
)  # fmt: skip


def test_format_vector() -> None:
    """Logs of this version stay readable: a change of these bytes needs a new version byte."""

    disk = CrashDisk()
    log = AppendLog.open(disk, DIR, "votes", 1 << 10, 1 << 10, salt=lambda n: bytes(range(n)))
    log.append(b"hello")
    log.append(b"world")
    log.sync()
    data = disk.read(DIR / "votes-0000000000.log", 0, 1 << 10)
    assert data.hex() == VECTOR_HEX
    segment = Segment.parse("votes", 0, data[:HEADER_BYTES])
    assert segment is not None
    assert segment.decode(data, HEADER_BYTES) == b"hello"
    assert segment.decode(data, HEADER_BYTES + RECORD_BYTES + 5) == b"world"


def test_the_seam_is_the_whole_seam() -> None:
    """Both disks satisfy the protocols that the log is written against."""
    files: tuple[Files, ...] = (OsFiles(), CrashDisk())
    handle: AppendFile = files[1].open_append(DIR / "x")
    assert handle.size == 0
