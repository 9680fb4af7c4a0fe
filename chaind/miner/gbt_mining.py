"""Mining for a node by getblocktemplate: a question that waits for news, and a crew that works.

Law: workers search the newest template, from a new extranonce whenever the nonces of one are at
their end. Of the blocks that are found on one tip the first is handed in; until the node has
answered they rest, for others would only be late. A node that is silent is asked again with growing
pauses, and no work of before is searched meanwhile.
"""

import asyncio
import secrets
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from typing import Any, NamedTuple

import aiohttp

from chaind.miner.crew import Crew
from chaind.miner.gbt_client import (
    CAPABILITIES,
    EXTRANONCE_BYTES,
    GbtWork,
    NodeRefusal,
    TemplateFault,
    is_stale,
    parse_template,
)
from chaind.miner.mining import PAUSE_S, PAUSE_S_MAX, CrewMining
from chaind.miner.node_rpc import NodeMute, NodeRpc, RpcFault, SecretRefused
from chaind.miner.scheme import SchemeMismatch
from chaind.miner.worker import Answer, Exhausted, Found

ANSWER_S = 20.0
LONGPOLL_S = 90.0  # nodes hold the question for a minute
POLL_S = 5.0  # between questions to nodes that do not wait with their answer
SUBMIT_TRIES = 5  # of a block, while its node is silent
FOUND_MAX = 64  # that wait to be handed in: blocks come one by one
GROWN_MAX = 4  # workers hear of other work within milliseconds
RANDOM_BYTES = EXTRANONCE_BYTES // 2  # two miners that pay one script must not repeat each other

_MAY_PASS = (NodeMute, RpcFault, TemplateFault)
_ENDS = (NodeRefusal, SecretRefused, SchemeMismatch)


class _Try(NamedTuple):
    """What the crew searches."""

    work: GbtWork
    extranonce: bytes


class _Block(NamedTuple):
    attempt: _Try
    nonce: int


class GbtMining(CrewMining):
    """See the module's law. `authorise` is that of `NodeRpc`; `address` is paid."""

    def __init__(
        self,
        *,
        crew: Crew,
        url: str,
        address: str,
        authorise: Callable[[], str],
        tell: Callable[[str], None],
        agent: str,
    ) -> None:
        super().__init__(crew=crew, tell=tell)
        self._url = url
        self._address = address
        self._authorise = authorise
        self._agent = agent
        self._script = b""
        self._work_now: GbtWork | None = None
        self._tries: dict[int, _Try] = {}  # by the number that the crew knows
        self._random = secrets.token_bytes(RANDOM_BYTES)
        self._extranonces = 0
        self._found: asyncio.Queue[_Block] = asyncio.Queue(FOUND_MAX)
        self._handed: set[bytes] = set()  # tips on which a block was found and is not answered
        self._grown: deque[bytes] = deque(maxlen=GROWN_MAX)  # tips on which ours was taken

    async def _work(self) -> None:
        headers = {"User-Agent": self._agent}
        async with aiohttp.ClientSession(headers=headers) as session:
            rpc = NodeRpc(self._url, session, self._authorise)
            tasks = [
                asyncio.create_task(self._follow(rpc)),
                asyncio.create_task(self._hand_in(rpc)),
            ]
            try:
                done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
                for task in done:
                    task.result()
            finally:
                for task in tasks:
                    task.cancel()
                for task in tasks:
                    with suppress(asyncio.CancelledError, *_ENDS):
                        await task

    # Work.

    async def _follow(self, rpc: NodeRpc) -> None:
        """Ask for work, and for the next once there is another."""
        loop = asyncio.get_running_loop()
        pause_s = PAUSE_S
        while True:
            begun_s, before = loop.time(), self._work_now
            try:
                if not self._script:
                    self._script = await self._script_of(rpc)
                await self._fetch(rpc, "" if before is None else before.longpollid)
            except _MAY_PASS as fault:
                self._idle()
                self._tell(f"{fault}; again in {pause_s:.0f} s")
                await asyncio.sleep(pause_s)
                pause_s = min(2 * pause_s, PAUSE_S_MAX)
                continue
            pause_s = PAUSE_S
            if before is not None and loop.time() - begun_s < 1.0 and self._is_like(before):
                await asyncio.sleep(POLL_S)  # it does not hold the question

    async def _script_of(self, rpc: NodeRpc) -> bytes:
        """What pays the address. Raises `NodeRefusal` where the node does not know such."""
        told = await rpc.call("validateaddress", [self._address], answer_s=ANSWER_S)
        if not isinstance(told, dict) or told.get("isvalid") is not True:
            reason = told.get("error") if isinstance(told, dict) else None
            shown = str(reason or "it is not an address of its chain")[:200]
            raise NodeRefusal(url=self._url, what="the address", reason=shown)
        try:
            return bytes.fromhex(told["scriptPubKey"])
        except (KeyError, TypeError, ValueError):
            raise TemplateFault(reason="validateaddress tells no scriptPubKey") from None

    async def _fetch(self, rpc: NodeRpc, longpollid: str) -> None:
        asked: dict[str, Any] = {"capabilities": CAPABILITIES, "rules": []}
        if longpollid:
            asked["longpollid"] = longpollid
        answer_s = LONGPOLL_S if longpollid else ANSWER_S
        answer = await rpc.call("getblocktemplate", [asked], answer_s=answer_s)
        work = parse_template(answer, self._script)
        self.was_connected = True
        if self._work_now is None:
            self._tell(f"{self._url}: connected")
        self._search(work)

    def _is_like(self, before: GbtWork) -> bool:
        now = self._work_now
        return now is not None and (now.parent, now.longpollid) == (
            before.parent,
            before.longpollid,
        )

    def _search(self, work: GbtWork) -> None:
        """Put the crew on a template, from an extranonce of its own."""
        self._work_now = work
        if work.parent in self._handed:
            return
        if work.parent in self._grown:  # ours was reorganised away
            self._grown.remove(work.parent)
        known = (work.parent, *self._grown)
        live = {number: one for number, one in self._tries.items() if one.work.parent in known}
        self._extranonces += 1
        extranonce = self._random + self._extranonces.to_bytes(RANDOM_BYTES, "big")
        self._number += 1
        self._tries = {**live, self._number: _Try(work, extranonce)}
        prefix = work.prefix(extranonce)
        self._crew.assign(job=self._number, prefix=prefix, target=work.target)

    def _idle(self) -> None:
        """No node, no work."""
        self._work_now = None
        self._tries.clear()
        self._rest()

    def _rest(self) -> None:
        self._number += 1
        self._crew.rest(self._number)

    # Blocks.

    def _take(self, answer: Answer) -> None:
        match answer:
            case Found(number, nonce):
                attempt = self._tries.get(number)
                if attempt is not None and attempt.work.parent in (*self._handed, *self._grown):
                    return
                if attempt is None or self._found.full():
                    self.counts = self.counts._replace(dropped=self.counts.dropped + 1)
                    return
                self._handed.add(attempt.work.parent)
                self._found.put_nowait(_Block(attempt, nonce))
                if number == self._number:
                    self._rest()
            case Exhausted(number) if number == self._number and self._work_now is not None:
                self._search(self._work_now)

    async def _hand_in(self, rpc: NodeRpc) -> None:
        """Hand in what is found; whatever becomes of it, the crew needs another template."""
        while True:
            block = await self._found.get()
            parent = block.attempt.work.parent
            if await self._submit(rpc, block):
                self._grown.append(parent)
            self._handed.remove(parent)
            try:
                await self._fetch(rpc, "")
            except _MAY_PASS as fault:
                self._tell(str(fault))

    async def _submit(self, rpc: NodeRpc, block: _Block) -> bool:
        """Whether the node took it."""
        work, extranonce = block.attempt
        params = work.submission(extranonce, block.nonce)
        pause_s = PAUSE_S
        unsent = self.counts.unsent
        for left in reversed(range(SUBMIT_TRIES)):
            try:
                reason: object = await rpc.call("submitblock", params, answer_s=ANSWER_S)
            except RpcFault as fault:
                reason = str(fault)
            except NodeMute as fault:
                self.counts = self.counts._replace(unsent=unsent + 1)
                self._tell(f"a block is not handed in yet: {fault}")
                if left:
                    await asyncio.sleep(pause_s)
                    pause_s *= 2
                continue
            self.counts = self.counts._replace(unsent=unsent)
            self._count(reason)
            return reason is None
        return False

    def _count(self, reason: object) -> None:
        counts = self.counts
        if reason is None:
            self.counts = counts._replace(accepted=counts.accepted + 1)
        elif is_stale(str(reason)):
            self.counts = counts._replace(stale=counts.stale + 1)
        else:
            self.counts = counts._replace(rejected=counts.rejected + 1)
            self._tell(f"{self._url}: a block was rejected: {str(reason)[:200]}")
