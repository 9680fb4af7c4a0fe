"""A mining process's loop, over a real connection: in order, up to date, and gone with its crew."""

import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from multiprocessing import Pipe
from multiprocessing.connection import Connection

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chaind.miner.kernel import KernelHomeless
from chaind.miner.search import NONCES, PREFIX_BYTES, Reference
from chaind.miner.worker import (
    PIECE_MAX,
    PIECE_S,
    TARGET_BYTES,
    Answer,
    Clock,
    Exhausted,
    Found,
    Pace,
    Searched,
    Work,
    decode_answer,
    encode,
    main,
    next_piece,
    serve,
)

PREFIX = bytes(range(PREFIX_BYTES))
NEVER = bytes(TARGET_BYTES)
PATIENCE_S = 20.0
OF_OTHERS_MAX = 20  # a report is made each second


@contextmanager
def worker() -> Iterator[Connection]:
    """A worker in a thread; it must have ended once its crew's end is closed."""
    ours, theirs = Pipe()

    def run() -> None:
        with theirs:
            serve(theirs, Reference(), Clock())

    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    with ours:
        yield ours
    thread.join(PATIENCE_S)
    assert not thread.is_alive()


def answer(connection: Connection) -> Answer:
    assert connection.poll(PATIENCE_S)
    return decode_answer(connection.recv_bytes())


def until_exhausted(connection: Connection, job: int) -> list[Answer]:
    """All that is said of a job; little may be said of others before."""
    answers: list[Answer] = []
    of_others = 0
    while Exhausted(job) not in answers[-1:]:
        told = answer(connection)
        assert isinstance(told, Found | Searched | Exhausted)
        if told.job == job:
            answers.append(told)
        else:
            of_others += 1
            assert of_others <= OF_OTHERS_MAX, "the old work goes on and on"
    return answers


class Hand:
    """A clock that is set by hand."""

    def __init__(self) -> None:
        self.now_s = 0.0

    def clock(self) -> Clock:
        return Clock(wall_s=lambda: self.now_s, cpu_s=lambda: self.now_s)


def test_a_rate_is_kept_by_rests_and_missed_time_is_not_made_up_for() -> None:
    hand = Hand()
    pace = Pace(hand.clock())
    assert pace.rest_s() == 0.0
    for _ in range(10):
        pace.spent(100, 0.001, rate=1_000.0)
        rest_s = pace.rest_s()
        assert rest_s == pytest.approx(0.1, abs=0.05)
        hand.now_s += rest_s
    assert hand.now_s == pytest.approx(1.0, abs=0.15)
    hand.now_s += 60.0
    pace.spent(100, 0.001, rate=1_000.0)
    assert 0.0 <= pace.rest_s() <= 0.1
    pace.spent(100, 4.0, rate=1e9)
    assert pace.rest_s() == pytest.approx(16.0, abs=0.2), "a quarter of a core at most"
    pace.spent(100, 4.0, rate=0.0)
    assert pace.rest_s() == 0.0


def test_a_faster_kernel_is_made_when_the_rate_asks_for_it() -> None:
    made: list[float] = []

    def compiled() -> Reference:
        made.append(1.0)
        return Reference()

    ours, theirs = Pipe()
    thread = threading.Thread(target=serve, args=(theirs, Reference(), Clock(), compiled))
    thread.start()
    with ours:
        for job, (rate, count) in enumerate(((1_000.0, 0), (1e9, 1), (0.0, 1)), start=1):
            ours.send_bytes(encode(Work(job, PREFIX, NEVER, 0, 10, rate)))
            until_exhausted(ours, job)
            assert len(made) == count
    thread.join(PATIENCE_S)
    theirs.close()


def test_a_kernel_that_cannot_be_used_is_its_last_words(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def refuse() -> None:
        raise KernelHomeless(reason="a full disk")

    ours, theirs = Pipe()
    monkeypatch.setattr("chaind.miner.kernel.CpuKernel", refuse)
    monkeypatch.setattr("signal.signal", lambda *_: None)
    monkeypatch.setattr("sys.argv", ["worker", str(os.dup(theirs.fileno())), "0", "compiled"])
    with ours, theirs, pytest.raises(SystemExit) as ended:
        main()
    assert ended.value.code == 73
    assert capsys.readouterr().err == (
        "Error: the compiled mining kernel can be kept nowhere: a full disk\n"
        "Set NUMBA_CACHE_DIR to a directory that this user may write to.\n"
    )


def test_every_nonce_is_found_once_and_in_order() -> None:
    target = 1 << 250
    expected = []
    at = 100
    while (
        nonce := Reference().find(prefix=PREFIX, target=target, first=at, end=5_000)
    ) is not None:
        expected.append(nonce)
        at = nonce + 1
    work = Work(7, PREFIX, target.to_bytes(TARGET_BYTES, "big"), 100, 5_000)
    with worker() as connection:
        connection.send_bytes(encode(work))
        answers = until_exhausted(connection, 7)
    assert [told for told in answers if isinstance(told, Found)] == [
        Found(7, nonce) for nonce in expected
    ]
    reports = [told for told in answers if isinstance(told, Searched)]
    assert sum(told.nonces for told in reports) == 4_900
    assert all(told.seconds > 0 for told in reports)
    assert answers[-1] == Exhausted(7)


def test_new_work_takes_the_place_of_the_old() -> None:
    with worker() as connection:
        connection.send_bytes(encode(Work(1, PREFIX, NEVER, 0, NONCES)))
        connection.send_bytes(encode(Work(2, PREFIX, NEVER, 0, NONCES)))
        connection.send_bytes(encode(Work(3, PREFIX, NEVER, 10, 20)))
        told = until_exhausted(connection, 3)
        assert [type(each) for each in told] == [Searched, Exhausted]
        assert not connection.poll(0.1)


def test_work_that_is_replaced_is_counted() -> None:
    with worker() as connection:
        connection.send_bytes(encode(Work(1, PREFIX, NEVER, 0, NONCES)))
        connection.send_bytes(encode(Work(2, PREFIX, NEVER, 0, 1)))
        first = answer(connection)
        assert isinstance(first, Searched)
        assert first.job == 1
        assert 0 < first.nonces < NONCES


def test_it_ends_in_the_middle_of_work() -> None:
    with worker() as connection:
        connection.send_bytes(encode(Work(1, PREFIX, NEVER, 0, NONCES)))


@given(st.integers(1, PIECE_MAX), st.floats(0, 100))
def test_pieces_take_as_long_as_they_should(piece: int, took_s: float) -> None:
    following = next_piece(piece, took_s)
    assert 1 <= following <= min(2 * piece, PIECE_MAX)
    if took_s > PIECE_S:
        assert following <= piece
    elif took_s < PIECE_S / 2:
        assert following == min(2 * piece, PIECE_MAX)


@pytest.mark.parametrize(
    ("piece", "took_s", "following"),
    [
        (1000, 0.01, 2000),
        (1000, 0.04, 500),
        (1000, 0.0, 2000),
        (1, 9.0, 1),
        (1 << 28, 0.001, 1 << 28),
    ],
)
def test_the_next_piece(piece: int, took_s: float, following: int) -> None:
    assert next_piece(piece, took_s) == following
