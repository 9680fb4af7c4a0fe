"""A few faults on four real nodes under a bank; the long run is `nemesis.py`."""

from pathlib import Path
from random import Random

import lost_packets
import nemesis
from bank_history import Verdict
from test_long_runs import cells

KINDS = ("cut in halves", "kill one", "set a clock wrong", "stop one", "cut one way")


def test_books_balance_whatever_befalls_the_nodes(tmp_path: Path) -> None:
    figures = nemesis.Campaign(tmp_path, Random(4), cuts_s=(1.0,)).run(len(KINDS), KINDS)
    assert nemesis.faultless(figures), figures["wrong"]
    assert figures["faults"] == len(KINDS)
    assert figures["acknowledged_with_key"]
    assert figures["reads"]
    print(figures)


def test_what_went_wrong_is_on_the_page(tmp_path: Path) -> None:
    figures = {
        "faults": 3,
        "orders": 40,
        "acknowledged": 30,
        "acknowledged_with_key": 20,
        "told_again": 4,
        "reads": 9,
        **Verdict(lost=["one"], sums_off=["one", "two"]).counts(),
        "stalled": 1,
        "serving_s": [0.7],
        "heal_s": {"kill one": [0.5, 6.5], "stop one": [0.25]},
        "seconds": 60.0,
    }
    assert set(nemesis.RULES) == set(Verdict().counts())
    assert not nemesis.faultless(figures)
    for seed in (1, 2):
        nemesis.record(figures, seed=seed, results=tmp_path)
    found = cells(tmp_path / "nemesis.md")
    assert found["faults"] == "6"
    assert found[nemesis.RULES["lost"]] == "2"
    assert found[nemesis.RULES["sums_off"]] == "4"
    assert found["faults in which the rest stood still"] == "2"
    assert found["final everywhere later than that"] == "2"
    assert found["healed to final everywhere, longest"] == "6.5"
    assert found["kill one (4)"] == "p50 6.5, longest 6.5"
    assert "seed 2: 3 faults, 30 payments, 3 wrong" in (tmp_path / "nemesis.md").read_text()


def test_cuts_are_on_the_page_by_their_length(tmp_path: Path) -> None:
    quick = {
        "cuts": 3,
        "payments": 360,
        "lost": 0,
        "healed": [(0.5, 0.25), (7.0, 1.5), (59.0, 5.0)],
        "seconds": 90.0,
    }
    assert lost_packets.faultless(quick)
    slow = quick | {"healed": [(7.0, 5.5)]}
    assert not lost_packets.faultless(slow)
    assert not lost_packets.faultless(quick | {"lost": 1})
    lost_packets.record(quick, seed=1, results=tmp_path)
    lost_packets.record(slow, seed=2, results=tmp_path)
    found = cells(tmp_path / "lost_packets.md")
    assert found["longest after a cut of 0 to 3 s"] == "0.25 of 1"
    assert found["longest after a cut of 6 to 15 s"] == "5.5 of 2"
    assert found["longest after a cut of 15 to 61 s"] == "5.0 of 1"
