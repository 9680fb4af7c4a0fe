"""`daemon.run`: what a node does about a database that turns out to be damaged."""

import threading

import pytest

from chaind.cli import daemon
from chaind.node.config import Config
from chaind.primitives.errors import LocalFault
from chaind.storage.errors import DiskFull, StoreCorrupt

DAMAGED = StoreCorrupt(path="db", reason="made up")
FULL = DiskFull(path="db", operation="write", reason="made up")


class Runs:
    """Stands for `_run_once`: how long each run lasts, and what ends it."""

    def __init__(self, *runs: tuple[float, LocalFault | None]) -> None:
        self.left = list(runs)
        self.stopped = False  # a signal comes while the run is ending
        self.now_s = 50.0

    def once(
        self, _config: Config, _seams: daemon.Seams, asked: threading.Event, _seed: object
    ) -> LocalFault | None:
        lasted_s, fault = self.left.pop(0)
        if self.stopped:
            asked.set()
        self.now_s += lasted_s
        return fault


def instead(patch: pytest.MonkeyPatch, *runs: tuple[float, LocalFault | None]) -> Runs:
    """These runs in place of real ones."""
    made = Runs(*runs)
    patch.setattr(daemon, "_run_once", made.once)
    patch.setattr(daemon, "configure_logs", lambda _section: None)
    patch.setattr(daemon.gc, "set_threshold", lambda *_: None)
    patch.setattr(daemon.time, "monotonic", lambda: made.now_s)
    return made


@pytest.mark.parametrize(
    ("runs", "status"),
    [
        ([(5.0, None)], 0),
        ([(5.0, FULL)], FULL.exit_code),
        ([(0.5, DAMAGED), (5.0, None)], 0),
        ([(0.5, DAMAGED), (0.5, DAMAGED)], DAMAGED.exit_code),
        ([(0.5, DAMAGED), (5.0, FULL)], FULL.exit_code),
        ([(0.5, DAMAGED), (86_400.0, DAMAGED), (86_400.0, DAMAGED), (5.0, None)], 0),
        ([(86_400.0, DAMAGED), (599.0, DAMAGED)], DAMAGED.exit_code),
    ],
)
def test_a_damaged_database_is_made_again_but_not_twice_in_a_row(
    runs: list[tuple[float, LocalFault | None]], status: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = instead(monkeypatch, *runs)
    assert daemon.run(Config()) == status
    assert made.left == []


def test_who_was_asked_to_stop_does_not_start_again(monkeypatch: pytest.MonkeyPatch) -> None:
    made = instead(monkeypatch, (5.0, DAMAGED), (5.0, None))
    made.stopped = True
    assert daemon.run(Config()) == DAMAGED.exit_code
    assert len(made.left) == 1
