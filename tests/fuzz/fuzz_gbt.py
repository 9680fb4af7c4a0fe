"""Readers of what goes to and fro by getblocktemplate."""

import json

import msgspec
from fuzz_law import hexes, vectors

from chaind.miner.gbt_client import parse_template
from chaind.node.block_hex import parse_parts, split_values
from chaind.primitives.block import Block
from chaind.primitives.coinbase import address_script, compact_size
from chaind.primitives.errors import Malformed

SCRIPT = address_script(bytes(20))
TEMPLATE = json.dumps(
    {
        "version": 0x20000000,
        "previousblockhash": "00" * 32,
        "transactions": [{"data": "93010203"}, {"data": "c0"}],
        "coinbasevalue": 5_000_000_000,
        "bits": "207fffff",
        "target": "7fffff" + "00" * 29,
        "curtime": 1_800_000_000,
        "height": 300,
        "longpollid": "id",
        "workid": "w",
        "mutable": ["submit/coinbase"],
        "rules": [],
        "coinbaseaux": {"flags": "aabb"},
    }
).encode()


def handed_in() -> tuple[bytes, ...]:
    """Blocks in the form of submitblock."""
    found = []
    for raw in hexes(*(vector["block"] for vector in vectors("blocks").values())):
        block = Block.decode(raw)
        rest = [block.commitment_bytes, *(one.raw for one in block.transactions)]
        count = compact_size(1 + len(rest))
        found.append(block.header_bytes + count + block.coinbase_bytes + b"".join(rest))
    return tuple(found)


def read_parts(data: bytes) -> None:
    """A block as submitblock gets it: nothing of it is lost, and what is sound says so itself."""
    parts = parse_parts(data)
    assert data.startswith(parts.raw_header)
    assert data.endswith(parts.coinbase + parts.rest)
    if not parts.rest:
        return
    assert b"".join(split_values(parts.rest)) == parts.rest
    block = parts.block(None)
    assert block.hash == parts.hash
    assert Block.decode(block.encode()).hash == parts.hash


def read_template(data: bytes) -> None:
    """A template as a miner gets it: a header can be made of it, and a block."""
    try:
        value = msgspec.json.decode(data)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        raise NoJson from None
    work = parse_template(value, SCRIPT)
    assert len(work.prefix(bytes(8))) == 76
    assert work.submission(bytes(8), 0)


class NoJson(Malformed):
    """What the HTTP client reads never gets here."""
