"""Work for miners on this node's chain: who is paid, what to hash, and the block that comes of it.

Law: one plan serves all miners until the tip changes or the pool has something better; only the
coinbase differs. No work is given out while this node does not know the best chain. A block is
handed in once its time has come, and at most one for each tip.
"""

import asyncio
from collections.abc import Callable
from itertools import count
from typing import NamedTuple

import structlog

from chaind.mempool.pool import Pool
from chaind.miner.jobs import EXTRANONCE_BYTES, Template, coinbase_branch
from chaind.miner.stratum import Share
from chaind.node.clock import Clock
from chaind.node.templates import Plan
from chaind.node.work_engine import WorkEngine
from chaind.primitives.address import AddressInvalid
from chaind.primitives.block import BLOCK_VERSION, Block, Header
from chaind.primitives.coinbase import TAG
from chaind.primitives.errors import ChaindError, LocalFault, Unknown
from chaind.primitives.hashes import display_hash, sha256d

SALT_BYTES = 4  # two nodes that pay one address must not search the same headers
NUMBER_BYTES = 4  # nor does one miner search again what it had before its work was renewed
POOL_FEW = 500  # transactions that are chosen within a few milliseconds; more come right after
AHEAD_SLACK_S = 1  # of peers' clocks, where they allow so much

log = structlog.get_logger("chaind.mining")


class NodeTemplate(Template, frozen=True, kw_only=True):
    """A template and the plan that it is of."""

    plan: Plan


class Solved(NamedTuple):
    """A header that was mined, and what the rest of its block is."""

    template: NodeTemplate
    extranonce: bytes
    header: bytes
    worker: str
    own: bool = False


class MinerWork:
    """See the module's law. `resolve` gives the address of an address text or of a named account;
    `may_mine` tells whether this node knows the best chain."""

    def __init__(
        self,
        *,
        engine: WorkEngine,
        clock: Clock,
        resolve: Callable[[str], bytes],
        may_mine: Callable[[], bool],
        pool: Pool,
        max_future_ms: int,
        salt: bytes,
    ) -> None:
        assert len(salt) == SALT_BYTES
        self._engine = engine
        self._clock = clock
        self._resolve = resolve
        self._may_mine = may_mine
        self._pool = pool
        self._max_future_s = max_future_ms // 1000
        self._mark = TAG + salt
        self._numbers = count(1)
        self._plan: Plan | None = None
        self._branch: tuple[bytes, ...] = ()
        self._seen = 0  # arrivals at the pool that the plan knows of
        self._short = False  # the plan was made in haste and lacks what the pool has
        self._solved: Solved | None = None  # the first on its tip, until it is handed in
        self._found = asyncio.Event()
        self.on_taken: Callable[[Solved], None] | None = None  # set once, hears of blocks taken

    @property
    def plan(self) -> Plan | None:
        """What is being mined."""
        return self._plan

    @property
    def short(self) -> bool:
        """Whether the plan lacks transactions, and `improve` should come soon."""
        return self._short

    def follow(self) -> bool:
        """See that the plan stands on the tip; whether there is other work now, or none."""
        if not self._may_mine():
            had, self._plan = self._plan is not None, None
            return had
        if self._plan is not None and self._plan.parent == self._engine.tip_hash:
            return False
        self._seen = self._engine.arrivals_total
        self._short = len(self._pool) > POOL_FEW
        self._set(self._engine.next_block.plan(empty=self._short))
        return True

    def improve(self) -> bool:
        """See that the plan takes what the pool has; whether it changes by that."""
        before = self._plan
        if self.follow() or before is None:
            return True
        if not self._short and self._seen == self._engine.arrivals_total:
            return False
        self._short = False
        fresh = self._engine.next_block.plan()
        self._seen = self._engine.arrivals_total
        if fresh.transactions == before.transactions:
            return False
        self._set(fresh)
        return True

    def _set(self, plan: Plan) -> None:
        self._plan = plan
        leaves = [bytes(32), sha256d(plan.committed)]  # the coinbase's place does not matter
        leaves += [transaction.wtxid for transaction in plan.transactions]
        self._branch = coinbase_branch(leaves)

    # What servers of miners ask: see `chaind.miner.stratum_server.Work`.

    def template(self, payee: bytes) -> NodeTemplate | None:
        """Work whose reward goes to an address; None while there is none to give."""
        plan = self._plan
        if plan is None:
            return None
        now = self._clock.now_ms() // 1000
        number = next(self._numbers) % (1 << 8 * NUMBER_BYTES)
        mark = self._mark + number.to_bytes(NUMBER_BYTES, "big")
        coinbase = plan.coinbase(payee, mark + bytes(EXTRANONCE_BYTES))
        at = coinbase.index(mark) + len(mark)
        return NodeTemplate(
            id=f"{number:x}",
            height=plan.height,
            version=BLOCK_VERSION,
            parent=plan.parent,
            bits=plan.bits,
            time=max(now, plan.time_min),
            time_min=plan.time_min,
            time_max=max(now, plan.time_min) + self._max_future_s,
            coinbase_head=coinbase[:at],
            coinbase_tail=coinbase[at + EXTRANONCE_BYTES :],
            branch=self._branch,
            plan=plan,
        )

    def payee_of(self, name: str) -> bytes | None:
        """See `payee_of`."""
        return payee_of(name, self._resolve)

    def why_unpaid(self, name: str) -> str:
        """See `why_unpaid`."""
        return why_unpaid(name, self._resolve)

    def solved(self, share: Share) -> None:
        """A miner's block."""
        assert isinstance(share.template, NodeTemplate)
        self.hand_in(Solved(share.template, share.extranonce, share.header, share.worker))

    def hand_in(self, solved: Solved) -> None:
        """A block that was found; what comes of it is logged. The first one on a tip counts."""
        waits = self._solved
        if solved.template.parent != self._engine.tip_hash or (
            waits is not None and waits.template.parent == solved.template.parent
        ):
            log.debug("block_late", worker=solved.worker, height=solved.template.height)
            return
        self._solved = solved
        self._found.set()

    async def run(self) -> None:
        """Hand in what is found, until cancelled."""
        while True:
            await self._found.wait()
            self._found.clear()
            solved = self._solved
            if solved is None:
                continue
            await self._when_due(Header.decode(solved.header).time)
            await self._submit(solved)
            if self._solved is solved:
                self._solved = None

    async def _when_due(self, time: int) -> None:
        """A header too far ahead of our clock would be refused, here or by peers."""
        slack_s = min(AHEAD_SLACK_S, self._max_future_s)
        early_s = time - self._max_future_s + slack_s - self._clock.now_ms() / 1000
        if early_s > 0:
            await asyncio.sleep(early_s)

    async def _submit(self, solved: Solved) -> None:
        template, plan = solved.template, solved.template.plan
        block = Block(
            Header.decode(solved.header),
            template.coinbase(solved.extranonce),
            plan.committed,
            plan.transactions,
        )
        shown = {
            "worker": solved.worker,
            "height": block.height,
            "hash": display_hash(block.hash),
        }
        if block.parent != self._engine.tip_hash:
            log.info("block_overtaken", **shown)
            return
        try:
            await self._engine.submit(block)
        except LocalFault:
            raise
        except ChaindError as error:
            log.warning("block_refused", error=str(error), **shown)
            return
        if self.on_taken is not None:
            self.on_taken(solved)
        log.info("block_mined", transactions=len(block.transactions), **shown)


def payee_of(name: str, resolve: Callable[[str], bytes]) -> bytes | None:
    """The address of ADDRESS, NAME, ADDRESS.WORKER or NAME.WORKER; None for anything else."""
    if not name.isascii() or not name.isprintable():  # it is shown in logs and tables
        return None
    for who in (name, name.rpartition(".")[0]):
        try:
            return resolve(who)
        except (Unknown, AddressInvalid):
            continue
    return None


def why_unpaid(name: str, resolve: Callable[[str], bytes]) -> str:
    """What is wrong with a name of which `payee_of` makes nothing; empty for others."""
    if not name.isascii() or not name.isprintable():
        return "a name is printable ASCII"
    try:
        resolve(name.rpartition(".")[0] or name)
    except (Unknown, AddressInvalid) as error:
        return str(error)
    return ""
