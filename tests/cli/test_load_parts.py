"""The parts of `chaind load`: what is signed, when it is sent, what is heard, and the sums."""

import asyncio
import itertools
import json
import signal
import time
from collections import Counter
from pathlib import Path
from random import Random
from typing import Any

import aiohttp
import msgspec
import pytest
from aiohttp import web
from load_kit import (
    GENESIS,
    PAID,
    accept,
    free_port,
    make_load,
    make_plan,
    run_against,
    run_at,
    serving,
)

from chaind.cli import load_drive
from chaind.cli.load_drive import read_refusals
from chaind.cli.load_orders import INLINE_MAX, Batch, Orders, Stock
from chaind.cli.load_tally import PERCENTILES, percentiles
from chaind.cli.load_watch import Watch
from chaind.cli.status import NodeSilent
from chaind.ledger.checks import check_transaction, verify_signatures
from chaind.primitives.genesis import Genesis
from chaind.primitives.keys import SecretKey
from chaind.primitives.transaction import CoinInput, Transaction

PATIENCE_S = 30.0


# What is sent.


def decoded(batch: Batch) -> list[Transaction]:
    count = len(batch).to_bytes(4, "big")
    return [
        Transaction.decode(raw)
        for raw in msgspec.msgpack.decode(b"\xdd" + count + batch.body, type=list[bytes])
    ]


@pytest.mark.parametrize("genesis", [GENESIS, PAID], ids=["free", "with fees"])
def test_every_transfer_is_valid_and_paid_for_by_the_funding(genesis: Genesis) -> None:
    orders = Orders(make_plan(genesis_json=genesis.to_json()))
    coins = list(orders.coin_outputs())
    split = orders.funding(SecretKey(b"\1" * 32), coins, 0)
    orders.splits = [split.txid]
    balances = {output.address: output.amount for output in orders.account_outputs()}
    spent: Counter[int] = Counter()
    prefix = genesis.chain_prefix
    check_transaction(split, genesis.parameters, prefix)
    salts = set()
    for number in range(orders.plan.batches):
        batch = orders.batch(number)
        transfers = decoded(batch)
        assert batch.ids() == [each.txid for each in transfers]
        for transfer in transfers:
            checked = check_transaction(transfer, genesis.parameters, prefix)
            verify_signatures(checked)
            salts.add(transfer.body.salt)
            for entry in transfer.body.inputs:
                if isinstance(entry, CoinInput):
                    assert entry.txid == split.txid
                    spent[entry.index] += 1
                    fee = coins[entry.index].amount - sum(o.amount for o in transfer.body.outputs)
                    assert fee >= transfer.size * genesis.parameters.min_fee_per_byte
                else:
                    balances[entry.address] -= entry.amount
    assert spent == Counter(range(30)), "every coin once"
    assert len(salts) == 100
    assert min(balances.values()) >= 0


def test_the_seed_picks_accounts_and_payees(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(time, "time_ns", lambda: 1_700_000_000_000_000_000)
    plan = make_plan(coin_share=0.0)
    assert Orders(plan).batch(3) == Orders(plan).batch(3)
    assert Orders(plan).batch(3) != Orders(plan._replace(seed=4)).batch(3)


async def take_all(stock: Stock) -> list[Batch]:
    found = []
    while (batch := await stock.take()) is not None:
        found.append(batch)
    return found


@pytest.mark.parametrize("total", [60, INLINE_MAX + 3], ids=["on the spot", "by processes"])
async def test_stock_gives_every_batch_once_in_order(
    total: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    plan = make_plan(total=total, coin_share=0.0, batch_size=50)
    stock = Stock(Orders(plan), ahead=4)
    signed: list[float] = []
    try:
        await stock.fill(signed.append)
        batches = await take_all(stock)
    finally:
        stock.close()
    assert signed[-1:] == ([1.0] if total > INLINE_MAX else []), "who waits is told how long"
    salts = [each.body.salt for batch in batches for each in decoded(batch)]
    assert salts == [index.to_bytes(8, "big") for index in range(total)]


def blocked_signals(pid: int) -> int:
    """A bit for each, from proc(5)."""
    status = Path(f"/proc/{pid}/status").read_text()
    return int(status.partition("SigBlk:")[2].split()[0], 16)


async def test_ctrl_c_is_not_for_the_processes_that_sign() -> None:
    """A terminal sends it to all; each of them would print a traceback."""
    stock = Stock(Orders(make_plan(total=INLINE_MAX + 1, coin_share=0.0)), ahead=1)
    try:
        await stock.fill()
        assert stock._pool is not None
        for pid in stock._pool._processes:
            assert blocked_signals(pid) & 1 << signal.SIGINT - 1
    finally:
        stock.close()
    assert signal.SIGINT not in signal.pthread_sigmask(signal.SIG_BLOCK, ())


# When it is sent, and what is answered.


async def test_open_loop_sends_when_due_and_counts_lateness_as_latency() -> None:
    hold_s, arrived = 0.12, []

    async def slow(request: web.Request) -> web.Response:
        arrived.append(time.monotonic())
        await asyncio.sleep(hold_s)
        return await accept(request)

    base = {"rate": 50.0, "count": 12, "wait_final": False}
    free = await run_against(slow, make_load(**base, connections=12))
    gaps = [later - sooner for sooner, later in itertools.pairwise(arrived)]
    assert sum(gaps) / len(gaps) == pytest.approx(1 / 50, rel=0.5), "answers are not awaited"
    assert free.behind_ms_max < 1000 * hold_s

    tight = await run_against(slow, make_load(**base, connections=1))
    late_ms = 11 * (hold_s - 1 / 50) * 1000  # the last one waits for eleven before it
    assert tight.behind_ms_end == pytest.approx(late_ms, rel=0.5)
    assert max(latency for latency, _ in tight.accepted_ms) >= late_ms + 1000 * hold_s - 50


async def test_duration_ends_a_run_that_has_more_to_send() -> None:
    load = make_load(rate=100.0, count=None, duration_s=0.3, wait_final=False, connections=8)
    tally = await run_against(accept, load)
    assert tally.sent == tally.accepted == 30


async def test_refusals_are_counted_by_code_and_so_is_silence() -> None:
    codes = iter(["rate-limited", "pool-full", "rate-limited"])

    async def refuse(request: web.Request) -> web.Response:
        code = next(codes, None)
        if code is None:
            return await accept(request)
        problem = {"code": code, "status": 429, "title": "", "detail": ""}
        return web.json_response(problem, status=429, content_type="application/problem+json")

    load = make_load(wait_final=False)
    tally = await run_against(refuse, load)
    assert tally.refused == {"rate-limited": 2, "pool-full": 1}
    assert (tally.sent, tally.accepted) == (10, 7)

    silent = await run_at(f"http://127.0.0.1:{free_port()}", load)
    assert silent.refused == {"no-answer": 10}
    assert silent.accepted == 0


def test_batch_answers_are_read_in_every_form() -> None:
    accepted = {"tx_id": "00", "status": "accepted"}
    refused = {"tx_id": None, "status": "refused", "problem": {"code": "fee-too-low", "title": ""}}
    results = [accepted, refused, accepted, refused]
    stream = b"".join(map(msgspec.msgpack.encode, results))
    assert read_refusals(stream, "application/msgpack", 4) == {"fee-too-low": 2}
    array = msgspec.json.encode({"results": results, "accepted": 2, "refused": 2})
    assert read_refusals(array, "application/json", 4) == {"fee-too-low": 2}
    problem = msgspec.json.encode({"code": "body-too-large", "status": 413})
    assert read_refusals(problem, "application/problem+json", 4) == {"body-too-large": 4}
    assert read_refusals(stream[:-3], "application/msgpack", 4) == {"answer-unreadable": 4}
    assert read_refusals(b"<html>", "text/html", 4) == {"answer-unreadable": 4}


# What is heard.


class Heard:
    """A listener that writes down."""

    def __init__(self) -> None:
        self.blocks: list[int] = []
        self.ends: list[str] = []
        self.told = asyncio.Event()

    def block(self, count: int, txids: list[bytes], at_s: float) -> None:
        self.blocks.append(count)
        self.told.set()

    def ended(self, begun_s: float, status: str, at_s: float) -> None:
        self.ends.append(status)
        self.told.set()


async def test_a_gap_in_the_blocks_is_asked_for_again_and_no_block_counts_twice() -> None:
    commands_heard: list[Any] = []

    async def node(request: web.Request) -> web.WebSocketResponse:
        ws = web.WebSocketResponse()
        await ws.prepare(request)
        async for message in ws:
            command = json.loads(message.data)
            commands_heard.append(command)
            start = command["from_height"]
            for height in range(max(1, start - 1), start + 2):  # one that was told before
                data = {"height": height, "transaction_count": height, "tx_ids": []}
                await ws.send_json({"type": "block", "channel": "blocks", "seq": 1, "data": data})
            if len(commands_heard) == 1:
                gap = {"type": "gap", "channel": "blocks", "seq": 9, "data": {"from_seq": 3}}
                await ws.send_json(gap)
            else:
                await ws.close()
        return ws

    heard = Heard()
    async with serving({("GET", "/ws"): node}) as url, aiohttp.ClientSession() as session:
        watch = await Watch.connect(session, url, heard, time.monotonic)
        await watch.follow_blocks(10)
        with pytest.raises(NodeSilent, match="closed the WebSocket"):
            await asyncio.wait_for(watch.run(), PATIENCE_S)
    assert [command["from_height"] for command in commands_heard] == [11, 13]
    assert heard.blocks == [11, 12, 13, 14]


async def test_accepted_transfers_that_never_end_are_said_to_be_unfinished(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async def node(request: web.Request) -> web.WebSocketResponse:
        ws = web.WebSocketResponse()
        await ws.prepare(request)
        async for _ in ws:
            pass
        return ws

    monkeypatch.setattr(load_drive, "FINAL_S_MAX", 0.2)
    handlers = {("GET", "/ws"): node, ("POST", "/api/v1/transactions"): accept}
    async with serving(handlers) as url:
        tally = await run_at(url, make_load(count=5))
    assert (tally.accepted, tally.final) == (5, 0)


# Sums.


def test_percentiles_are_nearest_ranks_of_all_weighted_samples() -> None:
    rng = Random(7)
    for size in (1, 2, 99, 100, 101, 1000):
        samples = [(float(rng.randrange(500)), rng.randrange(1, 5)) for _ in range(size)]
        flat = sorted(value for value, weight in samples for _ in range(weight))
        found = percentiles(samples)
        for percent in PERCENTILES:
            rank = -(-len(flat) * percent // 100)
            assert found[f"p{percent}"] == flat[rank - 1]
        assert (found["max"], found["count"]) == (flat[-1], len(flat))
    assert percentiles([]) == {}
