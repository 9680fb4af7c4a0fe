"""`chaind stress` against a real devnet, whose nodes it kills; and what it refuses."""

import asyncio
import json
import os
import subprocess
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace

import pytest
from click.testing import CliRunner, Result
from load_kit import free_base_port

from chaind.cli import audit_url
from chaind.cli.main import commands
from chaind.cli.processes import CHAIND, ProcessMark, mark
from chaind.cli.stress import audit_supply
from chaind.cli.stress_kill import Gate, NoDevnet, running_devnet
from chaind.cli.stress_verdict import Verdict, judge_keys
from chaind.cli.supervise import Record

PATIENCE_S = 60.0


def stress(*arguments: str) -> Result:
    return CliRunner().invoke(commands, ["stress", *arguments], prog_name="chaind")


def process(*arguments: str) -> "subprocess.CompletedProcess[str]":
    """A command whose children outlive it."""
    mine = {name: value for name, value in os.environ.items() if not name.startswith("CHAIND_")}
    return subprocess.run(
        [*CHAIND, *arguments], capture_output=True, text=True, env=mine, timeout=PATIENCE_S
    )


@pytest.fixture(scope="module")
def devnet(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Four validators in the background."""
    home = tmp_path_factory.mktemp("net")
    base_port = str(free_base_port())
    started = process("devnet", "--home", str(home), "--base-port", base_port, "--detach")
    try:
        assert started.returncode == 0, started.stderr
        yield home
    finally:
        ended = process("devnet", "--home", str(home), "--stop")
        assert "Ended 4 process(es)" in ended.stdout, ended.stderr


def test_keys_pay_once_while_nodes_are_killed(devnet: Path) -> None:
    before = Record.read(devnet).nodes
    result = process(
        *("stress", "--home", str(devnet), "--keys", "20", "--duplicates", "4", "--spread"),
        *("--kill", "2", "--seed", "1", "--json"),
    )
    assert result.returncode == 0, result.stdout + result.stderr
    told = json.loads(result.stdout)
    assert told["verdict"] == "held"
    assert (told["keys"], told["paid_once"], told["kills"]) == (20, 20, 2)
    assert told["answers"] == {"200": 80}
    assert set(told["faults"].values()) == {0}
    assert told["audited_height"] > 0
    after = Record.read(devnet).nodes
    assert 1 <= sum(old != new for old, new in zip(before, after, strict=True)) <= 2
    assert all(each.alive() for each in after)


def test_only_what_the_balance_affords_is_final_everywhere(devnet: Path) -> None:
    result = stress(
        "--home", str(devnet), "--conflicts", "1", "--spends", "16", "--valid", "2", "--json"
    )
    assert result.exit_code == 0, result.output
    told = json.loads(result.stdout)
    assert (told["spends"], told["affordable"], told["final"]) == (16, 8, 8)
    assert told["answers"]["final"] == 8
    assert set(told["faults"].values()) == {0}


def test_people_read_the_verdict_last(devnet: Path) -> None:
    port = Record.read(devnet).base_port
    result = stress("--url", f"http://127.0.0.1:{port}", "--keys", "2", "--duplicates", "2")
    assert result.exit_code == 0, result.output
    assert result.stdout.splitlines()[-1].split() == ["verdict", "held"]


@pytest.mark.parametrize(
    ("arguments", "status", "words"),
    [
        (["--kill", "1"], 2, "--kill goes with --home"),
        (["--url", "http://127.0.0.1:1", "--home", "x"], 2, "either --url or --home"),
        (["--home", "x", "--kill", "1", "--conflicts", "1"], 2, "--kill goes with keys"),
        (["--home", "x"], 69, "no devnet runs whole in the background in"),
        (["--url", "127.0.0.1:1"], 2, "write http://127.0.0.1:1"),
        (["--conflicts", "1", "--keys", "5"], 2, "--keys goes with keys: --conflicts has none"),
        (["--conflicts", "1", "--duplicates", "5"], 2, "--duplicates goes with keys"),
        (["--conflicts", "1", "--spread"], 2, "--spread goes with keys"),
        (["--spends", "4"], 2, "--spends goes with --conflicts"),
        (["--valid", "4"], 2, "--valid goes with --conflicts"),
    ],
)
def test_what_cannot_be_done_is_refused(
    arguments: list[str], status: int, words: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    result = stress(*arguments)
    assert result.exit_code == status, result.output
    assert words in result.stderr


def test_a_devnet_that_is_not_whole_is_left_alone(tmp_path: Path) -> None:
    """A node that ends with a terminal, or that is down, is none to kill and start again."""
    living, dead = mark(os.getpid()), ProcessMark(os.getpid(), "another boot")
    assert living is not None
    Record(supervisor=living, nodes=(living,)).write(tmp_path)
    with pytest.raises(NoDevnet, match="foreground"):
        running_devnet(tmp_path)
    Record(supervisor=dead, nodes=(living, dead)).write(tmp_path)
    with pytest.raises(NoDevnet, match="node1 is down"):
        running_devnet(tmp_path)
    Record(supervisor=dead, nodes=(living, living), base_port=9_000).write(tmp_path)
    assert [node.url for node in running_devnet(tmp_path)] == [
        "http://127.0.0.1:9000",
        "http://127.0.0.1:9001",
    ]


@pytest.mark.parametrize(
    ("broken", "left_open", "status"), [(0, 0, 0), (0, 2, 75), (1, 0, 1), (1, 2, 1)]
)
def test_the_exit_status_is_the_verdict(
    broken: int, left_open: int, status: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    verdict = Verdict({"keys": 2}, Counter(charged_twice=broken), left_open)
    report = SimpleNamespace(violations=[], consistent=True, height=7)
    monkeypatch.setattr("chaind.cli.stress.run_stress", lambda *_: verdict)
    monkeypatch.setattr(audit_url, "audit_url", lambda *_: report)
    result = stress("--json")
    assert result.exit_code == status, result.output
    told = json.loads(result.stdout)
    assert told["faults"] == {"charged_twice": broken, "supply_wrong": 0}
    assert ("2 payment(s)" in result.stderr) == (status == 75)


def test_supply_that_does_not_add_up_is_a_fault(monkeypatch: pytest.MonkeyPatch) -> None:
    report = SimpleNamespace(violations=["money from nowhere"], consistent=False, height=7)
    monkeypatch.setattr(audit_url, "audit_url", lambda *_: report)
    verdict = judge_keys({}, [])
    audit_supply("http://127.0.0.1:1", verdict)
    assert verdict.summary()["verdict"] == "broken"
    assert verdict.counts["audited_height"] == 7


async def test_every_kill_lets_a_share_of_the_work_through() -> None:
    gate = Gate(10, 4)
    through: list[int] = []

    async def work(number: int) -> None:
        await gate.turn(number)
        through.append(number)

    async with asyncio.TaskGroup() as group:
        for number in range(10):
            group.create_task(work(number))
        for step, share in enumerate((0, 3, 5, 8, 10)):
            if step:
                gate.advance(step)
            for _ in range(3):  # one turn of the loop wakes them, one lets them run
                await asyncio.sleep(0)
            assert sorted(through) == list(range(share))


async def test_without_kills_nothing_waits() -> None:
    await asyncio.wait_for(Gate(10, 0).turn(9), 1)
