"""Words that a shell hands over and no file or message can hold: empty, or bytes beside UTF-8."""

import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner

from chaind.cli.main import commands

CHAIND = [sys.executable, "-P", "-m", "chaind.cli.main"]
ODD = "caf\udce9"  # as Python has Latin-1 bytes of arguments and environment


@pytest.fixture(autouse=True)
def _empty_directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "data"))


def paths() -> list[tuple[str, str]]:
    """Every option of every command that takes a path."""
    return [
        ("init", "--home"), ("init --home x", "--genesis"), ("run", "--home"), ("run", "--config"),
        ("devnet", "--home"), ("devnet --stop", "--home"), ("audit", "--home"),
        ("stress", "--home"),
        ("custody list", "--home"), ("custody list", "--token-file"), ("webhooks list", "--home"),
        ("custody export a", "--out"), ("wallet create", "--genesis"), ("wallet send", "--file"),
    ]  # fmt: skip


@pytest.mark.parametrize(("words", "option"), paths())
@pytest.mark.parametrize(("value", "reason"), [("", "it is empty"), (ODD, "not UTF-8")])
def test_a_path_is_filled_and_text(words: str, option: str, value: str, reason: str) -> None:
    """An unset variable of a script must not become the current directory."""
    result = CliRunner().invoke(commands, [*words.split(), option, value], catch_exceptions=False)
    assert result.exit_code == 2
    assert f"'{option}'" in result.stderr
    assert reason in result.stderr
    assert not list(Path().iterdir())


def test_a_wallet_has_a_name() -> None:
    result = CliRunner().invoke(commands, ["wallet", "create", "--wallet", ""])
    assert result.exit_code == 2
    assert "it is empty" in result.stderr


@pytest.mark.parametrize("variable", ["CHAIND_NODE_HOME", "CHAIND_NODE_NAME", "CHAIND_API_HOST"])
def test_a_setting_is_text(variable: str) -> None:
    result = CliRunner(env={variable: ODD}).invoke(commands, ["run"], catch_exceptions=False)
    assert result.exit_code == 78
    assert variable in result.stderr
    assert not list(Path().iterdir())


def test_a_peer_is_text() -> None:
    result = CliRunner().invoke(commands, ["run", "--peer", f"{ODD}:1"], catch_exceptions=False)
    assert result.exit_code == 78
    assert "[network] peers" in result.stderr


@pytest.mark.parametrize(
    ("words", "variable"),
    [
        ("wallet create", "CHAIND_WALLET_PASSWORD"),
        ("webhooks add http://127.0.0.1:1/", "CHAIND_WEBHOOK_SECRET"),
    ],
)
def test_a_secret_is_text_and_is_not_shown(words: str, variable: str) -> None:
    result = CliRunner(env={variable: ODD}).invoke(commands, words.split(), catch_exceptions=False)
    assert result.exit_code == 77
    assert "it is not UTF-8" in result.stderr
    assert "caf" not in result.output


def test_an_address_list_of_commas_alone_names_no_node() -> None:
    result = CliRunner(env={"CHAIND_LOAD_URL": ","}).invoke(commands, ["load"])
    assert result.exit_code == 2
    assert "environment variable CHAIND_LOAD_URL" in result.stderr


def test_a_reader_that_goes_away_is_no_defect() -> None:
    """`chaind … | head -0`."""
    with subprocess.Popen(
        [*CHAIND, "simulate", "--help"], stdout=subprocess.PIPE, stderr=subprocess.PIPE
    ) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        process.stdout.close()
        assert b"Traceback" not in process.stderr.read()
