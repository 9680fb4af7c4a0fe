"""AppendLog, the recovery law: a torn tail is cut, anything else is damage and stops the node."""

from contextlib import suppress
from pathlib import Path
from random import Random

import pytest
from crash_disk import CrashDisk, PowerLoss

from chaind.storage.errors import LogCorrupt
from chaind.storage.log import AppendLog
from chaind.storage.segment import HEADER_BYTES, RECORD_BYTES, Position

DIR = Path("/logs")
SEGMENT_BYTES = 160
PAYLOADS = [bytes([65 + n]) * (7 + 5 * n) for n in range(10)]
Rows = list[tuple[Position, bytes]]


def open_log(disk: CrashDisk, name: str = "journal") -> AppendLog:
    return AppendLog.open(disk, DIR, name, SEGMENT_BYTES, 1 << 16)


def written(payloads: list[bytes] = PAYLOADS, name: str = "journal") -> tuple[CrashDisk, Rows]:
    disk = CrashDisk()
    log = open_log(disk, name)
    rows = [(log.append(payload), payload) for payload in payloads]
    log.close()
    return disk, rows


def copied(disk: CrashDisk) -> CrashDisk:
    copy = CrashDisk()
    for path, content in disk.names.items():
        copy.write_atomic(path, bytes(content.data))
    return copy


def path_of(number: int, name: str = "journal") -> Path:
    return DIR / f"{name}-{number:010d}.log"


def last_of(rows: Rows) -> int:
    return rows[-1][0].segment


def end_of(row: tuple[Position, bytes]) -> int:
    return row[0].offset + RECORD_BYTES + len(row[1])


def assert_works_on(disk: CrashDisk, expected: Rows) -> None:
    """The recovered log holds `expected`, goes on from there, and its next start finds no fault."""
    log = open_log(disk)
    assert list(log.replay()) == expected
    extended = [*expected, (log.append(b"appended later"), b"appended later")]
    log.close()
    again = open_log(disk)
    assert again.torn_bytes == 0
    assert list(again.replay()) == extended


def assert_corrupt(disk: CrashDisk, number: int, offset: int | None = None) -> None:
    """Refused, and the error names the file, the byte and what to do; the file is untouched."""
    before = {path: bytes(content.data) for path, content in disk.names.items()}
    with pytest.raises(LogCorrupt) as caught:
        list(open_log(disk).replay())
    assert caught.value.values["path"] == str(path_of(number))
    if offset is not None:
        assert caught.value.values["offset"] == offset
    assert caught.value.exit_code == 83
    assert caught.value.advice
    assert {path: bytes(content.data) for path, content in disk.names.items()} == before


def test_the_fixture_has_three_segments_of_several_records() -> None:
    _, rows = written()
    counts = [sum(p.segment == n for p, _ in rows) for n in range(last_of(rows) + 1)]
    assert len(counts) >= 3
    assert counts[0] > 1
    assert counts[-1] > 1


def test_last_segment_truncated_at_every_byte_loses_only_the_torn_record() -> None:
    disk, rows = written()
    last = last_of(rows)
    for size in range(disk.size(path_of(last))):
        cut = copied(disk)
        cut.truncate(path_of(last), size)
        whole = [row for row in rows if row[0].segment < last or end_of(row) <= size]
        kept = max([HEADER_BYTES, *(end_of(row) for row in whole if row[0].segment == last)])
        probe = open_log(copied(cut))
        assert probe.torn_bytes == (size - kept if size >= HEADER_BYTES else size)
        assert_works_on(cut, whole)


def test_any_other_segment_truncated_at_every_byte_is_corrupt() -> None:
    disk, rows = written()
    for number in range(last_of(rows)):
        for size in range(disk.size(path_of(number))):
            cut = copied(disk)
            cut.truncate(path_of(number), size)
            assert_corrupt(cut, number)


@pytest.mark.parametrize("mask", [0x01, 0x80, 0xFF])
def test_every_flipped_byte_is_found(mask: int) -> None:
    disk, rows = written()
    last = last_of(rows)
    for number in range(last + 1):
        for at in range(disk.size(path_of(number))):
            flipped = copied(disk)
            flipped.names[path_of(number)].data[at] ^= mask
            hit = [row for row in rows if row[0].segment == number and row[0].offset <= at]
            if not hit:
                assert_corrupt(flipped, number, 0)
            elif hit[-1] == rows[-1]:  # nothing valid follows: a torn write looks the same
                assert_works_on(flipped, rows[:-1])
            else:
                assert_corrupt(flipped, number, hit[-1][0].offset)


def test_a_damaged_record_of_an_older_segment_is_never_read() -> None:
    disk, rows = written()
    for position, _ in rows[:-1]:
        flipped = copied(disk)
        log = open_log(flipped)
        flipped.names[path_of(position.segment)].data[position.offset + RECORD_BYTES] ^= 1
        with pytest.raises(LogCorrupt):
            log.read(position)


def test_swapped_records_are_found() -> None:
    payloads = [bytes([65 + n]) * 20 for n in range(4)]  # equal sizes: only the places differ
    disk, rows = written(payloads)
    assert last_of(rows) == 0
    size = RECORD_BYTES + 20
    for one in range(4):
        for other in range(one + 1, 4):
            swapped = copied(disk)
            data = swapped.names[path_of(0)].data
            a, b = rows[one][0].offset, rows[other][0].offset
            data[a : a + size], data[b : b + size] = data[b : b + size], data[a : a + size]
            if (one, other) == (2, 3):  # the last two: nothing valid is left behind the first
                assert_works_on(swapped, rows[:2])
            else:
                assert_corrupt(swapped, 0, a)


def test_a_duplicated_segment_is_found() -> None:
    disk, rows = written()
    last = last_of(rows)
    for number in range(last + 1):
        for target in {*range(last + 2)} - {number}:
            twin = copied(disk)
            twin.write_atomic(path_of(target), bytes(disk.names[path_of(number)].data))
            assert_corrupt(twin, target, 0)


def test_a_missing_segment_is_found_between_others_only() -> None:
    disk, rows = written()
    middle = copied(disk)
    middle.remove(path_of(1))
    assert_corrupt(middle, 2, 0)
    oldest = copied(disk)
    oldest.remove(path_of(0))  # what `drop_before` does
    assert_works_on(oldest, [row for row in rows if row[0].segment > 0])


def test_a_segment_of_another_log_or_incarnation_is_found() -> None:
    disk, rows = written()
    other, _ = written(name="bodies")
    foreign = copied(disk)
    foreign.write_atomic(path_of(1), bytes(other.names[path_of(1, "bodies")].data))
    assert_corrupt(foreign, 1, 0)
    # The same records at the same places, written another time: another salt.
    earlier, _ = written()
    place = rows[0][0].offset
    mixed = copied(disk)
    size = RECORD_BYTES + len(rows[0][1])
    mixed.names[path_of(0)].data[place : place + size] = earlier.names[path_of(0)].data[
        place : place + size
    ]
    assert_corrupt(mixed, 0, place)


def test_files_of_other_names_are_left_alone() -> None:
    disk, rows = written()
    for name in ("journal-1.log", "journal-0000000009.log.bak", "xjournal-0000000009.log", "LOCK"):
        disk.write_atomic(DIR / name, b"not ours")
    assert_works_on(disk, rows)


@pytest.mark.parametrize("junk", [b"\0", b"\0" * 500, b"\xff" * 500, Random(7).randbytes(4000)])
def test_junk_behind_the_last_record_is_cut(junk: bytes) -> None:
    disk, rows = written()
    disk.names[path_of(last_of(rows))].data += junk
    assert open_log(copied(disk)).torn_bytes == len(junk)
    assert_works_on(disk, rows)


def test_a_payload_cannot_pose_as_a_record() -> None:
    """Whole bytes of another segment's file, torn as a payload, do not stop the node."""
    source, _ = written()
    inner = bytes(source.names[path_of(0)].data)
    disk, rows = written([b"first", inner * 2])
    assert last_of(rows) == 1
    data = disk.names[path_of(1)].data
    del data[-1]
    assert_works_on(disk, rows[:1])


def test_a_segment_torn_in_the_making_is_made_again() -> None:
    for left in range(HEADER_BYTES):
        disk, rows = written()
        last = last_of(rows)
        disk.write_atomic(path_of(last + 1), bytes(left))
        assert open_log(copied(disk)).torn_bytes == left
        assert_works_on(disk, rows)
        # ...but then the one before it was complete: a fault in it is no torn tail.
        damaged, _ = written()
        damaged.write_atomic(path_of(last + 1), bytes(left))
        damaged.names[path_of(last)].data[-1] ^= 1
        assert_corrupt(damaged, last, rows[-1][0].offset)
    # Nor can it be the only one: the numbering would have begun at 0.
    alone = CrashDisk()
    alone.write_atomic(path_of(5), bytes(HEADER_BYTES))
    assert_corrupt(alone, 5, 0)
    disk, rows = written()
    disk.write_atomic(path_of(last_of(rows) + 1), bytes(HEADER_BYTES + 1))  # records had begun
    assert_corrupt(disk, last_of(rows) + 1, 0)


@pytest.mark.parametrize("operations", range(1, 20))
def test_power_loss_while_dropping_leaves_no_gap(operations: int) -> None:
    for seed in range(30):
        disk, rows = written([b"x" * 100] * 8)  # a segment each
        log = open_log(disk)
        disk.operations_left = operations
        with suppress(PowerLoss):
            log.drop_before(7)
        disk.crash(Random(seed))
        found = list(open_log(disk).replay())
        assert found == rows[-len(found) :]


class _Model:
    """What the log was told, and what it must still know after power loss."""

    def __init__(self) -> None:
        self.rows: Rows = []
        self.durable = 0  # of `rows`, from the front
        self.dropped = 0  # segments below this may be gone

    def act(self, log: AppendLog, random: Random) -> None:
        choice = random.random()
        if choice < 0.6:
            payload = random.randbytes(random.randint(1, 70))
            self.rows.append((log.append(payload), payload))
        elif choice < 0.75:
            log.flush()
        elif choice < 0.95:
            log.sync()
            self.durable = len(self.rows)
        else:
            target = random.choice(log.segments())
            self.dropped = max(self.dropped, target)
            log.sync()
            self.durable = len(self.rows)
            log.drop_before(target)

    def check(self, found: Rows) -> None:
        """`found` is one run of the rows, and reaches over all that is durable and not dropped."""
        first = self.rows.index(found[0]) if found else 0
        assert found == self.rows[first : first + len(found)]
        durable = [row for row in self.rows[: self.durable] if row[0].segment >= self.dropped]
        if durable:
            assert first <= self.rows.index(durable[0])
            assert first + len(found) >= self.durable


@pytest.mark.parametrize("first_seed", range(0, 1000, 200))
def test_power_loss_anywhere_loses_nothing_durable(first_seed: int) -> None:
    for seed in range(first_seed, first_seed + 200):
        random = Random(seed)
        disk, model = CrashDisk(), _Model()
        for _ in range(12):
            disk.operations_left = random.randint(1, 40)
            try:
                log = open_log(disk)
                found = list(log.replay())
                model.check(found)
                model.rows, model.durable = found, len(found)  # what `open` lets through, stays
                for _ in range(60):
                    model.act(log, random)
            except PowerLoss:
                pass
            except BaseException as error:
                error.add_note(f"seed {seed}")
                raise
            if random.random() < 0.3:
                disk.kill()
            else:
                disk.crash(random)
