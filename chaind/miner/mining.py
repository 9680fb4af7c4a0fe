"""Mining for a pool: a connection that is made again when it breaks, and a crew that never idles.

Law: workers search the newest work the pool gave, from a new extranonce whenever the nonces of one
are at their end; what they find is submitted unless the pool ended its job.
"""

import asyncio
import time
from abc import ABC, abstractmethod
from collections.abc import Callable
from contextlib import suppress
from typing import NamedTuple

from chaind.miner.crew import Crew, WorkerDied, WorkerStuck
from chaind.miner.scheme import SchemeMismatch, is_http
from chaind.miner.stratum_client import LINE_BYTES_MAX, PoolClient, PoolFault, PoolJob
from chaind.miner.worker import Answer, Exhausted, Found, Searched

CONNECT_S = 10.0
SILENCE_S = 180.0  # pools send work every minute or so
PAUSE_S, PAUSE_S_MAX = 1.0, 30.0
RATE_REPORTS = 10  # a worker's rate is that of its last reports, of a second each


class Endpoint(NamedTuple):
    """Where a pool listens."""

    host: str
    port: int

    def __str__(self) -> str:
        return f"{self.host}:{self.port}"


class Counts(NamedTuple):
    """What came of the shares so far. `dropped` were found for work that had ended; to `unsent`
    blocks the node has given no answer, though it was asked."""

    accepted: int = 0
    stale: int = 0
    rejected: int = 0
    dropped: int = 0
    unsent: int = 0


class _Try(NamedTuple):
    """What the crew searches."""

    job: PoolJob
    extranonce2: bytes
    time: int


class CrewMining(ABC):
    """A crew whose answers are heard on the event loop. `tell` hears what a person would want to
    know, line by line; who mines says what to do with an answer and what to do all the time."""

    def __init__(self, *, crew: Crew, tell: Callable[[str], None]) -> None:
        self._crew = crew
        self._tell = tell
        self.counts = Counts()
        self.was_connected = False  # to somebody who gave out work, at least once
        self._number = 0  # of what the crew searches
        self._reports: list[list[Searched]] = [[] for _ in range(crew.size)]
        self._failed: asyncio.Future[None] | None = None

    def rates(self) -> list[float]:
        """Hashes per second of each worker, over its last reports."""
        return [
            sum(one.nonces for one in each) / max(sum(one.seconds for one in each), 1e-9)
            for each in self._reports
        ]

    async def run(self) -> None:
        """Mine until cancelled. Raises `PoolRefusal`, `NodeRefusal`, `SecretRefused`,
        `SchemeMismatch`, `WorkerDied` or `WorkerStuck`."""
        loop = asyncio.get_running_loop()
        self._failed = loop.create_future()
        descriptors = [connection.fileno() for connection in self._crew.connections]
        for descriptor in descriptors:
            loop.add_reader(descriptor, self._listen)
        connecting = asyncio.create_task(self._work())
        try:
            await asyncio.wait(
                [connecting, self._failed], return_when=asyncio.FIRST_COMPLETED
            )  # neither ends but by failing
            for ended in (self._failed, connecting):
                if ended.done():
                    ended.result()
        finally:
            for descriptor in descriptors:
                loop.remove_reader(descriptor)
            connecting.cancel()
            with suppress(asyncio.CancelledError):
                await connecting

    @abstractmethod
    async def _work(self) -> None:
        """Get work for the crew, for ever."""

    def _listen(self) -> None:
        assert self._failed is not None
        try:
            for worker, answer in self._crew.answers(0.0):
                if isinstance(answer, Searched):
                    reports = self._reports[worker]
                    reports.append(answer)
                    del reports[:-RATE_REPORTS]
                else:
                    self._take(answer)
        except (WorkerDied, WorkerStuck) as error:  # a reader's exceptions reach nobody else
            if not self._failed.done():
                self._failed.set_exception(error)

    @abstractmethod
    def _take(self, answer: Answer) -> None:
        """What a worker found, or has no more of."""


class Mining(CrewMining):
    """See the module's law."""

    def __init__(
        self,
        *,
        crew: Crew,
        endpoint: Endpoint,
        client: Callable[[], PoolClient],
        tell: Callable[[str], None],
    ) -> None:
        super().__init__(crew=crew, tell=tell)
        self.endpoint = endpoint
        self._make_client = client
        self._client: PoolClient | None = None
        self._writer: asyncio.StreamWriter | None = None
        self._tries: dict[int, _Try] = {}  # by the number that the crew knows

    async def _work(self) -> None:
        pause_s = PAUSE_S
        while True:
            self._client = self._make_client()
            try:
                await self._connection(self._client)
                reason = "it closed the connection"
            except PoolFault as fault:
                reason = str(fault)
            except TimeoutError:
                reason = "it is silent"
            except OSError as error:
                reason = error.strerror or str(error)
            self._idle()
            if self._client.joined:
                pause_s = PAUSE_S
            self._tell(f"{self.endpoint}: {reason}; again in {pause_s:.0f} s")
            await asyncio.sleep(pause_s)
            pause_s = min(2 * pause_s, PAUSE_S_MAX)

    async def _connection(self, client: PoolClient) -> None:
        """From a connection to its end."""
        async with asyncio.timeout(CONNECT_S):
            reader, self._writer = await asyncio.open_connection(
                self.endpoint.host, self.endpoint.port, limit=LINE_BYTES_MAX
            )
        try:
            self._writer.write(client.hello())
            while True:
                async with asyncio.timeout(SILENCE_S):
                    try:
                        line = await reader.readline()
                    except ValueError:
                        raise PoolFault(reason="a line that does not end") from None
                if not line:
                    return
                if is_http(line) and not client.joined:
                    where = str(self.endpoint)
                    raise SchemeMismatch(where=where, spoken="HTTP", meant="Stratum")
                self._hear(client, line)
        finally:
            self._writer.close()
            self._writer = None

    def _hear(self, client: PoolClient, line: bytes) -> None:
        joined, job = client.joined, client.job
        for answer in client.feed(line):
            self._write(answer)
        if client.joined and not joined:
            self.was_connected = True
            self._tell(f"{self.endpoint}: connected")
        while client.verdicts:
            verdict, counts = client.verdicts.popleft(), self.counts
            if verdict.accepted:
                self.counts = counts._replace(accepted=counts.accepted + 1)
            elif verdict.stale:
                self.counts = counts._replace(stale=counts.stale + 1)
            else:
                self.counts = counts._replace(rejected=counts.rejected + 1)
                self._tell(f"{self.endpoint}: a share was rejected: {verdict.reason}")
        if client.joined and client.job is not None and (client.job is not job or not joined):
            self._search(client, client.job)

    def _search(self, client: PoolClient, job: PoolJob) -> None:
        """Put the crew on a job, from an extranonce of its own."""
        self._tries = {
            number: one for number, one in self._tries.items() if one.job.id in client.live
        }
        attempt = _Try(job, client.next_extranonce2(), job.time)
        self._number += 1
        self._tries[self._number] = attempt
        prefix = client.prefix(job, attempt.extranonce2, attempt.time)
        self._crew.assign(job=self._number, prefix=prefix, target=job.target)

    def _idle(self) -> None:
        """No pool, no work: shares of before count nowhere."""
        self._tries.clear()
        self._number += 1
        self._crew.rest(self._number)

    def _take(self, answer: Answer) -> None:
        try:
            self._take_from(self._client, answer)
        except PoolFault as fault:
            self._tell(f"{self.endpoint}: {fault}")
            if self._writer is not None:
                self._writer.close()

    def _take_from(self, client: PoolClient | None, answer: Answer) -> None:
        match answer:
            case Found(number, nonce):
                attempt = self._tries.get(number)
                if attempt is None or client is None or attempt.job.id not in client.live:
                    self.counts = self.counts._replace(dropped=self.counts.dropped + 1)
                    return
                self._write(client.submit(attempt.job, attempt.extranonce2, attempt.time, nonce))
            case Exhausted(number) if number == self._number and client is not None:
                if client.job is not None and self._writer is not None:
                    self._search(client, client.job)

    def _write(self, line: bytes) -> None:
        if self._writer is not None:
            self._writer.write(line)


def show_rate(per_second: float) -> str:
    """Hashes per second with a unit."""
    for unit in ("H/s", "kH/s", "MH/s", "GH/s"):
        if per_second < 1_000 or unit == "GH/s":
            return f"{per_second:.2f} {unit}"
        per_second /= 1_000
    raise AssertionError


class LiveLine:
    """One line about it all, for a person who looks."""

    def __init__(self, mining: CrewMining) -> None:
        self._mining = mining
        self._begun_s = time.monotonic()

    def text(self) -> str:
        """Rate of each worker and together, and what came of the shares."""
        rates, counts = self._mining.rates(), self._mining.counts
        each = " + ".join(map(show_rate, rates)) if len(rates) > 1 else ""
        unsent = f"not handed in {counts.unsent}  " if counts.unsent else ""
        return (
            f"{show_rate(sum(rates))}{f' ({each})' if each else ''}  accepted {counts.accepted}  "
            f"stale {counts.stale + counts.dropped}  rejected {counts.rejected}  {unsent}"
            f"{time.monotonic() - self._begun_s:.0f} s"
        )
