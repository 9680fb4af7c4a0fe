"""Calls of a node's JSON-RPC, as bitcoind has it, over HTTP.

Law: what may pass is `NodeMute`, what the node says to the call is `RpcFault`, and what does not
change by asking again is `NodeRefusal`, `SecretRefused` or `SchemeMismatch`. Proxies of the
environment are not used, redirects are not followed, and secrets stand in no error.
"""

import os
from collections.abc import Callable, Sequence
from typing import Any
from urllib.parse import urlsplit

import aiohttp
import msgspec

from chaind.miner.gbt_client import NodeRefusal
from chaind.miner.scheme import SchemeMismatch, speaks_stratum
from chaind.primitives.errors import LocalFault, NotAllowed, NotReady, RuleBroken

ANSWER_BYTES_MAX = 64 << 20  # a template of the largest block, in hex
SHOWN_CHARS_MAX = 300


class NodeMute(NotReady):
    """No usable answer."""

    code = "node-mute"
    text = "{url} gives no answer: {reason}"
    advice = "Is the node running there? It is asked again."


class SecretRefused(NotAllowed, LocalFault):
    """The node knows no such name and secret."""

    code = "node-secret-refused"
    text = "{url} refuses {what}: {reason}"
    advice = (
        "Give --cookie-file NODE/rpc.cookie, where NODE is that node's home, or --user with the "
        "password of its [miner] rpc_password_file."
    )
    exit_code = 77  # EX_NOPERM


class RpcFault(RuleBroken):
    """An error of JSON-RPC; `number` is bitcoind's."""

    code = "rpc-fault"
    text = "{url} answers {method} with error {number}: {reason}"
    advice = "The node's log may say more."


class _Error(msgspec.Struct):
    code: int
    message: str = ""


class _Answer(msgspec.Struct):
    result: Any = None
    error: _Error | None = None


class _Problem(msgspec.Struct):
    detail: str = ""
    code: str = ""


class NodeRpc:
    """One node. `authorise` gives the Authorization header, which may be another after a restart of
    the node, or nothing while its secret is not there."""

    def __init__(
        self, url: str, session: aiohttp.ClientSession, authorise: Callable[[], str]
    ) -> None:
        self.url = url
        self._session = session
        self._authorise = authorise
        self._was_let_in = False

    async def call(self, method: str, params: Sequence[object], *, answer_s: float) -> Any:
        """The result. Raises `NodeMute`, `RpcFault`, `NodeRefusal`, `SecretRefused` or
        `SchemeMismatch`."""
        body = msgspec.json.encode({"method": method, "params": params, "id": 0})
        status, data = await self._post(body, answer_s)
        if status == 401 and self._was_let_in:  # it was started anew, with another cookie
            raise NodeMute(url=self.url, reason="it knows our secret no more")
        if status == 401:
            raise SecretRefused(url=self.url, what=method, reason=_problem(status, data))
        if status in (403, 404, 409):
            raise NodeRefusal(url=self.url, what=method, reason=_problem(status, data))
        try:
            answer = msgspec.json.decode(data, type=_Answer)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
            raise NodeMute(url=self.url, reason=_problem(status, data)) from None
        self._was_let_in = True
        if answer.error is not None:
            reason = _shown(answer.error.message)
            number = answer.error.code
            raise RpcFault(url=self.url, method=method, number=number, reason=reason)
        if status != 200:
            raise NodeMute(url=self.url, reason=_problem(status, data))
        return answer.result

    async def _post(self, body: bytes, answer_s: float) -> tuple[int, bytes]:
        headers = {"Content-Type": "application/json"}
        if authorization := self._authorise():
            headers["Authorization"] = authorization
        timeout = aiohttp.ClientTimeout(total=answer_s)
        try:
            async with self._session.post(
                self.url, data=body, headers=headers, timeout=timeout, allow_redirects=False
            ) as answer:
                data = bytearray()
                async for part in answer.content.iter_any():
                    data += part
                    if len(data) > ANSWER_BYTES_MAX:
                        raise NodeMute(url=self.url, reason="its answer has no end")
                return answer.status, bytes(data)
        except TimeoutError:
            raise NodeMute(url=self.url, reason=f"nothing came within {answer_s:g} s") from None
        except aiohttp.ClientConnectorError as error:  # its own words are of hosts and sockets
            number = error.errno or 0  # below zero are those of names that are not found
            reason = os.strerror(number) if number > 0 else str(error.os_error.strerror)
            raise NodeMute(url=self.url, reason=_shown(reason)) from None
        except (aiohttp.ClientError, OSError) as error:
            await self._refuse_stratum()
            raise NodeMute(
                url=self.url, reason=_shown(str(error) or type(error).__name__)
            ) from None

    async def _refuse_stratum(self) -> None:
        """Raises `SchemeMismatch` where a port that never spoke HTTP speaks Stratum."""
        parts = urlsplit(self.url)
        if self._was_let_in or parts.scheme != "http" or not parts.hostname:
            return
        if await speaks_stratum(parts.hostname, parts.port or 80):
            where = f"{parts.hostname}:{parts.port}"
            raise SchemeMismatch(where=where, spoken="Stratum", meant="HTTP")


def _problem(status: int, data: bytes) -> str:
    """What an answer says that is no JSON-RPC: a problem document, or only its status."""
    try:
        problem = msgspec.json.decode(data, type=_Problem)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        problem = _Problem()
    return f"status {status}" + (f", {_shown(problem.detail)}" if problem.detail else "")


def _shown(text: str) -> str:
    return "".join(char if char.isprintable() else "?" for char in text[:SHOWN_CHARS_MAX])
