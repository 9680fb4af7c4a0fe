"""A miner written from the text of BIP-22 and BIP-23: its own coinbase, Merkle tree and header."""

import struct
from base64 import b64encode
from hashlib import sha256
from pathlib import Path
from typing import Any

import aiohttp


def twice(data: bytes) -> bytes:
    return sha256(sha256(data).digest()).digest()


def size(number: int) -> bytes:
    assert number < 0x10000
    return bytes([number]) if number < 0xFD else b"\xfd" + struct.pack("<H", number)


def own_coinbase(template: dict[str, Any], script: str, extra: bytes = b"") -> bytes:
    """BIP-34's height in the shortest form, what the server wants in it, one output."""
    height = template["height"]
    if height <= 16:
        number = bytes([0x50 + height])
    else:
        plain = height.to_bytes(height.bit_length() // 8 + 1, "little")
        number = bytes([len(plain)]) + plain
    aux = b"".join(bytes.fromhex(one) for one in template["coinbaseaux"].values())
    signature = number + bytes([len(aux + extra)]) + aux + extra
    pays = bytes.fromhex(script)
    return (
        struct.pack("<I", 1)
        + b"\x01"
        + bytes(32)
        + b"\xff" * 4
        + size(len(signature))
        + signature
        + b"\xff" * 4
        + b"\x01"
        + struct.pack("<Q", template["coinbasevalue"])
        + size(len(pays))
        + pays
        + bytes(4)
    )


def merkle_root(leaves: list[bytes]) -> bytes:
    while len(leaves) > 1:
        leaves = leaves + leaves[-1:] if len(leaves) % 2 else leaves
        leaves = [twice(leaves[at] + leaves[at + 1]) for at in range(0, len(leaves), 2)]
    return leaves[0]


def solve(
    template: dict[str, Any],
    coinbase: bytes,
    transactions: list[str],
    *,
    done: bool = True,
    **fields: Any,
) -> str:
    """The block in hex, header first, with the first nonce that does it, or does not."""
    whole = [bytes.fromhex(one) for one in transactions]
    root = merkle_root([twice(coinbase), *map(twice, whole)])
    start = (
        struct.pack("<I", fields.get("version", template["version"]))
        + bytes.fromhex(fields.get("parent", template["previousblockhash"]))[::-1]
        + root
        + struct.pack("<I", fields.get("time", template["curtime"]))
        + bytes.fromhex(fields.get("bits", template["bits"]))[::-1]
    )
    target = int(template["target"], 16)
    for nonce in range(1 << 24):
        header = start + struct.pack("<I", nonce)
        if (int.from_bytes(twice(header), "little") <= target) is done:
            return (header + size(1 + len(whole)) + coinbase + b"".join(whole)).hex()
    raise AssertionError("no nonce does it")


def basic(name: str, secret: str) -> str:
    return "Basic " + b64encode(f"{name}:{secret}".encode()).decode()


class GbtMiner:
    """A client of one node's JSON-RPC."""

    def __init__(
        self, session: aiohttp.ClientSession, name: str, secret: str, url: str = "/"
    ) -> None:
        self.session = session
        self.url = url
        self.auth = {"Authorization": basic(name, secret)}
        self.headers: dict[str, str] = {}  # of the last answer

    @classmethod
    def by_cookie(
        cls, session: aiohttp.ClientSession, cookie: Path, name: str | None = None
    ) -> "GbtMiner":
        known, _, secret = cookie.read_text().strip().partition(":")
        return cls(session, name or known, secret)

    async def call(self, method: str, *params: Any) -> Any:
        """The result; an error as its number and text."""
        body = {"method": method, "params": list(params), "id": "kit"}
        async with self.session.post(self.url, json=body, headers=self.auth) as response:
            answer = await response.json()
            self.headers = dict(response.headers)
            assert response.status == 200, answer
        assert answer["id"] == "kit"
        if answer["error"] is not None:
            return answer["error"]["code"], answer["error"]["message"]
        return answer["result"]

    async def template(self, **asked: Any) -> Any:
        told = await self.call("getblocktemplate", {"capabilities": ["longpoll"], **asked})
        assert isinstance(told, dict), told
        return told

    async def mine(self, template: dict[str, Any], script: str = "", **fields: Any) -> Any:
        """Hand in a block of a template; `script` is for those who pay themselves."""
        if "coinbasetxn" in template:
            coinbase = bytes.fromhex(template["coinbasetxn"]["data"])
        else:
            coinbase = own_coinbase(template, script)
        data = [one["data"] for one in template["transactions"]]
        return await self.call("submitblock", solve(template, coinbase, data, **fields))
