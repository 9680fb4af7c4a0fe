"""Drawn examples are the same in every run, and a slow machine fails none of them.

A gate that draws anew fails on somebody else's change. New examples are a run of their own:

    CHAIND_TEST_FRESH=1 .venv/bin/pytest tests/ledger

Logs are of the level that a node's are.
"""

import logging
import os

import structlog
from hypothesis import settings

from chaind.node.config import LogSection

settings.register_profile("same", deadline=None, derandomize=True)
settings.register_profile("fresh", deadline=None, print_blob=True)
settings.load_profile("fresh" if os.environ.get("CHAIND_TEST_FRESH") else "same")

level = logging.getLevelNamesMapping()[LogSection().level.upper()]
structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(level))
