"""Every broken rule has a case: each class of `ledger.errors` is raised somewhere in the tables."""

import pickle
import re
from pathlib import Path

import pytest

from chaind.ledger import errors
from chaind.primitives.errors import ChaindError

ELSEWHERE = {"BlockUntimely"}  # needs a clock, so the node raises it

LEAVES = [
    value
    for value in vars(errors).values()
    if isinstance(value, type) and value.__module__ == errors.__name__
]


def test_every_error_of_the_ledger_has_a_case() -> None:
    text = "".join(
        path.read_text()
        for path in sorted(Path(__file__).parent.glob("test_*.py"))
        if path.name != Path(__file__).name
    )
    asserted = re.sub(
        r"^from chaind\.ledger\.errors import \([^)]*\)", "", text, flags=re.MULTILINE
    )
    missing = [leaf.__name__ for leaf in LEAVES if not re.search(rf"\b{leaf.__name__}\b", asserted)]
    assert set(missing) == ELSEWHERE


def test_codes_are_stable_names_and_unique() -> None:
    codes = [leaf.code for leaf in LEAVES]
    assert len(set(codes)) == len(codes)
    assert all(re.fullmatch(r"[a-z]+(-[a-z]+)*", code) for code in codes)


@pytest.mark.parametrize("leaf", LEAVES, ids=lambda leaf: leaf.code)
def test_errors_say_their_values_and_survive_pickling(leaf: type[ChaindError]) -> None:
    names = re.findall(r"{(\w+)}", leaf.text)
    error = leaf(**{name: f"<{name}>" for name in names})
    assert all(f"<{name}>" in str(error) for name in names)
    again = pickle.loads(pickle.dumps(error))
    assert (type(again), again.values, str(again)) == (leaf, error.values, str(error))


@pytest.mark.parametrize("leaf", LEAVES, ids=lambda leaf: leaf.code)
def test_what_a_transaction_can_be_refused_with_is_named(leaf: type[ChaindError]) -> None:
    assert issubclass(leaf, errors.REFUSALS)
