"""Random disk faults on stopped and on running nodes of a four-node network under payments.

    python tests/e2e/disk_faults.py --faults 1000 --seed 1
    python tests/e2e/disk_faults.py --faults 200 --seed 2 --record

One fault at a time: a file of a stopped node is damaged, the disk of a running one fails, or a
bit flips under it. The node must heal, or refuse to go on with an exit status of its own; then
what a person does who has a copy is done, and it must be well. Meanwhile blocks and payments are
asked of all nodes at random and compared with what was said before. At the end every node serves
its whole chain, and all are audited. The exit status is 1 where an answer was wrong or an
acknowledged payment is lost. `--record` adds the run to those before it in
benchmarks/results/disk_faults.md.
"""

import argparse
import errno
import json
import signal
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from random import Random
from typing import Any

import long_runs
from damage import Damage, Snapshot
from kill_loop import show
from local_network import LocalNetwork, NodeProcess, until
from payments_under_way import Load, lost, settle
from witness import Reader, raw_blocks, serves_all

from chaind.node.audit_home import audit_home, open_store
from chaind.node.repair import discard_database, open_and_heal
from chaind.primitives.genesis import Genesis
from chaind.primitives.transaction import Transaction
from chaind.storage.errors import LogCorrupt, StoreCorrupt
from chaind.storage.files import OsFiles
from chaind.storage.log import AppendLog

LAUNCHER = [sys.executable, str(Path(__file__).with_name("faulty_node.py"))]
RATE = 100
READY_S = 60.0
ORDERS = (  # what fails on a running node, where, and what the kernel says
    ("sync", "votes", errno.EIO),
    ("sync", "bodies", errno.EIO),
    ("sync", "intake", errno.EIO),
    ("write", "votes", errno.ENOSPC),
    ("write", "bodies", errno.ENOSPC),
    ("write", "intake", errno.ENOSPC),
    ("write", "intake", errno.EDQUOT),
    ("batch", "db", errno.ENOSPC),
    ("batch", "db", errno.EIO),
    ("read", "bodies", errno.EIO),
    ("get", "db", errno.EIO),
)
OUTCOMES = ("unharmed", "healed", "observed", "refused")
CHAIN_FILES = ("db", "bodies", "votes", "intake")
HEALED = ("block_healed", "rolled_forward", "database_set_aside", "torn_tail_cut")


class Campaign:
    """The network, its payer, and the counts."""

    def __init__(self, directory: Path, dice: Random, *, verbose: bool) -> None:
        self.verbose = verbose
        self.dice = dice
        self.directory = directory
        self.network = LocalNetwork(directory / "net", 4)
        for node in self.network.nodes:
            node.command = LAUNCHER
            node.extra = {"FAULTY_CONTROL": str(self._control(node))}
        self.load = Load(self.network, directory, RATE)
        self.counts: Counter[tuple[str, str]] = Counter()  # (family of the fault, outcome)
        self.exits: Counter[int] = Counter()
        self.destroyed: set[bytes] = set()  # payments in journals that a fault hit
        self.story: list[str] = []
        self.reader = Reader(self.network.nodes, self.load, dice.randrange(1 << 32))

    def _control(self, node: NodeProcess) -> Path:
        return self.directory / f"{node.home.name}.order"

    def stopped(self) -> None:
        """Damage a file of a node that was stopped or killed, and start it."""
        node = self.dice.choice(self.network.nodes)
        node.end(self.dice.choice((signal.SIGTERM, signal.SIGKILL)))
        copy = Snapshot(node.home, self.directory / "copy")
        others = [other.home for other in self.network.nodes if other is not node]
        open_payments = journaled(node.home)
        damage = Damage(node.home, others, self.dice)
        self.story.append(f"{node.home.name}: {damage.way} {damage.path.name}: ")
        if damage.family == "intake":
            self.destroyed |= open_payments
        outcome = self._start(node, damage.family.partition(" ")[0])
        if outcome in ("refused", "observed"):
            if node.process is not None:
                node.end()
            damage.undo()
            if self._start(node) not in ("unharmed", "healed"):
                if node.process is not None:
                    node.end()
                copy.restore()
                assert self._start(node) in ("unharmed", "healed"), "a whole copy does not start"
        self.counts[damage.family, outcome] += 1
        self.story[-1] += outcome

    def running(self) -> None:
        """Make the disk of a running node fail; it has to stop by itself, or to heal."""
        node = self.dice.choice(self.network.nodes)
        at, name, number = self.dice.choice(ORDERS)
        order = self._control(node)
        self.story.append(f"{node.home.name}: {at} {name} {errno.errorcode[number]}: ")
        order.write_text(json.dumps({"at": at, "name": name, "errno": number}))
        process, mark = node.process, log_size(node)
        assert process is not None
        if at == "read":
            raw_blocks(node, 1, 50)
        until(lambda: process.poll() is not None or not order.exists(), "the disk fails")
        outcome = "healed"
        if at == "get":  # it makes its database again, or ends where it did so a moment ago
            until(lambda: "database_set_aside" in logged(node, mark), f"{node.home.name} notices")
            until(lambda: process.poll() is not None or node.ready(), f"{node.home.name} goes on")
        elif at != "read":
            self.exits[process.wait(READY_S)] += 1
            outcome = "refused"
        if process.poll() is not None:
            node.process = None
            order.unlink(missing_ok=True)
            outcome = "refused"
            assert self._start(node) in ("unharmed", "healed"), "it does not start on a well disk"
        elif at == "read":
            node.end(signal.SIGKILL)  # every later read of that file would fail as well
            assert self._start(node) in ("unharmed", "healed")
        until(node.ready, f"{node.home.name} is well again")
        self.counts[f"running {at} {name}", outcome] += 1
        self.story[-1] += outcome

    def flipped(self) -> None:
        """Flip a bit of a block or of a table under a running node.

        It heals by itself, or ends where it made its database again a moment ago.
        """
        node = self.dice.choice(self.network.nodes)
        kind = self.dice.choice(("bodies-*.log", "db/*.ldb"))
        files = [path for path in (node.home / "chain").glob(kind) if path.stat().st_size > 200]
        if not files:  # a database that has written no table yet
            return
        path = self.dice.choice(files)
        self.story.append(f"{node.home.name}: flip {path.name} while it runs: ")
        with path.open("r+b") as file:
            place = self.dice.randrange(path.stat().st_size // 2)  # the other half may be growing
            file.seek(place)
            byte = file.read(1)[0]
            file.seek(place)
            file.write(bytes([byte ^ 1 << self.dice.randrange(8)]))
        process, mark = node.process, log_size(node)
        assert process is not None
        serves_all(node)  # so that it reads what was hit
        until(
            lambda: process.poll() is not None or (serves_all(node) and node.ready()),
            f"{node.home.name} serves its chain",
        )
        if (status := process.poll()) is not None:
            assert status > 1, f"it ended by {status}\n{node.log_tail()}"
            assert "database_set_aside" in logged(node, mark), node.log_tail()
            self.exits[status] += 1
            node.process = None
            outcome = "refused"
            assert self._start(node) in ("unharmed", "healed"), "it does not start again"
        else:
            outcome = "healed" if any(word in logged(node, mark) for word in HEALED) else "unharmed"
        self.counts[f"running flip {kind}", outcome] += 1
        self.story[-1] += outcome

    def _catch_up(self) -> None:
        """Start all nodes that were stopped, let them agree and serve everything, and stop them."""
        nodes = self.network.nodes
        for node in nodes:
            node.start()
        self.network.await_ready()
        settle(nodes)
        for node in nodes:
            until(lambda node=node: serves_all(node), f"{node.home.name} serves its chain")
        for node in nodes:
            assert node.end() == 0, "a node did not end cleanly"

    def _start(self, node: NodeProcess, family: str = "") -> str:
        """Start; what came of it."""
        mark = log_size(node)
        node.start()
        deadline = time.monotonic() + READY_S
        while time.monotonic() < deadline:
            assert node.process is not None
            status = node.process.poll()
            if status is not None:
                assert status > 0, f"ended by signal {-status}\n{node.log_tail()}"
                assert status != 1, f"ended by a traceback\n{node.log_tail()}"
                self.exits[status] += 1
                node.process = None
                return "refused"
            health = node.get("/health/ready")
            if health is not None and health.get("ready"):
                said = logged(node, mark)
                healed = family in CHAIN_FILES and any(word in said for word in HEALED)
                return "healed" if healed else "unharmed"
            if health is not None and "observes" in " ".join(health.get("reasons", ())):
                return "observed"
            time.sleep(0.05)
        raise AssertionError(f"neither ready nor ended\n{node.log_tail()}")

    def run(self, faults: int) -> dict[str, Any]:
        """All of it; the figures."""
        began = time.monotonic()
        network, load = self.network, self.load
        try:
            network.start()
            load.start()
            load.grows(RATE)
            self.reader.start()
            while (done := self.counts.total()) < faults:
                begun = time.monotonic()
                way = self.dice.random()
                if way < 0.7:
                    self.stopped()
                elif way < 0.9:
                    self.running()
                else:
                    self.flipped()
                network.await_ready()
                self.reader.check()
                if self.verbose:
                    print(f"{time.monotonic() - begun:5.1f} s  {self.story[-1]}", file=sys.stderr)
                show(f"{done} of {faults} faults, {load.answered():,} acknowledged")
            load.stop()
            settle(network.nodes)
            self.reader.stop()
            for node in network.nodes:
                until(lambda node=node: serves_all(node), f"{node.home.name} serves its chain")
            for node in network.nodes:
                assert node.end() == 0, "a node did not end cleanly"
            latent = sum(heal_latent(node.home) for node in network.nodes)
            if latent:  # what its own log could not give back, a node fetches once it runs
                self._catch_up()
            missing = lost(load, network.nodes)
            reports = [audit_home(node.home) for node in network.nodes]
        except Exception:
            print("the last faults:", *self.story[-5:], sep="\n  ", file=sys.stderr)
            for node in network.nodes:
                print(f"--- {node.home.name}\n{node.log_tail()}", file=sys.stderr)
            raise
        finally:
            self.reader.stop()
            load.kill()
            network.close()
        return {
            "faults": faults,
            "outcomes": {
                outcome: sum(n for (_, kind), n in self.counts.items() if kind == outcome)
                for outcome in OUTCOMES
            },
            "blocks_healed": sum(
                (node.home / "log").read_text(errors="replace").count("block_healed")
                for node in network.nodes
            ),
            "latent_damage_healed": latent,
            "exits": {str(status): count for status, count in sorted(self.exits.items())},
            "answers_read": self.reader.answers,
            "wrong_answers": len(self.reader.wrong),
            "wrong": self.reader.wrong[:10],
            "acknowledged": load.answered(),
            "lost": len(missing - self.destroyed),
            "sole_copy_destroyed": len(missing & self.destroyed),
            "violations": sum(len(report.violations) for report in reports),
            "height": reports[0].height,
            "by_family": {
                kind: {
                    word: self.counts[kind, word] for word in OUTCOMES if self.counts[kind, word]
                }
                for kind in sorted({kind for kind, _ in self.counts})
            },
            "seconds": time.monotonic() - began,
        }


def record(figures: long_runs.Run, *, seed: int, results: Path = long_runs.RESULTS) -> None:
    """Add a run to the page."""
    long_runs.add_run(
        figures,
        name="disk_faults",
        title="Random disk faults on a four-node network under payments",
        seed=seed,
        fill=_fill,
        sentence=lambda run: (
            f"{run['faults']} faults, {run['wrong_answers']} wrong answers, "
            f"{run['lost']} lost, {run['violations']} violations"
        ),
        results=results,
    )


def _fill(table: long_runs.Table, runs: Sequence[long_runs.Run]) -> None:
    table.add("faults", long_runs.total(runs, "faults"), "", "1,000")
    outcomes = long_runs.total_of_each(runs, "outcomes")
    words = {"refused": "refused to go on", "observed": "went on without voting"}
    for outcome in OUTCOMES:
        table.add(words.get(outcome, outcome), outcomes[outcome], "faults")
    for status, count in sorted(long_runs.total_of_each(runs, "exits").items()):
        table.add(f"exit status {status}", count, "times")
    for name, what, budget in (
        ("answers_read", "answers read", ""),
        ("wrong_answers", "wrong answers", "0"),
        ("acknowledged", "acknowledged payments", ""),
        ("lost", "of these lost", "0"),
        ("sole_copy_destroyed", "of these in no other place than the damaged journal", ""),
        ("violations", "invariants violated, by the audits at the end", "0"),
        ("blocks_healed", "blocks healed from peers", ""),
        ("latent_damage_healed", "databases healed only by reading all of them", ""),
    ):
        table.add(what, long_runs.total(runs, name), "", budget)
    for family in sorted({family for run in runs for family in run["by_family"]}):
        counts = long_runs.total_of_each(
            [run["by_family"] for run in runs if family in run["by_family"]], family
        )
        shown = ", ".join(f"{counts[word]} {word}" for word in OUTCOMES if counts[word])
        table.add(f"fault on {family}", shown, "")


def heal_latent(home: Path) -> bool:
    """Read a stopped node's whole database, as no node does by itself; heal what that finds."""
    database = open_store(home / "chain" / "db")
    try:
        for _ in database.scan(b"", None):
            pass
    except StoreCorrupt:
        database.close()
    else:
        database.close()
        return False
    genesis = Genesis.load(home / "genesis.json")
    discard_database(OsFiles(), home / "chain")
    open_and_heal(OsFiles(), home / "chain", genesis, open_store, votes=True).close()
    return True


def journaled(home: Path) -> set[bytes]:
    """Payments of a stopped node's intake journal."""
    try:
        journal = AppendLog.open(OsFiles(), home / "chain", "intake", 1 << 30, 1 << 24)
    except LogCorrupt:
        return set()
    try:
        return {Transaction.decode(raw).txid for _, raw in journal.replay()}
    finally:
        journal.close()


def log_size(node: NodeProcess) -> int:
    """Where its text log ends now."""
    return (node.home / "log").stat().st_size if (node.home / "log").exists() else 0


def logged(node: NodeProcess, since: int) -> str:
    """What it has logged since."""
    return (node.home / "log").read_bytes()[since:].decode(errors="replace")


def main() -> int:
    """The command."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--faults", type=int, default=40)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--verbose", action="store_true", help="each fault, and what came of it")
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--record", action="store_true", help="add to results/disk_faults.md")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="chaind-faults-") as directory:
        figures = Campaign(Path(directory), Random(options.seed), verbose=options.verbose).run(
            options.faults
        )
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
                    print(f"  {key:<20}{inner}")
            else:
                print(f"{name:<22}{value}")
    bad = figures["wrong_answers"] or figures["lost"] or figures["violations"]
    return 1 if bad else 0


if __name__ == "__main__":
    sys.exit(main())
