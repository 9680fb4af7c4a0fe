"""One process, one node: opens the data directory, runs node and API on uvloop, closes.

A `LocalFault` that ends the node ends the process with its sentence and its exit code.
"""

import asyncio
import os
import signal
import sys
from pathlib import Path
from random import Random

import structlog
import uvloop

from chaind.api.app import ApiServer
from chaind.network.noise import KeyPair
from chaind.node.clock import SystemClock, ThreadWorkers
from chaind.node.config import Config
from chaind.node.home import Home, read_key, read_or_create_key
from chaind.node.logs import configure_logs
from chaind.node.node import Identity, Node
from chaind.node.recovery import open_disk
from chaind.node.vote_guard import vote_log_intact
from chaind.primitives.errors import LocalFault
from chaind.primitives.genesis import Genesis
from chaind.primitives.keys import SecretKey
from chaind.storage.files import OsFiles
from chaind.storage.kv import LevelStore
from chaind.storage.lock import DirectoryLock
from chaind.wallet.derivation import DEVELOPMENT_MNEMONIC, seed_from_mnemonic

DATABASE_CACHE_BYTES = 32 << 20
WRITE_BUFFER_BYTES = 16 << 20
MNEMONIC_BYTES_MAX = 4_096  # 24 words of any language

log = structlog.get_logger("chaind")


class NoMnemonic(LocalFault):
    """Custody without keys of one's own, on a chain where the published ones would be robbed."""

    code = "no-mnemonic"
    text = "[custody] is enabled, but {chain} is no development chain"
    advice = "Name the file of a BIP-39 mnemonic in [custody] mnemonic_file, or disable custody."
    exit_code = 78  # EX_CONFIG


def custody_seed(config: Config, genesis: Genesis) -> bytes | None:
    """Seed of the named accounts, None where custody is off. Raises `NoMnemonic`."""
    if not config.custody.enabled:
        return None
    if config.custody.mnemonic_file:
        path = Path(config.custody.mnemonic_file).expanduser()
        words = OsFiles().read(path, 0, MNEMONIC_BYTES_MAX).decode()
        return seed_from_mnemonic(" ".join(words.split()))
    if not genesis.dev:
        raise NoMnemonic(chain=genesis.name)
    return seed_from_mnemonic(DEVELOPMENT_MNEMONIC)


def run(config: Config) -> int:
    """Run until a signal or a fault; the process's exit status."""
    configure_logs(config.log)
    status = 0
    try:
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            runner.run(_serve(config))
    except* LocalFault as group:
        fault = _first_fault(group)
        sys.stderr.write(f"Error: {fault}\n{fault.advice}\n")
        status = fault.exit_code
    return status


def _first_fault(group: BaseExceptionGroup[LocalFault]) -> LocalFault:
    """The first leaf: the others are its echoes in tasks that it ended."""
    error: BaseException = group
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    assert isinstance(error, LocalFault)
    return error


async def _serve(config: Config) -> None:
    home = Home(config.node.home_path())
    genesis = Genesis.load(home.genesis)
    with DirectoryLock.acquire(home.path):
        files = OsFiles()
        files.make_dir(home.chain)
        database = LevelStore.open(
            home.chain / "db",
            cache_bytes=DATABASE_CACHE_BYTES,
            write_buffer_bytes=WRITE_BUFFER_BYTES,
        )
        disk = open_disk(files, home.chain, database, genesis)
        workers = ThreadWorkers(max(1, len(os.sched_getaffinity(0))))
        validator_file = config.node.validator_key_path()
        identity = Identity(
            KeyPair(read_or_create_key(home.node_key)),
            SecretKey(read_key(validator_file)) if validator_file.exists() else None,
            may_vote=not validator_file.exists()
            or vote_log_intact(
                files,
                key_mark=validator_file.with_suffix(".used"),
                log_mark=home.chain / "votes.id",
            ),
        )
        node = Node(
            config=config,
            genesis=genesis,
            identity=identity,
            disk=disk,
            clock=SystemClock(),
            workers=workers,
            custody_seed=custody_seed(config, genesis),
            rng=Random(os.urandom(16)),  # noqa: S311 — jitter and sampling, no secrets
        )
        loop = asyncio.get_running_loop()
        for number in (signal.SIGINT, signal.SIGTERM):
            loop.add_signal_handler(number, node.stop)
        api = ApiServer(node)
        try:
            await _run(node, api)
        finally:
            await api.stop()
            workers.close()
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
            log.info("started", api=f"http://{node.config.api.host}:{api.port}")
        waiting.cancel()
