"""A real node dies between the payment and its answer; the key finds the payment again."""

import re
from pathlib import Path
from random import Random

import chaos_loop

ROUNDS = 2


def test_the_answer_is_recovered_and_nothing_is_paid_twice(tmp_path: Path) -> None:
    figures = chaos_loop.campaign(tmp_path, ROUNDS, 1, Random(1))
    assert (figures["rounds"], figures["recovered"]) == (ROUNDS, ROUNDS)
    assert chaos_loop.faultless(figures), figures


def test_what_went_wrong_is_on_the_page(tmp_path: Path) -> None:
    figures = {
        "rounds": 9,
        "nodes": 1,
        "recovered": 8,
        "not_recovered": 1,
        "paid_twice": 3,
        "lost": 2,
        "ready_s": [0.5] * 9,
        "seconds": 9.0,
    }
    assert not chaos_loop.faultless(figures)
    chaos_loop.record(figures, seed=4, results=tmp_path)
    page = (tmp_path / "chaos.md").read_text()
    for name, count in (("answers not recovered", 1), ("paid twice", 3), ("lost", 2)):
        assert re.search(rf"\| {name} +\| +{count} ", page), page
    assert "seed 4: 9 deaths of 1 node(s)" in page
