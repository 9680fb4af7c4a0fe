"""`chaind exchange replay`: small LOBSTER files, honest, wrong and broken."""

import json
from pathlib import Path

import pytest
from click.testing import CliRunner, Result
from hypothesis import given, settings
from hypothesis import strategies as st

from chaind.cli.main import commands
from chaind.market.lobster import SHOWN_MAX, MessageMalformed, Replay

# Two asks at one price and one above; the first is reduced, the rest trade in their order.
HONEST = """\
34200.004241176,1,16113575,18,5853300,1
34200.004260640,1,16113584,18,5853400,-1
34200.004447484,1,16113594,18,5853400,-1
34200.025551909,1,16120456,18,5859100,-1
34200.025579546,2,16113584,8,5853400,-1
34200.025613151,4,16113584,10,5853400,-1
34200.025613151,4,16113594,18,5853400,-1
34200.030000000,4,16120456,5,5859100,-1
34200.040000000,3,16120456,13,5859100,-1
34200.050000000,4,16113575,18,5853300,1
34200.060000000,4,999,7,5853300,1
34200.070000000,3,998,7,5853300,1
34200.080000000,5,0,100,5853350,1
34200.090000000,6,-1,100,5853350,-1
34200.100000000,7,0,0,-1,-1
"""


def replay(directory: Path, text: str, *options: str) -> Result:
    file = directory / "messages.csv"
    file.write_text(text)
    words = ["exchange", "replay", str(file), *options]
    return CliRunner().invoke(commands, words, prog_name="chaind")


def test_every_execution_agrees(tmp_path: Path) -> None:
    result = replay(tmp_path, HONEST)
    assert result.exit_code == 0, result.output
    shown = dict(line.split("  ", 1) for line in result.output.splitlines())
    found = {name.strip(): value.strip() for name, value in shown.items()}
    assert found["messages"].startswith("15 in ")
    del found["messages"]
    assert found == {
        "orders": "4, 0 open at the end",
        "executions": "4",
        "agreed": "4 (100.00%)",
        "disagreed": "0",
        "of earlier orders": "2, left out",
        "hidden or crosses": "2, left out",
        "halts": "1",
    }


def test_json_has_the_same_figures(tmp_path: Path) -> None:
    result = replay(tmp_path, HONEST, "--json")
    assert result.exit_code == 0
    assert json.loads(result.output) == {
        "messages": 15,
        "orders": 4,
        "executions": 4,
        "agreed": 4,
        "disagreed": 0,
        "unknown": 2,
        "hidden": 2,
        "halts": 1,
        "resting": 0,
        "disagreements": [],
    }


ASKS = "1,1,11,10,500,-1\n2,1,12,10,500,-1\n3,1,13,10,510,-1\n"


@pytest.mark.parametrize(
    ("more", "line", "reason", "resting"),
    [
        ("4,4,12,10,500,-1\n", 4, "order 11 came before order 12", 2),
        ("4,4,13,10,510,-1\n", 4, "order 11 at 500 has the better price", 2),
        ("4,4,11,11,500,-1\n", 4, "order 12 came before order 11", 2),
        ("4,3,12,10,500,-1\n5,4,11,11,500,-1\n", 5, "order 11 has 10 open at 500", 1),
        ("4,4,11,10,499,-1\n", 4, "order 11 has 0 open at 499", 2),
        ("4,1,14,10,500,1\n", 4, "an order at 500 rests, 500 stands against it", 3),
    ],
)
def test_what_price_time_priority_does_not_explain(
    tmp_path: Path, more: str, line: int, reason: str, resting: int
) -> None:
    result = replay(tmp_path, ASKS + more, "--json")
    assert result.exit_code == 1
    found = json.loads(result.output)
    assert found["disagreements"] == [{"line": line, "reason": reason}]
    assert (found["disagreed"], found["agreed"]) == (1, 0)
    assert found["resting"] == resting


def test_after_a_disagreement_the_file_is_followed(tmp_path: Path) -> None:
    result = replay(tmp_path, ASKS + "4,4,12,10,500,-1\n5,4,11,4,500,-1\n6,4,11,6,500,-1\n")
    assert result.exit_code == 1
    assert "agreed             2 (66.67%)" in result.output
    assert "line 4: order 11 came before order 12" in result.output


def test_only_the_first_disagreements_are_described(tmp_path: Path) -> None:
    wrong = "".join(f"4,4,12,{1},500,-1\n" for _ in range(SHOWN_MAX + 5))
    result = replay(tmp_path, "1,1,11,10,500,-1\n2,1,12,1000,500,-1\n" + wrong)
    assert result.output.count("came before") == SHOWN_MAX
    assert result.output.endswith("and 5 more\n")


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        ("", "1 fields, not 6"),
        ("4,1,14,10,520", "5 fields, not 6"),
        ("4,1,14,10,520,-1,x", "7 fields, not 6"),
        ("noon,1,14,10,520,-1", "time 'noon' is no number of seconds"),
        ("4,one,14,10,520,-1", "type 'one' is no whole number"),
        ("4,1,14,1e3,520,-1", "size '1e3' is no whole number"),
        ("4,8,14,10,520,-1", "type 8 is none of 1 to 7"),
        ("4,1,14,10,520,0", "direction 0 is neither 1 nor -1"),
        ("4,1,0,10,520,-1", "order id 0 is not positive"),
        ("4,1,14,0,520,-1", "size 0 is not within 1 and 268435456"),
        ("4,1,14,10,-520,-1", "price -520 is not within 1 and 17179869184"),
        ("2.5,1,14,10,520,-1", "its time is before the last one's"),
        ("4,1,13,10,520,-1", "order 13 is open already"),
        ("4,4,13,10,510,1", "order 13 is of the other direction"),
        ("4,1,14,10,52\u0660,-1", "price '52��' is no whole number"),
    ],
)
def test_a_broken_line_is_named(tmp_path: Path, line: str, reason: str) -> None:
    result = replay(tmp_path, f"{ASKS}{line}\n5,3,13,10,510,-1\n")
    assert result.exit_code == 65
    assert f"messages.csv is no LOBSTER message file: line 4 is no message: {reason}\n" in (
        result.output
    )
    assert "time,type,order id,size,price,direction" in result.output


numbers = st.integers(-2, 2**35).map(str)
fields = st.one_of(numbers, st.sampled_from(["1", "4", "11", "500", "-1"]), st.text(max_size=5))


@settings(max_examples=300)
@given(st.lists(st.lists(fields, min_size=5, max_size=7).map(",".join), max_size=6))
def test_any_text_is_taken_or_named(lines: list[str]) -> None:
    run, blamed = Replay(), None
    for number, line in enumerate(ASKS.splitlines() + lines, 1):
        try:
            run.take(number, line)
        except MessageMalformed as malformed:
            blamed = malformed.values["line"]
            break
    assert blamed == (number if blamed else None)
    assert blamed or run.report().messages == 3 + len(lines)


def test_extremes_of_size_and_price(tmp_path: Path) -> None:
    """Stub quotes stand far from every trade."""
    text = "1,1,1,9,300000,1\n2,1,2,268435456,17179869183,-1\n3,1,3,9,1,1\n4,4,2,9,17179869183,-1\n"
    assert replay(tmp_path, text).exit_code == 0


def test_there_is_no_such_file(tmp_path: Path) -> None:
    words = ["exchange", "replay", str(tmp_path / "none.csv")]
    result = CliRunner().invoke(commands, words, prog_name="chaind")
    assert result.exit_code == 2
    assert "does not exist" in result.output


def test_an_empty_file_shows_nothing(tmp_path: Path) -> None:
    result = replay(tmp_path, "")
    assert result.exit_code == 65
    assert "messages.csv is no LOBSTER message file: it is empty" in result.output
