"""Words that a shell hands over and no file or message can hold: empty, or bytes beside UTF-8."""

from pathlib import Path
from types import SimpleNamespace

import pytest
from click.testing import CliRunner

from chaind.cli.main import commands
from chaind.cli.wallet_secrets import SecretAbsent, read_secret

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
@pytest.mark.parametrize(("value", "reason"), [("", "it is empty"), (ODD, "not text in UTF-8")])
def test_a_path_is_filled_and_text(words: str, option: str, value: str, reason: str) -> None:
    """An unset variable of a script must not become the current directory."""
    result = CliRunner().invoke(commands, [*words.split(), option, value], catch_exceptions=False)
    assert result.exit_code == 2
    assert reason in result.stderr
    assert (f"'{option}'" if not value else "Argument") in result.stderr
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


@pytest.mark.parametrize(
    "words",
    ["wallet send chd1 1 --memo", "wallet send chd1 1 --asset", "wallet send", "custody create",
     "run --peer", "webhooks show", "wallet account", "status --url"],
)  # fmt: skip
def test_an_argument_is_text(words: str) -> None:
    result = CliRunner().invoke(commands, [*words.split(), ODD], catch_exceptions=False)
    assert result.exit_code == 2
    assert f"Argument {len(words.split()) + 1} is not text in UTF-8." in result.stderr


def test_a_path_of_a_variable_is_text() -> None:
    result = CliRunner(env={"CHAIND_STRESS_HOME": ODD}).invoke(commands, ["stress"])
    assert result.exit_code == 2
    assert "environment variable CHAIND_STRESS_HOME: it is not text in UTF-8." in result.stderr


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


def test_a_typed_secret_is_text(monkeypatch: pytest.MonkeyPatch) -> None:
    def typed(_prompt: str) -> str:
        return b"caf\xe9".decode()

    monkeypatch.setattr("click.termui.hidden_prompt_func", typed)
    with monkeypatch.context() as terminal:
        terminal.setattr("sys.stdin", SimpleNamespace(isatty=lambda: True))
        with pytest.raises(SecretAbsent, match="it is not UTF-8"):
            read_secret("password", None, "password")


def test_an_address_list_of_commas_alone_names_no_node() -> None:
    result = CliRunner(env={"CHAIND_LOAD_URL": ","}).invoke(commands, ["load"])
    assert result.exit_code == 2
    assert "environment variable CHAIND_LOAD_URL" in result.stderr
