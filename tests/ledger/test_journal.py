"""The journal: apply, undo, redo, settle and final reads, against a plain stack of dicts."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from chaind.ledger.journal import Delta, State, next_root
from chaind.primitives.codec import encode
from chaind.primitives.hashes import sha256

K1, K2, K3 = b"k1", b"k2", b"k3"


class CountingBase(dict[bytes, bytes]):
    """A store that counts reads."""

    reads = 0

    def get(self, key: bytes, default: object = None) -> bytes | None:  # type: ignore[override]
        self.reads += 1
        return super().get(key)

    def write(self, delta: Delta) -> None:
        for key, value in delta.writes:
            if value is None:
                self.pop(key, None)
            else:
                self[key] = value


def block(state: State, *writes: tuple[bytes, bytes | None]) -> Delta:
    state.begin()
    for key, value in writes:
        state.put(key, value)
    return state.seal()


def test_a_block_is_seen_at_once_and_undone_whole() -> None:
    state = State({K1: b"old"})
    delta = block(state, (K1, b"new"), (K2, b"made"), (K3, None))
    assert (state.get(K1), state.get(K2), state.get(K3)) == (b"new", b"made", None)
    assert state.undo() is delta
    assert (state.get(K1), state.get(K2), state.depth) == (b"old", None, 0)
    state.redo(delta)
    assert (state.get(K1), state.get(K2), state.depth) == (b"new", b"made", 1)


def test_writes_are_net_and_in_key_order() -> None:
    state = State({K1: b"same", K3: b"x"})
    delta = block(
        state,
        (K3, None),
        (K2, b"made and"),
        (K1, b"other"),
        (K2, None),
        (K1, b"same"),
        (b"a", b"1"),
    )
    assert delta.writes == ((b"a", b"1"), (K3, None))
    assert dict(delta.undo) == {b"a": None, K3: b"x"}


def test_root_leaves_out_no_op_writes_and_what_was_made_and_spent_inside() -> None:
    root = b"\1" * 32
    quiet = block(State({K1: b"same"}), (K1, b"same"), (K2, b"made"), (K2, None))
    assert next_root(root, quiet.writes) == sha256(root + sha256(encode(())))
    one = block(State({K1: b"same"}), (K1, b"other"), (K3, b"3"))
    other = block(
        State({K1: b"same"}), (K3, b"3"), (K2, b""), (K2, None), (K1, b"x"), (K1, b"other")
    )
    assert next_root(root, one.writes) == next_root(root, other.writes)
    formula = sha256(root + sha256(encode(((K1, b"other"), (K3, b"3")))))
    assert next_root(root, one.writes) == formula


def test_root_tells_blocks_apart() -> None:
    roots = set()
    for parent in (bytes(32), b"\1" * 32):
        for writes in ((), ((K1, None),), ((K1, b""),), ((K1, b"1"),), ((K2, b"1"),)):
            roots.add(next_root(parent, writes))
    assert len(roots) == 10


def test_abandon_takes_back_everything_since_begin() -> None:
    state = State({K1: b"old"})
    block(state, (K2, b"2"))
    state.begin()
    state.put(K1, b"new")
    state.put(K2, None)
    state.put(K3, b"3")
    state.abandon()
    assert (state.get(K1), state.get(K2), state.get(K3)) == (b"old", b"2", None)
    assert state.depth == 1
    assert block(state).writes == ()


def test_final_reads_stay_below_every_delta_until_it_settles() -> None:
    base = CountingBase({K1: b"0"})
    state = State(base)
    first, second = block(state, (K1, b"1")), block(state, (K1, b"2"), (K2, b"2"))
    state.begin()
    state.put(K3, b"being applied")
    assert (state.get_final(K1), state.get_final(K2), state.get_final(K3)) == (b"0", None, None)
    state.abandon()
    base.write(first)  # the batch is written before settle says so
    assert state.get_final(K1) == b"0"
    state.settle(first)
    assert (state.get_final(K1), state.get_final(K2)) == (b"1", None)
    base.write(second)
    state.settle(second)
    assert (state.get_final(K1), state.get_final(K2)) == (b"2", b"2")


def test_blocks_settle_in_order() -> None:
    state = State({})
    block(state, (K1, b"1"))
    second = block(state, (K1, b"2"))
    with pytest.raises(AssertionError, match="in order"):
        state.settle(second)


def test_the_base_is_read_once_per_row_even_for_absent_ones() -> None:
    base = CountingBase({K1: b"1"})
    state = State(base)
    for _ in range(3):
        assert (state.get(K1), state.get(K2)) == (b"1", None)
    assert base.reads == 2


def test_a_full_cache_forgets_clean_rows_and_never_those_above_the_base() -> None:
    base = CountingBase({b"%d" % number: b"clean" for number in range(100)})
    state = State(base, cache_rows_max=10)
    dirty = block(state, (b"5", b"dirty"), (b"new", b"dirty"), (b"7", None))
    for _ in range(2):  # two generations: everything clean that is not read again is gone
        for number in range(20, 40):
            state.get(b"%d" % number)
        block(state)
    assert (state.get(b"5"), state.get(b"new"), state.get(b"7")) == (b"dirty", b"dirty", None)
    base.reads = 0
    assert state.get(b"25") == b"clean"
    assert base.reads == 0  # of the older generation
    assert state.get(b"50") == b"clean"
    assert base.reads == 1
    state.undo(), state.undo()
    assert state.undo() is dirty
    assert (state.get(b"5"), state.get(b"new"), state.get(b"7")) == (b"clean", None, b"clean")


def test_cached_rows_are_bounded_over_many_settled_blocks() -> None:
    base = CountingBase()
    state = State(base, cache_rows_max=50)
    for number in range(200):
        delta = block(state, *((b"%d-%d" % (number, row), b"x") for row in range(10)))
        base.write(delta)
        state.settle(delta)
    cached = len(state._live) + len(state._older)
    assert cached <= 2 * (50 + 10 + 10)
    assert len(base) == 2000


KEYS = [bytes([letter]) for letter in b"abcdef"]
VALUES = st.one_of(st.none(), st.sampled_from([b"1", b"2"]))
WRITES = st.lists(st.tuples(st.sampled_from(KEYS), VALUES), max_size=8)
OPERATION = st.one_of(
    st.tuples(st.just("block"), WRITES),
    st.tuples(st.just("abandoned"), WRITES),
    st.tuples(st.sampled_from(["undo", "redo", "settle", "read"]), st.just([])),
)


@settings(max_examples=300)
@given(
    operations=st.lists(OPERATION, max_size=40),
    start=st.dictionaries(st.sampled_from(KEYS), st.just(b"0")),
    rows_max=st.integers(1, 5),
)
def test_any_sequence_equals_a_stack_of_dicts(
    operations: list[tuple[str, list[tuple[bytes, bytes | None]]]],
    start: dict[bytes, bytes],
    rows_max: int,
) -> None:
    base = CountingBase(start)
    state = State(base, cache_rows_max=rows_max)
    stack = [dict(start)]  # final first, head last
    deltas: list[Delta] = []
    undone: list[tuple[Delta, dict[bytes, bytes]]] = []
    for name, writes in operations:
        if name == "block":
            head = dict(stack[-1])
            for key, value in writes:
                head.pop(key, None)
                head.update({} if value is None else {key: value})
            deltas.append(block(state, *writes))
            stack.append(head)
            undone.clear()
        elif name == "abandoned":
            state.begin()
            for key, value in writes:
                state.put(key, value)
            state.abandon()
        elif name == "undo" and deltas:
            assert state.undo() is deltas[-1]
            undone.append((deltas.pop(), stack.pop()))
        elif name == "redo" and undone:
            delta, head = undone.pop()
            state.redo(delta)
            deltas.append(delta)
            stack.append(head)
        elif name == "settle" and deltas:
            base.write(deltas[0])
            state.settle(deltas.pop(0))
            stack.pop(0)
            assert base == stack[0]
        for key in KEYS if name == "read" else KEYS[:2]:
            assert state.get(key) == stack[-1].get(key)
            assert state.get_final(key) == stack[0].get(key)
        differing = {key for key in KEYS if stack[-1].get(key) != stack[0].get(key)}
        assert differing <= set(state.changed_since_final())
