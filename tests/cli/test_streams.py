"""Outputs that are closed, full, or not read by anybody: they cost lines, no node and no status."""

import subprocess
import sys
from pathlib import Path

import pytest
from load_kit import free_port

from chaind.cli.processes import wait_until
from chaind.cli.status import NodeSilent, fetch

CHAIND = [sys.executable, "-P", "-m", "chaind.cli.main"]
PATIENCE_S = 30.0


def start(redirected: str, *words: str) -> subprocess.Popen[bytes]:
    """A command whose streams a shell has redirected; what remains of stderr comes by a pipe."""
    script = f'exec "$@" {redirected}'
    return subprocess.Popen(["bash", "-c", script, "bash", *CHAIND, *words], stderr=subprocess.PIPE)


@pytest.mark.parametrize("redirected", ["", "<&- >&- 2>&-", "2>/dev/full"])
def test_a_node_outlives_whoever_reads_its_log(redirected: str, tmp_path: Path) -> None:
    port = free_port()
    ports = ("--api-port", str(port), "--p2p-port", "0")
    node = start(redirected, "run", "--home", str(tmp_path), *ports)
    assert node.stderr is not None
    if not redirected:
        assert b"NEW development chain" in node.stderr.readline()
    node.stderr.close()  # all that comes now is written to nobody

    def height() -> int:
        assert node.poll() is None, "the node ended"
        try:
            return int(str(fetch(f"http://127.0.0.1:{port}", "/status")["height"]))
        except NodeSilent:
            return -1

    try:
        assert wait_until(lambda: height() >= 1, PATIENCE_S)
    finally:
        node.terminate()
        status = node.wait(PATIENCE_S)
    assert status == 0


@pytest.mark.parametrize("redirected", ["<&- >&- 2>&-", "2>/dev/full", "2>&1 >/dev/full"])
def test_an_exit_status_needs_no_reader(redirected: str, tmp_path: Path) -> None:
    done = start(redirected, "run", "--home", str(tmp_path / "absent"))
    assert done.stderr is not None
    done.stderr.close()
    assert done.wait(PATIENCE_S) == 78


@pytest.mark.parametrize("words", ["version", "--help", "status --help"])
def test_an_output_that_is_full_is_no_defect(words: str) -> None:
    done = start(">/dev/full", *words.split())
    _, said = done.communicate(timeout=PATIENCE_S)
    assert done.returncode == 81
    assert said.startswith(b"Error: no space left to write the output")
    assert b"Traceback" not in said


def test_a_reader_that_goes_away_is_no_defect() -> None:
    """`chaind … | head -0`."""
    process = subprocess.Popen(
        [*CHAIND, "simulate", "--help"], stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )
    assert process.stdout is not None
    process.stdout.close()
    assert process.stderr is not None
    assert process.stderr.read() == b""
    process.stderr.close()
    assert process.wait(PATIENCE_S) == 1
