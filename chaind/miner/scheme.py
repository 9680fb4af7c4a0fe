"""Whether a port speaks what the scheme of its URL says.

Law: it is asked only where nothing usable was ever heard there; what asks for nothing secret.
"""

import asyncio

import msgspec

from chaind.primitives.errors import LocalFault, Malformed

PROBE_S = 3.0
LINE_BYTES_MAX = 1 << 16  # an answer to mining.subscribe is a hundred bytes
_SUBSCRIBE = b'{"id":1,"method":"mining.subscribe","params":["probe"]}\n'


class SchemeMismatch(Malformed, LocalFault):
    """The port is there, and another protocol is spoken."""

    code = "scheme-mismatch"
    text = "the scheme of --url does not fit the port: {where} speaks {spoken}, not {meant}"
    advice = (
        "Stratum is stratum+tcp://HOST:PORT with a node's stratum_port; a node's API is "
        "http://HOST:PORT with its api_port, and needs its rpc.cookie."
    )
    exit_code = 69  # EX_UNAVAILABLE


def is_http(line: bytes) -> bool:
    """Whether a line is the first of an answer in HTTP."""
    return line.startswith(b"HTTP/")


async def speaks_stratum(host: str, port: int) -> bool:
    """Whether mining.subscribe is answered there with a line of JSON."""
    try:
        async with asyncio.timeout(PROBE_S):
            reader, writer = await asyncio.open_connection(host, port, limit=LINE_BYTES_MAX)
            try:
                writer.write(_SUBSCRIBE)
                line = await reader.readline()
            finally:
                writer.close()
        return isinstance(msgspec.json.decode(line), dict)
    except (OSError, TimeoutError, ValueError):  # ValueError: no JSON, or a line without an end
        return False
