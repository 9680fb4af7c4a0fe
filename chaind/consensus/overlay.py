"""Who passes votes on to whom where a network is too large for everyone to talk to everyone.

The graph is a union of rings. Each ring orders all validators by a hash that is keyed by the seed
and the ring's number, and joins every validator to the one before and the one after it. All nodes
compute the same graph from the same seed; whoever wants to stand beside a victim would have to
choose keys after the seed is known. One ring connects everybody, several shuffled ones have a
diameter of about log n and hold together when any third of the validators is silent.
"""

from chaind.primitives.codec import encode
from chaind.primitives.hashes import tagged_hash

OVERLAY_TAG = "chaind/overlay"
MESH_MAX = 64  # validators up to which everyone talks to everyone
DEGREE = 12  # neighbours that every validator has at least
_MORE_RINGS_MAX = 4  # rings coincide here and there; degree 12 then stays within 20

Graph = tuple[tuple[int, ...], ...]  # neighbours of each validator, ascending


def make_graph(seed: bytes, count: int, degree: int = DEGREE) -> Graph:
    """The overlay of validators 0 to count − 1, of at least `degree` neighbours where it can be.

    No validator has more than degree + 9 neighbours, and none is its own.
    """
    assert degree >= 2
    near: list[set[int]] = [set() for _ in range(count)]
    rings = (degree + 1) // 2
    for ring in range(rings + _MORE_RINGS_MAX):
        if ring >= rings and all(len(one) >= min(degree, count - 1) for one in near):
            break
        order = sorted(range(count), key=lambda who: _place(seed, ring, who))
        for who, following in zip(order, (*order[1:], order[0]), strict=True):
            if who != following:
                near[who].add(following)
                near[following].add(who)
    return tuple(tuple(sorted(one)) for one in near)


def _place(seed: bytes, ring: int, who: int) -> bytes:
    return tagged_hash(OVERLAY_TAG, encode((seed, ring, who)))
