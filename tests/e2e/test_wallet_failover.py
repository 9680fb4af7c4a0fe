"""A wallet pays through four nodes while one of them is killed: every key pays once."""

import asyncio
import os
import time
from pathlib import Path

from local_network import LocalNetwork

from chaind.primitives.address import key_address
from chaind.primitives.genesis import DEFAULT_ADDRESSES
from chaind.primitives.keys import SecretKey
from chaind.primitives.transaction import NATIVE
from chaind.wallet.accounts import FIRST, address_at, find_account, key_at, new_wallet
from chaind.wallet.client import Client
from chaind.wallet.payment import Order
from chaind.wallet.secret import Secret
from chaind.wallet.sending import Sender, Sent

WORDS = Secret("letter advice cage absurd amount doctor acoustic avoid letter advice cage above")
WALLET = new_wallet(DEFAULT_ADDRESSES, WORDS, Secret(""))
MAIN = find_account(WALLET.open, "main")
TARGET = key_address(SecretKey(b"\x71" * 32).public)
UNIT = 10**8
PAYMENTS, AT_ONCE = 24, 6


async def pay(network: LocalNetwork, client: Client, number: int) -> Sent:
    """Payment `number`, with a key of that number."""
    sender = Sender(
        client,
        network.genesis,
        MAIN,
        now_ms=lambda: time.time_ns() // 1_000_000,
        entropy=os.urandom,
        wait_s=50.0,
    )
    order = Order(TARGET, NATIVE, UNIT, b"%d" % number, as_coin=False)
    return await sender.pay(
        order, f"key {number}", unlock=lambda _: lambda place: key_at(WALLET, MAIN, place)
    )


async def pay_all(network: LocalNetwork, urls: list[str], *, kill: bool) -> list[Sent]:
    """All payments, some at once; the node asked first is killed among them and started again."""
    sent: list[Sent] = []
    async with Client.open(urls) as client:
        for start in range(0, PAYMENTS, AT_ONCE):
            work = [pay(network, client, number) for number in range(start, start + AT_ONCE)]
            group = asyncio.gather(*work)
            if kill and start == AT_ONCE:
                await asyncio.to_thread(network.nodes[0].kill)  # while payments are on their way
            if kill and start == 3 * AT_ONCE:
                network.nodes[0].start()
            sent += await group
    return sent


def test_every_key_pays_once_while_a_node_is_killed(tmp_path: Path) -> None:
    network = LocalNetwork(tmp_path / "net", 4)
    urls = [node.url for node in network.nodes]
    try:
        network.start()
        first = DEFAULT_ADDRESSES.show(address_at(MAIN, FIRST))
        status, answer, _ = network.nodes[1].post("/faucet", {"to": first, "amount": "100"})
        assert status == 200, answer
        sent = asyncio.run(pay_all(network, urls, kill=True))
        network.await_ready()
        again = asyncio.run(pay_all(network, urls[::-1], kill=False))
        assert [one.txid for one in again] == [one.txid for one in sent]
        assert all(one.earlier for one in again)
        assert len({one.txid for one in sent}) == PAYMENTS
        target = DEFAULT_ADDRESSES.show(TARGET)
        for node in network.living():
            assert node.get(f"/balance/{target}")["balance"] == str(PAYMENTS)
            assert node.get(f"/balance/{first}")["balance"] == str(100 - PAYMENTS)
    finally:
        network.close()
