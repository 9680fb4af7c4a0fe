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
from functools import cache
from pathlib import Path
from random import Random
from typing import NamedTuple

import structlog
import uvloop

from chaind.api.app import ApiServer
from chaind.api.guards import is_loopback
from chaind.cli.custody_seed import CustodyExposed, custody_seed
from chaind.cli.ports import refuse_busy_doors
from chaind.cli.wallet_secrets import forbid_core_dumps
from chaind.node.clock import Clock, SystemClock
from chaind.node.config import Config
from chaind.node.custody import Accounts, NameFile
from chaind.node.home import Home
from chaind.node.key_guard import may_vote, node_key, validator_key
from chaind.node.logs import configure_logs
from chaind.node.node import Node
from chaind.node.parts import Identity
from chaind.node.repair import discard_database, open_and_heal
from chaind.node.rollback import finish_swap
from chaind.node.workers import SystemWorkers
from chaind.primitives.errors import LocalFault
from chaind.primitives.genesis import Genesis
from chaind.storage.errors import StoreCorrupt
from chaind.storage.files import Files, OsFiles
from chaind.storage.kv import KeyValue, LevelStore
from chaind.storage.lock import DirectoryLock

DATABASE_CACHE_BYTES = 32 << 20
WRITE_BUFFER_BYTES = 8 << 20
GC_THRESHOLDS = (50_000, 50, 1_000)  # Python's own cost a fifth of the work under load

# A database that is damaged twice within this time lies on a disk that cannot be trusted.
TRUSTED_AFTER_S = 600.0

log = structlog.get_logger("chaind")


class Seams(NamedTuple):
    """Where the node touches the machine, for whoever runs it on another one."""

    files: Files
    open_database: Callable[[Path], KeyValue]
    clock: Clock


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


def check_custody(config: Config) -> None:
    """Raise `CustodyExposed` where other machines could ask for payments."""
    exposed = not is_loopback(config.api.host) and not config.api.token_file
    if config.custody.enabled and exposed:
        raise CustodyExposed(host=config.api.host)


def open_database(path: Path) -> KeyValue:
    """The node's LevelDB."""
    return LevelStore.open(
        path, cache_bytes=DATABASE_CACHE_BYTES, write_buffer_bytes=WRITE_BUFFER_BYTES
    )


SYSTEM = Seams(OsFiles(), open_database, SystemClock())


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
    seed = cache(lambda: _custody_seed(config))  # a descriptor gives its password once
    while isinstance(fault := _run_once(config, seams, asked, seed), StoreCorrupt):
        before_s, damaged_s = damaged_s, time.monotonic()
        if asked.is_set() or damaged_s - before_s < TRUSTED_AFTER_S:
            break
    if fault is None:
        return 0
    sys.stderr.write(f"Error: {fault}\n{fault.advice}\n")
    return fault.exit_code


def _custody_seed(config: Config) -> bytes | None:
    if config.custody.enabled:  # before the first secret is read
        forbid_core_dumps()
    home = Home(config.node.home_path())
    return custody_seed(config, Genesis.load(home.genesis), home)


def _run_once(
    config: Config, seams: Seams, asked: threading.Event, seed: Callable[[], bytes | None]
) -> LocalFault | None:
    fault: LocalFault | None = None
    try:
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            runner.run(_serve(config, seams, asked, seed))
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


async def _serve(
    config: Config, seams: Seams, asked: threading.Event, seed: Callable[[], bytes | None]
) -> None:
    home, files = Home(config.node.home_path()), seams.files
    genesis = Genesis.load(home.genesis)
    check_chaos(config, genesis)
    check_custody(config)
    with DirectoryLock.acquire(home.path):
        refuse_busy_doors(config)  # recovery may take minutes
        finish_swap(home)
        files.make_dir(home.chain)
        key_file = config.node.validator_key_path()
        key, peer_key = validator_key(files, home, key_file), node_key(files, home)
        names = NameFile(files, home.custody_names)
        accounts = Accounts(seed(), names.read(), names)
        disk = open_and_heal(files, home.chain, genesis, seams.open_database, votes=key is not None)
        workers = SystemWorkers(max(1, len(os.sched_getaffinity(0))))
        node = Node(
            config=config,
            genesis=genesis,
            identity=Identity(
                peer_key,
                key,
                may_vote=key is None or may_vote(files, home, key_file, disk, genesis),
            ),
            disk=disk,
            clock=seams.clock,
            workers=workers,
            accounts=accounts,
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
