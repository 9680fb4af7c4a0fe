"""The event feed: every final movement once, in order, resumable, and summing up to balances."""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator
from decimal import Decimal
from typing import Any

import pytest
from api_kit import ALICE, BOB, NOBODY, STRANGER, TOKEN, VALIDATOR, Door

from chaind.ledger.block import GENESIS_COIN_TXID
from chaind.node import movements
from chaind.primitives.address import key_address
from chaind.primitives.amounts import parse_amount
from chaind.primitives.genesis import Parameters
from chaind.primitives.keys import SecretKey
from chaind.primitives.transaction import (
    NATIVE,
    AccountInput,
    AccountOutput,
    Action,
    Body,
    Burn,
    CoinInput,
    CoinOutput,
    Input,
    Issue,
    Mint,
    Output,
    Transaction,
)
from chaind.wallet.builder import sign

DEAR = Parameters(min_fee_per_byte=1, subsidy_units=50, halving_interval=100_000)


@pytest.fixture
def genesis_changes() -> dict[str, Any]:
    """Fees and subsidies, so that blocks move money themselves."""
    return {"parameters": DEAR}


def address(key: SecretKey) -> bytes:
    return key_address(key.public)


def act(
    door: Door,
    key: SecretKey,
    inputs: tuple[Input, ...],
    outputs: tuple[Output, ...] = (),
    action: Action | None = None,
) -> Transaction:
    """A transaction of one owner; what its native inputs hold beyond its outputs is the fee."""
    valid_until = door.node.clock.now_ms() + 60_000
    prefix = door.node.genesis.chain_prefix
    body = Body(1, prefix, bytes(8), valid_until, None, inputs, outputs, action, b"\xff")
    return sign(body, key)


def everything(door: Door) -> list[Transaction]:
    """One transaction of each kind that moves money."""
    alice, bob, stranger = address(ALICE), address(BOB), address(STRANGER)
    whole = parse_amount("77.5")
    coin = CoinInput(GENESIS_COIN_TXID, len(door.node.genesis.allocations) - 1)
    fee = AccountInput(alice, NATIVE, 1_000)
    return [
        door.payment(150_000_000, memo="tea ☕".encode()),
        door.payment(7, asset=TOKEN, number=1),
        door.payment(9, source=BOB, target=NOBODY, number=2),
        door.payment(9, source=ALICE, target=ALICE, number=3),
        act(
            door,
            STRANGER,
            (coin,),
            (
                CoinOutput(bob, 500),
                AccountOutput(alice, NATIVE, 700),
                CoinOutput(stranger, whole - 10_000),
            ),
        ),
        act(door, ALICE, (fee,), action=Issue("NEW", alice, 1_000, mintable=True)),
        act(door, ALICE, (fee,), action=Mint("NEW", 11)),
        act(door, ALICE, (fee,), action=Burn(alice, "NEW", 5)),
        act(door, ALICE, (fee,), action=Burn(alice, NATIVE, 13)),
    ]


async def pay(door: Door, *transactions: Transaction) -> None:
    for transaction in transactions:
        await door.post("/add_transaction?wait=final", {"raw": transaction.raw.hex()})


async def events(door: Door, **query: object) -> list[dict[str, Any]]:
    """All events, page by page."""
    return [event async for page in pages(door, **query) for event in page["events"]]


async def pages(door: Door, **query: object) -> AsyncIterator[dict[str, Any]]:
    words = "".join(f"&{name}={value}" for name, value in query.items())
    page = await door.get(f"/api/v1/events?{words[1:]}")
    while True:
        assert page["count"] == len(page["events"])
        yield page
        if page["at_tip"]:
            return
        page = await door.get(f"/api/v1/events?cursor={page['next_cursor']}{words}")


async def test_the_sums_are_what_everybody_holds(door: Door) -> None:
    await pay(door, *everything(door))
    await door.post("/faucet", {"to": "bob", "amount": "3"})
    sums: Counter[tuple[bytes, str, str]] = Counter()
    for movement in walk(door):  # nothing is awaited from here on, so that all is of one block
        sums[movement.account, door.node.queries.symbol(movement.asset), movement.held] += (
            movement.units
        )
    assert min(sums.values()) >= 0
    for who in {account for account, _, _ in sums}:
        balance = door.node.queries.balance(who)
        for asset in ("COIN", TOKEN, "NEW"):
            assert sums[who, asset, "account"] == balance.assets.get(asset, 0)
        assert sums[who, "COIN", "coin"] == balance.coins
    assert sums[address(VALIDATOR), "COIN", "account"] > 9 * 100  # fees and subsidies


def walk(door: Door) -> list[movements.Movement]:
    at, found = movements.START, []
    while True:
        page = door.node.feed.page(at, movements.EVERYTHING, 7)
        at = page.next
        found += page.movements
        if page.at_tip:
            return found


def signed(amount: str) -> int:
    return int(Decimal(amount).scaleb(8))


async def test_supply_is_the_sum_of_all_events(door: Door) -> None:
    await pay(door, *everything(door))
    sums: Counter[str] = Counter()
    found = await events(door)
    tip = found[-1]["height"]
    assert found[-1]["kind"] == "reward"
    for event in found:
        sums[event["asset"]] += signed(event["amount"])
    subsidies = tip * DEAR.subsidy_units
    allocated = sum(
        parse_amount(entry.amount) for entry in door.node.genesis.allocations if not entry.asset
    )
    assert sums["COIN"] == allocated + subsidies - 13  # the burn
    assert sums["NEW"] == 1_000 + 11 - 5
    assert sums[TOKEN] == parse_amount("50")


async def test_what_an_event_says(door: Door) -> None:
    first, *_ = transactions = everything(door)
    await pay(door, *transactions)
    found = await events(door)
    paid, received = [event for event in found if event["tx_id"] == first.txid.hex()]
    fee = first.size * DEAR.min_fee_per_byte
    location = door.node.queries.transaction(first.txid)
    assert location.place == 0
    assert paid == {
        "id": f"{location.height}.0.0",
        "height": location.height,
        "index": 0,
        "tx_id": first.txid.hex(),
        "kind": "payment",
        "account": door.show(ALICE),
        "asset": "COIN",
        "held": "account",
        "amount": f"-1.{50_000_000 + fee:08d}".rstrip("0"),
        "fee": f"0.{fee:08d}".rstrip("0"),
        "counterparties": [door.show(BOB)],
        "memo": "tea ☕",
        "memo_hex": "tea ☕".encode().hex(),
        "time_ms": location.time_ms,
    }
    assert (received["account"], received["amount"], received["fee"]) == (
        door.show(BOB), "1.5", "0"
    )  # fmt: skip
    kinds = {
        event["kind"] for event in found if event["asset"] == "NEW" and event["tx_id"] is not None
    }
    assert kinds == {"issue", "burn"}
    native_burn = [event for event in found if event["tx_id"] == transactions[-1].txid.hex()]
    assert [event["kind"] for event in native_burn] == ["burn"]
    assert {event["memo"] for event in native_burn} == {None}
    assert [event["kind"] for event in found[:5]] == ["genesis"] * 5


@pytest.mark.parametrize("limit", [1, 2, 500])
async def test_pages_resume_anywhere_and_never_shift(
    door: Door, limit: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(movements, "EXAMINED_MAX", 3)  # pages that end without a match
    await pay(door, *everything(door))
    whole = await events(door, limit=limit)
    await pay(door, door.payment(1, number=99))
    later = await events(door, limit=500)
    assert later[: len(whole)] == whole
    assert [event["id"] for event in later] == sorted(
        (event["id"] for event in later), key=lambda text: tuple(map(int, text.split(".")))
    )
    assert len({event["id"] for event in later}) == len(later)
    for event in later[::5]:
        page = await door.get(f"/api/v1/events?limit=1&cursor={event['id']}")
        assert page["events"] == [event]
    for name, key in (("bob", BOB), (door.show(STRANGER), STRANGER)):  # by index
        own = [event for event in later if event["account"] == door.show(key)]
        assert await events(door, limit=limit, account=name) == own
    height = later[-1]["height"]
    rewards = [event for event in later if event["account"] == door.show(VALIDATOR)]
    told = await events(door, limit=limit, account=door.show(VALIDATOR))
    assert [event for event in told if event["height"] <= height] == rewards
    coins = [event for event in later if event["asset"] == TOKEN]
    assert await events(door, limit=limit, asset=TOKEN) == coins
    assert coins


async def test_an_empty_page_waits_for_the_next_event(door: Door) -> None:
    tip = await door.get("/api/v1/events?cursor=tip&account=bob")
    assert (tip["events"], tip["at_tip"]) == ([], True)
    waiting = asyncio.create_task(
        door.get(f"/api/v1/events?wait=30&account=bob&cursor={tip['next_cursor']}")
    )
    await asyncio.sleep(0)
    paid = door.payment(5)
    await pay(door, paid)
    page = await asyncio.wait_for(waiting, 10)
    assert [(event["tx_id"], event["amount"]) for event in page["events"]] == [
        (paid.txid.hex(), "0.00000005")
    ]
    quiet = await door.get(f"/api/v1/events?wait=1&account=bob&cursor={page['next_cursor']}")
    assert quiet["events"] == []


async def test_whoever_waits_is_let_go_when_the_node_ends(door: Door) -> None:
    waiting = asyncio.create_task(door.node.feed.beyond(1_000_000))
    await asyncio.sleep(0)
    assert not waiting.done()
    door.node.stop()
    await asyncio.wait_for(waiting, 10)


async def test_what_is_refused(door: Door) -> None:
    for query in (
        "cursor=1.2", "cursor=1.2.x", "cursor=1.99999999999.0", "cursor=", "wait=31", "limit=501",
        "asset=no-such",
    ):  # fmt: skip
        assert (await door.get(f"/api/v1/events?{query}", 400))["code"] == "query-invalid", query
    assert (await door.get("/api/v1/events?account=nobody", 404))["code"] == "name-unknown"
