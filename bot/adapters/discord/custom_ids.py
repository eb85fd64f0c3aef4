"""The ids of our buttons: what a press does, for which turn, and by which nonce the message under it was posted.

Discord gives them back with every press and with every look at the message, also after a restart, so nothing about a button
has to be remembered. At most 100 characters; a nonce takes 25 and a turn's id 19 of them.
"""

import re

from bot.chat.protocol import Control

CONTROL_ID = re.compile(r"parley:(?P<control>stop|retry|continue):(?P<turn>[0-9]{1,19}):(?P<nonce>[0-9a-z]{1,25})")


def control_id(control: Control, turn_id: int, nonce: str) -> str:
    """Name a button."""
    return f"parley:{control.value}:{turn_id}:{nonce}"


def nonce_of(custom_id: str) -> str | None:
    """Return the nonce in a button's id; None when the button is not ours."""
    match = CONTROL_ID.fullmatch(custom_id)
    return match["nonce"] if match else None
