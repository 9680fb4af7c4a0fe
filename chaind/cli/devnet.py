"""`chaind devnet`: a network of real node processes on this machine.

Law: one devnet per directory and one chain per directory. Nothing is started before every port is
free; whatever was started is ended when the start fails. Which processes they are stands in
`devnet.json`, so that `--stop` works from anywhere, for a devnet left behind too.
"""

import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import click
import msgspec

from chaind.cli.layout import (
    BASE_PORT,
    BASE_PORT_MAX,
    BASE_PORT_MIN,
    HOST,
    NODES_MAX,
    Place,
    places,
    run_arguments,
    shell_line,
)
from chaind.cli.processes import ProcessMark, Signals, end, log_tail, mark, spawn_chaind
from chaind.cli.status import NodeSilent, fetch
from chaind.primitives.errors import LocalFault
from chaind.storage.files import OsFiles
from chaind.storage.lock import DirectoryLock

READY_S_MAX = 60.0  # seconds suffice; a busy machine importing Python 64 times gets its time
READY_POLL_S = 0.05
READY_ANSWER_S_MAX = 1.0
END_GRACE_S = 10.0  # a node closes in well under a second; then it hangs and is killed
SUPERVISOR_GRACE_S = 2 * END_GRACE_S + 2  # it may itself have to kill, and wait, first


class DevnetRunning(LocalFault):
    """One devnet per directory."""

    code = "devnet-running"
    text = "a devnet already runs in {home} (processes {pids})"
    advice = "End it with `chaind devnet --stop` and the same --home, or name another directory."
    exit_code = 80  # as for a node's directory in use


class OtherNetwork(LocalFault):
    """The directory holds a network of another size."""

    code = "other-network"
    text = "{home} holds a network of {found} node(s), not {wanted}"
    advice = "Resume it with --validators as it was, or delete it and begin anew with --reset."
    exit_code = 73  # EX_CANTCREAT


class PortsBusy(LocalFault):
    """Something else listens where a node should."""

    code = "ports-busy"
    text = "port(s) {ports} of {host} are in use; nothing was started"
    advice = "End the program that listens there, or choose other ports with --base-port."
    exit_code = 69  # EX_UNAVAILABLE


class NodeDied(LocalFault):
    """A node of the network ended by itself."""

    code = "node-died"
    text = "{name} ended with {how}. The last lines of {log}:\n{tail}"
    advice = "The other nodes were ended too."


class NotReadyInTime(LocalFault):
    """The network did not come to a first final block."""

    code = "not-ready-in-time"
    text = "no final block on {waiting} within {bound_s:.0f} s. The last lines of {log}:\n{tail}"
    advice = "All nodes were ended. A machine with less to do may be quick enough."
    exit_code = 75  # EX_TEMPFAIL


class Record(msgspec.Struct, frozen=True):
    """Which processes make up the devnet of a directory."""

    supervisor: ProcessMark | None
    nodes: tuple[ProcessMark, ...]

    @classmethod
    def path(cls, home: Path) -> Path:
        """Where it stands."""
        return home / "devnet.json"

    @classmethod
    def read(cls, home: Path) -> "Record":
        """The record of a directory; an empty one where no devnet ran."""
        try:
            return msgspec.json.decode(cls.path(home).read_bytes(), type=cls)
        except FileNotFoundError:
            return cls(supervisor=None, nodes=())

    def write(self, home: Path) -> None:
        """Leave it in the directory, where `--stop` finds it."""
        OsFiles().write_atomic(self.path(home), msgspec.json.encode(self))

    def alive(self) -> list[ProcessMark]:
        """Those that still run, supervisor first."""
        marks = self.nodes if self.supervisor is None else (self.supervisor, *self.nodes)
        return [process for process in marks if process.alive()]


@click.command()
@click.option("--validators", type=click.IntRange(1, NODES_MAX), default=4, show_default=True)
@click.option(
    "--home",
    type=click.Path(path_type=Path, file_okay=False),
    default=Path("devnet"),
    show_default=True,
    help="Directory of the network: node0, node1, … in it, each with its log.",
)
@click.option(
    "--base-port",
    type=click.IntRange(BASE_PORT_MIN, BASE_PORT_MAX),
    default=BASE_PORT,
    show_default=True,
    help="API of node i on this + i, P2P on this + 1000 + i.",
)
@click.option("--reset", is_flag=True, help="Delete the chain of --home and begin a new one.")
@click.option("--detach", is_flag=True, help="Return once every node has a final block.")
@click.option("--stop", is_flag=True, help="End the devnet of --home.")
def devnet(
    validators: int, home: Path, base_port: int, reset: bool, detach: bool, stop: bool
) -> None:
    """Run a network of validators on this machine.

    Ten accounts are funded; the banner shows them and what to type.

    The chain lives in --home: a restart resumes it. Ctrl-C ends every node; a detached network is
    ended by --stop. Nodes read ./chaind.toml and CHAIND_SECTION_KEY variables as `chaind run` does.

    \b
    Examples:
      chaind devnet
      chaind devnet --validators 7 --home /tmp/seven --base-port 8200
      chaind devnet --detach
      chaind devnet --stop
    """
    if stop:
        if reset or detach:
            raise click.UsageError("--stop goes with --home alone.")
        stop_network(home)
        return
    with claimed(home):
        nodes = places(home, validators, base_port)
        refuse_busy_ports(nodes)
        prepare_homes(home, nodes, reset=reset)
        run_network(home, nodes, detach=detach)


@contextmanager
def claimed(home: Path) -> Iterator[None]:
    """Hold the directory, refusing where another devnet runs in it. Makes it if needed."""
    OsFiles().make_dir(home.absolute())
    # The processes first: they tell more than the lock, and outlive the supervisor that held it.
    running = Record.read(home).alive()
    if running:
        raise DevnetRunning(home=home, pids=", ".join(str(process.pid) for process in running))
    with DirectoryLock.acquire(home):
        yield


def refuse_busy_ports(nodes: Sequence[Place]) -> None:
    """Raise `PortsBusy` with every port that cannot be bound."""
    busy = []
    for port in sorted(port for node in nodes for port in (node.api_port, node.p2p_port)):
        with socket.socket() as probe:
            # As servers do: a connection of an earlier run in TIME_WAIT does not count.
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind((HOST, port))
            except OSError:
                busy.append(str(port))
    if busy:
        raise PortsBusy(ports=", ".join(busy), host=HOST)


def prepare_homes(home: Path, nodes: Sequence[Place], *, reset: bool) -> None:
    """See that `home` holds the homes of these nodes and no others, with one chain."""
    from chaind.cli.chains import create_network
    from chaind.node.home import Home

    found = sorted(path for path in home.glob("node[0-9]*") if path.is_dir())
    if reset:
        for path in found:
            with DirectoryLock.acquire(path):  # a node started by hand may live there
                shutil.rmtree(path)
        found = []
    if not any(Home(path).initialised for path in found):
        homes = [Home(node.home) for node in nodes]
        create_network([(each, each.validator_key) for each in homes])
        click.echo(f"Made a new development chain with {len(nodes)} validator(s) in {home}.")
        return
    complete = [path for path in found if Home(path).initialised]
    if set(complete) != {node.home for node in nodes}:
        raise OtherNetwork(home=home, found=len(complete), wanted=len(nodes))
    click.echo(f"Resuming the chain in {home}.")


def run_network(home: Path, nodes: Sequence[Place], *, detach: bool) -> None:
    """Start the nodes and see them through: until they are ready, or until a signal."""
    from chaind.cli.banner import banner
    from chaind.primitives.genesis import Genesis

    with Signals() as signals:
        children: list[subprocess.Popen[bytes]] = []
        keep = False
        try:
            started = time.monotonic()
            for node in nodes:
                children.append(start_node(node, nodes))
            marks = [mark(child.pid) for child in children]
            record = Record(
                supervisor=None if detach else mark(os.getpid()),
                nodes=tuple(process for process in marks if process is not None),
            )
            record.write(home)
            wait_ready(nodes, children, signals)
            if not signals.stopping:
                click.echo(f"Ready after {time.monotonic() - started:.1f} s.")
                click.echo(banner(nodes, Genesis.load(nodes[0].home / "genesis.json")))
                if detach:
                    keep = True
                    click.echo(
                        f"End it with: {shell_line(['devnet', '--home', str(home), '--stop'])}"
                    )
                    return
                click.echo("Ctrl-C ends the network; the chain stays.")
            while not signals.stopping:
                refuse_dead(nodes, children)
                signals.wait()
        finally:
            if not keep:
                end_children(children)
    if detach:
        sys.exit(128 + signal.SIGINT)  # asked to stop before there was a network to leave behind


def start_node(node: Place, nodes: Sequence[Place]) -> subprocess.Popen[bytes]:
    """One node process, with the development accounts in custody unless the user says otherwise."""
    environ = {"CHAIND_CUSTODY_ENABLED": "true", **os.environ, "CHAIND_NODE_NAME": node.name}
    return spawn_chaind(run_arguments(node, nodes), node.home / "log", environ)


def wait_ready(
    nodes: Sequence[Place], children: Sequence[subprocess.Popen[bytes]], signals: Signals
) -> None:
    """Return when every node has a final block of height 1 or more, or when asked to stop."""
    deadline = time.monotonic() + READY_S_MAX
    waiting = list(nodes)
    while waiting and not signals.stopping:
        refuse_dead(nodes, children)
        for node in list(waiting):
            height = final_height(node)
            if height >= 1:
                waiting.remove(node)
                click.echo(f"  {node.name} is up: {node.url}, final height {height}")
        if waiting and time.monotonic() > deadline:
            log = waiting[0].home / "log"
            raise NotReadyInTime(
                waiting=", ".join(node.name for node in waiting),
                bound_s=READY_S_MAX,
                log=log,
                tail=log_tail(log),
            )
        if waiting:
            signals.wait(READY_POLL_S)


def final_height(node: Place) -> int:
    """The node's final height; -1 while it does not answer."""
    try:
        height = fetch(node.url, "/status", wait_s=READY_ANSWER_S_MAX).get("height")
    except NodeSilent:
        return -1
    return height if isinstance(height, int) else -1


def refuse_dead(nodes: Sequence[Place], children: Sequence[subprocess.Popen[bytes]]) -> None:
    """Raise `NodeDied` for the first node that has ended."""
    for node, child in zip(nodes, children, strict=True):
        code = child.poll()
        if code is not None:
            how = f"exit status {code}" if code >= 0 else f"signal {signal.Signals(-code).name}"
            log = node.home / "log"
            raise NodeDied(name=node.name, how=how, log=log, tail=log_tail(log))


def end_children(children: Sequence[subprocess.Popen[bytes]]) -> None:
    """End our own children, and say which had to be killed."""
    marks = [process for child in children if (process := mark(child.pid)) is not None]
    if marks:
        click.echo(f"\nEnding {len(marks)} node(s) …")
    for process in end(marks, END_GRACE_S):
        click.echo(f"Process {process.pid} did not end within {END_GRACE_S:.0f} s: killed.")
    for child in children:
        child.wait()
    click.echo("All nodes have ended.")


def stop_network(home: Path) -> None:
    """End the devnet of a directory, whoever started it."""
    record = Record.read(home)
    running = record.alive()
    if not running:
        click.echo(f"No devnet runs in {home}.")
        return
    if record.supervisor is not None:
        end([record.supervisor], SUPERVISOR_GRACE_S)  # it ends its nodes itself
    for process in end([node for node in record.nodes if node.alive()], END_GRACE_S):
        click.echo(f"Process {process.pid} did not end within {END_GRACE_S:.0f} s: killed.")
    click.echo(f"Ended {len(running)} process(es) of the devnet in {home}.")
