"""`chaind status`: what nodes say about themselves."""

import http.client
import json
from urllib.parse import urlsplit

import click

from chaind.cli.layout import BASE_PORT, HOST
from chaind.primitives.errors import LocalFault

ANSWER_S_MAX = 5.0  # a node that reads local state and takes longer is not well
ANSWER_BYTES_MAX = 1 << 20


class NodeSilent(LocalFault):
    """No usable answer from a node's API."""

    code = "node-silent"
    text = "{url} gives no answer: {reason}"
    advice = "Is the node running there? `chaind run` and `chaind devnet` say where they listen."
    exit_code = 69  # EX_UNAVAILABLE


@click.command()
@click.option(
    "--url",
    "urls",
    multiple=True,
    default=[f"http://{HOST}:{BASE_PORT}"],
    show_default=True,
    help="API of a node; again for more.",
)
@click.option("--json", "as_json", is_flag=True, help="Print what the node answers, for machines.")
def status(urls: tuple[str, ...], as_json: bool) -> None:
    """Show what a node says about itself.

    \b
    Examples:
      chaind status
      chaind status --url http://127.0.0.1:8080 --url http://127.0.0.1:8081
      chaind status --json
    """
    for number, url in enumerate(urls):
        answer = fetch(url, "/status")
        if as_json:
            click.echo(json.dumps(answer))
            continue
        if number:
            click.echo()
        rows = [("url", url), *flatten(answer)]
        width = max(len(name) for name, _ in rows)
        for name, value in rows:
            click.echo(f"{name:<{width}}  {value}")


def flatten(answer: dict[str, object], prefix: str = "") -> list[tuple[str, str]]:
    """(name, value) rows of a JSON object: nested names joined by dots, lists as their length."""
    rows: list[tuple[str, str]] = []
    for key, value in answer.items():
        name = f"{prefix}{key}"
        match value:
            case dict():
                rows += flatten(value, f"{name}.")
            case list():
                rows.append((name, str(len(value))))
            case str():
                rows.append((name, value))
            case _:
                rows.append((name, json.dumps(value)))
    return rows


def fetch(url: str, path: str, *, wait_s: float = ANSWER_S_MAX) -> dict[str, object]:
    """The JSON object that GET `path` of a node's API answers. Raises `NodeSilent`.

    Proxies of the environment are not asked: a node's API is on loopback or named outright.
    """
    parts = urlsplit(url)
    kinds = {"http": http.client.HTTPConnection, "https": http.client.HTTPSConnection}
    if parts.scheme not in kinds or not parts.hostname:
        raise NodeSilent(url=url, reason="not an http:// or https:// address")
    try:
        connection = kinds[parts.scheme](parts.hostname, parts.port, timeout=wait_s)
        try:
            connection.request("GET", parts.path.rstrip("/") + path)
            response = connection.getresponse()
            answer = json.loads(response.read(ANSWER_BYTES_MAX))
        finally:
            connection.close()
    except (OSError, http.client.HTTPException, ValueError) as error:  # ValueError: port, JSON
        raise NodeSilent(url=url, reason=str(error) or type(error).__name__) from None
    if response.status != http.client.OK or not isinstance(answer, dict):
        raise NodeSilent(url=url, reason=f"status {response.status} {response.reason}")
    return answer
