"""The overlay's graph: the same everywhere, of bounded degree, in one piece whoever is silent."""

from collections.abc import Collection
from random import Random

import pytest

from chaind.consensus.overlay import DEGREE, Graph, make_graph
from chaind.primitives.hashes import sha256

SEED = b"a chain, and an epoch"


def hops(graph: Graph, start: int, silent: Collection[int]) -> dict[int, int]:
    """How far everyone is whom `start` reaches without the silent ones."""
    far = {start: 0}
    edge = [start]
    while edge:
        edge = [near for who in edge for near in graph[who] if near not in silent]
        edge = [near for near in dict.fromkeys(edge) if near not in far]
        far.update(dict.fromkeys(edge, max(far.values()) + 1))
    return far


def test_a_frozen_graph() -> None:
    """Nodes that disagree on it leave each other out: a changed bit is a changed protocol."""
    graph = make_graph(SEED, 100)
    assert graph[0] == (1, 3, 5, 7, 8, 9, 13, 17, 20, 26, 27, 38, 45, 63, 65, 92)
    assert sha256(repr(graph).encode()).hex().startswith("aee149d1")


@pytest.mark.parametrize("count", [65, 100, 301, 1000])
def test_degree_is_within_12_and_20_and_links_are_mutual(count: int) -> None:
    graph = make_graph(SEED, count)
    assert all(DEGREE <= len(near) <= 20 for near in graph)
    assert all(who in graph[near] for who in range(count) for near in graph[who])
    assert all(who not in graph[who] for who in range(count))


@pytest.mark.parametrize("count", [1, 2, 3, 4, 7])
def test_few_validators_are_all_neighbours(count: int) -> None:
    assert [len(near) for near in make_graph(SEED, count)] == [count - 1] * count


def test_another_seed_is_another_graph() -> None:
    assert make_graph(b"one", 100) != make_graph(b"other", 100)


@pytest.mark.parametrize(("count", "hops_max"), [(65, 4), (301, 5), (1000, 5)])
def test_any_silent_third_leaves_the_rest_connected_and_close(count: int, hops_max: int) -> None:
    """Drawn by chance, and neighbours of one victim first, all but one of them."""
    rng = Random(1)
    third = (count - 1) // 3
    for trial in range(5):
        graph = make_graph(b"%d" % trial, count)
        chosen = rng.sample(range(count), third)
        victim = rng.randrange(count)
        around = [*graph[victim][1:], *(one for one in chosen if one != graph[victim][0])]
        for silent in (set(chosen), set(around[:third]) - {victim}):
            start = next(who for who in range(count) if who not in silent)
            far = hops(graph, start, silent)
            assert len(far) == count - len(silent)
            assert max(far.values()) <= hops_max
