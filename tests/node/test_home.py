"""The data directory: closed to others, and never overwritten."""

from pathlib import Path

import pytest

from chaind.node.home import Home, HomeInitialised, KeyFileInvalid, read_key, read_or_create_key
from chaind.storage.errors import FileMissing


def mode(path: Path) -> int:
    return path.stat().st_mode & 0o777


@pytest.fixture
def home(tmp_path: Path) -> Home:
    home = Home(tmp_path / "deep" / "home")
    home.create()
    return home


def test_directory_and_secrets_are_the_owners_alone(home: Home) -> None:
    read_or_create_key(home.node_key)
    assert mode(home.path) == 0o700
    assert mode(home.node_key) == 0o600


def test_key_is_made_once_and_read_ever_after(home: Home) -> None:
    first = read_or_create_key(home.node_key)
    assert len(first) == 32
    assert read_or_create_key(home.node_key) == first == read_key(home.node_key)
    assert read_or_create_key(home.validator_key) != first


def test_home_is_initialised_by_its_genesis_and_only_once(home: Home) -> None:
    assert not home.initialised
    home.write_genesis(b"{}")
    assert home.initialised
    with pytest.raises(HomeInitialised):
        home.write_genesis(b"{1}")
    assert home.genesis.read_bytes() == b"{}"


def test_creating_an_existing_home_keeps_what_is_there(home: Home) -> None:
    key = read_or_create_key(home.node_key)
    home.create()
    assert read_key(home.node_key) == key


@pytest.mark.parametrize("content", [b"", b"ab" * 31, b"ab" * 33, b"zz" * 32, b"\xff" * 64])
def test_damaged_key_file_is_refused_and_not_replaced(home: Home, content: bytes) -> None:
    home.validator_key.write_bytes(content)
    with pytest.raises(KeyFileInvalid, match=r"validator\.key"):
        read_or_create_key(home.validator_key)
    assert home.validator_key.read_bytes() == content


def test_missing_key_file_is_named(home: Home) -> None:
    with pytest.raises(FileMissing, match=r"validator\.key"):
        read_key(home.validator_key)
