"""What a stress run has to show, judged from what was answered and what the ledger holds.

Pure. A fault is a broken promise, and its count is of keys, spends or rounds; what merely was not
answered proves nothing either way and stands beside the faults.
"""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple


class Said(NamedTuple):
    """An answer to a payment: its status, and the body; of a refusal the problem's code, no id."""

    status: int
    body: bytes
    txid: str = ""


@dataclass(slots=True)
class KeyRecord:
    """All that was said of one Idempotency-Key, and how many requests got no answer."""

    said: Counter[Said] = field(default_factory=Counter)
    silent: int = 0


@dataclass(slots=True)
class Verdict:
    """Counts to show, faults by name, and what was left open."""

    counts: dict[str, object]
    faults: Counter[str]
    open: int

    def summary(self) -> dict[str, object]:
        """What `--json` prints: counts, every kind of fault, and the verdict."""
        words = "broken" if self.faults.total() else "incomplete" if self.open else "held"
        return {**self.counts, "faults": dict(self.faults), "open": self.open, "verdict": words}


KEY_FAULTS = ("charged_twice", "answers_differ", "acknowledged_lost", "refused_but_paid")
SPEND_FAULTS = (
    "too_many_final",
    "too_few_final",
    "acknowledged_lost",
    "rejected_but_final",
    "balance_wrong",
)
SUPPLY = "supply_wrong"


def judge_keys(
    records: Mapping[str, KeyRecord], ledgers: Sequence[Iterable[tuple[str, str]]]
) -> Verdict:
    """`ledgers` are, for each node, (key, transaction id) of all payments that it holds."""
    faults: Counter[str] = Counter(dict.fromkeys((*KEY_FAULTS, SUPPLY), 0))
    paid = [_by_key(ledger) for ledger in ledgers]
    answers: Counter[str] = Counter()
    left_open = paid_once = 0
    for key, record in records.items():
        held = [payments.get(key, set()) for payments in paid]
        acknowledged = {said.txid for said in record.said if said.txid}
        for said, times in record.said.items():
            answers[str(said.status) if said.txid else said.body.decode()] += times
        faults["charged_twice"] += len(set().union(*held)) > 1
        faults["answers_differ"] += len(record.said) > 1
        faults["acknowledged_lost"] += any(acknowledged - txids for txids in held)
        faults["refused_but_paid"] += bool(record.said) and not acknowledged and any(held)
        left_open += not acknowledged or record.silent > 0
        paid_once += all(len(txids) == 1 for txids in held)
    counts: dict[str, object] = {
        "keys": len(records),
        "requests": answers.total() + sum(record.silent for record in records.values()),
        "answers": dict(answers.most_common()),
        "unanswered": sum(record.silent for record in records.values()),
        "paid_once": paid_once,
    }
    return Verdict(counts, faults, left_open)


class Round(NamedTuple):
    """Conflicting spends of one balance. `said` maps ids to "final", "open" or why it never is.

    `held` and `left` are, for each node, the spends that it holds, and the balance that remains of
    `funded`; every spend takes `price`.
    """

    affordable: int
    funded: int
    price: int
    said: Mapping[str, str]
    held: Sequence[frozenset[str]]
    left: Sequence[int]


def judge_rounds(rounds: Sequence[Round]) -> Verdict:
    """Exactly the affordable spends are final, everywhere the same, and none was denied before."""
    faults: Counter[str] = Counter(dict.fromkeys((*SPEND_FAULTS, SUPPLY), 0))
    answers: Counter[str] = Counter()
    for each in rounds:
        answers.update(each.said.values())
        final = {txid for txid, word in each.said.items() if word == "final"}
        denied = {txid for txid, word in each.said.items() if word not in ("final", "open")}
        somewhere: frozenset[str] = frozenset().union(*each.held)
        faults["too_many_final"] += len(somewhere) > each.affordable
        faults["too_few_final"] += len(somewhere) < each.affordable
        faults["acknowledged_lost"] += len(final - frozenset.intersection(*each.held))
        faults["rejected_but_final"] += len(denied & somewhere)
        faults["balance_wrong"] += any(
            left < 0 or left != each.funded - each.price * len(held)
            for held, left in zip(each.held, each.left, strict=True)
        )
    counts: dict[str, object] = {
        "rounds": len(rounds),
        "spends": answers.total(),
        "answers": dict(answers.most_common()),
        "affordable": sum(each.affordable for each in rounds),
        "final": sum(len(frozenset().union(*each.held)) for each in rounds),
    }
    return Verdict(counts, faults, answers["open"])


def _by_key(ledger: Iterable[tuple[str, str]]) -> dict[str, set[str]]:
    found: dict[str, set[str]] = {}
    for key, txid in ledger:
        found.setdefault(key, set()).add(txid)
    return found
