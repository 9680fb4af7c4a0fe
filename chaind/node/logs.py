"""Structured logs to standard error: addresses redacted, control characters made visible."""

import logging
import re
import sys
from collections.abc import MutableMapping
from typing import Any

import structlog

from chaind.node.config import LogSection

# Bech32 of either kind, and Base58Check: enough of each stays to tell two apart.
_ADDRESS = re.compile(r"\b([a-z0-9]{1,10}1[02-9ac-hj-np-z]{4})[02-9ac-hj-np-z]{34,58}\b")
_BASE58 = re.compile(r"\b([1-9A-HJ-NP-Za-km-z]{5})[1-9A-HJ-NP-Za-km-z]{26,30}\b")
# What a stranger calls itself must not move the cursor of whoever reads the log.
_CONTROLS = {code: f"\\x{code:02x}" for code in (*range(32), *range(127, 160))}


def redact(text: str) -> str:
    """Addresses cut to their first characters."""
    return _BASE58.sub(r"\1…", _ADDRESS.sub(r"\1…", text))


def _redact_event(
    _logger: object, _method: str, event: MutableMapping[str, Any]
) -> MutableMapping[str, Any]:
    for key, value in event.items():
        if isinstance(value, str):
            value = redact(value)
            event[key] = value if key == "exception" else value.translate(_CONTROLS)
    return event


def configure_logs(section: LogSection) -> None:
    """Send everything at or above the level to standard error, as lines or as JSON."""
    level = logging.getLevelNamesMapping()[section.level.upper()]
    renderer: Any = (
        structlog.processors.JSONRenderer()
        if section.format == "json"
        else structlog.dev.ConsoleRenderer(colors=sys.stderr.isatty())
    )
    structlog.configure(
        processors=[
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            structlog.processors.format_exc_info,
            _redact_event,
            renderer,
        ],
        wrapper_class=structlog.make_filtering_bound_logger(level),
        logger_factory=structlog.PrintLoggerFactory(sys.stderr),
        cache_logger_on_first_use=True,
    )
    logging.basicConfig(level=max(level, logging.WARNING), stream=sys.stderr)
