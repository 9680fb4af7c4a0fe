"""What can be read about mining: the work to be done, the miners of this node, who mined what."""

from collections.abc import Iterator

from aiohttp import web

from chaind.api.answers import Answer, respond
from chaind.api.bodies import query_integer
from chaind.api.context import Api
from chaind.api.forms import maybe
from chaind.api.mining import NotMined
from chaind.miner.jobs import DIFFICULTY_1
from chaind.miner.roster import MinerInfo
from chaind.node.mining import Mining
from chaind.node.mining_view import mined_by, network_rate, recent_blocks
from chaind.node.work_engine import WorkEngine
from chaind.primitives.amounts import format_amount
from chaind.primitives.hashes import display_hash
from chaind.primitives.work import target_of

BLOCKS, BLOCKS_MAX = 1_000, 10_000  # of one attribution
RECENT, RECENT_MAX = 20, 100
MINERS_MAX = 500  # of one attribution, those of most blocks
HEIGHT_MAX = 2**53
_EVERYWHERE = ("0.0.0.0", "::")  # noqa: S104 - compared with, not bound


class OwnMinerForm(Answer, frozen=True, kw_only=True):
    """What this node mines itself, `blocks` since it was started."""

    threads: int
    hashes_per_second: float
    blocks: int


class StratumForm(Answer, frozen=True, kw_only=True):
    """How miners reach this node, and what they sent since it was started.

    `workers` and `hashes_per_second` are of the names that are connected; miners that ask by
    getblocktemplate are among neither, for they send blocks alone and no shares. `stale` shares
    came after the tip had changed; `rejected` ones break a rule.
    """

    url: str
    connections: int
    workers: int
    hashes_per_second: float
    accepted: int
    stale: int
    rejected: int


class MiningAnswer(Answer, frozen=True, kw_only=True):
    """The next block and who works on it.

    `height`, `bits`, `target` and `difficulty` are of the next block, `previous_hash` is the tip it
    stands on. `reward` is what it pays: subsidy and fees, as far as this node has a plan for it.
    `network_hashes_per_second` is what the last `rate_blocks` blocks took, null where there are too
    few. `serving`: this node gives out work; it does not before it knows the best chain. `own` and
    `stratum` are null where [miner] does not ask for them.
    """

    mode: str
    height: int
    previous_hash: str
    bits: str
    target: str
    difficulty: float
    target_spacing_ms: int
    reward: str
    network_hashes_per_second: float | None
    rate_blocks: int
    serving: bool
    own: OwnMinerForm | None
    stratum: StratumForm | None


class WorkerForm(Answer, frozen=True, kw_only=True):
    """A name that miners use here, over all its connections since it was first seen.

    `hashes_per_second` is a mean over minutes; without `connections` it is the last one before it
    left, which the node's own rate counts no more. Without a connection and a share it is forgotten
    at `expires_ms`. Miners that ask by getblocktemplate are named in no such list: their blocks are
    counted by who is paid, in /api/v1/mining/attribution.
    """

    name: str
    hashes_per_second: float
    accepted: int
    stale: int
    rejected: int
    blocks: int
    connections: int
    last_seen_ms: int
    expires_ms: int


class WorkersAnswer(Answer, frozen=True):
    """The newest first."""

    workers: list[WorkerForm]


class MinedForm(Answer, frozen=True, kw_only=True):
    """What blocks paid an address. A block counts for each address that its coinbase pays.

    `final_blocks` and `final_reward` stay, whatever happens; the others may be reorganised away.
    """

    address: str
    user: str | None
    blocks: int
    reward: str
    final_blocks: int
    final_reward: str


class AttributionAnswer(Answer, frozen=True, kw_only=True):
    """Who mined the blocks `from_height` to `to_height` of the best chain, most blocks first."""

    from_height: int
    to_height: int
    final_height: int
    miners: list[MinedForm]


class MinerShare(Answer, frozen=True):
    """What a block paid an address. `user` is its name, where this node keeps its key."""

    address: str
    user: str | None
    reward: str


class RecentBlock(Answer, frozen=True, kw_only=True):
    """A block and whom its coinbase pays. One that is not `final` may be reorganised away."""

    height: int
    hash: str
    time_ms: int
    difficulty: float
    transactions: int
    final: bool
    miners: list[MinerShare]


class RecentAnswer(Answer, frozen=True):
    """The newest blocks of the best chain, the newest first."""

    blocks: list[RecentBlock]


async def get_mining(api: Api, request: web.Request) -> web.Response:
    """The next block and who works on it."""
    node, engine = api.node, _engine(api)
    mining = node.mining
    header = engine.next_block.header()
    target = target_of(header.bits)
    plan = None if mining is None else mining.work.plan
    rate = network_rate(engine.tree, node.store, engine.tip_hash)
    return respond(
        MiningAnswer(
            mode=node.genesis.mode,
            height=header.height,
            previous_hash=display_hash(engine.tip_hash),
            bits=f"{header.bits:08x}",
            target=f"{target:064x}",
            difficulty=DIFFICULTY_1 / target,
            target_spacing_ms=node.genesis.proof_of_work.rules.target_spacing_ms,
            reward=format_amount(header.subsidy if plan is None else plan.due),
            network_hashes_per_second=maybe(lambda found: found.hashes_per_second, rate),
            rate_blocks=0 if rate is None else rate.blocks,
            serving=plan is not None,
            own=maybe(_own_form, mining),
            stratum=None if mining is None else _stratum_form(mining, request),
        )
    )


def _own_form(mining: Mining) -> OwnMinerForm | None:
    own = mining.own
    if own is None:
        return None
    return OwnMinerForm(
        threads=own.threads,
        hashes_per_second=sum(own.rates()),
        blocks=mining.own_blocks_total,
    )


def _stratum_form(mining: Mining, request: web.Request) -> StratumForm | None:
    server = mining.stratum
    if server is None:
        return None
    workers = mining.connected()
    return StratumForm(
        url=stratum_url(mining, request),
        connections=server.connected,
        workers=len(workers),
        hashes_per_second=sum(worker.hashes_per_second for worker in workers),
        accepted=server.accepted_total,
        stale=server.stale_total,
        rejected=server.rejected_total,
    )


def stratum_url(mining: Mining, request: web.Request) -> str:
    """Where miners connect: the host that a client asked, where this node listens on all."""
    host = mining.stratum_host if mining.stratum_host not in _EVERYWHERE else request.url.host
    shown = f"[{host}]" if host and ":" in host else host
    return f"stratum+tcp://{shown}:{mining.stratum_port}"


async def get_workers(api: Api, _request: web.Request) -> web.Response:
    """Who mines through this node."""
    _engine(api)
    mining = api.node.mining
    found = () if mining is None else _worker_forms(api, mining.workers())
    return respond(WorkersAnswer(list(found)))


def _worker_forms(api: Api, workers: list[MinerInfo]) -> Iterator[WorkerForm]:
    clock = api.node.clock
    begin_ms = clock.now_ms() - clock.monotonic_ms()
    for worker in workers:
        yield WorkerForm(
            name=worker.name,
            hashes_per_second=worker.hashes_per_second,
            accepted=worker.accepted,
            stale=worker.stale,
            rejected=worker.rejected,
            blocks=worker.blocks,
            connections=worker.connections,
            last_seen_ms=int(begin_ms + 1_000 * worker.seen_s),
            expires_ms=int(begin_ms + 1_000 * worker.expires_s),
        )


async def get_attribution(api: Api, request: web.Request) -> web.Response:
    """Who mined the last blocks, or those up to an earlier one."""
    node = api.node
    head = node.chain.head.height
    count = query_integer(request, "blocks", BLOCKS, 1, BLOCKS_MAX)
    end = min(query_integer(request, "end", head, 0, HEIGHT_MAX), head)
    _engine(api)
    start = max(1, end - count + 1)
    who = request.query.get("who")
    rows = mined_by(node.chain, node.store, start, end + 1)
    if who is not None:
        address = node.payments.resolve(who)
        rows = [row for row in rows if row.address == address]
    return respond(
        AttributionAnswer(
            from_height=start,
            to_height=end,
            final_height=node.chain.final.height,
            miners=[
                MinedForm(
                    address=api.forms.show(row.address),
                    user=node.payments.name_of(row.address),
                    blocks=row.blocks,
                    reward=format_amount(row.units),
                    final_blocks=row.final_blocks,
                    final_reward=format_amount(row.final_units),
                )
                for row in rows[:MINERS_MAX]
            ],
        )
    )


async def get_recent(api: Api, request: web.Request) -> web.Response:
    """The newest blocks of the best chain, and who mined them."""
    node = api.node
    count = query_integer(request, "blocks", RECENT, 1, RECENT_MAX)
    _engine(api)
    final = node.chain.final.height
    blocks = [
        RecentBlock(
            height=block.height,
            hash=display_hash(block.hash),
            time_ms=1_000 * block.time,
            difficulty=DIFFICULTY_1 / target_of(block.bits),
            transactions=block.transactions,
            final=block.height <= final,
            miners=[
                MinerShare(
                    api.forms.show(address), node.payments.name_of(address), format_amount(units)
                )
                for address, units in block.paid.items()
            ],
        )
        for block in recent_blocks(node.chain, node.store, count)
    ]
    return respond(RecentAnswer(blocks))


def _engine(api: Api) -> WorkEngine:
    if not isinstance(api.node.engine, WorkEngine):
        raise NotMined
    return api.node.engine
