"""Work from templates, held against a block that was put together from the protocol's text."""

from hashlib import sha256
from typing import Any

import pytest
from gbt_kit import own_coinbase, solve

from chaind.miner.gbt_client import TemplateFault, is_stale, parse_template
from chaind.primitives.coinbase import TAG, split_coinbase

SCRIPT = "0014" + "11" * 20
RAWS = [b"commitment", b"first", b"second"]


def template(**changes: Any) -> dict[str, Any]:
    made: dict[str, Any] = {
        "version": 0x20000000,
        "previousblockhash": sha256(b"parent").hexdigest(),
        "transactions": [{"data": raw.hex(), "fee": 5} for raw in RAWS],
        "coinbaseaux": {"flags": "aabb"},
        "coinbasevalue": 5_000_000_000,
        "target": "7fffff" + "00" * 29,
        "bits": "207fffff",
        "curtime": 1_800_000_000,
        "height": 300,
        "longpollid": "an id",
        "workid": "w",
        "mutable": ["submit/coinbase"],
        "rules": [],
    }
    return {**made, **changes}


@pytest.mark.parametrize("height", [1, 16, 17, 127, 128, 300, 70_000])
@pytest.mark.parametrize("count", [1, 2, 3])
def test_the_block_is_the_one_of_the_protocol(height: int, count: int) -> None:
    given = template(height=height, mutable=[], workid=None)
    given["transactions"] = given["transactions"][:count]
    work = parse_template(given, bytes.fromhex(SCRIPT))
    extranonce = bytes(range(8))
    # Ours stands bare in the script, theirs is one push: what follows the height is free.
    pushed = own_coinbase(given, SCRIPT, TAG + extranonce)
    length = bytes([2 + len(TAG) + 8])
    bare = pushed.replace(length + b"\xaa\xbb", b"\xaa\xbb", 1)
    size = bare[41]
    bare = bare[:41] + bytes([size - 1]) + bare[42:]
    assert work.coinbase(extranonce) == bare
    [block] = work.submission(extranonce, 0)
    data = [one["data"] for one in given["transactions"]]
    theirs = solve(given, bare, data)
    nonce = int.from_bytes(bytes.fromhex(theirs[152:160]), "little")
    assert work.submission(extranonce, nonce) == [theirs]
    assert str(block)[:152] == theirs[:152] == work.prefix(extranonce).hex()


def test_where_a_coinbase_is_enough_no_more_is_sent() -> None:
    work = parse_template(template(), bytes.fromhex(SCRIPT))
    block, named = work.submission(bytes(8), 7)
    assert named == {"workid": "w"}
    sent = bytes.fromhex(str(block))
    assert sent[76:81] == b"\x07\0\0\0" + bytes([1 + len(RAWS)])
    assert split_coinbase(sent[81:]) == (work.coinbase(bytes(8)), b"")


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"height": "1"}, "Expected `int`"),
        ({"height": 0}, "out of range"),
        ({"version": -1}, "out of range"),
        ({"curtime": 1 << 32}, "out of range"),
        ({"coinbasevalue": -1}, "coinbasevalue is out of range"),
        ({"previousblockhash": "00"}, "previousblockhash is not 32 bytes"),
        ({"bits": "zz"}, "bits is not hex"),
        ({"target": "00"}, "target is not 32 bytes"),
        ({"transactions": [{"data": "0"}]}, "a transaction is not hex"),
        ({"coinbaseaux": {"flags": "00" * 90}}, "leaves no room"),
        ({"rules": ["!segwit"]}, "BIP-141"),
    ],
)
def test_what_cannot_be_mined_is_no_work(changes: dict[str, Any], said: str) -> None:
    with pytest.raises(TemplateFault, match=said):
        parse_template(template(**changes), b"\x51")


def test_late_blocks_are_told_from_wrong_ones() -> None:
    assert is_stale("stale-prevblk")
    assert is_stale("duplicate-inconclusive")
    assert not is_stale("high-hash")
