"""Faults of every kind on four real nodes, under a bank whose books must balance.

    python tests/e2e/nemesis.py --faults 200 --seed 1
    python tests/e2e/nemesis.py --faults 60 --seed 2 --kind "cut in halves" --record
    python tests/e2e/nemesis.py --faults 4 --broken lease    # a control: it has to fail

Nodes are killed and started again, stopped and continued, cut off from each other in halves, one
alone, one way or to a ring, and their clocks are set wrong by seconds, hours or days. After each
fault the time is taken until every node has made a new payment final, counted from the healing, or
from the start of the processes. At the end everything that a client was told is held against the
chains of all nodes (`bank_history`). The exit status is 1 where something does not fit. A seed
draws the same faults again; what real processes do meanwhile is theirs. `--record` adds the run to
those before it in benchmarks/results/nemesis.md.
"""

import argparse
import json
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from random import Random
from typing import Any

import long_runs
from bank import Bank, chain_of
from bank_history import Verdict, judge
from broken_node import MISTAKES
from kill_loop import answers, show
from ledger_audit import audit
from links import Background, Links
from local_network import LocalNetwork, until
from nemesis_faults import KINDS, Faults, moves
from payments_under_way import settle
from skewed_node import set_wrong

LAUNCHER = [sys.executable, str(Path(__file__).with_name("skewed_node.py"))]
BROKEN_LAUNCHER = [sys.executable, str(Path(__file__).with_name("broken_node.py"))]
NODES = 4
CUTS_S = (0.5, 2.0, 4.0, 10.0)  # of which one is drawn; the longest outlasts a connection
HEAL_BUDGET_S = 5.0
QUIET_S = (0.2, 0.8)  # between a healing and the next fault
UNDER_WAY = 4  # blocks for which all votes may have been sent before a quorum was lost
STALLED_S = 3.0  # a network that has what it needs goes on within
RULES = {  # of a verdict, in words
    "forks": "heights at which two nodes differ",
    "lost": "acknowledged payments that are not on the chain",
    "twice": "orders carried out twice",
    "overdrawn": "payments out of more than there was",
    "altered": "payments that are not what was asked for",
    "sums_off": "reads that do not add up to the supply",
    "reads_off": "reads that are not what the blocks make",
    "backwards": "reads that know less than what the node told before",
}


class Campaign:
    """The network, its links, clocks and bank, and what came of each fault."""

    def __init__(
        self,
        directory: Path,
        dice: Random,
        *,
        verbose: bool = False,
        cuts_s: Sequence[float] = CUTS_S,
        broken: str | None = None,
    ) -> None:
        self._dice = dice
        self._verbose = verbose
        self._background = Background()
        self._network = LocalNetwork(directory / "net", NODES)
        self._nodes = self._network.nodes
        clocks = [directory / f"clock{number}" for number in range(NODES)]
        for node, clock in zip(self._nodes, clocks, strict=True):
            set_wrong(clock, 0)
            node.command = LAUNCHER
            node.extra = {"SKEWED_CLOCK": str(clock)}
            if broken is not None:
                node.command = BROKEN_LAUNCHER
                node.extra["BROKEN"] = broken
        self._links = Links(self._network, self._background)
        self._faults = Faults(self._network, self._links, clocks, dice, cuts_s)
        self._bank = Bank(self._network, self._background, Random(dice.random()))
        self._heal_s: dict[str, list[float]] = {}
        self._serving_s: list[float] = []  # from the start of processes until all of them answer
        self._stalled: list[str] = []  # where the network had what it needs, and stood still
        self._story: list[str] = []

    def strike(self, kind: str) -> None:
        """One fault, from its beginning until every node has made a new payment final."""
        fault = self._faults.draw(kind)
        self._story.append(f"{kind}: {fault.words}, {fault.lasts_s} s")
        with fault.lasts:
            before = self._top()
            time.sleep(fault.lasts_s)
            more = self._top() - before
        if fault.goes_on and fault.lasts_s >= STALLED_S and more < 1:
            self._stalled.append(self._story[-1])
        if fault.goes_on is False:
            assert more <= UNDER_WAY, f"{more} final without a quorum: {self._story[-1]}"
        self._await_serving(fault.started)
        healed_s = time.monotonic()
        self._await_finality()
        taken_s = round(time.monotonic() - healed_s, 3)
        self._heal_s.setdefault(kind, []).append(taken_s)
        self._story[-1] += f": final everywhere after {taken_s} s"
        self._bank.check()

    def _top(self) -> int:
        """The highest final height that a node tells at once."""
        return max((node.height() for node in self._nodes if moves(node)), default=-1)

    def _await_serving(self, started: Sequence[int]) -> None:
        """These processes, which begin now, answer."""
        begun_s = time.monotonic()
        for number in started:
            node = self._nodes[number]
            until(lambda node=node: answers(node, "/health/live"), f"{node.home.name} answers")
        if started:
            self._serving_s.append(round(time.monotonic() - begun_s, 3))

    def _await_finality(self) -> None:
        """A payment that is new becomes final at every node."""
        txid = self._bank.pay_anew()
        for node in self._nodes:
            path = f"/api/v1/transactions/{txid.hex()}"
            until(
                lambda node=node, path=path: (node.get(path) or {}).get("status") == "final",
                f"a payment after the fault final at {node.home.name}",
            )

    def run(self, faults: int, kinds: Sequence[str]) -> dict[str, Any]:
        """All of it; the figures."""
        begun = time.monotonic()
        try:
            self._links.start()
            self._network.start()
            self._bank.start()
            for number in range(faults):
                time.sleep(self._dice.uniform(*QUIET_S))
                self.strike(kinds[number % len(kinds)])
                if self._verbose:
                    print(f"{time.monotonic() - begun:6.1f} s  {self._story[-1]}", file=sys.stderr)
                show(f"{number + 1} of {faults} faults, {self._bank.acknowledged():,} told")
            self._bank.stop()
            self._network.await_ready()
            settle(self._nodes)
            verdict = self._judge()
        except BaseException:
            print("the last faults:", *self._story[-5:], sep="\n  ", file=sys.stderr)
            for node in self._nodes:
                print(f"--- {node.home.name}\n{node.log_tail()}", file=sys.stderr)
            raise
        finally:
            self._network.close()
            self._links.close()
            self._background.close()
        return self._figures(verdict, time.monotonic() - begun)

    def _judge(self) -> Verdict:
        """The history against the chains, by the nodes' word and by their files."""
        chains = [chain_of(node) for node in self._nodes]
        for node in self._nodes:
            assert node.end() == 0, "a node did not end cleanly"
        for node, chain in zip(self._nodes, chains, strict=True):
            kept = audit(node.home).hashes[: len(chain.hashes)]  # it may have gone on meanwhile
            assert kept == chain.hashes, "files that say other than the node"
        return judge(self._bank.history, chains, self._bank.opening)

    def _figures(self, verdict: Verdict, seconds: float) -> dict[str, Any]:
        history = self._bank.history
        told = Counter(told.memo for told in history.told)
        return {
            "faults": sum(map(len, self._heal_s.values())),
            "orders": len(history.orders),
            "acknowledged": len(told),
            "acknowledged_with_key": sum(history.orders[memo].keyed for memo in told),
            "told_again": sum(count > 1 for count in told.values()),
            "reads": len(history.reads),
            **verdict.counts(),
            "wrong": verdict.sentences()[:10],
            "stalled": len(self._stalled),
            "stalled_in": self._stalled[:10],
            "answers": dict(sorted(self._bank.answers.items())),
            "serving_s": self._serving_s,
            "heal_s": self._heal_s,
            "seconds": seconds,
        }


def faultless(figures: long_runs.Run) -> bool:
    """Whether all that was told fits what is on the chain."""
    return not any(figures[name] for name in RULES)


def record(figures: long_runs.Run, *, seed: int, results: Path = long_runs.RESULTS) -> None:
    """Add a run to the page."""
    long_runs.add_run(
        figures,
        name="nemesis",
        title="Kills, stops, cuts and wrong clocks on four nodes, under a bank",
        seed=seed,
        fill=_fill,
        sentence=lambda run: (
            f"{run['faults']} faults, {run['acknowledged']} payments, "
            f"{sum(run[name] for name in RULES)} wrong"
        ),
        results=results,
    )


def _fill(table: long_runs.Table, runs: Sequence[long_runs.Run]) -> None:
    table.add("faults", long_runs.total(runs, "faults"), "", "200")
    for name, what in (
        ("acknowledged", "payments acknowledged"),
        ("acknowledged_with_key", "of these with a key, asked of any nodes until answered"),
        ("told_again", "of these told more than once"),
        ("reads", "reads of all balances at one height"),
    ):
        table.add(what, long_runs.total(runs, name), "")
    for name, what in RULES.items():
        table.add(what, long_runs.total(runs, name), "", "0")
    stalled = long_runs.total(runs, "stalled")
    table.add("faults in which the rest stood still", stalled, "", "0")
    times = [one for run in runs for found in run["heal_s"].values() for one in found]
    for share, what in ((0.5, "p50"), (0.99, "p99"), (1.0, "longest")):
        value = long_runs.percentile(times, share)
        table.add(f"healed to final everywhere, {what}", value, "s", f"≤ {HEAL_BUDGET_S:.0f}")
    late = sum(one > HEAL_BUDGET_S for one in times)
    table.add("final everywhere later than that", late, "faults", "0")
    serving = [one for run in runs for one in run["serving_s"]]
    if serving:
        shown = f"p50 {long_runs.percentile(serving, 0.5)}, longest {max(serving)}"
        table.add("start of the processes to serving, before that", shown, "s")
    for kind in sorted({kind for run in runs for kind in run["heal_s"]}):
        found = [one for run in runs for one in run["heal_s"].get(kind, ())]
        shown = f"p50 {long_runs.percentile(found, 0.5)}, longest {max(found)}"
        table.add(f"{kind} ({len(found)})", shown, "s")


def main() -> int:
    """The command."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--faults", type=int, default=28)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--kind", action="append", choices=[*KINDS], help="only these; repeatable")
    parser.add_argument("--verbose", action="store_true", help="each fault, and what came of it")
    parser.add_argument("--broken", choices=[*MISTAKES], help="nodes with this mistake in them")
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--record", action="store_true", help="add to results/nemesis.md")
    options = parser.parse_args()
    if options.record and options.broken:
        parser.error("a run of broken nodes is no record")
    with tempfile.TemporaryDirectory(prefix="chaind-nemesis-") as directory:
        campaign = Campaign(
            Path(directory),
            Random(options.seed),
            verbose=options.verbose,
            broken=options.broken,
        )
        figures = campaign.run(options.faults, options.kind or [*KINDS])
    show("")
    if options.record:
        record(figures, seed=options.seed)
    if options.json:
        print(json.dumps(figures))
    else:
        for name, value in figures.items():
            if isinstance(value, dict):
                print(name)
                for key, inner in value.items():
                    print(f"  {key:<26}{inner}")
            else:
                print(f"{name:<22}{value}")
    return 0 if faultless(figures) else 1


if __name__ == "__main__":
    sys.exit(main())
