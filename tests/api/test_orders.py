"""Orders over HTTP: placed, amended, cancelled, looked up; every refusal by its code."""

from typing import Any

import pytest
from api_kit import BOB, Door
from exchange_kit import Trader, trading_changes

from chaind.primitives.genesis import Parameters
from chaind.wallet.derivation import TRADER_NAMES

KEY = {"Idempotency-Key": "bid-1"}
BID: dict[str, Any] = {"symbol": "BTC/USD", "side": "buy", "quantity": 1.5, "price": 45000.00}
PLAIN = "/api/v1/orders"
WAITING = PLAIN + "?wait=final"
NOTHING = "0" * 64


@pytest.fixture
def genesis_changes() -> dict[str, Any]:
    return trading_changes()


@pytest.fixture
def traders(door: Door) -> tuple[Trader, Trader]:
    one, two = (Trader(door, name) for name in TRADER_NAMES)
    return one, two


async def book(door: Door) -> tuple[list[Any], list[Any]]:
    answer = await door.get("/api/v1/orderbook/BTC-USD")
    return answer["bids"], answer["asks"]


async def test_an_order_without_an_account_is_the_first_traders(door: Door) -> None:
    answer = await door.post(PLAIN, BID, 202)
    assert answer["status"] in ("pending", "open")
    await door.node.wait_final(bytes.fromhex(answer["order_id"]), 5_000)
    order = await door.get(f"{PLAIN}/{answer['order_id']}")
    assert order == {
        **order,
        "status": "open",
        "symbol": "BTC/USD",
        "price": "45000",
        "quantity": "1.5",
        "remaining": "1.5",
        "filled": "0",
        "type": "limit",
        "time_in_force": "gtc",
    }
    assert order["timestamp"] > 1_700_000_000_000
    assert await book(door) == ([["45000", "1.5", 1]], [])
    listed = await door.get(PLAIN)
    assert [one["order_id"] for one in listed["orders"]] == [answer["order_id"]]


async def test_a_trade_moves_both_sides_and_is_told_everywhere(
    door: Door, traders: tuple[Trader, Trader]
) -> None:
    one, two = traders
    ask = await one.place("sell", "2", "45000", client_order_id="my-ask")
    bid = await two.place("buy", "0.5", "45100")
    assert (ask["status"], bid["status"]) == ("open", "filled")
    assert (bid["value"], bid["fee"], bid["fee_asset"]) == ("22500", "0.001", "BTC")
    assert await two.balance() == {"COIN": "1000", "USD": "977500", "BTC": "100.499"}
    assert await one.balance() == {"COIN": "1000", "USD": "1022477.5", "BTC": "98"}
    again = await door.get(f"{PLAIN}/{ask['order_id']}")
    assert (again["status"], again["filled"], again["remaining"]) == (
        "partially_filled",
        "0.5",
        "1.5",
    )
    assert again["client_order_id"] == "my-ask"
    [trade] = (await door.get("/api/v1/trades/BTC-USD"))["trades"]
    assert trade == {
        **trade,
        "price": "45000",
        "quantity": "0.5",
        "value": "22500",
        "side": "buy",
        "taker_order_id": bid["order_id"],
        "maker_order_id": ask["order_id"],
    }
    [mine] = (await door.get(f"/api/v1/fills?account={two.name}"))["fills"]
    assert (mine["id"], mine["role"], mine["fee"]) == (trade["id"], "taker", "0.001")
    [theirs] = (await door.get("/api/v1/fills"))["fills"]
    assert (theirs["role"], theirs["side"], theirs["fee"], theirs["fee_asset"]) == (
        "maker",
        "sell",
        "22.5",
        "USD",
    )
    for interval in ("1s", "1m", "5m", "1h", "1d"):
        path = f"/api/v1/candles/BTC-USD?interval={interval}"
        [candle] = (await door.get(path))["candles"]
        assert (candle["open"], candle["close"], candle["volume"]) == ("45000", "45000", "0.5")
    ticker = await door.get("/api/v1/ticker/BTC-USD")
    assert (ticker["last"], ticker["volume"], ticker["trades"]) == ("45000", "0.5", 1)
    assert (ticker["ask"], ticker["ask_quantity"], ticker["bid"]) == ("45000", "1.5", None)


async def test_a_fall_looks_as_steep_as_a_rise(door: Door, traders: tuple[Trader, Trader]) -> None:
    one, two = traders
    for price, change, percent in (
        ("45000", "0", "0"),
        ("44000", "-1000", "-2.22"),  # 2.222… of a hundred
        ("46000", "1000", "2.22"),
    ):
        await one.place("sell", "0.1", price)
        await two.place("buy", "0.1", price)
        ticker = await door.get("/api/v1/ticker/BTC-USD")
        assert (ticker["last"], ticker["change"], ticker["change_percent"]) == (
            price,
            change,
            percent,
        )


async def test_both_names_of_a_market_and_both_ways_to_escape_it(door: Door) -> None:
    await door.post(WAITING, {**BID, "symbol": "BTC-USD"})
    [only] = (await door.get(PLAIN + "?symbol=BTC-USD"))["orders"]
    assert only["symbol"] == "BTC/USD"
    for name in ("BTC%2FUSD", "BTC/USD"):
        assert (await door.get(f"/api/v1/orderbook/{name}"))["symbol"] == "BTC/USD"
    assert (await door.get("/api/v1/orderbook/BTC/USD/x", 404))["code"] == "route-unknown"
    assert (await door.get(PLAIN + "?symbol=COIN/USD"))["orders"] == []


@pytest.mark.parametrize(
    ("change", "status", "code"),
    [
        ({"quantity": "1000"}, 422, "insufficient-funds"),
        ({"price": "45000.25"}, 422, "price-off-tick"),
        ({"stop_price": "45000.25", "type": "stop_limit"}, 422, "price-off-tick"),
        ({"quantity": "0.0005"}, 422, "quantity-off-lot"),
        ({"quantity": "0.001", "price": "9000"}, 422, "notional-too-small"),
        ({"price": "90000", "quantity": "0.1"}, 422, "price-out-of-band"),
        ({"quantity": "90000000", "price": "90000000"}, 422, "notional-too-large"),
        ({"symbol": "NO/USD"}, 404, "market-unknown"),
        ({"symbol": "x" * 99}, 404, "market-unknown"),
        ({"price": "45000", "quantity": "0.5", "expires_ms": 1}, 400, "order-invalid"),
        ({"account": "nobody"}, 404, "name-unknown"),
        ({"account": "BOB-ADDRESS"}, 422, "insufficient-funds"),
        ({"account": "STRANGER"}, 403, "custody-disabled"),
        ({"type": "market"}, 400, "order-invalid"),  # with a price
        ({"price": None}, 400, "order-invalid"),
        ({"type": "stop_limit"}, 400, "order-invalid"),
        ({"time_in_force": "gtt"}, 400, "order-invalid"),
        ({"time_in_force": "gtt", "expires_ms": 1}, 422, "expiry-passed"),
        ({"time_in_force": "fok"}, 422, "fill-or-kill-unfilled"),
        ({"client_order_id": "ü"}, 400, "order-invalid"),
        ({"side": "both"}, 400, "body-malformed"),
        ({"quantity": "-1"}, 400, "amount-invalid"),
        ({"quantity": True}, 400, "amount-invalid"),
        ({"prize": "1"}, 400, "body-malformed"),
        ({"expires_ms": -1}, 400, "order-invalid"),
    ],
)
async def test_wrong_orders_are_refused_and_change_nothing(
    door: Door, change: dict[str, Any], status: int, code: str
) -> None:
    places = {
        "BOB-ADDRESS": door.show(BOB),
        "STRANGER": door.node.genesis.addresses.show(b"\x01" * 20),
    }
    body = {**BID, **change}
    body = {key: places.get(str(value), value) for key, value in body.items()}
    before = await door.get("/balance/trader1")
    assert (await door.post(WAITING, body, status))["code"] == code
    assert door.node.queries.pending_count == 0
    after = await door.get("/balance/trader1")
    assert after["accounts"] == before["accounts"]
    assert await book(door) == ([], [])


@pytest.mark.parametrize(
    ("change", "field", "said"),
    [
        ({"price": None}, "price", "price is missing: orders of type limit have one"),
        ({"type": "market"}, "price", "price is not for orders of type market"),
        ({"type": "stop_limit"}, "stop_price", "stop_price is missing"),
        ({"stop_price": "44000"}, "stop_price", "stop_price is not for orders of type limit"),
        ({"time_in_force": "gtt"}, "expires_ms", "expires_ms is missing"),
        ({"quantity": "-1"}, "quantity", "quantity -1 is refused: negative"),
        ({"price": "x"}, "price", "price 'x' is refused"),
        (
            {"type": "stop_limit", "stop_price": "1.1"},
            "stop_price",
            "stop_price 1.1 is not a multiple of the tick 0.5 of BTC/USD",
        ),
        ({"side": "both"}, None, "it may be buy, sell"),
        ({"time_in_force": "day"}, None, "it may be gtc, gtt, ioc, fok"),
    ],
)
async def test_a_refusal_names_the_field(
    door: Door, change: dict[str, Any], field: str | None, said: str
) -> None:
    problem = await door.post(PLAIN, {**BID, **change}, problem_status(change))
    assert said in problem["detail"]
    assert problem["values"].get("field") == field


def problem_status(change: dict[str, Any]) -> int:
    return 422 if change.get("stop_price") == "1.1" else 400


async def test_the_book_is_spoken_of_in_decimals(
    door: Door, traders: tuple[Trader, Trader]
) -> None:
    one, two = traders
    await one.place("sell", "1", "45000")
    band = await two.place("buy", "1", "60000", 422)
    assert band["detail"] == ("price 60000 is beyond 49500, the edge of the price band of BTC/USD")
    assert band["values"]["symbol"] == "BTC/USD"
    taking = await two.place("buy", "1", "45000.5", 422, post_only=True)
    assert taking["detail"] == "post-only order at price 45000.5 would trade at 45000 on BTC/USD"
    killed = await two.place("buy", "2", "45000", 422, time_in_force="fok")
    assert killed["detail"] == "of quantity 2 only 1 would trade at once on BTC/USD"


async def test_words_may_be_in_capitals(door: Door) -> None:
    words = {"side": "BUY", "type": "LIMIT", "time_in_force": "GTC"}
    order = await door.post(WAITING, {**BID, **words})
    assert (order["side"], order["status"]) == ("buy", "open")


async def test_an_expiry_that_passed_makes_no_transaction(door: Door) -> None:
    late = {**BID, "time_in_force": "gtt", "expires_ms": 1}
    assert (await door.post(PLAIN, late, 422))["code"] == "expiry-passed"
    assert (await door.get(PLAIN))["orders"] == []


async def test_an_amendment_that_changes_nothing_makes_no_transaction(
    door: Door, traders: tuple[Trader, Trader]
) -> None:
    order = await traders[0].place("buy", "2", "44000")
    path = f"{PLAIN}/{order['order_id']}"
    for same in ({}, {"price": "44000"}, {"quantity": 2, "price": 44000}, {"post_only": True}):
        problem = await answer(door, "PATCH", path, 422, json=same)
        assert problem["code"] == "amendment-empty"
    assert door.node.queries.pending_count == 0
    change: dict[str, Any] = {"json": {"price": "44001"}, "headers": KEY}
    first = await answer(door, "PATCH", path, 200, **change)
    assert await answer(door, "PATCH", path, 200, **change) == first  # the answer to the key


async def test_what_the_book_refuses_is_final_and_says_why(
    door: Door, traders: tuple[Trader, Trader]
) -> None:
    one, two = traders
    await one.place("sell", "1", "45000")
    problem = await two.place("buy", "1", "45000", 422, post_only=True)
    assert problem["code"] == "post-only-would-take"
    [refused] = (await door.get(f"{PLAIN}?account={two.name}"))["orders"]
    assert (refused["status"], refused["code"]) == ("rejected", "post-only-would-take")
    [rejected] = (await door.get(f"{PLAIN}?account={two.name}&status=rejected"))["orders"]
    assert rejected == refused
    await one.place("sell", "1", "45500", client_order_id="a")
    assert (await one.place("sell", "1", "46000", 409, client_order_id="a"))[
        "code"
    ] == "client-order-id-taken"


async def test_a_key_places_an_order_once(door: Door) -> None:
    first = await door.post(PLAIN, BID, headers=KEY)
    assert first["status"] == "open"
    async with door.session.post(PLAIN, json=BID, headers=KEY) as response:
        assert (response.status, await response.json()) == (200, first)
        assert response.headers["X-Idempotency-Hit"] == "true"
    assert await book(door) == ([["45000", "1.5", 1]], [])
    problem = await door.post(PLAIN, {**BID, "quantity": "1"}, 422, headers=KEY)
    assert problem["code"] == "idempotency-key-reused"
    assert "paid" not in problem["detail"]


async def test_cancelling(door: Door, traders: tuple[Trader, Trader]) -> None:
    one, two = traders
    order = await one.place("buy", "1", "44000")
    path = f"{PLAIN}/{order['order_id']}"
    assert (await door.get("/balance/alice"))["in_orders"] == {}
    assert {(await door.get(path))["at"] for path in (PLAIN, "/api/v1/orderbook/BTC-USD")} == {
        "final"
    }
    await one.place("sell", "3", "2", symbol="COIN/USD")
    held = await door.get(f"/balance/{one.name}")
    assert (held["reserved"], held["in_orders"]) == ("3", {"USD": "44000", "COIN": "3"})
    foreign = await answer(door, "DELETE", f"{path}?account={two.name}", 403)
    assert foreign["code"] == "not-your-order"
    done = await answer(door, "DELETE", f"{path}?wait=final", 200)
    assert (done["status"], done["order_id"]) == ("cancelled", order["order_id"])
    assert (await one.balance())["USD"] == "1000000"
    again = await answer(door, "DELETE", path, 409)
    assert (again["code"], again["values"]["status"]) == ("order-done", "cancelled")
    assert (await answer(door, "DELETE", f"{PLAIN}/{NOTHING}", 404))["code"] == "order-unknown"
    assert (await answer(door, "DELETE", f"{PLAIN}/x", 400))["code"] == "order-id-invalid"
    assert (await door.get(f"{PLAIN}/{NOTHING}", 404))["code"] == "order-unknown"
    payment = await door.post("/transfer?wait=final", {"from": 1, "to": 2, "amount": 1})
    assert (await door.get(f"{PLAIN}/{payment['tx_id']}", 404))["code"] == "order-unknown"


async def test_cancelling_all_of_a_side(door: Door, traders: tuple[Trader, Trader]) -> None:
    one, _ = traders
    for price in ("44000", "44001"):
        await one.place("buy", "1", price)
    await one.place("sell", "1", "46000")
    path = f"{PLAIN}?side=buy&symbol=BTC-USD&wait=final"
    assert (await answer(door, "DELETE", path, 200))["status"] == "cancelled"
    assert await book(door) == ([], [["46000", "1", 1]])
    assert len((await door.get(f"{PLAIN}?status=active"))["orders"]) == 1
    assert (await answer(door, "DELETE", f"{PLAIN}?side=up", 400))["code"] == "query-invalid"
    queued = await answer(door, "DELETE", PLAIN, 202)
    assert queued["status"] == "accepted"


async def test_amending(door: Door, traders: tuple[Trader, Trader]) -> None:
    one, _ = traders
    order = await one.place("buy", "2", "44000")
    path = f"{PLAIN}/{order['order_id']}"
    less = await answer(door, "PATCH", path + "?wait=final", 200, json={"quantity": "1.5"})
    assert less["status"] == "open"
    await answer(door, "PUT", path + "?wait=final", 200, json={"price": 44500})
    assert await book(door) == ([["44500", "1.5", 1]], [])
    changed = await door.get(path)
    assert (changed["quantity"], changed["price"]) == ("1.5", "44500")
    same = await answer(door, "PATCH", path + "?wait=final", 422, json={"price": "44500"})
    assert same["code"] == "amendment-empty"
    off = await answer(door, "PATCH", path, 422, json={"price": "44500.1"})
    assert off["code"] == "price-off-tick"
    assert (await one.balance())["USD"] == "933250"


async def test_a_stop_waits_out_of_sight(door: Door, traders: tuple[Trader, Trader]) -> None:
    one, two = traders
    stop = await two.place("sell", "1", type="stop_loss", stop_price="44000")
    assert stop["status"] == "untriggered"
    assert (stop["type"], stop["stop_price"], stop["price"]) == ("stop_loss", "44000", None)
    assert await book(door) == ([], [])
    await one.place("buy", "2", "44000")
    await two.place("sell", "0.5", "44000")
    order = await door.get(f"{PLAIN}/{stop['order_id']}")
    assert (order["status"], order["filled"]) == ("filled", "1")


async def test_pages_of_orders_do_not_overlap(door: Door, traders: tuple[Trader, Trader]) -> None:
    one, _ = traders
    placed = [await one.place("buy", "1", str(44_000 + step)) for step in range(5)]
    found: list[str] = []
    path = f"{PLAIN}?limit=2"
    cursor = ""
    while True:
        page = await door.get(path + cursor)
        found += [order["order_id"] for order in page["orders"]]
        if page["next_cursor"] is None:
            break
        cursor = f"&cursor={page['next_cursor']}"
    assert found == [order["order_id"] for order in placed[::-1]]
    filtered = await door.get(path + "&status=open&limit=2".replace("&limit=2", ""))
    assert filtered["count"] == 2


@pytest.mark.parametrize(
    "genesis_changes",
    [trading_changes(parameters=Parameters(min_block_interval_ms=3_600_000))],
)
async def test_what_waits_is_pending_and_cannot_be_cancelled_yet(door: Door) -> None:
    # The first block may come at once; what comes after it waits for an hour.
    first = await door.post(PLAIN, BID, 202)
    await door.node.wait_final(bytes.fromhex(first["order_id"]), 2_000)
    order = await door.post(PLAIN, BID, 202)
    assert order["status"] == "pending"
    path = f"{PLAIN}/{order['order_id']}"
    waiting = await door.get(path)
    assert waiting["status"] == "pending"
    assert [waiting[name] for name in ("timestamp", "height", "changed_ms")] == [None] * 3
    assert (await answer(door, "DELETE", path, 409))["code"] == "order-pending"


async def test_markets_and_the_digest_of_books(door: Door, traders: tuple[Trader, Trader]) -> None:
    before = await door.get("/api/v1/markets")
    assert [market["symbol"] for market in before["markets"]] == ["BTC/USD", "COIN/USD"]
    assert before["markets"][0] == {
        **before["markets"][0],
        "tick": "0.5",
        "lot": "0.001",
        "min_notional": "10",
        "maker_fee": "0.001",
        "taker_fee": "0.002",
        "price_band": "0.1",
        "reference_price": "45000",
        "last_price": None,
    }
    one, two = traders
    await one.place("buy", "1", "45000")
    await two.place("sell", "1", "45000")
    after = await door.get("/api/v1/markets")
    assert after["markets"][0]["last_price"] == "45000"
    assert after["books_digest"] != before["books_digest"]
    for path in ("orderbook", "trades", "candles", "ticker"):
        problem = await door.get(f"/api/v1/{path}/NO-USD", 404)
        assert problem["code"] == "market-unknown"
    height = after["height"]
    assert (await door.get(f"/api/v1/markets?height={height}"))["height"] == height
    ahead = await door.get(f"/api/v1/markets?height={height + 999}", 404)
    assert (ahead["code"], ahead["values"]["height"]) == ("height-not-final", height + 999)
    bad = await door.get("/api/v1/candles/BTC-USD?interval=2m", 400)
    assert bad["code"] == "query-invalid"


async def answer(door: Door, method: str, path: str, status: int, **more: Any) -> Any:
    """The JSON of a request, whose status must be this one."""
    async with door.session.request(method, path, **more) as response:
        found = await response.json(content_type=None)
        assert response.status == status, found
        return found
