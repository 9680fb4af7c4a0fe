"""A new user's mistakes and a machine that is not as it should be, through the real command: what
happened and what to do is said in two lines, with an exit status of its own, and nothing is begun.

Real nodes are started only as far as they come; each row is one process.
"""

import errno
import json
import os
import shutil
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from click.testing import CliRunner

from chaind.cli.main import commands

CHAIND = [sys.executable, "-m", "chaind.cli.main"]
FREE = ("--api-port", "0", "--p2p-port", "0")
PATIENCE_S = 60.0


class Row(NamedTuple):
    """`prepare` makes the world in the current directory; `says` and `advises` stand in stderr."""

    command: tuple[str, ...]
    status: int
    says: str
    advises: str
    prepare: Callable[[], object] = lambda: None
    environ: dict[str, str] = {}  # noqa: RUF012 — a row is never changed


def _write(name: str, data: bytes) -> Callable[[], object]:
    return lambda: Path(name).write_bytes(data)


def _lose_genesis() -> None:
    Path("one/chain").mkdir()
    Path("one/genesis.json").unlink()


def _leave_development() -> None:
    path = Path("one/genesis.json")
    path.write_text(json.dumps(json.loads(path.read_text()) | {"dev": False}))


CUSTODY = {"CHAIND_CUSTODY_ENABLED": "true", "CHAIND_CUSTODY_MNEMONIC_FILE": "words"}
# These end while a node starts: the home "one" is there, and made before.
STARTS = {
    "no mnemonic file": Row(
        ("run", "--home", "one", *FREE), 78,
        "[custody] mnemonic_file names words, and there is no such file", "Put the file there",
        environ=CUSTODY,
    ),
    "a mnemonic of bytes": Row(
        ("run", "--home", "one", *FREE), 78,
        "words, named by [custody] mnemonic_file, holds no mnemonic: it is not text", "Write the",
        _write("words", b"\xff\xfe"), CUSTODY,
    ),
    "too few words": Row(
        ("run", "--home", "one", *FREE), 78,
        "holds no mnemonic: there are 3, not 12, 15, 18, 21 or 24", "Write the 12",
        _write("words", b"secret secret secret"), CUSTODY,
    ),
    "a mistyped word": Row(
        ("run", "--home", "one", *FREE), 78,
        "holds no mnemonic: the checksum does not match", "Write the 12",
        _write("words", b"test " * 12), CUSTODY,
    ),
    "chaos beside money": Row(
        ("run", "--home", "one", *FREE), 78,
        "[chaos] is enabled, but devnet is no development chain", "CHAIND_CHAOS_ENABLED",
        _leave_development, {"CHAIND_CHAOS_ENABLED": "true"},
    ),
    "no token file": Row(
        ("run", "--home", "one", *FREE), 78,
        "[api] token_file names none, and there is no such file", "Put the file there",
        environ={"CHAIND_API_TOKEN_FILE": "none"},
    ),
    "an API address of another machine": Row(
        ("run", "--home", "one", *FREE), 69,
        "the API cannot listen on 192.0.2.1:0: Cannot assign requested address", "[api] host",
        environ={"CHAIND_API_HOST": "192.0.2.1"},
    ),
    "a P2P address of another machine": Row(
        ("run", "--home", "one", *FREE), 69,
        "cannot accept peers on 192.0.2.1:0: Cannot assign requested address", "[network] host",
        environ={"CHAIND_NETWORK_HOST": "192.0.2.1"},
    ),
    "the API's port in use": Row(
        ("run", "--home", "one", "--api-port", "TAKEN", "--p2p-port", "0"), 69,
        " of 127.0.0.1 are in use; nothing was started", "--api-port",
    ),
    "the peers' port in use": Row(
        ("run", "--home", "one", "--p2p-port", "TAKEN", "--api-port", "0"), 69,
        " of 127.0.0.1 are in use; nothing was started", "--p2p-port",
    ),
    "a damaged genesis": Row(
        ("run", "--home", "one", *FREE), 78,
        "genesis one/genesis.json is refused", "Get the file of the chain",
        _write("one/genesis.json", b"{"),
    ),
}  # fmt: skip
# These end before: the command looks at the machine alone.
LOOKS = {
    "settings that are not text": Row(
        ("run", "--config", "bad.toml"), 78,
        "bad.toml cannot be read: it is not text in UTF-8", "documents every setting",
        _write("bad.toml", b"\xff"),
    ),
    "settings that are not TOML": Row(
        ("run", "--config", "bad.toml"), 78,
        "bad.toml cannot be read: it is not TOML", "documents every setting",
        _write("bad.toml", b"[api"),
    ),
    "a peer's port": Row(
        ("run", "--home", "one", "--peer", "host:70000"), 78, "port 1 to 65535", "Correct",
    ),
    "a home below a file": Row(
        ("init", "--home", "file/home"), 90,
        "cannot make file: File exists", "name another one", _write("file", b""),
    ),
    "a home that is misspelt": Row(
        ("run", "--home", "onw", *FREE), 78, "there is no directory onw", "Correct the name.",
    ),
    "a home among other files": Row(
        ("run", "--home", ".", *FREE), 73,
        ". is not the home of a node and not empty: it holds thesis.tex", "of its own",
        lambda: (shutil.rmtree("one"), Path("thesis.tex").touch()),
    ),
    "a new chain among other files": Row(
        ("init", "--home", "papers"), 73,
        "it holds 0.tex, 1.tex, 2.tex, 2 more", "of its own",
        lambda: (Path("papers").mkdir(), [Path(f"papers/{n}.tex").touch() for n in range(5)]),
    ),
    "a follower among other files": Row(
        ("init", "--home", ".", "--genesis", "mine"), 73,
        "it holds one, thesis.tex", "of its own",
        lambda: (Path("one/genesis.json").rename("mine"), Path("thesis.tex").touch()),
    ),
    "a home that has lost its genesis": Row(
        ("run", "--home", "one", *FREE), 78,
        "one holds the data of a chain, but no genesis.json", "Put genesis.json back",
        _lose_genesis,
    ),
    "a new chain in a home that has lost its genesis": Row(
        ("init", "--home", "one"), 78,
        "one holds the data of a chain, but no genesis.json", "Put genesis.json back",
        _lose_genesis,
    ),
    "one port twice": Row(
        ("run", "--home", "one", "--api-port", "7000", "--p2p-port", "7000"), 78,
        "port 7000 of 127.0.0.1 is given to the API and to peers", "--p2p-port",
    ),
    "an audit of no home": Row(
        ("audit", "--home", "."), 78, ". is not the home of a node", "--home",
    ),
    "a load on no address": Row(
        ("load", "--url", "node"), 2,
        "node is no address of a node: an address has a scheme: write http://node", "",
    ),
    "a load on nobody": Row(
        ("load", "--url", "http://127.0.0.1:TAKEN"), 69, "gives no answer: ", "Is the node running",
    ),
    "a port that is no number": Row(
        ("run", "--api-port", "http"), 2, "'http' is not a valid whole number", "--help",
    ),
}  # fmt: skip


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A home that no node has used yet."""
    home = tmp_path_factory.mktemp("made") / "one"
    result = CliRunner().invoke(commands, ["init", "--home", str(home)])
    assert result.exit_code == 0, result.output
    return home


@pytest.fixture
def taken(tmp_path: Path, made: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """A port that hangs up on whoever calls; the current directory has the home `one`."""
    shutil.copytree(made, tmp_path / "one")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "data"))
    with socket.socket() as blocker:
        blocker.bind(("127.0.0.1", 0))  # without listening: refused, and yet not free
        yield str(blocker.getsockname()[1])


def _judge(row: Row, status: int, stderr: str) -> None:
    assert status == row.status, stderr
    assert "Traceback" not in stderr
    assert f"{row.says}" in stderr
    assert row.advises in stderr.partition(row.says)[2] or row.status == 2
    assert "secret" not in stderr


@pytest.mark.parametrize("name", LOOKS)
def test_what_a_command_finds_before_it_starts(name: str, taken: str) -> None:
    row = LOOKS[name]
    row.prepare()
    before = sorted(Path().rglob("*"))
    words = [word.replace("TAKEN", taken) for word in row.command]
    result = CliRunner(env=row.environ).invoke(
        commands, words, prog_name="chaind", catch_exceptions=False
    )
    _judge(row, result.exit_code, result.stderr)
    assert sorted(Path().rglob("*")) == before, "something was made"


@pytest.mark.parametrize("name", STARTS)
def test_what_a_node_finds_while_it_starts(name: str, taken: str) -> None:
    row = STARTS[name]
    row.prepare()
    words = [word.replace("TAKEN", taken) for word in row.command]
    mine = {key: value for key, value in os.environ.items() if not key.startswith("CHAIND_")}
    done = subprocess.run(
        [*CHAIND, *words], capture_output=True, text=True, env=mine | row.environ,
        timeout=PATIENCE_S, check=False,
    )  # fmt: skip
    _judge(row, done.returncode, done.stderr.rpartition("Error: ")[2])
    if "in use" in row.says:
        assert not Path("one/chain").exists(), "it began to recover first"


@pytest.mark.parametrize("words", ["init --home new", "wallet create --wallet ./new/mine.keystore"])
@pytest.mark.parametrize(("number", "status"), [(errno.ENOSPC, 81), (errno.EIO, 82)])
def test_a_disk_that_fails_a_command_is_not_told_of_a_node(
    words: str, number: int, status: int, taken: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    del taken  # for the directory that it prepares

    def fail(_descriptor: int) -> None:
        raise OSError(number, os.strerror(number))

    monkeypatch.setenv("CHAIND_WALLET_PASSWORD", "correct-horse")
    with monkeypatch.context() as broken:
        broken.setattr(os, "fsync", fail)
        result = CliRunner().invoke(commands, words.split(), prog_name="chaind")
    assert result.exit_code == status
    assert "start the node" not in result.stderr
    assert "starting the node" not in result.stderr
    assert "again" in result.stderr
    again = CliRunner().invoke(commands, words.split(), prog_name="chaind")
    assert again.exit_code == 0, "what the failure left behind is no hindrance"


@pytest.mark.parametrize("words", ["run --home closed/one", "init --home closed/new"])
def test_a_directory_that_is_closed_to_the_user_is_named(
    words: str, taken: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    del taken  # for the directory that it prepares
    stat = os.stat

    def refuse(path: Any, *words: Any, **more: Any) -> os.stat_result:
        if str(path).startswith("closed/"):
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), str(path))
        return stat(path, *words, **more)

    monkeypatch.setattr(os, "stat", refuse)  # root, who may run this, is let in everywhere
    result = CliRunner().invoke(commands, words.split(), prog_name="chaind")
    assert result.exit_code == 86
    assert "not allowed to look at closed/" in result.stderr
    assert "which user this runs as" in result.stderr
