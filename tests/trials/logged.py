"""The log of a trial that runs in our own process: into a text of its own, and everything is as before afterwards."""

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Literal, TextIO

import structlog

from bot.telemetry import QUIET, configure_logging


@contextmanager
def logged_to(stream: TextIO, form: Literal["console", "json"] = "json") -> Iterator[None]:
    """Send what is logged to `stream` alone, as Parley does."""
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    quiet = {name: logging.getLogger(name).level for name in QUIET}
    configured, ours = structlog.is_configured(), structlog.get_config()
    root.handlers.clear()
    configure_logging("INFO", form, (), stream)
    try:
        yield
    finally:
        root.handlers[:] = handlers
        root.setLevel(level)
        for name, before in quiet.items():
            logging.getLogger(name).setLevel(before)
        if configured:
            structlog.configure(**ours)
        else:
            structlog.reset_defaults()
