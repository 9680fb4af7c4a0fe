"""The explorer: search, block, transaction and address agree with another node, to the unit."""

import asyncio
import json
import time
from urllib.parse import quote

import pytest
from dashboard_kit import Dashboard
from local_network import LocalNetwork

from chaind.primitives.address import key_address, policy_address
from chaind.primitives.codec import encode
from chaind.primitives.policy import format_policy, parse_policy
from chaind.primitives.transaction import (
    NATIVE,
    VERSION,
    AccountInput,
    AccountOutput,
    Body,
    CoinOutput,
    PolicyWitness,
    Transaction,
)
from chaind.wallet.derivation import development_key

pytestmark = pytest.mark.asyncio(loop_scope="session")

EVIL = '<img src=x onerror="document.title=1">&amp;"\''


async def search(dashboard: Dashboard, words: str) -> None:
    """As a person does: the slash key, the words, Enter."""
    await dashboard.page.evaluate("document.activeElement.blur()")
    await dashboard.page.press("/", text="/")
    await dashboard.page.until("document.activeElement.id === 'search-text'")
    await dashboard.page.send("Input.insertText", text=words)
    await dashboard.page.press("Enter", text="\r")


async def test_one_search_leads_everywhere(dashboard: Dashboard) -> None:
    paid = await dashboard.pay(memo="found by search")
    block = await dashboard.ask(f"/block/{paid['height']}")
    bob = (await dashboard.ask("/balance/bob"))["address"]
    await dashboard.open()
    for words, heading in (
        (str(block["height"]), f"Block {block['height']}"),
        (block["hash"], f"Block {block['height']}"),
        (paid["tx_id"], f"{paid['tx_id'][:10]}…{paid['tx_id'][-10:]}"),
        ("bob", "bob"),
        (bob, "bob"),
        ((await dashboard.ask("/api/v1/validators"))["validators"][2]["name"], None),
    ):
        await dashboard.go("explorer")
        await dashboard.page.until("document.querySelector('h1').innerText === 'Explorer'")
        await search(dashboard, words)
        await dashboard.page.until(
            f"document.querySelector('h1').innerText === {json.dumps(heading or words)}"
        )


async def test_what_is_not_found_is_said_with_what_to_do(dashboard: Dashboard) -> None:
    await dashboard.open()
    await search(dashboard, "nobody in particular")
    await dashboard.shows("Nothing on this chain is called nobody in particular.")
    height = (await dashboard.ask("/status"))["height"]
    words = await dashboard.page.text(".refusal")
    assert int(words.partition("Blocks go up to ")[2].split(".")[0]) <= height + 50
    await dashboard.go("block/999999999")
    await dashboard.shows("There is no final block 999999999")
    await dashboard.shows("The newest block is")
    await dashboard.go(f"tx/{'00' * 32}")
    await dashboard.shows("is known here")
    await dashboard.go("nowhere")
    await dashboard.shows("This page has no such view")
    dashboard.page.forgive("404 (Not Found)")


async def test_a_block_says_who_vouches_for_it(dashboard: Dashboard) -> None:
    paid = await dashboard.pay()
    block = await dashboard.ask(f"/block/{paid['height']}")
    await dashboard.open(f"block/{paid['height']}")
    await dashboard.shows("What makes it final")
    short = f"{block['hash'][:10]}…{block['hash'][-10:]}"
    assert (await dashboard.fact("Hash")) == short
    assert (await dashboard.fact("View")).replace(",", "") == str(block["view"])
    # This node's own certificate may be another one, of as many or more signers as a quorum.
    proof = (await asyncio.to_thread(dashboard.node.get, f"/block/{paid['height']}"))["certificate"]
    assert f"{len(proof['signers'])} of 4 signatures" in await dashboard.page.text("main")
    signed = await dashboard.page.evaluate("document.querySelectorAll('.signer:not(.away)').length")
    assert signed == len(proof["signers"]) >= 3
    rows = await dashboard.rows("main")
    assert f"{paid['tx_id'][:8]}…{paid['tx_id'][-8:]}" in [row[0] for row in rows]
    # Walk to the block before and back.
    await dashboard.page.click("a[rel=prev]")
    await dashboard.shows(f"Block {paid['height'] - 1}")
    await dashboard.page.click("a[rel=next]")
    await dashboard.shows(f"Block {paid['height']}")
    await dashboard.go("block/0")
    await dashboard.shows("its genesis file is the proof")


async def test_a_transaction_shows_its_way_and_text_stays_text(dashboard: Dashboard) -> None:
    paid = await dashboard.pay(memo=EVIL, amount="12.00000001")
    await dashboard.open(f"tx/{paid['tx_id']}")
    await dashboard.page.until("document.querySelector('.way')?.dataset.status === 'final'")
    steps = await dashboard.page.evaluate(
        "[...document.querySelectorAll('.way li')].map((each) => each.className)"
    )
    assert steps == ["done", "done", "done"]
    assert await dashboard.fact("Memo") == EVIL
    assert not await dashboard.page.evaluate("document.querySelector('main img')")
    assert await dashboard.page.evaluate("document.title") != "1"
    assert (await dashboard.rows(".flow > :first-child"))[0] == ["alice", "12.00000001 COIN"]
    assert (await dashboard.rows(".flow > :last-child"))[0] == ["bob", "12.00000001 COIN"]
    place = await dashboard.fact("Place")
    assert place == f"number {paid['place']} of block {paid['height']}"
    key = paid["transaction"]["witnesses"][0]["public_key"]
    assert f"{key[:10]}…{key[-10:]}" in await dashboard.page.text("main")


async def test_a_payment_and_its_refund_lead_to_each_other(dashboard: Dashboard) -> None:
    paid = await dashboard.pay(to="judy", amount="5")
    status, answer, _ = await asyncio.to_thread(
        dashboard.other.post,
        "/api/v1/refunds?wait=final",
        {"payment": paid["tx_id"], "amount": "2"},
        {"Idempotency-Key": f"back {paid['tx_id']}"},
    )
    assert status == 200, answer
    back = await dashboard.transaction(answer["tx_id"])
    await dashboard.open(f"tx/{paid['tx_id']}")
    assert await dashboard.fact("Given back") == f"{back['tx_id'][:5]}…{back['tx_id'][-5:]}"
    await dashboard.go(f"tx/{back['tx_id']}")
    fact = await dashboard.fact("Gives back")
    assert fact == f"some of {paid['tx_id'][:8]}…{paid['tx_id'][-8:]}"


async def test_an_address_agrees_to_the_unit(dashboard: Dashboard) -> None:
    await dashboard.pay(to="erin", amount="3.5", memo="first")
    last = await dashboard.pay(**{"from": "erin"}, to="frank", amount="1.25")
    holds = await dashboard.ask("/balance/erin")
    statement = await dashboard.ask("/api/v1/accounts/erin/statement")
    await dashboard.open("address/erin")
    whole, _, fraction = holds["balance"].partition(".")
    units = str(int(whole + fraction.ljust(8, "0")))
    await dashboard.page.until(f"document.querySelector('.balance')?.dataset.units === '{units}'")
    await dashboard.page.until("document.querySelector('.statement tbody')")
    rows = await dashboard.rows(".statement")
    assert len(rows) == len(statement["entries"]) + 1
    for row, entry in zip(rows, reversed(statement["entries"]), strict=False):
        assert row[0] == str(entry["height"])
        assert row[5].replace(",", "").lstrip("+") == entry["change"]
        assert row[6].replace(",", "") == entry["balance"]
    assert rows[-1][6].replace(",", "") == statement["opening_balance"]
    assert rows[0][2] == f"{last['tx_id'][:6]}…{last['tx_id'][-6:]}"
    # It changes by itself.
    await dashboard.pay(to="erin", amount="0.00000001")
    await dashboard.page.until(
        f"document.querySelector('.balance').dataset.units === '{int(units) + 1}'"
    )


async def test_a_policy_is_read_out_once_it_was_spent_from(
    dashboard: Dashboard, network: LocalNetwork
) -> None:
    genesis, key = network.genesis, development_key(4)
    text = f"or(pk({key.public.hex()}),and(sha256({'ab' * 32}),after(1800000000000)))"
    policy = parse_policy(text)
    encoded = encode(policy)
    vault = policy_address(encoded)
    shown = genesis.addresses.show(vault)
    await dashboard.pay(to=shown, amount="2")
    await dashboard.open(f"address/{shown}")
    await dashboard.shows("A policy guards this address")
    body = Body(
        VERSION,
        genesis.chain_prefix,
        b"policyed",
        time.time_ns() // 1_000_000 + 600_000,
        None,
        (AccountInput(vault, NATIVE, 200_000_000),),
        (
            CoinOutput(key_address(key.public), 50_000_000),
            AccountOutput(key_address(key.public), NATIVE, 150_000_000),
        ),
        None,
        b"",
    )
    signature = key.sign(Transaction(body, ()).sighash)
    spent = Transaction(body, (PolicyWitness(encoded, (0,), ((0, signature),), ()),))
    status, answer, _ = await asyncio.to_thread(
        dashboard.other.post, "/add_transaction?wait=final", {"raw": spent.raw.hex()}
    )
    assert status == 200, answer
    await dashboard.transaction(answer["tx_id"])
    await dashboard.page.until("document.querySelector('.rule .branch')")
    rule = await dashboard.page.text(".rule")
    assert "One of" in rule
    assert f"a signature of {key.public.hex()[:8]}" in rule
    assert "chain time has reached 2027-01-15 08:00:00.000 UTC" in rule
    await dashboard.go(f"tx/{answer['tx_id']}")
    await dashboard.shows("Spent under a policy, with 1 signature")
    await dashboard.shows(format_policy(policy))
    # The coin it made stands at its owner's address, and costs what it says.
    owner = genesis.addresses.show(key_address(key.public))
    await dashboard.go(f"address/{quote(owner)}")
    await dashboard.page.until("document.querySelector('.coins tbody')")
    coins = (await dashboard.ask(f"/utxos/{owner}"))["utxos"]
    rows = await dashboard.rows(".coins")
    assert [row[2] for row in rows] == [f"{coin['amount']} COIN" for coin in coins]
    assert "0.5 COIN" in [row[2] for row in rows]
