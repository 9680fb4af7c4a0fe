"""Servers that answer as a test says, in the place of nodes."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any, NamedTuple

import msgspec
from aiohttp import web

from chaind.wallet.client import Client


class Asked(NamedTuple):
    """A request as it came."""

    method: str
    path: str
    headers: dict[str, str]
    body: bytes


class Reply(NamedTuple):
    """An answer to give: JSON of `value`, or `raw`."""

    status: int = 200
    value: Any = None
    headers: dict[str, str] = {}  # noqa: RUF012 — read alone
    raw: bytes | None = None


def problem(status: int, code: str, detail: str = "no", **more: Any) -> Reply:
    """A problem document. `retry` is the Retry-After."""
    retry = more.pop("retry", None)
    headers = {} if retry is None else {"Retry-After": str(retry)}
    value = {"title": "x", "status": status, "code": code, "detail": detail, **more}
    return Reply(status, value, headers)


HANG_UP = Reply(-1)  # the connection ends without an answer
TURNS = 5  # of the loop, in which an accepted connection gets its handler


class FakeNode:
    """Gives its replies in order, the last one for ever; `asked` are the requests."""

    def __init__(self, *replies: Reply) -> None:
        self.replies = list(replies)
        self.asked: list[Asked] = []
        self.url = ""
        self.before: Callable[[], Awaitable[None]] | None = None

    async def handle(self, request: web.Request) -> web.StreamResponse:
        self.asked.append(
            Asked(request.method, request.path_qs, dict(request.headers), await request.read())
        )
        if self.before is not None:
            await self.before()
        reply = self.replies.pop(0) if len(self.replies) > 1 else self.replies[0]
        if reply is HANG_UP:
            assert request.transport is not None
            request.transport.abort()
        body = msgspec.json.encode(reply.value) if reply.raw is None else reply.raw
        return web.Response(status=reply.status, body=body, headers=reply.headers)


@asynccontextmanager
async def serving(*nodes: FakeNode) -> AsyncIterator[None]:
    """Each on a port of its own."""
    runners = []
    for node in nodes:
        app = web.Application()
        app.router.add_route("*", "/{tail:.*}", node.handle)
        runner = web.AppRunner(app, access_log=None)
        await runner.setup()
        site = web.TCPSite(runner, "127.0.0.1", 0)
        await site.start()
        runners.append(runner)
        node.url = f"http://127.0.0.1:{runner.addresses[0][1]}"
    try:
        yield
    finally:
        for _ in range(TURNS):  # who was just accepted gets a handler, which is closed with others
            await asyncio.sleep(0)
        for runner in runners:
            await runner.cleanup()


class Pauses:
    """In the place of sleeping: what would have been slept."""

    def __init__(self) -> None:
        self.taken_s: list[float] = []

    async def __call__(self, seconds: float) -> None:
        self.taken_s.append(seconds)
        await asyncio.sleep(0)


@asynccontextmanager
async def client_of(*nodes: FakeNode, **settings: Any) -> AsyncIterator[tuple[Client, Pauses]]:
    """A client of served nodes that loses no time."""
    import aiohttp

    pauses = Pauses()
    async with serving(*nodes), aiohttp.ClientSession() as session:
        keys = iter(f"key-{number}" for number in range(100))
        yield (
            Client(
                [node.url for node in nodes],
                session,
                pause=pauses,
                draw_key=lambda: next(keys),
                **settings,
            ),
            pauses,
        )
