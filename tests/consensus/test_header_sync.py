"""Headers first, on virtual time: several peers, stalls, light and invalid chains, the window."""

import pytest
from header_kit import BEGIN, EASY, mine
from sync_kit import GENESIS, NOW, WORK, Server, World, chain

from chaind.consensus.pow.body_window import PER_PEER_MAX
from chaind.consensus.pow.errors import BitsUnexpected, HashTooHigh, HeadersCut, TimeTooNew
from chaind.consensus.pow.sync import (
    HEADERS_MAX,
    IDLE_MS,
    PASSED_OVER_MS,
    PLACE_MS,
    SEASONED_MS,
    STALL_MS,
)
from chaind.consensus.pow.sync_errors import (
    ChainTooLight,
    HeadersChanged,
    HeadersScattered,
    HeadersTooMany,
)
from chaind.consensus.pow.tree_errors import ReorgTooDeep
from chaind.primitives.errors import ChaindError
from chaind.primitives.hashes import sha256d

LONG = chain(4_500)
SHORT = LONG[:300]
MINUTE = 60_000.0


def tip(headers: list[bytes]) -> bytes:
    return sha256d(headers[-1])


def test_headers_and_bodies_come_from_all_peers() -> None:
    world = World()
    servers = [world.connect(number, Server(SHORT, 20.0 + number)) for number in range(4)]
    assert not world.planner.synced
    world.run(MINUTE)
    assert world.planner.synced
    assert world.tree.best.hash == world.tree.ready.hash == tip(SHORT)
    asked = [one for server in servers for one in server.asked_bodies]
    assert sorted(asked) == sorted(sha256d(header) for header in SHORT)
    assert all(len(server.asked_bodies) > 30 for server in servers)
    assert world.flying_most == PER_PEER_MAX
    assert not world.dropped
    assert not world.passed


def test_more_headers_than_one_answer_holds() -> None:
    world = World()
    server = world.connect(1, Server(LONG))
    world.run(20.0)
    assert world.tree.best.height == 2_000
    assert not world.planner.synced
    world.run(100.0)
    assert world.tree.best.hash == tip(LONG)
    assert server.asked_headers == 3
    assert world.planner.synced


def test_a_slow_peer_goes_on_from_where_others_have_come() -> None:
    world = World()
    quick, slow = world.connect(1, Server(LONG, 20.0)), world.connect(2, Server(LONG, 200.0))
    world.run(1_000.0)
    assert world.tree.best.hash == tip(LONG)
    assert quick.asked_headers == 3
    assert slow.asked_headers == 2
    assert world.planner.synced


def test_peers_that_are_silent_are_replaced() -> None:
    world = World()
    for number in range(3):
        world.connect(number, Server(SHORT, silent=True))
    honest = world.connect(3, Server(SHORT))
    world.run(STALL_MS - 200.0)
    assert honest.asked_headers == 0, "three at once are enough"
    world.run(STALL_MS + 5_000.0)
    assert world.passed == [0, 1, 2]
    assert world.tree.ready.hash == tip(SHORT)
    assert world.planner.synced
    world.servers[0].silent = False
    world.run(STALL_MS + PASSED_OVER_MS + 1_000.0)
    assert world.servers[0].asked_headers == 1, "it has another chance"


def test_bodies_that_do_not_come_are_asked_of_others() -> None:
    world = World()
    mute = world.connect(1, Server(SHORT))
    mute.silent_bodies = True
    world.connect(2, Server(SHORT))
    world.run(MINUTE)
    assert world.tree.ready.hash == tip(SHORT)
    assert 1 in world.passed
    assert len(mute.asked_bodies) <= 2 * PER_PEER_MAX


def test_what_a_peer_that_left_was_asked_for_is_asked_of_others() -> None:
    world = World()
    world.connect(1, Server(SHORT)).silent_bodies = True
    world.connect(2, Server(SHORT))
    world.run(1_000.0)
    assert world.tree.ready.height < 20
    world.flying.clear()
    world.disconnect(1)
    world.run(5_000.0)
    assert world.tree.ready.hash == tip(SHORT)


def test_a_block_that_a_peer_lacks_is_asked_of_another() -> None:
    world = World()
    poor = world.connect(1, Server(SHORT))
    poor.bodies.clear()
    world.connect(2, Server(SHORT))
    world.run(MINUTE)
    assert world.tree.ready.hash == tip(SHORT)
    assert len(poor.asked_bodies) == len(set(poor.asked_bodies))
    assert not world.dropped


def test_a_peer_with_an_invalid_chain_is_dropped_with_the_fault() -> None:
    world = World()
    bad = [*SHORT[:200], mine(parent=sha256d(SHORT[199]), time=BEGIN + 200_000, bits=0x207FFFFE)]
    world.connect(1, Server(bad))
    world.connect(2, Server(SHORT))
    world.run(MINUTE)
    assert isinstance(world.dropped[1], BitsUnexpected)
    assert world.tree.ready.hash == tip(SHORT)
    assert 2 not in world.dropped


def test_a_chain_that_is_too_light_is_dropped_and_none_of_it_kept() -> None:
    world = World(minimum=4_000 * WORK)
    world.connect(1, Server(chain(2_500, salt=1)))
    world.run(MINUTE)
    assert isinstance(world.dropped[1], ChainTooLight)
    assert world.dropped[1].values["height"] == 2_500
    assert len(world.tree) == 1
    assert not world.planner.synced


def test_a_chain_that_weighs_enough_is_asked_for_twice_and_kept() -> None:
    world = World(minimum=4_400 * WORK)
    server = world.connect(1, Server(LONG))
    world.run(50.0)
    assert len(world.tree) == 1, "it is weighed first"
    world.run(130.0)
    assert world.tree.best.hash == tip(LONG)
    assert server.asked_headers == 6
    assert world.planner.synced
    world.run(MINUTE)
    assert world.tree.ready.hash == tip(LONG)


def test_a_chain_that_grows_while_it_is_weighed_is_kept() -> None:
    world = World(minimum=4_400 * WORK)
    server = world.connect(1, Server(LONG[:4_420]))
    world.run(65.0)
    server.headers = LONG
    world.run(200.0)
    assert world.tree.best.hash == tip(LONG)
    assert not world.notes


def test_other_headers_than_those_weighed_are_not_kept() -> None:
    world = World(minimum=4_400 * WORK)
    server = world.connect(1, Server(LONG))
    world.run(55.0)
    server.headers = chain(2_100, salt=2)
    world.run(1_000.0)
    assert [type(note) for note in world.notes] == [HeadersChanged]
    assert len(world.tree) == 1
    assert not world.dropped
    world.run(IDLE_MS + 2_000.0)
    assert isinstance(world.dropped[1], ChainTooLight), "weighed again, from the start"


def test_a_chain_that_lost_its_weight_is_weighed_anew() -> None:
    """Its headers weighed enough; then a body was invalid, and what is left weighs too little."""
    world = World(minimum=4_400 * WORK)
    server = world.connect(1, Server(LONG))
    world.run(130.0)
    assert world.planner.synced
    world.tree.invalidate(sha256d(LONG[99]))
    assert not world.planner.heavy_enough
    server.headers = chain(4_450, salt=6, on=LONG[:99])
    world.run(IDLE_MS + 10_000.0)
    assert world.tree.best.hash == tip(server.headers)
    assert world.planner.synced


def test_a_light_peer_does_not_hinder_a_heavy_one() -> None:
    world = World(minimum=4_000 * WORK)
    world.connect(1, Server(chain(100, salt=3)))
    world.connect(2, Server(LONG))
    world.run(MINUTE)
    assert isinstance(world.dropped[1], ChainTooLight)
    assert world.tree.ready.hash == tip(LONG)
    assert world.planner.synced


def test_a_peer_that_has_nothing_yet_is_not_at_fault() -> None:
    world = World(minimum=4_000 * WORK)
    server = world.connect(1, Server([]))
    world.run(1_000.0)
    assert not world.dropped
    server.headers = LONG
    world.run(IDLE_MS + 2_000.0)
    assert world.tree.best.hash == tip(LONG)


def test_announced_headers_are_taken_and_gaps_filled() -> None:
    world = World()
    server = world.connect(1, Server(SHORT[:100]))
    world.connect(2, Server(SHORT[:100]))
    world.run(1_000.0)
    server.headers, server.bodies = SHORT, {sha256d(header) for header in SHORT}
    world.announce(1, SHORT[100])
    assert world.tree.best.height == 101
    world.announce(1, SHORT[200])
    world.run(3_000.0)
    assert world.tree.ready.hash == tip(SHORT)


def test_a_rival_of_equal_work_is_fetched_while_the_first_is_withheld() -> None:
    common = SHORT[:50]
    world = World()
    withheld, rival = chain(51, salt=5, on=common), chain(51, salt=4, on=common)
    world.connect(1, Server(common)).bodies.add(tip(rival))
    withholder = world.connect(2, Server(common))
    world.run(1_000.0)
    world.announce(2, withheld[-1])
    world.announce(1, rival[-1])
    world.run(2_000.0)
    assert world.tree.best.hash == tip(withheld)
    assert world.tree.ready.hash == tip(rival)
    assert tip(withheld) in withholder.asked_bodies


def test_a_chain_that_leaves_ours_below_final_is_reported_and_left_alone() -> None:
    world = World()
    world.connect(1, Server(SHORT))
    world.run(10_000.0)
    world.finals.hashes += [sha256d(header) for header in SHORT[:200]]
    world.tree.finalise(sha256d(SHORT[199]))
    rival = world.connect(2, Server(chain(400, salt=6, on=SHORT[:150])))
    world.run(15_000.0)
    assert [type(note) for note in world.notes] == [ReorgTooDeep]
    assert world.notes[0].values["fork_height"] == 150
    assert rival.asked_headers == 1
    assert not world.dropped
    assert world.tree.best.hash == tip(SHORT)
    assert world.planner.synced


def test_headers_from_the_future_end_an_answer_and_those_before_stay() -> None:
    world = World(now=BEGIN + 600 * 100)
    world.connect(1, Server(SHORT))
    world.run(1_000.0)
    assert [type(note) for note in world.notes] == [TimeTooNew]
    height = world.tree.best.height
    assert height == 100 + 7_200 // 600
    assert world.tree.ready.height == height
    world.now = NOW
    world.run(IDLE_MS + 10_000.0)
    assert world.tree.ready.hash == tip(SHORT)


def test_synced_means_that_no_peer_owes_headers() -> None:
    world = World()
    assert world.planner.synced, "alone, and any work is enough"
    world.connect(1, Server(LONG, 500.0))
    world.run(1_200.0)
    assert world.tree.best.height == 4_000
    assert not world.planner.synced
    world.announce(1, LONG[4_000])
    assert world.tree.best.height == 4_001
    world.run(3_000.0)
    assert world.planner.synced


def test_a_peer_that_has_grown_by_more_than_an_answer_owes_the_rest() -> None:
    world = World()
    server = world.connect(1, Server(SHORT))
    world.run(5_000.0)
    assert world.planner.synced
    server.headers = LONG
    world.run(IDLE_MS + 200.0)
    world.announce(1, b"".join(LONG[300:2_300]))
    assert not world.planner.synced
    world.run(IDLE_MS + 5_000.0)
    assert world.planner.synced
    assert world.tree.best.hash == tip(LONG)


@pytest.mark.parametrize(
    ("records", "fault"),
    [
        (SHORT[0] + b"\0", HeadersCut),
        (b"".join(LONG[:2_001]), HeadersTooMany),
        (SHORT[0] + SHORT[2], HeadersScattered),
        (mine(parent=sha256d(GENESIS), time=BEGIN + 1, bits=EASY, done=False), HashTooHigh),
        (mine(parent=bytes(32), time=BEGIN + 1, bits=EASY, done=False), HashTooHigh),
    ],
)
def test_answers_that_no_honest_peer_gives(records: bytes, fault: type[ChaindError]) -> None:
    world = World()
    world.connect(1, Server([], silent=True))
    world.give(1, records)
    assert type(world.dropped[1]) is fault
    world.give(1, SHORT[0])
    assert len(world.tree) == 1, "nobody listens any more"


def test_whose_waiting_header_breaks_a_rule_is_dropped() -> None:
    world = World()
    world.connect(1, Server([], silent=True))
    world.connect(2, Server(SHORT))
    bad = mine(parent=sha256d(SHORT[0]), time=BEGIN, bits=EASY)
    world.announce(1, bad)
    world.run(1_000.0)
    assert 1 in world.dropped
    assert world.tree.best.hash == tip(SHORT)


def test_what_a_peer_has_is_known() -> None:
    world = World()
    world.connect(1, Server(SHORT))
    world.connect(2, Server(SHORT[:10]))
    world.run(5_000.0)
    low, high = world.tree.get(sha256d(SHORT[5])), world.tree.get(tip(SHORT))
    assert low is not None
    assert high is not None
    assert world.planner.knows(1, high)
    assert world.planner.knows(2, low)
    assert not world.planner.knows(2, high)
    assert not world.planner.knows(3, low)


class Parrot(Server):
    """It answers whatever it is asked with the same headers, as many as an answer holds."""

    def answer(self, locator: tuple[bytes, ...]) -> bytes:
        self.asked_headers += 1
        return b"".join(self.headers[:HEADERS_MAX])


@pytest.mark.parametrize("final", [0, 3_000])
def test_a_peer_that_repeats_itself_holds_nothing_up(final: int) -> None:
    world = World()
    world.connect(1, Server(LONG))
    world.run(MINUTE)
    if final:
        world.finals.hashes += [sha256d(header) for header in LONG[:final]]
        world.tree.finalise(world.finals.hashes[final])
    parrot = world.connect(2, Parrot(LONG))
    world.run(MINUTE + 5_000.0)
    assert parrot.asked_headers <= 3
    assert world.planner.synced


def test_silent_newcomers_unsettle_nobody_who_was_synced_for_long() -> None:
    """Or a few that come and go would keep every block from becoming final."""
    world = World()
    world.connect(1, Server(SHORT))
    world.run(MINUTE)
    assert world.planner.synced
    world.connect(2, Server(SHORT, silent=True))
    assert not world.planner.synced, "a node that has just begun hears everybody"
    world.disconnect(2)
    world.run(MINUTE + SEASONED_MS)
    for number in range(10, 16):
        world.connect(number, Server(SHORT, silent=True))
        world.run(world.now_ms + STALL_MS / 2)
        assert world.planner.synced
        world.disconnect(number)
    world.connect(20, Server(LONG, 1_000.0))
    assert world.planner.synced
    world.run(world.now_ms + 1_500.0)
    assert len(SHORT) < world.tree.best.height < len(LONG)
    assert not world.planner.synced, "who shows more is heard out"
    world.run(world.now_ms + 3_000.0)
    assert world.planner.synced


def test_peers_that_give_slowly_do_not_hold_all_places_for_long() -> None:
    """Three that send headers of no worth every nine seconds could do so for hours."""
    world = World()
    for number in range(3):
        world.connect(number, Server(LONG, STALL_MS - 1_000.0))
    honest = world.connect(3, Server(LONG))
    world.run(PLACE_MS - 1_000.0)
    assert honest.asked_headers == 0
    world.run(PLACE_MS + 1_000.0)
    assert honest.asked_headers > 0
    assert world.tree.best.hash == tip(LONG)
