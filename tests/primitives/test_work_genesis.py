"""Genesis of a mined chain: its rules under one hash, and every bad value refused by its name."""

import json
from collections.abc import Callable
from typing import Any

import pytest
from primitive_samples import ADDRESSES, A, sample_genesis
from test_genesis_document import Document, load, put

from chaind.primitives.genesis import Allocation, Genesis, GenesisInvalid, ProofOfWork
from chaind.primitives.work import WorkParameters, target_of

RULES = WorkParameters(retarget="asert", limit_bits=0x207FFFFF, target_spacing_ms=2_000)


def sample_work_genesis() -> Genesis:
    """A small chain of miners."""
    return Genesis(
        name="mined",
        time_ms=1_700_000_000_000,
        validators=(),
        allocations=(Allocation(address=ADDRESSES.show(A), amount="7"),),
        addresses=ADDRESSES,
        mode="pow",
        work=ProofOfWork(rules=RULES, start_bits=0x1F00FFFF, minimum_chain_work="abc"),
    )


def document() -> Document:
    value = json.loads(sample_work_genesis().to_json())
    assert isinstance(value, dict)
    return value


def test_the_file_comes_back() -> None:
    genesis = sample_work_genesis()
    loaded = Genesis.from_json(genesis.to_json())
    assert loaded == genesis
    assert loaded.hash == genesis.hash
    work = loaded.proof_of_work
    assert (work.minimum, work.final_depth, work.rules) == (0xABC, 100, RULES)


def test_block_0_carries_the_bits_to_start_from() -> None:
    header = sample_work_genesis().header()
    assert header.bits == 0x1F00FFFF
    assert int.from_bytes(sample_work_genesis().hash, "little") > target_of(header.bits), (
        "it needs no work: its hash is known"
    )


def test_a_document_of_validators_says_nothing_of_work() -> None:
    assert "work" not in json.loads(sample_genesis().to_json())
    assert b"work" not in sample_genesis().encode()


def test_the_hash_depends_on_every_value() -> None:
    hashes = {sample_work_genesis().hash}
    rules = document()["work"]["rules"]
    changes = [
        put("work", "rules", name, value=value + 1)
        for name, value in rules.items()
        if name not in ("retarget", "limit_bits")
    ]
    changes += [
        put("work", "rules", "retarget", value="bitcoin"),
        put("work", "rules", "limit_bits", value=0x207FFFFE),
        put("work", "start_bits", value=0x1F00FFFE),
        put("work", "final_depth", value=99),
        put("work", "minimum_chain_work", value="abd"),
    ]
    for change in changes:
        doc = document()
        change(doc)
        hashes.add(load(doc).hash)
    assert len(hashes) == 1 + len(changes)


BAD: list[tuple[Callable[[Document], Any], str]] = [
    (lambda doc: doc.pop("work"), "needs the rules of work"),
    (put("mode", value="bft"), "validators are needed"),
    (put("validators", value=[{"public_key": "02" * 33}]), "has no validators"),
    (put("parameters", "min_block_interval_ms", value=5), "stands in work.rules"),
    (put("time_ms", value=1_700_000_000_001), "not a whole second"),
    (put("work", "start_bits", value=0x2100FFFF), "bits 0x2100ffff"),
    (put("work", "start_bits", value=0), "the target is zero"),
    (put("work", "start_bits", value=0x1D80FFFF), "negative"),
    (put("work", "start_bits", value=1 << 32), "start_bits 4294967296"),
    (put("work", "rules", "limit_bits", value=-1), "limit_bits -1"),
    (put("work", "rules", "limit_bits", value=0x1E00FFFF), "easier than limit_bits"),
    (put("work", "rules", "window", value=0), "window = 0"),
    (put("work", "rules", "target_spacing_ms", value=0), "target_spacing_ms = 0"),
    (put("work", "rules", "half_life_ms", value=0), "half_life_ms = 0"),
    (put("work", "rules", "max_future_ms", value=-1), "max_future_ms = -1"),
    (put("work", "rules", "max_future_ms", value=2**52), "exceeds half_life_ms"),
    (put("work", "rules", "max_future_ms", value=0), "with asert max_future_ms = 0"),
    (put("work", "rules", "retarget", value="best"), "$.work.rules.retarget"),
    (put("work", "final_depth", value=0), "final_depth = 0"),
    (put("work", "minimum_chain_work", value=""), "minimum_chain_work ''"),
    (put("work", "minimum_chain_work", value="0xab"), "minimum_chain_work '0xab'"),
    (put("work", "minimum_chain_work", value="f" * 65), "minimum_chain_work 'ff"),
    (put("work", "colour", value=1), "`colour`"),
]


@pytest.mark.parametrize(("change", "named"), BAD, ids=[named for _, named in BAD])
def test_each_bad_value_is_named(change: Callable[[Document], Any], named: str) -> None:
    doc = document()
    change(doc)
    with pytest.raises(GenesisInvalid) as caught:
        load(doc)
    assert named in str(caught.value)


def test_work_is_only_for_chains_of_miners() -> None:
    doc = json.loads(sample_genesis().to_json())
    doc["work"] = document()["work"]
    with pytest.raises(GenesisInvalid, match="work is for mode pow"):
        load(doc)
