"""A killed receiver and a node killed meanwhile: every event arrives, in order, signed."""

from pathlib import Path

import webhook_outage


def test_every_event_arrives_in_order(tmp_path: Path) -> None:
    figures = webhook_outage.campaign(tmp_path, 1.0, kill=True, restarts=1)
    assert figures["events"] >= 2 * figures["payments"] >= 24
