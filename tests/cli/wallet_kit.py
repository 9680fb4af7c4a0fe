"""What the tests of `chaind wallet` share: the command in this process, and secrets to look for."""

import json
import os
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from click.testing import CliRunner, Result
from node_kit import PATIENCE_S, Running

from chaind.cli.main import commands
from chaind.wallet.derivation import derive, seed_from_mnemonic

BOB = "chd1q0as7zflfugh0hhfh4v6ryyy30y76fkgkawaqyu"
PASSWORD = "canary-password-7c1e"
PASSPHRASE = "canary-passphrase-90ab"
WORDS = "legal winner thank year wave sausage worth useful legal winner thank yellow"
SEED = seed_from_mnemonic(WORDS)
FIRST_SECRET = derive(SEED, "m/44'/1'/0'/0/0").reveal()
# Nothing of these may be seen where nobody asked for it; words count from three in a row on.
CANARIES = (
    PASSWORD,
    PASSPHRASE,
    *(" ".join(WORDS.split()[start : start + 3]) for start in range(10)),
    SEED.hex(),
    FIRST_SECRET.hex(),
)


def invoke(*arguments: str, password: str | None = PASSWORD, **env: str) -> Result:
    """`chaind wallet ARGUMENTS`, with the password in the environment."""
    variables: dict[str, str | None] = {"CHAIND_WALLET_PASSWORD": password, **env}
    return CliRunner().invoke(commands, ["wallet", *arguments], prog_name="chaind", env=variables)


def told(*arguments: str, **more: Any) -> Any:
    """The JSON that a command prints, which must succeed."""
    result = invoke(*arguments, "--json", **more)
    assert result.exit_code == 0, result.output
    return json.loads(result.stdout)


@contextmanager
def piped(*lines: str) -> Iterator[str]:
    """A descriptor, as text, from which these lines can be read."""
    reading, writing = os.pipe()
    os.write(writing, "".join(line + "\n" for line in lines).encode())
    os.close(writing)
    try:
        yield str(reading)
    finally:
        os.close(reading)


def gift(node: Running, address: str, amount: str) -> None:
    body = json.dumps({"to": address, "amount": amount}).encode()
    request = urllib.request.Request(
        f"{node.url}/faucet", body, {"Content-Type": "application/json"}
    )
    with urllib.request.urlopen(request, timeout=PATIENCE_S) as answer:
        assert answer.status == 200


def fresh(node: Running, amount: str) -> str:
    """The name of a new account that holds so much."""
    name = f"account-{time.monotonic_ns()}"
    made = told("create", "--wallet", name)
    gift(node, made["address"], amount)
    return name


def balances(node: Running, name: str) -> dict[str, str]:
    found = told("balance", "--wallet", name, "--url", node.url)["balances"]
    return {entry["account"]: entry["balance"] for entry in found}
