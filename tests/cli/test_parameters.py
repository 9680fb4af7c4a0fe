"""Types of the command line: what is no number, and no descriptor, is refused by every option."""

import click
import pytest
from click.testing import CliRunner

from chaind.cli.main import commands
from chaind.cli.parameters import Descriptor, Number


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
