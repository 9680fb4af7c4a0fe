"""What the tests of the load tool share: chains, plans, and servers that are no nodes."""

import dataclasses
import os
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import aiohttp
import msgspec
from aiohttp import web

from chaind.cli.chains import development_genesis
from chaind.cli.load_drive import Load, Run
from chaind.cli.load_orders import Orders, Plan, Stock
from chaind.cli.load_tally import Tally
from chaind.primitives.genesis import Validator
from chaind.primitives.keys import SecretKey

GENESIS = development_genesis(
    [Validator(public_key=SecretKey(b"\7" * 32).public.hex(), name="v")], time_ms=1_700_000_000_000
)
PAID = msgspec.structs.replace(
    GENESIS, parameters=msgspec.structs.replace(GENESIS.parameters, min_fee_per_byte=3)
)


def free_port() -> int:
    """A port that nobody listens on now."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        return int(server.getsockname()[1])


def free_base_port() -> int:
    """A base port from which the ports of four nodes are free: API, P2P and Stratum."""
    for base in range(20_000 + os.getpid() % 1_000 * 8, 60_000, 8):
        try:
            starts = (base, base + 1_000, base + 2_000)
            for port in (start + index for start in starts for index in range(4)):
                with socket.socket() as probe:
                    probe.bind(("127.0.0.1", port))
        except OSError:
            continue
        return base
    raise AssertionError("no free ports")


def make_plan(**changes: Any) -> Plan:
    """A hundred transfers of six accounts, thirty of them coins."""
    plan = Plan(GENESIS.to_json(), 6, 100, 0.3, 8, msgpack=True, single=False, seed=3)
    return plan._replace(**changes)


def make_load(**changes: Any) -> Load:
    """Ten single transfers, as fast as they go."""
    settings: dict[str, Any] = {
        "urls": ("http://127.0.0.1:1",),
        "rate": None,
        "duration_s": float("inf"),
        "count": 10,
        "accounts": 3,
        "coin_share": 0.0,
        "batch_size": 1,
        "single": True,
        "msgpack": False,
        "wait_final": True,
        "connections": 2,
        "in_flight_max": 1_000,
        "seed": 0,
    }
    return Load(**{**settings, **changes})


@asynccontextmanager
async def serving(handlers: dict[tuple[str, str], Any]) -> AsyncIterator[str]:
    """A server that is no node."""
    app = web.Application()
    for (method, path), handler in handlers.items():
        app.router.add_route(method, path, handler)
    runner = web.AppRunner(app, shutdown_timeout=0.1)
    await runner.setup()
    port = free_port()
    await web.TCPSite(runner, "127.0.0.1", port).start()
    try:
        yield f"http://127.0.0.1:{port}"
    finally:
        await runner.cleanup()


async def run_against(handler: Any, load: Load) -> Tally:
    """The measured part alone, unfunded: this server takes anything."""
    async with serving({("POST", "/api/v1/transactions"): handler}) as url:
        return await run_at(url, load)


async def run_at(url: str, load: Load) -> Tally:
    """The same against a server that runs."""
    load = dataclasses.replace(load, urls=(url,))
    plan = make_plan(total=load.total, coin_share=0.0, batch_size=load.batch_size, single=True)
    stock = Stock(Orders(plan._replace(msgpack=False)), load.ahead)
    async with aiohttp.ClientSession() as session:
        return await Run(load, session, stock, lambda _tally, _part: None).go(0)


async def accept(_request: web.Request) -> web.Response:
    """Takes a transfer."""
    return web.json_response({"tx_id": "00", "status": "accepted"}, status=202)
