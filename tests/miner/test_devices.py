"""Cards or cores: what is chosen, what is said where a card cannot be had, and real processes."""

import json
import re
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import CliRunner, Result
from cuda_host import give_cards

from chaind.cli.main import commands
from chaind.miner import devices
from chaind.miner.crew import Crew, MinerNotInstalled, WorkerDied
from chaind.miner.devices import CardMissing, CardUnusable, CupyMissing, choose, find_cards
from chaind.miner.kernel import host_shape
from chaind.miner.search import NONCES, PREFIX_BYTES, meets
from chaind.miner.worker import Found, Ready

TARGET = 1 << 240  # one hash in 65,536
PATIENCE_S = 60.0
NO_CUPY = "mining on a GPU needs CuPy, which is not installed beside chaind"


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where compiled kernels lie."""
    return tmp_path_factory.mktemp("cuda")


@pytest.fixture
def cards(monkeypatch: pytest.MonkeyPatch, made: Path) -> None:
    """This machine has two."""
    give_cards(monkeypatch, made, 2)


@pytest.fixture
def no_cupy(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(devices, "find_spec", lambda _: None)


def mine(*arguments: str) -> Result:
    return CliRunner().invoke(commands, ["mine", *arguments], prog_name="chaind")


@pytest.mark.usefixtures("cards")
@pytest.mark.parametrize(
    ("indexes", "names"),
    [((), {0: "Fake card 0", 1: "Fake card 1"}), ((1,), {1: "Fake card 1"})],
)
def test_cards_are_found_by_a_process_of_its_own(
    indexes: tuple[int, ...], names: dict[int, str]
) -> None:
    assert find_cards(indexes, pytest.fail) == names
    assert "cupy" not in sys.modules, "it stays out of ours"
    for device in ("auto", "gpu"):
        assert choose(device, indexes, pytest.fail) == tuple(names)  # type: ignore[arg-type]
    assert choose("cpu", indexes, pytest.fail) == ()


@pytest.mark.usefixtures("cards")
def test_a_card_that_is_not_there_is_named() -> None:
    with pytest.raises(CardMissing, match="there is no GPU 5: CUDA counts 2 on this machine"):
        choose("gpu", (5,), pytest.fail)
    told: list[str] = []
    assert choose("auto", (5,), told.append) == ()
    assert told == ["mining on the processor, as there is no GPU 5: CUDA counts 2 on this machine"]


@pytest.mark.usefixtures("cards")
def test_a_bad_card_is_left_out_unless_it_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FAKE_CUDA_BAD", "0")
    told: list[str] = []
    assert find_cards((), told.append) == {1: "Fake card 1"}
    assert told == ["GPU 0 cannot mine: cudaErrorFake: status 719"]
    with pytest.raises(CardUnusable, match="GPU 0 cannot mine: cudaErrorFake: status 719"):
        find_cards((0, 1), pytest.fail)
    monkeypatch.setenv("FAKE_CUDA_BAD", "01")
    with pytest.raises(CardUnusable, match="GPU 0 cannot mine"):
        find_cards((), pytest.fail)


@pytest.mark.usefixtures("no_cupy")
def test_without_cupy_only_auto_goes_on() -> None:
    with pytest.raises(CupyMissing, match=NO_CUPY):
        choose("gpu", (), pytest.fail)
    told: list[str] = []
    assert choose("auto", (), told.append) == ()
    assert told == [f"mining on the processor, as {NO_CUPY}"]


@pytest.mark.parametrize(
    ("code", "reason"),
    [
        ("raise SystemExit(3)", "its process ended with status 3"),
        ("import os; os.abort()", "its process ended with status -6"),
        ("raise ValueError('of the driver')", "ValueError: of the driver"),
        ("import time; time.sleep(60)", "no answer in 1 s"),
        ("print('hello'); raise ImportError('bad')", "what was said of it is not JSON"),
    ],
)
def test_a_driver_that_ends_or_hangs_the_process_is_told_of(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, code: str, reason: str
) -> None:
    (tmp_path / "cupy.py").write_text(code)
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    if "sleep" in code:
        monkeypatch.setattr(devices, "TRY_S_MAX", 1.0)
    with pytest.raises(CardUnusable, match=re.escape(f"GPU 0 cannot mine: {reason}")):
        find_cards((), pytest.fail)


def hear(crew: Crew, until: Callable[[int, object], bool]) -> None:
    while True:
        told = list(crew.answers(PATIENCE_S))
        assert told, "no worker says anything"
        done = [until(worker, answer) for worker, answer in told]
        if any(done):
            return


@pytest.mark.usefixtures("cards")
def test_two_cards_share_the_nonces_and_end_with_their_crew() -> None:
    ready, found = set[int](), set[int]()
    prefix = bytes(range(PREFIX_BYTES))

    def is_ready(worker: int, answer: object) -> bool:
        assert answer == Ready(f"Fake card {worker}")
        ready.add(worker)
        return len(ready) == 2

    def is_found(worker: int, answer: object) -> bool:
        if isinstance(answer, Found):
            assert meets(prefix, answer.nonce, TARGET)
            assert (answer.nonce >= NONCES // 2) == (worker == 1)
            found.add(worker)
        return len(found) == 2

    with Crew.start_on_cards([0, 1]) as crew:
        hear(crew, is_ready)
        crew.assign(job=1, prefix=prefix, target=TARGET)
        hear(crew, is_found)
        crew.assign(job=2, prefix=prefix, target=0)
        pids = crew.pids
    assert not any(Path(f"/proc/{pid}").exists() for pid in pids)


@pytest.mark.usefixtures("cards")
def test_a_card_that_is_lost_ends_its_worker(capfd: pytest.CaptureFixture[str]) -> None:
    with Crew.start_on_cards([7]) as crew, pytest.raises(WorkerDied, match="status 69"):
        hear(crew, lambda *_: False)
    assert "Error: there is no GPU 7: CUDA counts 2" in capfd.readouterr().err


@pytest.mark.usefixtures("cards")
def test_the_command_mines_with_cards() -> None:
    result = mine("--benchmark", "--seconds", "1", "--json")
    assert result.exit_code == 0, result.output
    told = json.loads(result.stdout)
    assert told["kernel"] == "Fake card 0 + Fake card 1"
    assert [process["per_second"] > 0 for process in told["processes"]] == [True, True]
    result = mine("--benchmark", "--seconds", "1", "--device-index", "1", "--intensity", "20")
    assert re.fullmatch(
        r"kernel     Fake card 1\nprocess 0  [\d.]+ MH/s\ntogether   [\d.]+ MH/s\n", result.stdout
    )


@pytest.mark.usefixtures("no_cupy")
def test_where_nothing_can_mine_only_that_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("chaind.miner.crew.find_spec", lambda _: None)
    result = mine("--benchmark", "--seconds", "1")
    assert result.exit_code == MinerNotInstalled.exit_code
    assert result.stderr == (
        "Error: mining needs numba, which is not installed beside chaind\n"
        f"{MinerNotInstalled.advice}\n"
    )


@pytest.mark.usefixtures("no_cupy")
def test_the_command_falls_back_or_says_what_is_missing() -> None:
    result = mine("--benchmark", "--seconds", "1")
    assert result.exit_code == 0
    assert host_shape().name in result.stdout
    assert result.stderr == f"mining on the processor, as {NO_CUPY}\n"
    result = mine("--benchmark", "--device", "gpu")
    assert result.exit_code == CupyMissing.exit_code
    assert result.stderr == f"Error: {NO_CUPY}\n{CupyMissing.advice}\n"
    result = mine("--benchmark", "--device", "cpu", "--device-index", "0")
    assert result.exit_code == 2
    assert "--device-index is for cards" in result.stderr
