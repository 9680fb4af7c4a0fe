"""`chaind run`: one node in the foreground."""

import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import click

from chaind.cli.descriptors import raise_limit
from chaind.cli.parameters import Whole
from chaind.cli.ports import PortsBusy, busy
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


class PortTwice(LocalFault):
    """One port for two doors."""

    code = "port-twice"
    text = "port {port} of {host} is given to the API and to peers: one of them needs another"
    advice = "Choose with --api-port and --p2p-port; 0 takes any free one."
    exit_code = 78  # EX_CONFIG


class OtherChain(LocalFault):
    """The home follows another chain than the configuration names."""

    code = "other-chain"
    text = "{home} follows another chain than that of {genesis}"
    advice = "Name another directory with --home, or leave [node] chain as it was."
    exit_code = 78  # EX_CONFIG


class ValidatorKeyAbsent(LocalFault):
    """The key that the node was told to vote with is not there."""

    code = "validator-key-absent"
    text = "[node] validator_key names {path}, and there is no such file"
    advice = (
        "Put the key there, or leave the setting empty: the node then uses validator.key in its "
        "home, and makes one when it begins a chain."
    )
    exit_code = 78  # EX_CONFIG


@click.command()
@click.option(
    "--config",
    "config_file",
    type=click.Path(path_type=Path, dir_okay=False),
    help="Settings.  [default: ./chaind.toml if it is there, else built-in defaults]",
)
@click.option("--home", type=click.Path(file_okay=False), help="Data directory.")
@click.option("--api-port", type=Whole(0, 65_535), help="Port of the HTTP API.")
@click.option("--p2p-port", type=Whole(0, 65_535), help="Port for other nodes.")
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
    from chaind.node.config import load

    options = {
        "node.home": home,
        "api.api_port": api_port,
        "network.p2p_port": p2p_port,
        "network.peers": list(peers) or None,
    }
    config = named(load(config_file or settings_file(), os.environ, options))
    prepare_home(config)
    raise_limit()
    from chaind.cli.daemon import run as run_node

    sys.exit(run_node(config))


def settings_file() -> Path | None:
    """The file of settings in the current directory, where there is one."""
    from chaind.node.config import FILE_NAME

    path = Path(FILE_NAME)
    return path if path.is_file() else None


def named(config: "Config") -> "Config":
    """The configuration, with a node that has no name of its own called after its home."""
    import msgspec

    from chaind.node.config import NodeSection

    name = config.node.home_path().resolve().name
    if config.node.name != NodeSection().name or not name:
        return config
    return msgspec.structs.replace(config, node=msgspec.structs.replace(config.node, name=name))


def prepare_home(config: "Config") -> None:
    """See that the home holds the chain that the configuration asks for; begin or join it if not.

    Raises `PortTwice`, `ValidatorKeyAbsent`, `NoChain`, `OtherChain`, `PortsBusy` before a new home
    is made, or what `chains` raises.
    """
    from chaind.cli.chains import create_network, join_chain, refuse_taken
    from chaind.node.config import DEV_CHAIN
    from chaind.node.home import Home
    from chaind.primitives.genesis import Genesis

    api, network = config.api, config.network
    if api.api_port == network.p2p_port != 0 and api.host == network.host:
        raise PortTwice(port=api.api_port, host=api.host)
    home, key_file = Home(config.node.home_path()), config.node.validator_key_path()
    if config.node.validator_key and not key_file.exists():
        raise ValidatorKeyAbsent(path=key_file)
    genesis_file = Path(config.node.chain).expanduser()
    joins = config.node.chain != DEV_CHAIN
    if home.initialised:
        if joins and Genesis.load(genesis_file).hash != Genesis.load(home.genesis).hash:
            raise OtherChain(home=home.path, genesis=genesis_file)
        return
    refuse_taken(home)
    if config.network.peers and not joins:
        raise NoChain(home=home.path)
    refuse_busy_ports(config)
    if joins:
        join_chain(home, genesis_file)
        click.echo(f"{home.path} now follows the chain of {genesis_file}.", err=True)
    else:
        create_network([(home, key_file)])
        click.echo(
            f"{home.path} holds a new development chain with one validator, whose key is "
            f"{key_file}.",
            err=True,
        )


def refuse_busy_ports(config: "Config") -> None:
    """Raise `PortsBusy` where the node could not listen."""
    doors = ((config.api.host, config.api.api_port), (config.network.host, config.network.p2p_port))
    for host, port in doors:
        if busy(host, [port]):
            raise PortsBusy(ports=port, host=host)
