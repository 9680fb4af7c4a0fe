"""The simulator's disk, with a list of what was done to it."""

from pathlib import Path

from chaind.simulation.disk import CrashDisk as SimulatedDisk
from chaind.simulation.disk import PowerLoss

__all__ = ["CrashDisk", "PowerLoss"]


class CrashDisk(SimulatedDisk):
    """`journal` holds every change as "operation name", also those that failed."""

    def __init__(self) -> None:
        super().__init__()
        self.journal: list[str] = []
        self.heard = self._note

    def _note(self, operation: str, path: Path) -> None:
        if operation != "read":
            self.journal.append(f"{operation} {path.name}")
