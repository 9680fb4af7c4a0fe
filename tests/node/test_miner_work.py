"""Work that a node gives out: when, to whom, and what becomes of a block that was found."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from harness import WAIT_S, address
from parts import FakePeer, settled, turns
from work_kit import RULES, SUBSIDY
from work_world import WorkWorld, running

from chaind.consensus.pow.errors import TimeTooNew
from chaind.miner.jobs import EXTRANONCE_BYTES
from chaind.network import messages as wire
from chaind.node import miner_work as module
from chaind.node.miner_work import NUMBER_BYTES, MinerWork, NodeTemplate, Solved
from chaind.node.mining import NodeStanding
from chaind.primitives.address import KEY_ADDRESS_BYTES
from chaind.primitives.coinbase import TAG, parse_coinbase
from chaind.primitives.errors import Unknown
from chaind.primitives.hashes import sha256d

SALT = b"salt"
EXTRANONCE = b"\x01" * EXTRANONCE_BYTES


def resolve(who: str) -> bytes:
    if who not in ("alice", "bob", "bob.smith"):
        raise Unknown
    return address("alice" if who == "alice" else "bob")


class Mine:
    """A node's work, on a world without network."""

    def __init__(self, world: WorkWorld) -> None:
        self.world = world
        self.may_mine = True
        self.taken: list[Solved] = []
        self.work = MinerWork(
            engine=world.engine,
            clock=world.clock,
            resolve=resolve,
            may_mine=lambda: self.may_mine,
            pool=world.pool,
            max_future_ms=7_200_000,
            salt=SALT,
        )
        self.news = asyncio.Event()
        self.work.on_taken = self._take
        world.engine.on_head.append(self.work.follow)

    def _take(self, solved: Solved) -> None:
        self.taken.append(solved)
        self.news.set()

    def solve(self, template: NodeTemplate | None, *, time: int = 0, done: bool = True) -> Solved:
        assert template is not None
        for nonce in range(1_000):
            header = template.header(
                extranonce=EXTRANONCE,
                time=time or template.time,
                nonce=nonce,
                version=template.version,
            )
            if (int.from_bytes(sha256d(header), "little") <= template.target) is done:
                return Solved(template, EXTRANONCE, header, "bob.rig")
        raise AssertionError("no nonce does it")

    async def head(self, height: int) -> None:
        async with asyncio.timeout(WAIT_S):
            while self.world.chain.head.height < height:
                await self.news.wait()
                self.news.clear()


@pytest.fixture
async def mine(tmp_path: Path) -> AsyncIterator[Mine]:
    async with running(tmp_path) as world:
        mine = Mine(world)
        task = asyncio.create_task(mine.work.run())
        yield mine
        task.cancel()


async def test_a_block_that_is_found_stands_and_the_next_is_planned(mine: Mine) -> None:
    assert mine.work.follow()
    assert not mine.work.follow(), "nothing is new"
    solved = mine.solve(mine.work.template(address("bob")))
    mine.work.hand_in(solved)
    mine.work.hand_in(mine.solve(mine.work.template(address("alice"))))  # of the same tip
    await mine.head(1)
    assert mine.work.plan is not None
    assert mine.work.plan.height == 2
    mine.work.hand_in(solved)  # too late
    mine.work.hand_in(mine.solve(mine.work.template(address("alice"))))
    await mine.head(2)
    assert [one.template.height for one in mine.taken] == [1, 2]
    first, second = mine.world.chain.executed()
    [output] = first.body.block.coinbase.outputs
    assert (output.address, output.amount) == (address("bob"), SUBSIDY)
    assert second.body.block.coinbase.outputs[0].address == address("alice")


async def test_a_block_that_is_refused_ends_nothing(mine: Mine) -> None:
    mine.work.follow()
    mine.work.hand_in(mine.solve(mine.work.template(address("bob")), done=False))
    await settled(lambda: mine.work._solved is None)
    mine.work.hand_in(mine.solve(mine.work.template(address("bob"))))
    await mine.head(1)
    assert len(mine.taken) == 1


async def test_a_block_ahead_of_the_clock_is_handed_in_when_its_time_has_come(
    mine: Mine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "AHEAD_SLACK_S", 0)
    mine.work.follow()
    template = mine.work.template(address("bob"))
    assert template is not None
    mine.world.clock.ms -= 50
    mine.work.hand_in(mine.solve(template, time=template.time_max))
    await turns()
    assert mine.world.chain.head.height == 0
    mine.world.clock.ms += 50
    await mine.head(1)
    assert len(mine.taken) == 1


async def test_many_that_wait_come_right_after_a_new_tip(
    mine: Mine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "POOL_FEW", 1)
    mine.world.offer(mine.world.payment(units=1), mine.world.payment(units=2))
    assert mine.work.follow()
    assert mine.work.plan is not None
    assert (mine.work.plan.transactions, mine.work.short) == ((), True)
    assert mine.work.improve()
    assert len(mine.work.plan.transactions) == 2
    assert not mine.work.short
    assert not mine.work.improve(), "nothing came"
    mine.world.offer(mine.world.payment(units=3))
    mine.world.engine.work_arrived()
    assert mine.work.improve()
    assert len(mine.work.plan.transactions) == 3


async def test_no_work_where_there_is_nobody_to_mine_for(mine: Mine) -> None:
    mine.may_mine = False
    assert not mine.work.follow()
    assert mine.work.template(address("bob")) is None
    mine.may_mine = True
    assert mine.work.follow()
    mine.may_mine = False
    assert mine.work.follow(), "what was given out is worth nothing"
    assert mine.work.template(address("bob")) is None


@pytest.mark.parametrize(
    ("name", "who"),
    [
        ("bob", "bob"),
        ("bob.rig", "bob"),
        ("bob.smith", "bob"),
        ("bob.smith.rig", "bob"),
        ("alice.bob", "alice"),
        ("carol", None),
        ("carol.bob", None),
        ("", None),
        (".bob", None),
        ("bob.\x1b[2J", None),
        ("bob.é", None),
    ],
)
async def test_whom_a_name_stands_for(mine: Mine, name: str, who: str | None) -> None:
    assert mine.work.payee_of(name) == (None if who is None else address(who))


@pytest.mark.parametrize("payee", [bytes(20), TAG + SALT + bytes(8), b"\xa5" * 32])
async def test_the_extranonce_has_its_place_whoever_is_paid(mine: Mine, payee: bytes) -> None:
    mine.work.follow()
    template = mine.work.template(payee)
    assert template is not None
    coinbase = template.coinbase(EXTRANONCE)
    assert coinbase.index(TAG + SALT) + len(TAG + SALT) + NUMBER_BYTES == len(
        template.coinbase_head
    )
    assert parse_coinbase(coinbase).outputs[0].address == payee
    assert len(payee) in (KEY_ADDRESS_BYTES, 32)


async def test_work_that_is_renewed_is_other_work(mine: Mine) -> None:
    """Or a miner repeats what it has done, and a share counts for every job that it is sent for."""
    mine.work.follow()
    first, second = (mine.work.template(address("bob")) for _ in range(2))
    assert first is not None
    assert second is not None
    assert first.plan is second.plan
    assert first.coinbase(EXTRANONCE) != second.coinbase(EXTRANONCE)


async def test_who_has_heard_all_once_mines_on_though_a_peer_is_silent(tmp_path: Path) -> None:
    async with running(tmp_path) as world:
        peers = [FakePeer("silent")]
        fresh, seasoned, alone = (
            NodeStanding(world.engine, lambda: len(peers), alone=is_alone)
            for is_alone in (False, False, True)
        )
        assert seasoned.may_mine()
        world.talk.connected.append(peers[0])
        world.engine.peer_up(peers[0])  # type: ignore[arg-type]
        assert seasoned.may_mine()
        assert not fresh.may_mine(), "it has not answered yet"
        world.hear("silent", wire.Headers(b""))
        assert fresh.may_mine()
        peers.clear()
        assert not seasoned.may_mine()
        assert alone.may_mine()


async def test_blocks_that_nobody_gives_keep_nobody_from_mining(tmp_path: Path) -> None:
    """Ten headers cost ten blocks' work, and would end all mining if their bodies were awaited."""
    async with running(tmp_path / "rival") as rival, running(tmp_path / "node", "a", "b") as node:
        withheld = await rival.mine(10)
        standing = NodeStanding(node.engine, lambda: 2, alone=False)
        assert standing.may_mine()
        node.hear("a", wire.Headers(b"".join(block.header_bytes for block in withheld)))
        assert not standing.may_mine(), "they may be there in a moment"
        node.clock.ms += RULES.target_spacing_ms - 1
        node.engine.tick()
        assert not standing.may_mine()
        node.clock.ms += 1
        node.engine.tick()
        assert standing.may_mine()
        node.talk.take()
        [block] = await node.mine()
        await settled(lambda: node.talk.sent)
        assert ("b", wire.Headers(block.header_bytes)) in node.sent(wire.Headers), "others hear"
        assert standing.may_mine(), "what this node mines says nothing of them"
        [more] = await rival.mine()
        node.hear("a", wire.Headers(more.header_bytes))
        assert standing.may_mine(), "nor do more headers above them"
        await node.bodies_come(withheld[0])
        assert not standing.may_mine(), "they come after all"


async def test_by_a_slow_clock_nothing_is_mined_that_would_be_refused_here(tmp_path: Path) -> None:
    async with running(tmp_path) as world:
        standing = NodeStanding(world.engine, lambda: 0, alone=True)
        await world.mine(1)
        right_ms = world.clock.ms
        future_ms = world.genesis.proof_of_work.rules.max_future_ms
        world.clock.ms = right_ms - future_ms - 5_000
        slow_s = world.engine.next_block.slow_clock_s
        assert slow_s > 0
        assert not standing.may_mine()
        with pytest.raises(TimeTooNew):  # this is what it would come to
            await world.mine(1)
        world.clock.ms += 1_000 * slow_s
        assert standing.may_mine()
        await world.mine(1)
