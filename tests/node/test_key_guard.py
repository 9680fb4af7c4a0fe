"""The keys of a home: missing, damaged and misplaced ones."""

from pathlib import Path

import pytest
from parts import GENESIS, SEED_KEYS

from chaind.consensus.records import encode_record
from chaind.node.home import Home, KeyFileInvalid
from chaind.node.key_guard import (
    KeyInvalid,
    KeyMisplaced,
    ValidatorKeyMissing,
    may_vote,
    node_key,
    validator_key,
)
from chaind.node.recovery import open_disk
from chaind.primitives.votes import Vote, VoteKind
from chaind.storage.files import OsFiles
from chaind.storage.kv import MemoryStore

FILES = OsFiles()


@pytest.fixture
def home(tmp_path: Path) -> Home:
    home = Home(tmp_path)
    home.chain.mkdir()
    return home


def put_validator_key(home: Home, index: int) -> Path:
    home.validator_key.write_text(SEED_KEYS[index].reveal().hex())
    return home.validator_key


def test_a_missing_node_key_is_made_anew(home: Home) -> None:
    first = node_key(FILES, home)
    assert node_key(FILES, home).node_id == first.node_id
    home.node_key.unlink()
    assert node_key(FILES, home).node_id != first.node_id
    assert node_key(FILES, home).node_id != first.node_id


def test_a_node_key_of_another_home_is_refused(home: Home) -> None:
    node_key(FILES, home)
    home.node_key.write_text("11" * 32)
    with pytest.raises(KeyMisplaced) as caught:
        node_key(FILES, home)
    assert str(home.node_key) in str(caught.value)


@pytest.mark.parametrize("content", ["", "zz" * 32, "11" * 31, "\x00" * 64])
def test_a_damaged_key_file_says_so(home: Home, content: str) -> None:
    home.validator_key.write_text(content)
    with pytest.raises(KeyFileInvalid):
        validator_key(FILES, home, home.validator_key)


def test_bytes_that_are_no_secret_say_so(home: Home) -> None:
    home.validator_key.write_text("00" * 32)
    with pytest.raises(KeyInvalid):
        validator_key(FILES, home, home.validator_key)


def test_another_validators_key_is_refused(home: Home) -> None:
    path = put_validator_key(home, 0)
    assert validator_key(FILES, home, path) is not None
    put_validator_key(home, 1)
    with pytest.raises(KeyMisplaced):
        validator_key(FILES, home, path)


def test_a_validator_does_not_become_a_full_node_by_losing_its_key(home: Home) -> None:
    path = home.validator_key
    assert validator_key(FILES, home, path) is None
    put_validator_key(home, 0)
    disk = open_disk(FILES, home.chain, MemoryStore(), GENESIS)
    assert may_vote(FILES, home, path, disk, GENESIS)
    disk.close()
    path.unlink()
    with pytest.raises(ValidatorKeyMissing):
        validator_key(FILES, home, path)


def test_who_finds_another_voters_log_does_not_vote(home: Home) -> None:
    path = put_validator_key(home, 0)
    disk = open_disk(FILES, home.chain, MemoryStore(), GENESIS)
    assert may_vote(FILES, home, path, disk, GENESIS)
    disk.votes.append(encode_record(Vote(1, 1, VoteKind.NULLIFY, None, 0, bytes(64))))
    assert may_vote(FILES, home, path, disk, GENESIS)
    disk.votes.append(encode_record(Vote(1, 2, VoteKind.NULLIFY, None, 1, bytes(64))))
    assert not may_vote(FILES, home, path, disk, GENESIS)
    disk.close()
