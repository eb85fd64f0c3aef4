"""The names of our buttons: what a press does, for which turn, and with which nonce the message above it was posted.

Slack gives them back with every press and with every look at the message, also after a restart, so nothing about a button
has to be remembered. An action_id may have 255 characters and a value 2,000; these are far below.
"""

import re
from collections.abc import Iterable, Iterator
from typing import Any

from bot.chat.protocol import Control

CONTROL_ACTION = re.compile(r"parley_(?P<control>stop|retry|continue)")
CONTROL_VALUE = re.compile(r"(?P<turn>[0-9]{1,19}):(?P<nonce>[0-9a-z]{1,25})")
FEEDBACK_ACTION = "parley_feedback"
FEEDBACK_VALUE = re.compile(r"(?P<verdict>good|bad):(?P<turn>[0-9]{1,19})")

NO_NONCE = "0"
"""Stands in the buttons and the metadata of a message that was edited by a process that has not posted it: its id is known,
nobody looks for it any more."""

Json = Any


def control_action(control: Control) -> str:
    """Name what a button does."""
    return f"parley_{control.value}"


def control_value(turn_id: int, nonce: str) -> str:
    """Name what a button does it to."""
    return f"{turn_id}:{nonce}"


def feedback_value(turn_id: int, *, good: bool) -> str:
    """Name what a person says of a turn's answer."""
    return f"{'good' if good else 'bad'}:{turn_id}"


def nonces_in(blocks: Iterable[Json]) -> Iterator[str]:
    """List the nonces in the buttons of a message, without NO_NONCE."""
    for block in blocks:
        for element in block.get("elements") or ():
            if CONTROL_ACTION.fullmatch(str(element.get("action_id", ""))):
                value = CONTROL_VALUE.fullmatch(str(element.get("value", "")))
                if value and value["nonce"] != NO_NONCE:
                    yield value["nonce"]
