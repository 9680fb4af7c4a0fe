"""Whether ports are free, asked before anything is made or started.

Law: an answer is help, not a promise. Another program may be quicker, and then the node itself
says so; but who types a command twice must not find a directory made for nothing.
"""

import errno
import socket
from collections.abc import Iterable
from typing import TYPE_CHECKING

from chaind.primitives.errors import LocalFault

if TYPE_CHECKING:
    from chaind.node.config import Config


class PortsBusy(LocalFault):
    """Something else listens where a node should."""

    code = "ports-busy"
    text = "port(s) {ports} of {host} are in use; nothing was started"
    advice = (
        "End the program that listens there, or choose others: --api-port, --p2p-port, "
        "--stratum-port."
    )
    exit_code = 69  # EX_UNAVAILABLE


class DevnetPortsBusy(PortsBusy):
    """The same for a whole network."""

    code = "devnet-ports-busy"
    advice = "End the program that listens there, or choose other ports with --base-port."


def busy(host: str, ports: Iterable[int]) -> list[int]:
    """Those of `ports` that another socket holds; 0, any free port, never is."""
    return [port for port in ports if port and _is_busy(host, port)]


def refuse_busy_doors(config: "Config") -> None:
    """Raise `PortsBusy` where the node could not listen."""
    api, network, miner = config.api, config.network, config.miner
    for host, port in (
        (api.host, api.api_port),
        (network.host, network.p2p_port),
        (miner.stratum_host, miner.stratum_port),
    ):
        if busy(host, [port]):
            raise PortsBusy(ports=port, host=host)


def _is_busy(host: str, port: int) -> bool:
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
    except socket.gaierror:  # the node refuses the host, with better words
        return False
    family, kind, protocol, _, address = found[0]
    with socket.socket(family, kind, protocol) as probe:
        # As servers do: a connection of an earlier run in TIME_WAIT does not count.
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(address)
        except OSError as error:
            return error.errno == errno.EADDRINUSE
    return False
