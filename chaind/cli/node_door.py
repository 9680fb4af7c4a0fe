"""What the commands share that ask a running node for something which needs its token."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import click

from chaind.cli.layout import BASE_PORT, HOST
from chaind.cli.parameters import FilePath, NodeUrl
from chaind.primitives.errors import LocalFault

F = TypeVar("F", bound=Callable[..., Any])

ANSWER_S_MAX = 15.0  # a name may be resolved for some seconds before the answer


class TokenAbsent(LocalFault):
    """No file with a node's token."""

    code = "token-absent"
    text = "there is no token of a node at {path}"
    advice = (
        "Name the home of a running node with --home, or the file with --token-file. A node writes "
        "api.token into its home when it starts, and removes it when it ends."
    )
    exit_code = 77  # EX_NOPERM


def node_options(command: F) -> F:
    """Which node, and its token."""
    command = click.option(
        "--token-file",
        type=FilePath(path_type=Path, dir_okay=False),
        help="File with the node's token.  [default: api.token in --home]",
    )(command)
    command = click.option(
        "--home",
        type=FilePath(path_type=Path, file_okay=False),
        help="Data directory of the node.  [default: the user's own, as for `chaind run`]",
    )(command)
    return click.option(
        "--url",
        type=NodeUrl(),
        default=f"http://{HOST}:{BASE_PORT}",
        show_default=True,
        help="API of the node.",
    )(command)


def ask_node(
    url: str,
    home: Path | None,
    token_file: Path | None,
    method: str,
    path: str,
    body: dict[str, Any] | None = None,
) -> Any:
    """The JSON that a node answers. Raises `TokenAbsent`, `NodeSilent`, `Refused`, …"""
    import asyncio

    import aiohttp

    from chaind.api.guards import read_token
    from chaind.node.config import NodeSection
    from chaind.node.home import Home
    from chaind.wallet.secret import Secret
    from chaind.wallet.transport import Nodes

    if token_file is None:
        token_file = Home(home or NodeSection().home_path()).api_token
    if not token_file.is_file():
        raise TokenAbsent(path=token_file)
    token = Secret(read_token(token_file))
    data = None if body is None else json.dumps(body).encode()

    async def once() -> Any:
        async with aiohttp.ClientSession() as session:
            nodes = Nodes([url], session, token=token, pause=asyncio.sleep)
            reply = await nodes.once(
                nodes.url, method, path, data,
                {"Content-Type": "application/json"}, answer_s=ANSWER_S_MAX,
            )  # fmt: skip
            if reply.status > 299:
                raise reply.error()
            return reply.decode(dict)

    return asyncio.run(once())
