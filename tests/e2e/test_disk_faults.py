"""Ten disk faults on four real processes under payments; the long run is `disk_faults.py`."""

from pathlib import Path
from random import Random

from disk_faults import Campaign

FAULTS = 10


def test_no_fault_makes_an_answer_wrong_or_loses_a_payment(tmp_path: Path) -> None:
    figures = Campaign(tmp_path, Random(7), verbose=False).run(FAULTS)
    assert figures["wrong_answers"] == 0, figures["wrong"]
    assert figures["lost"] == 0
    assert figures["violations"] == 0
    assert figures["answers_read"]
    assert figures["acknowledged"]
    print(figures)
