"""Standard input, output and error: they may be closed, full, or a pipe that nobody reads.

Law: none of that costs data or hides an exit status. A descriptor that is closed is opened on
/dev/null before anything else is, or the first file of a database would become standard error. What
standard error does not take is lost: there is nobody to tell, and no node ends for its log.
"""

import os
import sys
from contextlib import suppress
from io import TextIOWrapper


class Lossy(TextIOWrapper):
    """Text whose lines may be lost."""

    def write(self, text: str) -> int:
        """As of a file."""
        with suppress(OSError):
            super().write(text)
        return len(text)

    def flush(self) -> None:
        """As of a file."""
        with suppress(OSError):
            super().flush()


def prepare() -> None:
    """See the module's law. Python has None for a stream that was closed when it started."""
    for descriptor in range(3):
        try:
            os.fstat(descriptor)
        except OSError:
            opened = os.open(os.devnull, os.O_RDWR)
            assert opened == descriptor, "the lowest free one is taken"
            os.set_inheritable(opened, True)
    if sys.stdout is None:
        sys.stdout = os.fdopen(1, "w", encoding="utf-8", closefd=False)
    errors = Lossy(
        os.fdopen(2, "wb", closefd=False),
        encoding=getattr(sys.stderr, "encoding", "utf-8"),
        errors="backslashreplace",
        line_buffering=True,
    )
    sys.stderr = errors


def drop_unwritten() -> None:
    """Write what standard output still takes, and drop the rest.

    Python would try once more at the very end, complain, and make the exit status 120.
    """
    try:
        sys.stdout.flush()
    except OSError:
        sink = os.open(os.devnull, os.O_WRONLY)
        os.dup2(sink, 1)
        os.close(sink)
