"""getblocktemplate and submitblock through a real node, by a miner written from the protocol."""

import asyncio
import json
from typing import Any

import pytest
from api_kit import ALICE, BOB, Door, free_port
from gbt_kit import GbtMiner, basic, own_coinbase, solve, twice
from test_mining import EASY, on_mined_chain

from chaind.api.rpc_errors import RpcCode
from chaind.node import gbt
from chaind.node.gbt import Gbt, dependencies
from chaind.primitives.amounts import UNIT
from chaind.primitives.coinbase import TAG, parse_coinbase
from chaind.primitives.orders import CreateMarket, Kind, Market, PlaceOrder, Side, Terms
from chaind.primitives.transaction import VERSION, Action, Body, Issue, Transaction

BLOCKS = 20
STRATUM_PORT = free_port()


def miner(door: Door, name: str | None = None) -> GbtMiner:
    return GbtMiner.by_cookie(door.session, door.home / "rpc.cookie", name)


async def script_of(door: Door) -> str:
    told = await miner(door).call("validateaddress", door.show(BOB))
    return str(told["scriptPubKey"])


def gbt_of(door: Door) -> Gbt:
    assert door.node.gbt is not None
    return door.node.gbt


async def pay(door: Door, units: int = 1) -> str:
    body = {"from": "alice", "to": "bob", "amount": str(units)}
    return str((await door.post("/transfer", body, 202))["tx_id"])


@on_mined_chain
async def test_blocks_are_mined_with_coinbases_of_both_kinds(door: Door) -> None:
    paid, own = miner(door, f"{door.show(BOB)}.rig"), miner(door)
    script = await script_of(door)
    for height in range(1, BLOCKS + 1):
        client = paid if height % 2 else own
        txid = await pay(door, height)
        gbt_of(door)._look_ms = 0.0
        template = await client.template()
        assert template["height"] == height
        assert ("coinbasetxn" in template) is (client is paid)
        assert len(template["transactions"]) == 2
        assert await client.mine(template, script) is None
        assert await client.call("getblockcount") == height
        assert (await door.get(f"/transaction/{txid}"))["status"] in ("included", "final")
    assert gbt_of(door).blocks_total == BLOCKS
    async with door.session.get("/metrics") as response:
        assert f"chaind_mining_submitted_blocks_total {BLOCKS}.0" in await response.text()
    mined = await door.get("/api/v1/mining/attribution?who=bob")
    assert mined["miners"][0]["blocks"] == BLOCKS


@on_mined_chain
@pytest.mark.parametrize("miner_settings", [{"stratum_port": STRATUM_PORT}])
async def test_a_template_has_what_clients_rely_on(door: Door) -> None:
    await pay(door)
    client = miner(door, "bob")
    template = await client.template(rules=["segwit"])
    assert client.headers["X-Stratum"] == f"stratum+tcp://127.0.0.1:{STRATUM_PORT}"
    genesis = door.node.genesis
    fixed = {
        "capabilities": ["longpoll", "workid"],
        "version": 0x20000000,
        "rules": [],
        "mutable": ["time", "transactions", "coinbase/append", "submit/coinbase"],
        "previousblockhash": genesis.hash[::-1].hex(),
        "coinbaseaux": {},
        "bits": f"{EASY:08x}",
        "target": f"{0x7FFFFF << 232:064x}",
        "noncerange": "00000000ffffffff",
        "height": 1,
        "expires": 60,
    }
    assert fixed.items() <= template.items()
    assert template["mintime"] <= template["curtime"]
    commitment, payment = template["transactions"]
    leaf = twice(bytes.fromhex(commitment["data"]))[::-1].hex()
    assert (commitment["txid"], commitment["hash"], commitment["required"]) == (leaf, leaf, True)
    assert (payment["depends"], payment["sigops"], payment["required"]) == ([], 0, False)
    transaction = Transaction.decode(bytes.fromhex(payment["data"]))
    assert payment["txid"] == payment["hash"] == transaction.wtxid[::-1].hex()
    coinbase = parse_coinbase(bytes.fromhex(template["coinbasetxn"]["data"]))
    reward = 50 * 10**8 + payment["fee"]
    assert template["coinbasevalue"] == reward == sum(out.amount for out in coinbase.outputs)
    again = await client.template()
    assert again["workid"] == template["workid"]
    assert again["coinbasetxn"] != template["coinbasetxn"]
    own = await miner(door).template()
    assert "coinbasetxn" not in own
    assert bytes.fromhex(own["coinbaseaux"]["flags"]).startswith(TAG)
    assert own["coinbaseaux"] != (await miner(door).template())["coinbaseaux"]


@on_mined_chain
async def test_a_coinbase_alone_is_enough_and_transactions_may_be_left_out(door: Door) -> None:
    await pay(door)
    client, script = miner(door), await script_of(door)
    template = await client.template()
    data = [one["data"] for one in template["transactions"]]
    coinbase = own_coinbase(template, script, b"mine")
    whole = solve(template, coinbase, data)
    short = whole[: 2 * (80 + 1 + len(coinbase))]
    assert await client.call("submitblock", short, {"workid": "ffff"}) == "unknown-work"
    assert await client.call("submitblock", short) == "unknown-work"
    assert await client.call("submitblock", short, {"workid": template["workid"]}) is None
    await pay(door, 2)
    template = await client.template()
    assert len(template["transactions"]) == 2
    fees = template["transactions"][1]["fee"]
    template["coinbasevalue"] -= fees
    del template["transactions"][1]
    assert await client.mine(template, script) is None
    assert await client.call("getblockcount") == 2


@on_mined_chain
async def test_blocks_are_refused_in_the_words_of_bip22(door: Door) -> None:
    client, script = miner(door), await script_of(door)
    await pay(door)
    template = await client.template()
    cases: list[tuple[str, dict[str, Any]]] = [
        ("high-hash", {"done": False}),
        ("time-too-old", {"time": 1}),
        ("time-too-new", {"time": template["curtime"] + 100_000}),
        ("bad-diffbits", {"bits": "207ffffe"}),
        ("bad-prevblk", {"parent": "00" * 31 + "05"}),
        ("rejected", {"version": 1}),
    ]
    for reason, fields in cases:
        assert await client.mine(template, script, **fields) == reason
    data = [one["data"] for one in template["transactions"]]
    coinbase = own_coinbase(template, script)
    whole = bytes.fromhex(solve(template, coinbase, data))
    other = own_coinbase(template, script, b"other")
    wrong = whole[:81] + other + b"".join(map(bytes.fromhex, data))
    assert await client.call("submitblock", wrong.hex()) == "bad-txnmrklroot"
    greedy = {**template, "coinbasevalue": template["coinbasevalue"] + 1}
    assert await client.mine(greedy, script) == "rejected"
    twofold = [*data, data[-1]]
    assert await client.call("submitblock", solve(template, coinbase, twofold)) in (
        "bad-txns",
        "bad-txnmrklroot",
    )
    for text in ("", "zz", "00", whole.hex()[:-2], whole.hex() + "00", whole.hex() + "c1"):
        code, _ = await client.call("submitblock", text)
        assert code == RpcCode.DESERIALIZATION, text
    late = solve(template, own_coinbase(template, script, b"late"), data)
    assert await client.call("submitblock", whole.hex()) is None
    assert await client.call("submitblock", whole.hex()) == "duplicate"
    assert await client.call("submitblock", late) == "stale-prevblk"
    stale = {"workid": template["workid"]}
    bare = late[: 2 * (81 + len(other) - len("other") + len("late"))]
    assert await client.call("submitblock", bare, stale) == "stale-prevblk"
    assert await client.call("getblockcount") == 1
    for _ in range(4):  # final ones are known, too
        assert await client.mine(await client.template(), script) is None
    await door.get("/api/v1/blocks/1")
    assert await client.call("submitblock", whole.hex()) == "duplicate"


@on_mined_chain
async def test_without_work_nothing_is_decoded(door: Door, monkeypatch: pytest.MonkeyPatch) -> None:
    client, script = miner(door), await script_of(door)
    await pay(door)
    template = await client.template()
    late = {**template, "curtime": template["curtime"] + 1}
    assert await client.mine(template, script) is None

    def decode(_raw: bytes) -> Transaction:
        raise AssertionError

    monkeypatch.setattr(Transaction, "decode", decode)
    assert await client.mine(late, script) == "stale-prevblk"
    template = await client.template()
    template["transactions"].append({"data": "c0"})
    assert await client.mine(template, script, done=False) == "high-hash"
    assert await client.mine(template, script, bits="207ffffe") == "bad-diffbits"


@on_mined_chain
async def test_a_transaction_that_was_tampered_with_spoils_its_block(door: Door) -> None:
    client, script = miner(door), await script_of(door)
    await pay(door)
    template = await client.template()
    data = [one["data"] for one in template["transactions"]]
    spoilt = bytearray.fromhex(data[1])
    spoilt[-1] ^= 1  # of the signature
    block = solve(template, own_coinbase(template, script), [data[0], spoilt.hex()])
    assert await client.call("submitblock", block) == "bad-txns"
    assert await client.call("submitblock", block) == "duplicate-invalid"
    assert await client.call("getblockcount") == 0
    assert await client.mine(await client.template(), script) is None


@on_mined_chain
async def test_a_block_whose_time_has_yet_to_come_is_held_until_then(door: Door) -> None:
    client, script = miner(door), await script_of(door)
    template = await client.template()
    ahead_s = door.node.genesis.proof_of_work.rules.max_future_ms // 1000
    begun_ms = door.node.clock.now_ms()
    time = begun_ms // 1000 + ahead_s + 1  # too new now
    assert await client.mine(template, script, time=time) is None
    assert door.node.chain.head.height == 1
    assert door.node.clock.now_ms() >= 1000 * (time - ahead_s + 1), "peers' clocks may be behind"


@on_mined_chain
async def test_longpoll_is_held_until_the_tip_changes(door: Door) -> None:
    client, script = miner(door), await script_of(door)
    template = await client.template()
    news = asyncio.create_task(client.template(longpollid=template["longpollid"]))
    await until(lambda: gbt_of(door)._waiting)
    assert await client.mine(template, script) is None
    fresh = await news
    assert fresh["height"] == 2
    assert gbt_of(door)._waiting == {}
    assert (await client.template(longpollid="an older one"))["height"] == 2


@on_mined_chain
async def test_longpoll_is_held_until_there_are_fees(door: Door) -> None:
    client = miner(door)
    gbt_of(door)._refresh_s = 0.02
    template = await client.template()
    news = asyncio.create_task(client.template(longpollid=template["longpollid"]))
    await until(lambda: gbt_of(door)._waiting)
    await pay(door)
    fresh = await news
    assert len(fresh["transactions"]) == 2
    assert fresh["previousblockhash"] == template["previousblockhash"]


@on_mined_chain
async def test_longpoll_is_bounded_in_time_and_number(
    door: Door, monkeypatch: pytest.MonkeyPatch
) -> None:
    client = miner(door)
    template = await client.template()
    monkeypatch.setattr(gbt, "CLIENT_LONGPOLLS_MAX", 1)
    news = asyncio.create_task(client.template(longpollid=template["longpollid"]))
    await until(lambda: gbt_of(door)._waiting)
    asked = {"longpollid": template["longpollid"]}
    code, text = await client.call("getblocktemplate", asked)
    assert (code, "from this address" in text) == (RpcCode.MISC, True)
    monkeypatch.setattr(gbt, "LONGPOLLS_MAX", 1)
    code, text = await client.call("getblocktemplate", asked)
    assert (code, "from this address" in text) == (RpcCode.MISC, False)
    gbt_of(door).let_go()
    with pytest.raises(AssertionError, match="the node is stopping"):
        await news
    monkeypatch.setattr(gbt, "LONGPOLL_S_MAX", 0.0)
    assert (await client.template(**asked))["workid"] == template["workid"]
    gbt_of(door).close()
    code, text = await client.call("getblocktemplate", asked)
    assert (code, "stopping" in text) == (RpcCode.MISC, True)


async def until(holds: Any) -> None:
    async with asyncio.timeout(20):
        while not holds():  # noqa: ASYNC110 - no event tells
            await asyncio.sleep(0.005)


@on_mined_chain
async def test_no_work_is_given_out_on_a_chain_that_may_not_be_the_best(door: Door) -> None:
    client, desk = miner(door), gbt_of(door)
    desk._standing._alone = False
    code, text = await client.call("getblocktemplate")
    assert (code, "no peers" in text) == (RpcCode.NOT_CONNECTED, True)
    desk._standing._alone = True
    desk._standing.may_mine = lambda: False  # type: ignore[method-assign]
    code, text = await client.call("getblocktemplate")
    assert (code, "best chain" in text) == (RpcCode.IN_INITIAL_DOWNLOAD, True)


@on_mined_chain
async def test_what_else_miners_ask(door: Door) -> None:
    client = miner(door)
    assert await client.call("getbestblockhash") == door.node.genesis.hash[::-1].hex()
    assert await client.call("getblockcount") == 0
    told = await client.call("getmininginfo")
    assert (told["blocks"], told["pooledtx"], told["chain"]) == (0, 0, "test")
    assert told["bits"] == f"{EASY:08x}"
    told = await client.call("validateaddress", door.show(ALICE))
    assert (told["isvalid"], told["address"]) == (True, door.show(ALICE))
    assert told["scriptPubKey"].startswith("76a914")
    assert (await client.call("validateaddress", "1BvBMSEYstWetqTFn5Au4m4GFg7xJaNVN2"))[
        "isvalid"
    ] is False


@on_mined_chain
async def test_errors_are_those_of_json_rpc(door: Door) -> None:
    client = miner(door)
    cases: list[tuple[str, list[Any], RpcCode]] = [
        ("getwork", [], RpcCode.METHOD_NOT_FOUND),
        ("getblocktemplate", [{"mode": "proposal"}], RpcCode.INVALID_PARAMETER),
        ("getblocktemplate", ["x"], RpcCode.TYPE_ERROR),
        ("getblocktemplate", [{"longpollid": 5}], RpcCode.TYPE_ERROR),
        ("submitblock", [], RpcCode.TYPE_ERROR),
        ("submitblock", ["00", {"workid": 5}], RpcCode.TYPE_ERROR),
        ("validateaddress", [], RpcCode.TYPE_ERROR),
    ]
    for method, params, code in cases:
        assert (await client.call(method, *params))[0] == code, method
    code, _ = await miner(door, "nobody.at.all").call("getblocktemplate")
    assert code == RpcCode.INVALID_ADDRESS
    single = {"method": "getblockcount", "id": 1}
    bodies = [
        (b"{", RpcCode.PARSE_ERROR),
        (b"5", RpcCode.INVALID_REQUEST),
        (b"{}", RpcCode.INVALID_REQUEST),
        (json.dumps([single, single]).encode(), RpcCode.INVALID_REQUEST),
        (json.dumps({**single, "params": "x"}).encode(), RpcCode.INVALID_REQUEST),
    ]
    headers = {"Content-Type": "application/json", **client.auth}
    for body, code in bodies:
        async with door.session.post("/rpc", data=body, headers=headers) as told:
            assert told.status == 400
            answer = await told.json()
        assert (answer["result"], answer["error"]["code"], answer["id"]) == (None, code, None)


@on_mined_chain
async def test_version_2_has_a_result_or_an_error(door: Door) -> None:
    """JSON-RPC 2.0, 5: the other member must not exist."""
    client = miner(door)

    async def ask(**more: Any) -> Any:
        return await door.post("/", {"method": "getblockcount", **more}, headers=client.auth)

    old = {"result": 0, "error": None, "id": None}
    assert await ask() == await ask(jsonrpc="1.0") == await ask(jsonrpc=None) == old
    assert await ask(jsonrpc="2.0", id="a") == {"jsonrpc": "2.0", "result": 0, "id": "a"}
    told = await ask(jsonrpc="2.0", method="no", id=7)
    assert set(told) == {"jsonrpc", "error", "id"}
    assert (told["error"]["code"], told["id"]) == (RpcCode.METHOD_NOT_FOUND, 7)


@on_mined_chain
async def test_who_has_no_secret_gets_no_work(door: Door) -> None:
    cookie = door.home / "rpc.cookie"
    assert cookie.stat().st_mode & 0o777 == 0o600
    name, secret = cookie.read_text().strip().split(":")
    body = {"method": "getblockcount"}
    wrong = ["", f"Bearer {secret}", "Basic", "Basic ====", "Basic éé", f"Basic {'A' * 5_000}"]
    wrong += [basic("\x1b[2J", secret), basic("n" * 257, secret)]
    wrong += [basic(name, text) for text in ("", secret[:-1], secret + "0")]
    wrong += [basic(text, secret) for text in ("a\x1b[31m", "a\nb", "a" * 257)]
    for text in wrong:
        async with door.session.post("/", json=body, headers={"Authorization": text}) as told:
            assert told.status == 401
            assert told.headers["WWW-Authenticate"] == 'Basic realm="jsonrpc"'
    headers = {"Authorization": basic(name, secret)}
    origin = {"Origin": "https://evil.example"}
    await door.post("/", body, 403, headers={**headers, **origin})
    png = {"Content-Type": "image/png"}
    async with door.session.post("/", data="x", headers={**headers, **png}) as told:
        assert told.status == 415
    await door.server.stop()
    assert not cookie.exists()


@on_mined_chain
@pytest.mark.parametrize("media", ["text/plain;", "application/x-www-form-urlencoded"])
async def test_the_body_may_have_the_names_of_bitcoinds_curl(door: Door, media: str) -> None:
    """bitcoin-cli help: curl --user … --data-binary '{…}' -H 'content-type: text/plain;'."""
    body = b'{"jsonrpc": "1.0", "id": "curltest", "method": "getblockcount", "params": []}'
    named = {"Content-Type": media}
    auth = miner(door).auth
    for path in ("/", "/rpc"):
        async with door.session.post(path, data=body, headers={**named, **auth}) as told:
            assert (told.status, (await told.json())["result"]) == (200, 0)
        async with door.session.post(path, data=body, headers=named) as told:
            assert told.status == 401
        pages = [{"Origin": "https://evil.example"}, {"Origin": "null"}, {"Host": "evil.example"}]
        for page in [*pages, {"Sec-Fetch-Site": "cross-site"}]:
            headers = {**named, **auth, **page}
            async with door.session.post(path, data=body, headers=headers) as told:
                assert told.status == 403


@on_mined_chain
@pytest.mark.parametrize("miner_settings", [{"rpc_self_paid": ("rig",)}])
async def test_names_that_pay_themselves_are_configured(door: Door) -> None:
    assert "coinbasetxn" not in await miner(door, "rig").template()


async def test_a_chain_of_validators_says_so(door: Door) -> None:
    problem = await door.post("/", {"method": "getblocktemplate"}, 409)
    assert problem["code"] == "not-mined"
    assert gbt_is_absent(door)


def gbt_is_absent(door: Door) -> bool:
    return door.node.gbt is None and not (door.home / "rpc.cookie").exists()


async def test_what_a_transaction_cannot_do_without_is_named(door: Door) -> None:
    first, other = door.payment(1, number=1), door.payment(1, number=2, source=BOB, target=ALICE)
    assert dependencies((first, other)) == [[], [0]]
    assert dependencies((other, first)) == [[], [0]]


def test_what_makes_an_asset_or_a_market_comes_before_what_uses_it() -> None:
    issuer, opener, trader = (bytes([number]) * 20 for number in (1, 2, 3))
    market = Market("NEW/COIN", "NEW", "COIN", tick_units=1, lot_units=UNIT, reference_ticks=5)
    terms = Terms("NEW/COIN", Side.BUY, Kind.LIMIT, lots=1, ticks=5)
    actions: tuple[Action, ...] = (
        Issue("OLD", issuer, 1, mintable=False),
        Issue("NEW", issuer, 1, mintable=False),
        CreateMarket(opener, market),
        PlaceOrder(trader, terms),
        PlaceOrder(issuer, Terms("OLD/COIN", Side.SELL, Kind.LIMIT, lots=1, ticks=5)),
    )
    made = tuple(
        Transaction(Body(VERSION, b"", b"", None, None, (), (), action, b""), ())
        for action in actions
    )
    assert dependencies(made) == [[], [0], [1], [2], [1]]
