"""The node's own mining: processes of the lowest priority on the node's own work.

Law: the loop only hands over work and reads answers; processes are started and ended on a thread.
A process that ends or hangs costs the crew, which is started anew after a pause, never the node.
"""

import asyncio
from collections import deque
from collections.abc import Callable
from typing import NamedTuple

import structlog

from chaind.miner.crew import Crew, WorkerDied, WorkerStuck
from chaind.miner.devices import Device, GpuFault, start_crew
from chaind.miner.jobs import EXTRANONCE1_BYTES, EXTRANONCE2_BYTES
from chaind.miner.search import NONCE_BYTES
from chaind.miner.worker import Answer, Compiling, Exhausted, Found, Ready, Searched
from chaind.node.clock import Clock, Workers
from chaind.node.miner_work import MinerWork, NodeTemplate, Solved
from chaind.primitives.block import BLOCK_VERSION
from chaind.primitives.errors import LocalFault

NICENESS = 19  # the node itself, and everything else, comes first
JOBS_KEPT = 8  # what was found for an older one is too late
REPORTS_KEPT = 10  # some seconds of each process
PAUSE_S, PAUSE_S_MAX = 1.0, 60.0
NAME = "this node"
_NOBODY = bytes(EXTRANONCE1_BYTES)  # an extranonce that no connection is given

log = structlog.get_logger("chaind.mining")


class Hardware(NamedTuple):
    """What mines: see `chaind.miner.devices.start_crew`."""

    device: Device
    indexes: tuple[int, ...]
    intensity: int
    threads: int


class _Job(NamedTuple):
    template: NodeTemplate
    extranonce: bytes
    prefix: bytes


class OwnMiner:
    """See the module's law. `rate` says how many hashes per second are enough for given bits, 0 for
    all that the processes can."""

    def __init__(
        self,
        *,
        work: MinerWork,
        payee: bytes,
        hardware: Hardware,
        rate: Callable[[int], float],
        paced: bool,
        clock: Clock,
        workers: Workers,
    ) -> None:
        self._work = work
        self._payee = payee
        self._hardware = hardware
        self._rate = rate
        self._paced = paced
        self._clock = clock
        self._workers = workers
        self._crew: Crew | None = None
        self._failed: asyncio.Future[None] | None = None
        self._jobs: dict[int, _Job] = {}
        self._number = 0
        self._extranonce2 = 0
        self._reports: list[deque[Searched]] = []

    @property
    def threads(self) -> int:
        """How many processes search, or will."""
        return self._hardware.threads if self._crew is None else self._crew.size

    def rates(self) -> list[float]:
        """Hashes per second of each process, over its last reports."""
        return [
            sum(one.nonces for one in each) / max(sum(one.seconds for one in each), 1e-9)
            for each in self._reports
        ]

    def pids(self) -> tuple[int, ...]:
        """The processes."""
        return () if self._crew is None else self._crew.pids

    async def run(self) -> None:
        """Keep a crew at work until cancelled. Raises `MinerNotInstalled`, or a `GpuFault` where
        the first crew cannot be had: later a card may be lost, and come back."""
        pause_s = PAUSE_S
        has_started = False
        while True:
            begun_ms = self._clock.monotonic_ms()
            starting = asyncio.ensure_future(self._workers.disk(self._start_crew))
            try:
                crew = await asyncio.shield(starting)
                has_started = True
                await self._supervise(crew)
            except (WorkerDied, WorkerStuck, GpuFault, OSError) as error:
                if not has_started and isinstance(error, LocalFault):
                    raise
                log.error("mining_processes_failed", error=str(error), again_in_s=pause_s)
            finally:
                self._reports = []
                self._crew = None
                await asyncio.shield(self._end(starting))
            await asyncio.sleep(pause_s)
            lasted_ms = self._clock.monotonic_ms() - begun_ms
            quick = lasted_ms < 1000 * PAUSE_S_MAX
            pause_s = min(2 * pause_s, PAUSE_S_MAX) if quick else PAUSE_S

    def _start_crew(self) -> Crew:
        """On a thread. Work of a pace is little, and needs no card unless one is asked for."""
        device, indexes, intensity, threads = self._hardware
        return start_crew(
            device="cpu" if self._paced and device == "auto" else device,
            indexes=indexes,
            intensity=intensity,
            threads=threads,
            niceness=NICENESS,
            plain=self._paced,
            tell=lambda text: log.info("mining_without_cards", reason=text),
        )

    async def _end(self, starting: "asyncio.Future[Crew]") -> None:
        try:
            crew = await starting
        except (LocalFault, OSError):
            return  # whoever waited for the crew has heard of it
        await self._workers.disk(crew.close)

    async def _supervise(self, crew: Crew) -> None:
        """Listen to the crew until it fails."""
        loop = asyncio.get_running_loop()
        self._failed = loop.create_future()
        self._reports = [deque(maxlen=REPORTS_KEPT) for _ in range(crew.size)]
        self._crew = crew
        descriptors = [connection.fileno() for connection in crew.connections]
        for descriptor in descriptors:
            loop.add_reader(descriptor, self._listen, crew)
        try:
            self.give_work()
            await self._failed
        finally:
            for descriptor in descriptors:
                loop.remove_reader(descriptor)

    def give_work(self) -> None:
        """Put the crew on the newest work."""
        if self._crew is None:
            return
        template = self._work.template(self._payee)
        self._number += 1
        try:
            if template is None:
                self._crew.rest(self._number)
                self._jobs.clear()
                for reports in self._reports:
                    reports.clear()
                return
            job = self._job(template)
            self._jobs[self._number] = job
            self._jobs.pop(self._number - JOBS_KEPT, None)
            self._crew.assign(
                job=self._number,
                prefix=job.prefix,
                target=template.target,
                rate=self._rate(template.bits),
            )
        except (WorkerDied, WorkerStuck) as error:
            self._fail(error)

    def _job(self, template: NodeTemplate) -> _Job:
        self._extranonce2 = (self._extranonce2 + 1) % (1 << 8 * EXTRANONCE2_BYTES)
        extranonce = _NOBODY + self._extranonce2.to_bytes(EXTRANONCE2_BYTES, "big")
        header = template.header(
            extranonce=extranonce, time=template.time, nonce=0, version=BLOCK_VERSION
        )
        return _Job(template, extranonce, header[:-NONCE_BYTES])

    def _listen(self, crew: Crew) -> None:
        try:
            for worker, answer in crew.answers(0.0):
                self._take(worker, answer)
        except WorkerDied as error:  # a reader's exceptions reach nobody else
            self._fail(error)

    def _fail(self, error: Exception) -> None:
        assert self._failed is not None
        if not self._failed.done():
            self._failed.set_exception(error)

    def _take(self, worker: int, answer: Answer) -> None:
        match answer:
            case Compiling(text):
                log.info("mining_process_compiles", process=worker, text=text)
            case Ready(kernel):
                log.info("mining_process_ready", process=worker, kernel=kernel)
            case Searched():
                self._reports[worker].append(answer)
            case Found(number, nonce):
                job = self._jobs.get(number)
                if job is not None:
                    header = job.prefix + nonce.to_bytes(NONCE_BYTES, "little")
                    solved = Solved(job.template, job.extranonce, header, NAME, own=True)
                    self._work.hand_in(solved)
            case Exhausted(number) if number == self._number and number in self._jobs:
                self.give_work()
