"""What becomes of damage: the database is made again from the body log, bodies come from peers."""

from pathlib import Path

import pytest
from audited import BLOCKS, audit_world, database_of, grow
from msgspec.structs import replace
from parts import GENESIS, Talk, World

from chaind.network.messages import BlockData, GetBlock
from chaind.node.audit_home import audit_disk, open_store
from chaind.node.bodies import WrongBlock
from chaind.node.healer import Healer
from chaind.node.recovery import Disk, open_disk
from chaind.node.repair import discard_database, open_and_heal, roll_forward
from chaind.node.replay import Replay
from chaind.node.sync import serve_range
from chaind.node.vote_guard import says_all
from chaind.primitives.block import Block
from chaind.primitives.votes import Vote, VoteKind
from chaind.storage.chain_store import BlockDamaged, WrongDirectory
from chaind.storage.errors import LogCorrupt
from chaind.storage.files import OsFiles
from chaind.storage.kv import KeyValue, MemoryStore
from chaind.storage.schema import OUTCOME, height_key


def rows_of(database: KeyValue) -> list[tuple[bytes, bytes]]:
    """All rows that blocks make."""
    return [row for row in database.scan(b"", None) if row[0][:1] != OUTCOME]


def reopened(path: Path, database: KeyValue) -> Disk:
    return open_disk(OsFiles(), path, database, GENESIS)


@pytest.fixture
async def blocks(world: World) -> list[Block]:
    return await grow(world)


@pytest.mark.usefixtures("blocks")
async def test_a_lost_database_is_made_again_byte_for_byte(world: World, tmp_path: Path) -> None:
    before = rows_of(database_of(world))
    world.close()
    fresh = MemoryStore()
    disk = reopened(tmp_path / "world", fresh)
    assert disk.store.tip.height == 0
    assert roll_forward(disk, GENESIS) == BLOCKS
    assert rows_of(fresh) == before
    assert audit_disk(GENESIS, disk, fresh, MemoryStore()).consistent
    assert roll_forward(disk, GENESIS) == 0, "nothing is left to do"
    disk.close()


async def test_a_database_that_lost_its_end_rolls_forward(
    world: World, blocks: list[Block], tmp_path: Path
) -> None:
    before = rows_of(database_of(world))
    world.close()
    shorter = MemoryStore()
    disk = reopened(tmp_path / "world", shorter)
    replay = Replay(GENESIS, disk.store)
    held = {block.hash: position for position, block in disk.store.bodies_above_tip()}
    for block in blocks[:2]:
        proof = world.certificate(block)
        replay.apply(block, replay.check(block), held[block.hash], proof)
    disk.close()
    disk = reopened(tmp_path / "world", shorter)
    assert disk.store.tip.height == 2
    assert roll_forward(disk, GENESIS) == BLOCKS - 2
    assert rows_of(shorter) == before
    disk.close()


async def test_a_gap_in_the_bodies_ends_the_way_before_it(
    world: World, blocks: list[Block], tmp_path: Path
) -> None:
    row = world.store.block_row(3)
    assert row is not None
    world.close()
    damage(tmp_path / "world", row.offset)
    disk = reopened(tmp_path / "world", MemoryStore())
    assert roll_forward(disk, GENESIS) == 2, "the rest is for peers to give"
    assert disk.store.tip.hash == blocks[1].hash
    disk.close()


@pytest.mark.usefixtures("blocks")
async def test_blocks_of_another_chain_are_not_begun_beside(world: World, tmp_path: Path) -> None:
    world.close()
    other = replace(GENESIS, name="another")
    disk = open_disk(OsFiles(), tmp_path / "world", MemoryStore(), other)
    with pytest.raises(WrongDirectory):
        roll_forward(disk, other)
    disk.close()


def damage(path: Path, offset: int) -> None:
    """Flip a bit of the record at `offset` of the first body segment."""
    segment = path / "bodies-0000000000.log"
    data = bytearray(segment.read_bytes())
    data[offset + 40] ^= 1
    segment.write_bytes(data)


async def test_a_damaged_body_is_never_served_and_comes_back_from_a_peer(
    world: World, blocks: list[Block], tmp_path: Path
) -> None:
    row = world.store.block_row(2)
    assert row is not None
    world.store.bodies.sync()
    damage(tmp_path / "world", row.offset)
    talk = Talk("peer-a", "peer-b")
    healer = Healer(store=world.store, transport=talk, clock=world.clock, retry_ms=100)
    healer.tick()  # reads everything through
    [(peer, asked)] = talk.take()
    assert asked == GetBlock(blocks[1].hash)
    assert healer.damaged == 1
    with pytest.raises(BlockDamaged):
        world.store.raw_block(2)
    assert [Block.decode(raw).height for raw in serve_range(world.store, 1, 9).raws] == [1]
    assert serve_range(world.store, 2, 9).raws == ()

    healer.tick()
    assert talk.take() == [], "one question at a time"
    assert healer.received(peer, BlockData(blocks[1].hash, None))  # it does not have it
    healer.tick()
    [(second, _)] = talk.take()
    assert second is not peer
    world.clock.ms += 100  # no answer either
    healer.tick()
    [(third, _)] = talk.take()
    with pytest.raises(WrongBlock):
        healer.received(third, BlockData(blocks[1].hash, blocks[2].encode()))
    healer.tick()
    [(fourth, _)] = talk.take()
    assert healer.received(fourth, BlockData(blocks[1].hash, blocks[1].encode()))
    assert (healer.damaged, healer.healed_total) == (0, 1)
    assert world.store.raw_block(2) == blocks[1].encode()
    assert audit_world(world).consistent
    assert not healer.received(fourth, BlockData(blocks[1].hash, blocks[1].encode()))


async def test_a_record_of_another_block_is_no_answer(world: World, blocks: list[Block]) -> None:
    first, second = world.store.block_row(1), world.store.block_row(2)
    assert first is not None
    assert second is not None
    moved = replace(second, segment=first.segment, offset=first.offset)
    database_of(world).write([(height_key(2), moved.encode())], sync=True)
    with pytest.raises(BlockDamaged):
        world.store.raw_block(2)
    assert list(world.store.damaged) == [blocks[1].hash]


@pytest.mark.parametrize("file", ["CURRENT", "MANIFEST", "table", "all"])
async def test_a_damaged_leveldb_is_set_aside_and_made_again(
    world: World, blocks: list[Block], tmp_path: Path, file: str
) -> None:
    world.close()
    path = tmp_path / "world"
    disk = open_and_heal(OsFiles(), path, GENESIS, open_store, votes=True)
    assert disk.store.tip.hash == blocks[-1].hash
    disk.close()
    open_store(path / "db").close()  # what was its journal is a table now
    if file == "all":
        discard_database(OsFiles(), path)
    elif file == "table":
        for table in (path / "db").glob("*.ldb"):
            table.write_bytes(table.read_bytes()[:100])
    else:
        [hit] = [one for one in (path / "db").iterdir() if one.name.startswith(file)]
        hit.write_bytes(b"\0" * 8)
    disk = open_and_heal(OsFiles(), path, GENESIS, open_store, votes=True)
    assert disk.store.tip.hash == blocks[-1].hash
    assert (path / "db.damaged-1").is_dir(), "what was damaged is kept"
    disk.close()


@pytest.mark.parametrize("name", ["votes", "intake"])
def test_a_damaged_journal_or_vote_log_stops_a_validator(tmp_path: Path, name: str) -> None:
    path = broken_log(tmp_path, name)
    with pytest.raises(LogCorrupt) as caught:
        open_and_heal(OsFiles(), path, GENESIS, open_store, votes=True)
    assert caught.value.exit_code == 83
    assert name in str(caught.value)
    assert caught.value.advice
    open_store(path / "db").close()  # it was closed: nothing is left locked


def test_a_full_node_does_without_its_vote_log(tmp_path: Path) -> None:
    path = broken_log(tmp_path, "votes")
    disk = open_and_heal(OsFiles(), path, GENESIS, open_store, votes=False)
    assert list(disk.votes.replay()) == []
    assert (path / "votes-0000000000.log.damaged-1").is_file()
    disk.close()


def broken_log(path: Path, name: str) -> Path:
    """A data directory whose log of this name is damaged before its end."""
    disk = open_disk(OsFiles(), path, MemoryStore(), GENESIS)
    log = disk.votes if name == "votes" else disk.journal
    for number in range(3):
        log.append(bytes([65 + number]) * 50)
    disk.close()
    file = path / f"{name}-0000000000.log"
    data = bytearray(file.read_bytes())
    data[60] ^= 1
    file.write_bytes(data)
    return path


def test_a_vote_log_that_ends_too_early_or_is_another_ones_says_not_all() -> None:
    def vote(voter: int, view: int) -> Vote:
        return Vote(1, view, VoteKind.NULLIFY, None, voter, bytes(64))

    records = [vote(2, 1), vote(2, 5)]
    assert says_all(records, voter=2, final_view=5)
    assert not says_all(records, voter=2, final_view=6)
    assert not says_all([*records, vote(3, 6)], voter=2, final_view=5)
    assert says_all([], voter=2, final_view=0)
    assert not says_all([], voter=2, final_view=1)
