"""Child processes and signals: starting, recognising, awaiting and ending them.

Law: a process is signalled only while it is provably the one that was started. Its id alone does
not prove that, because ids are used again; id, boot and start time together do.
"""

import os
import select
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from types import FrameType
from typing import NamedTuple

# -P: a directory named chaind where this runs must not pass for the package.
CHAIND = (sys.executable, "-P", "-m", "chaind.cli.main")
_POLL_S = 0.02  # the exit of a process that is not our child cannot be awaited portably
_STAT_STATE, _STAT_START = 0, 19  # proc(5) fields 3 and 22, counted after the name
_LOG_TAIL_BYTES = 4_096
_LOG_TAIL_LINES = 12


class ProcessMark(NamedTuple):
    """Names one process for ever. `started` is the boot's id and clock ticks since that boot."""

    pid: int
    started: str

    def alive(self) -> bool:
        """Whether this very process still runs; a zombie does not."""
        return mark(self.pid) == self

    def send(self, signum: signal.Signals) -> None:
        """Signal it, if it still runs."""
        if self.alive():
            os.kill(self.pid, signum)


def mark(pid: int) -> ProcessMark | None:
    """The mark of the process that has this id now; None where none runs."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace")
    except (FileNotFoundError, ProcessLookupError):
        return None
    fields = stat.rpartition(")")[2].split()  # the name before it may hold anything
    if fields[_STAT_STATE] in "ZX":
        return None
    boot = Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()
    return ProcessMark(pid, f"{boot}:{fields[_STAT_START]}")


def spawn_chaind(
    arguments: Sequence[str], log: Path, environ: Mapping[str, str]
) -> subprocess.Popen[bytes]:
    """Start `chaind ARGUMENTS` with its output appended to `log`, out of reach of our terminal.

    A session of its own: Ctrl-C reaches us alone, and we end the children in order.
    """
    with log.open("ab") as output:
        return subprocess.Popen(  # noqa: S603 - our own interpreter and arguments, no shell
            [*CHAIND, *arguments],
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            env=environ,
            start_new_session=True,
        )


def end(marks: Iterable[ProcessMark], grace_s: float) -> list[ProcessMark]:
    """SIGTERM to all, then SIGKILL to those that remain after `grace_s`; returns these."""
    ending = list(marks)
    for process in ending:
        process.send(signal.SIGTERM)
    if wait_until(lambda: not any(process.alive() for process in ending), grace_s):
        return []
    stubborn = [process for process in ending if process.alive()]
    for process in stubborn:
        process.send(signal.SIGKILL)
    wait_until(lambda: not any(process.alive() for process in stubborn), grace_s)
    return stubborn


def wait_until(condition: Callable[[], bool], bound_s: float) -> bool:
    """Whether the condition came true within `bound_s`."""
    deadline = time.monotonic() + bound_s
    while not condition():
        if time.monotonic() >= deadline:
            return False
        time.sleep(_POLL_S)
    return True


def log_tail(log: Path, since: int = 0) -> str:
    """The last lines of a log, of those after the first `since` bytes."""
    with log.open("rb") as file:
        file.seek(max(since, os.fstat(file.fileno()).st_size - _LOG_TAIL_BYTES))
        lines = file.read().decode("utf-8", "replace").splitlines()
    return "\n".join(lines[-_LOG_TAIL_LINES:])


class Signals:
    """While entered, asks to stop set `stopping`, and `wait` returns at any signal or child's end.

    For the main thread, as signal handlers are.
    """

    _STOP = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)

    def __init__(self) -> None:
        self.stopping = False

    def __enter__(self) -> "Signals":
        self._read, self._write = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
        self._old_wakeup = signal.set_wakeup_fd(self._write, warn_on_full_buffer=False)
        self._old = {number: signal.signal(number, self._note) for number in self._STOP}
        # Without a handler of ours an exit would not reach the pipe.
        self._old[signal.SIGCHLD] = signal.signal(signal.SIGCHLD, lambda *_: None)
        return self

    def __exit__(self, *_: object) -> None:
        for number, handler in self._old.items():
            signal.signal(number, handler)
        signal.set_wakeup_fd(self._old_wakeup)
        os.close(self._read)
        os.close(self._write)

    def _note(self, _number: int, _frame: FrameType | None) -> None:
        self.stopping = True

    def wait(self, bound_s: float | None = None) -> None:
        """Return at the next signal, or one that came since the last call, or after `bound_s`."""
        ready, _, _ = select.select([self._read], [], [], bound_s)
        if ready:
            os.read(self._read, 4_096)
