"""Who holds a connection to the API's port, how many of them, and how long they may dawdle.

A request that came whole is the door's business (`app`), its body that of `bodies`. Here is what
stands before and behind: clients that never finish a request's head, clients that do not read
their answers, bytes that are no HTTP, and the count of all of them.
"""

import asyncio
from collections import Counter
from http import HTTPStatus
from typing import Any, cast

from aiohttp import web

from chaind.api.guards import client_of
from chaind.api.problems import PROBLEM_MEDIA, SERVER, HttpMalformed, problem_response
from chaind.primitives.errors import ChaindError, TooMany

CONNECTIONS_MAX = 1_024  # each a descriptor, and up to half a MiB of headers while they arrive
CLIENT_CONNECTIONS_MAX = 512  # so that one client, or all behind one proxy, leaves half to others
HEAD_S_MAX = 10.0  # for the first request to arrive; between requests KEEP_ALIVE_S holds
HEADERS_MAX = 64  # a browser sends 20; of 8 KiB each at most
STALLED_S_MAX = 30.0  # a client that reads nothing for so long is gone, or means harm
SWEEP_S = 1.0  # how exactly those times are kept
REASON_CHARS_MAX = 200


class TooManyConnections(TooMany):
    code = "too-many-connections"
    text = "{count} connections are open{whose}, no more are taken"
    advice = "Use one connection for many requests, or one request for many transactions."


class Connections:
    """Every connection of one port. `sweep` runs until `stop`."""

    def __init__(self) -> None:
        self._open: set[Connection] = set()
        self._by_client: Counter[str] = Counter()
        self._timer: asyncio.TimerHandle | None = None

    def __len__(self) -> int:
        return len(self._open)

    def accept(self, server: web.Server, **settings: Any) -> "Connection":
        """The protocol of a connection that has just been made."""
        return Connection(server, loop=asyncio.get_running_loop(), owner=self, **settings)

    def join(self, connection: "Connection") -> None:
        """Count it in. Raises `TooManyConnections`."""
        client = connection.client
        if len(self._open) >= CONNECTIONS_MAX:
            raise TooManyConnections(count=len(self._open), whose="")
        if self._by_client[client] >= CLIENT_CONNECTIONS_MAX:
            raise TooManyConnections(count=self._by_client[client], whose=" from this address")
        self._open.add(connection)
        self._by_client[client] += 1

    def leave(self, connection: "Connection") -> None:
        """Count it out, if it was in."""
        if connection in self._open:
            self._open.discard(connection)
            self._by_client[connection.client] -= 1
            if not self._by_client[connection.client]:
                del self._by_client[connection.client]

    def sweep(self) -> None:
        """Cut off who dawdles, now and every `SWEEP_S` from now on."""
        loop = asyncio.get_running_loop()
        for connection in tuple(self._open):
            connection.check(loop.time())
        self._timer = loop.call_later(SWEEP_S, self.sweep)

    def stop(self) -> None:
        """End the sweeping."""
        if self._timer is not None:
            self._timer.cancel()


class Connection(web.RequestHandler):
    """aiohttp's protocol of one connection, with its patience bounded."""

    __slots__ = ("_deadline", "_owner", "client")

    def __init__(self, server: web.Server, *, owner: Connections, **settings: Any) -> None:
        super().__init__(server, **settings)
        self.client = ""
        self._owner = owner
        self._deadline: float | None = None  # of the first head, then of an answer not taken

    def greet(self) -> None:
        """A request has reached the door."""
        self._deadline = None

    def check(self, now_s: float) -> None:
        """Hang up where the deadline has passed."""
        if self._deadline is not None and now_s > self._deadline and self.transport is not None:
            self.transport.abort()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Refuse it with a problem document where there are too many."""
        peer = transport.get_extra_info("peername")
        self.client = client_of(peer[0] if peer else "")
        try:
            self._owner.join(self)
        except TooManyConnections as error:
            self.close()  # it hears nothing more
            stream = cast(asyncio.Transport, transport)  # uvloop's are no subclass of it
            stream.write(_plain_response(error))
            stream.close()
            return
        self._deadline = self._loop.time() + HEAD_S_MAX
        super().connection_made(transport)

    def connection_lost(self, exc: BaseException | None) -> None:
        """One less."""
        self._owner.leave(self)
        super().connection_lost(exc)

    def pause_writing(self) -> None:
        """The client does not read: it has some time to go on."""
        self._deadline = self._loop.time() + STALLED_S_MAX
        super().pause_writing()

    def resume_writing(self) -> None:
        """It does again."""
        self._deadline = None
        super().resume_writing()

    def handle_error(
        self,
        request: web.BaseRequest,
        status: int = 500,
        exc: BaseException | None = None,
        message: str | None = None,
    ) -> web.StreamResponse:
        """What is no HTTP gets a problem document like everything else, and is not logged."""
        if status >= HTTPStatus.INTERNAL_SERVER_ERROR:
            return super().handle_error(request, status, exc, message)
        reason = " ".join((message or "not HTTP").split())[:REASON_CHARS_MAX]
        response = problem_response(HttpMalformed(reason=reason))
        response.headers["Server"] = SERVER
        response.force_close()
        return response


def _plain_response(error: ChaindError) -> bytes:
    """A whole answer for a connection that aiohttp never sees."""
    response = problem_response(error)
    assert isinstance(response.body, bytes)
    head = f"HTTP/1.1 {response.status} {response.reason}\r\n"
    fields = {
        "Content-Type": PROBLEM_MEDIA,
        "Content-Length": len(response.body),
        "Retry-After": response.headers["Retry-After"],
        "Connection": "close",
        "Server": SERVER,
    }
    lines = "".join(f"{name}: {value}\r\n" for name, value in fields.items())
    return (head + lines + "\r\n").encode() + response.body
