"""`chaind webhooks`: the subscriptions of a node, and a receiver to try them with.

Law: the secret and the node's token come from files, descriptors, the environment or a prompt,
never from arguments; nothing prints them.
"""

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from chaind.cli.layout import HOST
from chaind.cli.node_door import ask_node, node_options
from chaind.cli.parameters import Descriptor, Whole

if TYPE_CHECKING:
    from chaind.wallet.secret import Secret

SECRET_VARIABLE = "CHAIND_WEBHOOK_SECRET"  # noqa: S105 — a name
ROUTE = "/api/v1/webhooks"
SECRET_CHARS_MIN = 16  # as the nodes demand
LISTEN_PORT = 8900
COLUMNS = ("id", "url", "cursor", "pending", "delivered", "failures", "dead", "last error")


secret_option = click.option(
    "--secret-fd",
    type=Descriptor(),
    metavar="N",
    help=f"Read the secret from this descriptor.  [default: {SECRET_VARIABLE}, else ask]",
)
json_option = click.option("--json", "as_json", is_flag=True, help="Print for machines.")


@click.group()
def webhooks() -> None:
    """Have a node post every final movement of money to a URL.

    Deliveries carry X-Chaind-Event-Id and X-Chaind-Signature: t=MS,v1=HEX, where HEX is
    HMAC-SHA256 with the secret over MS, a full stop, and the body. They come in the order of the
    chain, one at a time, at least once: an id that was seen before is a repetition. What is not
    answered with 2xx within 10 seconds is tried again after pauses that grow to 5 minutes, for a
    day ([webhooks] retry_for_s); then it is a dead letter, and the next event gets its turn.

    The secret, 16 characters or more, comes from CHAIND_WEBHOOK_SECRET, a descriptor or a prompt.

    \b
    Examples:
      chaind webhooks listen
      chaind webhooks add http://127.0.0.1:8900/
      chaind webhooks list
    """


@webhooks.command(name="list")
@node_options
@json_option
def list_(url: str, home: Path | None, token_file: Path | None, as_json: bool) -> None:
    """Show the subscriptions of a node.

    \b
    Example:
      chaind webhooks list --home devnet/node0
    """
    from chaind.cli.status import table

    answer = ask_node(url, home, token_file, "GET", ROUTE)
    if as_json:
        click.echo(json.dumps(answer))
        return
    click.echo(table([COLUMNS, *map(row, answer["webhooks"])]))


@webhooks.command()
@click.argument("own", metavar="ID")
@node_options
def show(own: str, url: str, home: Path | None, token_file: Path | None) -> None:
    """Show one subscription with its dead letters, as JSON.

    \b
    Example:
      chaind webhooks show 0123456789abcdef --home devnet/node0
    """
    click.echo(json.dumps(ask_node(url, home, token_file, "GET", f"{ROUTE}/{own}"), indent=2))


@webhooks.command()
@click.argument("target")
@node_options
@secret_option
@click.option("--event", "kinds", multiple=True, help="Only events of this kind; again for more.")
@click.option("--account", help="Only what this address or named account holds.")
@click.option("--asset", help="Only this asset.")
@click.option("--cursor", help="Where in the event feed to begin.  [default: now]")
@json_option
def add(
    target: str,
    url: str,
    home: Path | None,
    token_file: Path | None,
    secret_fd: int | None,
    kinds: tuple[str, ...],
    account: str | None,
    asset: str | None,
    cursor: str | None,
    as_json: bool,
) -> None:
    """Subscribe: have events posted to TARGET.

    \b
    Examples:
      chaind webhooks add https://shop.example/paid --account alice --event payment
      chaind webhooks add http://127.0.0.1:8900/ --cursor 0.0.0 --home devnet/node0
    """
    secret = read_webhook_secret(secret_fd, new=True)
    body = {
        "url": target, "secret": secret.reveal(), "events": list(kinds), "account": account,
        "asset": asset,
    }  # fmt: skip
    if cursor is not None:
        body["cursor"] = cursor
    answer = ask_node(url, home, token_file, "POST", ROUTE, body)
    if as_json:
        click.echo(json.dumps(answer))
        return
    click.echo(f"Webhook {answer['id']} posts what is final from {answer['cursor']} on.")


@webhooks.command()
@click.argument("own", metavar="ID")
@node_options
def remove(own: str, url: str, home: Path | None, token_file: Path | None) -> None:
    """End a subscription.

    \b
    Example:
      chaind webhooks remove 0123456789abcdef --home devnet/node0
    """
    answer = ask_node(url, home, token_file, "DELETE", f"{ROUTE}/{own}")
    click.echo(f"Webhook {answer['id']} is removed; another one can go on from {answer['cursor']}.")


@webhooks.command()
@click.argument("own", metavar="ID")
@click.option("--event-id", help="Only this dead letter.")
@node_options
def retry(
    own: str, event_id: str | None, url: str, home: Path | None, token_file: Path | None
) -> None:
    """Send dead letters once more, and end a pause.

    \b
    Example:
      chaind webhooks retry 0123456789abcdef --home devnet/node0
    """
    body = {} if event_id is None else {"event_id": event_id}
    answer = ask_node(url, home, token_file, "POST", f"{ROUTE}/{own}/retry", body)
    due = sum(1 for letter in answer["dead_letters"] if letter["due"])
    click.echo(f"Webhook {answer['id']} tries at once; {due} dead letter(s) come first.")


@webhooks.command()
@click.option("--host", default=HOST, show_default=True, help="Address to listen on.")
@click.option("--port", type=Whole(0, 65_535), default=LISTEN_PORT, show_default=True)
@click.option("--count", type=Whole(1, 1_000_000_000), help="End after so many events.")
@secret_option
@json_option
def listen(host: str, port: int, count: int | None, secret_fd: int | None, as_json: bool) -> None:
    """Receive webhooks, check their signatures, and print the events.

    Each event is printed before it is answered, so that none is lost; a repetition is printed as
    well, and marked. Ctrl-C ends it.

    \b
    Examples:
      chaind webhooks listen
      chaind webhooks listen --port 9000 --json
    """
    import asyncio

    from chaind.cli.webhook_listen import serve

    secret = read_webhook_secret(secret_fd, new=False)
    if len(secret.reveal()) < SECRET_CHARS_MIN:
        reason = f"The secret has fewer than {SECRET_CHARS_MIN} characters: no node takes it."
        raise click.UsageError(reason)
    asyncio.run(serve(host, port, secret, count, as_json))


def row(answer: dict[str, Any]) -> tuple[str, ...]:
    """The cells of one subscription, in the order of `COLUMNS`."""
    from chaind.wallet.errors import printable

    keys = ("id", "url", "cursor", "pending", "delivered", "failures", "dead_letter_count")
    error = answer.get("last_error") or "-"
    return (*(printable(str(answer.get(key, "-"))) for key in keys), printable(str(error)))


def read_webhook_secret(descriptor: int | None, *, new: bool) -> "Secret[str]":
    """The subscription's secret; asked for twice where it is `new`. Raises `SecretAbsent`."""
    from chaind.cli.wallet_secrets import read_secret

    return read_secret("webhook secret", descriptor, "secret", twice=new, variable=SECRET_VARIABLE)
