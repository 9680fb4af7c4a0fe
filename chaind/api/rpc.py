"""JSON-RPC as mining software speaks it to bitcoind, at / and /rpc.

Law: whoever got in is answered by JSON-RPC with status 200, whatever became of the request, since
much mining software reads no other; what is no request is 400. Errors have bitcoind's numbers.
Requests of version 2.0 get answers of that version, which have either a result or an error; all
others have both. A door that is closed, busy or overrun answers as all others do.

The body is JSON by whatever name bitcoind's users send it. Pages may send those names unasked, so
what keeps them out is the secret, and `Guards.admit`, which sees their Origin.
"""

from collections.abc import Mapping
from typing import Any, Final, Literal

import msgspec
from aiohttp import web
from msgspec import UNSET, UnsetType

from chaind.api.answers import JSON_MEDIA, Answer, respond
from chaind.api.bodies import convert, parse_json, read_body
from chaind.api.context import Api
from chaind.api.guards import check_media
from chaind.api.mining import NotMined
from chaind.api.mining_view import stratum_url
from chaind.api.problems import BodyMalformed
from chaind.api.rpc_call import Method, RpcCall
from chaind.api.rpc_errors import RpcCode, RpcRefused
from chaind.api.rpc_mining import RPC_MINING
from chaind.api.rpc_reading import RPC_READING

MESSAGE_CHARS_MAX = 500
STRATUM_HEADER = "X-Stratum"
VERSION_2: Final = "2.0"
# bitcoin-cli's help has curl say text/plain; without a word curl says the last.
RPC_MEDIA = (JSON_MEDIA, "text/plain", "application/x-www-form-urlencoded")


class RpcRequest(msgspec.Struct, frozen=True):
    """A call: `params` in the order that bitcoind documents. Several in one array are refused."""

    method: str
    params: list[Any] = []
    id: Any = None
    jsonrpc: Any = None


_NO_CALL = RpcRequest(method="")  # what an answer refers to where there was no call to be read


class RpcError(Answer, frozen=True):
    """`code` is bitcoind's."""

    code: int
    message: str


class RpcAnswer(Answer, frozen=True, kw_only=True):
    """Either `result` or `error` is null, or is not there, where the request had `jsonrpc` 2.0; a
    result may be null, too."""

    jsonrpc: Literal["2.0"] | UnsetType = UNSET
    result: Any = UNSET
    error: RpcError | UnsetType | None = UNSET
    id: Any


METHODS: Mapping[str, Method] = {**RPC_MINING, **RPC_READING}


async def post_rpc(api: Api, request: web.Request) -> web.Response:
    """getblocktemplate, submitblock, getmininginfo, validateaddress, getblockcount and
    getbestblockhash, as bitcoind answers them.

    Needs, by HTTP Basic, the secret of rpc.cookie or the password for miners. Where the name beside
    it is ADDRESS, ADDRESS.WORKER or an account's, the template has a coinbase that pays it. The
    body may also be called text/plain, as bitcoind's own help has it.
    """
    if api.node.gbt is None or api.miners is None:
        raise NotMined
    who = api.miners.name_of(request)
    check_media(request, RPC_MEDIA)
    body = await read_body(request, api.section.batch_bytes_max)
    mining = api.node.mining
    headers = {}
    if mining is not None and mining.stratum is not None:
        headers[STRATUM_HEADER] = stratum_url(mining, request)
    try:
        value = parse_json(body)
    except BodyMalformed as error:
        return _refuse(RpcRefused(RpcCode.PARSE_ERROR, str(error)), _NO_CALL, headers, status=400)
    try:
        if isinstance(value, list):
            raise RpcRefused(RpcCode.INVALID_REQUEST, "batches are not served: send single calls")
        call = convert(value, RpcRequest)
    except (BodyMalformed, RpcRefused) as error:
        refused = RpcRefused(RpcCode.INVALID_REQUEST, str(error))
        return _refuse(refused, _NO_CALL, headers, status=400)
    try:
        method = METHODS.get(call.method)
        if method is None:
            raise RpcRefused(RpcCode.METHOD_NOT_FOUND, f"there is no method {call.method[:40]!r}")
        result = await method(RpcCall(api, api.node.gbt, request, who, call.params))
    except RpcRefused as refused:
        return _refuse(refused, call, headers)
    if call.jsonrpc == VERSION_2:
        answer = RpcAnswer(jsonrpc=VERSION_2, result=result, id=call.id)
    else:
        answer = RpcAnswer(result=result, error=None, id=call.id)
    return respond(answer, headers=headers)


def _refuse(
    refused: RpcRefused, call: RpcRequest, headers: dict[str, str], status: int = 200
) -> web.Response:
    error = RpcError(refused.code, str(refused)[:MESSAGE_CHARS_MAX])
    if call.jsonrpc == VERSION_2:
        answer = RpcAnswer(jsonrpc=VERSION_2, error=error, id=call.id)
    else:
        answer = RpcAnswer(result=None, error=error, id=call.id)
    return respond(answer, status, headers)
