"""However long a link has lost every packet, what was lost is sent again within 5 s of its healing.

A model of the defaults in whole milliseconds; `tests/e2e/lost_packets.py` measures the same on real
nodes in network namespaces.
"""

from collections.abc import Iterator
from itertools import pairwise

import pytest

from chaind.network.connection import Timing
from chaind.network.manager import NetworkConfig
from chaind.network.peers import PERSISTENT_BACK_OFF

BOUND_MS = 5_000
UPKEEP_MS = NetworkConfig().upkeep_ms
SYN_MS = (0, 1_000, 3_000)  # tcp(7): an unanswered SYN is repeated after 1 s, then 2
LONGEST_WAIT_MS = PERSISTENT_BACK_OFF.cap_ms * 3 // 2


def sent_again(timeout_ms: int) -> Iterator[int]:
    """When a byte lost at 0 is sent again, until the connection is given up (RFC 6298, 5.5)."""
    at_ms = timeout_ms
    while at_ms <= Timing().silence_ms:
        yield at_ms
        timeout_ms *= 2
        at_ms += timeout_ms


@pytest.mark.parametrize("timeout_ms", [200, 300, 450, 600, 1_000, 2_000, 3_000])
def test_a_short_cut_is_over_when_tcp_sends_again_or_the_link_is_given_up(timeout_ms: int) -> None:
    first_dial_ms = PERSISTENT_BACK_OFF.base_ms * 3 // 2
    given_up_ms = Timing().silence_ms + first_dial_ms + 2 * UPKEEP_MS
    chances = [0, *sent_again(timeout_ms), given_up_ms]
    gaps = [later - earlier for earlier, later in pairwise(chances)]
    assert max(gaps) < BOUND_MS


def test_a_long_cut_is_over_at_the_next_syn_or_dial() -> None:
    connect_ms = NetworkConfig().connect_ms
    chances = [at_ms for at_ms in SYN_MS if at_ms < connect_ms]
    chances.append(connect_ms + LONGEST_WAIT_MS + UPKEEP_MS)
    gaps = [later - earlier for earlier, later in pairwise(chances)]
    assert max(gaps) < BOUND_MS


def test_a_peer_has_three_chances_to_be_heard() -> None:
    assert Timing().silence_ms == 3 * Timing().ping_ms
