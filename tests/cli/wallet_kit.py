"""What the tests of `chaind wallet` share: the command in this process, and secrets to look for."""

import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from click.testing import CliRunner, Result

from chaind.cli.main import commands
from chaind.wallet.derivation import derive, seed_from_mnemonic

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
