"""What the tests of all platforms share: the log, as it is written while people talk."""

import io
import logging
from collections.abc import Iterator

import pytest
import structlog

from bot.telemetry import QUIET, configure_logging


@pytest.fixture
def written() -> Iterator[io.StringIO]:
    """All that the process writes down at LOG_LEVEL=DEBUG."""
    root, stream = logging.getLogger(), io.StringIO()
    level, handlers = root.level, list(root.handlers)
    quiet = {name: logging.getLogger(name).level for name in QUIET}
    configure_logging("DEBUG", "json", (), stream)
    yield stream
    root.handlers[:] = handlers
    root.setLevel(level)
    for name, before in quiet.items():
        logging.getLogger(name).setLevel(before)
    structlog.reset_defaults()
