"""The processes of a development network: started, awaited, watched and ended.

Law: while the network starts, the end of one node ends all that was started with it; a network
that stands outlives its nodes, down to the last. Which processes they are stands in
`devnet.json`, so that a network can be ended or completed from anywhere.
"""

import os
import shlex
import signal
import subprocess
import time
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import click
import msgspec

from chaind.cli.layout import BASE_PORT, Place, run_arguments, shell_line
from chaind.cli.processes import ProcessMark, Signals, end, log_tail, mark, spawn_chaind
from chaind.cli.status import NodeSilent, fetch
from chaind.primitives.errors import LocalFault
from chaind.storage.files import OsFiles

READY_S_MAX = 60.0  # seconds suffice; a busy machine importing Python 64 times gets its time
READY_POLL_S = 0.05
READY_ANSWER_S_MAX = 1.0
END_GRACE_S = 10.0  # a node closes in well under a second; then it hangs and is killed
SUPERVISOR_GRACE_S = 2 * END_GRACE_S + 2  # it may itself have to kill, and wait, first
CUSTODY = "CHAIND_CUSTODY_ENABLED"
PRIVATE_WEBHOOKS = "CHAIND_WEBHOOKS_ALLOW_PRIVATE"


class NodeDied(LocalFault):
    """A node ended while the network was starting."""

    code = "node-died"
    text = "{name} ended ({how}). The last lines of {log}:\n{tail}"
    advice = "The nodes started with it were ended too."


class NotReadyInTime(LocalFault):
    """The network did not come to a first block."""

    code = "not-ready-in-time"
    text = "no {what} on {waiting} within {bound_s:.0f} s. The last lines of {log}:\n{tail}"
    advice = "What was started was ended. A machine with less to do may be quick enough."
    exit_code = 75  # EX_TEMPFAIL


class NetworkEnded(LocalFault):
    """The last node of a network that stood has ended."""

    code = "network-ended"
    text = "no node runs any more. The last lines of {log}:\n{tail}"
    advice = "The chain stays: the same command resumes it."


class NeverADevnet(LocalFault):
    """A network is to be ended where none was ever started."""

    code = "never-a-devnet"
    text = "no devnet was ever started in {home}"
    advice = "Name the directory that it was started with: --home."
    exit_code = 78  # EX_CONFIG


class Record(msgspec.Struct, frozen=True):
    """Which processes make up the devnet of a directory; `nodes` from node0 on."""

    supervisor: ProcessMark | None
    nodes: tuple[ProcessMark, ...]
    base_port: int = BASE_PORT
    miners: int | None = None  # on a chain of miners

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


class Child(NamedTuple):
    """A node that this process started. Its log was `log_bytes` long before."""

    node: Place
    process: subprocess.Popen[bytes]
    log_bytes: int

    @property
    def log(self) -> Path:
        """What it writes."""
        return self.node.home / "log"

    @property
    def mark(self) -> ProcessMark:
        """Names its process; one that never lives where it has ended already."""
        return mark(self.process.pid) or ProcessMark(self.process.pid, "")

    def tail(self) -> str:
        """The last lines it wrote."""
        return log_tail(self.log, since=self.log_bytes)

    def ended(self) -> str | None:
        """How it ended; None while it runs."""
        code = self.process.poll()
        if code is None:
            return None
        return f"exit status {code}" if code >= 0 else f"signal {signal.Signals(-code).name}"


def start_nodes(starting: Sequence[Place], nodes: Sequence[Place], children: list[Child]) -> None:
    """Start those of `nodes` that are to be started, and note each in `children` at once.

    A password would give each node a seed of its own, and they share the published one.
    """
    from chaind.node.config import CUSTODY_PASSWORD_VARIABLE

    inherited = {
        key: value for key, value in os.environ.items() if key != CUSTODY_PASSWORD_VARIABLE
    }
    for node in starting:
        log = node.home / "log"
        log_bytes = log.stat().st_size if log.exists() else 0
        environ = {**inherited, **_development(node, nodes), "CHAIND_NODE_NAME": node.name}
        process = spawn_chaind(run_arguments(node, nodes), log, environ)
        children.append(Child(node, process, log_bytes))


def _development(node: Place, nodes: Sequence[Place]) -> dict[str, str]:
    """The development accounts are in custody, and webhooks may go to this machine, unless the
    user says otherwise. Nodes that mine share the work that blocks at the spacing take."""
    values = dict.fromkeys((CUSTODY, PRIVATE_WEBHOOKS), "true")
    if node.mines:
        miners = sum(each.mines for each in nodes)
        values |= {
            "CHAIND_MINER_ENABLED": "true",
            "CHAIND_MINER_ADDRESS": miner_address(nodes.index(node)),
            "CHAIND_MINER_PACE_PERCENT": str(-(-100 // miners)),
        }
    return {name: os.environ.get(name, value) for name, value in values.items()}


def miner_address(index: int) -> str:
    """Who is paid for what node number `index` mines: the named accounts, from judy on."""
    from chaind.primitives.address import key_address
    from chaind.primitives.genesis import DEFAULT_ADDRESSES
    from chaind.wallet.derivation import DEVELOPMENT_NAMES, development_key

    account = (DEVELOPMENT_NAMES.index("judy") - index) % len(DEVELOPMENT_NAMES)
    return DEFAULT_ADDRESSES.show(key_address(development_key(account).public))


def restart_line(node: Place, nodes: Sequence[Place]) -> str:
    """What a person types to start one node as the devnet did."""
    variables = " ".join(
        f"{name}={shlex.quote(value)}" for name, value in _development(node, nodes).items()
    )
    return f"{variables} {shell_line(run_arguments(node, nodes))}"


def wait_ready(children: Sequence[Child], signals: Signals) -> None:
    """Return when every child has a block that it goes by, or when asked to stop.

    Of validators that is a final block, of miners the first on the best chain.
    """
    deadline = time.monotonic() + READY_S_MAX
    waiting = list(children)
    while waiting and not signals.stopping:
        for child in children:
            if how := child.ended():
                raise NodeDied(name=child.node.name, how=how, log=child.log, tail=child.tail())
        for child in list(waiting):
            mined = child.node.stratum_port > 0
            height = height_of(child.node, "head_height" if mined else "height")
            if height >= 1:
                waiting.remove(child)
                what = "height" if mined else "final height"
                click.echo(f"  {child.node.name} is up: {child.node.url}, {what} {height}")
        if waiting and time.monotonic() > deadline:
            raise NotReadyInTime(
                what="block" if waiting[0].node.stratum_port else "final block",
                waiting=", ".join(child.node.name for child in waiting),
                bound_s=READY_S_MAX,
                log=waiting[0].log,
                tail=waiting[0].tail(),
            )
        if waiting:
            signals.wait(READY_POLL_S)


def height_of(node: Place, which: str) -> int:
    """A height of the node's status; -1 while it does not answer."""
    try:
        height = fetch(node.url, "/status", wait_s=READY_ANSWER_S_MAX).get(which)
    except NodeSilent:
        return -1
    return height if isinstance(height, int) else -1


def watch(children: Sequence[Child], signals: Signals) -> None:
    """Say of each node that ends how to start it again, until asked to stop.

    Raises `NetworkEnded` with the last one.
    """
    nodes = [child.node for child in children]
    running = list(children)
    while not signals.stopping:
        for child in list(running):
            if how := child.ended():
                running.remove(child)
                click.echo(
                    f"{child.node.name} ended ({how}); {len(running)} of {len(nodes)} run. "
                    f"Start it again: {restart_line(child.node, nodes)}"
                )
                if not running:
                    raise NetworkEnded(log=child.log, tail=child.tail())
        signals.wait()


def end_children(children: Sequence[Child]) -> None:
    """End our own children, and say which had to be killed."""
    marks = [child.mark for child in children if child.ended() is None]
    if marks:
        click.echo(f"\nEnding {len(marks)} node(s) …")
    end_marks(marks)
    for child in children:
        child.process.wait()
    click.echo("All nodes started here have ended.")


def end_marks(marks: Sequence[ProcessMark]) -> None:
    """End these processes, and say which had to be killed."""
    for process in end(marks, END_GRACE_S):
        click.echo(f"Process {process.pid} did not end within {END_GRACE_S:.0f} s: killed.")


def stop_network(home: Path) -> None:
    """End the devnet of a directory, whoever started it. Raises `NeverADevnet`."""
    if not Record.path(home).exists():
        raise NeverADevnet(home=home)
    record = Record.read(home)
    running = record.alive()
    if not running:
        click.echo(f"The devnet in {home} has ended already.")
        return
    if record.supervisor is not None:
        end([record.supervisor], SUPERVISOR_GRACE_S)  # it ends its nodes itself
    end_marks([node for node in record.nodes if node.alive()])
    click.echo(f"Ended {len(running)} process(es) of the devnet in {home}.")
