"""`chaind headers verify` as typed: real headers of Bitcoin's main net, and files that are none.

Whoever has a longer file of main-net headers has it verified too, whole:

    CHAIND_TEST_HEADERS=blockchain_headers@0 scripts/test tests/cli/test_headers_command.py
"""

import json
import os
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from chaind.cli.main import commands
from chaind.primitives.block import Header
from chaind.primitives.hashes import display_hash, sha256d

VECTORS = Path(__file__).parents[1] / "vectors" / "bitcoin_retargets.json"
HEADERS = {
    int(height): bytes.fromhex(text)
    for height, text in json.loads(VECTORS.read_bytes())["headers"].items()
}
GENESIS = Header(
    1,
    bytes(32),
    bytes.fromhex("4a5e1e4baab89f3a32518a88c31bc87f618f76673e2cc77ab2127b7afdeda33b")[::-1],
    1231006505,
    0x1D00FFFF,
    2083236893,
).encode()
BLOCK_1 = Header(
    1,
    sha256d(GENESIS),
    bytes.fromhex("0e3e2357e806b6cdb1f70b54c3a3a17b6714ee1f0e68bebb44a74b1efd512098")[::-1],
    1231469665,
    0x1D00FFFF,
    2573394689,
).encode()


def verify(file: Path, *arguments: str) -> Result:
    command = ["headers", "verify", str(file), *arguments]
    return CliRunner().invoke(commands, command, prog_name="chaind")


def written(directory: Path, *headers: bytes) -> Path:
    file = directory / "headers.bin"
    file.write_bytes(b"".join(headers))
    return file


def told(result: Result) -> dict[str, str | int]:
    assert result.exit_code == 0, result.output
    answer: dict[str, str | int] = json.loads(result.stdout)
    return answer


def test_bitcoin_from_its_first_block(tmp_path: Path) -> None:
    answer = told(verify(written(tmp_path, GENESIS, BLOCK_1), "--params", "bitcoin-main", "--json"))
    assert answer == {
        "chain": "bitcoin-main",
        "headers": 2,
        "height": 1,
        "tip": "00000000839a8e6886ab5951d76f411475428afc90947ee320161bbf18eb6048",
        "bits": "1d00ffff",
        "retargets": 0,
        "retargets_changing_bits": 0,
        "retargets_on_trust": 0,
        "chainwork": f"{0x200020002:064x}",
    }


def test_real_headers_across_a_boundary_where_the_bits_change(tmp_path: Path) -> None:
    file = written(tmp_path, HEADERS[558431], HEADERS[558432])
    result = verify(file, "--from", "558431", "--work", "10")
    assert result.exit_code == 0, result.output
    shown = dict(line.split("  ", 1) for line in result.stdout.splitlines())
    rows = {name.strip(): value.strip() for name, value in shown.items()}
    assert rows["height"] == "558432"
    assert rows["tip"] == display_hash(sha256d(HEADERS[558432]))
    assert (rows["bits"], rows["retargets on trust"]) == ("172fd633", "1")
    work = sum(2**256 // ((mantissa << 160) + 1) for mantissa in (0x3218A5, 0x2FD633))
    assert int(rows["chainwork"], 16) == 0x10 + work
    bare = told(verify(file, "--from", "558431", "--json"))
    assert int(str(bare["work_of_these"]), 16) == work
    assert "chainwork" not in bare


def test_a_header_from_elsewhere_ends_it(tmp_path: Path) -> None:
    result = verify(written(tmp_path, GENESIS, HEADERS[558432]))
    assert result.exit_code == 1
    assert result.stderr.startswith("Error: header 1 follows 0000000000000000002")
    result = verify(written(tmp_path, HEADERS[558431]), "--from", "0")
    assert result.exit_code == 1
    assert "header 0 follows" in result.stderr


@pytest.mark.parametrize(
    ("content", "status", "message"),
    [
        (b"", 65, "holds no headers"),
        (GENESIS + b"\n", 65, "has 81 bytes, which are not a whole number of 80-byte headers"),
        (b"0" * 160, 1, "header 0 follows"),
    ],
)
def test_files_that_are_no_headers(
    tmp_path: Path, content: bytes, status: int, message: str
) -> None:
    result = verify(written(tmp_path, content))
    assert (result.exit_code, message in result.stderr) == (status, True), result.stderr


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--work", "10"], "no work before block 0"),
        (["--from", "5", "--work", "0x10"], "'0x10' is not up to 64 hex digits"),
        (["--from", "5", "--work", "1" * 65], "is not up to 64 hex digits"),
        (["--from", "5", "--work", ""], "is not up to 64 hex digits"),
        (["--from", "-1"], "-1 is not in the range"),
        (["--params", "bitcoin"], "'bitcoin' is not 'bitcoin-main'"),
    ],
)
def test_options_that_make_no_sense(tmp_path: Path, arguments: list[str], message: str) -> None:
    result = verify(written(tmp_path, GENESIS), *arguments)
    assert (result.exit_code, message in result.stderr) == (2, True), result.stderr


@pytest.mark.skipif(
    "CHAIND_TEST_HEADERS" not in os.environ,
    reason="CHAIND_TEST_HEADERS=FILE@HEIGHT names no file of main-net headers",
)
def test_a_file_of_main_net_headers_over_three_changes_of_bits() -> None:
    path, _, height = os.environ["CHAIND_TEST_HEADERS"].rpartition("@")
    answer = told(verify(Path(path), "--from", height, "--json"))
    changed = answer["retargets_changing_bits"]
    assert isinstance(changed, int)
    assert changed >= 3
    assert answer["headers"] == Path(path).stat().st_size // 80
