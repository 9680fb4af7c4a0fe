"""getblocktemplate and submitblock (BIP-22, BIP-23) without their JSON: offers out, blocks back in.

Law: an offer stands on the tip, and none is given while this node may not know the best chain.
Plans are remembered by their name, for clients that send no more than a coinbase back; whatever
else comes is read from its bytes alone. Choosing transactions takes a small part of the loop's time
however many ask, and a client that waits for news waits for a bounded time.
"""

import asyncio
from collections import OrderedDict
from collections.abc import Callable
from itertools import count
from typing import NamedTuple

import structlog

from chaind.consensus.pow.errors import BitsUnexpected, HashTooHigh
from chaind.mempool.pool import Pool
from chaind.node.block_hex import BlockParts, parse_parts
from chaind.node.clock import Clock
from chaind.node.config import Config
from chaind.node.miner_work import AHEAD_SLACK_S, POOL_FEW
from chaind.node.mining import PLANNING_SHARE, REFRESH_PER_SPACING, REFRESH_S_MAX, NodeStanding
from chaind.node.templates import Plan
from chaind.node.work_engine import WorkEngine
from chaind.node.work_errors import ParentUnknown
from chaind.primitives.block import Block, Header
from chaind.primitives.errors import Conflict, NotReady, TooMany, Unknown
from chaind.primitives.genesis import Genesis, ProofOfWork
from chaind.primitives.hashes import display_hash
from chaind.primitives.orders import CreateMarket, PlaceOrder
from chaind.primitives.transaction import AccountOutput, Body, CoinInput, Transaction
from chaind.primitives.work import target_of

SALT_BYTES = 4  # names of an earlier start, or of another node, mean nothing here
PLANS_MAX = 32  # on one tip
EXPIRES_S = 60.0  # how long a plan is remembered at least, while its tip stands
LONGPOLL_S_MAX = 55.0  # proxies and clients give up after a minute
LONGPOLLS_MAX = 256  # each holds a connection
CLIENT_LONGPOLLS_MAX = 32  # so that one machine leaves some to others
EARLY_S_MAX = 10.0  # a block whose time has yet to come is held so long

log = structlog.get_logger("chaind.mining")


class NoPeers(NotReady):
    code = "no-peers"
    text = "this node has no peers: what is mined here would be mined for nobody"
    advice = "Wait until it is connected, or see [network] peers."


class HeadersMissing(NotReady):
    code = "headers-missing"
    text = "this node does not know the best chain yet: {behind} blocks are missing, or headers"
    advice = "Ask again in a while: GET /status says how far it is."


class ClockTooSlow(NotReady):
    """What was mined here would be refused here."""

    code = "clock-too-slow"
    text = "this node's clock is at least {seconds} s too slow for the chain's headers"
    advice = "Set the clock of its machine, as by NTP: until then it would refuse its own blocks."


class LongpollsFull(TooMany):
    code = "longpolls-full"
    text = "{count} requests wait for news{whose} already, no more are taken"
    advice = "Ask without longpollid, or let one program ask for many."


class GbtClosed(NotReady):
    code = "gbt-closed"
    text = "the node is stopping"
    advice = "Ask another node, or this one again once it has been started."


class WorkUnknown(Unknown):
    """BIP-22's unknown-work."""

    code = "unknown-work"
    text = "work {id} is not known here"
    advice = "Get a new template, or send the whole block."


class PreviousStale(Conflict):
    """BIP-22's stale-prevblk."""

    code = "stale-prevblk"
    text = "block {hash} stands on {parent}, the tip is {tip}"
    advice = "Get a new template: another block was found first."


class BlockKnown(Conflict):
    """BIP-22's duplicate; `state` is what came of it."""

    code = "duplicate"
    text = "block {hash} was handed in before: {state}"
    advice = "Nothing needs to be done."


class BlockOutrun(Conflict):
    """bitcoind's inconclusive: sound, but another one was followed."""

    code = "block-outrun"
    text = "block {hash} is kept, but another block of its height is followed"
    advice = "Get a new template."


class Offer(NamedTuple):
    """Work for one client. `id` names the plan, `number` no other offer of this node has."""

    id: str
    plan: Plan
    number: int
    time: int  # of the header, Unix seconds

    @property
    def news_id(self) -> str:
        """What a client waits with for other work."""
        return display_hash(self.plan.parent) + self.id


def make_gbt(
    *,
    config: Config,
    genesis: Genesis,
    engine: object,
    pool: Pool,
    peers: Callable[[], int],
    clock: Clock,
    entropy: Callable[[int], bytes],
) -> "Gbt | None":
    """For chains of miners. A node that names no peers may be the only one."""
    if not isinstance(engine, WorkEngine):
        return None
    return Gbt(
        engine=engine,
        pool=pool,
        rules=genesis.proof_of_work,
        standing=NodeStanding(engine, peers, alone=not config.network.peers),
        clock=clock,
        entropy=entropy,
    )


class Gbt:
    """See the module's law."""

    def __init__(
        self,
        *,
        engine: WorkEngine,
        pool: Pool,
        rules: ProofOfWork,
        standing: NodeStanding,
        clock: Clock,
        entropy: Callable[[int], bytes],
    ) -> None:
        self._engine = engine
        self._pool = pool
        self._max_future_s = rules.rules.max_future_ms // 1000
        self._standing = standing
        self._clock = clock
        self._salt = entropy(SALT_BYTES).hex()
        spacing_s = rules.rules.target_spacing_ms / 1000
        self._refresh_s = max(
            min(REFRESH_S_MAX, REFRESH_PER_SPACING * spacing_s), EXPIRES_S / PLANS_MAX
        )
        self._plans: OrderedDict[str, Plan] = OrderedDict()  # on the tip, the newest last
        self._numbers = count(1)
        self._seen = 0  # arrivals at the pool that the newest plan knows of
        self._look_ms = 0.0  # when to look for a better one
        self._news = asyncio.Event()
        self._waiting: dict[str, int] = {}  # clients that wait, and with how many requests
        self._closed = False
        self._let_go = 0  # how often
        self.blocks_total = 0  # that were taken
        engine.on_head.append(self._tell)

    @property
    def salt(self) -> bytes:
        """What coinbases of two nodes differ in."""
        return bytes.fromhex(self._salt)

    def offer(self) -> Offer:
        """Work on the tip. Raises `NoPeers`, `ClockTooSlow` or `HeadersMissing`."""
        name = self._look()
        plan = self._plans[name]
        now = self._clock.now_ms() // 1000
        return Offer(name, plan, next(self._numbers), max(now, plan.time_min))

    async def wait(self, news_id: str, client: str) -> None:
        """Until there is other work than that of an id, for a bounded time.

        Raises `LongpollsFull`, `GbtClosed`, or what `offer` raises.
        """
        held, all_held = self._waiting.get(client, 0), sum(self._waiting.values())
        if all_held >= LONGPOLLS_MAX:
            raise LongpollsFull(count=all_held, whose="")
        if held >= CLIENT_LONGPOLLS_MAX:
            raise LongpollsFull(count=held, whose=" from this address")
        self._waiting[client] = held + 1
        try:
            await self._other_work(news_id)
        finally:
            self._waiting[client] -= 1
            if not self._waiting[client]:
                del self._waiting[client]

    async def _other_work(self, news_id: str) -> None:
        end_ms = self._clock.monotonic_ms() + 1000 * LONGPOLL_S_MAX
        let_go = self._let_go
        while True:
            if self._closed or self._let_go != let_go:
                raise GbtClosed
            name = self._look()
            left_s = (end_ms - self._clock.monotonic_ms()) / 1000
            if display_hash(self._plans[name].parent) + name != news_id or left_s <= 0:
                return
            try:
                async with asyncio.timeout(min(left_s, self._refresh_s)):
                    await self._news.wait()
            except TimeoutError:
                continue

    def let_go(self) -> None:
        """End every wait: the door closes."""
        self._let_go += 1
        self._tell()

    def close(self) -> None:
        """Let nobody wait any more: the node ends."""
        self._closed = True
        self.let_go()

    def _tell(self) -> None:
        news, self._news = self._news, asyncio.Event()
        news.set()

    # Plans.

    def _look(self) -> str:
        """The name of the newest plan, which stands on the tip."""
        if not self._standing.may_mine():
            if self._standing.lonely:
                raise NoPeers
            if self._engine.next_block.slow_clock_s:
                raise ClockTooSlow(seconds=self._engine.next_block.slow_clock_s)
            raise HeadersMissing(behind=self._engine.behind)
        begun_ms = self._clock.monotonic_ms()
        name = next(reversed(self._plans), None)
        newest = None if name is None else self._plans[name]
        if newest is None or newest.parent != self._engine.tip_hash:
            self._plans.clear()
            in_haste = len(self._pool) > POOL_FEW
            return self._plan(begun_ms, in_haste=in_haste)
        assert name is not None
        if self._seen == self._engine.arrivals_total or begun_ms < self._look_ms:
            return name
        return self._plan(begun_ms, in_haste=False)

    def _plan(self, begun_ms: float, *, in_haste: bool) -> str:
        """Make a plan; the newest is kept where that brings nothing else."""
        self._seen = -1 if in_haste else self._engine.arrivals_total
        plan = self._engine.next_block.plan(empty=in_haste)
        name = next(reversed(self._plans), None)
        took_s = (self._clock.monotonic_ms() - begun_ms) / 1000
        pause_s = 0.0 if in_haste else max(self._refresh_s, took_s / PLANNING_SHARE)
        self._look_ms = self._clock.monotonic_ms() + 1000 * pause_s
        if name is None or plan.transactions != self._plans[name].transactions:
            name = f"{self._salt}{next(self._numbers):x}"
            self._plans[name] = plan
            if len(self._plans) > PLANS_MAX:
                self._plans.popitem(last=False)
        return name

    # Blocks.

    async def submit(self, data: bytes, name: str | None, who: str) -> Block:
        """Take a mined block: header ‖ count ‖ coinbase, and the transactions unless they are those
        of the plan. Raises why not."""
        parts = parse_parts(data)
        self._check_place(parts.hash, parts.header)
        self._check_work(parts)
        block = parts.block(self._plan_of(parts, name))
        allowed_s = self._max_future_s - min(AHEAD_SLACK_S, self._max_future_s)
        early_s = block.header.time - allowed_s - self._clock.now_ms() / 1000
        if 0 < early_s <= EARLY_S_MAX:
            await asyncio.sleep(early_s)
            self._check_place(block.hash, block.header)
        await self._engine.submit(block)
        if self._engine.tip_hash != block.hash:
            raise BlockOutrun(hash=display_hash(block.hash))
        self.blocks_total += 1
        log.info(
            "block_mined",
            worker=who,
            height=block.height,
            hash=display_hash(block.hash),
            transactions=len(block.transactions),
        )
        return block

    def _plan_of(self, parts: BlockParts, name: str | None) -> Plan | None:
        """The plan that a block without transactions is of, or one whose transactions it has."""
        plan = self._plans.get(name or "")
        if plan is not None and parts.is_of(plan):
            return plan
        if parts.rest:
            return None
        raise WorkUnknown(id=(name or "nothing")[:64])

    def _check_place(self, block_hash: bytes, header: Header) -> None:
        entry = self._engine.tree.get(block_hash)
        if self._engine.follows(block_hash):
            raise BlockKnown(hash=display_hash(block_hash), state="valid")
        if entry is not None and (entry.invalid or entry.held):
            state = "invalid" if entry.invalid else "inconclusive"
            raise BlockKnown(hash=display_hash(block_hash), state=state)
        if header.parent != self._engine.tip_hash:
            self._refuse_parent(block_hash, header.parent)

    def _check_work(self, parts: BlockParts) -> None:
        """Before anything is decoded: a block without work costs its maker nothing."""
        due, given = self._engine.next_block.header(), parts.header
        if given.bits != due.bits:
            raise BitsUnexpected(height=due.height, given=given.bits, expected=due.bits)
        target = target_of(due.bits)
        if int.from_bytes(parts.hash, "little") > target:
            raise HashTooHigh(height=due.height, hash=display_hash(parts.hash), target=target)

    def _refuse_parent(self, block_hash: bytes, parent: bytes) -> None:
        shown = {"hash": display_hash(block_hash), "parent": display_hash(parent)}
        if not self._engine.knows(parent):
            raise ParentUnknown(**shown)
        raise PreviousStale(**shown, tip=display_hash(self._engine.tip_hash))


def dependencies(transactions: tuple[Transaction, ...]) -> list[list[int]]:
    """For each, the ones before it that it may not do without, as numbers from 0.

    What touched an account that it takes from comes first, and so do the makers of its coins, of
    its assets and of its market, or what used those after them, and orders of whoever signs it.
    """
    last: dict[bytes, int] = {}  # who touched or made something, last
    found: list[list[int]] = []
    for index, transaction in enumerate(transactions):
        body, needs = transaction.body, _needs(transaction.body)
        found.append(sorted({last[key] for key in needs if key in last}))
        made = (output.address for output in body.outputs)
        last |= dict.fromkeys((*needs, *made, transaction.txid), index)
    return found


def _needs(body: Body) -> set[bytes]:
    needs = {one.txid if isinstance(one, CoinInput) else one.address for one in body.inputs}
    if body.lease is not None:
        needs.add(body.lease.owner)
    named = [getattr(body.action, field, None) for field in ("owner", "issuer", "asset")]
    named += [output.asset for output in body.outputs if isinstance(output, AccountOutput)]
    match body.action:
        case PlaceOrder(_, terms):
            named.append(terms.symbol)
        case CreateMarket(_, market):
            named += [market.symbol, market.base, market.quote]
    return needs | {one.encode() if isinstance(one, str) else one for one in named if one}
