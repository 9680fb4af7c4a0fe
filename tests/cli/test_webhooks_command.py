"""`chaind webhooks` against a node process: subscribe, receive, look, send again, end."""

import json
import os
import subprocess
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest
from click.testing import CliRunner, Result
from load_kit import free_port
from node_kit import PATIENCE_S, Running, running_node

from chaind.cli.layout import shell_line
from chaind.cli.main import commands
from chaind.cli.processes import wait_until

SECRET = "canary-webhook-secret-77"


class Subscribed(Running):
    """A node process, and `chaind webhooks` about it."""

    def invoke(self, *arguments: str, secret: str | None = SECRET) -> Result:
        """`chaind webhooks ARGUMENTS` about this node."""
        words = ["webhooks", *arguments, "--url", self.url, "--home", str(self.home)]
        variables = {"CHAIND_WEBHOOK_SECRET": secret}
        return CliRunner().invoke(commands, words, prog_name="chaind", env=variables)

    def told(self, *arguments: str) -> str:
        """What a command prints, which must succeed."""
        result = self.invoke(*arguments)
        assert result.exit_code == 0, result.output
        return result.stdout


@pytest.fixture(scope="module")
def node(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Subscribed]:
    variables = {
        "CHAIND_CUSTODY_ENABLED": "true",
        "CHAIND_LOG_LEVEL": "debug",
        "CHAIND_WEBHOOKS_ALLOW_PRIVATE": "true",
        "CHAIND_WEBHOOK_SECRET": SECRET,  # of no concern to a node, and none of its settings
    }
    with running_node(tmp_path_factory.mktemp("node"), **variables) as node:
        yield Subscribed(*node)


def pay(url: str) -> str:
    request = urllib.request.Request(
        url + "/transfer?wait=final",
        json.dumps({"from": "alice", "to": "bob", "amount": "2.5"}).encode(),
        {"Content-Type": "application/json"},
    )
    with urllib.request.urlopen(request, timeout=PATIENCE_S) as answer:
        return str(json.load(answer)["tx_id"])


def test_from_the_subscription_to_its_end(node: Subscribed) -> None:
    port = free_port()
    target = f"http://127.0.0.1:{port}/"
    added = json.loads(node.told("add", target, "--account", "bob", "--event", "payment", "--json"))
    own = added["id"]
    command = shell_line(["webhooks", "listen", "--port", str(port), "--count", "2"])
    environ = {**os.environ, "CHAIND_WEBHOOK_SECRET": SECRET}
    receiver = subprocess.Popen(
        ["sh", "-c", f"exec {command}"], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        env=environ,
    )  # fmt: skip
    assert receiver.stderr is not None
    assert receiver.stderr.readline() == f"Listening on {target}\n"
    for _ in range(2):
        pay(node.url)
    output, errors = receiver.communicate(timeout=PATIENCE_S)
    assert (receiver.returncode, errors) == (0, "")
    lines = [line.split() for line in output.splitlines()]
    assert [line[1::2] for line in lines] == [["payment", "2.5"]] * 2
    pay(node.url)

    def failing() -> bool:
        [listed] = json.loads(node.told("list", "--json"))["webhooks"]
        return bool(listed["failures"])

    assert wait_until(failing, PATIENCE_S)
    header, line = node.told("list").splitlines()
    assert header.split()[:3] == ["id", "url", "cursor"]
    assert line.split()[:2] == [own, target]
    assert line.endswith("no connection")
    assert json.loads(node.told("show", own))["delivered"] == 2
    assert f"{own} tries at once; 0 dead" in node.told("retry", own)
    assert f"{own} is removed" in node.told("remove", own)
    assert len(node.told("list").splitlines()) == 1
    refused = node.invoke("show", own)
    assert refused.exit_code == 1
    assert f"has no webhook {own}" in refused.stderr
    assert "ask another node" not in refused.stderr, "the node's own advice is enough"
    assert SECRET not in node.log.read_text()


def test_a_delivery_with_another_secret_is_not_believed(node: Subscribed) -> None:
    port = free_port()
    added = json.loads(node.told("add", f"http://127.0.0.1:{port}/", "--json"))
    command = shell_line(["webhooks", "listen", "--port", str(port)])
    environ = {**os.environ, "CHAIND_WEBHOOK_SECRET": SECRET + "x"}
    receiver = subprocess.Popen(
        ["sh", "-c", f"exec {command}"], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        env=environ,
    )  # fmt: skip
    assert receiver.stderr is not None
    receiver.stderr.readline()
    pay(node.url)
    assert "Refused a delivery: the delivery's signature" in receiver.stderr.readline()

    def told() -> bool:  # before the receiver ends: it says this line, then answers
        return bool(json.loads(node.told("show", added["id"]))["last_error"] == "status 403")

    assert wait_until(told, PATIENCE_S)
    receiver.terminate()
    output, _ = receiver.communicate(timeout=PATIENCE_S)
    assert (receiver.returncode, output) == (0, "")
    node.told("remove", added["id"])


def test_what_is_refused(node: Subscribed, tmp_path: Path) -> None:
    short = node.invoke("add", "http://127.0.0.1:1/", secret="short")
    assert short.exit_code == 1
    assert "$.secret" in short.stderr
    nobody = node.invoke("add", "http://127.0.0.1:1/", secret=None)
    assert nobody.exit_code == 77
    assert "CHAIND_WEBHOOK_SECRET" in nobody.stderr
    words = ["webhooks", "list", "--home", str(tmp_path)]
    absent = CliRunner().invoke(commands, words, prog_name="chaind")
    assert (absent.exit_code, str(tmp_path / "api.token") in absent.stderr) == (77, True)
    taken = ["webhooks", "listen", "--port", node.url.rpartition(":")[2]]
    busy = CliRunner().invoke(
        commands, taken, prog_name="chaind", env={"CHAIND_WEBHOOK_SECRET": SECRET}
    )
    assert busy.exit_code == 69
    assert "cannot listen on" in busy.stderr


def test_a_receiver_with_a_secret_that_no_node_takes_waits_for_nothing() -> None:
    short = {"CHAIND_WEBHOOK_SECRET": "short"}
    result = CliRunner().invoke(commands, ["webhooks", "listen"], env=short, prog_name="chaind")
    assert result.exit_code == 2
    assert "The secret has fewer than 16 characters" in result.stderr
