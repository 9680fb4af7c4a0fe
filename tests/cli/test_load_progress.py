"""What a person sees of a load run: each stage on a terminal, nothing elsewhere."""

import io
import sys

import pytest

from chaind.cli.load_progress import Progress
from chaind.cli.load_tally import Tally


class Terminal(io.StringIO):
    """A screen that keeps all that was written to it."""

    def isatty(self) -> bool:
        return True


@pytest.mark.parametrize("screen", [Terminal(), io.StringIO()])
def test_each_stage_is_shown_to_whoever_looks(
    screen: io.StringIO, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "stderr", screen)
    with Progress() as progress:
        progress.stage("funding", 0.0)
        progress.stage("signing", 0.5)
        progress.stage("signing", 1.0)
        progress.sending(Tally(accepted=1_500, final=7), 0.25)
    seen = screen.getvalue()
    if not screen.isatty():
        assert seen == ""
        return
    assert seen.index("funding") < seen.index("signing") < seen.index("sending")
    assert " 50%" in seen
    assert "accepted 1,500  final 7" in seen
    assert seen.endswith("\n")
