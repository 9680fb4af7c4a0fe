"""The server: the door that every request passes, and the life of the listening socket.

Law of the door: guards first, then the handler; whatever is raised becomes a problem document,
and only what nobody foresaw is logged, without anything that the client sent.
"""

import asyncio
import errno
from collections.abc import Mapping
from contextlib import suppress
from functools import partial
from time import perf_counter

import msgspec
import structlog
from aiohttp import WSCloseCode, web
from aiohttp.typedefs import Handler, Middleware

from chaind.api.bodies import BODY_ROOM, BodyRoom, check_query
from chaind.api.connections import HEADERS_MAX, Connection, Connections
from chaind.api.context import Api
from chaind.api.guards import make_token
from chaind.api.openapi import document
from chaind.api.problems import (
    SERVER,
    HttpMalformed,
    MethodNotAllowed,
    NodeStopping,
    RouteUnknown,
    internal_response,
    problem_response,
)
from chaind.api.route import Route
from chaind.api.routes import ROUTES
from chaind.api.rpc_access import MinerAccess
from chaind.network.manager import listen_reason
from chaind.node.home import Home
from chaind.node.invoices import Invoices
from chaind.node.node import Node
from chaind.primitives.errors import ChaindError, LocalFault
from chaind.storage.files import OsFiles
from chaind.storage.invoices import InvoiceFiles

BACKLOG = 1_024  # connections that may wait while the loop is busy with a block
KEEP_ALIVE_S = 75.0
LINGER_S = 1.0  # for the rest of a refused body, so that its sender reads the answer
SHUTDOWN_S = 2.0  # for requests under way; those that wait for finality end with the node
NO_ROUTE = "none"  # the label of requests that match no route

log = structlog.get_logger("chaind.api")


class ApiPortBusy(LocalFault):
    code = "api-port-busy"
    text = "the API cannot listen on {host}:{port}: the port is in use"
    advice = "Another node may run there. Name another port with --api-port or [api] api_port."
    exit_code = 69  # EX_UNAVAILABLE


class ApiAddressInvalid(LocalFault):
    code = "api-address-invalid"
    text = "the API cannot listen on {host}:{port}: {reason}"
    advice = (
        "Give [api] host an address of this machine: 127.0.0.1 for this machine alone, 0.0.0.0 for "
        "all. Ports below 1024 need a right that this user may lack: see --api-port."
    )
    exit_code = 69  # EX_UNAVAILABLE


def make_app(
    node: Node, token: str, invoices: Invoices, miners: MinerAccess | None
) -> tuple[web.Application, Api]:
    """The application of a node, and what its handlers share."""
    api = Api(node, token, invoices, miners)
    api.document = msgspec.json.encode(document(ROUTES))
    labels: dict[Handler, str] = {}
    room = BodyRoom()
    app = web.Application(middlewares=[_make_door(api, labels, room)])
    app[BODY_ROOM] = room
    for route in ROUTES:
        endpoint = _bind(api, route)
        labels[endpoint] = route.path
        for path in (route.path, *route.aliases, *_slashed(route)):
            app.router.add_route(route.method, path, endpoint)
            if route.method == "GET" and path != "/ws":
                app.router.add_route("HEAD", path, endpoint)

    async def close(_app: web.Application) -> None:
        for socket in tuple(api.sockets):
            await socket.close(code=WSCloseCode.GOING_AWAY)
        api.hub.close()
        if node.gbt is not None:
            node.gbt.let_go()

    app.on_shutdown.append(close)
    return app, api


def _slashed(route: Route) -> tuple[str, ...]:
    """The path of a market by its own name, BTC/USD, whose slash nobody has to escape."""
    if "{symbol}" not in route.path:
        return ()
    return (route.path.replace("{symbol}", "{symbol:[^/]+/[^/]+}"),)


def _bind(api: Api, route: Route) -> Handler:
    """A route's handler as aiohttp calls it, behind the right that it asks for."""
    access, handler, query = route.access, route.handler, route.query

    async def endpoint(request: web.Request) -> web.StreamResponse:
        api.guards.authorise(request, access)
        check_query(request, query)
        return await handler(api, request)

    return endpoint


def _make_door(api: Api, labels: Mapping[Handler, str], room: BodyRoom) -> Middleware:
    """See the module's law. `labels` name the routes by their endpoints."""
    guards, metrics = api.guards, api.metrics

    @web.middleware
    async def door(request: web.Request, handler: Handler) -> web.StreamResponse:
        started = perf_counter()
        label = labels.get(request.match_info.handler, NO_ROUTE)
        if isinstance(request.protocol, Connection):
            request.protocol.greet()
        try:
            guards.admit(request)
            if api.node.ended:
                raise NodeStopping
            response = await handler(request)
        except ChaindError as error:
            if isinstance(error, LocalFault):  # this machine cannot be relied on any more
                _log_failure(label, error)
                api.node.timers.fail(error)
            response = problem_response(error)
        except web.HTTPException as error:  # what aiohttp itself refuses
            response = problem_response(_foreign(request, error))
        except ConnectionError:  # the client went away: nobody is left to answer
            raise
        except Exception as error:  # noqa: BLE001 — logged, and answered without details
            if api.node.ended:  # while this waited for something: its files are closed
                response = problem_response(NodeStopping())
            else:
                _log_failure(label, error)
                response = internal_response()
        finally:
            room.release(request)
        if response.status >= 400 and not request.content.at_eof():
            response.force_close()  # the rest of the body is not worth reading
        if not isinstance(response, web.WebSocketResponse):  # how long one stays is no latency
            response.headers["Server"] = SERVER
            took_s = perf_counter() - started
            metrics.observe(label, response.status, took_s)
            log.debug("request", route=label, status=response.status, ms=round(1000 * took_s, 1))
        return response

    return door


def _foreign(request: web.Request, error: web.HTTPException) -> ChaindError:
    if isinstance(error, web.HTTPMethodNotAllowed):
        allowed = ", ".join(sorted(error.allowed_methods))
        return MethodNotAllowed(method=request.method[:20], allowed=allowed)
    if isinstance(error, web.HTTPNotFound):
        return RouteUnknown(path=request.path[:100])
    return HttpMalformed(reason=error.reason)


def _log_failure(label: str, error: Exception) -> None:
    """By the route's pattern, never the path: paths hold addresses."""
    log.error("request_failed", route=label, exc_info=error)


class ApiServer:
    """A node's API on the host and port of its configuration."""

    def __init__(self, node: Node) -> None:
        self._node = node
        self._home = Home(node.config.node.home_path())
        self._api: Api | None = None
        self._runner: web.AppRunner | None = None
        self._listener: asyncio.Server | None = None
        self._connections = Connections()
        self.port = node.config.api.api_port

    async def start(self) -> None:
        """Listen. Raises `ApiPortBusy`, `ApiAddressInvalid`, `InvoiceDamaged`, or what `make_token`
        and `MinerAccess.open` raise, or what webhooks do when they start."""
        section = self._node.config.api
        invoices = self._node.invoices(InvoiceFiles(OsFiles(), self._home.invoices))
        await invoices.load()
        miners = None
        if self._node.gbt is not None:
            miners = MinerAccess.open(self._node.config.miner, self._home)
        token = make_token(section, self._home)
        app, self._api = make_app(self._node, token, invoices, miners)
        await self._api.webhooks.start()
        self._runner = web.AppRunner(app, shutdown_timeout=SHUTDOWN_S)
        await self._runner.setup()
        assert self._runner.server is not None
        accept = partial(
            self._connections.accept,
            self._runner.server,
            access_log=None,
            auto_decompress=False,  # a compressed body is refused: its length says nothing
            keepalive_timeout=KEEP_ALIVE_S,
            lingering_time=LINGER_S,
            max_headers=HEADERS_MAX,
        )
        loop = asyncio.get_running_loop()
        host, port = section.host, section.api_port
        try:
            self._listener = await loop.create_server(accept, host, port, backlog=BACKLOG)
        except OSError as error:
            if error.errno == errno.EADDRINUSE:
                raise ApiPortBusy(host=host, port=port) from None
            raise ApiAddressInvalid(host=host, port=port, reason=listen_reason(error)) from None
        self.port = self._listener.sockets[0].getsockname()[1]
        self._connections.sweep()

    async def stop(self) -> None:
        """Close every connection. The token of this start ends with it."""
        self._connections.stop()
        if self._listener is not None:
            self._listener.close()
            self._listener = None
        if self._runner is not None:
            await self._runner.cleanup()
            self._runner = None
        if self._api is not None:
            api, self._api = self._api, None
            api.metrics.close()
            with suppress(FileNotFoundError):
                self._home.rpc_cookie.unlink()
            if not self._node.config.api.token_file:
                with suppress(FileNotFoundError):
                    self._home.api_token.unlink()
            await api.webhooks.stop()
