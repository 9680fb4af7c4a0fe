"""Types of the command line: what is no number, and no descriptor, is refused by every option."""

from pathlib import Path

import click
import pytest
from click.testing import CliRunner

from chaind.cli.main import commands
from chaind.cli.parameters import Descriptor, NodeUrl, Number


@pytest.mark.parametrize("text", ["nan", "-nan", "inf", "-1", "0.05", "11", "x", ""])
def test_a_number_is_within_its_bounds(text: str) -> None:
    with pytest.raises(click.BadParameter):
        Number(0.1, 10).convert(text, None, None)


def test_a_number_is_read() -> None:
    assert Number(0.1, 10).convert("2.5", None, None) == 2.5


@pytest.mark.parametrize("text", ["-1", "99999999999", "x"])
def test_a_descriptor_is_one_that_a_system_can_have(text: str) -> None:
    with pytest.raises(click.BadParameter):
        Descriptor().convert(text, None, None)


@pytest.mark.parametrize(
    "words",
    [
        "load --duration nan",
        "load --mix mixed --share nan",
        "stress --conflicts 1 --valid nan",
        "simulate --seed 1 --minutes nan",
        "simulate --seed 1 --minutes -1",
        "wallet send a 1 --wait nan",
        "wallet send a 1 --password-fd 99999999999",
        "wallet restore --words-fd 99999999999",
    ],
)
def test_options_refuse_them(words: str) -> None:
    result = CliRunner().invoke(commands, words.split())
    assert result.exit_code == 2, result.output
    assert "Invalid value for" in result.stderr


@pytest.mark.parametrize(
    ("url", "reason"),
    [
        ("foo", "write http://foo"),
        ("127.0.0.1:8080", "write http://127.0.0.1:8080"),
        ("ftp://x", "write http://HOST:PORT"),
        ("http://a:port", "port"),
        ("http://[", "IPv6"),
        ("http://a:1/?x=1", "write http://HOST:PORT alone"),
        ("", "write http://HOST:PORT"),
    ],
)
@pytest.mark.parametrize(
    "words",
    ["status", "load", "stress", "audit", "wallet balance", "custody list", "webhooks list"],
)
def test_what_is_no_address_of_a_node_is_told_apart_from_a_silent_one(
    words: str, url: str, reason: str
) -> None:
    result = CliRunner().invoke(commands, [*words.split(), "--url", url])
    assert result.exit_code == 2
    assert "Invalid value for '--url'" in result.stderr
    assert reason in result.stderr
    assert "Is the node running" not in result.stderr


@pytest.mark.parametrize("url", ["me:secret@host:1", "http://me:secret@host:1", "ftp://a:secret@b"])
def test_a_password_in_an_address_is_not_shown(url: str) -> None:
    result = CliRunner().invoke(commands, ["status", "--url", url])
    assert result.exit_code == 2
    assert "secret" not in result.stderr


def test_addresses_in_a_variable_stand_apart_by_blanks_or_commas() -> None:
    split = NodeUrl().split_envvar_value(" http://a:1,http://b:2 , http://c:3\n")
    assert split == ["http://a:1", "http://b:2", "http://c:3"]


@pytest.mark.parametrize(
    ("words", "variable", "value"),
    [
        ("load", "CHAIND_LOAD_RATE", "fast"),
        ("load", "CHAIND_LOAD_RATE", "1e9"),
        ("load", "CHAIND_LOAD_JSON", "maybe"),
        ("load", "CHAIND_LOAD_URL", "http://127.0.0.1:1,foo"),
        ("load", "CHAIND_LOAD_SHARE", "0.5"),
        ("load", "CHAIND_LOAD_IN_FLIGHT", "5"),
        ("stress", "CHAIND_STRESS_KEYS", "many"),
        ("stress", "CHAIND_STRESS_SPENDS", "4"),
        ("stress", "CHAIND_STRESS_JSON", "maybe"),
        ("wallet balance", "CHAIND_WALLET_URL", "foo"),
    ],
)
def test_a_refused_value_of_a_variable_is_said_to_be_one(
    words: str, variable: str, value: str
) -> None:
    result = CliRunner(env={variable: value}).invoke(commands, words.split())
    assert result.exit_code == 2
    assert f"environment variable {variable}" in result.stderr
    option = variable.rpartition("_")[2].lower()
    assert f"--{option} " not in result.stderr
    assert f"--{option}'" not in result.stderr


@pytest.mark.parametrize("command", ["load", "stress"])
def test_every_option_has_its_variable(command: str) -> None:
    found = {str(option.envvar): option for option in commands.commands[command].params}
    for option in commands.commands[command].params:
        name = option.opts[0].removeprefix("--").replace("-", "_").upper()
        assert found[f"CHAIND_{command.upper()}_{name}"] is option


def test_a_tilde_is_the_users_home_in_every_option(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    assert CliRunner().invoke(commands, ["init", "--home=~/mine"]).exit_code == 0
    assert sorted(path.name for path in tmp_path.iterdir()) == ["mine"]
