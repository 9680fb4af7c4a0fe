"""A chain of headers in bulk: what holds it together, and that each broken rule is told by name."""

from collections.abc import Sequence
from typing import Any

import msgspec
import pytest
from header_kit import BEGIN, EASY, NOW, altered, changes, flip, mine, mine_chain
from hypothesis import given
from hypothesis import strategies as st

from chaind.consensus.pow.errors import (
    BitsUnexpected,
    GenesisMismatch,
    HashTooHigh,
    HeadersCut,
    HeaderUnlinked,
    TargetTooEasy,
    TimeTooNew,
    TimeTooOld,
    TimeTooSoon,
    TimeWarped,
)
from chaind.consensus.pow.headers import HeaderChain
from chaind.consensus.pow.retarget import Anchor
from chaind.consensus.pow.times import median_time_past
from chaind.primitives.block import Header
from chaind.primitives.errors import ChaindError
from chaind.primitives.hashes import sha256d
from chaind.primitives.work import BitsInvalid, WorkParameters, target_of

WINDOW = WorkParameters(retarget="bitcoin", limit_bits=EASY, target_spacing_ms=10_000, window=8)
BIP94 = msgspec.structs.replace(WINDOW, retarget="bitcoin-bip94")
ASERT = msgspec.structs.replace(WINDOW, retarget="asert", half_life_ms=60_000)
# Two windows too fast, one too slow, one with a step back in time.
STEPS = [6] * 15 + [4] * 8 + [30] * 8 + [10, 25, -12] * 3
TIMES = [BEGIN + sum(STEPS[:index]) for index in range(len(STEPS) + 1)]
CHAINS = {rule.retarget: (rule, mine_chain(TIMES, rule)) for rule in (WINDOW, BIP94, ASERT)}


def follow(parameters: WorkParameters, headers: Sequence[bytes], **options: Any) -> HeaderChain:
    chain = HeaderChain(parameters=parameters, **{"now": NOW, **options})
    chain.feed(b"".join(headers))
    return chain


@pytest.mark.parametrize("rule", CHAINS)
def test_a_chain_verifies_and_its_work_is_summed(rule: str) -> None:
    parameters, headers = CHAINS[rule]
    told = follow(parameters, headers, genesis=sha256d(headers[0])).progress()
    assert (told.height, told.headers, told.hash) == (40, 41, sha256d(headers[-1]))
    assert (told.time, told.bits) == (TIMES[-1], Header.decode(headers[-1]).bits)
    targets = [target_of(Header.decode(header).bits) for header in headers]
    assert told.chainwork == sum(2**256 // (target + 1) for target in targets)
    assert told.retargets == (40 if rule == "asert" else 5)
    assert told.changed == changes(headers) >= 4
    assert told.trusted == 0


@pytest.mark.parametrize("rule", CHAINS)
@pytest.mark.parametrize("size", [1, 3, 16])
def test_it_does_not_matter_how_headers_are_cut_into_pieces(rule: str, size: int) -> None:
    parameters, headers = CHAINS[rule]
    chain = HeaderChain(parameters=parameters, now=NOW)
    for at in range(0, len(headers), size):
        chain.feed(b"".join(headers[at : at + size]))
    assert chain.progress() == follow(parameters, headers).progress()


@given(st.sampled_from(sorted(CHAINS)), st.integers(0, len(TIMES) - 2), st.integers(0, 80 * 8 - 1))
def test_no_bit_of_a_header_can_be_changed(rule: str, height: int, bit: int) -> None:
    parameters, headers = CHAINS[rule]
    forged = [*headers[:height], flip(headers[height], bit), *headers[height + 1 :]]
    with pytest.raises(ChaindError):
        follow(parameters, forged)


@pytest.mark.parametrize("rule", CHAINS)
def test_a_refused_header_leaves_the_chain_before_it(rule: str) -> None:
    parameters, headers = CHAINS[rule]
    for height in range(1, len(headers)):
        chain = follow(parameters, headers[:height])
        before = chain.progress()
        parent = sha256d(headers[height - 1])
        bits = Header.decode(headers[height]).bits
        for wrong in (
            mine(parent=parent, time=TIMES[height], bits=bits, done=False),
            mine(parent=parent, time=TIMES[0] - 1, bits=bits),
            mine(parent=parent, time=TIMES[height], bits=EASY - 1),
        ):
            with pytest.raises(ChaindError):
                chain.feed(wrong)
            assert chain.progress() == before
        chain.feed(headers[height])
        assert chain.progress().hash == sha256d(headers[height])


def test_the_bits_are_the_rules_and_not_the_miners() -> None:
    headers = CHAINS["bitcoin"][1]
    for height in (3, 8, 16):
        right = Header.decode(headers[height]).bits
        wrong = altered(headers, height, bits=right - 1)
        with pytest.raises(BitsUnexpected) as refused:
            follow(WINDOW, [*headers[:height], wrong])
        assert refused.value.values == {"height": height, "given": right - 1, "expected": right}


def test_asert_expects_bits_of_every_header() -> None:
    headers = CHAINS["asert"][1]
    for height in (1, 2, 17):
        wrong = altered(headers, height, bits=Header.decode(headers[height]).bits - 1)
        with pytest.raises(BitsUnexpected, match=f"header {height} "):
            follow(ASERT, [*headers[:height], wrong])


def test_work_not_done_is_refused() -> None:
    headers = CHAINS["bitcoin"][1]
    old = Header.decode(headers[20])
    lazy = mine(parent=old.parent, time=old.time, bits=old.bits, done=False)
    with pytest.raises(HashTooHigh, match="header 20 hashes to"):
        follow(WINDOW, [*headers[:20], lazy])


def test_headers_are_linked() -> None:
    headers = CHAINS["bitcoin"][1]
    with pytest.raises(HeaderUnlinked, match=sha256d(headers[4])[::-1].hex()):
        follow(WINDOW, [*headers[:5], headers[6]])
    with pytest.raises(HeaderUnlinked, match="header 0"):
        follow(WINDOW, headers[1:])


def test_another_chains_first_header() -> None:
    headers = CHAINS["bitcoin"][1]
    with pytest.raises(GenesisMismatch, match=sha256d(headers[0])[::-1].hex()):
        follow(WINDOW, headers, genesis=bytes(32))


@pytest.mark.parametrize("length", [1, 79, 81])
def test_records_are_whole(length: int) -> None:
    with pytest.raises(HeadersCut, match=f"{length} bytes"):
        HeaderChain(parameters=WINDOW, now=NOW).feed(bytes(length))


def test_what_the_first_header_may_say_is_bounded() -> None:
    hard = msgspec.structs.replace(WINDOW, limit_bits=0x1F7FFFFF)
    with pytest.raises(TargetTooEasy, match="easiest allowed are 0x1f7fffff"):
        follow(hard, [mine(parent=bytes(32), time=BEGIN, bits=0x20008000)])  # one above
    follow(hard, [mine(parent=bytes(32), time=BEGIN, bits=hard.limit_bits)])
    loose = Header(1, bytes(32), bytes(32), BEGIN, 0x1E0000FF, 0).encode()
    with pytest.raises(BitsInvalid, match="0x1e0000ff"):
        follow(WINDOW, [loose])


@pytest.mark.parametrize(("start", "retargets", "trusted"), [(8, 4, 0), (9, 3, 1), (15, 3, 1)])
def test_above_block_0_only_what_cannot_be_seen_is_trusted(
    start: int, retargets: int, trusted: int
) -> None:
    headers = CHAINS["bitcoin"][1]
    told = follow(WINDOW, headers[start:], start=start, work_below=1_000_000).progress()
    assert (told.height, told.retargets, told.trusted) == (40, retargets, trusted)
    whole = follow(WINDOW, headers).progress()
    below = follow(WINDOW, headers[:start]).progress()
    assert told.chainwork - 1_000_000 == whole.chainwork - below.chainwork


def test_asert_above_block_0_hangs_on_a_given_anchor() -> None:
    headers = CHAINS["asert"][1]
    anchor = Anchor(height=1, bits=EASY, parent_time=TIMES[0])
    told = follow(ASERT, headers[5:], start=5, anchor=anchor).progress()
    assert (told.height, told.retargets) == (40, 35)
    moved = anchor._replace(parent_time=TIMES[0] - 60)
    with pytest.raises(BitsUnexpected):
        follow(ASERT, headers[5:], start=5, anchor=moved)


@pytest.mark.parametrize(
    ("times", "median"),
    [([5], 5), ([5, 9], 9), ([9, 1, 5], 5), (list(range(20)), 14), ([7] * 11, 7)],
)
def test_the_median_is_of_the_last_eleven(times: list[int], median: int) -> None:
    assert median_time_past(times) == median


def test_time_is_above_the_median_of_the_last_eleven() -> None:
    headers = CHAINS["bitcoin"][1]
    median = sorted(TIMES[9:20])[5]
    parent, bits = sha256d(headers[19]), Header.decode(headers[20]).bits
    follow(WINDOW, [*headers[:20], mine(parent=parent, time=median + 1, bits=bits)])
    with pytest.raises(TimeTooOld, match=f"the median of those before it is {median}"):
        follow(WINDOW, [*headers[:20], mine(parent=parent, time=median, bits=bits)])


def test_a_median_of_unseen_headers_is_not_guessed() -> None:
    headers = CHAINS["bitcoin"][1]
    parent, bits = sha256d(headers[19]), Header.decode(headers[20]).bits
    early = mine(parent=parent, time=TIMES[15], bits=bits)
    follow(WINDOW, [*headers[:20], early])
    follow(WINDOW, [*headers[16:20], early], start=16)


def test_time_is_not_far_ahead_of_the_clock() -> None:
    headers = CHAINS["bitcoin"][1]
    just_in_time = max(TIMES) - WINDOW.max_future_ms // 1000
    follow(WINDOW, headers, now=just_in_time)
    with pytest.raises(TimeTooNew, match=f"header 39 has time {max(TIMES)}"):
        follow(WINDOW, headers, now=just_in_time - 1)
    timeless = msgspec.structs.replace(WINDOW, max_future_ms=0)
    assert follow(timeless, headers, now=0).progress().height == 40


def test_a_least_interval_after_the_parent() -> None:
    paced = msgspec.structs.replace(WINDOW, min_block_interval_ms=4_000)
    forward = [time for time in TIMES if time <= TIMES[31]]
    headers = mine_chain(forward, paced)
    assert follow(paced, headers).progress().height == 31
    strict = msgspec.structs.replace(paced, min_block_interval_ms=4_001)
    with pytest.raises(TimeTooSoon, match=r"header 16 .* 4001 ms"):
        follow(strict, headers)


def test_bip94_holds_a_windows_first_header_to_its_parents_time() -> None:
    """Ten minutes back are the most; `bitcoin` lets it go back to the median."""
    times = [BEGIN + 1000 * index for index in range(16)]
    for rule in (WINDOW, BIP94):
        headers = mine_chain(times, rule)
        parent = sha256d(headers[-1])
        bits = EASY  # windows too slow stay at the limit
        for back in (600, 601):
            late = mine(parent=parent, time=times[-1] - back, bits=bits)
            if rule is BIP94 and back == 601:
                with pytest.raises(TimeWarped, match="header 16 opens a window"):
                    follow(rule, [*headers, late])
            else:
                follow(rule, [*headers, late])
    inside = mine_chain(times[:15], BIP94)
    follow(BIP94, [*inside, mine(parent=sha256d(inside[-1]), time=times[14] - 601, bits=EASY)])
