"""One world for all tests of a module: bad input leaves it, and an honest peer, as they were."""

import asyncio
import logging
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio
import structlog
from hostile_peer import stranger
from hostile_world import World, running_world


@pytest.fixture(autouse=True, scope="session")
def _quiet() -> None:
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.CRITICAL))


@pytest_asyncio.fixture(loop_scope="module", scope="module")
async def world(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[World]:
    """A node with every door open, watched for exceptions that nobody handles."""
    unhandled: list[dict[str, object]] = []
    asyncio.get_running_loop().set_exception_handler(lambda _, context: unhandled.append(context))
    async with (
        running_world(Path(tmp_path_factory.mktemp("world"))) as world,
        stranger(world) as bystander,
    ):
        yield world
        assert bystander.points == 0
        assert not bystander.gone.is_set()
        await world.serves()
        async with world.session.get("/health/ready") as response:
            assert response.status == 200, await response.text()
    assert not unhandled
