"""The names under which others know a turn: the platform its posts, the store its last try. Pure."""

import base64
import hashlib

from store import Turn

NONCE_LENGTH = 25
"""Discord takes no longer nonce."""


def tried_alone(turn: Turn) -> str:
    """Name, for `Store.once`, that a turn was the only suspect of its process; being asked again begins anew."""
    return f"alone {turn.id} {turn.queued_at.isoformat()}"


def nonce(turn: Turn, number: int) -> str:
    """Derive a part's nonce from its turn, so that a restart repeats it.

    The time of queueing stands in it too: a new store counts its turns from 1 again, and Discord would answer a nonce that
    it saw minutes ago with the message of the old turn.
    """
    name = f"{turn.id}/{turn.queued_at.isoformat()}/{number}"
    return base64.b32encode(hashlib.sha256(name.encode()).digest()).decode()[:NONCE_LENGTH].lower()
