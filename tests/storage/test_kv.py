"""KeyValue: one contract, held by LevelDB and by memory alike."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from itertools import islice
from pathlib import Path
from random import Random

import pytest

from chaind.storage.kv import Change, KeyValue, LevelStore, MemoryStore, prefix_end


def open_level(path: Path) -> LevelStore:
    return LevelStore.open(path, cache_bytes=1 << 20, write_buffer_bytes=1 << 16)


@pytest.fixture(params=["level", "memory"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[KeyValue]:
    store = open_level(tmp_path / "store") if request.param == "level" else MemoryStore()
    yield store
    store.close()
    store.close()


def fill(store: KeyValue, text: str) -> None:
    store.write([(bytes([ord(c)]), c.encode() * 2) for c in text], sync=False)


def keys(rows: Iterator[tuple[bytes, bytes]]) -> str:
    return b"".join(key for key, _ in rows).decode()


def test_get(store: KeyValue) -> None:
    assert store.get(b"a") is None
    fill(store, "ab")
    assert (store.get(b"a"), store.get(b"b"), store.get(b"c")) == (b"aa", b"bb", None)
    store.write([(b"a", None), (b"b", b""), (b"never there", None)], sync=True)
    assert (store.get(b"a"), store.get(b"b")) == (None, b"")  # empty is not absent


@pytest.mark.parametrize(
    ("start", "stop", "expected"),
    [
        (b"b", b"d", "bc"),
        (b"b", b"d\0", "bcd"),
        (b"b\0", b"d", "c"),
        (b"", b"b", "a"),
        (b"", None, "abcde"),
        (b"d", None, "de"),
        (b"c", b"c", ""),
        (b"d", b"b", ""),
        (b"a", b"", ""),
        (b"", b"", ""),
        (b"x", None, ""),
        (b"", b"A", ""),
    ],
)
def test_scan_is_half_open_and_ordered(
    store: KeyValue, start: bytes, stop: bytes | None, expected: str
) -> None:
    fill(store, "cadbe")
    assert keys(store.scan(start, stop)) == expected
    assert keys(store.scan(start, stop, reverse=True)) == expected[::-1]
    for limit in range(4):
        assert keys(store.scan(start, stop, limit=limit)) == expected[:limit]
        assert keys(store.scan(start, stop, limit=limit, reverse=True)) == expected[::-1][:limit]
    assert list(store.scan(b"b", b"c")) == [(b"b", b"bb")]


def test_keys_order_as_unsigned_bytes(store: KeyValue) -> None:
    ordered = [b"", b"\0", b"\0\0", b"\x01", b"\x7f", b"\x80", b"\xff", b"\xff\0", b"\xff\xff"]
    store.write([(key, b"") for key in reversed(ordered)], sync=False)
    assert [key for key, _ in store.scan(b"", None)] == ordered


def test_the_last_word_of_a_batch_counts(store: KeyValue) -> None:
    store.write([(b"a", b"1"), (b"a", None), (b"b", None), (b"b", b"2"), (b"b", b"3")], sync=False)
    assert list(store.scan(b"", None)) == [(b"b", b"3")]


def test_a_batch_that_raises_half_way_changes_nothing(store: KeyValue) -> None:
    fill(store, "a")

    def batch() -> Iterator[Change]:
        yield b"a", None
        yield b"b", b"new"
        raise KeyError("the caller's own")

    with pytest.raises(KeyError):
        store.write(batch(), sync=True)
    assert list(store.scan(b"", None)) == [(b"a", b"aa")]
    fill(store, "c")  # and the store still takes batches
    assert keys(store.scan(b"", None)) == "ac"


def test_a_scan_sees_the_store_as_it_was_when_called(store: KeyValue) -> None:
    fill(store, "abcd")
    untouched, begun = store.scan(b"", None), store.scan(b"", None, reverse=True)
    next(begun)
    store.write([(b"a", None), (b"b", b"new"), (b"bb", b"")], sync=False)
    assert list(untouched) == [(b"a", b"aa"), (b"b", b"bb"), (b"c", b"cc"), (b"d", b"dd")]
    assert list(begun) == [(b"c", b"cc"), (b"b", b"bb"), (b"a", b"aa")]


def test_snapshots_do_not_move(store: KeyValue) -> None:
    fill(store, "abc")
    first = store.snapshot()
    store.write([(b"a", None), (b"d", b"dd")], sync=False)
    second = store.snapshot()
    store.write([(b"b", b"new")], sync=False)
    assert keys(first.scan(b"", None)) == "abc"
    assert keys(second.scan(b"b", None, reverse=True, limit=2)) == "dc"
    assert (first.get(b"a"), second.get(b"a"), second.get(b"b")) == (b"aa", None, b"bb")
    assert (first.get(b"d"), second.get(b"d"), store.get(b"b")) == (None, b"dd", b"new")
    first.close()
    first.close()
    assert second.get(b"b") == b"bb"
    second.close()


def test_against_a_plain_dictionary(store: KeyValue) -> None:
    random, model = Random(3), {}
    for _ in range(300):
        batch = []
        for _ in range(random.randint(0, 12)):
            key = random.randbytes(random.randint(0, 2))
            value = random.randbytes(3) if random.random() < 0.7 else None
            batch.append((key, value))
            model[key] = value
        store.write(batch, sync=False)
        start, stop = random.randbytes(1), random.randbytes(1)
        limit, reverse = random.choice((None, 1, 5)), random.random() < 0.5
        expected = sorted((k, v) for k, v in model.items() if v is not None and start <= k < stop)
        expected = expected[::-1] if reverse else expected
        found = store.scan(start, stop, reverse=reverse, limit=limit)
        assert list(found) == list(islice(expected, limit))
        assert store.get(start) == model.get(start)


def test_writes_on_another_thread_are_seen_whole_or_not_at_all(store: KeyValue) -> None:
    names = [b"%02d" % n for n in range(50)]
    store.write([(name, b"0") for name in names], sync=False)

    def write_on() -> None:
        for version in range(1, 200):
            store.write([(name, b"%d" % version) for name in names], sync=False)

    with ThreadPoolExecutor(1) as pool:
        writing = pool.submit(write_on)
        while not writing.done():
            assert len({value for _, value in store.scan(b"", None)}) == 1
            snapshot = store.snapshot()
            assert snapshot.get(names[0]) == snapshot.get(names[-1])
            snapshot.close()
        writing.result()
    assert store.get(names[7]) == b"199"


def test_prefix_end_covers_exactly_the_prefix(store: KeyValue) -> None:
    assert prefix_end(b"a") == b"b"
    assert prefix_end(b"a\xff\xff") == b"b"
    assert prefix_end(b"\xff") is None
    assert prefix_end(b"") is None
    store.write(
        [(p + s, b"") for p in (b"a", b"b", b"\xff") for s in (b"", b"\xff\xff")], sync=False
    )
    for prefix in (b"a", b"b", b"\xff"):
        found = [key for key, _ in store.scan(prefix, prefix_end(prefix))]
        assert found == [prefix, prefix + b"\xff\xff"]
