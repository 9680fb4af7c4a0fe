"""`chaind run` by a clock that is wrong: for tests alone, and not part of the node.

    python skewed_node.py run --home …

The file named by SKEWED_CLOCK holds by how many milliseconds wall time is wrong, as eight bytes of
a signed little-endian number. Each look at the clock reads them, so that it may be set while the
node runs. Monotonic time is never wrong.
"""

import mmap
import os
import struct
from pathlib import Path

from chaind.cli import daemon
from chaind.cli.main import main
from chaind.node.clock import SystemClock
from chaind.node.config import Config

OFFSET = struct.Struct("<q")


class SkewedClock(SystemClock):
    """The machine's clocks, the one on the wall set wrong."""

    def __init__(self, path: Path) -> None:
        with path.open("rb") as file:
            self._offset = mmap.mmap(file.fileno(), OFFSET.size, access=mmap.ACCESS_READ)

    def now_ms(self) -> int:
        """See `Clock`."""
        [offset_ms] = OFFSET.unpack_from(self._offset)
        return super().now_ms() + int(offset_ms)


def set_wrong(path: Path, offset_ms: int) -> None:
    """Make the clock of whoever reads this file wrong by so much, at once."""
    with path.open("r+b" if path.exists() else "wb") as file:
        file.write(OFFSET.pack(offset_ms))


_run = daemon.run


def run_skewed(config: Config) -> int:
    """`daemon.run` by that clock."""
    clock = SkewedClock(Path(os.environ["SKEWED_CLOCK"]))
    return _run(config, daemon.SYSTEM._replace(clock=clock))


if __name__ == "__main__":
    daemon.run = run_skewed
    main()
