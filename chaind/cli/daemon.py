"""One process, one node: opens the data directory, runs node and API on uvloop, closes.

A `LocalFault` that ends the node ends the process with its sentence and its exit code.
"""

import asyncio
import gc
import os
import signal
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from random import Random
from typing import NamedTuple

import structlog
import uvloop

from chaind.api.app import ApiServer
from chaind.node.clock import SystemClock
from chaind.node.config import Config, SettingFileAbsent
from chaind.node.home import Home
from chaind.node.key_guard import may_vote, node_key, validator_key
from chaind.node.logs import configure_logs
from chaind.node.node import Identity, Node
from chaind.node.repair import discard_database, open_and_heal
from chaind.node.workers import SystemWorkers
from chaind.primitives.errors import LocalFault
from chaind.primitives.genesis import Genesis
from chaind.storage.errors import StoreCorrupt
from chaind.storage.files import Files, OsFiles
from chaind.storage.kv import KeyValue, LevelStore
from chaind.storage.lock import DirectoryLock
from chaind.wallet.derivation import (
    DEVELOPMENT_MNEMONIC,
    MnemonicInvalid,
    check_mnemonic,
    seed_from_mnemonic,
)

DATABASE_CACHE_BYTES = 32 << 20
WRITE_BUFFER_BYTES = 8 << 20
GC_THRESHOLDS = (50_000, 50, 1_000)  # Python's own cost a fifth of the work under load
MNEMONIC_BYTES_MAX = 4_096  # 24 words of any language

# A database that is damaged twice within this time lies on a disk that cannot be trusted.
TRUSTED_AFTER_S = 600.0

log = structlog.get_logger("chaind")


class Seams(NamedTuple):
    """Where the node touches the machine, for whoever runs it on another one."""

    files: Files
    open_database: Callable[[Path], KeyValue]


class MnemonicFileInvalid(LocalFault):
    """What the custody's file holds is no mnemonic. Says nothing of what it holds."""

    code = "mnemonic-file-invalid"
    text = "{path}, named by [custody] mnemonic_file, holds no mnemonic: {reason}"
    advice = "Write the 12 to 24 words of the mnemonic into it, apart by blanks, and nothing else."
    exit_code = 78  # EX_CONFIG


class NoMnemonic(LocalFault):
    """Custody without keys of one's own, on a chain where the published ones would be robbed."""

    code = "no-mnemonic"
    text = "[custody] is enabled, but {chain} is no development chain"
    advice = "Name the file of a BIP-39 mnemonic in [custody] mnemonic_file, or disable custody."
    exit_code = 78  # EX_CONFIG


class ChaosRefused(LocalFault):
    """Dying on request, on a chain where somebody's money is."""

    code = "chaos-refused"
    text = "[chaos] is enabled, but {chain} is no development chain"
    advice = "Set [chaos] enabled = false, and see that CHAIND_CHAOS_ENABLED is not true."
    exit_code = 78  # EX_CONFIG


def check_chaos(config: Config, genesis: Genesis) -> None:
    """Raise `ChaosRefused` where a node must not die on request."""
    if config.chaos.enabled and not genesis.dev:
        raise ChaosRefused(chain=genesis.name)


def custody_seed(config: Config, genesis: Genesis) -> bytes | None:
    """Seed of the named accounts, None where custody is off.

    Raises `NoMnemonic`, `SettingFileAbsent` or `MnemonicFileInvalid`.
    """
    if not config.custody.enabled:
        return None
    if config.custody.mnemonic_file:
        path = Path(config.custody.mnemonic_file).expanduser()
        if not path.exists():
            raise SettingFileAbsent(name="[custody] mnemonic_file", path=path)
        try:
            words = check_mnemonic(OsFiles().read(path, 0, MNEMONIC_BYTES_MAX).decode())
        except UnicodeDecodeError:
            raise MnemonicFileInvalid(path=path, reason="it is not text in UTF-8") from None
        except MnemonicInvalid as error:
            raise MnemonicFileInvalid(path=path, reason=error) from None
        return seed_from_mnemonic(words)
    if not genesis.dev:
        raise NoMnemonic(chain=genesis.name)
    return seed_from_mnemonic(DEVELOPMENT_MNEMONIC)


def open_database(path: Path) -> KeyValue:
    """The node's LevelDB."""
    return LevelStore.open(
        path, cache_bytes=DATABASE_CACHE_BYTES, write_buffer_bytes=WRITE_BUFFER_BYTES
    )


SYSTEM = Seams(OsFiles(), open_database)


def run(config: Config, seams: Seams = SYSTEM) -> int:
    """Run until a signal or a fault; the process's exit status.

    A database that turns out to be damaged is set aside when everything is closed, and the node
    starts once more, which makes it again; but not a second time within `TRUSTED_AFTER_S`, nor
    where it was asked to stop meanwhile.
    """
    configure_logs(config.log)
    gc.set_threshold(*GC_THRESHOLDS)
    damaged_s = -TRUSTED_AFTER_S  # when it was found damaged last
    asked = threading.Event()
    while isinstance(fault := _run_once(config, seams, asked), StoreCorrupt):
        before_s, damaged_s = damaged_s, time.monotonic()
        if asked.is_set() or damaged_s - before_s < TRUSTED_AFTER_S:
            break
    if fault is None:
        return 0
    sys.stderr.write(f"Error: {fault}\n{fault.advice}\n")
    return fault.exit_code


def _run_once(config: Config, seams: Seams, asked: threading.Event) -> LocalFault | None:
    fault: LocalFault | None = None
    try:
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            runner.run(_serve(config, seams, asked))
    except* LocalFault as group:
        fault = _first_fault(group)
        log.error("stopped_by_fault", code=fault.code, error=str(fault))
    return fault


def _first_fault(group: BaseExceptionGroup[LocalFault]) -> LocalFault:
    """A damaged database if there is one; else the first leaf, whose echoes the others are."""
    error: BaseException = group.subgroup(StoreCorrupt) or group
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    assert isinstance(error, LocalFault)
    return error


async def _serve(config: Config, seams: Seams, asked: threading.Event) -> None:
    home, files = Home(config.node.home_path()), seams.files
    genesis = Genesis.load(home.genesis)
    check_chaos(config, genesis)
    with DirectoryLock.acquire(home.path):
        files.make_dir(home.chain)
        key_file = config.node.validator_key_path()
        key = validator_key(files, home, key_file)
        disk = open_and_heal(files, home.chain, genesis, seams.open_database, votes=key is not None)
        workers = SystemWorkers(max(1, len(os.sched_getaffinity(0))))
        node = Node(
            config=config,
            genesis=genesis,
            identity=Identity(
                node_key(files, home),
                key,
                may_vote=key is None or may_vote(files, home, key_file, disk, genesis),
            ),
            disk=disk,
            clock=SystemClock(),
            workers=workers,
            custody_seed=custody_seed(config, genesis),
            rng=Random(os.urandom(16)),  # noqa: S311 — jitter and sampling, no secrets
        )
        loop = asyncio.get_running_loop()

        def stop() -> None:
            asked.set()  # a node that a fault is ending does not hear it any more
            node.stop()

        for number in (signal.SIGINT, signal.SIGTERM):
            loop.add_signal_handler(number, stop)
        api = ApiServer(node)
        try:
            await _run(node, api)
        except* StoreCorrupt:
            discard_database(files, home.chain)
            raise
        finally:
            try:
                await api.stop()
            finally:
                await workers.close()
        log.info("stopped")


async def _run(node: Node, api: ApiServer) -> None:
    """The API opens once the node has recovered; the failure of either ends both."""
    ready = asyncio.Event()
    async with asyncio.TaskGroup() as group:
        running = group.create_task(node.run(ready.set))
        waiting = group.create_task(ready.wait())
        await asyncio.wait((running, waiting), return_when=asyncio.FIRST_COMPLETED)
        if ready.is_set():
            await api.start()
            index = node.validator_index
            role = {"role": "full node"} if index is None else {"role": "validator", "index": index}
            log.info("started", api=f"http://{node.config.api.host}:{api.port}", **role)
        waiting.cancel()
