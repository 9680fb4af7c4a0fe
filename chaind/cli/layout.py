"""How the nodes of a development network lie on one machine: homes, ports, and command lines.

Node i has its home in DIR/node{i}, its API on base + i and its P2P port on base + 1000 + i; on a
chain of miners it serves them on base + 2000 + i, and the first nodes mine themselves.
"""

import os
import shlex
import shutil
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

HOST = "127.0.0.1"
BASE_PORT = 8080
P2P_OFFSET = 1000
STRATUM_OFFSET = 2000
NODES_MAX = 64  # real processes on one machine: hundreds of MiB each ten, and a full mesh
BASE_PORT_MIN, BASE_PORT_MAX = (
    1024,
    65_535 - STRATUM_OFFSET - NODES_MAX,
)  # above the privileged ports


class Place(NamedTuple):
    """Where one node lives. `stratum_port` is 0 where it serves no miners."""

    home: Path
    api_port: int
    p2p_port: int
    stratum_port: int = 0
    mines: bool = False

    @property
    def name(self) -> str:
        """Its directory's name: node0."""
        return self.home.name

    @property
    def url(self) -> str:
        """Its API."""
        return f"http://{HOST}:{self.api_port}"


def place(home: Path, index: int = 0, base_port: int = BASE_PORT) -> Place:
    """The place of node number `index` with this home."""
    return Place(home, base_port + index, base_port + P2P_OFFSET + index)


def places(
    directory: Path, count: int, base_port: int = BASE_PORT, miners: int | None = None
) -> list[Place]:
    """The places of a network of `count` nodes; `miners` of them, where it has any, mine."""
    nodes = [place(directory / f"node{index}", index, base_port) for index in range(count)]
    if miners is None:
        return nodes
    return [
        node._replace(stratum_port=base_port + STRATUM_OFFSET + index, mines=index < miners)
        for index, node in enumerate(nodes)
    ]


def run_arguments(node: Place, peers: Sequence[Place]) -> list[str]:
    """Arguments of `chaind` that start this node connected to the others of `peers`."""
    words = ["run", "--home", str(node.home)]
    words += ["--api-port", str(node.api_port), "--p2p-port", str(node.p2p_port)]
    if node.stratum_port:
        words += ["--stratum-port", str(node.stratum_port)]
    for peer in peers:
        if peer != node:
            words += ["--peer", f"{HOST}:{peer.p2p_port}"]
    return words


def shell_line(arguments: Sequence[str]) -> str:
    """What a person types for these arguments of `chaind`.

    By name where the shell would find this very installation, else by path.
    """
    installed = Path(sys.executable).with_name("chaind")
    found = shutil.which("chaind")
    command = "chaind" if found and Path(found).samefile(installed) else str(installed)
    return shlex.join([command, *arguments])


def devnet_line(home: Path, *options: str) -> str:
    """What a person types for `chaind devnet` with this home.

    `scripts/devnet` names itself in DEVNET_COMMAND, so that one way of calling is learned.
    """
    arguments = ["--home", str(home), *options]
    script = os.environ.get("DEVNET_COMMAND")
    return shlex.join([script, *arguments]) if script else shell_line(["devnet", *arguments])
