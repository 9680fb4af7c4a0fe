"""What the tests of the API share: a node to talk to, a client to talk with, things to submit."""

import asyncio
import socket
import time
from pathlib import Path
from random import Random
from typing import Any

import aiohttp
import msgspec
from described import DESCRIBED

from chaind.api.app import ApiServer
from chaind.network.noise import KeyPair
from chaind.node.clock import SystemClock
from chaind.node.config import (
    ApiSection,
    Config,
    CustodySection,
    FaucetSection,
    MinerSection,
    NetworkSection,
    NodeSection,
    PaymentsSection,
    WebhooksSection,
)
from chaind.node.node import Node
from chaind.node.parts import Identity
from chaind.node.recovery import open_disk
from chaind.node.workers import SystemWorkers
from chaind.primitives.address import key_address
from chaind.primitives.genesis import Allocation, AssetEntry, Genesis, Validator
from chaind.primitives.keys import SecretKey
from chaind.primitives.transaction import NATIVE, Lease, Transaction
from chaind.storage.files import OsFiles
from chaind.storage.kv import MemoryStore
from chaind.wallet.builder import build_payment
from chaind.wallet.derivation import (
    DEVELOPMENT_MNEMONIC,
    development_key,
    faucet_key,
    seed_from_mnemonic,
)

VALIDATOR = SecretKey(b"\x07" * 32)
ALICE, BOB = development_key(0), development_key(1)
STRANGER = SecretKey(b"\x09" * 32)  # holds a coin; no node keeps its key
NOBODY = SecretKey(b"\x0a" * 32)  # never paid
COIN_AMOUNT = "77.5"
NO_SETTINGS = FaucetSection()
NO_KEYS = PaymentsSection()
NO_HOOKS = WebhooksSection()
NO_MINING = MinerSection()
TOKEN = "GOLD"


def free_port() -> int:
    """A port that nobody listens on now."""
    with socket.create_server(("127.0.0.1", 0)) as probe:
        return int(probe.getsockname()[1])


def make_genesis(**changes: Any) -> Genesis:
    """A development chain: money for faucet, alice and bob, one coin, one token."""
    genesis = Genesis(
        name="test",
        dev=True,
        time_ms=time.time_ns() // 1_000_000 - 1_000,
        validators=(Validator(public_key=VALIDATOR.public.hex(), name="v0"),),
        allocations=(),
    )

    def show(key: SecretKey) -> str:
        return genesis.addresses.show(key_address(key.public))

    genesis = msgspec.structs.replace(
        genesis,
        assets=(AssetEntry(symbol=TOKEN, issuer=show(ALICE)),),
        allocations=(
            Allocation(address=show(faucet_key()), amount="1000000"),
            Allocation(address=show(ALICE), amount="1000"),
            Allocation(address=show(ALICE), amount="50", asset=TOKEN),
            Allocation(address=show(BOB), amount="1000"),
            Allocation(address=show(STRANGER), amount=COIN_AMOUNT, coin=True),
        ),
    )
    genesis = msgspec.structs.replace(genesis, **changes)
    genesis.check()
    return genesis


async def start_node(
    home: Path,
    genesis: Genesis,
    api: ApiSection,
    *,
    custody: bool = True,
    faucet: FaucetSection = NO_SETTINGS,
    payments: PaymentsSection = NO_KEYS,
    webhooks: WebhooksSection = NO_HOOKS,
    miner: MinerSection = NO_MINING,
) -> tuple[Node, "asyncio.Task[None]"]:
    """A running node."""
    workers = SystemWorkers(2)
    directory = home / "chain"
    directory.mkdir()
    node = Node(
        config=Config(
            node=NodeSection(home=str(home), name="tested"),
            network=NetworkSection(p2p_port=0),
            api=api,
            custody=CustodySection(enabled=custody),
            faucet=faucet,
            payments=payments,
            webhooks=webhooks,
            miner=miner,
        ),
        genesis=genesis,
        identity=Identity(KeyPair(b"\x05" * 32), VALIDATOR),
        disk=open_disk(OsFiles(), directory, MemoryStore(), genesis),
        clock=SystemClock(),
        workers=workers,
        rng=Random(1),
        custody_seed=seed_from_mnemonic(DEVELOPMENT_MNEMONIC) if custody else None,
    )
    started = asyncio.Event()
    running = asyncio.create_task(_run(node, workers, started))
    await started.wait()
    if running.done():
        running.result()
    return node, running


async def _run(node: Node, workers: SystemWorkers, started: asyncio.Event) -> None:
    try:
        await node.run(started.set)
    finally:
        started.set()
        await workers.close()


class Door:
    """A client of one API, with the node behind it in reach."""

    def __init__(
        self, node: Node, server: ApiServer, home: Path, running: "asyncio.Task[None]"
    ) -> None:
        self.node = node
        self.running = running  # the node's life
        self.server = server
        self.home = home
        self.url = f"http://127.0.0.1:{server.port}"
        self.session: aiohttp.ClientSession

    async def __aenter__(self) -> "Door":
        self.session = aiohttp.ClientSession(self.url, trace_configs=[DESCRIBED.tracing()])
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.session.close()

    @property
    def token(self) -> dict[str, str]:
        """The header that carries the node's token."""
        return {"Authorization": "Bearer " + (self.home / "api.token").read_text().strip()}

    def show(self, key: SecretKey) -> str:
        """Address text of a key."""
        return self.node.genesis.addresses.show(key_address(key.public))

    async def get(self, path: str, status: int = 200, **kwargs: Any) -> Any:
        """The JSON of a GET, whose status must be this one."""
        async with self.session.get(path, **kwargs) as response:
            answer = await response.json(content_type=None)
            assert response.status == status, answer
            return answer

    async def post(self, path: str, body: Any = None, status: int = 200, **kwargs: Any) -> Any:
        """The JSON of a POST of JSON, whose status must be this one."""
        if body is not None:
            kwargs["json"] = body
        async with self.session.post(path, **kwargs) as response:
            answer = await response.json(content_type=None)
            assert response.status == status, answer
            return answer

    def payment(
        self,
        units: int = 1_000,
        *,
        source: SecretKey = ALICE,
        target: SecretKey = BOB,
        number: int = 0,
        asset: str = NATIVE,
        lease: Lease | None = None,
        memo: bytes = b"",
    ) -> Transaction:
        """A signed payment; `number` makes otherwise equal ones differ."""
        return build_payment(
            key=source,
            target=key_address(target.public),
            asset=asset,
            units=units,
            memo=memo,
            lease=lease,
            valid_until_ms=time.time_ns() // 1_000_000 + 60_000,
            salt=number.to_bytes(8, "big"),
            chain_prefix=self.node.genesis.chain_prefix,
            parameters=self.node.genesis.parameters,
        )
