"""What the log may hold of Slack's libraries: single lines, and nothing that people wrote.

At DEBUG the SDK writes down every call with its texts, and the response_urls of interactions, which work like tokens.
"""

import logging

from bot.adapters.failures import describe


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
