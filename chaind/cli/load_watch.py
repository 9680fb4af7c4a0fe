"""What a node tells a load run over its WebSocket: blocks as they become final, and chosen ends.

Blocks count what is final: one message each, whatever the rate. How long single transactions took
is asked of a sample, each by a channel of its own, because a block's message names only its oldest.
"""

from collections.abc import Callable
from typing import Protocol

import aiohttp
import msgspec

from chaind.api.channels import CHANNELS_MAX
from chaind.cli.status import NodeSilent

SAMPLES_OPEN_MAX = CHANNELS_MAX - 56  # room for those that have ended and for `blocks`
SAMPLE_S_MIN = 0.005  # 200 commands a second: a tenth of what one address may ask
UNSUBSCRIBE_AT = 32  # channels that are left with one command
MESSAGE_BYTES_MAX = 1 << 20


class _Data(msgspec.Struct, frozen=True):
    height: int | None = None
    transaction_count: int = 0
    tx_ids: tuple[str, ...] = ()
    tx_id: str = ""
    status: str = ""


class _News(msgspec.Struct, frozen=True):
    type: str
    channel: str = ""
    data: _Data = _Data()


_decode = msgspec.json.Decoder(_News).decode


class Listener(Protocol):
    """Who hears. Times are of the run's clock, in seconds."""

    def block(self, count: int, txids: list[bytes], at_s: float) -> None:
        """A block of so many transactions is final, and here are its first ids."""
        ...

    def ended(self, begun_s: float, status: str, at_s: float) -> None:
        """A sample that was submitted at `begun_s` has this end: final, rejected or expired."""
        ...


class Watch:
    """One node's WebSocket. `run` reads until cancelled."""

    def __init__(
        self,
        url: str,
        socket: aiohttp.ClientWebSocketResponse,
        listener: Listener,
        clock_s: Callable[[], float],
    ) -> None:
        self._url = url
        self._socket = socket
        self._listener = listener
        self._clock_s = clock_s
        self._open: dict[str, float] = {}  # ids of samples → when they were submitted
        self._done: list[str] = []
        self._next_s = 0.0
        self._height = 0

    @classmethod
    async def connect(
        cls,
        session: aiohttp.ClientSession,
        url: str,
        listener: Listener,
        clock_s: Callable[[], float],
    ) -> "Watch":
        """Raises `NodeSilent`."""
        try:
            socket = await session.ws_connect(f"{url}/ws", max_msg_size=MESSAGE_BYTES_MAX)
        except (aiohttp.ClientError, OSError) as error:
            raise NodeSilent(url=url, reason=f"/ws: {error}") from None
        return cls(url, socket, listener, clock_s)

    async def close(self) -> None:
        """End the connection."""
        await self._socket.close()

    async def follow_blocks(self, above: int) -> None:
        """Hear of all final blocks above this height, each once."""
        self._height = above
        await self._send("subscribe", ["blocks"], above + 1)

    @property
    def has_room(self) -> bool:
        """Whether another sample may be followed now."""
        taken = len(self._open) + len(self._done)
        return taken < SAMPLES_OPEN_MAX and self._clock_s() >= self._next_s

    async def follow(self, txid: bytes, begun_s: float) -> None:
        """Hear of the end of a transaction that is submitted now."""
        self._next_s = self._clock_s() + SAMPLE_S_MIN
        self._open[txid.hex()] = begun_s
        await self._send("subscribe", [f"tx:{txid.hex()}"])

    async def run(self) -> None:
        """Raises `NodeSilent` when the node closes the socket or refuses a command."""
        async for message in self._socket:
            at_s = self._clock_s()
            news = _decode(message.data)
            if news.type == "error":
                raise NodeSilent(url=self._url, reason=f"/ws: {message.data}"[:200])
            if news.type == "gap" and news.channel == "blocks":
                await self.follow_blocks(self._height)
            elif news.type == "block":
                self._hear_block(news.data, at_s)
            elif news.type == "transaction":
                await self._hear_transaction(news.data, at_s)
        raise NodeSilent(url=self._url, reason="it closed the WebSocket")

    def _hear_block(self, data: _Data, at_s: float) -> None:
        assert data.height is not None, "a block has a height"
        if data.height > self._height:
            self._height = data.height
            self._listener.block(
                data.transaction_count, list(map(bytes.fromhex, data.tx_ids)), at_s
            )

    async def _hear_transaction(self, data: _Data, at_s: float) -> None:
        if data.status not in ("final", "rejected", "expired") or data.tx_id not in self._open:
            return
        self._listener.ended(self._open.pop(data.tx_id), data.status, at_s)
        self._done.append(data.tx_id)
        if len(self._done) >= UNSUBSCRIBE_AT:
            channels = [f"tx:{txid}" for txid in self._done]
            self._done.clear()
            await self._send("unsubscribe", channels)

    async def _send(self, method: str, channels: list[str], from_height: int | None = None) -> None:
        command: dict[str, object] = {"method": method, "channels": channels}
        if from_height is not None:
            command["from_height"] = from_height
        try:
            await self._socket.send_str(msgspec.json.encode(command).decode())
        except ConnectionError as error:
            raise NodeSilent(url=self._url, reason=f"/ws: {error}") from None
