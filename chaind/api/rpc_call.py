"""What a method of JSON-RPC is given."""

from collections.abc import Awaitable, Callable
from typing import Any, NamedTuple

from aiohttp import web

from chaind.api.context import Api
from chaind.node.gbt import Gbt


class RpcCall(NamedTuple):
    """A call. `who` is the name that the caller gave."""

    api: Api
    gbt: Gbt
    request: web.Request
    who: str
    params: list[Any]


Method = Callable[[RpcCall], Awaitable[Any]]
