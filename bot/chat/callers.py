"""Who acts, and where: what a platform tells of a person at the moment when they say, type or press something.

It is asked of the platform anew each time, or was at most a minute ago; nothing of it is kept with a conversation. Names are
never part of it: anybody can call themselves anything.
"""

from dataclasses import dataclass
from enum import StrEnum


class Kind(StrEnum):
    """How somebody belongs to a workspace."""

    MEMBER = "member"
    GUEST = "guest"
    """Slack's guests; on Discord, who has not accepted the server's rules yet."""
    EXTERNAL = "external"
    """Of another organisation: Slack Connect, and on Discord who acts in a server without being its member."""
    BOT = "bot"
    UNKNOWN = "unknown"
    """The platform does not tell just now: whatever hangs on it is refused."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Standing:
    """What somebody is in a workspace. `groups` are the ids of their Discord roles or Slack user groups; `owner`: the
    workspace is theirs. `groups_known` is False when the platform did not tell them: then no right follows from a group, and
    a group that is denied may be theirs."""

    kind: Kind
    groups: frozenset[str] = frozenset()
    groups_known: bool = True
    owner: bool = False


MEMBER = Standing(kind=Kind.MEMBER)
UNKNOWN = Standing(kind=Kind.UNKNOWN, groups_known=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class Caller:
    """Somebody at a place. `channel` is the one around a thread, `category` what the channel stands under, "" for nothing;
    `direct`: it is a direct message with the bot."""

    platform: str
    workspace: str
    channel: str
    user_id: str
    standing: Standing
    category: str = ""
    direct: bool = False
