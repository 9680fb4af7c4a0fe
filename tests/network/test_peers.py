"""The peer book and the scores: bounds that hold against liars, back-off, bans that end."""

from random import Random

import pytest

from chaind.network.frames import FrameTooLarge
from chaind.network.noise import DecryptFailed
from chaind.network.peers import (
    BAN_MS,
    BAN_POINTS,
    FORGET_NEW_FAILURES,
    FORGET_TRIED_FAILURES,
    HALF_LIFE_MS,
    LEARNED_BACK_OFF,
    NEW_MAX,
    NEW_PER_SOURCE_MAX,
    PERSISTENT_BACK_OFF,
    SCORES_MAX,
    TRIED_MAX,
    Address,
    AddressInvalid,
    BackOff,
    PeerBook,
    Scores,
    parse_address,
    points_of,
    reach,
)
from chaind.primitives.errors import PeerFault

HOME = "127.0.0.1"


def book() -> PeerBook:
    return PeerBook(Random(1))


def many(count: int, base: int = 0) -> list[Address]:
    return [Address(f"8.{(base + i) >> 16}.{(base + i) >> 8 & 255}.{(base + i) & 255}", 9080)
            for i in range(count)]  # fmt: skip


def test_one_source_cannot_fill_the_book() -> None:
    known = book()
    assert known.learn(many(1_000), source="liar", source_host=HOME) == NEW_PER_SOURCE_MAX
    assert known.learn(many(1_000, 1_000), source="liar", source_host=HOME) == 0
    assert known.learn(many(1, 5_000), source="other", source_host=HOME) == 1


def test_book_is_bounded_and_hearsay_never_evicts_what_was_tried() -> None:
    known = book()
    tried = many(TRIED_MAX, 100_000)
    for address in tried:
        known.succeeded(address, node_id=str(address), now_ms=5)
    for source in range(40):
        known.learn(many(64, source * 64), source=str(source), source_host=HOME)
    assert len(known) == NEW_MAX + TRIED_MAX
    assert all(address in known for address in tried)
    known.succeeded(Address("9.9.9.9", 1), node_id="n", now_ms=6)
    assert len(known) == NEW_MAX + TRIED_MAX
    assert Address("9.9.9.9", 1) in known


def test_full_table_evicts_what_failed_most() -> None:
    known = book()
    for source in range(NEW_MAX // NEW_PER_SOURCE_MAX):
        known.learn(many(64, source * 64), source=str(source), source_host=HOME)
    bad = many(64)[17]
    known.failed(bad, now_ms=0)
    assert known.learn(many(1, 70_000), source="late", source_host=HOME) == 1
    assert bad not in known
    assert len(known) == NEW_MAX


@pytest.mark.parametrize(
    ("host", "distance"),
    [
        ("127.0.0.1", 0),
        ("::1", 0),
        ("::ffff:127.0.0.1", 0),
        ("::ffff:8.8.8.8", 2),
        ("10.1.2.3", 1),
        ("192.168.0.1", 1),
        ("fe80::1", 1),
        ("8.8.8.8", 2),
        ("2001:4860:4860::8888", 2),
        ("0.0.0.0", None),
        ("224.0.0.1", None),
        ("255.255.255.255", None),
        ("seed.example.org", None),
        ("", None),
    ],
)
def test_reach(host: str, distance: int | None) -> None:
    assert reach(host) == distance


def test_hearsay_must_mean_the_same_place_to_teller_and_hearer() -> None:
    told = [Address("127.0.0.1", 22), Address("10.0.0.1", 22), Address("8.8.8.8", 9080)]
    for host, kept in (("8.8.4.4", 1), ("10.0.0.9", 2), ("127.0.0.1", 3), ("a.name", 0)):
        assert book().learn(told, source="s", source_host=host) == kept, host
    names = [Address("localhost", 22), Address("0.0.0.0", 22)]
    assert book().learn(names, source="s", source_host=HOME) == 0


def test_sample_gives_tried_addresses_that_the_asker_can_use() -> None:
    known = book()
    known.learn([Address("8.8.8.8", 1)], source="s", source_host=HOME)
    for host in ("127.0.0.1", "10.0.0.1", "1.1.1.1", "a.name"):
        known.succeeded(Address(host, 2), node_id=host, now_ms=0)
    assert known.sample(9, for_host="9.9.9.9") == [Address("1.1.1.1", 2)]
    assert len(known.sample(9, for_host="10.0.0.2")) == 2
    assert len(known.sample(9, for_host=HOME)) == 3
    assert len(known.sample(1, for_host=HOME)) == 1


def test_back_off_doubles_to_its_cap_within_half_of_jitter() -> None:
    rng = Random(3)
    back_off = BackOff(base_ms=100, cap_ms=1_000)
    for failures, middle in ((1, 100), (2, 200), (4, 800), (5, 1_000), (62, 1_000)):
        waits = [back_off.wait_ms(failures, rng) for _ in range(200)]
        assert middle * 0.5 <= min(waits) < middle * 0.6
        assert middle * 1.4 < max(waits) <= middle * 1.5


def test_failed_address_waits_and_is_then_dialled_again() -> None:
    known = book()
    address = Address("8.8.8.8", 9080)
    known.learn([address], source="s", source_host=HOME)
    assert known.pick(now_ms=0, busy=set()) == address
    known.failed(address, now_ms=0)
    assert known.pick(now_ms=LEARNED_BACK_OFF.base_ms // 2 - 1, busy=set()) is None
    assert known.pick(now_ms=LEARNED_BACK_OFF.base_ms * 3 // 2, busy=set()) == address


def test_hearsay_that_never_answers_is_forgotten_sooner_than_a_friend() -> None:
    known = book()
    stranger, friend, configured = many(3)
    known.learn([stranger], source="s", source_host=HOME)
    known.succeeded(friend, node_id="f", now_ms=0)
    known.add_persistent(configured)
    for failures in range(1, 200):
        for address in (stranger, friend, configured):
            known.failed(address, now_ms=0)
        assert (stranger in known) == (failures < FORGET_NEW_FAILURES)
        assert (friend in known) == (failures < FORGET_TRIED_FAILURES)
    assert known.persistent_due(now_ms=PERSISTENT_BACK_OFF.cap_ms * 2, busy=set()) == [configured]


def test_only_a_connection_that_lasted_ends_a_row_of_failures() -> None:
    """A peer that accepts and closes at once is not dialled in a tight circle."""
    known = book()
    address = Address("8.8.8.8", 9080)
    known.add_persistent(address)

    def next_due_ms() -> int:
        return next(t for t in range(40_000) if known.persistent_due(now_ms=t, busy=set()))

    for _ in range(10):
        known.succeeded(address, node_id="n", now_ms=0)
        known.failed(address, now_ms=0)
    assert next_due_ms() >= PERSISTENT_BACK_OFF.cap_ms // 2
    known.failed(address, now_ms=0, stable=True)
    assert next_due_ms() <= PERSISTENT_BACK_OFF.base_ms * 3 // 2


def test_a_configured_peer_is_dialled_soon_after_its_link_heals_however_long_it_was_down() -> None:
    """`test_healing` says what follows from it."""
    known = book()
    address = many(1)[0]
    known.add_persistent(address)
    for attempt in range(200):
        known.failed(address, now_ms=attempt * 1_000_000)
        assert known.persistent_due(now_ms=attempt * 1_000_000 + 2_250, busy=set()) == [address]


def test_busy_addresses_nodes_and_hosts_are_left_alone() -> None:
    known = book()
    address = Address("8.8.8.8", 9080)
    known.succeeded(address, node_id="n", now_ms=0)
    for busy in (address, "n", "8.8.8.8"):
        assert known.pick(now_ms=0, busy={busy}) is None
    assert known.pick(now_ms=0, busy={"other"}) == address


@pytest.mark.parametrize(
    ("text", "address"),
    [
        ("127.0.0.1:9080", Address("127.0.0.1", 9080)),
        ("[::1]:1", Address("::1", 1)),
        ("[fe80::1%eth0]:1", Address("fe80::1%eth0", 1)),
        ("my_node-1.lan:1", Address("my_node-1.lan", 1)),
        ("node.example:65535", Address("node.example", 65_535)),
    ],
)
def test_parse_address(text: str, address: Address) -> None:
    assert parse_address(text) == address
    assert parse_address(str(address)) == address


@pytest.mark.parametrize(
    "text",
    ["", "host", ":1", "host:", "host:0", "host:65536", "::1:9", "h:1e3", "a b:1", "h:²", "h:١",
     "[h]:1", "[]:1", "[[..]]:8", "[h:1", "ä:1", "h\0:1", f"{'h' * 254}:1", "[::1%\n]:1"],
)  # fmt: skip
def test_parse_address_refuses(text: str) -> None:
    with pytest.raises(AddressInvalid):
        parse_address(text)


def test_faults_cost_by_class() -> None:
    malformed = points_of(DecryptFailed(what="x", length=1))
    assert malformed == points_of(FrameTooLarge(length=1, limit=1))
    assert malformed < BAN_POINTS < 2 * malformed  # once may be a version skew, twice is not
    assert 0 < points_of(PeerFault()) < malformed


def test_points_decay_and_a_ban_ends() -> None:
    scores = Scores()
    assert not scores.add("a", BAN_POINTS - 1, now_ms=0)
    assert scores.points("a", now_ms=HALF_LIFE_MS) == pytest.approx((BAN_POINTS - 1) / 2)
    assert not scores.add("a", BAN_POINTS // 2, now_ms=HALF_LIFE_MS)
    assert scores.add("a", 2, now_ms=HALF_LIFE_MS)
    assert scores.is_banned("a", now_ms=HALF_LIFE_MS + BAN_MS - 1)
    assert scores.banned(now_ms=HALF_LIFE_MS) == {"a"}
    assert not scores.is_banned("a", now_ms=HALF_LIFE_MS + BAN_MS)
    assert scores.points("a", now_ms=HALF_LIFE_MS + BAN_MS) == 0
    assert not scores.is_banned("b", now_ms=0)


def test_fault_during_a_ban_does_not_lift_it() -> None:
    scores = Scores()
    scores.add("a", BAN_POINTS, now_ms=0)
    scores.add("a", 1, now_ms=1)
    assert scores.is_banned("a", now_ms=BAN_MS - 1)


def test_scores_are_bounded_and_forget_the_mildest() -> None:
    scores = Scores()
    scores.add("banned", BAN_POINTS, now_ms=0)
    scores.add("mild", 1, now_ms=0)
    for number in range(SCORES_MAX):
        scores.add(str(number), 50, now_ms=0)
    assert scores.is_banned("banned", now_ms=1)
    assert scores.points("mild", now_ms=0) == 0
    assert len(scores._scores) == SCORES_MAX
