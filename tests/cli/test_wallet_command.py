"""`chaind wallet` without a node: files, words, keys, and where secrets may come from."""

import json
import os
import pty
import stat
import subprocess
import sys
import traceback
from pathlib import Path

import msgspec
import pytest
from click.testing import Result
from wallet_kit import CANARIES, PASSPHRASE, PASSWORD, WORDS, invoke, piped, told

from chaind.cli.chains import development_genesis
from chaind.cli.wallet import wallet
from chaind.primitives.address import key_address
from chaind.primitives.genesis import DEFAULT_ADDRESSES, Validator
from chaind.primitives.keys import SecretKey
from chaind.wallet.derivation import derive, development_key, seed_from_mnemonic
from chaind.wallet.keystore import LOG2_N_FLOOR, cost_of
from chaind.wallet.wif import encode_wif

ADDRESS = "chd1qwzhz43c6jtrmvukh37ufl4063can757nh8yvg4"
KEY = SecretKey(b"\x51" * 32)
WIF = encode_wif(KEY, 0x9C)


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest) -> Path:
    """Wallets of this test alone, whose passwords cost next to nothing to guess."""
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    if "dear" not in request.keywords:
        monkeypatch.setattr("chaind.wallet.keystore.LOG2_N_FLOOR", 4)
    return tmp_path / "chaind-wallet"


def restore(*arguments: str, words: str = WORDS) -> Result:
    with piped(words) as descriptor:
        return invoke("restore", "--words-fd", descriptor, *arguments)


def shows_no_secret(result: Result) -> None:
    """Neither on the screen nor in what a log of the exception would hold."""
    seen = result.output
    if result.exc_info is not None:
        seen += "".join(traceback.format_exception(*result.exc_info))
    assert not [canary for canary in (*CANARIES, WIF) if canary in seen]


def test_a_new_wallet_comes_back_from_the_words_it_printed(home: Path) -> None:
    made = told("create", "--words", "24")
    assert len(made["words"].split()) == 24
    with piped(made["words"].upper()) as descriptor:
        again = told("restore", "--wallet", "again", "--words-fd", descriptor)
    assert again["address"] == made["address"]
    assert made["wallet"] == str(home / "default.keystore")
    assert "words" not in again
    text = invoke("create", "--wallet", "third").output
    assert "Write them down" in text
    assert told("list")["wallets"] == [
        {"wallet": name, "accounts": ["main"]} for name in ("again", "default", "third")
    ]


def test_files_are_their_owners_alone(home: Path) -> None:
    restore()
    assert stat.S_IMODE(home.stat().st_mode) == 0o700
    assert stat.S_IMODE((home / "default.keystore").stat().st_mode) == 0o600
    assert sorted(path.name for path in home.iterdir()) == ["default.keystore"]


@pytest.mark.dear
def test_a_file_made_by_a_person_has_the_full_cost(home: Path) -> None:
    restore()
    data = (home / "default.keystore").read_bytes()
    assert cost_of(data, "w") == LOG2_N_FLOOR == 17


def test_addresses_are_those_of_bip44() -> None:
    restore()
    seed = seed_from_mnemonic(WORDS)
    for options, path in (
        ((), "m/44'/1'/0'/0/0"),
        (("--number", "5"), "m/44'/1'/0'/0/5"),
        (("--change", "--number", "2"), "m/44'/1'/0'/1/2"),
    ):
        expected = key_address(derive(seed, path).public)
        assert invoke("address", *options).output.strip() == DEFAULT_ADDRESSES.show(expected)
    base58 = invoke("address", "--base58").output.strip()
    assert DEFAULT_ADDRESSES.parse(base58) == key_address(derive(seed, "m/44'/1'/0'/0/0").public)


def test_what_needs_no_password_asks_for_none() -> None:
    restore()
    for command in ("info", "address", "list"):
        assert invoke(command, password=None).exit_code == 0
    assert invoke("export", "--xpub", password=None).output.startswith("xpub")


def test_a_passphrase_makes_another_wallet(tmp_path: Path) -> None:
    plain = json.loads(restore("--json").output)
    with piped(WORDS, PASSPHRASE, PASSWORD) as descriptor:
        hidden = told(
            "restore", "--wallet", "hidden", "--words-fd", descriptor,
            "--passphrase-fd", descriptor, "--password-fd", descriptor,
        )  # fmt: skip
    seed = seed_from_mnemonic(WORDS, PASSPHRASE)
    expected = DEFAULT_ADDRESSES.show(key_address(derive(seed, "m/44'/1'/0'/0/0").public))
    assert hidden["address"] == expected != plain["address"]


def test_keys_go_out_and_come_in() -> None:
    restore()
    wif = invoke("export", "--number", "3").output.strip()
    assert wif == encode_wif(derive(seed_from_mnemonic(WORDS), "m/44'/1'/0'/0/3"), 0x9C)
    assert invoke("export", "--words").output.strip() == WORDS
    with piped(wif) as descriptor:
        added = invoke("import", "till", "--wallet", "keys", "--secret-fd", descriptor)
    assert added.output.split() == ["till", invoke("address", "--number", "3").output.strip()]
    assert invoke("export", "--wallet", "keys", "--account", "till").output.strip() == wif
    nothing = invoke("export", "--wallet", "keys", "--words")
    assert (nothing.exit_code, "without words" in nothing.stderr) == (65, True)


def test_accounts_of_every_kind_stand_in_one_wallet() -> None:
    restore()
    assert invoke("account", "savings").exit_code == 0
    assert invoke("import", "shop", "--address", ADDRESS).exit_code == 0
    xpub = invoke("export", "--account", "savings", "--xpub").output.strip()
    assert invoke("import", "copy", "--xpub", xpub).exit_code == 65  # it is there already
    told("create", "--wallet", "other")
    other = invoke("export", "--wallet", "other", "--xpub").output.strip()
    assert invoke("import", "mirror", "--xpub", other).exit_code == 0
    with piped(WIF) as descriptor:
        assert invoke("import", "till", "--secret-fd", descriptor).exit_code == 0
    accounts = told("info")["accounts"]
    assert [(entry["account"], entry["kind"], entry["path"]) for entry in accounts] == [
        ("main", "words", "m/44'/1'/0'"),
        ("savings", "words", "m/44'/1'/1'"),
        ("shop", "watch", "-"),
        ("mirror", "watch", "-"),
        ("till", "key", "-"),
    ]
    assert "mirror" in invoke("info").output
    watch = invoke("export", "--account", "shop")
    assert (watch.exit_code, "only watches" in watch.stderr) == (77, True)


def test_addresses_are_written_as_the_chain_of_the_genesis_does() -> None:
    genesis = development_genesis(
        [Validator(public_key=KEY.public.hex(), name="v")], time_ms=1_700_000_000_000
    )
    addresses = msgspec.structs.replace(genesis.addresses, hrp="xyz", p2pkh_version=0)
    allocations = tuple(
        msgspec.structs.replace(
            entry, address=addresses.show(genesis.addresses.parse(entry.address))
        )
        for entry in genesis.allocations
        if not entry.asset
    )
    genesis = msgspec.structs.replace(
        genesis, addresses=addresses, allocations=allocations, assets=(), markets=()
    )
    Path("genesis.json").write_bytes(genesis.to_json())
    assert told("create", "--genesis", "genesis.json")["address"].startswith("xyz1q")
    assert invoke("address", "--base58").output.startswith("1")
    assert invoke("export").output[0] in "KL"  # as Bitcoin's, version 128


def test_no_wallet_is_ever_overwritten(home: Path) -> None:
    restore()
    before = (home / "default.keystore").read_bytes()
    for result in (invoke("create"), restore()):
        assert result.exit_code == 73
        assert "is there already" in result.stderr
        shows_no_secret(result)
    assert (home / "default.keystore").read_bytes() == before


def test_a_path_names_a_file_anywhere() -> None:
    assert invoke("create", "--wallet", "./till.keystore").exit_code == 0
    assert Path("till.keystore").is_file()
    assert invoke("address", CHAIND_WALLET_FILE="till.keystore").output.startswith("chd1")
    assert told("list")["wallets"] == []


@pytest.mark.parametrize(
    ("words", "why"),
    [
        (WORDS.replace("yellow", "winner"), "checksum"),
        (WORDS.replace("wave", "wavve"), "word 5"),
        (WORDS.rpartition(" ")[0], "there are 11"),
        ("", "empty line"),
    ],
)
def test_wrong_words_are_refused_and_not_repeated(home: Path, words: str, why: str) -> None:
    result = restore(words=words)
    assert result.exit_code in (1, 77)
    assert why in result.stderr
    assert not home.exists()
    shows_no_secret(result)


def test_a_wrong_password_and_a_damaged_file_are_two_things(home: Path) -> None:
    restore()
    wrong = invoke("export", password="letmein")
    assert (wrong.exit_code, "does not open" in wrong.stderr) == (77, True)
    assert "letmein" not in wrong.output
    path = home / "default.keystore"
    data = bytearray(path.read_bytes())
    data[-20] ^= 1
    path.write_bytes(data)
    for command in ("export", "address", "info", "list"):
        damaged = invoke(command)
        assert (damaged.exit_code, "is damaged" in damaged.stderr) == (65, True)
        shows_no_secret(damaged)


def test_a_wrong_key_is_refused_and_not_repeated() -> None:
    restore()
    wrong = WIF[:-1] + ("1" if WIF[-1] != "1" else "2")
    with piped(wrong) as descriptor:
        result = invoke("import", "till", "--secret-fd", descriptor)
    assert result.exit_code == 1
    assert wrong not in result.output
    assert len(told("info")["accounts"]) == 1


def test_without_a_terminal_a_missing_secret_is_said_to_be_missing() -> None:
    result = invoke("create", password=None)
    assert result.exit_code == 77
    assert "--password-fd N or in CHAIND_WALLET_PASSWORD" in result.stderr
    with piped(PASSWORD) as descriptor:
        closed = int(descriptor)
    result = invoke("create", "--password-fd", str(closed), password=None)
    assert (result.exit_code, "descriptor" in result.stderr) == (77, True)


def test_one_account_at_most_is_imported_at_once() -> None:
    result = invoke("import", "x", "--address", ADDRESS, "--xpub", "xpub")
    assert result.exit_code == 2


def test_every_command_has_help_with_examples_that_name_real_options() -> None:
    for name, command in wallet.commands.items():
        text = invoke(name, "--help").output
        _, _, examples = text.partition("Example")
        shown = [line.split() for line in examples.partition("\n\n")[0].splitlines()[1:]]
        assert shown, name
        known = {option for parameter in command.params for option in parameter.opts}
        for line in shown:
            assert line[line.index("wallet") + 1] == name
            assert {word for word in line if word.startswith("--")} <= known


def test_no_option_takes_a_secret() -> None:
    """Arguments are seen by every user of the machine."""
    for name, command in wallet.commands.items():
        for parameter in command.params:
            taken = {*parameter.opts} & {
                "--password", "--mnemonic", "--seed", "--secret", "--wif", "--key-wif"
            }  # fmt: skip
            assert not taken, name
            if parameter.name in ("words", "ask_passphrase") and name != "create":
                assert getattr(parameter, "is_flag", False), name


def test_a_person_types_the_password_twice_and_unseen(home: Path) -> None:
    ours, theirs = pty.openpty()
    words = [sys.executable, "-P", "-m", "chaind.cli.main", "wallet", "create", "--json"]
    environment = {k: v for k, v in os.environ.items() if not k.startswith("CHAIND_")}
    with subprocess.Popen(
        words, stdin=theirs, stdout=subprocess.PIPE, stderr=theirs, env=environment,
        start_new_session=True,
    ) as process:  # fmt: skip
        os.close(theirs)
        screen = b""
        for prompt in (b"Password: ", b"Repeat for confirmation: "):
            while prompt not in screen:
                screen += os.read(ours, 1_024)
            os.write(ours, PASSWORD.encode() + b"\n")
        assert process.stdout is not None
        made = json.loads(process.stdout.read())
    os.close(ours)
    assert PASSWORD.encode() not in screen
    assert process.returncode == 0
    assert invoke("export", "--words").output.strip() == made["words"]


def test_development_words_give_the_development_accounts() -> None:
    restore(words="test test test test test test test test test test test junk")
    expected = DEFAULT_ADDRESSES.show(key_address(development_key(0).public))
    assert invoke("address").output.strip() == expected
