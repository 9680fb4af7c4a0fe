"""Readers of what requests carry: the bodies of every route, and calls of JSON-RPC."""

import json
from collections.abc import Coroutine
from decimal import Decimal
from types import SimpleNamespace
from typing import Any, cast

import msgspec
from fuzz_gbt import handed_in

from chaind.api.bodies import convert, parse_json
from chaind.api.problems import BodyMalformed
from chaind.api.routes import ROUTES
from chaind.api.rpc import RpcRequest
from chaind.api.rpc_call import RpcCall
from chaind.api.rpc_errors import RpcCode, RpcRefused
from chaind.api.rpc_mining import RPC_MINING
from chaind.node.block_hex import parse_parts
from chaind.node.gbt import NoPeers

# Transactions have a door of their own: `fuzz_api`.
KINDS = {
    getattr(route.request, "__origin__", route.request)  # without what is noted for people
    for route in ROUTES
    if route.request is not None and not isinstance(route.request, tuple)
}
MINER = "bob.rig"


def read_request_body(data: bytes) -> None:
    """What a route takes is the same request when it is written out and read again."""
    value, taken = parse_json(data), 0
    for kind in KINDS:
        try:
            request = convert(value, kind)
        except BodyMalformed:
            continue
        again = msgspec.to_builtins(request, builtin_types=(Decimal,))
        assert convert(again, kind) == request
        taken += 1
    if not taken:
        raise BodyMalformed(reason="no route takes it")


def request_bodies() -> tuple[bytes, ...]:
    """The examples of all routes, and a body for each that has none."""
    asking = [route for route in ROUTES if not isinstance(route.request, tuple)]
    examples = [example for route in asking for example in route.examples.values()]
    mined = [{"miner_address": "judy"}, {"template_id": "1", "header": "00" * 80}]
    return tuple(msgspec.json.encode(each) for each in (*examples, *mined))


class _Gbt:
    """A node that has no work to give, and reads blocks up to where a header is looked up."""

    async def wait(self, news_id: str, _client: str) -> None:
        assert isinstance(news_id, str)

    def offer(self) -> None:
        raise NoPeers

    async def submit(self, data: bytes, work_id: str | None, _who: str) -> None:
        assert work_id is None or isinstance(work_id, str)
        parse_parts(data)


def read_rpc_call(data: bytes) -> None:
    """A call of one of the two methods that take more than a word, up to the node's own part."""
    try:
        request = convert(parse_json(data), RpcRequest)
    except BodyMalformed as error:
        raise RpcRefused(RpcCode.INVALID_REQUEST, str(error)) from None
    method = RPC_MINING.get(request.method)
    if method is None:
        raise RpcRefused(RpcCode.METHOD_NOT_FOUND, request.method or "no method")
    api = SimpleNamespace(miners=SimpleNamespace(self_paid={MINER}))
    asked = SimpleNamespace(remote="127.0.0.1")
    call = RpcCall(cast(Any, api), cast(Any, _Gbt()), cast(Any, asked), MINER, request.params)
    try:
        _ended(cast(Coroutine[None, None, Any], method(call)))
    except RpcRefused as refused:
        if refused.code is not RpcCode.NOT_CONNECTED:
            raise


def _ended(coroutine: Coroutine[None, None, Any]) -> Any:
    """What a coroutine returns that has nothing to wait for."""
    try:
        coroutine.send(None)
    except StopIteration as ended:
        return ended.value
    raise AssertionError("it waits")


def rpc_calls() -> tuple[bytes, ...]:
    """Calls as mining software makes them."""
    calls: list[dict[str, Any]] = [
        {"id": 0, "method": "getblocktemplate", "params": [{"capabilities": ["longpoll"]}]},
        {"id": "x", "method": "getblocktemplate", "params": [{"longpollid": "1", "rules": []}]},
        {"jsonrpc": "2.0", "id": 1, "method": "submitblock", "params": [handed_in()[0].hex()]},
        {"id": 2, "method": "submitblock", "params": [handed_in()[0].hex(), {"workid": "w"}]},
    ]
    return tuple(json.dumps(call).encode() for call in calls)
