"""The client of a chain's order books: orders of accounts whose keys a node keeps, or of one's own.

Law: as of `chaind.wallet.client`. An order of a node's account is placed under one Idempotency-Key,
which is drawn where none is given; one that is signed here is its transaction, and applies once.
"""

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from urllib.parse import quote, urlencode

import aiohttp
import msgspec

from chaind.market.book_feed import BookFollower
from chaind.primitives.amounts import parse_amount
from chaind.primitives.keys import SecretKey
from chaind.primitives.orders import OrderAction
from chaind.primitives.transaction import SALT_BYTES
from chaind.wallet.answers import Submitted
from chaind.wallet.builder import build_action
from chaind.wallet.client import Client
from chaind.wallet.client_paying import FINAL_S, JSON
from chaind.wallet.errors import NodeSilent, Refused, shown
from chaind.wallet.trading_answers import (
    Acted,
    BookNews,
    MarketInfo,
    MarketList,
    News,
    Orderbook,
    OrderInfo,
    OrdersList,
    Ticker,
    TradeInfo,
    TradesList,
)
from chaind.wallet.transport import PAUSE_S_FIRST, PAUSE_S_MAX

_REFUSED = 400  # what a request of HTTP would be answered
ORDERS_PAGE_MAX = 500  # a node gives no more at once
FRAME_BYTES_MAX = 32 << 20  # a snapshot of a book of some hundred thousand prices


class TradingClient(Client):
    """See the module's law."""

    # What there is.

    async def markets(self) -> MarketList:
        """All markets."""
        return (await self._read("/api/v1/markets")).decode(MarketList)

    async def orderbook(self, symbol: str, depth: int) -> Orderbook:
        """The best prices of both sides."""
        path = f"/api/v1/orderbook/{_name(symbol)}?depth={depth}"
        return (await self._read(path)).decode(Orderbook)

    async def trades(self, symbol: str, limit: int) -> list[TradeInfo]:
        """The newest trades, newest first."""
        path = f"/api/v1/trades/{_name(symbol)}?limit={limit}"
        return (await self._read(path)).decode(TradesList).trades

    async def ticker(self, symbol: str) -> Ticker:
        """The last day of a market."""
        return (await self._read(f"/api/v1/ticker/{_name(symbol)}")).decode(Ticker)

    async def order(self, order_id: str) -> OrderInfo:
        """What became of an order. Raises `NotThere`."""
        return (await self._read(f"/api/v1/orders/{quote(order_id, safe='')}")).decode(OrderInfo)

    async def orders(
        self, account: str | None = None, *, status: str | None = None, limit: int = 50
    ) -> list[OrderInfo]:
        """Orders of an account, newest first."""
        found: list[OrderInfo] = []
        query = _query(account=account, status=status, limit=str(min(limit, ORDERS_PAGE_MAX)))
        async for reply in self._pages(f"/api/v1/orders{query}"):
            found += reply.decode(OrdersList).orders
            if len(found) >= limit:
                break
        return found[:limit]

    # Orders of accounts whose keys the node keeps.

    async def place(
        self, fields: dict[str, object], *, key: str | None = None, patience_s: float = FINAL_S
    ) -> OrderInfo:
        """Place an order by the fields that POST /api/v1/orders takes, once for this key, and be
        final. Raises `Refused` with what the book or the ledger has against it, `NodeSilent` where
        no node says anything."""
        reply = await self._nodes.ask(
            "POST",
            "/api/v1/orders?wait=final",
            body=msgspec.json.encode(fields),
            headers={**JSON, "Idempotency-Key": self.draw_key() if key is None else key},
            patience_s=patience_s,
            in_flight=True,
            silence_s=self._patience_s,
        )
        return reply.decode(OrderInfo)

    async def cancel(
        self, order_id: str, account: str | None = None, *, final: bool = True
    ) -> Acted:
        """Take one open order back: this account's, where one is named. Raises `NotThere`, or
        `Refused` where it is done, or another account's."""
        query = _query(account=account, wait=_wait(final))
        return await self._delete(f"/api/v1/orders/{quote(order_id, safe='')}{query}")

    async def cancel_all(
        self,
        account: str | None = None,
        *,
        symbol: str | None = None,
        side: str | None = None,
        final: bool = True,
    ) -> Acted:
        """Take back all open orders of an account, or those of a market or a side."""
        query = _query(account=account, symbol=symbol, side=side, wait=_wait(final))
        return await self._delete(f"/api/v1/orders{query}")

    # Orders that are signed here.

    async def submit_action(
        self, key: SecretKey, action: OrderAction, *, now_ms: int, salt: bytes
    ) -> Submitted:
        """Sign an action of the key's account and hand it in until it is final."""
        assert len(salt) == SALT_BYTES, "a salt is eight bytes"
        genesis = await self.genesis()
        tip_ms = (await self.status()).time_ms
        window_ms = genesis.parameters.validity_window_ms
        transaction = build_action(
            key=key,
            action=action,
            memo=b"",
            lease=None,
            valid_until_ms=min(max(now_ms, tip_ms) + window_ms // 2, tip_ms + window_ms * 9 // 10),
            salt=salt,
            chain_prefix=genesis.chain_prefix,
            parameters=genesis.parameters,
        )
        return await self.submit(transaction)

    # Live.

    async def watch(
        self, channels: Sequence[str], *, from_height: int | None = None
    ) -> AsyncIterator[News]:
        """Messages of these channels, from a new connection again whenever one ends: then every
        channel begins anew. Raises `Refused` for a channel that is none."""
        pause_s = PAUSE_S_FIRST
        while True:
            try:
                async with self.live() as socket:
                    await subscribe(socket, channels, from_height)
                    async for message in socket:
                        news = _news(self.url, message)
                        pause_s = PAUSE_S_FIRST
                        if news.channel:
                            yield news
            except (aiohttp.ClientError, OSError):
                self._nodes.turn()
            await self._nodes.pause(pause_s)
            pause_s = min(2 * pause_s, PAUSE_S_MAX)

    async def follow_book(self, symbol: str) -> AsyncIterator[tuple[BookFollower, BookNews]]:
        """A book made of frames, after each of them; a lost place is found again by itself."""
        channel, follower = f"book:{_name(symbol)}", BookFollower()
        pause_s = PAUSE_S_FIRST
        while True:
            try:
                async with self.live() as socket:
                    await subscribe(socket, [channel], None)
                    async for message in socket:
                        news = _news(self.url, message)
                        pause_s = PAUSE_S_FIRST
                        if news.channel != channel or news.type == "gap":
                            continue
                        frame = _decode(self.url, bytes(news.data))
                        if follower.take(frame.frame):
                            yield follower, frame
                        else:
                            await subscribe(socket, [channel], None)
            except (aiohttp.ClientError, OSError):
                self._nodes.turn()
            await self._nodes.pause(pause_s)
            pause_s = min(2 * pause_s, PAUSE_S_MAX)

    @asynccontextmanager
    async def live(self) -> AsyncIterator[aiohttp.ClientWebSocketResponse]:
        """A WebSocket of the node that is asked next."""
        async with self._nodes.session.ws_connect(
            f"{self.url}/ws", max_msg_size=FRAME_BYTES_MAX
        ) as socket:
            yield socket

    async def _delete(self, path: str) -> Acted:
        reply = await self._nodes.ask(
            "DELETE", path, headers=JSON, patience_s=FINAL_S, silence_s=self._patience_s
        )
        return reply.decode(Acted)


async def subscribe(
    socket: aiohttp.ClientWebSocketResponse, channels: Sequence[str], from_height: int | None
) -> None:
    """Ask for channels; each begins with how things are now."""
    command: dict[str, object] = {"method": "subscribe", "channels": list(channels)}
    if from_height is not None:
        command["from_height"] = from_height
    await socket.send_str(msgspec.json.encode(command).decode())


def market_of(markets: MarketList, symbol: str) -> MarketInfo | None:
    """The market of a name, with a slash or a dash."""
    wanted = symbol.replace("-", "/", 1)
    return next((market for market in markets.markets if market.symbol == wanted), None)


def steps_of(text: str, step: str) -> int | None:
    """How many steps an amount is, None where it is no whole number of them."""
    steps, rest = divmod(parse_amount(text), parse_amount(step))
    return None if rest else steps


def _news(url: str, message: aiohttp.WSMessage) -> News:
    """A message. Raises `Refused` where it refuses a command."""
    try:
        news = msgspec.json.decode(message.data, type=News)
    except (msgspec.DecodeError, TypeError) as error:
        raise NodeSilent(url=url, reason=f"no message of a node ({shown(error)})") from None
    problem = news.problem
    if problem is not None:
        raise Refused(
            url=url,
            status=_REFUSED,
            problem=shown(problem.code),
            detail=shown(problem.detail),
            hint=f"\n{shown(problem.advice)}" if problem.advice else "",
            facts=dict(problem.values),
        )
    return news


def _decode(url: str, data: bytes) -> BookNews:
    try:
        return msgspec.json.decode(data, type=BookNews)
    except msgspec.DecodeError as error:
        raise NodeSilent(url=url, reason=f"no frame of a book ({shown(error)})") from None


def _name(symbol: str) -> str:
    """A market as a part of a path."""
    return quote(symbol.replace("/", "-", 1), safe="")


def _wait(final: bool) -> str:
    return "final" if final else "accepted"


def _query(**values: str | None) -> str:
    given = {name: value for name, value in values.items() if value is not None}
    return f"?{urlencode(given)}" if given else ""
