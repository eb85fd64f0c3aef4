"""Slack's rate limits: so many calls of a method per workspace and minute, and of some per channel."""

import math
from collections import deque
from dataclasses import dataclass, field
from datetime import timedelta

TIERS = {1: 1, 2: 20, 3: 50, 4: 100}
"""Calls a minute. Slack says "at least", so a bot may count on no more."""

# `chat.postMessage` and `assistant.threads.setStatus` have rules of their own that Slack does not spell out; the numbers
# here are guesses on the low side: about a message a second in a channel with short bursts, a few hundred in a workspace.
_SPECIAL = {"chat.postMessage": 300, "assistant.threads.setStatus": 300, "auth.test": 600}
POSTS_PER_CHANNEL = 60

_TIER_OF = {
    "agents.sessions.rename": 3,
    "agents.sessions.setStatus": 3,
    "apps.connections.open": 3,
    "assistant.threads.setSuggestedPrompts": 4,
    "assistant.threads.setTitle": 4,
    "auth.revoke": 3,
    "bots.info": 3,
    "chat.appendStream": 4,
    "chat.delete": 3,
    "chat.postEphemeral": 4,
    "chat.startStream": 2,
    "chat.stopStream": 2,
    "chat.update": 3,
    "conversations.history": 3,
    "conversations.info": 3,
    "conversations.join": 3,
    "conversations.list": 2,
    "conversations.members": 4,
    "conversations.open": 3,
    "conversations.replies": 3,
    "files.completeUploadExternal": 4,
    "files.getUploadURLExternal": 4,
    "files.info": 4,
    "oauth.v2.access": 4,
    "reactions.add": 3,
    "reactions.remove": 2,
    "team.info": 3,
    "usergroups.list": 2,
    "users.info": 4,
    "views.open": 4,
    "views.publish": 4,
    "views.push": 4,
    "views.update": 4,
}
_HISTORY = ("conversations.history", "conversations.replies")
HISTORY_OF_DISTRIBUTED_APPS = 15
"""How many messages a commercial app outside of the Marketplace gets at once, and that once a minute."""


@dataclass(slots=True)
class Window:
    """At most `limit` calls within any stretch of `seconds`."""

    limit: int
    seconds: float
    taken: deque[float] = field(default_factory=deque)

    def take(self, now: float) -> float:
        """Take one, or say how many seconds to wait."""
        while self.taken and self.taken[0] <= now - self.seconds:
            self.taken.popleft()
        if len(self.taken) >= self.limit:
            return self.taken[0] + self.seconds - now
        self.taken.append(now)
        return 0.0


class Limits:
    """Counts calls. `own` holds limits of single methods that stand for the real ones."""

    def __init__(self, *, window: timedelta, own: dict[str, int], distributed: bool) -> None:
        self.window = window.total_seconds()
        self.own = own
        self.distributed = distributed
        self._windows: dict[tuple[str, ...], Window] = {}

    def limit_of(self, method: str) -> int:
        if method in self.own:
            return self.own[method]
        if self.distributed and method in _HISTORY:
            return 1
        return _SPECIAL.get(method) or TIERS[_TIER_OF.get(method, 3)]

    def admit(self, method: str, team: str, channel: str, now: timedelta) -> int:
        """Count a call; more than 0 is how many seconds it came too early."""
        waits = [self._take((method, team), self.limit_of(method), now)]
        if method == "chat.postMessage":
            waits.append(self._take((method, team, channel), POSTS_PER_CHANNEL, now))
        return math.ceil(max(waits))

    def _take(self, key: tuple[str, ...], limit: int, now: timedelta) -> float:
        return self._windows.setdefault(key, Window(limit, self.window)).take(now.total_seconds())
