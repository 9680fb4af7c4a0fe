"""What `chaind mine --url http://…` says to a node to be let in.

Law: a secret comes from a file, a descriptor, the environment or a prompt, never from an argument;
it is shown nowhere, and another machine gets none that was not meant for it.
"""

from base64 import b64encode
from collections.abc import Callable
from pathlib import Path
from urllib.parse import urlsplit

import click

from chaind import __version__
from chaind.api.guards import is_loopback
from chaind.cli.mine_pool import mine_with, tell
from chaind.cli.wallet_secrets import forbid_core_dumps, read_secret
from chaind.miner.crew import Crew
from chaind.miner.gbt_mining import GbtMining
from chaind.node.config import NodeSection
from chaind.node.home import Home
from chaind.wallet.secret import Secret

PASSWORD_VARIABLE = "CHAIND_MINE_PASSWORD"  # noqa: S105 — a name
COOKIE_BYTES_MAX = 1_024


def authorisation(
    url: str, user: str | None, password_fd: int | None, cookie_file: Path | None
) -> Callable[[], str]:
    """What gives the Authorization header. Raises `SecretAbsent`."""
    if user is None and cookie_file is None and not is_loopback(urlsplit(url).hostname or ""):
        raise click.UsageError(
            "--url names another machine, which has no use for this one's cookie: "
            "give --user, or --cookie-file."
        )
    forbid_core_dumps()
    if user is not None:
        if ":" in user:
            raise click.UsageError("--user is a name alone; its password is asked for.")
        secret = read_secret("password", password_fd, "password", variable=PASSWORD_VARIABLE)
        header = Secret(_basic(f"{user}:{secret.reveal()}".encode()))
        return header.reveal
    path = cookie_file or Home(NodeSection().home_path()).rpc_cookie
    if cookie_file is not None and not cookie_file.exists():
        raise click.UsageError(
            f"--cookie-file {cookie_file} is not there: does the node run? Nodes of a chain of "
            "miners write one; a node of validators has none, and no work to give."
        )

    def read() -> str:
        """A node that starts anew has another cookie, and none while it does not run."""
        try:
            with path.open("rb") as file:
                return _basic(file.read(COOKIE_BYTES_MAX).strip())
        except FileNotFoundError:
            return ""

    return read


def mine_for_node(
    crew: Crew,
    url: str,
    name: str,
    authorise: Callable[[], str],
    seconds: float | None,
    *,
    as_json: bool,
) -> None:
    """Mine until Ctrl-C, or for `seconds`. Raises `NodeRefusal`, `SecretRefused`,
    `SchemeMismatch`, `NeverConnected`, `NotHandedIn`, `WorkerDied` or `WorkerStuck`."""
    mining = GbtMining(
        crew=crew,
        url=url,
        address=name.partition(".")[0],  # as pools take it: ADDRESS.WORKER
        authorise=authorise,
        tell=tell,
        agent=f"chaind/{__version__}",
    )
    mine_with(mining, url, seconds, as_json=as_json)


def _basic(credentials: bytes) -> str:
    return "Basic " + b64encode(credentials).decode()
