"""anvil, a development chain from npm: signed transfers over JSON-RPC, a block for each at once.

Nothing is durable and nobody votes: this is what a local chain for developers does at most. The
transactions are EIP-155 ones, signed before the clock starts.
"""

import asyncio
import json
import shutil
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import aiohttp
from coincurve import PrivateKey
from Crypto.Hash import keccak
from postgres import Unavailable

from chaind.wallet.derivation import DEVELOPMENT_MNEMONIC, derive, seed_from_mnemonic

PACKAGE = "@foundry-rs/anvil@1.7.1"
CLIENTS = 32
BATCH = 20  # calls of one JSON-RPC request; with many more in flight it leaves some unmined
INSTALL_S_MAX = 300.0
START_S_MAX = 30.0
MINED_S_MAX = 30.0  # of one batch
LOOK_S = 0.005
CHAIN_ID = 31_337  # anvil's own
GAS, GAS_PRICE_WEI, VALUE_WEI = 21_000, 20_000_000_000, 1_000


def _hash(data: bytes) -> bytes:
    return keccak.new(digest_bits=256, data=data).digest()


def rlp(item: bytes | int | list[Any]) -> bytes:
    """Recursive length prefix (Ethereum yellow paper, appendix B)."""
    if isinstance(item, int):
        item = item.to_bytes((item.bit_length() + 7) // 8, "big")
    if isinstance(item, bytes):
        if len(item) == 1 and item[0] < 0x80:
            return item
        data, short = item, 0x80
    else:
        data, short = b"".join(map(rlp, item)), 0xC0
    if len(data) < 56:
        return bytes([short + len(data)]) + data
    length = len(data).to_bytes((len(data).bit_length() + 7) // 8, "big")
    return bytes([short + 55 + len(length)]) + length + data


def transfer(key: PrivateKey, nonce: int, target: bytes) -> str:
    """A signed transaction in hex (EIP-155)."""
    fields: list[Any] = [nonce, GAS_PRICE_WEI, GAS, target, VALUE_WEI, b""]
    signature = key.sign_recoverable(_hash(rlp([*fields, CHAIN_ID, 0, 0])), hasher=None)
    r, s = int.from_bytes(signature[:32], "big"), int.from_bytes(signature[32:64], "big")
    return "0x" + rlp([*fields, CHAIN_ID * 2 + 35 + signature[64], r, s]).hex()


@contextmanager
def server() -> Iterator[tuple[str, str]]:
    """(URL, version) of a running anvil that npm brought. Raises `Unavailable`."""
    npm = shutil.which("npm")
    if npm is None:
        raise Unavailable("there is no npm: apt-get install npm")
    with tempfile.TemporaryDirectory(prefix="chaind-anvil-") as name:
        words = [npm, "install", "--prefix", name, "--no-audit", "--no-fund", PACKAGE]
        try:
            done = subprocess.run(words, capture_output=True, text=True, timeout=INSTALL_S_MAX)
        except subprocess.TimeoutExpired:
            raise Unavailable(
                f"npm install {PACKAGE} took more than {INSTALL_S_MAX:.0f} s"
            ) from None
        found = list(Path(name).glob("node_modules/@foundry-rs/anvil-*/bin/anvil"))
        if done.returncode or not found:
            raise Unavailable(f"npm install {PACKAGE} failed: {done.stderr.strip()[-300:]}")
        version = subprocess.run([found[0], "--version"], capture_output=True, text=True)
        with socket.create_server(("127.0.0.1", 0)) as free:
            port = free.getsockname()[1]
        process = subprocess.Popen(
            [found[0], "--port", str(port), "--accounts", str(CLIENTS), "--silent"]
        )
        try:
            yield f"http://127.0.0.1:{port}", version.stdout.splitlines()[0]
        finally:
            process.terminate()
            process.wait()


async def _call(
    session: aiohttp.ClientSession, url: str, calls: list[tuple[str, list[Any]]]
) -> Any:
    body = [
        {"jsonrpc": "2.0", "id": index, "method": method, "params": params}
        for index, (method, params) in enumerate(calls)
    ]
    async with session.post(url, json=body) as answer:
        results = json.loads(await answer.read())
    for result in results:
        if "error" in result:
            raise Unavailable(f"anvil refuses: {result['error']}")
    return [result["result"] for result in results]


async def _measure(url: str, count: int) -> float:
    seed = seed_from_mnemonic(DEVELOPMENT_MNEMONIC)
    secrets = [derive(seed, f"m/44'/60'/0'/0/{index}").reveal() for index in range(CLIENTS)]
    keys = [PrivateKey(secret) for secret in secrets]
    addresses = [_hash(key.public_key.format(compressed=False)[1:])[12:] for key in keys]
    each = -(-count // CLIENTS)
    async with aiohttp.ClientSession() as session:
        await _until_up(session, url)
        signed = [
            [transfer(key, nonce, addresses[index - 1]) for nonce in range(each)]
            for index, key in enumerate(keys)
        ]

        async def client(address: bytes, mine: list[str]) -> None:
            asked = [("eth_getTransactionCount", ["0x" + address.hex(), "latest"])]
            for first in range(0, each, BATCH):
                part = mine[first : first + BATCH]
                await _call(session, url, [("eth_sendRawTransaction", [raw]) for raw in part])
                async with asyncio.timeout(MINED_S_MAX):
                    # It answers before it mines, and tells nobody when it has.
                    while int((await _call(session, url, asked))[0], 16) < first + len(part):  # noqa: ASYNC110
                        await asyncio.sleep(LOOK_S)

        begun_s = time.monotonic()
        await asyncio.gather(*map(client, addresses, signed))
        return each * CLIENTS / (time.monotonic() - begun_s)


async def _until_up(session: aiohttp.ClientSession, url: str) -> None:
    async with asyncio.timeout(START_S_MAX):
        while True:
            try:
                await _call(session, url, [("eth_chainId", [])])
            except aiohttp.ClientError:
                await asyncio.sleep(0.1)  # it tells nobody when it listens
            else:
                return


def transfers_per_s(count: int) -> tuple[float, str]:
    """(transfers per second, version) of 32 clients. Raises `Unavailable`."""
    with server() as (url, version):
        try:
            return asyncio.run(_measure(url, count)), version
        except (TimeoutError, aiohttp.ClientError) as error:
            raise Unavailable(
                f"it mined nothing for {MINED_S_MAX:.0f} s, or ended: {error!r}"
            ) from error
