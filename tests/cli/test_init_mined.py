"""`chaind init --mode pow`: a home of a chain of miners, which a node can run on."""

from pathlib import Path

from click.testing import CliRunner

from chaind.cli.main import commands
from chaind.primitives.genesis import Genesis
from chaind.primitives.work import target_of


def init(*arguments: str) -> tuple[int, str]:
    result = CliRunner().invoke(commands, ["init", *arguments])
    return result.exit_code, result.output


def test_a_chain_of_miners_begins(tmp_path: Path) -> None:
    home = tmp_path / "mined"
    code, told = init("--home", str(home), "--mode", "pow")
    assert code == 0, told
    assert f"run --home {home}" in told
    assert "--stratum-port 10080" in told
    assert "mine --url stratum+tcp://127.0.0.1:10080 --address ADDRESS.WORKER" in told
    genesis = Genesis.load(home / "genesis.json")
    work = genesis.proof_of_work
    assert (genesis.mode, genesis.dev, genesis.validators) == ("pow", True, ())
    assert target_of(work.start_bits) < target_of(work.rules.limit_bits)
    assert genesis.parameters.subsidy_units > 0
    assert not (home / "validator.key").exists()


def test_it_does_not_begin_twice_nor_with_validators(tmp_path: Path) -> None:
    home = str(tmp_path / "mined")
    code, told = init("--home", home, "--mode", "pow", "--validators", "2")
    assert code == 2
    assert "has no validators" in told
    assert init("--home", home, "--mode", "pow")[0] == 0
    code, told = init("--home", home, "--mode", "pow")
    assert code != 0
