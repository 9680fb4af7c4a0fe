"""The receiver of `chaind webhooks listen`: what a receiver of one's own has to do, in short.

Law: an event is written out before it is answered with 204; what has no right signature is answered
with 403 and not believed.
"""

import asyncio
import json
import signal
import time
from collections import OrderedDict
from http import HTTPStatus
from typing import Any

import click
from aiohttp import web

from chaind.primitives.errors import LocalFault
from chaind.wallet.errors import shown
from chaind.wallet.secret import Secret
from chaind.wallet.webhook_signature import (
    SIGNATURE_HEADER,
    SignatureInvalid,
    check_delivery,
)

SEEN_MAX = 10_000  # ids of events remembered, to mark repetitions


class ListenRefused(LocalFault):
    """The receiver's port."""

    code = "listen-refused"
    text = "the receiver cannot listen on {host}:{port}: {reason}"
    advice = "Name another port with --port; 0 takes any free one."
    exit_code = 69  # EX_UNAVAILABLE


class Receiver:
    """Takes deliveries that are signed with `secret`; `done` is set after `count` events."""

    def __init__(self, secret: Secret[str], count: int | None, *, as_json: bool) -> None:
        self._secret = secret
        self._left = count
        self._as_json = as_json
        self._seen: OrderedDict[str, None] = OrderedDict()
        self.done = asyncio.Event()

    async def handle(self, request: web.BaseRequest) -> web.Response:
        """One delivery."""
        body = await request.read()
        now_ms = time.time_ns() // 1_000_000
        header = request.headers.get(SIGNATURE_HEADER, "")
        try:
            check_delivery(self._secret.reveal(), header, body, now_ms)
            delivery = json.loads(body)
            event = dict(delivery["event"])
        except SignatureInvalid as error:
            click.echo(f"Refused a delivery: {error}", err=True)
            return web.Response(status=HTTPStatus.FORBIDDEN)
        except (ValueError, KeyError, TypeError):
            click.echo("Refused a delivery that is signed, and is none of this format.", err=True)
            return web.Response(status=HTTPStatus.BAD_REQUEST)
        self._print(delivery, event)
        return web.Response(status=HTTPStatus.NO_CONTENT)

    def _print(self, delivery: dict[str, Any], event: dict[str, Any]) -> None:
        event_id = str(event.get("id"))  # as in the header, which is not signed
        again = event_id in self._seen
        self._seen[event_id] = None
        if len(self._seen) > SEEN_MAX:
            self._seen.popitem(last=False)
        if self._as_json:
            click.echo(json.dumps({**delivery, "again": again}))
        else:
            fields = (event.get(key) for key in ("id", "kind", "account", "amount", "asset"))
            mark = "  (again)" if again else ""
            click.echo("  ".join(shown(field) for field in fields) + mark)
        if self._left is not None and not again:
            self._left -= 1
            if self._left <= 0:
                self.done.set()


async def serve(
    host: str, port: int, secret: Secret[str], count: int | None, as_json: bool
) -> None:
    """Receive until `count` events came, or a signal. Raises `ListenRefused`."""
    receiver = Receiver(secret, count, as_json=as_json)
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, receiver.done.set)
    runner = web.ServerRunner(web.Server(receiver.handle, access_log=None))
    await runner.setup()
    try:
        try:
            await web.TCPSite(runner, host, port).start()
        except OSError as error:
            reason = error.strerror or str(error)
            raise ListenRefused(host=host, port=port, reason=reason) from None
        port = runner.addresses[0][1]
        click.echo(f"Listening on http://{host}:{port}/", err=True)
        await receiver.done.wait()
    finally:
        await runner.cleanup()
