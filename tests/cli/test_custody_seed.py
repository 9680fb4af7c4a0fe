"""The seed of the named accounts: sealed in the home, opened by its password, shown by nothing."""

import logging
import os
from pathlib import Path

import msgspec
import pytest

from chaind.cli import custody_seed as custody
from chaind.cli import supervise
from chaind.cli.chains import development_genesis
from chaind.cli.daemon import check_custody
from chaind.cli.layout import places
from chaind.cli.wallet_files import WalletFile
from chaind.node.config import ApiSection, Config, CustodySection, SettingFileAbsent, load
from chaind.node.custody import Accounts
from chaind.node.home import Home
from chaind.primitives.errors import ChaindError
from chaind.primitives.genesis import Genesis, Validator
from chaind.primitives.keys import SecretKey
from chaind.wallet.derivation import DEVELOPMENT_MNEMONIC, seed_from_mnemonic
from chaind.wallet.keystore import KeystoreDamaged, KeystoreUnknown, PasswordWrong
from chaind.wallet.secret import Secret

VOTER = Validator(public_key=SecretKey(b"\x07" * 32).public.hex(), name="v0")
DEVELOPMENT = development_genesis([VOTER], time_ms=1_700_000_000_000)
REAL = msgspec.structs.replace(DEVELOPMENT, dev=False)
PASSWORD = "canary-of-the-password"
ON = CustodySection(enabled=True)


@pytest.fixture(autouse=True)
def cheap(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(custody, "custody_file", lambda home: WalletFile(home.custody, log2_n=4))
    monkeypatch.delenv(custody.CUSTODY_PASSWORD_VARIABLE, raising=False)


def seed(home: Path, genesis: Genesis = REAL, section: CustodySection = ON) -> bytes | None:
    return custody.custody_seed(Config(custody=section), genesis, Home(home))


def test_each_home_gets_a_seed_of_its_own_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(custody.CUSTODY_PASSWORD_VARIABLE, PASSWORD)
    first = seed(tmp_path / "one")
    assert first is not None
    assert seed(tmp_path / "one") == first != seed(tmp_path / "two")
    file = tmp_path / "one" / "custody.keystore"
    assert file.stat().st_mode & 0o777 == 0o600
    assert first not in file.read_bytes()
    monkeypatch.setenv(custody.CUSTODY_PASSWORD_VARIABLE, "another")
    with pytest.raises(PasswordWrong):
        seed(tmp_path / "one")
    monkeypatch.delenv(custody.CUSTODY_PASSWORD_VARIABLE)
    for genesis in (REAL, DEVELOPMENT):  # never another seed in its place
        with pytest.raises(custody.CustodyLocked):
            seed(tmp_path / "one", genesis)


def test_where_the_password_comes_from(tmp_path: Path) -> None:
    file = tmp_path / "password"
    file.write_text(f"{PASSWORD}\nmore")
    by_file = CustodySection(enabled=True, password_file=str(file))
    file.chmod(0o640)
    with pytest.raises(custody.PasswordFileInvalid, match="others may"):
        seed(tmp_path, section=by_file)
    file.chmod(0o600)
    kept = seed(tmp_path, section=by_file)
    reading, writing = os.pipe()
    os.write(writing, f"{PASSWORD}\n".encode())
    os.close(writing)
    assert seed(tmp_path, section=CustodySection(enabled=True, password_fd=reading)) == kept
    with pytest.raises(custody.CustodyLocked):  # nothing is left to read
        seed(tmp_path, section=CustodySection(enabled=True, password_fd=reading))
    os.close(reading)
    file.write_text("\n")
    with pytest.raises(custody.PasswordFileInvalid, match="empty"):
        seed(tmp_path, section=by_file)
    file.unlink()
    with pytest.raises(SettingFileAbsent):
        seed(tmp_path, section=by_file)


def test_without_a_password_only_development_chains_have_keys(tmp_path: Path) -> None:
    assert seed(tmp_path, section=CustodySection()) is None
    assert seed(tmp_path, DEVELOPMENT) == seed_from_mnemonic(DEVELOPMENT_MNEMONIC)
    with pytest.raises(custody.NoMnemonic):
        seed(tmp_path)
    assert not Home(tmp_path).custody.exists()


def test_any_flipped_byte_is_refused(tmp_path: Path) -> None:
    file = custody.custody_file(Home(tmp_path))
    password = Secret(PASSWORD)
    custody.open_or_create(file, REAL, password, None)
    whole = file.path.read_bytes()
    for place in range(len(whole)):
        changed = bytearray(whole)
        changed[place] ^= 1 << place % 8
        file.path.write_bytes(changed)
        with pytest.raises((KeystoreDamaged, KeystoreUnknown)):
            custody.open_or_create(file, REAL, password, None)


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.0.2.7", "node.example"])
def test_custody_is_not_exposed(host: str) -> None:
    exposed = ApiSection(host=host)
    with pytest.raises(custody.CustodyExposed, match="token_file"):
        check_custody(Config(custody=ON, api=exposed))
    check_custody(Config(api=exposed))
    check_custody(Config(custody=ON))
    check_custody(Config(custody=ON, api=ApiSection(host=host, token_file="token")))


def test_the_password_is_no_setting_and_no_error_shows_it() -> None:
    assert load(None, {custody.CUSTODY_PASSWORD_VARIABLE: PASSWORD}) == Config()
    with pytest.raises(ChaindError) as caught:
        load(None, {custody.CUSTODY_PASSWORD_VARIABLE: PASSWORD, "CHAIND_CUSTODY_PASWORD": "x"})
    assert PASSWORD not in str(caught.value)


def test_secrets_stay_out_of_logs_and_reprs(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    file = custody.custody_file(Home(tmp_path))
    contents = custody.open_or_create(file, REAL, Secret(PASSWORD), None)
    accounts = Accounts(contents.sealed.seed)
    row, _ = accounts.create("till")
    key = accounts.key(row.number).reveal()
    with pytest.raises(PasswordWrong) as caught:
        custody.open_or_create(file, REAL, Secret("wrong"), None)
    shown = f"{contents!r} {row!r} {accounts!r} {accounts.key(row.number)!r} {caught.value}"
    shown += caplog.text + file.path.read_bytes().hex()
    sealed = contents.sealed
    for secret in (sealed.seed, key, PASSWORD.encode(), sealed.mnemonic.encode()):
        for form in (secret.hex(), str(secret), secret.decode("latin-1")):
            assert form not in shown


def test_a_devnet_shares_one_seed_whatever_the_environment_says(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(custody.CUSTODY_PASSWORD_VARIABLE, PASSWORD)
    given: list[dict[str, str]] = []
    monkeypatch.setattr(
        supervise, "spawn_chaind", lambda arguments, log, environ: given.append(environ)
    )
    nodes = places(tmp_path, 2, 18_480)
    supervise.start_nodes(nodes, nodes, [])
    assert [environ["CHAIND_CUSTODY_ENABLED"] for environ in given] == ["true", "true"]
    assert PASSWORD not in str(given)
