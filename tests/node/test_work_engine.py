"""The shell around the block tree, with the test as its peers: what it asks, keeps and refuses."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import msgspec
import pytest
from harness import QUICK, UNIT, address, make_genesis, secret
from parts import START_MS, FakePeer, Inline, Talk, World, bodies_of, settled
from work_kit import EASY, RULES, SUBSIDY, mined

from chaind.consensus.pow.errors import HashTooHigh, TimeTooNew
from chaind.consensus.pow.sync import IDLE_MS
from chaind.consensus.pow.tree_errors import ParentInvalid
from chaind.ledger.block import GENESIS_COIN_TXID
from chaind.ledger.errors import BlockInvalid, BlockTransactionInvalid, RootMismatch
from chaind.ledger.execute import Receipt
from chaind.network import messages as wire
from chaind.node.bodies import WrongBlock
from chaind.node.durable import GroupCommit
from chaind.node.templates import make_template
from chaind.node.work_engine import ParentUnknown, WorkEngine
from chaind.primitives.block import Block, Header, MerkleMismatch
from chaind.primitives.codec import encode
from chaind.primitives.coinbase import CoinbaseInvalid, address_script, encode_coinbase
from chaind.primitives.genesis import Genesis, ProofOfWork
from chaind.primitives.hashes import merkle_root, sha256d
from chaind.primitives.transaction import VERSION, CoinInput, CoinOutput, Lease, Transaction
from chaind.primitives.transaction import Body as TxBody
from chaind.wallet.builder import sign


def work_genesis(final_depth: int = 5) -> Genesis:
    work = ProofOfWork(rules=RULES, start_bits=EASY, final_depth=final_depth)
    parameters = {"subsidy_units": SUBSIDY, "coinbase_maturity": 2}
    return make_genesis([], START_MS, parameters, QUICK, [("alice", "5")], work)


GENESIS = work_genesis()


class WorkWorld(World):
    """One node's parts on a chain of miners; the test is its network."""

    def __init__(self, path: Path, *names: str, genesis: Genesis = GENESIS) -> None:
        super().__init__(path, genesis)
        self.talk = Talk(*names)
        self.body_commit = GroupCommit((self.store.bodies,), Inline())
        self.engine = WorkEngine(
            chain=self.chain,
            finality=self.finality,
            store=self.store,
            commit=self.body_commit,
            network=self.talk,
            clock=self.clock,
            restore=self.intake.restore,
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
            blocks.append(mined(self.engine.template(address(to))))
            await self.engine.submit(blocks[-1])
        return blocks

    async def give(self, name: str, *blocks: Block) -> None:  # type: ignore[override]
        """A peer announces a branch and hands over what it is asked for."""
        self.hear(name, wire.Headers(b"".join(block.header_bytes for block in blocks)))
        await self.serve(name, *blocks)

    async def serve(self, name: str, *blocks: Block) -> None:
        """Hand over bodies that a peer is asked for."""
        by_hash = {block.hash: block for block in blocks}
        for peer, message in self.talk.take():
            if peer.node_id == name and isinstance(message, wire.GetBlock):
                raw = by_hash[message.block_hash].encode()
                self.hear(name, wire.BlockData(message.block_hash, raw))
        await settled(lambda: not self.engine._arrivals)
        for _ in range(5):
            await asyncio.sleep(0)


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


@pytest.fixture
async def node(tmp_path: Path) -> AsyncIterator[WorkWorld]:
    async with running(tmp_path / "node", "a", "b") as world:
        yield world


@pytest.fixture
async def maker(tmp_path: Path) -> AsyncIterator[WorkWorld]:
    async with running(tmp_path / "maker") as world:
        yield world


def remade(block: Block, *transactions: Transaction, **parts: Any) -> Block:
    """The block with other parts, mined again."""
    made = Block.assemble(
        parent=parts.get("parent", block.parent),
        time=parts.get("time", block.header.time),
        bits=block.header.bits,
        coinbase=parts.get("coinbase", block.coinbase_bytes),
        commitment=msgspec.structs.replace(block.commitment, **parts.get("said", {})),
        transactions=transactions or block.transactions,
    )
    return mined(made)


# What peers are told and asked.


async def test_a_new_peer_is_asked_for_headers_and_told_what_is_final(node: WorkWorld) -> None:
    await node.mine(8)
    await settled(lambda: node.chain.final.height == 3)
    node.talk.connected.append(FakePeer("c"))
    node.talk.take()
    node.engine.peer_up(node.peer("c"))  # type: ignore[arg-type]
    (_, tip), (_, question) = node.talk.take()
    assert tip == wire.Tip(3)
    assert isinstance(question, wire.GetHeaders)
    assert question.locator[0] == node.chain.executed()[-2].body.block.hash
    assert question.locator[-1] == GENESIS.hash


async def test_headers_are_served_from_the_store_and_the_tree(node: WorkWorld) -> None:
    blocks = await node.mine(8)
    await settled(lambda: node.chain.final.height == 3)
    records = [block.header_bytes for block in blocks]
    for start in (0, 1, 2, 3, 4, 7, 8):
        at = GENESIS.hash if start == 0 else blocks[start - 1].hash
        node.talk.take()
        node.hear("a", wire.GetHeaders((bytes(32), at, GENESIS.hash)))
        assert node.sent(wire.Headers) == [("a", wire.Headers(b"".join(records[start:])))]
    node.hear("a", wire.GetHeaders((bytes(32),)))
    assert node.sent(wire.Headers) == [("a", wire.Headers(b""))], "another chain's"


async def test_a_mined_block_is_announced_to_who_is_not_known_to_have_it(
    node: WorkWorld, maker: WorkWorld
) -> None:
    [first] = await maker.mine()
    await node.give("a", first)
    await settled(lambda: any(isinstance(one, wire.Headers) for _, one in node.talk.sent))
    assert node.sent(wire.Headers) == [("b", wire.Headers(first.header_bytes))]
    [second] = await node.mine()
    await settled(lambda: len(node.talk.sent) == 2)
    told = [("a", wire.Headers(second.header_bytes)), ("b", wire.Headers(second.header_bytes))]
    assert node.sent(wire.Headers) == told


async def test_a_branch_comes_over_and_is_executed(node: WorkWorld, maker: WorkWorld) -> None:
    maker.offer(maker.payment(units=7))
    blocks = await maker.mine(3)
    await node.give("a", *blocks)
    assert node.chain.head == maker.chain.head
    assert node.engine.behind == 0
    assert node.engine.blocks_total == 3


async def test_a_reorganisation_returns_what_was_lost_to_the_pool(
    node: WorkWorld, maker: WorkWorld
) -> None:
    only_here, both = node.payment(units=1), node.payment("bob", "alice", 2)
    node.offer(only_here, both)
    mine = await node.mine(2)
    assert len(mine[0].transactions) == 2
    maker.offer(both)
    theirs = await maker.mine(3)
    node.pool.remove(only_here.txid)
    await node.give("a", *theirs)
    assert node.chain.head.hash == theirs[-1].hash
    assert [entry.checked.txid for entry in node.pool.select()] == [only_here.txid]
    assert node.pool.get(both.txid) is not None
    assert (node.engine.reorgs_total, node.engine.reorg_depth_max) == (1, 2)
    [next_block] = await node.mine()
    assert [one.txid for one in next_block.transactions] == [only_here.txid]


async def test_of_equal_work_the_first_stays(node: WorkWorld, maker: WorkWorld) -> None:
    mine, theirs = await node.mine(2), await maker.mine(2, to="bob")
    await node.give("a", *theirs)
    assert node.chain.head.hash == mine[-1].hash
    assert node.engine.tree.get(theirs[-1].hash) is not None
    more = await maker.mine(1)
    await node.give("a", *more)
    assert node.chain.head.hash == more[-1].hash


async def test_depth_makes_final_and_deeper_branches_are_refused(
    node: WorkWorld, maker: WorkWorld
) -> None:
    mine = await node.mine(7)
    await settled(lambda: node.chain.final.height == 2)
    assert node.store.tip.hash == mine[1].hash
    assert len(node.engine.tree) == 6
    await node.give("a", *await maker.mine(20, to="bob"))
    assert node.chain.head.hash == mine[-1].hash
    assert not node.talk.punished, "it is nobody's fault"
    await node.give("b", remade(mine[-1], time=mine[-1].header.time + 1))
    assert len(node.engine.tree) == 7, "others are heard as before"


async def test_nothing_is_final_while_a_peer_owes_headers(node: WorkWorld) -> None:
    node.talk.connected.append(FakePeer("c"))
    node.engine.peer_up(node.peer("c"))  # type: ignore[arg-type]
    await node.mine(8)
    assert node.chain.final.height == 0
    assert node.engine.syncing
    node.hear("c", wire.Headers(b""))
    await settled(lambda: node.chain.final.height == 3)
    assert not node.engine.syncing


# What is refused.


async def test_a_block_that_breaks_a_rule_of_the_state_is_out_for_ever(
    node: WorkWorld, maker: WorkWorld
) -> None:
    [good] = await node.mine()
    honest = mined(maker.engine.template(address("bob")))
    scripts = [(address_script(address("bob")), SUBSIDY + 1)]
    greedy = remade(honest, coinbase=encode_coinbase(1, outputs=scripts))
    above = remade(greedy, parent=greedy.hash, time=greedy.header.time + 1, said={"height": 2})
    above = remade(above, coinbase=encode_coinbase(2), said={"height": 2}, parent=greedy.hash)
    await node.give("a", greedy, above)
    assert node.chain.head.hash == good.hash
    entry = node.engine.tree.get(above.hash)
    assert entry is not None
    assert entry.invalid
    assert node.engine.tree.best.hash == good.hash
    node.hear("b", wire.Headers(above.header_bytes))
    assert [peer.node_id for peer, _ in node.talk.dropped] == ["b"]
    assert isinstance(node.talk.dropped[0][1], ParentInvalid)


@pytest.mark.parametrize(
    ("parts", "error"),
    [
        ({"said": {"parent_root": bytes(32)}}, RootMismatch),
        ({"said": {"view": 3}}, BlockInvalid),
        ({"coinbase": encode_coinbase(2)}, BlockInvalid),
        ({"time": GENESIS.time_ms // 1000 + 100_000}, TimeTooNew),
    ],
)
async def test_a_bad_block_that_is_handed_in_says_why(
    node: WorkWorld, parts: dict[str, Any], error: type[Exception]
) -> None:
    template = node.engine.template(address("bob"))
    with pytest.raises(error):
        await node.engine.submit(remade(template, **parts))
    assert node.chain.head.height == 0
    with pytest.raises(error if error is TimeTooNew else Exception):
        await node.engine.submit(remade(template, **parts))
    assert len(await node.mine(2)) == 2


async def test_a_transaction_that_does_not_apply_makes_its_block_invalid(node: WorkWorld) -> None:
    poor = node.payment(units=10**18)
    template = node.engine.template(address("bob"))
    with pytest.raises(BlockTransactionInvalid):
        await node.engine.submit(remade(template, poor))
    assert node.engine.tree.ready.height == 0


async def test_a_block_without_work_or_parent_is_refused(node: WorkWorld) -> None:
    template = node.engine.template(address("bob"))
    target_missed = next(
        Block(header, template.coinbase_bytes, template.commitment_bytes, ())
        for nonce in range(100)
        for header in [msgspec.structs.replace(template.header, nonce=nonce)]
        if sha256d(header.encode())[31] > 0x7F
    )
    with pytest.raises(HashTooHigh):
        await node.engine.submit(target_missed)
    with pytest.raises(ParentUnknown):
        await node.engine.submit(remade(template, parent=b"x" * 32))


async def test_other_bytes_than_were_asked_for_are_the_sender_s_fault(
    node: WorkWorld, maker: WorkWorld
) -> None:
    maker.offer(maker.payment(units=3))
    first, second = await maker.mine(2)
    records = first.header_bytes + second.header_bytes
    node.hear("a", wire.Headers(records))
    node.hear("a", wire.BlockData(first.hash, second.encode()))
    await settled(lambda: node.talk.punished)
    assert isinstance(node.talk.punished[0][1], WrongBlock)
    cut = encode((first.header_bytes, first.coinbase_bytes, first.commitment_bytes, ()))
    node.hear("b", wire.Headers(records))
    assert ("b", wire.GetBlock(first.hash)) not in node.sent(wire.GetBlock), "it is asked of a"
    node.engine.peer_down(node.peer("a"))  # type: ignore[arg-type]
    assert ("b", wire.GetBlock(first.hash)) in node.sent(wire.GetBlock)
    node.hear("b", wire.BlockData(first.hash, cut))
    await settled(lambda: len(node.talk.punished) == 2)
    assert isinstance(node.talk.punished[1][1], MerkleMismatch)
    entry = node.engine.tree.get(first.hash)
    assert entry is not None
    assert not entry.invalid, "the block itself may be sound"


async def test_a_body_that_is_malformed_under_its_own_header_is_invalid(
    node: WorkWorld, maker: WorkWorld
) -> None:
    honest = maker.engine.template(address("bob"))
    script = b"\x51"  # OP_TRUE: the ledger could not tell who owns it
    coinbase = encode_coinbase(1, outputs=[(script, 5)])
    root = merkle_root([sha256d(coinbase), sha256d(honest.commitment_bytes)])
    header = msgspec.structs.replace(honest.header, merkle_root=root)
    header = mined_header(header)
    raw = encode((header.encode(), coinbase, honest.commitment_bytes, ()))
    block_hash = sha256d(header.encode())
    node.hear("a", wire.Headers(header.encode()))
    node.hear("a", wire.BlockData(block_hash, raw))
    await settled(lambda: node.talk.punished)
    assert isinstance(node.talk.punished[0][1], CoinbaseInvalid)
    entry = node.engine.tree.get(block_hash)
    assert entry is not None
    assert entry.invalid
    assert node.engine.tree.best.height == 0


def mined_header(header: Header) -> Header:
    for nonce in range(1_000):
        tried = msgspec.structs.replace(header, nonce=nonce)
        if sha256d(tried.encode())[31] <= 0x7E:
            return tried
    raise AssertionError("no nonce does it")


async def test_bodies_that_nobody_asked_for_are_dropped(node: WorkWorld, maker: WorkWorld) -> None:
    [block] = await maker.mine()
    node.hear("a", wire.BlockData(block.hash, block.encode()))
    assert not node.engine._arrivals
    node.hear("a", wire.Headers(block.header_bytes))
    node.hear("b", wire.BlockData(block.hash, block.encode()))
    assert not node.engine._arrivals
    node.hear("a", wire.BlockData(block.hash, None))
    assert node.sent(wire.GetBlock)[-1] == ("a", wire.GetBlock(block.hash))
    node.hear("b", wire.Headers(block.header_bytes))
    assert node.sent(wire.GetBlock) == [("b", wire.GetBlock(block.hash))]


@pytest.mark.parametrize("message", [wire.Status(1, 1, 1, bytes(32), 1), wire.Votes(())])
async def test_messages_of_validators_have_no_place_here(
    node: WorkWorld, message: wire.Message
) -> None:
    with pytest.raises(wire.MessageOutOfPlace):
        node.hear("a", message)


async def test_a_silent_peer_is_asked_again_after_a_while(node: WorkWorld) -> None:
    node.clock.ms += int(IDLE_MS)
    node.engine.tick()
    assert {name for name, _ in node.sent(wire.GetHeaders)} == {"a", "b"}


# Starting again.


async def test_a_restart_finds_the_branches_and_the_head_again(tmp_path: Path) -> None:
    async with running(tmp_path / "maker") as maker:
        rival = await maker.mine(2, to="bob")
    async with running(tmp_path / "node", "a") as node:
        await node.mine(2)
        await node.give("a", *rival)
        blocks = await node.mine(2)
        head = node.chain.head
        node.store.bodies.sync()
        raws = [raw for _, raw in node.store.bodies.replay()]
        assert len(raws) == 6
    async with running(tmp_path / "again", "a") as again:
        for raw in reversed(raws):  # in whatever order they came
            World.give(again, Block.decode(raw))
        again.engine.start(())
        assert again.chain.head == head
        tree = again.engine.tree
        assert tree.best.hash == tree.ready.hash == blocks[-1].hash
        assert tree.get(rival[-1].hash) is not None


# Templates.


async def test_a_template_pays_subsidy_and_fees(node: WorkWorld) -> None:
    node.offer(node.payment(units=7))
    template = node.engine.template(address("carol"), b"/extra nonce 0001/")
    [output] = template.coinbase.outputs
    assert (output.address, output.amount) == (address("carol"), SUBSIDY)
    assert b"/extra nonce 0001/" in template.coinbase_bytes
    assert len(template.transactions) == 1
    assert template.header.time == node.clock.ms // 1000
    assert node.chain.head.height == 0
    assert (
        make_template(node.chain, parent_hash=bytes(32), time=1, bits=EASY, address=address("bob"))
        is None
    )


# Reorganisations of any depth.


def contents(world: WorkWorld, number: int, salt: str) -> list[Transaction]:
    """Payments, a lease and a coin that the same block of another branch spends otherwise."""
    target = "carol" if salt == "left" else "bob"
    lease = Lease(address("alice"), sha256d(bytes([number])), sha256d(salt.encode()))
    shared = sha256d(b"both" + bytes([number]))[:8]
    made = [
        world.payment("alice", target, number, lease=lease, salt=sha256d(lease.intent)[:8]),
        world.payment("bob", "carol", 1, salt=shared, valid_ms=600_000),
    ]
    if number == 1:
        outputs = (CoinOutput(address(target), 5 * UNIT),)
        inputs = (CoinInput(GENESIS_COIN_TXID, 0),)
        prefix = world.genesis.chain_prefix
        body = TxBody(
            VERSION, prefix, salt.encode()[:4] * 2, None, None, inputs, outputs, None, b""
        )
        made.append(sign(body, secret("alice")))
    return made


async def branch(world: WorkWorld, length: int, salt: str) -> list[Block]:
    """So many blocks, each with transactions of its own and some that the other branch has too."""
    blocks = []
    for number in range(1, length + 1):
        for transaction in contents(world, number, salt):
            if world.chain.find(transaction.txid) is None:
                world.offer(transaction)
        blocks += await world.mine(to="carol" if salt == "left" else "bob")
    return blocks


@pytest.mark.parametrize("depth", [1, 2, 3, 17, 100])
async def test_a_reorganisation_of_any_depth_leaves_what_a_replay_makes(
    tmp_path: Path, depth: int
) -> None:
    genesis = work_genesis(final_depth=200)
    async with (
        running(tmp_path / "left", genesis=genesis) as left,
        running(tmp_path / "right", genesis=genesis) as right,
        running(tmp_path / "node", "a", "b", genesis=genesis) as node,
    ):
        ours, theirs = (
            await branch(left, depth + 2, "left"),
            await branch(right, depth + 1, "right"),
        )
        await feed(node, "a", ours[:depth])
        assert node.chain.head == left.chain.info(ours[depth - 1].hash)
        await feed(node, "b", theirs)
        assert node.chain.head == right.chain.head
        assert node.engine.reorg_depth_max == depth
        await feed(node, "a", ours[depth:])
        assert node.chain.head == left.chain.head
        included = {one.txid for block in ours for one in block.transactions}
        waiting = {entry.checked.txid for entry in node.pool.select()}
        assert included.isdisjoint(waiting)
        assert node.chain.state.depth == depth + 2


async def feed(node: WorkWorld, name: str, blocks: list[Block]) -> None:
    """A peer announces a branch, and hands over bodies until none is asked for."""
    node.hear(name, wire.Headers(b"".join(block.header_bytes for block in blocks)))
    while any(isinstance(message, wire.GetBlock) for _, message in node.talk.sent):
        await node.serve(name, *blocks)
    await settled(lambda: node.chain.head.hash == blocks[-1].hash)
