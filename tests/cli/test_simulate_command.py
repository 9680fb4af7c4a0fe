"""`chaind simulate` as typed: what it prints, and when it fails."""

import re

import pytest
from click.testing import CliRunner, Result

from chaind.cli.main import commands


def simulate(*arguments: str) -> Result:
    return CliRunner().invoke(commands, ["simulate", *arguments], prog_name="chaind")


def test_a_run_that_falls_short_fails_and_prints_what_replays_it() -> None:
    result = simulate("--seed", "4", "--minutes", "0.02", "--faults", "none")
    assert result.exit_code == 1
    assert "seed 4 FAILED: falls short" in result.output
    assert (
        "replay: chaind simulate --seed 4 --nodes 4 --faults none --minutes 0.02" in result.output
    )
    assert "1 of 1 seeds failed" in result.output


def test_a_run_of_miners_is_replayed_as_one() -> None:
    result = simulate("--mode", "pow", "--seed", "4", "--minutes", "0.02", "--faults", "none")
    assert result.exit_code == 1
    assert "replay: chaind simulate --seed 4 --nodes 4 --mode pow --faults none" in result.output


def test_a_whole_run_passes_and_prints_its_trace_and_totals() -> None:
    result = simulate("--seed", "3", "--faults", "messages")
    assert result.exit_code == 0, result.output
    assert re.search(r"seed 3: trace [0-9a-f]{32}\n", result.output)
    assert re.search(r"[\d,]+ client operations\n", result.output)
    assert re.search(r"\d+ fault: messages late\n", result.output)
    assert result.output.endswith("\nverdict: held\n")


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--faults", "gremlins"], "no faults called 'gremlins'"),
        (["--seed", "1", "--seeds", "0:2"], "Give --seed or --seeds, not both."),
        (["--seeds", "5"], "'5' is no range of seeds"),
        (["--seeds", "5:5"], "'5:5' is no range of seeds"),
        (["--skip", "one"], "'one' is no list of numbers"),
        (["--adversary", "nobody"], "no adversary called nobody"),
        (["--mode", "pow", "--adversary", "twins"], "no adversary called twins"),
        (["--mode", "pow", "--overlay"], "--overlay is for validators"),
    ],
)
def test_what_makes_no_sense_is_refused(arguments: list[str], words: str) -> None:
    result = simulate(*arguments)
    assert result.exit_code != 0
    assert words in result.output
