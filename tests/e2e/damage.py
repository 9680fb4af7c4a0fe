"""Ways to damage the files of a node that is stopped, each undone by putting the old bytes back."""

import shutil
from pathlib import Path
from random import Random

WAYS = ("truncate", "flip", "zero", "swap", "delete", "append", "foreign")


def files_of(home: Path) -> list[Path]:
    """Every file that a node owns, its locks and its text log aside."""
    found = [path for path in home.rglob("*") if path.is_file()]
    skipped = {"LOCK", "LOG", "LOG.old", "log"}
    return sorted(
        path
        for path in found
        if path.name not in skipped and not any(".damaged-" in part for part in path.parts)
    )


def family(path: Path) -> str:
    """What kind of file it is, for the table."""
    if path.parent.name == "db":
        return f"db {path.suffix or path.name.partition('-')[0]}"
    return path.name.partition("-0")[0]


class Damage:
    """One fault on one file. `undo` is what a person does who has a copy."""

    def __init__(self, home: Path, others: list[Path], dice: Random) -> None:
        families: dict[str, list[Path]] = {}
        for path in files_of(home):
            families.setdefault(family(path), []).append(path)
        self.family = dice.choice(sorted(families))
        self.path = dice.choice(families[self.family])
        self.before = self.path.read_bytes()
        self.way = dice.choice(WAYS)
        self._relative = self.path.relative_to(home)
        after = self._after(dice, others)
        if after is None:
            self.path.unlink()
        else:
            self.path.write_bytes(after)

    def undo(self) -> None:
        """Put the old bytes back."""
        self.path.parent.mkdir(exist_ok=True)
        self.path.write_bytes(self.before)

    def _after(self, dice: Random, others: list[Path]) -> bytes | None:
        data = bytearray(self.before)
        place, size = dice.randrange(len(data) + 1), dice.randint(1, 4_096)
        match self.way:
            case "truncate":
                return bytes(data[:place])
            case "flip":
                for _ in range(dice.choice((1, 1, 8))):
                    if data:
                        data[dice.randrange(len(data))] ^= 1 << dice.randrange(8)
            case "zero":
                data[place : place + size] = bytes(len(data[place : place + size]))
            case "swap":
                half = len(data) // 2
                size = min(size, half)
                data[:size], data[half : half + size] = data[half : half + size], data[:size]
            case "append":
                data += dice.randbytes(size)
            case "foreign":
                other = dice.choice(others) / self._relative
                data[:] = other.read_bytes() if other.is_file() else b""
            case _:
                return None
        return bytes(data)


class Snapshot:
    """A copy of a whole stopped home, to go back to where one file alone does not help."""

    def __init__(self, home: Path, place: Path) -> None:
        self._home, self._place = home, place
        shutil.rmtree(place, ignore_errors=True)
        shutil.copytree(home, place)

    def restore(self) -> None:
        """The home as it was."""
        log = self._home / "log"
        kept = log.read_bytes()
        shutil.rmtree(self._home)
        shutil.copytree(self._place, self._home)
        log.write_bytes(kept)
