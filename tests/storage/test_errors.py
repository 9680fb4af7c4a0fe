"""Faults of this machine: one exit code each, documented, with advice."""

import pickle
import re

from chaind.primitives.errors import ChaindError, LocalFault
from chaind.storage import errors


def leaves() -> list[type[ChaindError]]:
    found = [kind for kind in vars(errors).values() if isinstance(kind, type)]
    return [kind for kind in found if kind.__module__ == errors.__name__]


def test_exit_codes_are_distinct_and_the_table_lists_them_all() -> None:
    faults = {kind.__name__: kind.exit_code for kind in leaves() if issubclass(kind, LocalFault)}
    assert len(set(faults.values())) == len(faults) == 10
    rows = re.findall(r"^\| (\d+) +\| (\w+) +\|", errors.__doc__ or "", re.MULTILINE)
    assert {name: int(code) for code, name in rows} == faults


def test_every_fault_says_what_to_do_and_survives_a_process_boundary() -> None:
    codes = [kind.code for kind in leaves()]
    assert len(set(codes)) == len(codes)
    for kind in leaves():
        values = dict.fromkeys(re.findall(r"{(\w+)}", kind.text), 7)
        error = pickle.loads(pickle.dumps(kind(**values)))
        assert type(error) is kind
        assert "7" in str(error)
        assert kind.advice or not issubclass(kind, LocalFault)
