"""`chaind mine --benchmark` as typed."""

import json
import os
import re
import socket
from base64 import b64encode
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from chaind.cli.main import commands
from chaind.cli.mine_node import authorisation
from chaind.cli.wallet_secrets import SecretAbsent
from chaind.miner.kernel import host_shape


def mine(*arguments: str) -> Result:
    return CliRunner().invoke(commands, ["mine", *arguments], prog_name="chaind")


def test_the_rate_of_each_process_is_measured() -> None:
    result = mine("--benchmark", "--seconds", "1")
    assert result.exit_code == 0, result.output
    assert re.fullmatch(
        rf"kernel     {host_shape().name}\n"
        r"process 0  [\d.]+ MH/s \([\d.]+ for each second on the processor\)\n"
        r"together   [\d.]+ MH/s\n",
        result.stdout,
    )


def test_for_machines() -> None:
    cores = len(os.sched_getaffinity(0))
    result = mine("--benchmark", "--seconds", "1", "--threads", str(cores), "--affinity", "--json")
    assert result.exit_code == 0, result.output
    told = json.loads(result.stdout)
    assert told["kernel"] == host_shape().name
    assert len(told["processes"]) == cores
    for process in told["processes"]:
        assert process["per_second"] > 0
        assert process["per_cpu_second"] > 0


def test_more_processes_than_cores_cannot_each_have_one() -> None:
    cores = len(os.sched_getaffinity(0))
    result = mine("--benchmark", "--threads", str(cores + 1), "--affinity")
    assert result.exit_code == 2
    assert f"--affinity has {cores} cores for {cores + 1} threads" in result.stderr


def test_a_single_core_is_one_process_on_one_core() -> None:
    result = mine("--benchmark", "--seconds", "1", "--single-core", "--json")
    assert result.exit_code == 0, result.output
    assert len(json.loads(result.stdout)["processes"]) == 1
    result = mine("--benchmark", "--single-core", "--threads", "2")
    assert result.exit_code == 2
    assert "--single-core is for one processor core" in result.stderr


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ((), "Give either --benchmark or --url."),
        (("--benchmark", "--url", "stratum+tcp://h:1"), "Give either --benchmark or --url."),
        (("--url", "stratum+tcp://h:1"), "--url needs --address"),
        (("--benchmark", "--address", "a"), "--benchmark has no use for it"),
        (("--url", "ftp://h:1", "--address", "a"), "has the form stratum+tcp://HOST:PORT"),
        (("--url", "stratum+tcp://h:x", "--address", "a"), "has the form"),
        (("--url", "stratum+tcp://h", "--address", "a"), "has the form"),
        (("--url", "http://u:p@h:1", "--address", "a"), "and no secret in it"),
        (("--url", "http://h:1?a", "--address", "a"), "has the form"),
        (("--url", "http://h:1"), "--url needs --address"),
        (
            ("--url", "stratum+tcp://h:1", "--address", "a", "--user", "u"),
            "go with an http:// URL",
        ),
        (
            ("--url", "http://h:1", "--address", "a", "--user", "u", "--cookie-file", "f"),
            "Give either --user or --cookie-file.",
        ),
        (
            ("--url", "http://h:1", "--address", "a", "--password-fd", "3"),
            "--password-fd goes with --user.",
        ),
        (("--url", "http://h:1", "--address", "a", "--user", "u:p"), "is a name alone"),
        (
            ("--url", "http://h:1", "--address", "a", "--cookie-file", "/no/file"),
            "a node of validators has none",
        ),
        (("--url", "http://h:1", "--address", "a"), "has no use for this one's cookie"),
        (("--url", "https://127.0.0.1.h", "--address", "a"), "has no use for this one's cookie"),
    ],
)
def test_what_goes_with_what(words: tuple[str, ...], said: str) -> None:
    result = mine(*words)
    assert result.exit_code == 2
    assert said in result.stderr


def test_a_pool_that_does_not_answer_is_tried_again() -> None:
    with socket.socket() as taken:  # bound, and nobody listens
        taken.bind(("127.0.0.1", 0))
        url = f"stratum+tcp://127.0.0.1:{taken.getsockname()[1]}"
        result = mine("--url", url, "--address", "a", "--seconds", "1.5", "--json")
    assert result.exit_code == 69
    assert "again in" in result.stderr
    assert "was reached not once, and nothing was mined" in result.stderr
    assert json.loads(result.stdout)["accepted"] == 0


def test_a_cookie_is_read_each_time_a_password_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    cookie = tmp_path / "rpc.cookie"
    cookie.write_text("__cookie__:one\n")
    read = authorisation("http://[::1]:1", None, None, cookie)
    assert read() == "Basic " + b64encode(b"__cookie__:one").decode()
    cookie.write_text("__cookie__:two\n")
    assert read() == "Basic " + b64encode(b"__cookie__:two").decode()
    cookie.unlink()
    assert read() == "", "the node does not run"
    monkeypatch.setenv("CHAIND_MINE_PASSWORD", "é")
    assert (
        authorisation("http://h:1", "rig", None, None)()
        == "Basic " + b64encode("rig:é".encode()).decode()
    )
    monkeypatch.delenv("CHAIND_MINE_PASSWORD")
    with pytest.raises(SecretAbsent, match="CHAIND_MINE_PASSWORD"):
        authorisation("http://h:1", "rig", None, None)
