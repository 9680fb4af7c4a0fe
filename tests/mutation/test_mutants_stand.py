"""Every listed mistake can be made: its line stands once in its file, and its killers are there.

Whether a killer notices it is asked by `mutate.py`, which takes hours.
"""

from collections import Counter

import pytest
from mutate import ALL, ROOT, Mutant

each_mutant = pytest.mark.parametrize("mutant", ALL, ids=[mutant.name for mutant in ALL])


@each_mutant
def test_its_line_stands_once(mutant: Mutant) -> None:
    assert (ROOT / mutant.file).read_text().count(mutant.old) == 1
    assert mutant.new != mutant.old


@each_mutant
def test_its_killers_are_there(mutant: Mutant) -> None:
    assert mutant.killers
    for killer in mutant.killers:
        path, *parts = killer.split("::")
        assert (ROOT / path).exists(), killer
        assert all(f"def {part}(" in (ROOT / path).read_text() for part in parts), killer


def test_names_tell_them_apart() -> None:
    assert [name for name, times in Counter(one.name for one in ALL).items() if times > 1] == []
