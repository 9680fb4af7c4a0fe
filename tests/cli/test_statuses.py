"""Exit statuses: `--help` and the README list every one that a command can end with."""

import pkgutil
import signal
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path

import click
import pytest
from click.testing import CliRunner

import chaind
from chaind.cli.main import commands
from chaind.cli.statuses import STATUSES
from chaind.primitives.errors import LocalFault

README = Path(__file__).parents[2] / "README.md"
TOLD = {int(number) for numbers, _ in STATUSES for number in numbers.split(", ")}
OF_CLICK = {0, 1, 2}


def faults(kind: type[LocalFault] = LocalFault) -> Iterator[type[LocalFault]]:
    for leaf in kind.__subclasses__():
        yield leaf
        yield from faults(leaf)


def test_every_status_of_an_error_is_in_the_table_and_no_other() -> None:
    for module in pkgutil.walk_packages(chaind.__path__, "chaind."):
        import_module(module.name)
    ours = {leaf.exit_code for leaf in faults() if leaf.__module__.startswith("chaind.")}
    assert ours | OF_CLICK | {128 + signal.SIGINT} == TOLD


def test_help_and_readme_hold_the_table() -> None:
    told = CliRunner().invoke(commands, ["--help"]).output
    readme = README.read_text()
    for numbers, meaning in STATUSES:
        assert f"  {numbers:<12}{meaning}\n" in told
        assert f"| {numbers} | {meaning} |\n" in readme


@pytest.mark.parametrize(
    ("raised", "status", "said"),
    [(KeyboardInterrupt, 130, "Interrupted."), (EOFError, 1, "Nothing more was typed.")],
)
def test_ctrl_c_is_no_verdict(
    raised: type[BaseException], status: int, said: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Status 1 of `chaind stress` says that somebody was charged twice."""

    @click.command()
    def patient() -> None:
        def typed(_text: str) -> str:
            raise raised

        monkeypatch.setattr("click.termui.visible_prompt_func", typed)
        click.prompt("Word")

    monkeypatch.setitem(commands.commands, "patient", patient)
    result = CliRunner().invoke(commands, ["patient"])
    assert result.exit_code == status
    assert said in result.output


def test_ctrl_c_while_a_command_works_is_no_verdict(monkeypatch: pytest.MonkeyPatch) -> None:
    @click.command()
    def busy() -> None:
        raise KeyboardInterrupt

    monkeypatch.setitem(commands.commands, "busy", busy)
    result = CliRunner().invoke(commands, ["busy"])
    assert result.exit_code == 130
    assert "Traceback" not in result.output
