"""Networks of real nodes: what is paid is paid once, everywhere, whoever fails in between."""

import asyncio
from pathlib import Path

import pytest
from harness import FUNDED, Cluster, address, order, secret
from prometheus_client import generate_latest
from prometheus_client.parser import text_string_to_metric_families

from chaind.ledger.block import GENESIS_COIN_TXID
from chaind.ledger.errors import CoinMissing
from chaind.mempool.errors import ConflictsWithPending
from chaind.node.events import Event, FinalEvent
from chaind.node.node import Node
from chaind.node.payments import KeyReused
from chaind.node.queries import TransactionUnknown
from chaind.primitives.transaction import (
    VERSION,
    AccountOutput,
    Body,
    CoinInput,
    Transaction,
)
from chaind.wallet.builder import sign


def finals_of(node: Node) -> list[bytes]:
    """Transactions that become final there from now on, in order; the list grows."""
    found: list[bytes] = []

    def heard(event: Event) -> None:
        if isinstance(event, FinalEvent):
            found.extend(receipt.checked.txid for receipt in event.receipts)

    node.events.subscribe(heard)
    return found


def spending_coin(cluster: Cluster, target: str, fee: int) -> Transaction:
    """Alice's genesis coin of 5 to somebody's account."""
    body = Body(
        VERSION, cluster.genesis.chain_prefix, bytes(8), None, None,
        (CoinInput(GENESIS_COIN_TXID, 0),),
        (AccountOutput(address(target), "", 500_000_000 - fee),), None, b"",
    )  # fmt: skip
    return sign(body, secret("alice"))


# Four validators and a full node that nobody disturbs.


async def test_a_payment_is_on_every_node_the_moment_it_is_answered(tmp_path: Path) -> None:
    async with Cluster(tmp_path, validators=4, full=1) as cluster:
        await cluster.connected()
        for number in range(10):
            node = cluster[number % 5]
            payment = await node.payments.transfer(order("alice", "bob", 5, key=f"k{number}"))
            assert payment.info.status == "final"
            assert cluster.balances("bob") == [FUNDED + 5 * (number + 1)] * 5
            assert cluster.balances("alice") == [FUNDED - 5 * (number + 1)] * 5
        assert all(node.vitals.health().ready for node in cluster.nodes)
        for node in cluster.nodes:
            found = node.queries.transaction(payment.txid)
            assert found.status == "final"
            assert found.transaction is not None
            assert found.transaction.txid == payment.txid


async def test_one_key_pays_once_wherever_and_however_often_it_is_sent(tmp_path: Path) -> None:
    async with Cluster(tmp_path, validators=4, full=1) as cluster:
        await cluster.connected()
        for number in range(3):
            wanted = order("alice", "bob", 7, key=f"same {number}")
            answers = await asyncio.gather(
                *(cluster[at].payments.transfer(wanted) for at in (0, 1, 2, 3, 4, 0, 1))
            )
            assert len({answer.txid for answer in answers}) == 1
            assert {answer.info.status for answer in answers} == {"final"}
            assert cluster.balances("bob") == [FUNDED + 7 * (number + 1)] * 5
        again = await cluster[2].payments.transfer(order("alice", "bob", 7, key="same 0"))
        assert again.hit is not None
        assert cluster.balances("bob") == [FUNDED + 21] * 5


async def test_a_key_is_for_one_payment(tmp_path: Path) -> None:
    async with Cluster(tmp_path, validators=4) as cluster:
        await cluster.connected()
        first = await cluster[0].payments.transfer(order("alice", "bob", 7, key="key"))
        for at, other in ((0, 8), (3, 9)):
            with pytest.raises(KeyReused) as caught:
                await cluster[at].payments.transfer(order("alice", "bob", other, key="key"))
            assert caught.value.values["txid"] == first.txid.hex()
        # The same key of another payer is another key.
        other_payer = await cluster[1].payments.transfer(order("carol", "bob", 8, key="key"))
        assert other_payer.txid != first.txid
        assert cluster.balances("bob") == [FUNDED + 15] * 4


async def test_different_payments_with_one_key_at_once_make_one(tmp_path: Path) -> None:
    async with Cluster(tmp_path, validators=4) as cluster:
        await cluster.connected()
        results = await asyncio.gather(
            *(
                cluster[at].payments.transfer(order("alice", "bob", 100 + at, key="key"))
                for at in range(4)
            ),
            return_exceptions=True,
        )
        paid = [result for result in results if not isinstance(result, BaseException)]
        assert len(paid) == 1
        assert all(isinstance(one, KeyReused) for one in results if one is not paid[0])
        gained = set(cluster.balances("bob"))
        assert len(gained) == 1
        assert gained.pop() - FUNDED in range(100, 104)


async def test_of_conflicting_spends_exactly_one_is_final_and_the_others_hear_it(
    tmp_path: Path,
) -> None:
    async with Cluster(tmp_path, validators=4, coins=[("alice", "5")]) as cluster:
        await cluster.connected()
        finals = [finals_of(node) for node in cluster.nodes]
        names = ("bob", "carol", "dave", "erin")
        spends = [spending_coin(cluster, name, fee) for fee, name in enumerate(names)]
        results = await asyncio.gather(
            *(cluster.submit(spend, at=at) for at, spend in enumerate(spends))
        )
        refusals = [type(result.error) for [result] in results if result.error is not None]
        assert set(refusals) <= {ConflictsWithPending, CoinMissing}
        accepted = {result.txid for [result] in results if result.error is None}
        await cluster.until(lambda: finals[0])
        await cluster.agree()
        [winner] = finals[0]
        assert finals == [[winner]] * 4
        for at, spend in enumerate(spends):
            if spend.txid == winner or results[at][0].error is not None:
                continue
            found = await cluster.ended(spend.txid, at)
            assert (found.status, found.by) == ("rejected", winner)
        assert winner in accepted
        paid = [cluster.balances(name)[0] - FUNDED for name in names]
        assert sorted(paid)[:3] == [0, 0, 0]


async def test_more_than_one_has_cannot_be_spent_through_many_doors(tmp_path: Path) -> None:
    """Every door accepts in good faith; one applies, the others expire and are told to have."""
    async with Cluster(tmp_path, validators=4) as cluster:
        await cluster.connected()
        finals = [finals_of(node) for node in cluster.nodes]
        everything = [cluster.payment("alice", "bob", FUNDED, valid_ms=1_200) for _ in range(4)]
        results = await asyncio.gather(
            *(cluster.submit(payment, at=at) for at, payment in enumerate(everything))
        )
        accepted = {at for at, [result] in enumerate(results) if result.error is None}
        await cluster.until(lambda: set(cluster.balances("bob")) == {2 * FUNDED})
        [winner] = finals[0]
        losers = [at for at in accepted if everything[at].txid != winner]
        assert losers, "all doors but one were told before they answered: nothing is tested"
        for at in losers:
            assert cluster[at].queries.transaction(everything[at].txid).status == "pending"
        [late] = await cluster.submit(cluster.payment("alice", "bob", 1))
        assert late.error is not None
        assert late.error.code in ("insufficient-funds", "overcommitted")
        for at in losers:
            assert (await cluster.ended(everything[at].txid, at)).status == "expired"
        await cluster.stop(losers[0])
        await cluster.start(losers[0])
        found = cluster[losers[0]].queries.transaction(everything[losers[0]].txid)
        assert found.status == "expired", "an end is an end after a restart, too"
        assert set(cluster.balances("bob")) == {2 * FUNDED}
        assert set(cluster.balances("alice")) == {0}


async def test_an_unknown_transaction_is_unknown(tmp_path: Path) -> None:
    async with Cluster(tmp_path) as cluster:
        with pytest.raises(TransactionUnknown):
            cluster[0].queries.transaction(bytes(32))


async def test_the_metrics_are_prometheus_text(tmp_path: Path) -> None:
    async with Cluster(tmp_path) as cluster:
        await cluster[0].payments.transfer(order("alice", "bob", 5, key="one"))
        text = generate_latest(cluster[0].metrics).decode()
        families = {family.name: family for family in text_string_to_metric_families(text)}
        assert families["chaind_consensus_txs"].samples[0].value == 1
        assert families["chaind_consensus_height"].samples[0].value >= 1
        assert families["chaind_p2p_peers"].samples[0].value == 0
        assert all(family.documentation for family in families.values())
