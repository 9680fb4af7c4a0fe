"""Campaigns that are run in parts: the page shows their sum, and every part."""

import json
from pathlib import Path

import disk_faults
import kill_loop
import stress_runs
from long_runs import percentile

from chaind.cli.stress_verdict import KEY_FAULTS, SPEND_FAULTS

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


KEYS = {
    "keys": 20,
    "requests": 160,
    "unanswered": 0,
    "paid_once": 20,
    "kills": 2,
    "faults": dict.fromkeys(KEY_FAULTS, 0),
    "open": 0,
    "verdict": "held",
    "options": ["--keys", "20", "--spread"],
    "nodes": 4,
    "seconds": 9.0,
}
ROUNDS = {
    "rounds": 2,
    "spends": 32,
    "affordable": 16,
    "final": 17,
    "faults": dict.fromkeys(SPEND_FAULTS, 0) | {"too_many_final": 1},
    "open": 3,
    "verdict": "broken",
    "options": ["--conflicts", "2"],
    "nodes": 4,
    "seconds": 9.0,
}


def test_stress_of_keys_and_of_spends_stand_on_one_page(tmp_path: Path) -> None:
    for seed, run in enumerate((KEYS, ROUNDS, KEYS | {"kills": 5}), start=1):
        stress_runs.record(run, seed=seed, results=tmp_path)
    found = cells(tmp_path / "stress.md")
    assert (found["keys"], found["keys that paid once on every node"]) == ("40", "40")
    assert found["kills of a node meanwhile"] == "7"
    assert (found["of these affordable"], found["of these final"]) == ("16", "17")
    assert found["keys charged twice"] == "0"
    assert found["rounds with more spends than the balance affords"] == "1"
    assert found["payments refused, or not answered to all"] == "3"
    text = (tmp_path / "stress.md").read_text()
    assert "20 keys, 160 requests, 5 kills, each duplicate at another node, 4 nodes, held" in text
    assert "seed 2: 2 rounds of spends, 4 nodes, broken" in text


def test_a_percentile_is_a_value_that_occurred() -> None:
    values = [float(number) for number in range(1, 101)]
    assert percentile(values, 0.5) == 51.0
    assert percentile(values, 0.99) == 100.0
    assert percentile([3.0], 0.99) == 3.0
