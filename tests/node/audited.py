"""A chain to audit: two coins spent, a lease, payments between accounts; on stores in memory."""

from harness import address, secret
from parts import START_MS, World

from chaind.ledger.block import GENESIS_COIN_TXID
from chaind.node.audit import Report
from chaind.node.audit_home import audit_disk
from chaind.primitives.block import Block
from chaind.primitives.transaction import (
    VERSION,
    AccountOutput,
    Body,
    Burn,
    CoinInput,
    CoinOutput,
    Issue,
    Lease,
    Transaction,
)
from chaind.storage.kv import KeyValue, MemoryStore
from chaind.wallet.builder import sign

UNIT = 10**8
BLOCKS = 4


def coin_spend(world: World) -> Transaction:
    """Alice's first coin becomes a coin of bob's and money on her account."""
    outputs = (CoinOutput(address("bob"), 2 * UNIT), AccountOutput(address("alice"), "", 3 * UNIT))
    inputs = (CoinInput(GENESIS_COIN_TXID, 0),)
    prefix = world.genesis.chain_prefix
    body = Body(VERSION, prefix, b"coin-one", None, None, inputs, outputs, None, b"")
    return sign(body, secret("alice"))


def action(world: World, salt: bytes, what: Issue | Burn) -> Transaction:
    """An asset issued or burnt by alice."""
    prefix, until = world.genesis.chain_prefix, START_MS + 60_000
    return sign(Body(VERSION, prefix, salt, until, None, (), (), what, b""), secret("alice"))


async def grow(world: World) -> list[Block]:
    """Four final blocks."""
    lease = Lease(address("alice"), b"L" * 32, b"I" * 32)
    issue = action(world, b"issue-it", Issue("GOLD", address("alice"), 70 * UNIT, True))
    burn = action(world, b"burn-it-", Burn(address("alice"), "GOLD", 20 * UNIT))
    contents = (
        [world.payment(units=5), world.payment("bob", "alice", 3)],
        [coin_spend(world)],
        [world.payment(units=9, lease=lease), issue],
        [burn],
    )
    blocks = []
    for view, transactions in enumerate(contents, start=1):
        world.clock.ms += 10
        block = world.block(view, *transactions).body.block
        await world.make_final(block)
        blocks.append(block)
    return blocks


def database_of(world: World) -> KeyValue:
    """The rows of a world."""
    return world.store._database


def audit_world(world: World) -> Report:
    """The audit of its files and rows."""
    return audit_disk(world.genesis, world.disk, database_of(world), MemoryStore())
