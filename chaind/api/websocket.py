"""/ws: commands in, numbered messages out.

    {"method": "subscribe", "channels": ["blocks", "tx:ID", …], "from_height": 7}
    {"method": "unsubscribe", "channels": ["blocks"]}

One task reads and one writes, both of them the handler's own; when either ends, so does the other.
"""

import asyncio
from typing import Annotated

import msgspec
from aiohttp import WSCloseCode, WSMsgType, web

from chaind.api.answers import encode_json
from chaind.api.bodies import convert, parse_json
from chaind.api.channels import CHANNELS_MAX, Client, TooManyChannels
from chaind.api.context import Api
from chaind.api.guards import client_of
from chaind.api.problems import SERVER, BodyMalformed, Problem, problem_of
from chaind.primitives.errors import ChaindError, Malformed

COMMAND_BYTES_MAX = 64 << 10  # CHANNELS_MAX names of the longest kind, with room
HEARTBEAT_S = 30.0


class WebSocketNeeded(Malformed):
    code = "websocket-needed"
    text = "this route speaks WebSocket, and the request does not ask for that"
    advice = (
        "Connect with a WebSocket client to ws://HOST:PORT/ws, and subscribe to channels there."
    )


class Command(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What a client sends. `from_height` replays blocks, accounts and trades from there."""

    method: str
    channels: list[str]
    from_height: Annotated[int, msgspec.Meta(ge=0, lt=2**53)] | None = None


class Done(msgspec.Struct, frozen=True):
    """The answer to a command, after the first state of its channels; `height` was final then."""

    type: str
    channels: list[str]
    height: int


class Failed(msgspec.Struct, frozen=True):
    """The answer to a command that is refused; nothing of it was done."""

    problem: Problem
    type: str = "error"


async def get_ws(api: Api, request: web.Request) -> web.StreamResponse:
    """Serve one client until it goes.

    Channels are blocks, mempool, consensus, tx:ID, account:ADDRESS, book:SYMBOL, trades:SYMBOL,
    ticker:SYMBOL, candles:SYMBOL:INTERVAL and orders:ACCOUNT.

    Send `{"method": "subscribe", "channels": ["blocks", "account:bob"], "from_height": 7}` as text,
    or `unsubscribe`; each is answered. `from_height` replays blocks, accounts and trades from
    there; books, tickers, candles and orders begin with how they are now. Every channel numbers its
    messages in `seq`; a `gap` message says which ones a slow reader missed.
    """
    socket = web.WebSocketResponse(
        heartbeat=HEARTBEAT_S, max_msg_size=COMMAND_BYTES_MAX, compress=False
    )
    if not socket.can_prepare(request):
        raise WebSocketNeeded
    client = api.hub.join()
    api.metrics.sockets.inc()
    socket.headers["Server"] = SERVER
    try:
        await socket.prepare(request)
        api.sockets.add(socket)
        async with asyncio.TaskGroup() as group:
            writer = group.create_task(_write(api, socket, client))
            await _read(api, request, socket, client)
            writer.cancel()
    finally:
        api.sockets.discard(socket)
        api.hub.leave(client)
        api.metrics.sockets.dec()
    return socket


async def _read(
    api: Api, request: web.Request, socket: web.WebSocketResponse, client: Client
) -> None:
    """Commands until the client closes, or asks without reading its answers."""
    async for message in socket:
        if client.full:
            await socket.close(code=WSCloseCode.POLICY_VIOLATION, message=b"read before you ask")
            return
        try:
            api.guards.buckets.take(client_of(request.remote or ""))
            if message.type is not WSMsgType.TEXT:
                raise BodyMalformed(reason="commands are text")
            answer: Done | Failed = await _obey(api, client, message.data)
        except ChaindError as error:
            answer = Failed(problem_of(error))
        client.put(encode_json(answer))


async def _obey(api: Api, client: Client, text: str) -> Done:
    """Do a command. Raises before anything is done where some of it is wrong."""
    command = convert(parse_json(text.encode()), Command)
    if command.method not in ("subscribe", "unsubscribe"):
        raise BodyMalformed(reason="method is neither subscribe nor unsubscribe")
    if len(command.channels) > CHANNELS_MAX:
        raise TooManyChannels(limit=CHANNELS_MAX)
    subjects = [(channel, api.hub.parse(channel)) for channel in command.channels]
    if command.method == "unsubscribe":
        for _, subject in subjects:
            api.hub.unsubscribe(client, subject)
        return Done("unsubscribed", command.channels, api.node.chain.final.height)
    api.hub.check_room(client, [subject for _, subject in subjects])
    done = Done("subscribed", command.channels, api.node.chain.final.height)
    for channel, subject in subjects:
        api.hub.subscribe(client, channel, subject, command.from_height)
        await asyncio.sleep(0)  # each may read the disk: let votes pass between
    return done


async def _write(api: Api, socket: web.WebSocketResponse, client: Client) -> None:
    """Send what is queued; where nothing is, replay; where nothing is to replay, wait."""
    try:
        while True:
            frame = client.take()
            if frame is not None:
                await socket.send_frame(frame, WSMsgType.TEXT)
            elif api.hub.replay(client):
                await asyncio.sleep(0)  # a client that reads fast must not hold up the node
            else:
                client.wanted.clear()
                await client.wanted.wait()
    except ConnectionError:
        return  # the reader sees it too, and ends the handler
