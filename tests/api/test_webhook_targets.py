"""Webhooks reach nothing that only this machine or its network can reach, whatever a name says."""

import asyncio
import ipaddress
import socket
from typing import Any

import pytest
from aiohttp.abc import AbstractResolver, ResolveResult
from api_kit import Door
from receiver import SECRET, Receiver

from chaind.api import webhook_delivery, webhook_subscriptions
from chaind.api.app import ApiServer
from chaind.api.webhook_records import Record, Records
from chaind.api.webhook_targets import PublicResolver, is_public
from chaind.storage.files import OsFiles

HOOKS = "/api/v1/webhooks"
PUBLIC = ("1.1.1.1", "93.184.215.14", "2606:4700::1111", "64:ff9b::101:101", "::ffff:1.1.1.1")
OWN = (
    "127.0.0.1", "127.8.9.1", "0.0.0.0", "10.1.2.3", "172.16.0.1", "192.168.1.1", "100.64.0.1",
    "169.254.169.254", "224.0.0.1", "255.255.255.255", "::", "::1", "fe80::1", "fc00::1",
    "ff02::1", "::ffff:127.0.0.1", "::ffff:10.0.0.1", "64:ff9b::7f00:1", "2002:7f00:1::",
    "2001:0:4136:e378:8000:63bf:3fff:fdd2",
)  # fmt: skip


def test_which_addresses_are_everybodys() -> None:
    assert [text for text in PUBLIC if not is_public(ipaddress.ip_address(text))] == []
    assert [text for text in OWN if is_public(ipaddress.ip_address(text))] == []


async def test_what_leads_here_is_refused(door: Door) -> None:
    hosts = [f"[{address}]" if ":" in address else address for address in OWN]
    for host in (*hosts, "localhost", "0x7f.1"):
        body = {"url": f"http://{host}:8080/status", "secret": SECRET}
        problem = await door.post(HOOKS, body, 403, headers=door.token)
        assert problem["code"] == "webhook-target-refused", host
    octal = {"url": "http://0177.0.0.1/", "secret": SECRET}  # neither a name nor an address
    assert (await door.post(HOOKS, octal, 400, headers=door.token))["code"] == "webhook-url-invalid"


class Told(AbstractResolver):
    """Says that every name is this address."""

    def __init__(self, address: str) -> None:
        self._address = address

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_INET
    ) -> list[ResolveResult]:
        return [
            ResolveResult(
                hostname=host, host=self._address, port=port, family=family, proto=0, flags=0
            )
        ]

    async def close(self) -> None:
        pass


async def failing(door: Door, url: str) -> dict[str, Any]:
    """The state of a subscription, made while its address was allowed, after its first attempt."""
    await door.server.stop()
    record = Record(
        id="0123456789abcdef", url=url, secret=SECRET, kinds=(), account=None, asset=None,
        created_ms=0, cursor="0.0.0",
    )  # fmt: skip
    Records(OsFiles(), door.home / "webhooks").write(record.id, record.encode())
    door.server = ApiServer(door.node)
    await door.server.start()
    subscriber = door.server._api.webhooks.get(record.id)
    async with asyncio.timeout(20):
        while not subscriber.record.failures:
            await door.node.feed.beyond(door.node.chain.final.height, 0.05)
    return {"error": subscriber.record.last_error, "delivered": subscriber.record.delivered}


async def test_it_is_looked_at_again_before_every_connection(
    door: Door, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(webhook_delivery, "BACKOFF_MS_FIRST", 10)
    refused = {"error": "the address is not public", "delivered": 0}
    async with Receiver() as receiver:
        assert await failing(door, receiver.url) == refused  # a literal one
        rebound = PublicResolver(lambda: Told("127.0.0.1"))
        monkeypatch.setattr(webhook_subscriptions, "PublicResolver", lambda: rebound)
        assert await failing(door, f"http://rebound.example:{receiver.port}/") == refused
        assert receiver.heard == []
