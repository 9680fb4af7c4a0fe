"""A node that keeps no keys: names are told apart from what is wrong."""

from pathlib import Path

import pytest
from api_kit import make_genesis, start_node

from chaind.node.config import ApiSection
from chaind.node.payments import NameUnknown, NoNamedAccounts


async def test_names_need_custody(tmp_path: Path) -> None:
    node, running = await start_node(
        tmp_path, make_genesis(), ApiSection(api_port=0), custody=False
    )
    try:
        for who in ("alice", 3, "3"):
            with pytest.raises(NoNamedAccounts, match="is not enabled"):
                node.payments.resolve(who)
        with pytest.raises(NameUnknown):
            node.payments.resolve("nobody")
    finally:
        node.stop()
        await running
