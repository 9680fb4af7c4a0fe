"""Worlds to test in. Of the logs of many nodes only what should never happen is printed."""

import logging
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import structlog
from parts import World

sys.path.append(str(Path(__file__).parents[1] / "miner"))  # miners as tests write them


@pytest.fixture(autouse=True, scope="session")
def _quiet() -> None:
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.ERROR))


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    """A node's parts on an empty chain."""
    world = World(tmp_path / "world")
    yield world
    world.close()


@pytest.fixture
def maker(tmp_path: Path) -> Iterator[World]:
    """Another node of the same chain, which makes blocks."""
    maker = World(tmp_path / "maker")
    yield maker
    maker.close()
