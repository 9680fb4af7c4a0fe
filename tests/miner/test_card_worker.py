"""A worker that has a card: launches in flight, newer work at once, rests."""

import sys
import threading
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager
from multiprocessing import Pipe
from multiprocessing.connection import Connection
from pathlib import Path
from typing import NamedTuple

import pytest
from cuda_host import give_cards

from chaind.miner.card_worker import HITS_MAX, LAUNCH_S, CardWorker
from chaind.miner.gpu import SLOTS, Card
from chaind.miner.search import NONCES, PREFIX_BYTES, Reference
from chaind.miner.worker import (
    TARGET_BYTES,
    Answer,
    Clock,
    Exhausted,
    Found,
    Searched,
    Work,
    decode_answer,
    encode,
)

PREFIX = bytes(range(PREFIX_BYTES))
NEVER = bytes(TARGET_BYTES)
PATIENCE_S = 20.0
ANSWERS_MAX = 10_000


def answer(connection: Connection) -> Answer:
    assert connection.poll(PATIENCE_S)
    return decode_answer(connection.recv_bytes())


def until_searched(connection: Connection, work: Work) -> list[Answer]:
    """What is said until reports have told of all nonces of this work, which is their end."""
    answers: list[Answer] = []
    left = work.end - work.first
    while left:
        told = answer(connection)
        answers.append(told)
        if isinstance(told, Searched) and told.job == work.job:
            left -= told.nonces
        assert left >= 0
        assert len(answers) < ANSWERS_MAX
    return answers


@contextmanager
def serving(card: Card) -> Iterator[Connection]:
    """A worker in a thread; it must have ended once its crew's end is closed."""
    ours, theirs = Pipe()

    def run() -> None:
        with theirs:
            CardWorker(theirs, card, Clock(), intensity=100).serve()

    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    with ours:
        yield ours
    thread.join(PATIENCE_S)
    assert not thread.is_alive()


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where compiled kernels lie."""
    return tmp_path_factory.mktemp("cuda")


@pytest.fixture
def card(monkeypatch: pytest.MonkeyPatch, made: Path) -> Iterator[Card]:
    give_cards(monkeypatch, made)
    yield Card.open(0)
    sys.modules.pop("cupy", None)


def test_every_nonce_is_found_once_and_in_order(card: Card) -> None:
    target = 1 << 246
    expected, at, end = [], 100, 200_000
    while (n := Reference().find(prefix=PREFIX, target=target, first=at, end=end)) is not None:
        expected.append(n)
        at = n + 1
    work = Work(7, PREFIX, target.to_bytes(TARGET_BYTES, "big"), 100, end)
    with serving(card) as connection:
        connection.send_bytes(encode(work))
        answers = until_searched(connection, work)
    found = [told for told in answers if isinstance(told, Found)]
    assert found == [Found(7, nonce) for nonce in expected]
    reports = [told for told in answers if isinstance(told, Searched)]
    assert all(told.job == 7 and told.seconds > 0 for told in reports)
    assert answers.count(Exhausted(7)) == 1


def test_new_work_takes_the_place_of_the_old_which_is_counted(card: Card) -> None:
    with serving(card) as connection:
        connection.send_bytes(encode(Work(1, PREFIX, NEVER, 0, NONCES)))
        newer = Work(2, PREFIX, NEVER, 10, 20)
        connection.send_bytes(encode(newer))
        answers = until_searched(connection, newer)
        assert not any(isinstance(told, Found) for told in answers)
        assert Exhausted(1) not in answers
        assert answers.count(Exhausted(2)) == 1
        assert not connection.poll(0.1)


def test_a_rest_is_a_rest_and_it_ends_in_the_middle_of_work(card: Card) -> None:
    with serving(card) as connection:
        connection.send_bytes(encode(Work(1, bytes(PREFIX_BYTES), NEVER, 0, 0, 1.0)))
        assert not connection.poll(0.1)
        connection.send_bytes(encode(Work(2, PREFIX, NEVER, 0, NONCES)))


class Begun(NamedTuple):
    """A launch: when it was asked for and when the card came to it, how many were in flight."""

    asked_s: float
    runs_s: float
    nonces: int
    flights: int
    prefix: bytes


class Metronome:
    """A card that makes `rate` hashes in each second of a clock of its own, and finds nothing."""

    def __init__(self, rate: float) -> None:
        self.rate = rate
        self.now_s = 0.0
        self.ends_s = 0.0
        self.flights: deque[tuple[int, int, float]] = deque()
        self.log: list[Begun] = []

    @property
    def has_slot(self) -> bool:
        return len(self.flights) < SLOTS

    def launch(self, *, prefix: bytes, target: int, first: int, end: int) -> object:
        runs_s = max(self.now_s, self.ends_s)
        self.ends_s = runs_s + (end - first) / self.rate
        self.flights.append((first, end, self.ends_s))
        self.log.append(Begun(self.now_s, runs_s, end - first, len(self.flights), prefix))
        return self.flights[-1]

    def collect(self, launch: object) -> list[int]:
        assert self.flights[0] is launch
        self.now_s = max(self.now_s, self.flights.popleft()[2])
        return []


class Script:
    """A crew's end that sends work at times of that clock, and then hangs up."""

    def __init__(self, card: Metronome, *sent: tuple[float, Work], end_s: float) -> None:
        self.card = card
        self.waiting = deque(sent)
        self.end_s = end_s
        self.said: list[tuple[float, Answer]] = []

    def poll(self, timeout_s: float | None) -> bool:
        due_s = self.waiting[0][0] if self.waiting else self.end_s
        if timeout_s is None or due_s <= self.card.now_s + timeout_s:
            self.card.now_s = max(self.card.now_s, due_s)
            return True
        self.card.now_s += timeout_s
        return False

    def recv_bytes(self) -> bytes:
        if not self.waiting:
            raise EOFError
        return encode(self.waiting.popleft()[1])

    def send_bytes(self, data: bytes) -> None:
        self.said.append((self.card.now_s, decode_answer(data)))


def play(
    *sent: tuple[float, Work], end_s: float, rate: float = 4e9, intensity: int = 100
) -> tuple[Metronome, list[tuple[float, Answer]]]:
    card = Metronome(rate)
    script = Script(card, *sent, end_s=end_s)
    clock = Clock(lambda: card.now_s, lambda: card.now_s)
    CardWorker(script, card, clock, intensity=intensity).serve()  # type: ignore[arg-type]
    return card, script.said


def endless(job: int, rate: float = 0.0) -> Work:
    return Work(job, PREFIX, NEVER, 0, NONCES, rate)


@pytest.mark.parametrize("rate", [1e7, 4e9, 9e9])
def test_launches_grow_until_they_take_their_time(rate: float) -> None:
    card, _ = play((0.0, endless(1)), end_s=0.4, rate=rate)
    assert all(
        nonces / rate == pytest.approx(LAUNCH_S, rel=0.01)
        for nonces in [one.nonces for one in card.log[24:]]
    )
    assert {one.flights for one in card.log[1:]} == {SLOTS}, "the card waits for the host"


@pytest.mark.parametrize("due_s", [0.3001, 0.305, 0.3119])
def test_newer_work_begins_within_50_ms(due_s: float) -> None:
    other = bytes(PREFIX_BYTES)
    newer = Work(2, other, NEVER, 0, NONCES)
    card, _ = play((0.0, endless(1)), (due_s, newer), end_s=0.4)
    first = next(one for one in card.log if one.prefix == other)
    assert first.runs_s - due_s < 0.05
    assert first.runs_s > due_s


def test_the_card_never_idles_between_two_headers() -> None:
    """The next work is asked for while the last launches of the old run."""
    short = Work(1, PREFIX, NEVER, 0, 1 << 30)
    card, said = play((0.0, short), (0.27, endless(2)), end_s=0.5)
    told_s = next(at_s for at_s, one in said if one == Exhausted(1))
    assert told_s < 2**30 / card.rate - LAUNCH_S / 2
    assert card.log[-1].flights == SLOTS
    searched = sum(one.nonces for _, one in said if isinstance(one, Searched) and one.job == 1)
    assert searched == 1 << 30


def test_reports_tell_the_rate_each_second() -> None:
    _, said = play(*((k * 0.9, endless(k)) for k in range(5)), end_s=4.5)
    reports = [one for _, one in said if isinstance(one, Searched)]
    assert len(reports) >= 4
    for report in reports:
        assert report.nonces / report.seconds == pytest.approx(4e9, rel=0.02)


@pytest.mark.parametrize("intensity", [10, 50, 90])
def test_a_card_rests_for_its_share(intensity: int) -> None:
    card, _ = play((0.0, endless(1)), end_s=3.0, rate=1e9, intensity=intensity)
    assert {one.flights for one in card.log} == {1}
    busy_s = sum(one.nonces for one in card.log) / card.rate
    assert busy_s / 3.0 == pytest.approx(intensity / 100, rel=0.05)


def test_work_with_a_rate_is_done_at_that_rate() -> None:
    card, _ = play((0.0, endless(1, rate=1e6)), end_s=3.0)
    assert sum(one.nonces for one in card.log) == pytest.approx(3e6, rel=0.05)


def test_an_easy_target_makes_launches_small_and_buffers_fit() -> None:
    target = ((1 << 244) - 1).to_bytes(TARGET_BYTES, "big")
    card, _ = play((0.0, Work(1, PREFIX, target, 0, NONCES)), end_s=0.5)
    assert max(one.nonces for one in card.log) == HITS_MAX << 12
    all_of_them = bytes([255] * TARGET_BYTES)
    card, _ = play((0.0, Work(1, PREFIX, all_of_them, 0, NONCES)), end_s=0.001)
    assert max(one.nonces for one in card.log) == HITS_MAX
