"""An append-only log of checksummed records, cut into segment files. Bodies, journal and votes
live in logs.

Law: a record is durable once a `sync` that began after its `append` has returned, and whatever
`open` lets through is durable already. A file is never changed but at its end.

Segments are files `NAME-NNNNNNNNNN.log`; `segment.py` has their format. A segment's records are
synced before the next segment is made, whose header and name are synced before records follow.

Recovery: in the last segment, invalid bytes that no valid record follows are a write that the
crash tore; they are cut off. So is a last segment without a whole header, if the one before it is
perfect. Anything else is `LogCorrupt`, and a person decides: it was durable once and is damaged
now, or (rarely) the disk kept a later page of a torn batch and lost an earlier one, which nothing
can tell apart.

A *lossy* log is one whose records can be had again from elsewhere (bodies, from peers). There
damage costs the records that it hit and nothing else: they are skipped by `replay` and refused by
`read`, and a segment without a valid header is as if it had never been.

Threads: one lock covers the records in memory and is held for an instant; another covers the
files. So `flush`, `sync` and `drop_before` may wait for the disk on a worker thread while the
loop appends the next batch and reads. After a failed write or sync the log refuses for good.
"""

import os
import re
import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from itertools import groupby
from pathlib import Path
from typing import NamedTuple

from chaind.storage.errors import (
    DiskFailed,
    DiskStalled,
    FileMissing,
    LogBacklog,
    LogCorrupt,
    NoSuchRecord,
)
from chaind.storage.files import AppendFile, Files
from chaind.storage.segment import (
    HEADER_BYTES,
    RECORD_BYTES,
    SALT_BYTES,
    Position,
    Segment,
    record_size,
)
from chaind.storage.window import Window

BUFFER_BYTES_MAX = 1 << 26  # a disk 64 MiB behind is stalled: refuse, rather than fill memory
READ_BYTES = 1 << 14  # one read fetches most records whole


class SegmentMaking(NamedTuple):
    """How all logs of a node make segments: with salts from here, and none larger than this."""

    salt: Callable[[int], bytes] = os.urandom
    bytes_max: int = 1 << 62


SYSTEM_MAKING = SegmentMaking()


class AppendLog:
    """One log: records go in at the end, come out by position or in order."""

    def __init__(
        self,
        files: Files,
        directory: Path,
        name: str,
        segment_bytes: int,
        record_bytes_max: int,
        salt: Callable[[int], bytes],
        lossy: bool = False,
        backlog: type[DiskStalled | LogBacklog] = DiskStalled,
    ) -> None:
        assert 0 < record_bytes_max < 1 << 32, "a record's length has 32 bits"
        self._files = files
        self._directory = directory
        self._name = name
        self._segment_bytes = segment_bytes
        self._record_bytes_max = record_bytes_max
        self._salt = salt
        self._lossy = lossy
        self._backlog = backlog
        self.torn_bytes = 0  # cut off by `open`
        self.lost_segments: tuple[int, ...] = ()  # of a lossy log, as `open` found them
        self._state = threading.Lock()  # the fields up to _buffered_bytes
        self._segments: dict[int, Segment] = {}
        self._ends: dict[int, int] = {}  # by segment: where its next record goes, or would go
        self._pending: dict[Position, bytes] = {}  # records that no flush has taken
        self._writing: dict[Position, bytes] = {}  # records that a flush is writing
        self._buffered_bytes = 0
        self._broken = False
        self._closed = False
        self._disk = threading.Lock()  # the fields below, and every change to a file
        self._file: AppendFile | None = None
        self._file_number = -1
        self._unsynced = False

    @classmethod
    def open(
        cls,
        files: Files,
        directory: Path,
        name: str,
        segment_bytes: int,
        record_bytes_max: int,
        *,
        salt: Callable[[int], bytes] = os.urandom,
        lossy: bool = False,
        backlog: type[DiskStalled | LogBacklog] = DiskStalled,
    ) -> "AppendLog":
        """Recovers the log `name` of an existing directory, or begins it.

        A segment ends before the record that would take it past `segment_bytes`; a record larger
        than that has a segment of its own. `torn_bytes` says how much recovery cut off. Only the
        last segment is read whole; `replay` verifies the others. `backlog` is what `append` raises
        while the disk is too far behind: `LogBacklog` where callers can be refused.
        """
        log = cls(files, directory, name, segment_bytes, record_bytes_max, salt, lossy, backlog)
        log._recover()
        return log

    # --- writing ---

    def append(self, payload: bytes) -> Position:
        """Takes a record of 1 to `record_bytes_max` bytes into memory; `flush` or `sync` writes it.

        Raises `backlog` while the disk is too far behind, `DiskFailed` once it has failed.
        """
        return self.append_all((payload,))[0]

    def append_all(self, payloads: Iterable[bytes]) -> list[Position]:
        """`append` each, in order; an error leaves those before it appended."""
        positions: list[Position] = []
        with self._state:
            self._check_usable("append to")
            number, offset = self._end()
            segment = self._segments[number]
            for payload in payloads:
                assert 0 < len(payload) <= self._record_bytes_max, "the caller bounds its records"
                size = RECORD_BYTES + len(payload)
                waiting = self._buffered_bytes
                if waiting and waiting + size > BUFFER_BYTES_MAX:
                    raise self._backlog(log=self._name, bytes=waiting, bytes_max=BUFFER_BYTES_MAX)
                if offset > HEADER_BYTES and offset + size > self._segment_bytes:
                    number, offset = self._begin_segment(number + 1, offset)
                    segment = self._segments[number]
                position = Position(number, offset)
                positions.append(position)
                self._pending[position] = segment.encode(offset, payload)
                offset += size
                self._ends[number] = offset
                self._buffered_bytes += size
        return positions

    def check_room(self, payloads: Sequence[bytes]) -> None:
        """Raises what `append_all` of these would raise, before any of them is taken."""
        size = sum(map(len, payloads)) + RECORD_BYTES * len(payloads)
        with self._state:
            self._check_usable("append to")
            waiting = self._buffered_bytes
            if (waiting or len(payloads) > 1) and waiting + size > BUFFER_BYTES_MAX:
                raise self._backlog(log=self._name, bytes=waiting, bytes_max=BUFFER_BYTES_MAX)

    def flush(self) -> None:
        """Hands every record appended before the call to the kernel: a crash of the process no
        longer loses it, power loss may."""
        with self._using_disk("write"):
            self._flush()

    def sync(self) -> None:
        """Makes every record appended before the call durable; free when nothing is new."""
        with self._using_disk("sync"):
            self._flush()
            if self._unsynced:
                assert self._file is not None
                self._file.sync()
                self._unsynced = False

    def drop_before(self, segment: int) -> None:
        """Removes the segments below `segment`, oldest first; the last one always stays."""
        with self._using_disk("drop"):
            self._flush()  # so that the last segment, which carries the numbering on, is a file
            assert segment <= max(self._file_number, 0), "the last segment stays"
            for number in [n for n in self.segments() if n < segment]:
                with self._state:
                    del self._segments[number], self._ends[number]
                self._files.remove(self._path(number))
                self._files.sync_dir(self._directory)  # a crash leaves no gap

    def close(self) -> None:
        """Syncs what is left and releases the file; a broken log only releases. Twice is fine."""
        try:
            if not (self._broken or self._closed):
                self.sync()
        finally:
            with self._disk, self._state:
                self._closed = True
                if self._file is not None:
                    self._file.close()

    # --- reading ---

    def read(self, position: Position) -> bytes:
        """The payload at `position`, buffered or written. `NoSuchRecord` where none can be,
        `LogCorrupt` where one should be."""
        number, offset = position
        with self._state:
            record = self._pending.get(position) or self._writing.get(position)
            segment, end = self._segments.get(number), self._ends.get(number, 0)
        if record is not None:
            return record[RECORD_BYTES:]
        if segment is None or not HEADER_BYTES <= offset < end:
            raise self._no_record(position)
        path = self._path(number)
        try:
            data = self._files.read(path, offset, READ_BYTES)
            if len(data) == READ_BYTES:
                wanted = min(record_size(data), end - offset)
                if wanted > READ_BYTES:
                    data += self._files.read(path, offset + READ_BYTES, wanted - READ_BYTES)
        except FileMissing:
            if number in self._segments:
                raise
            raise self._no_record(position) from None  # dropped meanwhile
        payload = segment.decode(data, offset, base=offset)
        if payload is None:
            raise self._corrupt(number, offset, "no valid record where one was written")
        return payload

    def replay(self, start: Position | None = None) -> Iterator[tuple[Position, bytes]]:
        """Every record appended before the call, in order, from `start` on (default: the oldest).

        Raises `LogCorrupt` at the first damage (a lossy log skips it), `NoSuchRecord` if `start`
        was dropped or lies behind the end.
        """
        self.flush()
        with self._state:
            ends = dict(self._ends)
        first = start or Position(min(ends), HEADER_BYTES)
        if first.segment not in ends or not HEADER_BYTES <= first.offset <= ends[first.segment]:
            raise self._no_record(first)
        return self._replay(first, ends)

    def _replay(self, first: Position, ends: dict[int, int]) -> Iterator[tuple[Position, bytes]]:
        offset = first.offset
        for number in range(first.segment, max(ends) + 1):
            segment, end = self._segments.get(number), ends.get(number, 0)
            if segment is None and not self._lossy:
                raise self._no_record(Position(number, offset))  # dropped meanwhile
            if segment is not None:
                for at, payload in self._records(segment, offset, end):
                    yield Position(number, at), payload
            offset = HEADER_BYTES

    def _records(self, segment: Segment, offset: int, end: int) -> Iterator[tuple[int, bytes]]:
        """Records of a segment from `offset` on, to the last; damage as the log's law."""
        window = self._window(segment, end)
        while offset < end:
            try:
                payload = window.payload(offset)
                found = window.find(offset + 1) if payload is None and self._lossy else None
            except (FileMissing, DiskFailed):
                if self._lossy:
                    return
                raise
            if payload is not None:
                yield offset, payload
                offset += RECORD_BYTES + len(payload)
            elif found is not None:
                offset = found
            elif self._lossy:
                return
            else:
                reason = "a record does not match its checksum"
                raise self._corrupt(segment.number, offset, reason)

    def _window(self, segment: Segment, end: int) -> Window:
        return Window(segment, end, partial(self._files.read, self._path(segment.number)))

    @property
    def end(self) -> Position:
        """Behind the last record: `replay(end)` later yields what was appended since."""
        with self._state:
            return self._end()

    def segments(self) -> tuple[int, ...]:
        """Segment numbers, oldest first; the last is the one being written."""
        with self._state:
            return tuple(self._segments)

    # --- within ---

    def _end(self) -> Position:
        number = next(reversed(self._ends))
        return Position(number, self._ends[number])

    def _begin_segment(self, number: int, previous_end: int) -> Position:
        """Decides on the next segment; `_enter` makes its file when its records are written."""
        salt = self._salt(SALT_BYTES)
        self._segments[number] = Segment.make(self._name, number, previous_end, salt)
        self._ends[number] = HEADER_BYTES
        return Position(number, HEADER_BYTES)

    def _flush(self) -> None:
        with self._state:
            self._writing, self._pending = self._pending, {}
        for number, batch in groupby(self._writing.items(), key=lambda item: item[0].segment):
            file = self._enter(number)
            file.write(b"".join([record for _, record in batch]))
            self._unsynced = True
        with self._state:
            self._buffered_bytes -= sum(map(len, self._writing.values()))
            self._writing = {}

    def _enter(self, number: int) -> AppendFile:
        """The file of segment `number`: the current one, or a new one behind it."""
        if self._file is not None:
            if number == self._file_number:
                return self._file
            self._file.sync()
            self._file.close()
        self._file = self._files.open_append(self._path(number))
        assert self._file.size == 0, "a new segment's file is new"
        self._file.write(self._segments[number].header)
        self._file.sync()
        self._files.sync_dir(self._directory)
        self._file_number = number
        return self._file

    @contextmanager
    def _using_disk(self, operation: str) -> Iterator[None]:
        """Exclusive use of the files; a failure within leaves the log refusing for good."""
        with self._disk:
            self._check_usable(operation)
            try:
                yield
            except BaseException:
                self._broken = True
                raise

    def _check_usable(self, operation: str) -> None:
        assert not self._closed, "used after close"
        if self._broken:
            path = str(self._directory / self._name)
            reason = "an earlier write or sync of this log failed"
            raise DiskFailed(path=path, operation=operation, reason=reason)

    def _path(self, number: int) -> Path:
        return self._directory / f"{self._name}-{number:010d}.log"

    def _no_record(self, position: Position) -> NoSuchRecord:
        return NoSuchRecord(log=self._name, segment=position.segment, offset=position.offset)

    def _corrupt(self, number: int, offset: int, reason: str) -> LogCorrupt:
        return LogCorrupt(path=str(self._path(number)), offset=offset, reason=reason)

    # --- recovery ---

    def _recover(self) -> None:
        pattern = re.compile(re.escape(self._name) + r"-(\d{10})\.log")
        matches = map(pattern.fullmatch, self._files.list(self._directory))
        numbers = sorted(int(match[1]) for match in matches if match)
        unborn = self._load_headers(numbers)
        whole = [number for number in numbers if number != unborn]
        self.lost_segments = tuple(number for number in whole if number not in self._segments)
        if whole and whole[-1] in self._segments:
            self._recover_tail(torn_allowed=unborn is None)
        elif whole:  # a lossy log whose last segment is lost: its number is not used again
            self._begin_segment(whole[-1] + 1, self._files.size(self._path(whole[-1])))
        if unborn is not None:
            self.torn_bytes += self._files.size(self._path(unborn))
            self._files.remove(self._path(unborn))
        self._files.sync_dir(self._directory)
        if not self._segments:
            self._begin_segment(0, 0)

    def _load_headers(self, numbers: list[int]) -> int | None:
        """Checks that the segments are one unbroken row. Returns the number of a last one whose
        making was cut short by a crash: no record can have been in it."""
        for index, number in enumerate(numbers):
            size = self._files.size(self._path(number))
            header = self._files.read(self._path(number), 0, HEADER_BYTES)
            segment = Segment.parse(self._name, number, header)
            if segment is None:
                is_last, may_be_new = index == len(numbers) - 1, number == 0 or index > 0
                if is_last and may_be_new and size <= HEADER_BYTES:
                    return number
                if self._lossy:
                    continue
                raise self._corrupt(number, 0, "the header is not that of this segment")
            if index > 0 and not self._lossy:
                before = numbers[index - 1]
                if before != number - 1:
                    raise self._corrupt(number, 0, f"segment {number - 1} before it is missing")
                if self._ends[before] != segment.previous_end:
                    reason = f"it ended at byte {segment.previous_end} when it was complete"
                    raise self._corrupt(before, self._ends[before], reason)
            self._segments[number], self._ends[number] = segment, size
        return None

    def _recover_tail(self, *, torn_allowed: bool) -> None:
        """Finds the end of the last segment, cuts what a crash tore, and makes the rest durable:
        after a mere crash of the process, whole records may not have reached the disk yet."""
        number, size = self._end()
        segment, path = self._segments[number], self._path(number)
        window = self._window(segment, size)
        end = HEADER_BYTES
        while end < size:
            payload = window.payload(end)
            if payload is not None:
                end += RECORD_BYTES + len(payload)
                continue
            behind = window.find(end + 1)
            if not self._lossy and (behind is not None or not torn_allowed):
                raise self._corrupt(number, end, "an invalid record, but not the last one written")
            if behind is None:
                break
            end = behind
        if end < size:
            self._files.truncate(path, end)
            self.torn_bytes = size - end
        self._ends[number] = end
        self._file, self._file_number = self._files.open_append(path), number
        self._file.sync()
