"""The commands as typed: help, errors, homes, and what a node is started with."""

import socket
import subprocess
import sys
import types
from pathlib import Path

import click
import pytest
from click.testing import CliRunner, Result

import chaind
from chaind.cli.main import commands
from chaind.node.config import Config
from chaind.node.home import Home
from chaind.primitives.errors import LocalFault
from chaind.primitives.genesis import Genesis

FREE = ("--api-port", "0", "--p2p-port", "0")  # any free one


@pytest.fixture(autouse=True)
def _empty_directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def invoke(*arguments: str) -> Result:
    return CliRunner().invoke(commands, list(arguments), prog_name="chaind")


@pytest.fixture
def started(monkeypatch: pytest.MonkeyPatch) -> list[Config]:
    """The configurations with which nodes were started; they end with status 5."""
    configs: list[Config] = []

    def run(config: Config) -> int:
        configs.append(config)
        return 5

    daemon = types.ModuleType("chaind.cli.daemon")
    daemon.run = run  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "chaind.cli.daemon", daemon)
    return configs


@pytest.mark.parametrize("words", [(), *((name,) for name in commands.commands)])
@pytest.mark.parametrize("option", ["--help", "-h"])
def test_help_everywhere_has_examples_that_name_real_options(
    words: tuple[str, ...], option: str
) -> None:
    result = invoke(*words, option)
    assert result.exit_code == 0
    _, _, examples = result.output.partition("Example")
    shown = [line.split() for line in examples.partition("\n\n")[0].splitlines()[1:]]
    assert shown
    for line in shown:
        name = line[line.index("chaind") + 1]
        known = {text for option in commands.commands[name].params for text in option.opts}
        assert {word for word in line if word.startswith("--")} <= known


def test_help_imports_nothing_heavy() -> None:
    heavy = ["asyncio", "aiohttp", "coincurve", "cryptography", "plyvel", "structlog", "uvloop"]
    script = f"import sys, chaind.cli.main; print([m for m in {heavy} if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, check=True)
    assert done.stdout.decode().strip() == "[]"


def test_version_is_that_of_the_package() -> None:
    assert invoke("--version").output == f"chaind {chaind.__version__}\n"
    assert invoke("version").output.startswith(f"chaind {chaind.__version__}, Python 3.")


def test_fault_of_this_machine_is_one_sentence_its_advice_and_its_exit_code(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    class Flood(LocalFault):
        text = "water stands {depth_cm} cm deep"
        advice = "Find the stopcock."
        exit_code = 99

    @click.command()
    def flooded() -> None:
        raise Flood(depth_cm=12)

    monkeypatch.setitem(commands.commands, "flooded", flooded)
    result = invoke("flooded")
    assert result.exit_code == 99
    assert result.stderr == "Error: water stands 12 cm deep\nFind the stopcock.\n"


def test_defect_of_the_program_keeps_its_traceback(monkeypatch: pytest.MonkeyPatch) -> None:
    @click.command()
    def broken() -> None:
        raise ZeroDivisionError

    monkeypatch.setitem(commands.commands, "broken", broken)
    assert isinstance(invoke("broken").exception, ZeroDivisionError)


def test_init_makes_homes_that_share_a_chain_and_prints_lines_that_start_them() -> None:
    result = invoke("init", "--home", "my net", "--validators", "3")
    homes = [Home(Path("my net", f"node{index}")) for index in range(3)]
    genesis = [home.genesis.read_bytes() for home in homes]
    assert genesis[0] == genesis[1] == genesis[2]
    assert len({home.validator_key.read_text() for home in homes}) == 3
    assert len({home.node_key.read_text() for home in homes}) == 3
    document = Genesis.load(homes[0].genesis)
    assert document.dev
    assert [validator.name for validator in document.validators] == ["node0", "node1", "node2"]
    assert len(document.allocations) == 1 + 10 + 2 * 3  # faucet, names, traders of three assets
    lines = [line for line in result.output.splitlines() if " run --home " in line]
    assert [line.partition(" run ")[2] for line in lines] == [
        f"--home 'my net/node{index}' --api-port {8080 + index} --p2p-port {9080 + index}"
        + "".join(f" --peer 127.0.0.1:{9080 + peer}" for peer in range(3) if peer != index)
        for index in range(3)
    ]


def test_init_of_one_validator_makes_the_directory_itself_a_home() -> None:
    assert invoke("init", "--home", "one").exit_code == 0
    assert Home(Path("one")).initialised


def test_init_with_a_genesis_makes_a_full_node_of_that_chain() -> None:
    invoke("init", "--home", "net", "--validators", "2")
    result = invoke("init", "--home", "observer", "--genesis", "net/node1/genesis.json")
    assert result.exit_code == 0
    observer = Home(Path("observer"))
    assert observer.genesis.read_bytes() == Path("net/node0/genesis.json").read_bytes()
    assert not observer.validator_key.exists()
    assert " run --home observer " in result.output


def test_init_never_touches_a_home_that_holds_a_chain() -> None:
    invoke("init", "--home", "one")
    before = {path: path.read_bytes() for path in Path("one").iterdir()}
    invoke("init", "--home", "other")
    for arguments in ((), ("--genesis", "other/genesis.json")):
        result = invoke("init", "--home", "one", *arguments)
        assert result.exit_code == 73
        assert "one already holds a chain" in result.stderr
    assert {path: path.read_bytes() for path in Path("one").iterdir()} == before


def test_init_refuses_a_file_that_is_no_genesis_and_both_tasks_at_once() -> None:
    Path("bad.json").write_text("{}")
    assert invoke("init", "--home", "x", "--genesis", "bad.json").exit_code == 78
    assert not Path("x").exists()
    assert (
        invoke("init", "--home", "x", "--genesis", "bad.json", "--validators", "2").exit_code == 2
    )


def test_run_begins_a_development_chain_in_an_empty_home(started: list[Config]) -> None:
    Path("dev").mkdir()
    result = invoke("run", "--home", "dev", *FREE[2:], "--api-port", "0")
    assert result.exit_code == 5
    assert "dev held no chain: a NEW development chain begins there" in result.stderr
    assert started[0].api.api_port == 0
    assert started[0].node.home_path() == Path("dev")
    genesis = Path("dev/genesis.json").read_bytes()
    again = invoke("run", "--home", "dev")
    assert (again.exit_code, again.stderr) == (5, "")
    assert Path("dev/genesis.json").read_bytes() == genesis


def test_run_begins_no_chain_in_a_home_that_is_misspelt(started: list[Config]) -> None:
    invoke("init", "--home", "dev")
    result = invoke("run", "--home", "dve", *FREE)
    assert result.exit_code == 78
    assert "there is no directory dve" in result.stderr
    assert "chaind init --home DIR" in result.stderr
    assert not Path("dve").exists()
    assert not started


def test_run_makes_the_users_own_home(
    started: list[Config], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "data"))
    assert invoke("run", *FREE).exit_code == 5
    assert Home(Path("data/chaind")).initialised
    assert started


def test_home_is_made_beside_what_was_brought_for_it_and_beside_nothing_else(
    started: list[Config], monkeypatch: pytest.MonkeyPatch
) -> None:
    home = Path("dev")
    home.mkdir()
    for name in ("node.key", "mounted"):
        (home / name).write_text("11" * 32)
    (home / "node.log").touch()
    (home / "genesis.json.tmp").touch()
    monkeypatch.setenv("CHAIND_NODE_VALIDATOR_KEY", "dev/mounted")
    (home / "thesis.tex").touch()
    refused = invoke("run", "--home", "dev", *FREE)
    assert refused.exit_code == 73
    assert "dev is not the home of a node and not empty: it holds thesis.tex" in refused.stderr
    assert not started
    (home / "thesis.tex").unlink()
    assert invoke("run", "--home", "dev", *FREE).exit_code == 5
    assert Home(home).initialised


def test_run_uses_the_file_here_unless_another_is_named(started: list[Config]) -> None:
    Path("dev").mkdir()
    Path("chaind.toml").write_text("[node]\nhome = 'dev'\nname = 'here'\n")
    Path("other.toml").write_text("[node]\nhome = 'dev'\nname = 'other'\n")
    invoke("run", *FREE)
    invoke("run", "--config", "other.toml", *FREE)
    assert [config.node.name for config in started] == ["here", "other"]


def test_run_takes_every_peer(started: list[Config]) -> None:
    invoke("init", "--home", "one")
    invoke("run", "--home", "one", "--peer", "a:1", "--peer", "b:2", "--p2p-port", "7")
    assert started[0].network.peers == ("a:1", "b:2")
    assert started[0].network.p2p_port == 7


def test_run_with_peers_and_no_chain_is_refused_with_the_way_out(started: list[Config]) -> None:
    result = invoke("run", "--home", "empty", "--peer", "a:1")
    assert result.exit_code == 78
    assert "chaind init --home DIR --genesis FILE" in result.stderr
    assert not started
    assert not Path("empty").exists()


def test_run_joins_the_chain_that_the_configuration_names(
    started: list[Config], monkeypatch: pytest.MonkeyPatch
) -> None:
    invoke("init", "--home", "one")
    invoke("init", "--home", "two")
    monkeypatch.setenv("CHAIND_NODE_CHAIN", "one/genesis.json")
    Path("full").mkdir()
    assert invoke("run", "--home", "full", "--peer", "a:1", *FREE).exit_code == 5
    assert Path("full/genesis.json").read_bytes() == Path("one/genesis.json").read_bytes()
    assert not Path("full/validator.key").exists()
    result = invoke("run", "--home", "two")
    assert result.exit_code == 78
    assert "two follows another chain than that of one/genesis.json" in result.stderr
    assert len(started) == 1


def test_run_begins_its_chain_with_the_validator_key_it_is_given(
    started: list[Config], monkeypatch: pytest.MonkeyPatch
) -> None:
    Path("mounted.key").write_text("11" * 32)
    Path("dev").mkdir()
    monkeypatch.setenv("CHAIND_NODE_VALIDATOR_KEY", "mounted.key")
    result = invoke("run", "--home", "dev", *FREE)
    assert result.exit_code == 5
    assert "one validator, whose key is mounted.key." in result.stderr
    public_key = Genesis.load(Path("dev/genesis.json")).validators[0].public_key
    # The public key of the secret 0x1111…, known from the test vectors of Lightning's BOLT-8.
    assert public_key == "034f355bdcb7cc0af728ef3cceb9615d90684bb5b2ca5f859ab0f0b704075871aa"
    assert not Path("dev/validator.key").exists()
    assert started


@pytest.mark.parametrize("new", [True, False])
def test_run_without_the_validator_key_it_was_told_to_use_is_refused(
    started: list[Config], monkeypatch: pytest.MonkeyPatch, new: bool
) -> None:
    if not new:
        invoke("init", "--home", "dev")
    monkeypatch.setenv("CHAIND_NODE_VALIDATOR_KEY", "absent.key")
    result = invoke("run", "--home", "dev")
    assert result.exit_code == 78
    assert "validator_key names absent.key, and there is no such file" in result.stderr
    assert not started
    assert not Path("absent.key").exists()
    assert Path("dev").exists() is not new


@pytest.mark.parametrize("option", ["--api-port", "--p2p-port"])
def test_run_with_a_busy_port_makes_no_home(started: list[Config], option: str) -> None:
    Path("dev").mkdir()
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        result = invoke(
            "run", "--home", "dev", "--api-port", "0", "--p2p-port", "0", option, str(port)
        )
    assert result.exit_code == 69
    assert f"port(s) {port} of 127.0.0.1 are in use" in result.stderr
    assert option in result.stderr
    assert not list(Path("dev").iterdir())
    assert not started


def test_node_is_called_after_its_home_unless_it_is_named(
    started: list[Config], monkeypatch: pytest.MonkeyPatch
) -> None:
    Path("harbour").mkdir()
    invoke("run", "--home", "harbour", *FREE)
    monkeypatch.setenv("CHAIND_NODE_NAME", "pier")
    invoke("run", "--home", "harbour", *FREE)
    assert [config.node.name for config in started] == ["harbour", "pier"]


def test_directory_of_a_network_is_no_home(started: list[Config]) -> None:
    invoke("init", "--home", "net", "--validators", "2")
    before = sorted(Path("net").rglob("*"))
    for arguments in (
        ("init", "--home", "net"),
        ("init", "--home", "net", "--validators", "3"),
        ("init", "--home", "net", "--genesis", "net/node0/genesis.json"),
        ("run", "--home", "net", *FREE),
    ):
        result = invoke(*arguments)
        assert result.exit_code == 73
        assert "net holds the homes of a network: node0, node1" in result.stderr
    assert sorted(Path("net").rglob("*")) == before
    assert not started


def test_home_of_a_node_is_no_directory_for_a_network() -> None:
    invoke("init", "--home", "one")
    result = invoke("init", "--home", "one", "--validators", "2")
    assert result.exit_code == 73
    assert "one is the home of a single node" in result.stderr


def test_started_node_says_which_role_it_has() -> None:
    invoke("init", "--home", "voter")
    invoke("init", "--home", "reader", "--genesis", "voter/genesis.json")
    for home, role in (("voter", "role=validator"), ("reader", "role='full node'")):
        words = [sys.executable, "-P", "-m", "chaind.cli.main", "run", "--home", home, *FREE]
        with subprocess.Popen(words, stderr=subprocess.PIPE, text=True) as node:
            assert node.stderr is not None
            line = next(line for line in node.stderr if "started" in line)
            node.terminate()
            node.stderr.read()
        assert role in line
        assert ("index=0" in line) is (home == "voter")


def test_run_refuses_a_wrong_setting_and_makes_nothing(started: list[Config]) -> None:
    Path("chaind.toml").write_text("[api]\napi_prt = 1\n")
    result = invoke("run", "--home", "dev")
    assert result.exit_code == 78
    assert "chaind.toml: there is no setting [api] api_prt" in result.stderr
    assert not started
    assert not Path("dev").exists()
