"""Discord's pace of new sessions: one IDENTIFY in 5 s for the whole bot, however many replicas it runs in."""

from datetime import timedelta

from bot.chat.pacing import Pacer, SharedSlots
from bot.chat.protocol import Budget
from bot.clock import Clock
from store.protocol_sharing import Sharing

PACE = timedelta(seconds=5.5)
"""Discord's 5 s, and a little for connections that take unlike times between their turn and their IDENTIFY."""


def session_starts(sharing: Sharing, clock: Clock, *, application: int) -> Pacer:
    """Make the line in which this process's new sessions wait for their turn among those of all replicas.

    While the store is away the pace is this process's alone: a session that begins too early is refused by Discord and
    begun again; one that is never begun would not come back.
    """
    return Pacer(clock, Budget(name=f"discord.{application}.identify", pace=PACE), SharedSlots(sharing, clock))
