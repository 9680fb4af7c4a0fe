"""A node that starts adds up the headers that it has verified before, and finds damage to them."""

from pathlib import Path
from typing import Any

import msgspec
import pytest
from parts import settled
from work_kit import EASY, RULES
from work_world import WorkWorld, running, work_genesis

from chaind.node.header_chain import HeadersDamaged, first_headers, stored_base
from chaind.primitives.genesis import Genesis
from chaind.storage.schema import header_key


def chain_of(rule: str, window: int) -> Genesis:
    """Targets move every block, or every window."""
    genesis = work_genesis(final_depth=2)
    rules = msgspec.structs.replace(
        RULES,
        retarget=rule,  # type: ignore[arg-type]
        window=window,
        half_life_ms=60_000,
        target_spacing_ms=20_000,
    )
    work = msgspec.structs.replace(genesis.proof_of_work, rules=rules, start_bits=EASY)
    return msgspec.structs.replace(genesis, work=work)


def write(world: WorkWorld, height: int, header: bytes | None) -> None:
    world.store._database.write([(header_key(height), header)], sync=False)


@pytest.mark.parametrize(("rule", "window"), [("asert", 2016), ("bitcoin", 5), ("bitcoin", 4)])
@pytest.mark.parametrize("length", [0, 3, 14])
async def test_the_base_is_the_one_that_verifying_makes(
    tmp_path: Path, rule: str, window: int, length: int
) -> None:
    genesis = chain_of(rule, window)
    async with running(tmp_path, genesis=genesis) as world:
        for _ in range(length + 2 if length else 0):
            world.clock.ms += 1_000  # in a hurry: more work for each
            await world.mine()
        await settled(lambda: world.store.tip.height == length)
        chain = first_headers(genesis)
        chain.feed(b"".join(world.store.headers(1, length + 1)))
        assert stored_base(genesis, world.store) == chain.base()
        if length == 14:
            assert chain.progress().changed > 0


async def test_damaged_headers_are_found(tmp_path: Path) -> None:
    async with running(tmp_path, genesis=work_genesis(final_depth=2)) as world:
        await world.mine(8)
        await settled(lambda: world.store.tip.height == 6)
        headers: list[Any] = list(world.store.headers(1, 7))
        flipped = headers[2][:70] + bytes([headers[2][70] ^ 1]) + headers[2][71:]
        for height, header in ((3, flipped), (3, None), (6, None), (1, headers[1])):
            write(world, height, header)
            with pytest.raises(HeadersDamaged):
                stored_base(world.genesis, world.store)
            write(world, height, headers[height - 1])
        assert stored_base(world.genesis, world.store).height == 6
