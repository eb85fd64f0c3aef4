"""What the log may hold of Slack's libraries and of failures: single lines, and nothing that people wrote.

At DEBUG the SDK writes down every call with its texts, and the response_urls of interactions, which work like tokens.
"""

import logging
import traceback


class OneLine(logging.Filter):
    """Cuts tracebacks, and what errors repeat of requests, off the records of Slack's libraries."""

    def filter(self, record: logging.LogRecord) -> bool:
        if record.exc_info and record.exc_info[1] is not None:
            record.msg, record.args = f"Slack's library failed ({describe(record.exc_info[1])})", ()
            record.exc_info = None
        return True


def bolt_log() -> logging.Logger:
    """Return the log of Bolt and of sockets: single lines, and nothing below ERROR, where payloads and tickets are shown."""
    logger = logging.getLogger("parley.slack_bolt")
    if not logger.filters:
        logger.addFilter(OneLine())
    logger.setLevel(logging.ERROR)
    return logger


def sdk_log() -> logging.Logger:
    """Return the log of the SDK's clients, which has a level of its own whatever LOG_LEVEL is."""
    logger = logging.getLogger("parley.slack_sdk")
    logger.setLevel(logging.INFO)
    return logger


def describe(failure: BaseException) -> str:
    """Say in one line what failed and where, without what people wrote."""
    frames = traceback.extract_tb(failure.__traceback__)
    where = f" at {frames[-1].filename}:{frames[-1].lineno}" if frames else ""
    return f"{type(failure).__name__}{where}"
