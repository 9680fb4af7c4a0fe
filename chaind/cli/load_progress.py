"""What a person sees while `chaind load` works: a bar for each stage, on standard error.

Law: where nobody looks, nothing is written.
"""

import sys
from contextlib import ExitStack
from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from chaind.cli.load_tally import Tally

BAR_STEPS = 1_000


class Progress:
    """Usable as a context manager, which leaves the terminal clean."""

    def __init__(self) -> None:
        self._wanted = sys.stderr.isatty()
        self._label = ""
        self._bar: Any = None  # click does not name its type
        self._shown = ExitStack()

    def stage(self, label: str, part: float, news: str = "") -> None:
        """How much of a stage is done, from 0.0 to 1.0."""
        if not self._wanted:
            return
        if label != self._label:
            self._shown.close()
            self._label = label
            self._bar = self._shown.enter_context(
                click.progressbar(
                    length=BAR_STEPS,
                    label=label,
                    file=sys.stderr,
                    item_show_func=lambda text: text or "",
                    show_eta=False,
                )
            )
        self._bar.update(int(part * BAR_STEPS) - self._bar.pos, news)

    def sending(self, tally: "Tally", part: float) -> None:
        """The stage that is measured."""
        self.stage("sending", part, f"accepted {tally.accepted:,}  final {tally.final:,}")

    def __enter__(self) -> "Progress":
        return self

    def __exit__(self, *_: object) -> None:
        self._shown.close()
