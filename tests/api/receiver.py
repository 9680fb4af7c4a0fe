"""A receiver of webhooks in this process: answers as it is told, and remembers what it took."""

import asyncio
import json
import time
from collections.abc import Callable
from typing import Any, NamedTuple

from aiohttp import web

from chaind.wallet.webhook_signature import EVENT_ID_HEADER, SIGNATURE_HEADER, check_delivery

SECRET = "canary-of-the-webhook-41d9"


class Taken(NamedTuple):
    """One delivery: what was asked of the receiver, and how it answered."""

    event_id: str
    body: dict[str, Any]
    status: int


class Receiver:
    """`answer` gives the status for an event's id; a signature that is wrong gets 403."""

    def __init__(self, answer: Callable[[str], int] = lambda _: 204) -> None:
        self.answer = answer
        self.heard: list[Taken] = []
        self.requests: list[web.Request] = []
        self._news = asyncio.Event()
        self._runner: web.ServerRunner | None = None
        self.port = 0

    async def __aenter__(self) -> "Receiver":
        await self.open()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}/hook"

    @property
    def taken(self) -> list[Taken]:
        """What was answered with 2xx."""
        return [one for one in self.heard if 200 <= one.status <= 299]

    async def open(self) -> None:
        """Listen; on the same port as before, where there was one."""
        self._runner = web.ServerRunner(web.Server(self._handle))
        await self._runner.setup()
        site = web.TCPSite(self._runner, "127.0.0.1", self.port, reuse_address=True)
        await site.start()
        self.port = self._runner.addresses[0][1]

    async def close(self) -> None:
        """Nobody listens there any more."""
        if self._runner is not None:
            await self._runner.cleanup()
            self._runner = None

    async def until(self, condition: Callable[[], object], timeout_s: float = 20.0) -> None:
        """Return when `condition` holds; it is looked at after every delivery."""
        async with asyncio.timeout(timeout_s):
            while not condition():
                self._news.clear()
                await self._news.wait()

    async def _handle(self, request: web.BaseRequest) -> web.StreamResponse:
        body = await request.read()
        headers = request.headers
        check_delivery(SECRET, headers[SIGNATURE_HEADER], body, time.time_ns() // 1_000_000)
        event_id = headers[EVENT_ID_HEADER]
        status = self.answer(event_id)
        self.heard.append(Taken(event_id, json.loads(body), status))
        self._news.set()
        return web.Response(status=status, headers={"Location": self.url})
