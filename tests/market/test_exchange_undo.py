"""A block leaves no trace when it is undone, and the rows alone bring the books back."""

import pytest
from market_books import check_books, dump
from market_kit import ALICE, BOB, BUY, CAROL, NOW_MS, SELL, Floor

from chaind.market.exchange import Exchange
from chaind.market.rows import next_digest, order_decoder, order_key
from chaind.primitives.hashes import sha256
from chaind.primitives.orders import Trigger

# Changed rows are another state root: no chain that has them could go on.
DIGEST = "ae822f330cb73cd082ef8cf3190558035701c5bb83c2a8272653c4a73f7ec1ab"
ROWS = "769caa6321efbd223a0f88ea36971e7dc38a5fdbce913fcf4d8d666cb8506ca4"


def busy(floor: Floor) -> bytes:
    """A block in which orders come, trade, lose, move and go; one of those that stay."""
    first = floor.place(ALICE, BUY, 5, 99)
    floor.place(ALICE, BUY, 5, 98)
    kept = floor.place(BOB, BUY, 7, 99, client_id="kept")
    floor.place(CAROL, SELL, 3, 97)
    floor.place(CAROL, SELL, 2, trigger=Trigger.STOP, stop_ticks=90, time_in_force=0)
    floor.amend(BOB, kept, lots=6)
    floor.amend(ALICE, first, ticks=97)
    floor.exchange.cancel(ALICE, first)
    return kept


def test_undone_and_redone_byte_for_byte() -> None:
    floor = Floor()
    heads = []
    for height in range(6):
        busy(floor)
        floor.exchange.cancel_all(BOB)
        floor.next_block(NOW_MS + height)
        heads.append(dump(floor.exchange))
    assert len(set(heads)) == 6
    journal = floor.exchange.journal
    journal.abandon()
    deltas = []
    for head in reversed(heads):
        assert dump(floor.exchange) == head
        deltas.append(journal.undo())
        check_books(floor.exchange)
    for head in heads:
        journal.redo(deltas.pop())
        assert dump(floor.exchange) == head
        check_books(floor.exchange)


def test_an_undone_market_is_gone() -> None:
    floor = Floor()
    floor.exchange.journal.abandon()
    delta = floor.exchange.journal.undo()
    assert not floor.exchange.markets()
    assert not list(floor.exchange.rows())
    floor.exchange.journal.redo(delta)
    assert len(floor.exchange.markets()) == 1


def test_a_block_on_another_branch_has_its_own_band() -> None:
    """The band of a block is around the last price of its own parent."""
    floor = Floor()
    floor.place(ALICE, SELL, 1, 110)
    floor.place(BOB, BUY, 1, 110)
    floor.next_block(NOW_MS)
    floor.place(BOB, BUY, 1, 121)
    journal = floor.exchange.journal
    journal.abandon()
    journal.undo()
    floor.height -= 2
    floor.begin(NOW_MS)
    journal.seal()
    floor.begin(NOW_MS)
    floor.place(BOB, BUY, 1)
    assert floor.told[0].ticks == 110


def test_what_is_settled_cannot_be_undone_and_stays() -> None:
    floor = Floor()
    busy(floor)
    floor.exchange.trigger()
    journal = floor.exchange.journal
    newest = journal.seal()
    head = dump(floor.exchange)
    assert journal.depth == 2
    with pytest.raises(AssertionError, match="in order"):
        journal.settle(newest)
    assert journal.depth == 1
    journal.settle(newest)
    assert journal.depth == 0
    assert dump(floor.exchange) == head


def test_a_delta_belongs_to_one_head() -> None:
    floor = Floor()
    busy(floor)
    journal = floor.exchange.journal
    with pytest.raises(AssertionError, match="is being applied"):
        journal.undo()
    with pytest.raises(AssertionError, match="already"):
        journal.begin()
    journal.seal()
    delta = journal.undo()
    floor.begin(NOW_MS)
    floor.place(ALICE, BUY, 1, 99)
    journal.seal()
    with pytest.raises(AssertionError, match="another head"):
        journal.redo(delta)


def test_writes_are_net_and_chain_up_to_the_digest() -> None:
    floor = Floor()
    journal = floor.exchange.journal
    before = journal.digest
    kept = busy(floor)
    gone = floor.place(CAROL, BUY, 1, 92)
    floor.exchange.cancel(CAROL, gone)
    floor.exchange.trigger()
    delta = journal.seal()
    keys = [key for key, _ in delta.writes]
    assert keys == sorted(keys)
    assert order_key(gone) not in keys
    assert delta.digest == next_digest(before, delta.writes) == journal.digest
    row = order_decoder.decode(dict(delta.writes)[order_key(kept)] or b"")
    assert (row.account, row.lots, row.filled, row.ticks) == (BOB, 6, 0, 99)
    floor.begin(NOW_MS + 1)
    floor.exchange.cancel(BOB, kept)
    assert journal.seal().writes == ((order_key(kept), None),)
    floor.begin(NOW_MS + 2)
    assert journal.seal().digest == journal.undo().digest_before


def test_rows_bring_back_what_still_has_to_be_triggered() -> None:
    floor = Floor()
    floor.place(CAROL, SELL, 2, trigger=Trigger.STOP, stop_ticks=101, time_in_force=0)
    floor.place(ALICE, SELL, 1, 100)
    floor.place(BOB, BUY, 1, 100)
    floor.exchange.journal.seal()  # before anything was triggered
    again = Exchange.load(floor.exchange.rows(), floor.exchange.journal.digest)
    assert dump(again) == dump(floor.exchange)
    again.begin(9, NOW_MS)
    assert len(again.trigger()) == 2


def test_the_rows_are_as_they_ever_were() -> None:
    floor = Floor()
    busy(floor)
    floor.exchange.trigger()
    journal = floor.exchange.journal
    rows = b"".join(key + value for key, value in floor.exchange.rows())
    journal.seal()
    assert sha256(rows).hex() == ROWS
    assert journal.digest.hex() == DIGEST
