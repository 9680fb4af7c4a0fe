"""`chaind status`: what nodes say about themselves.

Law: every node that was named is shown, the silent ones too, and what strangers send never reaches
the terminal as it came.
"""

import http.client
import json
import sys
from collections.abc import Sequence
from typing import NamedTuple

import click

from chaind.cli.layout import BASE_PORT, HOST
from chaind.cli.parameters import NodeUrl
from chaind.wallet.errors import NO_HTTP, printable
from chaind.wallet.errors import NodeSilent as NodeSilent
from chaind.wallet.urls import split_url

ANSWER_S_MAX = 5.0  # a node that reads local state and takes longer is not well
ANSWER_BYTES_MAX = 1 << 20
HASH_DIGITS = 12  # enough to tell two blocks apart by eye
COLUMNS = ("url", "name", "role", "height", "hash", "view", "peers", "pending", "ready")


class _Reply(NamedTuple):
    """What an HTTP server answered."""

    status: int
    reason: str
    body: bytes


@click.command()
@click.option(
    "--url",
    "urls",
    multiple=True,
    type=NodeUrl(),
    default=[f"http://{HOST}:{BASE_PORT}"],
    show_default=True,
    help="API of a node; again for more.",
)
@click.option("--json", "as_json", is_flag=True, help="All that nodes say, a line for each.")
def status(urls: tuple[str, ...], as_json: bool) -> None:
    """Show what nodes say about themselves. Fails where one of them says nothing.

    \b
    Examples:
      chaind status
      chaind status --url http://127.0.0.1:8080 --url http://127.0.0.1:8081
      chaind status --json
    """
    answers: list[dict[str, object]] = []
    silent: list[NodeSilent] = []
    for url in urls:
        try:
            answers.append({"url": url, **fetch(url, "/status"), "health": fetch_health(url)})
        except NodeSilent as error:
            silent.append(error)
    if as_json:
        for answer in answers:
            click.echo(json.dumps(answer))
    elif answers:
        click.echo(table([COLUMNS, *(row(answer) for answer in answers)]))
    for silence in silent:
        click.echo(f"Error: {silence}", err=True)
    if silent:
        click.echo(NodeSilent.advice, err=True)
        sys.exit(NodeSilent.exit_code)


def row(answer: dict[str, object]) -> tuple[str, ...]:
    """The cells of one node's answer, in the order of `COLUMNS`; "-" for what it does not say."""
    index, health = answer.get("validator_index"), answer["health"]
    assert isinstance(health, dict)
    reasons = health.get("reasons")
    why_not = "; ".join(map(str, reasons)) if isinstance(reasons, list) else ""
    shown = {
        **answer,
        "role": "full node" if index is None else f"validator {index}",
        "hash": str(answer.get("hash", "-"))[:HASH_DIGITS],
        "ready": "yes" if health.get("ready") is True else f"no: {why_not}",
    }
    return tuple(printable(str(shown.get(column, "-"))) for column in COLUMNS)


def table(rows: Sequence[Sequence[str]]) -> str:
    """Lines whose cells stand below each other."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return "\n".join(
        "  ".join(f"{cell:<{width}}" for cell, width in zip(cells, widths, strict=True)).rstrip()
        for cells in rows
    )


def fetch_health(url: str) -> dict[str, object]:
    """The node's readiness, {"ready": bool, "reasons": [text], …}. Raises `NodeSilent`."""
    reply = _get(url, "/health/ready", wait_s=ANSWER_S_MAX, bytes_max=ANSWER_BYTES_MAX)
    if reply.status not in (http.client.OK, http.client.SERVICE_UNAVAILABLE):
        raise _unexpected(url, reply)
    return _parse_object(url, reply.body)


def fetch(url: str, path: str, *, wait_s: float = ANSWER_S_MAX) -> dict[str, object]:
    """The JSON object that GET `path` of a node's API answers. Raises `NodeSilent`."""
    body = fetch_bytes(url, path, wait_s=wait_s, bytes_max=ANSWER_BYTES_MAX)
    return _parse_object(url, body)


def fetch_bytes(url: str, path: str, *, wait_s: float, bytes_max: int) -> bytes:
    """The body that GET `path` of a node's API answers with 200. Raises `NodeSilent`."""
    reply = _get(url, path, wait_s=wait_s, bytes_max=bytes_max)
    if reply.status != http.client.OK:
        raise _unexpected(url, reply)
    return reply.body


def _unexpected(url: str, reply: _Reply) -> NodeSilent:
    return NodeSilent(url=url, reason=f"status {reply.status} {printable(reply.reason)}")


def _parse_object(url: str, body: bytes) -> dict[str, object]:
    try:
        answer = json.loads(body)
    except ValueError:
        answer = None
    if not isinstance(answer, dict):
        raise NodeSilent(url=url, reason="what answers there is not the API of a node")
    return answer


def _get(url: str, path: str, *, wait_s: float, bytes_max: int) -> _Reply:
    """The reply to GET `path`, whatever its status. Raises `NodeSilent`.

    Proxies of the environment are not asked: a node's API is on loopback or named outright.
    """
    parts = split_url(url)
    https = parts.scheme == "https"
    kind = http.client.HTTPSConnection if https else http.client.HTTPConnection
    assert parts.hostname is not None
    try:
        connection = kind(parts.hostname, parts.port, timeout=wait_s)
        try:
            connection.request("GET", parts.path.rstrip("/") + path)
            response = connection.getresponse()
            return _Reply(response.status, response.reason, response.read(bytes_max))
        finally:
            connection.close()
    except http.client.InvalidURL as error:
        raise NodeSilent(url=url, reason=str(error)) from None
    except TimeoutError:
        raise NodeSilent(url=url, reason=f"nothing came within {wait_s:g} s") from None
    except (http.client.HTTPException, ConnectionResetError):
        # A peer-to-peer port hangs up, or speaks Noise.
        raise NodeSilent(url=url, reason=NO_HTTP) from None
    except (OSError, ValueError) as error:  # ValueError: what no host can be called
        reason = getattr(error, "strerror", None) or str(error) or type(error).__name__
        raise NodeSilent(url=url, reason=reason) from None
