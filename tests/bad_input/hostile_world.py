"""One real node with every door open, and what must not change when bad input comes in.

The chain has two validators: the node, whose weight alone is a quorum, and one that the tests play.
So the node makes progress by itself, and every second view is led by somebody hostile.
"""

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from random import Random
from typing import Any, NamedTuple

import aiohttp
import msgspec

from chaind.api.app import ApiServer
from chaind.ledger.block import GENESIS_COIN_TXID
from chaind.ledger.keys import Coin, coin_key
from chaind.network.noise import KeyPair
from chaind.node.clock import SystemClock
from chaind.node.config import ApiSection, Config, CustodySection, NetworkSection, NodeSection
from chaind.node.intake import Submission
from chaind.node.node import Node
from chaind.node.parts import Identity
from chaind.node.recovery import open_disk
from chaind.node.workers import SystemWorkers
from chaind.primitives.address import key_address, policy_address
from chaind.primitives.codec import encode
from chaind.primitives.genesis import (
    Allocation,
    AssetEntry,
    ConsensusParameters,
    Genesis,
    Parameters,
    Validator,
)
from chaind.primitives.hashes import sha256
from chaind.primitives.keys import SecretKey
from chaind.primitives.policy import After, And, Pk, Policy
from chaind.primitives.transaction import (
    NATIVE,
    VERSION,
    AccountInput,
    AccountOutput,
    Body,
    CoinInput,
    CoinOutput,
    KeyWitness,
    Lease,
    PolicyWitness,
    Transaction,
)
from chaind.storage.files import OsFiles
from chaind.storage.kv import MemoryStore
from chaind.storage.schema import ACTIVITY, COIN, OUTCOME, STATE, TRANSACTION
from chaind.wallet.builder import sign
from chaind.wallet.derivation import (
    DEVELOPMENT_MNEMONIC,
    development_key,
    faucet_key,
    seed_from_mnemonic,
)

WAIT_S = 10.0  # far beyond what anything here takes; only a failing test waits that long
OURS, HOSTILE = SecretKey(b"\x07" * 32), SecretKey(b"\x08" * 32)
ALICE, BOB = development_key(0), development_key(1)
STRANGER, NOBODY = SecretKey(b"\x09" * 32), SecretKey(b"\x0a" * 32)
TOKEN, FIXED = "GOLD", "ORE"
FAR_MS = 4_000_000_000_000  # 2096
TIMED: Policy = And(Pk(ALICE.public), After(FAR_MS))
TIMED_ADDRESS = policy_address(encode(TIMED))
MINED = CoinInput(b"\x4d" * 32, 0)  # a coinbase coin of height 1: bft has none, pow will
ALICE_COIN, STRANGER_COIN, SPENT_COIN = (CoinInput(GENESIS_COIN_TXID, i) for i in range(3))
LEASE_ID, INTENT = sha256(b"lease"), sha256(b"intent")


def own(key: SecretKey) -> bytes:
    """The address of a key."""
    return key_address(key.public)


def make_genesis(**parameters: int) -> Genesis:
    """Quick blocks, small transactions, money in every shape."""
    genesis = Genesis(
        name="bad input",
        dev=True,
        time_ms=time.time_ns() // 1_000_000 - 1_000,
        validators=(
            Validator(public_key=OURS.public.hex(), weight=10),
            Validator(public_key=HOSTILE.public.hex()),
        ),
        allocations=(),
        parameters=Parameters(
            **{"coinbase_maturity": 1_000_000, "transaction_bytes_max": 20_000, **parameters}
        ),
        consensus=ConsensusParameters(delta_ms=40, block_budget_ms=20, empty_block_interval_ms=40),
    )
    show = genesis.addresses.show
    coins = [(own(ALICE), "5"), (own(STRANGER), "77.5"), (own(ALICE), "6")]
    accounts = [
        (own(faucet_key()), "1000000", NATIVE),
        (own(ALICE), "1000", NATIVE),
        (own(BOB), "1000", NATIVE),
        (TIMED_ADDRESS, "10", NATIVE),
        (own(ALICE), "50", TOKEN),
        (own(ALICE), "50", FIXED),
    ]
    genesis = msgspec.structs.replace(
        genesis,
        assets=(
            AssetEntry(symbol=TOKEN, issuer=show(own(ALICE))),
            AssetEntry(symbol=FIXED, issuer=show(own(ALICE)), mintable=False),
        ),
        allocations=(
            *(Allocation(address=show(owner), amount=units, coin=True) for owner, units in coins),
            *(Allocation(address=show(who), amount=units, asset=a) for who, units, a in accounts),
        ),
    )
    genesis.check()
    return genesis


class Standing(NamedTuple):
    """All that bad input must leave as it is. Empty blocks may come and go."""

    rows: dict[bytes, bytes]
    pool: tuple[bytes, ...]
    journal: object


class World:
    """A running node, its API, and a client of it. `submitted` is what peers' transactions got."""

    def __init__(self, node: Node, server: ApiServer, store: MemoryStore, home: Path) -> None:
        self.node = node
        self.server = server
        self.store = store
        self.home = home
        self.genesis = node.genesis
        self.url = f"http://127.0.0.1:{server.port}"
        self.session: aiohttp.ClientSession
        self.submitted: list[Submission] = []
        self.applied: Transaction
        self._salt = 0
        door = node.intake.submit

        async def submit(raws: Any, *, local: bool, source: str | None = None) -> list[Submission]:
            results = await door(raws, local=local, source=source)
            self.submitted += results
            return results

        node.ingest._submit = submit

    @property
    def now_ms(self) -> int:
        """Chain time, near enough."""
        return self.node.chain.final.time_ms

    def body(self, inputs: Any, outputs: Any, **fields: Any) -> Body:
        """A body that is right where `fields` do not say otherwise."""
        self._salt += 1
        given = {
            "version": VERSION,
            "chain": self.genesis.chain_prefix,
            "salt": self._salt.to_bytes(8, "big"),
            "valid_until": self.now_ms + 600_000,
            "lease": None,
            "action": None,
            "memo": b"",
            **fields,
        }
        return Body(inputs=tuple(inputs), outputs=tuple(outputs), **given)

    def pay(self, key: SecretKey = ALICE, units: int = 1_000, **fields: Any) -> Transaction:
        """A payment to bob from a key's account."""
        asset = fields.pop("asset", NATIVE)
        inputs = [AccountInput(own(key), asset, units)]
        return sign(self.body(inputs, [AccountOutput(own(BOB), asset, units)], **fields), key)

    def spend(self, coin: CoinInput, units: int, *keys: SecretKey, **fields: Any) -> Transaction:
        """A coin, whole, to a coin of bob's."""
        return sign(self.body([coin], [CoinOutput(own(BOB), units)], **fields), *keys)

    def witnessed(self, transaction: Transaction, *witnesses: Any) -> Transaction:
        """The same body under other witnesses."""
        return Transaction(transaction.body, witnesses)

    def policy_pay(self, policy: Any, **witness: Any) -> Transaction:
        """A payment from a policy's account, signed by alice where a key is asked for."""
        encoded = policy if isinstance(policy, bytes) else encode(policy)
        inputs = [AccountInput(policy_address(encoded), NATIVE, 5)]
        body = self.body(inputs, [AccountOutput(own(BOB), NATIVE, 5)])
        digest = Transaction(body, ()).sighash
        given = {
            "branches": (),
            "signatures": ((0, ALICE.sign(digest)),),
            "preimages": (),
            **witness,
        }
        return Transaction(body, (PolicyWitness(encoded, **given),))

    def standing(self) -> Standing:
        """See `Standing`."""
        kept = (STATE, TRANSACTION, ACTIVITY, COIN, OUTCOME)
        rows = {key: value for key, value in self.store.scan(b"", None) if key[:1] in kept}
        pool = tuple(entry.checked.txid for entry in self.node.pool.entries())
        return Standing(rows, pool, self.node._disk.journal.end)

    async def until(self, condition: Any) -> None:
        """Wait for what no event tells."""
        async with asyncio.timeout(WAIT_S):
            while not condition():  # noqa: ASYNC110
                await asyncio.sleep(0.002)

    async def serves(self) -> None:
        """It still pays, over HTTP, to the end; and nothing else waits afterwards."""
        payment = {"from": "alice", "to": "bob", "amount": "0.00000001"}
        key = {"Idempotency-Key": self._salt.to_bytes(8, "big").hex()}
        self._salt += 1
        async with self.session.post("/transfer", json=payment, headers=key) as response:
            assert response.status == 200, await response.text()
            assert (await response.json())["status"] == "success"

    async def settled(self, *transactions: Transaction) -> None:
        """Submit good ones and wait until they are final."""
        for result in await self.node.intake.submit(
            [item.raw for item in transactions], local=True
        ):
            assert result.error is None, result.error
        await self.until(
            lambda: all(self.node.queries.is_final(item.txid) for item in transactions)
        )


@asynccontextmanager
async def running_world(home: Path, **parameters: int) -> AsyncIterator[World]:
    """A node with a spent coin, a taken lease and a payment behind it."""
    genesis = make_genesis(**parameters)
    workers = SystemWorkers(2)
    (home / "chain").mkdir()
    store = MemoryStore()
    disk = open_disk(OsFiles(), home / "chain", store, genesis)
    coin = Coin(own(ALICE), 500, 1, coinbase=True)
    store.write([(STATE + coin_key(MINED.txid, 0), coin.encode())], sync=True)
    node = Node(
        config=Config(
            node=NodeSection(home=str(home), name="tested"),
            network=NetworkSection(p2p_port=0),
            api=ApiSection(api_port=0, requests_per_second=100_000, requests_burst=100_000),
            custody=CustodySection(enabled=True),
        ),
        genesis=genesis,
        identity=Identity(KeyPair(b"\x05" * 32), OURS),
        disk=disk,
        clock=SystemClock(),
        workers=workers,
        rng=Random(1),
        custody_seed=seed_from_mnemonic(DEVELOPMENT_MNEMONIC),
    )
    started = asyncio.Event()
    running = asyncio.create_task(_run(node, workers, started))
    await started.wait()
    server = ApiServer(node)
    await server.start()
    world = World(node, server, store, home)
    try:
        async with aiohttp.ClientSession(world.url) as world.session:
            if not parameters.get("min_block_interval_ms"):
                lease = Lease(own(ALICE), LEASE_ID, INTENT)
                world.applied = world.pay(lease=lease)
                await world.settled(world.applied, world.spend(SPENT_COIN, 600_000_000, ALICE))
            yield world
        if running.done():
            running.result()
    finally:
        await server.stop()
        node.stop()
        await asyncio.wait_for(running, WAIT_S)


async def _run(node: Node, workers: SystemWorkers, started: asyncio.Event) -> None:
    try:
        await node.run(started.set)
    finally:
        started.set()
        await workers.close()


def key_witness(key: SecretKey, digest: bytes) -> KeyWitness:
    """The witness of a key address."""
    return KeyWitness(key.public, key.sign(digest))
