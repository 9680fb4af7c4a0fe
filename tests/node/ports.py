"""Ports for nodes that tests start, and start again at the same place."""

import os
import socket
from random import Random

PORTS = range(20_000, 32_000)  # below the range from which Linux takes ports for outgoing calls


def free_ports(count: int) -> list[int]:
    """Ports that nobody listens on now."""
    held: list[socket.socket] = []
    dice = Random(os.urandom(8))
    try:
        while len(held) < count:
            probe = socket.socket()
            held.append(probe)
            try:
                probe.bind(("127.0.0.1", dice.choice(PORTS)))
            except OSError:
                held.pop().close()
        return [probe.getsockname()[1] for probe in held]
    finally:
        for probe in held:
            probe.close()
