"""Headers that came before their parents."""

from collections.abc import Callable
from itertools import count

import pytest
from header_kit import BEGIN, EASY, NOW, mine
from tree_kit import (
    PLAIN,
    child,
    grow,
    make_tree,
)

from chaind.consensus.pow.errors import (
    HashTooHigh,
    TargetTooEasy,
    TimeTooOld,
)
from chaind.consensus.pow.orphans import Orphan, Orphans
from chaind.primitives.block import Header
from chaind.primitives.hashes import sha256d

FLOOD = 99  # a peer that sends too many orphans


def headers_on_nothing(number: int) -> list[bytes]:
    """Headers that did their work and whose parents nobody has."""
    return [mine(parent=sha256d(bytes([n])), time=BEGIN + n, bits=EASY) for n in range(number)]


def test_orphans_enter_when_their_parent_does() -> None:
    tree, _ = make_tree(PLAIN)
    other, _ = make_tree(PLAIN)
    branch = grow(other, other.base, 4)
    for entry in reversed(branch[1:]):
        assert tree.hear(entry.header, now=NOW, peer=1).orphaned
    assert tree.orphans == 3
    added = tree.hear(branch[0].header, now=NOW).added
    assert [entry.hash for entry in added] == [entry.hash for entry in branch]
    assert tree.orphans == 0


def test_an_orphan_that_breaks_a_rule_is_its_sender_s_fault() -> None:
    tree, _ = make_tree(PLAIN)
    parent = child(tree, tree.base)
    bad = mine(parent=sha256d(parent), time=BEGIN, bits=EASY)
    tree.hear(bad, now=NOW, peer=2)
    heard = tree.hear(parent, now=NOW, peer=1)
    assert [entry.hash for entry in heard.added] == [sha256d(parent)]
    [(peer, error)] = heard.faults
    assert peer == 2
    assert isinstance(error, TimeTooOld)


def test_an_orphan_without_work_is_not_kept() -> None:
    tree, _ = make_tree(PLAIN)
    with pytest.raises(HashTooHigh):
        tree.hear(mine(parent=bytes(32), time=BEGIN, bits=EASY, done=False), now=NOW)
    with pytest.raises(TargetTooEasy):
        tree.hear(mine(parent=bytes(32), time=BEGIN, bits=0x2100FFFF), now=NOW)
    assert tree.orphans == 0


def test_orphans_are_bounded_for_each_peer_and_in_all() -> None:
    orphans = Orphans(count_max=5, per_peer_max=3)
    tree, _ = make_tree(PLAIN, orphans)
    senders: list[Callable[[int], int]] = [lambda _: FLOOD, lambda n: n]
    for sender in senders:
        for number, header in zip(count(), headers_on_nothing(8), strict=False):
            tree.hear(mine_again(header, number, sender(number)), now=NOW, peer=sender(number))
            assert orphans.of_peer(FLOOD) <= 3
            assert len(orphans) <= 5
    assert orphans.of_peer(FLOOD) == 0, "whoever has most gives way to others"
    tree.forget_peer(7)
    assert len(orphans) == 4


def mine_again(header: bytes, number: int, salt: int) -> bytes:
    """Another header of the same kind."""
    decoded = Header.decode(header)
    parent = sha256d(bytes([salt, number]))
    return mine(parent=parent, time=decoded.time, bits=decoded.bits)


def test_the_newest_of_a_peer_s_orphans_are_kept() -> None:
    orphans = Orphans(count_max=5, per_peer_max=2)
    made = [Orphan(sha256d(header), header, 1) for header in headers_on_nothing(3)]
    for orphan in (*made, made[2]):
        orphans.add(orphan)
    assert [orphan.hash in orphans for orphan in made] == [False, True, True]
    assert orphans.adopt(made[1].parent) == [made[1]]
    assert len(orphans) == 1
