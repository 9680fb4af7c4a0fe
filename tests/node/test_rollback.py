"""The operator's way out of a chain that nobody else follows."""

from collections.abc import Callable, Iterable
from pathlib import Path

import pytest
from click.testing import CliRunner
from harness import FUNDED, Cluster
from structlog.testing import CapturingLogger
from test_work_nodes import audit, spend
from work_kit import WorkCluster

from chaind.api.webhook_records import Record, Records
from chaind.cli.audit import describe
from chaind.cli.main import commands
from chaind.ledger.block import GENESIS_COIN_TXID
from chaind.node.audit_home import NeverRan, audit_home
from chaind.node.home import Home
from chaind.node.rollback import (
    MAKING,
    FinalForEver,
    NothingAbove,
    RolledBack,
    finish_swap,
    roll_back,
)
from chaind.primitives.genesis import Genesis
from chaind.primitives.hashes import display_hash
from chaind.primitives.transaction import CoinInput
from chaind.storage.files import OsFiles
from chaind.storage.kv import Change, LevelStore


def prepared(home: Path, genesis: Genesis) -> Path:
    """The directory of a test node as `chaind init` would have made it."""
    Home(home).write_genesis(genesis.to_json())
    return home


def webhook(name: str, cursor: str) -> Record:
    """A subscription that has come so far."""
    return Record(
        id=name,
        url="http://127.0.0.1:1/",
        secret="whsec_" + "A" * 32,
        kinds=(),
        account=None,
        asset=None,
        created_ms=0,
        cursor=cursor,
    )


async def test_a_node_on_a_lost_chain_follows_the_others_again(tmp_path: Path) -> None:
    async with WorkCluster(tmp_path, nodes=2, final_depth=4, coins=[("alice", "5")]) as cluster:
        await cluster.mine(at=0, count=2)
        await cluster.heads()
        cluster.cut({0}, {1})
        coin = CoinInput(GENESIS_COIN_TXID, 0)
        alone = cluster.payment("alice", "bob", 5)
        mine, theirs = (spend(cluster, coin, "alice", who) for who in ("bob", "carol"))
        for at, transactions in ((0, [alone, mine]), (1, [theirs])):
            results = await cluster.submit(*transactions, at=at)
            assert not any(result.error for result in results)
        brought = cluster.payment("alice", "bob", 7)  # by a peer: not in the intake journal
        await cluster[0].intake.submit([brought.raw], local=False)
        await cluster.mine(at=0, count=7)
        await cluster.mine(at=1, count=9, to="bob")
        await cluster.height(5)
        assert cluster[0].queries.transaction(alone.txid).status == "final"
        await cluster.stop()

        home = prepared(cluster.seats[0].directory, cluster.genesis)
        runner, hooks = CliRunner(), Records(OsFiles(), home / "webhooks")
        for name, cursor in (("a" * 16, "7.1.0"), ("b" * 16, "3.0.0"), ("c" * 16, "2.1.1")):
            hooks.write(name, webhook(name, cursor).encode())
        done = runner.invoke(commands, ["rollback", "--home", str(home), "--to", "2"])
        assert done.exit_code == 0, done.output
        assert "Webhooks that go on from height 3: 1." in done.output
        assert [record.cursor for record in hooks.load()] == ["3.0.0", "3.0.0", "2.1.1"]
        assert "The last final block is 2 " in done.output
        assert "Blocks above 2 are taken back: 7. 3 transactions" in done.output
        assert (home / "chain.before-rollback-1" / "db").is_dir()
        assert audit_home(home).violations == []

        node = await cluster.seats[0].start()
        assert (node.chain.final.height, node.chain.head.height) == (2, 2)
        lost = (alone, brought, mine)
        statuses = [node.queries.transaction(one.txid).status for one in lost]
        assert statuses == ["pending"] * 3
        await cluster.start(1)  # nobody is cut off any more
        await cluster.heads()
        assert node.chain.head.height == 11
        await cluster.mine(at=0, count=6)
        await cluster.heads()
        await cluster.height(13)
        told = [cluster[0].queries.transaction(one.txid) for one in lost]
        assert [one.status for one in told] == ["final", "final", "rejected"]
        assert told[2].by == theirs.txid
        assert cluster.balances("bob") == [FUNDED + 12] * 2
        await cluster.stop()
        for seat in cluster.seats:
            assert audit(cluster, seat, blocks=13) == []


async def test_blocks_that_are_not_final_can_be_dropped(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with WorkCluster(tmp_path, nodes=1, final_depth=6) as cluster:
        await cluster.mine(at=0, count=10)
        await cluster.height(4)
        await cluster.stop()
        home = prepared(cluster.seats[0].directory, cluster.genesis)
        for to in (10, 99):
            with pytest.raises(NothingAbove, match="newest block of this node is 10"):
                roll_back(home, to)
        report = audit_home(home)
        assert (report.blocks, report.unchecked, report.consistent) == (4, 6, True)
        assert "6 blocks that are not final were not checked" in describe(report)
        log = CapturingLogger()
        monkeypatch.setattr("chaind.node.rollback.log", log)
        done = roll_back(home, 8)
        assert isinstance(done, RolledBack)
        [(level, event, told)] = log.calls
        assert (level, event) == ("warning", ("rolled_back",))
        assert (told["to"], told["final"]) == (8, 4)
        assert told["final_hash"] == display_hash(done.tip)
        assert (done.height, done.undone) == (4, 2)
        node = await cluster.seats[0].start()
        assert (node.chain.final.height, node.chain.head.height) == (4, 8)
        await cluster.stop()
        assert (roll_back(home, 0).undone, roll_back_kept(home)) == (8, 2)
        node = await cluster.seats[0].start()
        assert node.chain.head.height == 0
        [block] = await cluster.mine(at=0)
        assert block.height == 1


def roll_back_kept(home: Path) -> int:
    return len(list(home.glob("chain.before-rollback-*")))


async def test_nothing_is_left_to_the_system_to_write(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The journal that told of ends may be gone: after a power cut nobody could tell of them."""
    async with WorkCluster(tmp_path, nodes=1, final_depth=2) as cluster:
        await cluster.mine(at=0, count=6)
        await cluster.height(4)
        await cluster.stop()
        home = prepared(cluster.seats[0].directory, cluster.genesis)
        synced: list[bool] = []
        prepare = LevelStore.prepare

        def counted(self: LevelStore, batch: Iterable[Change], *, sync: bool) -> Callable[[], None]:
            synced.append(sync)
            return prepare(self, batch, sync=sync)

        monkeypatch.setattr(LevelStore, "prepare", counted)
        roll_back(home, 3)
        assert synced[-1]


async def test_a_rollback_that_was_cut_short_is_begun_anew(tmp_path: Path) -> None:
    async with WorkCluster(tmp_path, nodes=1, final_depth=2) as cluster:
        await cluster.mine(at=0, count=6)
        await cluster.height(4)
        await cluster.stop()
        home = prepared(cluster.seats[0].directory, cluster.genesis)

        def fail(done: int, _all: int) -> None:
            if done == 2:
                raise KeyboardInterrupt

        with pytest.raises(KeyboardInterrupt):
            roll_back(home, 3, fail)
        assert audit_home(home).height == 4, "the old one is where it was"
        assert roll_back(home, 3).height == 3
        assert audit_home(home).height == 3


async def test_what_validators_signed_is_never_taken_back(tmp_path: Path) -> None:
    async with Cluster(tmp_path, validators=1) as cluster:
        payment = await cluster.pay("alice", "bob", 5)
        await cluster.final(payment.txid)
        height = cluster[0].chain.final.height
        await cluster.stop()
        home = prepared(cluster.seats[0].directory, cluster.genesis)
        with pytest.raises(FinalForEver, match="certificates of the validators"):
            roll_back(home, 0)
        done = CliRunner().invoke(commands, ["rollback", "--home", str(home), "--to", "0"])
        assert done.exit_code == FinalForEver.exit_code
        with pytest.raises(NothingAbove):
            roll_back(home, height)
        assert not list(home.glob("chain.*"))


def test_a_node_that_never_ran_has_nothing_to_take_back(tmp_path: Path) -> None:
    runner = CliRunner()
    home = tmp_path / "home"
    made = runner.invoke(commands, ["init", "--home", str(home)])
    assert made.exit_code == 0, made.output
    with pytest.raises(NeverRan):
        roll_back(home, 0)


def test_a_crash_between_the_two_renames_is_made_good(tmp_path: Path) -> None:
    """The new directory was whole before the old one went; nothing else looks like that."""
    home = Home(tmp_path)
    (tmp_path / MAKING).mkdir()
    (tmp_path / MAKING / "whole").touch()
    finish_swap(home)
    assert (home.chain / "whole").exists()
    (tmp_path / MAKING).mkdir()  # the old one is still there: it was not whole
    finish_swap(home)
    assert (home.chain / "whole").exists()
    assert (tmp_path / MAKING).exists()
