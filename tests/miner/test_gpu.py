"""A card's host side: launches in flight, full buffers, faults. The card is the host's compiler."""

import re
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from cuda_host import give_cards

from chaind.miner import gpu
from chaind.miner.devices import (
    CardMissing,
    CardUnusable,
    CupyBroken,
    CupyMissing,
    DriverMissing,
    GpuFault,
)
from chaind.miner.gpu import CAPACITY, SLOTS, Card, count_cards
from chaind.miner.search import NONCES, PREFIX_BYTES, Reference

PREFIX = bytes(range(PREFIX_BYTES))
OTHER = bytes(reversed(range(PREFIX_BYTES)))
EASY = (1 << 252) - 1  # one hash in sixteen
EDGE = (1 << 224) - 1 << 28  # its first word decides not alone


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where compiled kernels lie."""
    return tmp_path_factory.mktemp("cuda")


@pytest.fixture
def card(monkeypatch: pytest.MonkeyPatch, made: Path) -> Iterator[Card]:
    give_cards(monkeypatch, made)
    yield Card.open(0)
    sys.modules.pop("cupy", None)


def hits(prefix: bytes, target: int, first: int, end: int) -> list[int]:
    found: list[int] = []
    at = first
    while (n := Reference().find(prefix=prefix, target=target, first=at, end=end)) is not None:
        found.append(n)
        at = n + 1
    return found


def test_a_card_is_known_by_its_name(card: Card) -> None:
    assert (card.name, card.index, card.processors) == ("Fake card 0", 0, 2)
    assert card.threads == 2 * card.shape.blocks * card.shape.threads


@pytest.mark.parametrize("target", [EASY, EDGE, 0])
@pytest.mark.parametrize(
    ("first", "end"), [(0, 1), (5, 3_000), (NONCES - 2_500, NONCES), (NONCES - 1, NONCES)]
)
def test_a_launch_finds_what_hashlib_does(card: Card, target: int, first: int, end: int) -> None:
    launch = card.launch(prefix=PREFIX, target=target, first=first, end=end)
    assert card.collect(launch) == hits(PREFIX, target, first, end)


def test_launches_in_flight_do_not_touch_each_other(card: Card) -> None:
    for _ in range(2):  # the second time on slots that were used
        flights = []
        for prefix in (PREFIX, OTHER)[:SLOTS]:
            assert card.has_slot
            flights.append(card.launch(prefix=prefix, target=EASY, first=7, end=900))
        assert not card.has_slot
        found = {one.prefix: card.collect(one) for one in reversed(flights)}
        assert found == {one.prefix: hits(one.prefix, EASY, 7, 900) for one in flights}


def test_a_full_buffer_loses_nothing(card: Card) -> None:
    other = card.launch(prefix=OTHER, target=EASY, first=0, end=500)
    launch = card.launch(prefix=PREFIX, target=(1 << 256) - 1, first=11, end=11 + 3 * CAPACITY)
    assert card.collect(launch) == list(range(11, 11 + 3 * CAPACITY))
    assert card.collect(other) == hits(OTHER, EASY, 0, 500)
    assert card.has_slot


def test_cards_are_counted(card: Card, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FAKE_CUDA_CARDS", "3")
    assert count_cards() == 3
    assert Card.open(2).name == "Fake card 2"


@pytest.mark.parametrize(
    ("setting", "value", "index", "fault", "text"),
    [
        ("FAKE_CUDA_CARDS", "0", 0, CardMissing, "there is no GPU 0: CUDA counts 0"),
        ("FAKE_CUDA_CARDS", "2", 2, CardMissing, "there is no GPU 2: CUDA counts 2"),
        ("FAKE_CUDA_STATUS", "35", 0, DriverMissing, "driver, which does not answer: cudaErrorF"),
        ("FAKE_CUDA_STATUS", "100", 0, CardMissing, "there is no GPU 0: CUDA counts 0"),
        ("FAKE_CUDA_STATUS", "999", 0, CardUnusable, "GPU 0 cannot mine: cudaErrorFake"),
    ],
)
def test_what_is_missing_is_named(
    card: Card,
    monkeypatch: pytest.MonkeyPatch,
    setting: str,
    value: str,
    index: int,
    fault: type[GpuFault],
    text: str,
) -> None:
    monkeypatch.setenv(setting, value)
    with pytest.raises(fault, match=text):
        Card.open(index)


@pytest.mark.parametrize(
    ("old", "new", "text"),
    [
        ("0x428a2f98", "0x428a2f99", "does not find what hashlib does"),
        ("first + offset", "first + 2 * offset", "does not find what hashlib does"),
        ("// sha256d", "// refuse\n// sha256d", r"sha256d.cu\(1\): error: refused$"),
    ],
    ids=["constant", "stride", "compiler"],
)
def test_a_kernel_that_is_wrong_or_not_compiled_is_not_used(
    card: Card, monkeypatch: pytest.MonkeyPatch, old: str, new: str, text: str
) -> None:
    code = gpu.source()
    assert old in code
    monkeypatch.setattr(gpu, "source", lambda: code.replace(old, new))
    with pytest.raises(CardUnusable, match=text):
        Card.open(0)


def test_without_cupy_it_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "cupy", None)
    with pytest.raises(CupyMissing, match="CuPy, which is not installed"):
        count_cards()


@pytest.mark.parametrize(
    ("code", "reason"),
    [
        ("raise ImportError('libcuda.so.1: no such file')", "libcuda.so.1: no such file"),
        ("raise ImportError('\\n====\\nFailed to import CuPy.')", "Failed to import CuPy."),
        (
            "raise ImportError('====\\nFailed.\\n\\nOriginal error:\\n  OSError: of disk\\n====')",
            "OSError: of disk",
        ),
        ("raise OSError", "OSError"),
        ("import of_nothing_there", "No module named 'of_nothing_there'"),
    ],
)
def test_a_cupy_that_does_not_load_is_told_with_its_reason(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, code: str, reason: str
) -> None:
    (tmp_path / "cupy.py").write_text(code)
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.delitem(sys.modules, "cupy", raising=False)
    with pytest.raises(CupyBroken, match=f"does not load: {re.escape(reason)}$"):
        count_cards()
