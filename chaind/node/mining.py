"""Mining on this node's chain: its own processes, the Stratum server, and work for both.

Law: a new tip reaches every miner at once, better fees within seconds; choosing transactions takes
a small part of the loop's time and no more. Nothing is mined on a chain that may not be the best.
"""

import asyncio
from collections.abc import Callable

import structlog

from chaind.mempool.pool import Pool
from chaind.miner.roster import MinerInfo
from chaind.miner.stratum_server import StratumServer
from chaind.node.clock import Clock, Workers
from chaind.node.config import Config, MinerSection
from chaind.node.miner_work import SALT_BYTES, MinerWork, Solved
from chaind.node.own_miner import Hardware, OwnMiner
from chaind.node.work_engine import WorkEngine
from chaind.primitives.errors import LocalFault
from chaind.primitives.genesis import Genesis, ProofOfWork
from chaind.primitives.work import target_of, work_of

REFRESH_S_MAX = 5.0  # between two looks for better fees
REFRESH_PER_SPACING = 0.5
PLANNING_SHARE = 0.05  # of the loop's time
RENEW_S = 30.0  # time moves on, and the time of a header with it
BEHIND_MAX = 1  # the block that is being fetched
PACED_SPACINGS = 10.0  # a paced miner that is alone makes a block in so many, at worst

log = structlog.get_logger("chaind.mining")


class NotMinable(LocalFault):
    """Mining is configured on a chain without miners."""

    code = "not-minable"
    text = "[miner] is set, but blocks of chain {chain} are made by its validators"
    advice = (
        "Set [miner] enabled = false and stratum_port = 0, or name a home of a chain of miners."
    )
    exit_code = 78  # EX_CONFIG


class PayeeUnknown(LocalFault):
    """Nobody to pay for the blocks that this node mines."""

    code = "payee-unknown"
    text = "[miner] address = {name!r} is neither an address of this chain nor an account kept here"
    advice = "Name an address of yours: `chaind wallet` makes one."
    exit_code = 78  # EX_CONFIG


class NodeStanding:
    """Whether this node knows the best chain, so that mining on it is worth while.

    It has to have heard all headers once. Later a peer that is silent cannot keep it from mining,
    nor one that tells of blocks and does not give them. But its clock has to be one by which its
    own blocks are not too new.
    """

    def __init__(self, engine: WorkEngine, peers: Callable[[], int], *, alone: bool) -> None:
        self._engine = engine
        self._peers = peers
        self._alone = alone
        self._was_synced = False

    @property
    def lonely(self) -> bool:
        """Whether it has no peers and should have some."""
        return not self._alone and not self._peers()

    def may_mine(self) -> bool:
        """See the class."""
        if self.lonely:
            return False
        self._was_synced = self._was_synced or not self._engine.syncing
        if self._engine.next_block.slow_clock_s:
            return False
        return self._was_synced and self._engine.awaited <= BEHIND_MAX


def make_mining(
    *,
    config: Config,
    genesis: Genesis,
    engine: object,
    pool: Pool,
    clock: Clock,
    workers: Workers,
    resolve: Callable[[str], bytes],
    peers: Callable[[], int],
    entropy: Callable[[int], bytes],
) -> "Mining | None":
    """What [miner] asks for, None where it asks for nothing. Raises `NotMinable`, `PayeeUnknown`.

    A node that names no peers may be the only one.
    """
    section = config.miner
    if not section.enabled and not section.stratum_port:
        return None
    if not isinstance(engine, WorkEngine):
        raise NotMinable(chain=genesis.name)
    return Mining(
        section=section,
        rules=genesis.proof_of_work,
        engine=engine,
        pool=pool,
        clock=clock,
        workers=workers,
        resolve=resolve,
        may_mine=NodeStanding(engine, peers, alone=not config.network.peers).may_mine,
        entropy=entropy,
    )


class Mining:
    """See the module's law. `resolve` gives the address of an address text or a named account."""

    def __init__(
        self,
        *,
        section: MinerSection,
        rules: ProofOfWork,
        engine: WorkEngine,
        pool: Pool,
        clock: Clock,
        workers: Workers,
        resolve: Callable[[str], bytes],
        may_mine: Callable[[], bool],
        entropy: Callable[[int], bytes],
    ) -> None:
        self._section = section
        self._rules = rules
        self._clock = clock
        self.work = MinerWork(
            engine=engine,
            clock=clock,
            resolve=resolve,
            may_mine=may_mine,
            pool=pool,
            max_future_ms=rules.rules.max_future_ms,
            salt=entropy(SALT_BYTES),
        )
        self._news = asyncio.Event()
        engine.on_head.append(self._news.set)
        self.stratum: StratumServer | None = None
        self.stratum_port = 0  # where it listens
        if section.stratum_port:
            self.stratum = StratumServer(
                self.work,
                monotonic_s=self._monotonic_s,
                connections_max=section.connections_max,
                per_host_max=section.connections_per_host_max,
                shares_per_minute=section.shares_per_minute,
            )
        self.own: OwnMiner | None = None
        if section.enabled:
            self.own = OwnMiner(
                work=self.work,
                payee=self._payee(section.address),
                hardware=Hardware(
                    device=section.device,
                    indexes=section.device_indexes,
                    intensity=section.intensity,
                    threads=section.threads,
                ),
                rate=self.rate_for,
                paced=section.pace_percent > 0,
                clock=clock,
                workers=workers,
            )
        self.work.on_taken = self._taken
        self.blocks_total = self.own_blocks_total = 0  # mined here, and by this node itself
        spacing_s = rules.rules.target_spacing_ms / 1000
        self._refresh_s = min(REFRESH_S_MAX, REFRESH_PER_SPACING * spacing_s)

    def _payee(self, name: str) -> bytes:
        payee = self.work.payee_of(name)
        if payee is None:
            raise PayeeUnknown(name=name)
        return payee

    def _monotonic_s(self) -> float:
        return self._clock.monotonic_ms() / 1000

    def rate_for(self, bits: int) -> float:
        """Hashes per second that are enough for this node's own miner; 0 for all that it can."""
        share = self._section.pace_percent / 100
        first, now = (work_of(target_of(each)) for each in (self._rules.start_bits, bits))
        spacing_s = self._rules.rules.target_spacing_ms / 1000
        return share * min(now, max(first, now / PACED_SPACINGS)) / spacing_s

    @property
    def stratum_host(self) -> str:
        """Where it is told to listen."""
        return self._section.stratum_host

    def _taken(self, solved: Solved) -> None:
        self.blocks_total += 1
        self.own_blocks_total += solved.own
        if self.stratum is not None and not solved.own:
            self.stratum.workers.mined(solved.worker)

    def hashes_per_second(self) -> float:
        """Of this node itself and of the miners that it serves."""
        own = 0.0 if self.own is None else sum(self.own.rates())
        return own + sum(worker.hashes_per_second for worker in self.connected())

    def workers(self) -> list[MinerInfo]:
        """Names that mine through Stratum or did within the hour, the newest first."""
        return [] if self.stratum is None else self.stratum.workers.all(self._monotonic_s())

    def connected(self) -> list[MinerInfo]:
        """Those of `workers` that are connected: their rates are what is served just now."""
        return [] if self.stratum is None else self.stratum.workers.connected(self._monotonic_s())

    async def start(self, group: asyncio.TaskGroup) -> list[asyncio.Task[None]]:
        """Begin to serve; the tasks, to be cancelled. Raises `StratumBusy`."""
        tasks = [group.create_task(self.work.run()), group.create_task(self._follow())]
        if self.stratum is not None:
            host, port = self._section.stratum_host, self._section.stratum_port
            self.stratum_port = await self.stratum.start(host, port)
            log.info("stratum_listens", host=host, port=self.stratum_port)
        if self.own is not None:
            tasks.append(group.create_task(self.own.run()))
        return tasks

    async def stop(self) -> None:
        """Serve nobody any more."""
        if self.stratum is not None:
            await self.stratum.stop()

    async def _follow(self) -> None:
        renewed_s = self._monotonic_s()
        wait_s = self._refresh_s
        while True:
            fresh = self.work.follow()
            if fresh:
                renewed_s = self._renew()
            if fresh and self.work.short:
                await asyncio.sleep(0)  # what was told goes out first
                self.work.improve()
                renewed_s = self._renew()
            if not await self._head_moved(wait_s):
                begun_s = self._monotonic_s()
                better = self.work.improve()
                took_s = self._monotonic_s() - begun_s
                wait_s = max(self._refresh_s, took_s / PLANNING_SHARE)
                if better or begun_s - renewed_s > RENEW_S:
                    renewed_s = self._renew()

    async def _head_moved(self, bound_s: float) -> bool:
        try:
            async with asyncio.timeout(bound_s):
                await self._news.wait()
        except TimeoutError:
            return False
        self._news.clear()
        return True

    def _renew(self) -> float:
        """Everybody gets new work; when that was."""
        if self.own is not None:
            self.own.give_work()
        if self.stratum is not None:
            self.stratum.renew()
        return self._monotonic_s()
