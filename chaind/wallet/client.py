"""The client of a chain's nodes: typed answers, over several URLs, retrying what may be retried.

Law: a request is repeated only where repeating it changes nothing: reads, signed transactions (a
txid applies once) and transfers under one Idempotency-Key, which is drawn where none is given.
Keys and tokens are in headers, never in a URL, an error or a log.

`client_sync` has the same for code without an event loop.
"""

import asyncio
from collections.abc import AsyncIterator, Callable, Iterable, Sequence
from contextlib import asynccontextmanager
from urllib.parse import quote

import aiohttp
import msgspec

from chaind.primitives.genesis import Genesis
from chaind.primitives.transaction import Transaction
from chaind.wallet.answers import (
    Activity,
    BatchItem,
    BatchResults,
    Coin,
    CoinsPage,
    HistoryPage,
    Holdings,
    LeaseState,
    NodeStatus,
    PendingPage,
    Submitted,
    TransactionOutputs,
    TransactionState,
)
from chaind.wallet.client_paying import FINAL_S, JSON, PATIENCE_S, PayingClient
from chaind.wallet.errors import NotThere
from chaind.wallet.secret import Secret
from chaind.wallet.transport import PAUSE_S_FIRST, PAUSE_S_MAX

PENDING_SEEN = 100  # entries that a fee is estimated from: of the largest, 26 MB of JSON


class Client(PayingClient):
    """See the module's law."""

    _genesis: Genesis | None = None

    @classmethod
    @asynccontextmanager
    async def open(
        cls,
        urls: Sequence[str],
        *,
        patience_s: float = PATIENCE_S,
        token: Secret[str] | None = None,
        tell: Callable[[str], None] = lambda _: None,
    ) -> AsyncIterator["Client"]:
        """A client with a session of its own. Raises `UrlInvalid` for what is no URL."""
        async with aiohttp.ClientSession() as session:
            yield cls(urls, session, patience_s=patience_s, token=token, tell=tell)

    # What the chain is.

    async def genesis_json(self) -> bytes:
        """The genesis file as the node gives it."""
        return (await self._read("/api/v1/genesis")).body

    async def genesis(self) -> Genesis:
        """The chain's rules; asked once. Raises `GenesisInvalid`."""
        if self._genesis is None:
            self._genesis = Genesis.from_json(await self.genesis_json(), path=self.url)
        return self._genesis

    async def status(self) -> NodeStatus:
        """Where the node stands."""
        return (await self._read("/api/v1/status")).decode(NodeStatus)

    async def pending(self, limit: int = PENDING_SEEN) -> PendingPage:
        """The oldest transactions that wait for a block."""
        return (await self._read(f"/api/v1/pending?limit={limit}")).decode(PendingPage)

    # What addresses have. `who` is an address, or the name of an account that the node keeps.

    async def holdings(self, who: str) -> Holdings:
        """Balances at the final tip."""
        return (await self._read(f"/api/v1/accounts/{quote(who, safe='')}")).decode(Holdings)

    async def coins(self, who: str) -> list[Coin]:
        """All unspent coins, page after page."""
        found: list[Coin] = []
        async for reply in self._pages(f"/api/v1/accounts/{quote(who, safe='')}/coins"):
            found += reply.decode(CoinsPage).utxos
        return found

    async def history(self, who: str, limit: int | None = None) -> list[Activity]:
        """Final transactions, newest first: all, or the newest `limit`."""
        found: list[Activity] = []
        async for reply in self._pages(f"/api/v1/accounts/{quote(who, safe='')}/transactions"):
            found += reply.decode(HistoryPage).transactions
            if limit is not None and len(found) >= limit:
                return found[:limit]
        return found

    async def transaction(self, txid: bytes) -> TransactionState | None:
        """Where a transaction is; None where the node knows nothing of it."""
        try:
            reply = await self._read(f"/api/v1/transactions/{txid.hex()}")
        except NotThere:
            return None
        return reply.decode(TransactionState)

    async def payees(self, txid: bytes) -> set[str]:
        """The addresses that a transaction's outputs name. Raises `NotThere`."""
        reply = await self._read(f"/api/v1/transactions/{txid.hex()}")
        body = reply.decode(TransactionOutputs).transaction
        return {output.address for output in body.outputs} if body is not None else set()

    async def lease(self, owner: str, lease_id: bytes) -> LeaseState | None:
        """Who holds a lease, final or waiting; None where it is free as far as the node knows."""
        try:
            reply = await self._read(f"/api/v1/accounts/{owner}/leases/{lease_id.hex()}")
        except NotThere:
            return None
        return reply.decode(LeaseState)

    # What changes something.

    async def submit(
        self, transaction: Transaction, *, final: bool = True, patience_s: float = FINAL_S
    ) -> Submitted:
        """Hand in a signed transaction until a node has it, or, with `final`, until it is final.

        "accepted" where it is not final when patience ends. Raises `Refused`; `NodeSilent` and
        `NodesBusy` leave open whether a node has it: ask again with the same transaction.
        """
        loop = asyncio.get_running_loop()
        deadline_s = loop.time() + patience_s
        body = msgspec.json.encode({"raw": transaction.raw.hex()})
        path = f"/api/v1/transactions?wait={'final' if final else 'accepted'}"
        while True:
            left_s = max(0.0, deadline_s - loop.time())
            reply = await self._nodes.ask("POST", path, body=body, headers=JSON, patience_s=left_s)
            submitted = reply.decode(Submitted)
            if submitted.status == "final" or not final or loop.time() >= deadline_s:
                return submitted
            self._nodes.turn()  # held as long as this node holds anything: the next one may know

    async def submit_all(self, transactions: Iterable[Transaction]) -> list[BatchItem]:
        """Hand in many at once and wait for finality; what became of each, in order."""
        body = msgspec.json.encode([{"raw": item.raw.hex()} for item in transactions])
        path = "/api/v1/transactions?wait=final"
        reply = await self._nodes.ask("POST", path, body=body, headers=JSON, patience_s=FINAL_S)
        return reply.decode(BatchResults).results

    async def wait_ended(self, txid: bytes, bound_s: float = FINAL_S) -> TransactionState:
        """Where a transaction is when it has ended, or as far as it is after `bound_s`."""
        latest = TransactionState(tx_id=txid.hex(), status="unknown")
        pause_s = PAUSE_S_FIRST
        try:
            async with asyncio.timeout(bound_s):
                while True:
                    for _ in range(len(self._nodes)):
                        async for latest in self._follow(self.url, txid):
                            if latest.ended:
                                return latest
                        self._nodes.turn()
                    await self._nodes.pause(pause_s)
                    pause_s = min(2 * pause_s, PAUSE_S_MAX)
        except TimeoutError:
            return latest

    async def _follow(self, url: str, txid: bytes) -> AsyncIterator[TransactionState]:
        """What a node tells of a transaction as it changes; ends where the node does not know it,
        or falls silent: then the next one is asked."""
        command = {"method": "subscribe", "channels": [f"tx:{txid.hex()}"]}
        try:
            async with self._nodes.session.ws_connect(f"{url}/ws") as live:
                await live.send_str(msgspec.json.encode(command).decode())
                async for message in live:
                    news = msgspec.json.decode(message.data, type=_News)
                    if news.type == "transaction" and news.data is not None:
                        if news.data.status == "unknown":
                            return
                        yield news.data
        except (aiohttp.ClientError, OSError, msgspec.DecodeError):
            return


class _News(msgspec.Struct, frozen=True):
    type: str
    data: TransactionState | None = None
