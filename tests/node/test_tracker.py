"""An accepted transaction is open until it is final, conflicts with a final one, or has expired."""

from pathlib import Path

from harness import address, secret
from parts import World

from chaind.ledger.block import GENESIS_COIN_TXID
from chaind.ledger.checks import Checked
from chaind.ledger.errors import CoinMissing, InsufficientFunds, LeaseTaken
from chaind.node.recovery import JOURNAL_SEGMENT_BYTES, stored_intake
from chaind.node.tracker import Tracker, lost_for_ever
from chaind.primitives.hashes import sha256
from chaind.primitives.transaction import VERSION, Body, CoinInput, CoinOutput, Lease
from chaind.storage.files import OsFiles
from chaind.storage.log import AppendLog
from chaind.wallet.builder import sign


def leased(world: World, number: int, units: int = 10) -> Checked:
    lease = Lease(address("alice"), sha256(b"%d" % number), bytes(32))
    return world.check(world.payment(units=units, lease=lease))


def test_open_until_final(world: World) -> None:
    checked = world.check(world.payment())
    world.tracker.accept([checked])
    assert world.tracker.get(checked.txid) is checked
    assert world.tracker.settle([checked], 1, world.clock.ms) == []
    assert world.tracker.get(checked.txid) is None
    assert len(world.tracker) == 0


def test_every_rival_of_a_final_transaction_is_rejected_by_it(world: World) -> None:
    rivals = [leased(world, 1, units) for units in (1, 2)]
    bystander, winner = leased(world, 2), leased(world, 1, 3)
    for checked in (*rivals, bystander):
        world.tracker.accept([checked])
    ended = dict(world.tracker.settle([winner], 7, world.clock.ms))
    assert set(ended) == {rival.txid for rival in rivals}
    for outcome in ended.values():
        assert (outcome.status, outcome.by, outcome.height) == ("rejected", winner.txid, 7)
    assert world.tracker.get(bystander.txid) is not None


def test_expired_when_a_final_block_reaches_valid_until(world: World) -> None:
    checked = world.check(world.payment(valid_ms=100))
    world.tracker.accept([checked])
    assert world.tracker.settle([], 1, world.clock.ms + 99) == []
    [(txid, outcome)] = world.tracker.settle([], 2, world.clock.ms + 100)
    assert (txid, outcome.status) == (checked.txid, "expired")


def test_final_in_the_very_block_that_reaches_valid_until_is_final(world: World) -> None:
    checked = world.check(world.payment(valid_ms=100))
    world.tracker.accept([checked])
    assert world.tracker.settle([checked], 1, world.clock.ms + 100) == []


def test_accepting_twice_journals_once(world: World) -> None:
    checked = world.check(world.payment())
    world.tracker.accept([checked])
    world.tracker.accept([checked])
    assert len(stored_intake(world.disk.journal, world.genesis)) == 1


def small_tracker(world: World, path: Path) -> Tracker:
    """Two payments fill a segment."""
    size = world.payment().size
    path.mkdir()
    journal = AppendLog.open(OsFiles(), path, "intake", 3 * size, JOURNAL_SEGMENT_BYTES)
    return Tracker(journal)


def test_segments_go_once_all_in_them_have_ended(world: World, tmp_path: Path) -> None:
    tracker = small_tracker(world, tmp_path / "small")
    accepted = [world.check(world.payment()) for _ in range(6)]
    for checked in accepted:
        tracker.accept([checked])
    oldest, *_, newest = tracker.journal.segments()
    assert newest > oldest + 1
    tracker.settle(accepted[1:], 1, world.clock.ms)
    tracker.synced()
    assert tracker.droppable_before() is None, "the first one is still open"
    tracker.settle(accepted[:1], 2, world.clock.ms)
    keep = tracker.droppable_before()
    assert keep == newest
    tracker.journal.drop_before(keep)
    assert tracker.journal.segments() == (newest,)
    assert tracker.droppable_before() is None
    tracker.journal.close()


def test_segments_stay_until_outcomes_told_are_durable(world: World, tmp_path: Path) -> None:
    """An outcome is written unsynced; the next batch of final blocks is what makes it durable."""
    tracker = small_tracker(world, tmp_path / "small")
    for _ in range(6):
        tracker.accept([world.check(world.payment(valid_ms=10))])
    assert len(tracker.settle([], 5, world.clock.ms + 10)) == 6
    assert tracker.settle([], 6, world.clock.ms + 10) == []  # another block of the same batch
    assert tracker.droppable_before() is None
    tracker.synced()
    assert tracker.droppable_before() is not None
    tracker.journal.close()


def test_the_deadline_heap_does_not_grow_with_what_has_ended(world: World) -> None:
    checked = world.check(world.payment(valid_ms=10**6))
    for _ in range(3_000):
        world.tracker.follow(checked, 0)
        world.tracker.settle([checked], 1, world.clock.ms)
    assert len(world.tracker._deadlines) < 1_500


def test_a_missing_coin_is_lost_for_ever_only_once_its_maker_is_final(world: World) -> None:
    """After a restart a coin may be missing because the block that makes it is not final yet."""
    maker = bytes(range(32))
    prefix = world.genesis.chain_prefix
    coins = (CoinInput(maker, 0), CoinInput(GENESIS_COIN_TXID, 0))
    outputs = (CoinOutput(address("bob"), 1),)
    body = Body(VERSION, prefix, bytes(8), None, None, coins, outputs, None, b"")
    checked = world.check(sign(body, secret("alice")))
    missing = CoinMissing(outpoint="any")
    assert not lost_for_ever(missing, checked, lambda _txid: False)
    assert lost_for_ever(missing, checked, lambda txid: txid == maker)
    taken = LeaseTaken(id="any", txid="any", intent="any")
    assert lost_for_ever(taken, checked, lambda _txid: False)
    full = InsufficientFunds(address="", asset="", available="", needed="")
    assert not lost_for_ever(full, checked, lambda _txid: True)
