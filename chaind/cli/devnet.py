"""`chaind devnet`: a network of real node processes on this machine.

Law: one devnet per directory and one chain per directory. Nothing is made or started before the
settings are read and every port is free; whatever was started is ended when the start fails. On a
network in the background the command starts the nodes that are down, and no others.
"""

import os
import shutil
import signal
import sys
import time
from collections.abc import Sequence
from pathlib import Path

import click

from chaind.cli.layout import (
    BASE_PORT,
    BASE_PORT_MAX,
    BASE_PORT_MIN,
    HOST,
    NODES_MAX,
    Place,
    devnet_line,
    places,
)
from chaind.cli.parameters import FilePath, Whole
from chaind.cli.ports import DevnetPortsBusy, busy
from chaind.cli.processes import Signals, mark
from chaind.cli.supervise import (
    Child,
    Record,
    end_children,
    restart_line,
    start_nodes,
    stop_network,
    wait_ready,
    watch,
)
from chaind.primitives.errors import LocalFault
from chaind.storage.files import OsFiles
from chaind.storage.lock import DirectoryLock


class DevnetRunning(LocalFault):
    """One devnet per directory."""

    code = "devnet-running"
    text = "a devnet already runs in {home} (processes {pids}){down}"
    advice = "End it with `chaind devnet --stop` and the same --home, or name another directory."
    exit_code = 80  # as for a node's directory in use


class OtherNetwork(LocalFault):
    """The directory holds a network of another size."""

    code = "other-network"
    text = "{home} holds a network of {found} node(s), not {wanted}"
    advice = "Resume it with --nodes as it was, or delete it and begin anew with --reset."
    exit_code = 73  # EX_CANTCREAT


class NotADevnet(LocalFault):
    """Homes that no devnet made are not its to delete."""

    code = "not-a-devnet"
    text = "{home} has {names}, and no devnet was started there: --reset deletes none of it"
    advice = "Name another directory with --home, or move these away yourself."
    exit_code = 73  # EX_CANTCREAT


class NotForAll(LocalFault):
    """A setting that cannot hold for every node of a network."""

    code = "not-for-all"
    text = "[node] {key} is set, and the nodes of a devnet each have their own"
    advice = "Take it out of chaind.toml or the environment, or run single nodes: `chaind run`."
    exit_code = 78  # EX_CONFIG


class SeedNotShared(LocalFault):
    """Named accounts that only some nodes would know, or that hold nothing."""

    code = "seed-not-shared"
    text = "[custody] {key} is set, and the nodes of a devnet share the published seed"
    advice = (
        "Take it out of chaind.toml or the environment, or run a node with a seed of its own: "
        "`chaind run`."
    )
    exit_code = 78  # EX_CONFIG


class OtherMode(LocalFault):
    """The directory holds a chain of the other kind."""

    code = "other-mode"
    text = "{home} holds a chain of {found}, not of {wanted}"
    advice = "Resume it without --mode and --miners, or delete it and begin anew with --reset."
    exit_code = 73  # EX_CANTCREAT


@click.command()
@click.option(
    "--nodes",
    "--validators",
    "count",
    type=Whole(1, NODES_MAX),
    default=4,
    show_default=True,
    help="How many; each is a validator, unless miners make the blocks.",
)
@click.option(
    "--mode",
    type=click.Choice(["bft", "pow"]),
    help="Who makes the blocks: validators, or miners.  [default: as in --home, else bft]",
)
@click.option(
    "--miners",
    type=Whole(1, NODES_MAX),
    help="With --mode pow: how many of the --nodes mine, with one thread each.  [default: 1]",
)
@click.option(
    "--home",
    type=FilePath(path_type=Path, file_okay=False),
    default=Path("devnet"),
    show_default=True,
    help="Directory of the network: node0, node1, … in it, each with its log.",
)
@click.option(
    "--base-port",
    type=Whole(BASE_PORT_MIN, BASE_PORT_MAX),
    default=BASE_PORT,
    show_default=True,
    help="API of node i on this + i, P2P on this + 1000 + i, Stratum on this + 2000 + i.",
)
@click.option("--reset", is_flag=True, help="Delete the chain of --home and begin a new one.")
@click.option("--detach", is_flag=True, help="Return once every node has a block.")
@click.option("--stop", is_flag=True, help="End the devnet of --home.")
def devnet(
    count: int,
    mode: str | None,
    miners: int | None,
    home: Path,
    base_port: int,
    reset: bool,
    detach: bool,
    stop: bool,
) -> None:
    """Run a network of nodes on this machine.

    Twelve accounts are funded, two of them with what the markets trade; the banner shows them
    and what to type.

    With --mode pow the first --miners nodes mine, and each node serves miners with Stratum. A block
    comes every 2 s on average and is final under 6 others. The nodes hold back: they hash only as
    fast as that takes at the difficulty of the first blocks, 8,000 times a second, and no faster
    than a quarter of a core allows when others have made it harder. Such a miner of 10 MH/s brings
    a block a second for some ten minutes, and some of its shares are stale, until the difficulty is
    right for it; once it leaves, blocks take up to 20 s for about as long.
    CHAIND_MINER_PACE_PERCENT=0 lets the nodes hash as fast as they can. A payment with wait=final
    waits for its block and 6 others, some 20 s.

    The chain lives in --home: a restart resumes it. Ctrl-C ends every node; a detached network is
    ended by --stop, and where nodes of it are down, the same command starts them again. Nodes read
    ./chaind.toml and CHAIND_SECTION_KEY variables as `chaind run` does.

    \b
    Examples:
      chaind devnet
      chaind devnet --validators 7 --home /tmp/seven --base-port 8200
      chaind devnet --detach
      chaind devnet --mode pow --nodes 2 --home /tmp/mined
      chaind devnet --stop
    """
    from chaind.cli.chains import refuse_node_home

    home = home.resolve()  # what is printed and recorded holds in any directory
    if stop:
        if reset or detach or mode or miners:
            raise click.UsageError("--stop goes with --home alone.")
        stop_network(home)
        return
    check_settings()
    refuse_node_home(home)
    if miners is not None and miners > count:
        raise click.UsageError(
            f"--miners {miners} is more than there are nodes: --nodes makes {count}. Each node "
            "mines in one thread; more miners connect by Stratum."
        )
    nodes = places(home, count, base_port, miners_of(home, mode, miners, reset=reset))
    refuse_busy_ports(vacant(home, nodes, reset=reset))  # a refusal must leave no directory
    OsFiles().make_dir(home)
    with DirectoryLock.acquire(home):
        starting = vacant(home, nodes, reset=reset)  # another start may have been quicker
        if len(starting) == len(nodes):
            prepare_homes(home, nodes, reset=reset)
            run_network(home, nodes, starting, detach=detach)
        else:
            names = ", ".join(node.name for node in starting)
            click.echo(f"A devnet runs in {home} without {names}: starting what is missing.")
            run_network(home, nodes, starting, detach=True)


def check_settings() -> None:
    """Read the nodes' settings once, before any is started.

    Raises `ConfigInvalid`, `NotForAll`, `SeedNotShared`.
    """
    from chaind.cli.run import settings_file
    from chaind.node.config import CustodySection, NodeSection, load

    config = load(settings_file(), os.environ)
    for key in ("validator_key", "chain"):
        if getattr(config.node, key) != getattr(NodeSection(), key):
            raise NotForAll(key=key)
    for key in ("mnemonic_file", "password_file", "password_fd"):
        if getattr(config.custody, key) != getattr(CustodySection(), key):
            raise SeedNotShared(key=key)


def miners_of(home: Path, mode: str | None, miners: int | None, *, reset: bool) -> int | None:
    """How many nodes mine; None on a chain of validators. Raises `OtherMode`."""
    from chaind.node.home import Home
    from chaind.primitives.genesis import Genesis

    if miners is not None and mode == "bft":
        raise click.UsageError("A chain of validators has no --miners.")
    wanted = mode or ("pow" if miners is not None else None)
    first = Home(home / "node0")
    found = Genesis.load(first.genesis).mode if first.initialised and not reset else None
    if found and wanted and wanted != found:
        who = {"bft": "validators", "pow": "miners"}
        raise OtherMode(home=home, found=who[found], wanted=who[wanted])
    if (wanted or found or "bft") == "bft":
        return None
    return miners or Record.read(home).miners or 1


def vacant(home: Path, nodes: Sequence[Place], *, reset: bool) -> list[Place]:
    """Those of `nodes` that do not run. Raises `DevnetRunning` where they cannot be started.

    They can where the rest of the same network runs in the background.
    """
    record = Record.read(home)
    running = record.alive()
    if not running:
        return list(nodes)
    known = places(home, len(record.nodes), record.base_port, record.miners)
    down = [node for node, process in zip(known, record.nodes, strict=True) if not process.alive()]
    supervised = record.supervisor in running
    if down and not supervised and not reset and known == list(nodes):
        return down
    words = f"; {', '.join(node.name for node in down)} is down" if down else ""
    if down and supervised:
        words += ", and starts with: " + "; ".join(restart_line(node, known) for node in down)
    elif down:
        options = ["--validators" if record.miners is None else "--nodes", str(len(known))]
        options += ["--base-port", str(record.base_port)]
        if record.miners is not None:
            options += ["--miners", str(record.miners)]
        words += ", and starts with: " + devnet_line(home, *options, "--detach")
    pids = ", ".join(str(process.pid) for process in running)
    raise DevnetRunning(home=home, pids=pids, down=words)


def refuse_busy_ports(nodes: Sequence[Place]) -> None:
    """Raise `DevnetPortsBusy` with every port that cannot be bound."""
    wanted = sorted(
        port for node in nodes for port in (node.api_port, node.p2p_port, node.stratum_port)
    )
    taken = busy(HOST, wanted)
    if taken:
        raise DevnetPortsBusy(ports=", ".join(map(str, taken)), host=HOST)


def prepare_homes(home: Path, nodes: Sequence[Place], *, reset: bool) -> None:
    """See that `home` holds the homes of these nodes and no others, with one chain."""
    from chaind.cli.chains import create_mined_chain, create_network
    from chaind.node.home import Home

    found = sorted(path for path in home.glob("node[0-9]*") if path.is_dir())
    if reset and found and not Record.path(home).exists():
        raise NotADevnet(home=home, names=", ".join(path.name for path in found))
    if reset:
        for path in found:
            with DirectoryLock.acquire(path):  # a node started by hand may live there
                shutil.rmtree(path)
        found = []
    if not any(Home(path).initialised for path in found):
        homes = [Home(node.home) for node in nodes]
        if nodes[0].stratum_port:
            create_mined_chain(homes)
            click.echo(
                f"Made a new development chain of miners for {len(nodes)} node(s) in {home}."
            )
        else:
            create_network([(each, each.validator_key) for each in homes])
            click.echo(f"Made a new development chain with {len(nodes)} validator(s) in {home}.")
        return
    complete = [path for path in found if Home(path).initialised]
    if set(complete) != {node.home for node in nodes}:
        raise OtherNetwork(home=home, found=len(complete), wanted=len(nodes))
    click.echo(f"Resuming the chain in {home}.")


def run_network(
    home: Path, nodes: Sequence[Place], starting: Sequence[Place], *, detach: bool
) -> None:
    """Start nodes and see them through: until they are ready, or until a signal."""
    from chaind.cli.banner import banner
    from chaind.primitives.genesis import Genesis

    with Signals() as signals:
        children: list[Child] = []
        keep = False
        try:
            started = time.monotonic()
            start_nodes(starting, nodes, children)
            record_network(home, nodes, children, detach=detach)
            wait_ready(children, signals)
            if not signals.stopping:
                click.echo(f"Ready after {time.monotonic() - started:.1f} s.")
                click.echo(banner(nodes, Genesis.load(nodes[0].home / "genesis.json")))
                if detach:
                    keep = True
                    click.echo(f"End it with: {devnet_line(home, '--stop')}")
                    return
                click.echo("Ctrl-C ends the network; the chain stays.")
                watch(children, signals)
        finally:
            if not keep:
                end_children(children)
    if detach:
        sys.exit(128 + signal.SIGINT)  # asked to stop before there was a network to leave behind


def record_network(
    home: Path, nodes: Sequence[Place], children: Sequence[Child], *, detach: bool
) -> None:
    """Note who runs: the children, and whichever nodes ran already."""
    # An earlier network in the directory may have been larger or smaller.
    marks = dict(zip(nodes, Record.read(home).nodes, strict=False))
    marks |= {child.node: child.mark for child in children}
    Record(
        supervisor=None if detach else mark(os.getpid()),
        nodes=tuple(marks[node] for node in nodes),
        base_port=nodes[0].api_port,
        miners=sum(node.mines for node in nodes) if nodes[0].stratum_port else None,
    ).write(home)
