"""Bad settings and bad genesis files, by whatever way they come: one code, and nothing is made."""

import json
import resource
import sys
import types
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import structlog
from click.testing import CliRunner, Result
from hostile_world import make_genesis

from chaind.cli import descriptors
from chaind.cli.main import commands
from chaind.network.messages import Goodbye
from chaind.node.config import ConfigInvalid, LogSection, load
from chaind.node.logs import configure_logs
from chaind.primitives.genesis import Genesis, GenesisInvalid

EX_CONFIG = 78


@pytest.fixture(autouse=True)
def _nothing_is_started(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def run(_config: object) -> int:
        raise AssertionError("a node was started")

    daemon = types.ModuleType("chaind.cli.daemon")
    daemon.run = run  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "chaind.cli.daemon", daemon)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "data"))


def invoke(*arguments: str, **environ: str) -> Result:
    """The command as typed. A defect of the program raises here."""
    return CliRunner(env=environ).invoke(
        commands, list(arguments), prog_name="chaind", catch_exceptions=False
    )


def refused(result: Result, *words: str) -> None:
    """A sentence and the exit code of a configuration error; no traceback, nothing made."""
    assert result.exit_code == EX_CONFIG, result.stderr
    assert result.stderr.startswith("Error: ")
    for word in words:
        assert word in result.stderr
    made = {path.name for path in Path().iterdir()} - {"bad.toml", "bad.json"}
    assert not made


PATHS = {
    "nul": "a\0b",
    "line feed": "a\nb",
    "escape": "a\x1b[2Jb",
    "endless": "a" * 5_000,
    "a long name": "b/" + "a" * 256,
    "a long name in bytes": "ä" * 200,
    "nobody's": "~nobody-has-this-name/x",
}


@pytest.mark.parametrize("key", ["home", "chain", "validator_key"])
@pytest.mark.parametrize("name", PATHS)
def test_paths_that_nothing_can_have(name: str, key: str) -> None:
    path = PATHS[name]
    Path("bad.toml").write_text(f"[node]\n{key} = {json.dumps(path)}\n")
    refused(invoke("run", "--config", "bad.toml"), f"[node] {key}", "a path")
    Path("bad.toml").unlink()
    if "\0" not in path:  # which no environment and no command line can hold
        variable = f"CHAIND_NODE_{key.upper()}"
        refused(invoke("run", **{variable: path}), variable, "a path")
    if key == "home" and "\0" not in path:
        refused(invoke("run", "--home", path), "command line: [node] home")


@pytest.mark.parametrize(
    "text",
    ["٨٠٨٠", "８０８０", "1_0", "+80", " 80", "0x50", "65536", "-1", "1e9", "80.5", "9" * 5_000],
)
def test_a_port_is_a_port_by_whatever_way(text: str) -> None:
    refused(invoke("run", "--home", "h", CHAIND_API_API_PORT=text), "[api] api_port", "65535")
    Path("bad.toml").write_text(f"[api]\napi_port = '{text}'\n")
    refused(invoke("run", "--config", "bad.toml"), "[api] api_port", "65535")


FILES = {
    "deep lists": "x=" + "[" * 50_000,
    "deep tables": "x=" + "{a=" * 50_000,
    "deep names": "[" + ".".join(["a"] * 5_000) + "]\n",
    "half a table": "[api",
    "a key twice": "[api]\nhost='a'\nhost='b'\n",
    "a table twice": "[api]\n[api]\n",
    "a lone surrogate": '[api]\nhost="\\ud800"\n',
    "a nul": "[api]\nhost='a\0'\n",
    "an endless integer": "[api]\napi_port=" + "9" * 10_000,
    "json": '{"api": {"host": "x"}}',
    "a list of sections": "[[api]]\nhost='a'\n",
    "python's own names": "[api]\n__class__='x'\n",
    "a date": "[api]\nhost=1979-05-27T07:32:00Z\n",
    "a nan": "[api]\napi_port=nan\n",
}


@pytest.mark.parametrize("name", FILES)
def test_files_that_are_no_settings(name: str) -> None:
    Path("bad.toml").write_text(FILES[name])
    refused(invoke("run", "--config", "bad.toml"), "bad.toml")
    with pytest.raises(ConfigInvalid):
        load(Path("bad.toml"), {})


Change = Callable[[dict[str, Any]], object]


def _set(*path: Any) -> Change:
    *way, last, value = path

    def change(document: dict[str, Any]) -> None:
        node: Any = document
        for step in way:
            node = node[step]
        node[last] = value

    return change


GENESES: dict[str, Change] = {
    "negative amount": _set("allocations", 0, "amount", "-1"),
    "zero": _set("allocations", 0, "amount", "0"),
    "over-precise": _set("allocations", 0, "amount", "0.000000001"),
    "overflow": _set("allocations", 0, "amount", "92233720369"),
    "overflow of the sum": _set("allocations", 0, "amount", "92233720368"),
    "an exponent": _set("allocations", 0, "amount", "1e3"),
    "a float": _set("allocations", 0, "amount", 1.5),
    "a number": _set("allocations", 0, "amount", 5),
    "an address of another chain": _set(
        "allocations", 0, "address", "bc1qw508d6qejxtdg4y5r3zarvary0c5xw7kv8f3t4"),
    "no address": _set("allocations", 0, "address", ""),
    "an endless address": _set("allocations", 0, "address", "chd1" + "q" * 10_000),
    "an unknown asset": _set("allocations", 0, "asset", "TIN"),
    "an asset twice": lambda d: d["assets"].append(d["assets"][0]),
    "a validator twice": lambda d: d["validators"].append(d["validators"][0]),
    "a key that is no point": _set("validators", 0, "public_key", "02" + "ff" * 32),
    "a weight below one": _set("validators", 0, "weight", 0),
    "a huge weight": _set("validators", 0, "weight", 2**63),
    "no validators": _set("validators", []),
    "a limit of nothing": _set("parameters", "block_bytes_max", 0),
    "a limit beyond a frame": _set("parameters", "block_bytes_max", 1 << 30),
    "a negative fee": _set("parameters", "min_fee_per_byte", -1),
    "an unknown parameter": _set("parameters", "burn_everything", 1),
    "an unknown mode": _set("mode", "poa"),
    "time before time": _set("time_ms", -1),
    "time as text": _set("time_ms", "now"),
    "truth as a number": _set("dev", 1),
    "nothing": lambda d: d.clear(),
}  # fmt: skip


@pytest.mark.parametrize("name", GENESES)
def test_a_bad_genesis_is_refused_by_every_door(name: str) -> None:
    document = json.loads(make_genesis().to_json())
    GENESES[name](document)
    _refused_genesis(json.dumps(document).encode())


@pytest.mark.parametrize(
    "data",
    [b"", b"{", b"[]", b"null", b"\xff\xfe", b"\xef\xbb\xbf{}", b'{"name":' + b"[" * 100_000,
     b'{"unknown":' + b"[" * 100_000, b'{"name":NaN}', bytes(10 << 20)],
    ids=lambda data: repr(data[:12]),
)  # fmt: skip
def test_what_is_no_genesis_is_refused_by_every_door(data: bytes) -> None:
    _refused_genesis(data)


def _refused_genesis(data: bytes) -> None:
    Path("bad.json").write_bytes(data)
    refused(invoke("init", "--home", "h", "--genesis", "bad.json"), "genesis bad.json is refused")
    ports = ("--api-port", "0", "--p2p-port", "0")  # whatever else runs on this machine
    run = invoke("run", "--home", "h", *ports, CHAIND_NODE_CHAIN="bad.json")
    refused(run, "genesis bad.json")
    with pytest.raises(GenesisInvalid):
        Genesis.from_json(data)


def test_what_a_stranger_calls_itself_cannot_write_to_the_terminal(
    capsys: pytest.CaptureFixture[str],
) -> None:
    before = structlog.get_config()
    try:
        configure_logs(LogSection())
        nasty = Goodbye("\x1b[2J\x1b]0;owned\x07\x9b31m").reason  # without a space: shown as it is
        spaced = f"{nasty}\r\n2026 all is well"
        structlog.get_logger("test").info("peer_down", agent=nasty, reason=spaced)
    finally:
        structlog.configure(**before)
    written = capsys.readouterr().err
    assert "\\x1b[2J" in written
    assert written.count("\n") == 1
    assert not any(ord(char) < 32 or 127 <= ord(char) < 160 for char in written.rstrip("\n"))


def test_a_node_may_open_what_its_connections_need(monkeypatch: pytest.MonkeyPatch) -> None:
    """Or strangers that connect would keep it from opening its own files."""
    limits: dict[int, tuple[int, int]] = {}
    monkeypatch.setattr(resource, "setrlimit", limits.__setitem__)
    for before, after in (
        ((1_024, 20_000), descriptors.DESCRIPTORS),
        ((1_024, 2_048), 2_048),
        ((1_024, resource.RLIM_INFINITY), descriptors.DESCRIPTORS),
        ((65_536, 65_536), None),
        ((resource.RLIM_INFINITY, resource.RLIM_INFINITY), None),
    ):
        limits.clear()
        monkeypatch.setattr(resource, "getrlimit", lambda _which, before=before: before)
        left = descriptors.raise_limit()
        assert limits == ({resource.RLIMIT_NOFILE: (after, before[1])} if after else {})
        assert left == (after or before[0])
