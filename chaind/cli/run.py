"""`chaind run`: one node in the foreground."""

import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import click

from chaind.primitives.errors import LocalFault

if TYPE_CHECKING:
    from chaind.node.config import Config


class NoChain(LocalFault):
    """Peers are given, but not the chain they keep."""

    code = "no-chain"
    text = "{home} holds no chain, and with peers given a new one is not begun"
    advice = (
        "Make it follow theirs: chaind init --home DIR --genesis FILE, with the genesis.json of "
        "any node of that network."
    )
    exit_code = 78  # EX_CONFIG


class OtherChain(LocalFault):
    """The home follows another chain than the configuration names."""

    code = "other-chain"
    text = "{home} follows another chain than that of {genesis}"
    advice = "Name another directory with --home, or leave [node] chain as it was."
    exit_code = 78  # EX_CONFIG


@click.command()
@click.option(
    "--config",
    "config_file",
    type=click.Path(path_type=Path, dir_okay=False),
    help="Settings.  [default: ./chaind.toml if it is there, else built-in defaults]",
)
@click.option("--home", type=click.Path(file_okay=False), help="Data directory.")
@click.option("--api-port", type=click.IntRange(0, 65_535), help="Port of the HTTP API.")
@click.option("--p2p-port", type=click.IntRange(0, 65_535), help="Port for other nodes.")
@click.option(
    "--peer",
    "peers",
    multiple=True,
    metavar="HOST:PORT",
    help="A node to stay connected to; again for more.",
)
def run(
    config_file: Path | None,
    home: str | None,
    api_port: int | None,
    p2p_port: int | None,
    peers: tuple[str, ...],
) -> None:
    """Run one node until Ctrl-C.

    A home that holds no chain yet begins a development chain with this node as its only
    validator, unless peers are given. Options go before CHAIND_SECTION_KEY variables, and these
    before the file.

    \b
    Examples:
      chaind run
      chaind run --home net/node1 --api-port 8081 --p2p-port 9081 --peer 127.0.0.1:9080
      CHAIND_CUSTODY_ENABLED=true chaind run --home dev
    """
    from chaind.node.config import FILE_NAME, load

    if config_file is None and Path(FILE_NAME).is_file():
        config_file = Path(FILE_NAME)
    options = {
        "node.home": home,
        "api.api_port": api_port,
        "network.p2p_port": p2p_port,
        "network.peers": list(peers) or None,
    }
    config = load(config_file, os.environ, options)
    prepare_home(config)
    from chaind.cli.daemon import run as run_node

    sys.exit(run_node(config))


def prepare_home(config: "Config") -> None:
    """See that the home holds the chain that the configuration asks for; begin or join it if not.

    Raises `NoChain`, `OtherChain`, or what `chains` raises.
    """
    from chaind.cli.chains import create_network, join_chain
    from chaind.node.config import DEV_CHAIN
    from chaind.node.home import Home
    from chaind.primitives.genesis import Genesis

    home = Home(config.node.home_path())
    genesis_file = Path(config.node.chain).expanduser()
    joins = config.node.chain != DEV_CHAIN
    if home.initialised:
        if joins and Genesis.load(genesis_file).hash != Genesis.load(home.genesis).hash:
            raise OtherChain(home=home.path, genesis=genesis_file)
    elif joins:
        join_chain(home, genesis_file)
        click.echo(f"{home.path} now follows the chain of {genesis_file}.", err=True)
    elif config.network.peers:
        raise NoChain(home=home.path)
    else:
        create_network([(home, config.node.validator_key_path())])
        click.echo(f"{home.path} holds a new development chain with one validator.", err=True)
