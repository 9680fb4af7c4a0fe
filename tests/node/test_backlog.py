"""A disk that falls behind: clients are told to come back, and what consensus must keep ends the
node in words, never half a step of it in silence."""

from pathlib import Path

import pytest
from harness import FUNDED, Cluster, make_genesis, order, validator_key

from chaind.node.recovery import open_disk
from chaind.primitives.errors import LocalFault, TooMany
from chaind.primitives.genesis import ConsensusParameters
from chaind.storage import log as log_module
from chaind.storage.errors import DiskStalled, LogBacklog
from chaind.storage.files import OsFiles
from chaind.storage.kv import MemoryStore


def test_only_the_journal_refuses_for_a_while(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    genesis = make_genesis([validator_key(0)], 1_700_000_000_000, {}, ConsensusParameters(), [])
    disk = open_disk(OsFiles(), tmp_path, MemoryStore(), genesis)
    monkeypatch.setattr(log_module, "BUFFER_BYTES_MAX", 100)
    for log, error in (
        (disk.journal, LogBacklog),
        (disk.votes, DiskStalled),
        (disk.store.bodies, DiskStalled),
    ):
        log.append(b"x" * 99)
        with pytest.raises(error) as caught:
            log.append(b"y")
        assert isinstance(caught.value, TooMany if log is disk.journal else LocalFault)
    disk.close()


async def test_a_stalled_disk_ends_a_validator_in_words(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with Cluster(tmp_path) as cluster:
        await cluster[0].payments.transfer(order("alice", "bob", 1, key="before"))
        with monkeypatch.context() as stalled:
            stalled.setattr(log_module, "BUFFER_BYTES_MAX", 10)  # the second record of a step waits
            with pytest.raises((ExceptionGroup, DiskStalled)) as caught:
                await cluster.until(lambda: False)  # the next empty block is enough
        error: BaseException = caught.value
        while isinstance(error, BaseExceptionGroup):
            error = error.exceptions[0]
        assert isinstance(error, DiskStalled)
        assert "the disk does not keep up" in str(error)
        assert "start the node again" in error.advice
        assert error.exit_code == 89
        await cluster.seats[0].crash()
        await cluster.start(0)
        await cluster[0].payments.transfer(order("alice", "bob", 1, key="after"))
        assert cluster.balances("bob") == [FUNDED + 2]
