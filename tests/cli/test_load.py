"""`chaind load` against a real node: what it does and says, and what it refuses."""

import asyncio
import json
import re
from collections.abc import Iterator
from typing import Any
from urllib.request import urlopen

import msgspec
import pytest
from aiohttp import web
from click.testing import CliRunner, Result
from load_kit import GENESIS, free_port, make_load, serving
from node_kit import running_node

from chaind.cli.load_drive import drive
from chaind.cli.load_funds import NoDevelopmentChain
from chaind.cli.load_tally import Tally
from chaind.cli.main import commands
from chaind.cli.status import fetch
from chaind.node.config import load as load_config


def invoke(*arguments: str, env: dict[str, str] | None = None) -> Result:
    return CliRunner().invoke(commands, ["load", *arguments], prog_name="chaind", env=env)


@pytest.fixture(scope="module")
def url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A real node, whose environment also holds variables of the load tool."""
    with running_node(tmp_path_factory.mktemp("node"), CHAIND_LOAD_RATE="max") as node:
        yield node.url


def transactions_above(url: str, height: int) -> list[dict[str, Any]]:
    """What the node has in final blocks."""
    found = []
    for at in range(height + 1, int(str(fetch(url, "/status")["height"])) + 1):
        cursor: str | None = "0"
        while cursor is not None:
            with urlopen(f"{url}/api/v1/blocks/{at}?limit=500&cursor={cursor}") as answer:
                block = json.load(answer)
            found += [item["transaction"] for item in block["transactions"]]
            cursor = block["next_cursor"]
    return found


def height_of(url: str) -> int:
    return int(str(fetch(url, "/status")["height"]))


# Against a node.


@pytest.mark.parametrize("form", ["json", "msgpack"])
@pytest.mark.parametrize("door", ["single", "batch"])
def test_every_transfer_is_counted_through_each_door(url: str, door: str, form: str) -> None:
    height = height_of(url)
    result = invoke(
        *("--url", url, "--rate", "400", "--count", "120", "--accounts", "7"),
        *("--mix", "mixed", "--share", "0.25", "--door", door, "--format", form, "--json"),
    )
    assert result.exit_code == 0, result.stderr
    told = json.loads(result.stdout)
    assert (told["sent"], told["accepted"], told["final"]) == (120, 120, 120)
    assert (told["refused"], told["ended"], told["foreign"]) == ({}, {}, 0)
    assert told["accepted_ms"]["count"] == 120
    assert 0 < told["accepted_ms"]["p50"] <= told["accepted_ms"]["p99"]
    assert told["final_ms"]["count"] >= 1
    assert told["seconds"] >= 0.24, "no faster than asked"

    applied = transactions_above(url, height)
    coin_spends = [each for each in applied if "output_index" in json.dumps(each["inputs"])]
    assert len(coin_spends) == 30
    assert len(applied) == 120 + 2, "two more fund the accounts and make the coins"


def test_at_maximum_with_settings_from_the_environment_alone(url: str) -> None:
    result = invoke(
        env={
            "CHAIND_LOAD_URL": f"{url},{url}/",
            "CHAIND_LOAD_RATE": "max",
            "CHAIND_LOAD_COUNT": "3000",
            "CHAIND_LOAD_FORMAT": "msgpack",
            "CHAIND_LOAD_IN_FLIGHT": "1500",
            "CHAIND_LOAD_JSON": "true",
            "CHAIND_LOAD_SEED": "12",
        }
    )
    assert result.exit_code == 0, result.stderr
    told = json.loads(result.stdout)
    assert told["urls"] == [url, url]
    assert (told["rate"], told["batch_size"], told["seed"]) == ("max", 500, 12)
    assert (told["accepted"], told["final"]) == (3000, 3000)
    assert told["final_per_s"] > 0


def test_a_second_run_with_the_same_seed_pays_again(url: str) -> None:
    for _ in range(2):
        result = invoke("--url", url, "--rate", "max", "--count", "20", "--seed", "5", "--json")
        assert json.loads(result.stdout)["final"] == 20


def test_the_table_for_people_says_the_same(url: str) -> None:
    lines = invoke("--url", url, "--rate", "max", "--count", "10", "--wait", "accepted").stdout
    rows = dict(re.split("  +", line, maxsplit=1) for line in lines.splitlines())
    assert (rows["sent"], rows["accepted"], rows["final"]) == ("10", "10", "0")


def test_transactions_of_others_are_not_counted_as_final(url: str) -> None:
    async def both() -> tuple[Any, Any]:
        loads = [make_load(urls=(url,), rate=100.0, count=50, seed=seed) for seed in (1, 2)]
        runs = [drive(each, lambda _tally, _part: None) for each in loads]
        one, two = await asyncio.gather(*runs)
        return one, two

    for tally in asyncio.run(both()):
        assert (tally.accepted, tally.final) == (50, 50)
        assert tally.foreign > 0


def test_unfinished_runs_end_with_their_own_status(monkeypatch: pytest.MonkeyPatch) -> None:
    tally = Tally(sent=3, accepted=3, final=1)
    monkeypatch.setattr("chaind.cli.load.run_load", lambda _load, _show: tally)
    result = invoke("--json")
    assert json.loads(result.stdout)["final"] == 1
    assert result.exit_code == 75
    assert "2 accepted transfer(s) were not final" in result.stderr


# Refusals of its own.


def test_a_variable_that_is_no_option_is_refused_here_and_ignored_by_a_node() -> None:
    result = invoke(env={"CHAIND_LOAD_RAET": "5"})
    assert result.exit_code == 78
    assert "Did you mean CHAIND_LOAD_RATE?" in result.stderr
    result = CliRunner(env={"CHAIND_STRESS_KEY": "5"}).invoke(commands, ["stress"])
    assert result.exit_code == 78
    assert "Did you mean CHAIND_STRESS_KEYS?" in result.stderr
    mine = {"CHAIND_LOAD_RATE": "5", "CHAIND_LOAD_JSON": "1", "CHAIND_STRESS_KEYS": "5"}
    assert load_config(None, mine) == load_config(None, {})


def test_a_silent_node_and_a_chain_of_real_money_are_refused() -> None:
    result = invoke("--url", f"http://127.0.0.1:{free_port()}")
    assert result.exit_code == 69

    async def real(_request: web.Request) -> web.Response:
        return web.Response(body=msgspec.structs.replace(GENESIS, dev=False).to_json())

    async def ask() -> None:
        async with serving({("GET", "/api/v1/genesis"): real}) as url:
            load = make_load(urls=(url,))
            with pytest.raises(NoDevelopmentChain, match="is no development chain"):
                await drive(load, lambda _tally, _part: None)

    asyncio.run(ask())


@pytest.mark.parametrize(
    "words",
    [
        ("--rate", "0"),
        ("--rate", "-1"),
        ("--rate", "nan"),
        ("--rate", "inf"),
        ("--rate", "fast"),
        ("--share", "0.5"),
        ("--door", "single", "--batch-size", "5"),
        ("--rate", "1e9"),
        ("--rate", "1e-300"),
        ("--rate", "200001"),
        ("--in-flight", "5"),
        ("--rate", "50", "--in-flight", "5"),
        ("--rate", "max", "--wait", "accepted", "--in-flight", "5"),
        ("--count", "0"),
    ],
)
def test_options_that_make_no_sense_are_refused(words: tuple[str, ...]) -> None:
    assert invoke(*words).exit_code == 2


def test_more_coins_than_a_run_makes_are_refused(url: str) -> None:
    result = invoke("--url", url, "--count", "3000000", "--mix", "coins")
    assert result.exit_code == 78
    assert "3000000 coins are needed" in result.stderr
