"""`chaind init`: the homes of a new development network, or one that joins a chain."""

from pathlib import Path

import click

from chaind.cli.layout import (
    BASE_PORT,
    HOST,
    NODES_MAX,
    STRATUM_OFFSET,
    place,
    places,
    run_arguments,
    shell_line,
)
from chaind.cli.parameters import FilePath, Whole


@click.command()
@click.option(
    "--home",
    required=True,
    type=FilePath(path_type=Path, file_okay=False),
    help="Directory to make.",
)
@click.option(
    "--validators",
    type=Whole(1, NODES_MAX),
    help="Begin a new development chain with so many: 1 makes --home itself the node's home, "
    "more make node0, node1, … in it.  [default: 1]",
)
@click.option(
    "--mode",
    type=click.Choice(["bft", "pow"]),
    default="bft",
    show_default=True,
    help="Who makes the blocks of a new chain: validators, or miners.",
)
@click.option(
    "--genesis",
    type=FilePath(path_type=Path, exists=True, dir_okay=False),
    help="Join the chain of this genesis file instead, as a full node.",
)
def init(home: Path, validators: int | None, mode: str, genesis: Path | None) -> None:
    """Make the homes of a new chain, or join one.

    \b
    Examples:
      chaind init --home net --validators 3
      chaind init --home miner --mode pow
      chaind init --home observer --genesis net/node0/genesis.json
    """
    from chaind.cli.chains import (
        create_mined_chain,
        create_network,
        join_chain,
        refuse_network,
        refuse_node_home,
    )
    from chaind.node.home import Home

    if genesis is not None:
        if validators is not None:
            raise click.UsageError("--validators begins a chain and --genesis joins one: not both.")
        join_chain(Home(home), genesis)
        click.echo(f"{home} follows the chain of {genesis}. Beside a node with the default ports:")
        newcomer = place(home, index=NODES_MAX, base_port=BASE_PORT)
        click.echo(f"\n  {shell_line(run_arguments(newcomer, [place(genesis.parent)]))}")
        return
    if mode == "pow":
        if validators is not None:
            raise click.UsageError("A chain of miners has no validators.")
        create_mined_chain([Home(home)])
        node = place(home)._replace(stratum_port=BASE_PORT + STRATUM_OFFSET)
        url = f"stratum+tcp://{HOST}:{node.stratum_port}"
        click.echo(f"{home} holds a new development chain of miners. Start the node, and mine:\n")
        click.echo(f"  {shell_line(run_arguments(node, [node]))}")
        click.echo(f"  {shell_line(['mine', '--url', url, '--address', 'ADDRESS.WORKER'])}")
        return
    if validators and validators > 1:
        refuse_node_home(home)
        refuse_network(home)
        nodes = places(home, validators)
    else:
        nodes = [place(home)]
    homes = [Home(node.home) for node in nodes]
    create_network([(each, each.validator_key) for each in homes])
    where = "the node" if len(nodes) == 1 else "each node in a shell of its own"
    click.echo(f"{home} holds a new development chain: {len(nodes)} validator(s). Start {where}:\n")
    for node in nodes:
        click.echo(f"  {shell_line(run_arguments(node, nodes))}")
