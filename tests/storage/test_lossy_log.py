"""AppendLog, lossy: damage costs the records that it hit, and nothing else."""

from pathlib import Path
from random import Random

import pytest
from crash_disk import CrashDisk

from chaind.storage.errors import LogCorrupt, NoSuchRecord
from chaind.storage.log import AppendLog
from chaind.storage.segment import HEADER_BYTES, RECORD_BYTES, Position

DIR = Path("/logs")
Rows = list[tuple[Position, bytes]]


def open_log(disk: CrashDisk) -> AppendLog:
    return AppendLog.open(disk, DIR, "bodies", 300, 1 << 16, lossy=True)


def path_of(number: int) -> Path:
    return DIR / f"bodies-{number:010d}.log"


@pytest.fixture
def disk() -> CrashDisk:
    return CrashDisk()


@pytest.fixture
def rows(disk: CrashDisk) -> Rows:
    log = open_log(disk)
    rows = [(log.append(payload), payload) for payload in (bytes([65 + n]) * 40 for n in range(20))]
    log.close()
    assert rows[-1][0].segment >= 3
    return rows


def assert_left(disk: CrashDisk, expected: Rows, hit: Rows) -> None:
    """Exactly these are read, by replay and by position; the log goes on, and starts again."""
    log = open_log(disk)
    assert list(log.replay()) == expected
    for position, payload in expected:
        assert log.read(position) == payload
    for position, _ in hit:
        with pytest.raises((LogCorrupt, NoSuchRecord)):
            log.read(position)
    more = log.append(b"appended later")
    log.close()
    again = open_log(disk)
    assert list(again.replay()) == [*expected, (more, b"appended later")]


@pytest.mark.parametrize("index", [0, 7, 18, 19])
def test_a_damaged_record_is_skipped(disk: CrashDisk, rows: Rows, index: int) -> None:
    position, payload = rows[index]
    disk.names[path_of(position.segment)].data[position.offset + RECORD_BYTES + 3] ^= 1
    assert_left(disk, [row for row in rows if row != (position, payload)], [(position, payload)])


def test_a_damaged_length_field_hides_no_later_record(disk: CrashDisk, rows: Rows) -> None:
    position = rows[6][0]
    disk.names[path_of(position.segment)].data[position.offset + 4] ^= 0x80
    assert_left(disk, [*rows[:6], *rows[7:]], [rows[6]])


@pytest.mark.parametrize("number", [0, 1, -1])
def test_a_segment_without_its_header_is_as_if_it_had_never_been(
    disk: CrashDisk, rows: Rows, number: int
) -> None:
    number %= rows[-1][0].segment + 1
    disk.names[path_of(number)].data[2] ^= 1
    hit = [row for row in rows if row[0].segment == number]
    assert open_log(disk).lost_segments == (number,)
    assert_left(disk, [row for row in rows if row not in hit], hit)


@pytest.mark.parametrize("number", [0, 2])
def test_a_segment_that_is_gone_takes_only_its_own_records(
    disk: CrashDisk, rows: Rows, number: int
) -> None:
    del disk.names[path_of(number)]
    hit = [row for row in rows if row[0].segment == number]
    assert_left(disk, [row for row in rows if row not in hit], hit)


def test_a_segment_cut_short_in_the_middle_of_the_row(disk: CrashDisk, rows: Rows) -> None:
    cut = [row for row in rows if row[0].segment == 1]
    del disk.names[path_of(1)].data[cut[-1][0].offset + 5 :]
    assert_left(disk, [row for row in rows if row != cut[-1]], [cut[-1]])


def test_random_damage_never_gives_a_wrong_record(disk: CrashDisk, rows: Rows) -> None:
    clean = {path: bytes(content.data) for path, content in disk.names.items()}
    truth = dict(rows)
    dice = Random(5)
    for _ in range(150):
        for path, data in clean.items():
            disk.write_atomic(path, data)
        data = disk.names[path_of(dice.randrange(4))].data
        start = dice.randrange(len(data))
        size = dice.randint(1, 60)
        data[start : start + size] = dice.randbytes(len(data[start : start + size]))
        log = open_log(disk)
        found = list(log.replay())
        assert all(truth[position] == payload for position, payload in found)
        assert len(found) >= len(rows) - 8  # at most one segment's worth
        log.close()


def test_the_other_logs_still_stop_at_damage(disk: CrashDisk, rows: Rows) -> None:
    disk.names[path_of(0)].data[HEADER_BYTES + 20] ^= 1
    log = AppendLog.open(disk, DIR, "bodies", 300, 1 << 16)
    with pytest.raises(LogCorrupt):
        log.read(rows[0][0])
    with pytest.raises(LogCorrupt):
        list(log.replay())
