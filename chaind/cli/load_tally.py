"""What a load run counted: pure sums and percentiles, and their forms for machines and people."""

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

PERCENTILES = (50, 90, 95, 99)


def percentiles(samples: Iterable[tuple[float, int]]) -> dict[str, float | int]:
    """p50, p90, p95, p99 and max, by nearest rank, of (value, how often) pairs; empty of none."""
    ordered = sorted(samples)
    count = sum(weight for _, weight in ordered)
    if not count:
        return {}
    found: dict[str, float | int] = {}
    ranks = iter((percent, -(-count * percent // 100)) for percent in PERCENTILES)
    percent, rank = next(ranks)
    seen = 0
    for value, weight in ordered:
        seen += weight
        while seen >= rank:
            found[f"p{percent}"] = round(value, 2)
            percent, rank = next(ranks, (0, count + 1))
    return {**found, "max": round(ordered[-1][0], 2), "count": count}


@dataclass(slots=True)
class Tally:
    """Counts of one run. Times are seconds of the run's clock; latencies are in ms.

    `accepted_ms` has one entry a request with the number of its transfers, `final_ms` one a sample.
    """

    sent: int = 0
    accepted: int = 0
    refused: Counter[str] = field(default_factory=Counter)
    final: int = 0
    ended: Counter[str] = field(default_factory=Counter)  # samples that will never apply
    foreign: int = 0  # transactions of others that were seen in blocks
    blocks: int = 0
    accepted_ms: list[tuple[float, int]] = field(default_factory=list)
    final_ms: list[tuple[float, int]] = field(default_factory=list)
    behind_ms_max: float = 0.0
    behind_ms_end: float = 0.0
    begun_s: float = 0.0
    answered_s: float = 0.0  # the last answer
    final_s: float = 0.0  # the last final block
    sampled: int = 0

    def summary(self) -> dict[str, object]:
        """What `--json` prints. Rates are transfers per second, since the first was sent."""
        return {
            "sent": self.sent,
            "accepted": self.accepted,
            "refused": dict(self.refused.most_common()),
            "final": self.final,
            "ended": dict(self.ended),
            "foreign": self.foreign,
            "blocks": self.blocks,
            "seconds": round(self.answered_s - self.begun_s, 3),
            "accepted_per_s": _rate(self.accepted, self.answered_s - self.begun_s),
            "final_per_s": _rate(self.final, self.final_s - self.begun_s),
            "accepted_ms": percentiles(self.accepted_ms),
            "final_ms": percentiles(self.final_ms),
            "behind_ms_max": round(self.behind_ms_max, 1),
            "behind_ms_end": round(self.behind_ms_end, 1),
        }


def table(summary: dict[str, object]) -> str:
    """A summary for people."""
    rows: list[tuple[str, str]] = []
    for name, value in summary.items():
        match value:
            case dict():
                shown = "  ".join(f"{key} {part}" for key, part in value.items()) or "–"
            case list():
                shown = " ".join(map(str, value))
            case _:
                shown = str(value)
        rows.append((name.replace("_", " "), shown))
    return aligned(rows)


def aligned(rows: Sequence[tuple[str, str]]) -> str:
    """Two columns."""
    width = max(len(name) for name, _ in rows)
    return "\n".join(f"{name:<{width}}  {value}" for name, value in rows)


def _rate(count: int, seconds: float) -> float:
    return round(count / seconds, 1) if count and seconds > 0 else 0.0
