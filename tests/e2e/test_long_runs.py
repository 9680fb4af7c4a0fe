"""Campaigns that are run in parts: the page shows their sum, and every part."""

import json
from pathlib import Path

import disk_faults
import kill_loop
from long_runs import percentile

KILLS = {
    "kills": 10,
    "all_at_once": 1,
    "acknowledged": 1_500,
    "lost": 0,
    "alive_s": [0.5] * 9,
    "serving_s": [0.6] * 9,
    "seconds": 60.0,
}
FAULTS = {
    "faults": 3,
    "outcomes": {"unharmed": 1, "healed": 2, "observed": 0, "refused": 0},
    "blocks_healed": 4,
    "latent_damage_healed": 0,
    "exits": {"81": 1},
    "answers_read": 100,
    "wrong_answers": 0,
    "wrong": [],
    "acknowledged": 50,
    "lost": 0,
    "sole_copy_destroyed": 0,
    "violations": 0,
    "height": 9,
    "by_family": {"votes": {"healed": 2}, "intake": {"unharmed": 1}},
    "seconds": 9.0,
}


def cells(page: Path) -> dict[str, str]:
    """What stands beside each name in the table."""
    rows = [line.split("|") for line in page.read_text().splitlines() if line.startswith("| ")]
    return {row[1].strip(): row[2].strip() for row in rows}


def test_kills_of_several_runs_are_added_up(tmp_path: Path) -> None:
    kill_loop.record(KILLS, seed=1, results=tmp_path)
    slow = KILLS | {"lost": 2, "serving_s": [4.0] * 9}
    kill_loop.record(slow, seed=2, results=tmp_path)
    found = cells(tmp_path / "kills.md")
    assert (found["runs"], found["kills"]) == ("2", "20")
    assert found["acknowledged payments"] == "3,000"
    assert found["of these lost"] == "2"
    assert found["start of the process to serving, p50"] == "4"  # of all values, not of medians
    assert found["start of the process to serving, p99"] == "4"
    text = (tmp_path / "kills.md").read_text()
    assert "seed 1: 10 kills, 0 lost" in text
    assert "seed 2: 10 kills, 2 lost" in text
    runs = json.loads((tmp_path / "kills.json").read_text())["runs"]
    assert [run["seed"] for run in runs] == [1, 2]


def test_faults_of_several_runs_are_added_up(tmp_path: Path) -> None:
    disk_faults.record(FAULTS, seed=1, results=tmp_path)
    other = {"votes": {"healed": 1, "refused": 2}}
    outcomes = {"healed": 1, "refused": 2, "unharmed": 0, "observed": 0}
    disk_faults.record(
        FAULTS | {"by_family": other, "outcomes": outcomes, "wrong_answers": 1},
        seed=2,
        results=tmp_path,
    )
    found = cells(tmp_path / "disk_faults.md")
    assert (found["faults"], found["healed"], found["refused to go on"]) == ("6", "3", "2")
    assert found["wrong answers"] == "1"
    assert found["exit status 81"] == "2"
    assert found["fault on votes"] == "3 healed, 2 refused"
    assert found["fault on intake"] == "1 unharmed"


def test_a_percentile_is_a_value_that_occurred() -> None:
    values = [float(number) for number in range(1, 101)]
    assert percentile(values, 0.5) == 51.0
    assert percentile(values, 0.99) == 100.0
    assert percentile([3.0], 0.99) == 3.0
