"""A real node with one validator, its API listening on a port of this machine."""

import asyncio
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from api_kit import Door, make_genesis, start_node

from chaind.api.app import ApiServer
from chaind.node.config import (
    ApiSection,
    FaucetSection,
    MinerSection,
    PaymentsSection,
    WebhooksSection,
)

sys.path.append(str(Path(__file__).parents[1] / "miner"))  # miners as tests write them


@pytest.fixture
def api_settings() -> dict[str, Any]:
    """Settings of [api]; a test overrides them with `@pytest.mark.parametrize`."""
    return {}


@pytest.fixture
def genesis_changes() -> dict[str, Any]:
    """What differs from the usual genesis."""
    return {}


@pytest.fixture
def faucet_settings() -> dict[str, Any]:
    """Settings of [faucet]."""
    return {}


@pytest.fixture
def payment_settings() -> dict[str, Any]:
    """Settings of [payments]."""
    return {}


@pytest.fixture
def webhook_settings() -> dict[str, Any]:
    """Settings of [webhooks]."""
    return {}


@pytest.fixture
def miner_settings() -> dict[str, Any]:
    """Settings of [miner]."""
    return {}


@pytest.fixture
async def door(
    tmp_path: Path,
    api_settings: dict[str, Any],
    genesis_changes: dict[str, Any],
    faucet_settings: dict[str, Any],
    payment_settings: dict[str, Any],
    webhook_settings: dict[str, Any],
    miner_settings: dict[str, Any],
) -> AsyncIterator[Door]:
    """A node of a development chain that keeps keys, reached over HTTP."""
    section = ApiSection(**{"api_port": 0, **api_settings})
    faucet = FaucetSection(**faucet_settings)
    genesis = make_genesis(**genesis_changes)
    node, running = await start_node(
        tmp_path,
        genesis,
        section,
        faucet=faucet,
        payments=PaymentsSection(**payment_settings),
        webhooks=WebhooksSection(**webhook_settings),
        miner=MinerSection(**miner_settings),
    )
    server = ApiServer(node)
    try:
        await server.start()
        async with Door(node, server, tmp_path, running) as door:
            yield door
            server = door.server  # a test may have started another one
    finally:
        await server.stop()
        node.stop()
        await asyncio.wait_for(running, 10)
