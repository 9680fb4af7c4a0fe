"""The audit of a stopped node: its own files read back, replayed, and compared row by row.

Law: it changes nothing but what the next start of the node would change too: a torn tail is cut
off the logs, and LevelDB reads its journal.
"""

import os
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from chaind.node.audit import Auditor, Report, check_records, compare_rows, count_state
from chaind.node.home import Home, NoHome
from chaind.node.recovery import Disk, open_disk, stored_certificates, stored_intake
from chaind.primitives.errors import LocalFault
from chaind.primitives.genesis import Genesis
from chaind.storage.chain_store import BlockDamaged
from chaind.storage.errors import FileMissing
from chaind.storage.files import OsFiles
from chaind.storage.kv import KeyValue, LevelStore
from chaind.storage.lock import DirectoryLock
from chaind.storage.segment import Position

CACHE_BYTES = 32 << 20
WRITE_BUFFER_BYTES = 16 << 20

Progress = Callable[[int, int], None]  # blocks done, blocks in all


def threads() -> int:
    """For signatures: every core, since libsecp256k1 lets go of the GIL."""
    return len(os.sched_getaffinity(0))


def open_store(path: Path) -> LevelStore:
    """A database for reading in bulk."""
    return LevelStore.open(path, cache_bytes=CACHE_BYTES, write_buffer_bytes=WRITE_BUFFER_BYTES)


class NeverRan(LocalFault):
    """A home that is ready, and no block in it."""

    code = "never-ran"
    text = "{path} holds no blocks: its node has never run"
    advice = "Start it with `chaind run --home`; it can be audited when it has ended again."
    exit_code = 66  # EX_NOINPUT


@contextmanager
def scratch_store() -> Iterator[LevelStore]:
    """An empty database in a temporary directory (TMPDIR), as large as the audited one."""
    with tempfile.TemporaryDirectory(prefix="chaind-audit-") as directory:
        store = open_store(Path(directory) / "db")
        try:
            yield store
        finally:
            store.close()


def audit_home(path: Path, progress: Progress = lambda _done, _all: None) -> Report:
    """Audit the data directory of a stopped node. Raises what opening it raises."""
    home = Home(path)
    if not home.initialised:
        raise NoHome(path=path)
    genesis = Genesis.load(home.genesis)
    with DirectoryLock.acquire(home.path), scratch_store() as scratch:
        stored = home.chain / "db"
        if not home.chain.exists():
            raise NeverRan(path=path)
        if not (stored / "CURRENT").exists():
            raise FileMissing(path=str(stored), operation="open", reason="there is no database")
        database = open_store(stored)
        disk = open_disk(OsFiles(), home.chain, database, genesis)
        try:
            return audit_disk(genesis, disk, database, scratch, progress)
        finally:
            disk.close()


def audit_disk(
    genesis: Genesis,
    disk: Disk,
    database: KeyValue,
    scratch: KeyValue,
    progress: Progress = lambda _done, _all: None,
) -> Report:
    """Audit what is open and at rest; `scratch` is empty, and as large afterwards."""
    with Auditor(genesis, scratch, disk.store.bodies, threads()) as auditor:
        _replay(auditor, disk, progress)
        if genesis.mode == "pow":
            auditor.report.unchecked = _above(disk)
        holdings = count_state(auditor, database)
        compare_rows(auditor, database)
        check_records(auditor, stored_certificates(disk))
        for _position, _transaction in stored_intake(disk.journal, genesis):
            auditor.report.records += 1
        return auditor.finish(holdings)


def _above(disk: Disk) -> int:
    """How many blocks might become final."""
    final = disk.store.tip.height
    return len({body.hash for _, body in disk.store.bodies_above_tip() if body.height > final})


def _replay(auditor: Auditor, disk: Disk, progress: Progress) -> None:
    store = disk.store
    for height in range(1, store.tip.height + 1):
        try:
            raw, row = store.raw_block(height), store.block_row(height)
        except BlockDamaged as error:
            auditor.violation("replay", height, str(error))
            return
        if raw is None or row is None:
            auditor.violation("replay", height, "there is no final block of this height")
            return
        found = store.certificate_from(height)
        certificate = found[1] if found is not None and found[0] == height else None
        if not auditor.add(raw, Position(row.segment, row.offset), certificate):
            return
        progress(height, store.tip.height)
