"""`chaind run`: one node in the foreground."""

import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import click

from chaind.cli.descriptors import raise_limit
from chaind.cli.parameters import FilePath, Whole
from chaind.cli.ports import refuse_busy_doors
from chaind.primitives.errors import LocalFault

if TYPE_CHECKING:
    from chaind.node.config import Config


class HomeAbsent(LocalFault):
    """A home was named, and nothing is there: a slip of the pen is no wish for a new chain."""

    code = "home-absent"
    text = "there is no directory {path}, and `chaind run` makes none that was named"
    advice = (
        "Correct the name. To begin a development chain there: chaind init --home DIR; to join a "
        "chain, add --genesis FILE."
    )
    exit_code = 78  # EX_CONFIG


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
    type=FilePath(path_type=Path, dir_okay=False),
    help="Settings.  [default: ./chaind.toml if it is there, else built-in defaults]",
)
@click.option("--home", type=FilePath(file_okay=False), help="Data directory.")
@click.option("--api-port", type=Whole(0, 65_535), help="Port of the HTTP API.")
@click.option("--p2p-port", type=Whole(0, 65_535), help="Port for other nodes.")
@click.option(
    "--stratum-port", type=Whole(0, 65_535), help="Port for miners, on a chain of miners."
)
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
    stratum_port: int | None,
    peers: tuple[str, ...],
) -> None:
    """Run one node until Ctrl-C.

    In the user's own home, and in an empty directory given as --home, a development chain begins
    with this node as its only validator, unless peers are given or a chain is named. Options go
    before CHAIND_SECTION_KEY variables, and these before the file.

    \b
    Examples:
      chaind run
      chaind init --home dev && chaind run --home dev
      chaind run --home net/node1 --api-port 8081 --p2p-port 9081 --peer 127.0.0.1:9080
      CHAIND_CUSTODY_ENABLED=true chaind run --home dev
    """
    from chaind.node.config import load

    options = {
        "node.home": home,
        "api.api_port": api_port,
        "network.p2p_port": p2p_port,
        "miner.stratum_port": stratum_port,
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

    Raises `PortTwice`, `ValidatorKeyAbsent`, `NoChain`, `OtherChain`, `HomeAbsent`, `PortsBusy`
    before a new home is made, or what `chains` raises.
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
    theirs = None if config.node.chain == DEV_CHAIN else Genesis.load(genesis_file)
    if home.initialised:
        if theirs is not None and theirs.hash != Genesis.load(home.genesis).hash:
            raise OtherChain(home=home.path, genesis=genesis_file)
        return
    brought = [genesis_file, *config.named_files()]
    refuse_taken(home, brought)
    if network.peers and theirs is None:
        raise NoChain(home=home.path)
    if config.node.home and not home.path.exists():
        raise HomeAbsent(path=home.path)
    refuse_busy_doors(config)
    if theirs is not None:
        join_chain(home, genesis_file, brought)
        click.echo(f"{home.path} now follows the chain of {genesis_file}.", err=True)
    else:
        create_network([(home, key_file)], brought)
        click.echo(
            f"{home.path} held no chain: a NEW development chain begins there, with this node as "
            f"its one validator, whose key is {key_file}.",
            err=True,
        )
