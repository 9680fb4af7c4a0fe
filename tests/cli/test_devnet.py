"""`chaind devnet` from the outside: real processes, with stubs for nodes."""

import json
import os
import re
import shlex
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from load_kit import free_base_port

from chaind.cli.banner import examples
from chaind.cli.layout import places
from chaind.cli.processes import ProcessMark, mark
from chaind.cli.supervise import Record, stop_network

STUB = Path(__file__).with_name("stub_chaind.py")
LINES_S_MAX = 30.0


class Devnet:
    """A directory for one devnet, and the command run on it."""

    def __init__(self, home: Path) -> None:
        self.home = home
        self.base_port = free_base_port()

    def command(self, *arguments: str, validators: int = 2) -> list[str]:
        words = [sys.executable, str(STUB), "devnet", "--home", str(self.home), *arguments]
        if "--stop" not in arguments:
            words += ["--base-port", str(self.base_port), "--validators", str(validators)]
        return words

    def run(
        self, *arguments: str, validators: int = 2, **environ: str
    ) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            self.command(*arguments, validators=validators),
            capture_output=True,
            text=True,
            env={**os.environ, **environ},
            timeout=LINES_S_MAX,
            check=False,
        )

    def start(self, *, stderr: bool = False, **environ: str) -> subprocess.Popen[str]:
        """Start in the foreground; returns once the network stands. `stderr`: in stdout, too."""
        process = subprocess.Popen(
            self.command(),
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT if stderr else None,
            text=True,
            env={**os.environ, **environ},
        )
        assert process.stdout is not None
        for line in process.stdout:
            if line.startswith("Ctrl-C ends"):
                return process
        raise AssertionError(f"devnet ended with {process.wait()}")

    def log(self, index: int) -> str:
        return (self.home / f"node{index}" / "log").read_text()

    def nodes(self) -> tuple[ProcessMark, ...]:
        return Record.read(self.home).nodes

    def genesis(self) -> bytes:
        return (self.home / "node0" / "genesis.json").read_bytes()


@pytest.fixture
def devnet(tmp_path: Path) -> Iterator[Devnet]:
    devnet = Devnet(tmp_path / "my net")
    yield devnet
    if Record.path(devnet.home).exists():
        stop_network(devnet.home)
    assert Record.read(devnet.home).alive() == []


def finish(process: subprocess.Popen[str]) -> tuple[int, str]:
    """Exit status and remaining output of a foreground devnet."""
    output, _ = process.communicate(timeout=LINES_S_MAX)
    return process.returncode, output


def await_true(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + LINES_S_MAX
    while not condition():
        assert time.monotonic() < deadline
        os.sched_yield()


def test_detached_network_stands_when_the_command_returns_and_stop_ends_it(devnet: Devnet) -> None:
    done = devnet.run("--detach")
    assert (done.returncode, done.stderr) == (0, "")
    assert [node.alive() for node in devnet.nodes()] == [True, True]
    for index in range(2):
        api, p2p = devnet.base_port + index, devnet.base_port + 1_000 + index
        peer = devnet.base_port + 1_000 + 1 - index
        assert f"node{index} is up: http://127.0.0.1:{api}, final height 1" in done.stdout
        assert f"custody=true ['--home', '{devnet.home}/node{index}'" in devnet.log(index)
        assert f"'--p2p-port', '{p2p}', '--peer', '127.0.0.1:{peer}']" in devnet.log(index)
    assert re.search(r" 1 +alice +chd1\w{39} +7\.5 COIN", done.stdout)
    assert re.search(r"10 +judy ", done.stdout)
    assert "test test test test test test test test test test test junk" in done.stdout
    assert devnet.run("--stop").returncode == 0
    assert Record.read(devnet.home).alive() == []
    assert ["closed" in devnet.log(index) for index in range(2)] == [True, True]
    assert "has ended already" in devnet.run("--stop").stdout


def test_second_devnet_on_the_same_home_is_refused(devnet: Devnet) -> None:
    devnet.run("--detach")
    devnet.base_port = free_base_port()
    for arguments in ((), ("--reset",)):
        second = devnet.run(*arguments)
        assert second.returncode == 80
        assert "already runs" in second.stderr
        assert "--stop" in second.stderr
    assert [node.alive() for node in devnet.nodes()] == [True, True]


def test_restart_resumes_the_chain_and_reset_begins_another(devnet: Devnet) -> None:
    devnet.run("--detach")
    genesis = devnet.genesis()
    devnet.run("--stop")
    resumed = devnet.run("--detach")
    assert "Resuming the chain" in resumed.stdout
    assert devnet.genesis() == genesis
    devnet.run("--stop")
    other = devnet.run("--detach", validators=3)
    assert other.returncode == 73
    assert "2 node(s), not 3" in other.stderr
    assert "--reset" in other.stderr
    assert devnet.run("--detach", "--reset", validators=3).returncode == 0
    assert devnet.genesis() != genesis
    assert len(json.loads(devnet.genesis())["validators"]) == 3


def test_reset_leaves_strangers_files_alone(devnet: Devnet) -> None:
    devnet.home.mkdir()
    (devnet.home / "thesis.tex").write_text("years of work")
    devnet.run("--detach", "--reset")
    assert (devnet.home / "thesis.tex").read_text() == "years of work"


def test_reset_leaves_alone_what_no_devnet_made(devnet: Devnet) -> None:
    letters = devnet.home / "node0" / "letters"
    letters.parent.mkdir(parents=True)
    letters.write_text("kept for years")
    done = devnet.run("--detach", "--reset")
    assert done.returncode == 73
    assert "has node0, and no devnet was started there" in done.stderr
    assert letters.read_text() == "kept for years"


def test_busy_port_is_named_before_anything_is_started(devnet: Devnet) -> None:
    with socket.create_server(("127.0.0.1", devnet.base_port + 1_001)):
        done = devnet.run("--detach")
    assert done.returncode == 69
    assert f"port(s) {devnet.base_port + 1_001} of 127.0.0.1 are in use" in done.stderr
    assert not devnet.home.exists()
    assert devnet.nodes() == ()


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGHUP])
def test_signal_ends_every_node_cleanly(devnet: Devnet, number: signal.Signals) -> None:
    process = devnet.start()
    process.send_signal(number)
    status, output = finish(process)
    assert status == 0
    assert "All nodes started here have ended." in output
    assert ["closed" in devnet.log(index) for index in range(2)] == [True, True]


def test_stop_ends_a_devnet_of_another_shell_through_its_supervisor(devnet: Devnet) -> None:
    process = devnet.start()
    assert devnet.run("--stop").returncode == 0
    status, output = finish(process)
    assert status == 0
    assert "All nodes started here have ended." in output


def test_stop_ends_nodes_whose_supervisor_was_killed(devnet: Devnet) -> None:
    process = devnet.start()
    process.kill()
    finish(process)
    assert [node.alive() for node in devnet.nodes()] == [True, True]
    assert devnet.run("--stop").returncode == 0
    assert ["closed" in devnet.log(index) for index in range(2)] == [True, True]


def test_node_that_cannot_start_is_shown_with_its_last_lines(devnet: Devnet) -> None:
    done = devnet.run("--detach", STUB_NODE1="dies")
    assert done.returncode == 70
    assert "node1 ended (exit status 3)" in done.stderr
    assert "out of luck" in done.stderr
    assert Record.read(devnet.home).alive() == []


def test_network_outlives_its_nodes_until_the_last(devnet: Devnet) -> None:
    process = devnet.start(stderr=True)
    assert process.stdout is not None
    first, second = devnet.nodes()
    os.kill(second.pid, signal.SIGKILL)
    line = process.stdout.readline()
    told, _, command = line.partition(" Start it again: ")
    assert told == "node1 ended (signal SIGKILL); 1 of 2 run."
    words = shlex.split(command)
    assert words[:2] == ["CHAIND_CUSTODY_ENABLED=true", "CHAIND_WEBHOOKS_ALLOW_PRIVATE=true"]
    assert words[3:6] == ["run", "--home", f"{devnet.home}/node1"]
    assert words[-2:] == ["--peer", f"127.0.0.1:{devnet.base_port + 1_000}"]
    assert first.alive()
    refused = devnet.run("--detach")
    assert refused.returncode == 80
    assert f"; node1 is down, and starts with: {command.strip()}" in refused.stderr
    os.kill(first.pid, signal.SIGKILL)
    status, output = finish(process)
    assert status == 70
    assert "node0 ended (signal SIGKILL); 0 of 2 run." in output
    assert "no node runs any more" in output


def test_detached_network_is_completed_and_its_living_nodes_left_alone(devnet: Devnet) -> None:
    devnet.run("--detach", validators=3)
    before = devnet.nodes()
    os.kill(before[1].pid, signal.SIGKILL)
    await_true(lambda: not before[1].alive())
    refused = devnet.run("--detach", validators=2)
    assert refused.returncode == 80
    assert f"--validators 3 --base-port {devnet.base_port} --detach" in refused.stderr
    assert devnet.run("--reset", validators=3).returncode == 80
    done = devnet.run(validators=3)
    assert (done.returncode, done.stderr) == (0, "")
    assert f"A devnet runs in {devnet.home} without node1: starting what is missing." in done.stdout
    assert "node1 is up" in done.stdout
    assert "node0 is up" not in done.stdout
    after = devnet.nodes()
    assert (after[0], after[2]) == (before[0], before[2])
    assert all(node.alive() for node in after)


def test_failed_completion_ends_only_what_it_started(devnet: Devnet) -> None:
    devnet.run("--detach")
    first, second = devnet.nodes()
    os.kill(second.pid, signal.SIGKILL)
    await_true(lambda: not second.alive())
    assert devnet.run("--detach", STUB_NODE1="dies").returncode == 70
    assert first.alive()


def test_lines_of_an_earlier_start_are_not_shown(devnet: Devnet) -> None:
    assert "out of luck" in devnet.run("--detach", STUB_NODE1="dies").stderr
    log = devnet.home / "node1" / "log"
    log.write_text(log.read_text() + "an old complaint\n")
    shown = devnet.run("--detach", STUB_NODE1="dies").stderr
    assert "an old complaint" not in shown
    assert shown.count("out of luck") == 1


@pytest.mark.parametrize(
    ("variable", "value", "sentence"),
    [
        ("CHAIND_API_API_PRT", "1", "there is no setting [api] api_prt"),
        ("CHAIND_NODE_VALIDATOR_KEY", "one.key", "[node] validator_key is set"),
        ("CHAIND_CUSTODY_MNEMONIC_FILE", "words", "[custody] mnemonic_file is set"),
        ("CHAIND_CUSTODY_PASSWORD_FILE", "word", "[custody] password_file is set"),
        ("CHAIND_CUSTODY_PASSWORD_FD", "3", "[custody] password_fd is set"),
    ],
)
def test_wrong_setting_is_told_once_and_nothing_is_made(
    devnet: Devnet, variable: str, value: str, sentence: str
) -> None:
    done = devnet.run("--detach", **{variable: value})
    assert done.returncode == 78
    assert done.stderr.count(sentence) == 1
    assert not devnet.home.exists()


def test_home_of_a_single_node_is_no_directory_for_a_network(devnet: Devnet) -> None:
    devnet.home.mkdir()
    (devnet.home / "node.key").write_text("11" * 32)
    done = devnet.run("--detach")
    assert done.returncode == 73
    assert "is the home of a single node" in done.stderr
    assert [path.name for path in devnet.home.iterdir()] == ["node.key"]


def test_messages_name_absolute_paths_and_the_command_as_it_was_called(devnet: Devnet) -> None:
    away = os.path.relpath(devnet.home)
    done = devnet.run("--detach", "--home", away, DEVNET_COMMAND="scripts/devnet")
    assert f"End it with: scripts/devnet --home '{devnet.home}' --stop" in done.stdout
    devnet.run("--stop")
    idle = devnet.run("--stop", "--home", away)
    assert idle.returncode == 0
    assert idle.stdout == f"The devnet in {devnet.home} has ended already.\n"


def test_stop_where_no_devnet_ever_was_is_an_error(devnet: Devnet) -> None:
    done = devnet.run("--stop")
    assert done.returncode == 78
    assert f"no devnet was ever started in {devnet.home}" in done.stderr
    assert not devnet.home.exists()


def test_node_deaf_to_sigterm_is_killed_and_named(devnet: Devnet) -> None:
    process = devnet.start(STUB_NODE0="deaf")
    deaf = devnet.nodes()[0].pid
    process.send_signal(signal.SIGINT)
    status, output = finish(process)
    assert status == 0
    assert f"Process {deaf} did not end within 1 s: killed." in output
    assert "closed" in devnet.log(1)


def test_network_without_a_final_block_is_given_up_and_ended(devnet: Devnet) -> None:
    done = devnet.run("--detach", STUB_NODE0="slow", STUB_READY_S="1")
    assert done.returncode == 75
    assert re.search("no final block on (node0|node0, node1) within 1 s", done.stderr)
    assert Record.read(devnet.home).alive() == []


def test_interrupt_while_starting_ends_what_was_started(devnet: Devnet) -> None:
    process = subprocess.Popen(
        devnet.command("--detach"), text=True, env={**os.environ, "STUB_NODE0": "slow"}
    )
    await_true(lambda: len(devnet.nodes()) == 2)
    process.send_signal(signal.SIGINT)
    assert finish(process)[0] == 130
    assert Record.read(devnet.home).alive() == []


def test_user_may_switch_custody_off(devnet: Devnet) -> None:
    devnet.run("--detach", CHAIND_CUSTODY_ENABLED="false")
    assert "custody=false" in devnet.log(0)


def test_stop_takes_no_other_task(devnet: Devnet) -> None:
    assert devnet.run("--stop", "--reset").returncode == 2


def test_stop_never_signals_a_stranger_that_got_the_process_id(tmp_path: Path) -> None:
    with subprocess.Popen(["sleep", "60"]) as stranger:
        known = mark(stranger.pid)
        assert known is not None
        reused = known._replace(started=f"{known.started}0")
        record = Record(supervisor=reused, nodes=(reused,))
        record.write(tmp_path)
        stop_network(tmp_path)
        assert known.alive()
        stranger.kill()


def test_ended_child_that_nobody_waited_for_does_not_count_as_alive() -> None:
    with subprocess.Popen(["sleep", "60"]) as child:
        known = mark(child.pid)
        assert known is not None
        assert known.alive()
        child.kill()
        await_true(lambda: not known.alive())


def test_example_lines_are_shell_words_with_json_bodies() -> None:
    lines = [shlex.split(line) for line in examples(places(Path("net"), 4))]
    bodies = [json.loads(words[words.index("-d") + 1]) for words in lines if "-d" in words]
    assert bodies == [
        {"to": "alice", "amount": "100"},
        {"from": "alice", "to": "bob", "amount": "12.5"},
    ]
    assert [words[0] for words in lines] == ["curl"] * 4
    assert lines[1][-1] == "http://127.0.0.1:8080/transfer?wait=final"
    assert lines[2][-1] == "http://127.0.0.1:8083/balance/bob"
