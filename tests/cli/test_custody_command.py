"""`chaind custody export`: out comes the key that pays, once it is asked for with the password."""

import json
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from chaind.cli import custody_seed
from chaind.cli.chains import development_genesis
from chaind.cli.custody import custody
from chaind.cli.wallet_files import WalletFile
from chaind.node.custody import NameFile, account_key, name_number
from chaind.node.home import Home
from chaind.primitives.genesis import Validator
from chaind.primitives.keys import SecretKey
from chaind.storage.files import OsFiles
from chaind.wallet.derivation import seed_from_mnemonic
from chaind.wallet.secret import Secret
from chaind.wallet.wif import decode_wif, wif_version

PASSWORD = "a password of tests"
VOTER = Validator(public_key=SecretKey(b"\x07" * 32).public.hex(), name="v0")
GENESIS = development_genesis([VOTER], time_ms=1_700_000_000_000)


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Home:
    """A node's home with a seed and one chosen name."""
    monkeypatch.setattr(
        custody_seed, "custody_file", lambda home: WalletFile(home.custody, log2_n=4)
    )
    monkeypatch.setenv(custody_seed.CUSTODY_PASSWORD_VARIABLE, PASSWORD)
    home = Home(tmp_path / "node")
    file = custody_seed.custody_file(home)
    custody_seed.open_or_create(file, GENESIS, Secret(PASSWORD), None)
    NameFile(OsFiles(), home.custody_names).write(["till"])
    return home


def export(home: Home, *arguments: str) -> Result:
    return CliRunner().invoke(custody, ["export", "--home", str(home.path), *arguments])


def test_a_key_and_the_words_belong_together(home: Home) -> None:
    words = export(home, "--words").stdout.strip()
    seed = seed_from_mnemonic(words)
    for account, number in (("till", name_number("till")), ("alice", 1), ("77", 77)):
        answer = json.loads(export(home, account, "--json").stdout)
        assert answer["account"] == account
        key = decode_wif(answer["wif"], wif_version(GENESIS.addresses))
        assert key.reveal() == account_key(seed, number).reveal()


def test_a_file_is_closed_and_never_replaced(home: Home, tmp_path: Path) -> None:
    out = tmp_path / "till.wif"
    answer = export(home, "till", "--out", str(out))
    secret = out.read_text().strip()
    assert answer.exit_code == 0
    assert "can spend" in answer.stderr
    assert secret == export(home, "till").stdout.strip()
    assert secret not in answer.output
    assert out.stat().st_mode & 0o777 == 0o600
    assert export(home, "alice", "--out", str(out)).exit_code != 0
    assert out.read_text().strip() == secret


@pytest.mark.parametrize(
    ("arguments", "password"),
    [
        (("till",), "another"),
        (("nobody",), PASSWORD),
        ((), PASSWORD),
        (("till", "--words"), PASSWORD),
    ],
)
def test_what_is_refused_shows_nothing(
    arguments: tuple[str, ...], password: str, home: Home, monkeypatch: pytest.MonkeyPatch
) -> None:
    words = export(home, "--words").stdout.split()
    monkeypatch.setenv(custody_seed.CUSTODY_PASSWORD_VARIABLE, password)
    answer = export(home, *arguments)
    assert answer.exit_code != 0
    shown = f"{answer.output} {answer.exception!r}"
    assert password not in shown
    assert " ".join(words[:2]) not in shown
