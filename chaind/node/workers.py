"""The node's workers on a real machine: threads for the disk, processes for signatures.

A thread that checks signatures needs the interpreter's lock again after each of them, and then
waits for the loop or holds it up. Processes need it for a batch. They start with the first batch
that is worth it, and a batch whose process ends is given to another one.
"""

import asyncio
import socket
import subprocess
import sys
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar, cast

import structlog

from chaind.node.signature_worker import COUNT_BYTES
from chaind.primitives.errors import LocalFault

T = TypeVar("T")
DISK_THREADS = 3  # votes and bodies, the intake journal, the database
PROCESSES_MAX = 4  # one checks some 25,000 a second, more than the loop takes in
CHECKS_AT_ONCE = 128  # 5 ms of one process: a batch is shared, a message is cheap beside it
ATTEMPTS_MAX = 3  # of one request, with a new process each time

log = structlog.get_logger("chaind.workers")


class SignatureProcessesFail(LocalFault):
    """Processes that check signatures end again and again."""

    code = "signature-processes-fail"
    text = "processes that check signatures ended {attempts} times (last exit status: {status})"
    advice = "Look for what ends them: memory limits, process limits (ulimit -u), the kernel's log."
    exit_code = 71  # EX_OSERR


class _Ended(Exception):
    def __init__(self, status: int | None) -> None:
        super().__init__(status)
        self.status = status


class _Process(asyncio.Protocol):
    """One process, and who waits for its answers, in order. A socket is its input and output."""

    def __init__(self) -> None:
        self.waiting: deque[tuple[int, asyncio.Future[bytes]]] = deque()
        self.gone = asyncio.Event()
        self._answers = bytearray()
        self._transport: asyncio.Transport | None = None
        ours, theirs = socket.socketpair()
        with theirs:
            # -P: a directory named chaind must not pass for the package.
            command = [sys.executable, "-P", "-m", "chaind.node.signature_worker"]
            pipe = theirs.fileno()
            self._child = subprocess.Popen(command, stdin=pipe, stdout=pipe)  # noqa: S603
        self.pid = self._child.pid
        self._socket = ours

    async def connect(self) -> None:
        """Begin to hear it."""
        loop = asyncio.get_running_loop()
        await loop.create_connection(lambda: self, sock=self._socket)

    async def ask(self, checks: Sequence[bytes]) -> bytes:
        """Its verdicts. Raises `_Ended`."""
        if self.gone.is_set():
            raise _Ended(self._child.returncode)
        assert self._transport is not None, "connected first"
        future: asyncio.Future[bytes] = asyncio.get_running_loop().create_future()
        self.waiting.append((len(checks), future))
        self._transport.write(len(checks).to_bytes(COUNT_BYTES, "big") + b"".join(checks))
        return await future

    async def close(self) -> None:
        """End it."""
        if self._transport is not None:
            self._transport.abort()
            await self.gone.wait()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """See `asyncio.Protocol`."""
        self._transport = cast(asyncio.Transport, transport)

    def data_received(self, data: bytes) -> None:
        """Verdicts, as they come."""
        self._answers += data
        while self.waiting and len(self._answers) >= self.waiting[0][0]:
            count, future = self.waiting.popleft()
            if not future.done():  # whoever asked may have been cancelled
                future.set_result(bytes(self._answers[:count]))
            del self._answers[:count]

    def connection_lost(self, error: Exception | None) -> None:  # noqa: ARG002 — status says more
        """It ended, or we end it: whoever waits asks another one."""
        self._child.kill()
        self._child.wait()
        self.gone.set()
        for _, future in self.waiting:
            if not future.done():
                future.set_exception(_Ended(self._child.returncode))
        self.waiting.clear()


class SystemWorkers:
    """`Workers` of a real machine. `processes` check signatures side by side."""

    def __init__(self, processes: int) -> None:
        self._disk = ThreadPoolExecutor(DISK_THREADS, thread_name_prefix="disk")
        self._wanted = min(processes, PROCESSES_MAX)
        self._processes: list[_Process] = []
        self._starting = asyncio.Lock()

    async def disk(self, work: Callable[[], T]) -> T:
        """See `Workers`."""
        return await asyncio.get_running_loop().run_in_executor(self._disk, work)

    async def verify(self, checks: Sequence[bytes]) -> bytes:
        """See `Workers`. Raises `SignatureProcessesFail`."""
        share = -(-len(checks) // self._wanted)
        size = min(CHECKS_AT_ONCE, max(1, share))
        parts = [checks[start : start + size] for start in range(0, len(checks), size)]
        return b"".join(await asyncio.gather(*map(self._verify, parts)))

    async def _verify(self, checks: Sequence[bytes]) -> bytes:
        status = None
        for _ in range(ATTEMPTS_MAX):
            await self._start()
            process = min(self._processes, key=lambda one: len(one.waiting))
            try:
                return await process.ask(checks)
            except _Ended as ended:
                status = ended.status
                log.warning("signature_process_ended", status=status)
        raise SignatureProcessesFail(attempts=ATTEMPTS_MAX, status=status)

    async def _start(self) -> None:
        """As many as are wanted run; those that ended are replaced."""
        if len(self._processes) == self._wanted and not any(map(_is_gone, self._processes)):
            return
        async with self._starting:
            self._processes = [one for one in self._processes if not _is_gone(one)]
            while len(self._processes) < self._wanted:
                process = _Process()
                await process.connect()
                self._processes.append(process)

    async def close(self) -> None:
        """Wait for what the threads do, end them and the processes."""
        self._disk.shutdown()
        for process in self._processes:
            await process.close()


def _is_gone(process: _Process) -> bool:
    return process.gone.is_set()
