"""The way to the nodes of a chain: one request, over several URLs, again where that is harmless.

Law: `ask` repeats, so that only requests go through it for which repeating changes nothing. A node
that is silent or busy is left for the next one, with growing pauses between rounds, until patience
ends; what a node refuses is not asked of another. Proxies of the environment are not used, and
redirects are not followed: a node's API is named outright.
"""

import asyncio
import os
from collections import deque
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import NamedTuple, TypeVar

import aiohttp
import msgspec

from chaind.primitives.errors import ChaindError
from chaind.wallet.answers import ProblemForm
from chaind.wallet.errors import NO_HTTP, NodesBusy, NodeSilent, NotThere, Refused, shown
from chaind.wallet.secret import Secret
from chaind.wallet.urls import node_url

A = TypeVar("A")

ANSWER_S_MIN = 1.0  # one answer, however little patience is left
READ_S_MAX = 5.0  # one answer to a read: a node that is well takes milliseconds
HOLD_S_MAX = 45.0  # one answer that a node holds until finality, 30 s at most
ANSWER_BYTES_MAX = 32 << 20  # a genesis file with many allocations, pages of large transactions
PAUSE_S_FIRST, PAUSE_S_MAX = 0.1, 2.0  # between rounds of all nodes; doubled each time
_IN_FLIGHT = 409


class Reply(NamedTuple):
    """What a node answered."""

    url: str
    status: int
    headers: Mapping[str, str]
    body: bytes

    @property
    def busy(self) -> bool:
        """Whether the same request may succeed later, or elsewhere."""
        return self.status == 429 or self.status >= 500

    @property
    def retry_after_s(self) -> float:
        """How long the node asks to be left alone; 0 where it does not say."""
        text = self.headers.get("Retry-After", "")
        return min(float(text), PAUSE_S_MAX) if text.isascii() and text.isdigit() else 0.0

    def decode(self, kind: type[A]) -> A:
        """The answer as its type. Raises `NodeSilent`."""
        try:
            return msgspec.json.decode(self.body, type=kind)
        except (msgspec.DecodeError, UnicodeDecodeError) as error:
            reason = f"what answers there is not the API of a node ({error})"
            raise NodeSilent(url=self.url, reason=shown(reason)) from None

    def error(self) -> ChaindError:
        """What a status above 299 means."""
        try:
            problem = msgspec.json.decode(self.body, type=ProblemForm)
        except (msgspec.DecodeError, UnicodeDecodeError):
            return NodeSilent(url=self.url, reason=f"status {self.status}, no problem document")
        hint = f"\n{shown(problem.advice)}" if problem.advice else ""
        detail = shown(problem.detail)
        if self.busy:
            return NodesBusy(url=self.url, detail=detail, hint=hint)
        if self.status == 404:
            return NotThere(url=self.url, detail=detail, hint=hint)
        return Refused(
            url=self.url,
            status=self.status,
            problem=shown(problem.code),
            detail=detail,
            hint=hint,
            facts=dict(problem.values),
        )


class Nodes:
    """The nodes, the one that answered last first. `pause` waits so many seconds; `tell` is given
    what a person who waits should know."""

    def __init__(
        self,
        urls: Sequence[str],
        session: aiohttp.ClientSession,
        *,
        token: Secret[str] | None,
        pause: Callable[[float], Awaitable[None]],
        tell: Callable[[str], None] = lambda _: None,
    ) -> None:
        self._urls = deque(map(node_url, urls))
        assert self._urls, "a client has a node to ask"
        self.session = session
        self._token = token
        self.pause = pause
        self._tell = tell

    @property
    def url(self) -> str:
        """The node that is asked next."""
        return self._urls[0]

    def __len__(self) -> int:
        return len(self._urls)

    def turn(self) -> None:
        """Ask another node next."""
        self._urls.rotate(-1)

    async def ask(
        self,
        method: str,
        path: str,
        *,
        body: bytes | None = None,
        headers: Mapping[str, str] | None = None,
        patience_s: float,
        in_flight: bool = False,
        silence_s: float | None = None,
    ) -> Reply:
        """The reply of the first node that has one; see the module's law. Patience ends earlier
        where none of them says anything for `silence_s`."""
        loop = asyncio.get_running_loop()
        deadline_s = loop.time() + patience_s
        silent_since_s: float | None = None
        pause_s = PAUSE_S_FIRST
        answer_s = READ_S_MAX if method == "GET" else HOLD_S_MAX
        while True:
            faults: list[ChaindError] = []
            for _ in range(len(self._urls)):
                left_s = max(ANSWER_S_MIN, deadline_s - loop.time())
                try:
                    reply = await self.once(
                        self.url, method, path, body, headers, answer_s=min(answer_s, left_s)
                    )
                except NodeSilent as silence:
                    faults.append(silence)
                else:
                    waits = in_flight and reply.status == _IN_FLIGHT and reply.retry_after_s > 0
                    if reply.status <= 299:
                        return reply
                    if not (reply.busy or waits):
                        raise reply.error()
                    faults.append(_busy(reply))
                    pause_s = max(pause_s, reply.retry_after_s)
                self.turn()
            until_s = deadline_s
            if not all(isinstance(fault, NodeSilent) for fault in faults):
                silent_since_s = None
            else:
                is_news = silent_since_s is None
                silent_since_s = loop.time() if silent_since_s is None else silent_since_s
                if silence_s is not None:
                    until_s = min(deadline_s, silent_since_s + silence_s)
                if is_news and loop.time() + pause_s < until_s:
                    left_s = until_s - loop.time()
                    again = f"again in {pause_s:g} s, for {left_s:.0f} s at most"
                    self._tell(f"{_joined(faults)}; {again}")
            if loop.time() + pause_s >= until_s:
                raise _joined(faults)
            await self.pause(pause_s)
            pause_s = min(2 * pause_s, PAUSE_S_MAX)

    async def once(
        self,
        url: str,
        method: str,
        path: str,
        body: bytes | None,
        headers: Mapping[str, str] | None,
        *,
        answer_s: float,
    ) -> Reply:
        """One node's reply, whatever its status. Raises `NodeSilent`."""
        sent = dict(headers or {})
        if self._token is not None:
            sent["Authorization"] = f"Bearer {self._token.reveal()}"
        timeout = aiohttp.ClientTimeout(total=answer_s)
        try:
            async with self.session.request(
                method, url + path, data=body, headers=sent, timeout=timeout, allow_redirects=False
            ) as answer:
                data = await answer.content.read(ANSWER_BYTES_MAX + 1)
                while len(data) <= ANSWER_BYTES_MAX and (more := await answer.content.readany()):
                    data += more
                if len(data) > ANSWER_BYTES_MAX:
                    raise NodeSilent(url=url, reason=f"its answer exceeds {ANSWER_BYTES_MAX} bytes")
                return Reply(url, answer.status, answer.headers, data)
        except TimeoutError:
            raise NodeSilent(url=url, reason=f"nothing came within {answer_s:g} s") from None
        except aiohttp.ClientConnectorError as error:  # its own words are of hosts and sockets
            raise NodeSilent(url=url, reason=shown(_connect_reason(error))) from None
        except aiohttp.ClientResponseError:
            raise NodeSilent(url=url, reason=NO_HTTP) from None
        except (aiohttp.ClientError, OSError) as error:
            raise NodeSilent(url=url, reason=shown(error) or type(error).__name__) from None


def _connect_reason(error: aiohttp.ClientConnectorError) -> str:
    """In a few words; numbers below zero are those of names that are not found."""
    number = error.errno or 0
    return os.strerror(number) if number > 0 else str(error.os_error.strerror)


def _busy(reply: Reply) -> ChaindError:
    """Why a node has to be asked again."""
    error = reply.error()
    if isinstance(error, Refused):
        values = {name: error.values[name] for name in ("url", "detail", "hint")}
        return NodesBusy(**values)
    return error


def _joined(faults: Sequence[ChaindError]) -> ChaindError:
    """One error for what all nodes said: a busy node says more than silent ones."""
    for fault in faults:
        if isinstance(fault, NodesBusy):
            return fault
    if len(faults) == 1:
        return faults[0]
    urls = ", ".join(str(fault.values["url"]) for fault in faults)
    return NodeSilent(url=urls, reason="; ".join(str(fault.values["reason"]) for fault in faults))
