"""One node of a chain of miners without network: the test is its peers.

Bodies are handed over by `give` as the engine asks for them; `mine` hands in blocks of its own.
"""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import msgspec
from harness import QUICK, address, make_genesis
from parts import START_MS, FakePeer, Inline, Talk, World, bodies_of, settled, turns
from work_kit import EASY, RULES, SUBSIDY, mined

from chaind.ledger.execute import Receipt
from chaind.network import messages as wire
from chaind.node.compact import in_short
from chaind.node.durable import GroupCommit
from chaind.node.returns import Returns
from chaind.node.work_engine import WorkEngine
from chaind.primitives.block import Block
from chaind.primitives.genesis import Genesis, ProofOfWork
from chaind.primitives.transaction import Transaction


def work_genesis(final_depth: int = 5, minimum: str = "0") -> Genesis:
    work = ProofOfWork(
        rules=RULES, start_bits=EASY, final_depth=final_depth, minimum_chain_work=minimum
    )
    parameters = {"subsidy_units": SUBSIDY, "coinbase_maturity": 2}
    return make_genesis([], START_MS, parameters, QUICK, [("alice", "5")], work)


GENESIS = work_genesis()


class WorkWorld(World):
    """One node's parts on a chain of miners; the test is its network."""

    def __init__(self, path: Path, *names: str, genesis: Genesis = GENESIS) -> None:
        super().__init__(path, genesis)
        self.talk = Talk(*names)
        self.body_commit = GroupCommit((self.store.bodies,), Inline())
        self.returns = Returns(
            chain=self.chain,
            pool=self.pool,
            tracker=self.tracker,
            restore=self.intake.restore,
        )
        self.events.subscribe(self.returns.handle)
        self.engine = WorkEngine(
            chain=self.chain,
            finality=self.finality,
            store=self.store,
            commit=self.body_commit,
            network=self.talk,
            clock=self.clock,
            restore=self.returns.take,
        )
        self.engine.bodies, _ = bodies_of(self, self.talk)
        self.engine.bodies._on_verdict = self.engine.on_verdict

    def _on_final(self) -> None:
        super()._on_final()
        self.engine.advanced()

    def peer(self, name: str) -> FakePeer:
        return next(peer for peer in self.talk.connected if peer.node_id == name)

    def hear(self, name: str, message: wire.Message) -> None:
        self.engine.received(self.peer(name), message)  # type: ignore[arg-type]

    def sent(self, kind: type[wire.Message]) -> list[tuple[str, Any]]:
        """What was sent of a kind since the last look at anything."""
        return [(peer.node_id, one) for peer, one in self.talk.take() if isinstance(one, kind)]

    def offer(self, *transactions: Transaction) -> None:
        """Put transactions into the pool."""
        for transaction in transactions:
            checked = self.check(transaction)
            self.pool.add(Receipt(checked, checked.fee or 0, ()), 0, lambda _row: 1 << 62)

    async def mine(self, count: int = 1, to: str = "carol") -> list[Block]:
        blocks = []
        for _ in range(count):
            blocks.append(mined(self.engine.next_block.template(address(to))))
            await self.engine.submit(blocks[-1])
        return blocks

    async def bodies_come(self, block: Block) -> None:
        """A body arrives, whoever was asked for it."""
        assert self.engine.bodies is not None
        await self.engine._keep(block)
        self.engine._wanted.set()

    async def give(self, name: str, *blocks: Block) -> None:  # type: ignore[override]
        """A peer announces a branch and hands over what it is asked for."""
        self.hear(name, wire.Headers(b"".join(block.header_bytes for block in blocks)))
        await self.serve(name, *blocks)

    async def serve(self, name: str, *blocks: Block) -> None:
        """Hand over bodies that a peer is asked for."""
        by_hash = {block.hash: block for block in blocks}
        asked = self.talk.take()
        for peer, message in asked:  # grows by what a short block lacks
            if peer.node_id == name and isinstance(message, ASKING):
                self.hear(name, answer_of(by_hash[message.block_hash], message))
                more = [one for one in self.talk.sent if isinstance(one[1], ASKING[-1])]
                self.talk.sent = [one for one in self.talk.sent if one not in more]
                asked += more
        await settled(lambda: not self.engine._arrivals)
        await turns()


ASKING = (wire.GetBlock, wire.GetCompact, wire.GetBlockTransactions)


def answer_of(block: Block, asked: wire.Message) -> wire.Message:
    """What a peer that holds a block answers."""
    if isinstance(asked, wire.GetCompact):
        return in_short(block)
    if isinstance(asked, wire.GetBlockTransactions):
        held = {one.wtxid: one.raw for one in block.transactions}
        return wire.BlockTransactions(block.hash, tuple(held[one] for one in asked.wtxids))
    return wire.BlockData(block.hash, block.encode())


@asynccontextmanager
async def running(path: Path, *names: str, genesis: Genesis = GENESIS) -> AsyncIterator[WorkWorld]:
    """A world whose tasks run, connected to these peers, whose first question is answered."""
    world = WorkWorld(path, *names, genesis=genesis)
    tasks = [
        asyncio.create_task(work)
        for work in (world.finality.run(), world.engine.run(), world.body_commit.run())
    ]
    world.engine.start(())
    for peer in world.talk.connected:
        world.engine.peer_up(peer)  # type: ignore[arg-type]
        world.hear(peer.node_id, wire.Headers(b""))
    world.talk.take()
    try:
        yield world
        for task in tasks:
            if task.done():
                task.result()
    finally:
        for task in tasks:
            task.cancel()
        world.close()


def remade(block: Block, *transactions: Transaction, **parts: Any) -> Block:
    """The block with other parts, mined again."""
    made = Block.assemble(
        parent=parts.get("parent", block.parent),
        time=parts.get("time", block.header.time),
        bits=parts.get("bits", block.header.bits),
        coinbase=parts.get("coinbase", block.coinbase_bytes),
        commitment=msgspec.structs.replace(block.commitment, **parts.get("said", {})),
        transactions=transactions or block.transactions,
    )
    return mined(made)
