"""Every way to break a promise is counted under its name, and only that one."""

import pytest

from chaind.cli.stress_verdict import (
    KEY_FAULTS,
    SPEND_FAULTS,
    KeyRecord,
    Round,
    Said,
    Verdict,
    judge_keys,
    judge_rounds,
)

PAID = Said(200, b'{"tx_id":"t1"}', "t1")
PAID_AGAIN = Said(200, b'{"tx_id":"t2"}', "t2")
OTHER_WORDS = Said(200, b'{"tx_id": "t1"}', "t1")
REFUSED = Said(422, b"insufficient-funds")
ONCE = [("k", "t1")]
TWICE = [("k", "t1"), ("k", "t2")]


def key_record(*said: Said, silent: int = 0) -> dict[str, KeyRecord]:
    record = KeyRecord(silent=silent)
    record.said.update(said)
    return {"k": record}


def named(verdict: Verdict) -> set[str]:
    return {name for name, count in verdict.faults.items() if count}


@pytest.mark.parametrize(
    ("said", "ledgers", "faults"),
    [
        ([PAID, PAID], [ONCE, ONCE], set()),
        ([PAID], [ONCE, TWICE], {"charged_twice"}),
        ([PAID], [ONCE, [("k", "t2")]], {"charged_twice", "acknowledged_lost"}),
        ([PAID, PAID_AGAIN], [TWICE, TWICE], {"charged_twice", "answers_differ"}),
        ([PAID, OTHER_WORDS], [ONCE, ONCE], {"answers_differ"}),
        ([PAID, REFUSED], [ONCE, ONCE], {"answers_differ"}),
        ([PAID], [ONCE, []], {"acknowledged_lost"}),
        ([PAID], [[], []], {"acknowledged_lost"}),
        ([REFUSED], [[], []], set()),
        ([REFUSED], [[], ONCE], {"refused_but_paid"}),
    ],
)
def test_faults_of_a_key(
    said: list[Said], ledgers: list[list[tuple[str, str]]], faults: set[str]
) -> None:
    verdict = judge_keys(key_record(*said), ledgers)
    assert named(verdict) == faults
    assert set(KEY_FAULTS) < set(verdict.faults), "those that did not happen are shown too"
    assert verdict.summary()["verdict"] == (
        "broken" if faults else "incomplete" if REFUSED in said else "held"
    )


def test_what_is_not_answered_is_open_and_may_be_paid() -> None:
    verdict = judge_keys(key_record(silent=2), [ONCE, ONCE])
    assert (named(verdict), verdict.open) == (set(), 1)
    verdict = judge_keys(key_record(PAID, silent=1), [ONCE, ONCE])
    assert (named(verdict), verdict.open) == (set(), 1)
    assert verdict.counts["requests"] == 2
    assert verdict.counts["unanswered"] == 1
    assert verdict.counts["answers"] == {"200": 1}


def conflict(
    said: dict[str, str] | None = None,
    held: tuple[str, str] = ("ab", "ab"),
    left: tuple[int, int] = (5, 5),
) -> Round:
    """Four spends of 10 units out of 25; by default a and b are final."""
    words = {"a": "final", "b": "final", "c": "transaction-ended", "d": "insufficient-funds"}
    return Round(2, 25, 10, words | (said or {}), [frozenset(each) for each in held], left)


@pytest.mark.parametrize(
    ("conflict", "faults"),
    [
        (conflict(), set()),
        (conflict({"c": "final"}, ("abc", "abc"), (-5, -5)), {"too_many_final", "balance_wrong"}),
        (conflict({"b": "transaction-ended"}, ("a", "a"), (15, 15)), {"too_few_final"}),
        (conflict(held=("ab", "a"), left=(5, 15)), {"acknowledged_lost"}),
        (conflict({"b": "transaction-ended"}), {"rejected_but_final"}),
        (conflict({"b": "insufficient-funds"}), {"rejected_but_final"}),
        (conflict({"b": "open"}), set()),
        (conflict(left=(5, 6)), {"balance_wrong"}),
    ],
)
def test_faults_of_conflicting_spends(conflict: Round, faults: set[str]) -> None:
    verdict = judge_rounds([conflict])
    assert named(verdict) == faults
    assert set(SPEND_FAULTS) < set(verdict.faults)
    assert verdict.open == ("open" in conflict.said.values())


def test_rounds_are_added_up() -> None:
    verdict = judge_rounds([conflict(), conflict(held=("ab", "a"), left=(5, 15))])
    assert verdict.faults["acknowledged_lost"] == 1
    assert verdict.counts["answers"] == {
        "final": 4,
        "transaction-ended": 2,
        "insufficient-funds": 2,
    }
    assert (verdict.counts["affordable"], verdict.counts["final"]) == (4, 4)
