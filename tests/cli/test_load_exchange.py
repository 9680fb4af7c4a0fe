"""`chaind load --exchange`: the pair is bounded and repeatable, and trades on a real node."""

import json
from collections.abc import Iterator
from itertools import islice

import pytest
from click.testing import CliRunner, Result
from node_kit import Running, running_node

from chaind.cli.load_trading import LEASH_PPM, QUOTES, TAKES, Pair, Place
from chaind.cli.main import commands
from chaind.cli.status import fetch
from chaind.primitives.orders import CancelOrders, PlaceOrder, Side
from chaind.wallet.derivation import development_key

PLACES = (Place("BTC/USD", 100, 4_500_000), Place("COIN/USD", 100, 10_000))
MAKER, TRADER = development_key(10), development_key(11)


def invoke(*arguments: str) -> Result:
    return CliRunner().invoke(commands, ["load", "--exchange", *arguments], prog_name="chaind")


@pytest.fixture(scope="module")
def node(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    with running_node(tmp_path_factory.mktemp("node"), CHAIND_CUSTODY_ENABLED="true") as node:
        yield node


def test_the_same_seed_asks_the_same() -> None:
    one, two, other = (Pair(PLACES, MAKER, TRADER, seed).rounds() for seed in (1, 1, 2))
    first = [list(islice(rounds, 30)) for rounds in (one, two, other)]
    assert first[0] == first[1] != first[2]


def test_the_maker_takes_its_quotes_back_and_stays_on_its_leash() -> None:
    for number, asked in enumerate(islice(Pair(PLACES, MAKER, TRADER, 3).rounds(), 2_000), 1):
        place = PLACES[number % 2]
        makers = [one.action for one in asked if one.key is MAKER]
        assert isinstance(makers[0], CancelOrders)
        quotes = [one for one in makers[1:] if isinstance(one, PlaceOrder)]
        assert len(quotes) == len(makers) - 1 == 2 * QUOTES
        bids = [one.terms.ticks for one in quotes if one.terms.side is Side.BUY]
        asks = [one.terms.ticks for one in quotes if one.terms.side is Side.SELL]
        assert max(bids) < min(asks)
        reach = place.ticks * 2 * LEASH_PPM // 1_000_000
        assert all(abs(ticks - place.ticks) <= reach for ticks in (*bids, *asks))
        takes = [one for one in asked if one.key is TRADER]
        assert TAKES <= len(takes) <= TAKES + 1


def test_it_trades_and_says_what_became_of_it(node: Running) -> None:
    result = invoke("--url", node.url, "--rate", "max", "--count", "300", "--seed", "5", "--json")
    assert result.exit_code == 0, result.output
    told = json.loads(result.stdout)
    assert 300 <= told["sent"] == told["final"] <= 320
    assert (told["refused"], told["seed"]) == ({}, 5)
    assert told["trades"] > 0
    assert told["final_ms"]["count"] == told["sent"]
    for trader in ("trader1", "trader2"):
        orders = fetch(node.url, f"/api/v1/orders?account={trader}&limit=100")["orders"]
        assert {order["symbol"] for order in orders} == {"BTC/USD", "COIN/USD"}
    paced = invoke("--url", node.url, "--rate", "500", "--count", "50", "--seed", "5")
    assert paced.exit_code == 0, paced.output
    assert "trades per s" in paced.output


def test_what_is_of_transfers_is_refused(node: Running) -> None:
    result = invoke("--url", node.url, "--mix", "coins")
    assert (result.exit_code, "goes with transfers" in result.output) == (2, True)
