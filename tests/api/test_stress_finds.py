"""`chaind stress` against a node that breaks its promises: each broken one is found.

A stress test that a broken node passes would prove nothing.
"""

from collections.abc import Sequence
from typing import Any

import pytest
from api_kit import Door

from chaind.api.problems import NodeStopping
from chaind.cli.stress_drive import Stress, drive
from chaind.cli.stress_verdict import Verdict
from chaind.node.intake import Submission
from chaind.node.payments import FaucetClosed, KeyReused, Payment, TransferOrder
from chaind.primitives.transaction import Transaction

KEYS, DUPLICATES = 3, 4


async def stress(door: Door, **changes: Any) -> Verdict:
    """A small run against one node."""
    settings: dict[str, Any] = {
        "urls": (door.url,),
        "home": None,
        "keys": KEYS,
        "duplicates": DUPLICATES,
        "spread": True,
        "kills": 0,
        "rounds": 0,
        "spends": 6,
        "at_once": 1,
        "valid_ms": 1_500,
        "seed": 1,
    }
    return await drive(Stress(**{**settings, **changes}), lambda _done, _news: None)


@pytest.fixture(autouse=True)
def _rich(monkeypatch: pytest.MonkeyPatch) -> None:
    """Only two of the named accounts hold money on the chain of these tests."""
    monkeypatch.setattr("chaind.cli.stress_drive.DEVELOPMENT_NAMES", ("alice", "bob"))


async def test_an_honest_node_passes(door: Door) -> None:
    verdict = await stress(door)
    assert verdict.summary()["verdict"] == "held"
    assert verdict.counts["answers"] == {"200": KEYS * DUPLICATES}
    assert verdict.counts["paid_once"] == KEYS


async def test_a_node_that_forgets_keys_is_found(
    door: Door, monkeypatch: pytest.MonkeyPatch
) -> None:
    transfer = door.node.payments.transfer

    async def forget(order: TransferOrder, *, wait: bool) -> Payment:
        return await transfer(order._replace(key=None), wait=True)

    monkeypatch.setattr(door.node.payments, "transfer", forget)
    verdict = await stress(door)
    assert verdict.faults["charged_twice"] == KEYS
    assert verdict.faults["answers_differ"] == KEYS
    assert verdict.summary()["verdict"] == "broken"


async def test_a_node_that_invents_payments_is_found(
    door: Door, monkeypatch: pytest.MonkeyPatch
) -> None:
    transfer = door.node.payments.transfer

    async def invent(order: TransferOrder, *, wait: bool) -> Payment:
        payment = await transfer(order, wait=wait)
        return payment._replace(txid=bytes(32))

    monkeypatch.setattr(door.node.payments, "transfer", invent)
    verdict = await stress(door)
    assert verdict.faults["acknowledged_lost"] == KEYS
    assert verdict.faults["charged_twice"] == 0


async def test_a_node_that_pays_and_denies_it_is_found(
    door: Door, monkeypatch: pytest.MonkeyPatch
) -> None:
    transfer = door.node.payments.transfer

    async def deny(order: TransferOrder, *, wait: bool) -> Payment:
        payment = await transfer(order, wait=wait)
        raise KeyReused(txid=payment.txid.hex())

    monkeypatch.setattr(door.node.payments, "transfer", deny)
    verdict = await stress(door)
    assert verdict.faults["refused_but_paid"] == KEYS
    assert verdict.counts["answers"] == {"idempotency-key-reused": KEYS * DUPLICATES}


async def test_without_money_nothing_is_proven(door: Door, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("chaind.cli.stress_drive.DEVELOPMENT_NAMES", ("carol",))
    verdict = await stress(door)
    assert (verdict.faults.total(), verdict.open) == (0, KEYS)
    assert verdict.summary()["verdict"] == "incomplete"


async def test_conflicting_spends_of_one_balance(door: Door) -> None:
    verdict = await stress(door, rounds=2, at_once=2)
    assert verdict.summary()["verdict"] == "held"
    assert (verdict.counts["spends"], verdict.counts["final"]) == (12, 6)


async def test_a_node_that_takes_a_spend_and_refuses_it_is_found(
    door: Door, monkeypatch: pytest.MonkeyPatch
) -> None:
    submit = door.node.intake.submit

    async def deny(raws: Sequence[bytes], *, local: bool) -> list[Submission]:
        taken = await submit(raws, local=local)
        if Transaction.decode(raws[0]).body.lease is not None:
            return taken  # what funds the round
        return [Submission(each.txid, NodeStopping(), False) for each in taken]

    monkeypatch.setattr(door.node.intake, "submit", deny)
    monkeypatch.setattr("chaind.cli.stress_drive.PATIENCE_S", 1.0)
    verdict = await stress(door, rounds=1)
    assert verdict.open == 6, "503 leaves open what became of a spend"
    assert verdict.faults.total() == 0

    async def refuse(raws: Sequence[bytes], *, local: bool) -> list[Submission]:
        return [
            each if each.error is None else Submission(each.txid, FaucetClosed(), False)
            for each in await deny(raws, local=local)
        ]

    monkeypatch.setattr(door.node.intake, "submit", refuse)
    verdict = await stress(door, rounds=1)
    assert verdict.faults["rejected_but_final"] == 3
    assert verdict.summary()["verdict"] == "broken"
