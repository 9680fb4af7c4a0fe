"""A validator whose vote log is gone must not vote: it could contradict what it said before.

On the first start a random id is written beside the vote log, then beside the validator's key. A
key with an id whose log is missing, or has another id, has lost its log; so has one whose log does
not reach the views that are final, since what proved them final was logged first. (A second copy
of the key on another machine cannot be seen from here; the core binds itself to own votes that
come back.)
"""

import os
from collections.abc import Iterable
from pathlib import Path

from chaind.consensus.core import Record
from chaind.primitives.votes import Vote
from chaind.storage.files import Files

ID_BYTES = 16


def vote_log_intact(files: Files, *, key_mark: Path, log_mark: Path) -> bool:
    """Whether the log beside `log_mark` is the one that this key began; begins it if none was."""
    if not key_mark.exists():
        if not log_mark.exists():
            files.write_atomic(log_mark, os.urandom(ID_BYTES).hex().encode())
        files.write_atomic(key_mark, _read(files, log_mark))
        return True
    return log_mark.exists() and _read(files, log_mark) == _read(files, key_mark)


def says_all(records: Iterable[Record], *, voter: int, final_view: int) -> bool:
    """Whether a vote log is this voter's, and goes up to the last final view."""
    newest = 0
    for record in records:
        newest = max(newest, record.view)
        if isinstance(record, Vote) and record.voter != voter:
            return False
    return newest >= final_view


def _read(files: Files, path: Path) -> bytes:
    return files.read(path, 0, 2 * ID_BYTES)
