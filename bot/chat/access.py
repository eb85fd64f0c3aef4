"""Who may speak with the bot, and where: what operators allowed and denied in one workspace, applied to a caller. Pure.

First it is decided who: a rule on the user, then the rules on their groups, then those on their kind, then whether people
are taken without being named. Then where: the channel's rule, then its category's, then the one on channels at large; direct
messages have their own. A denied user or group is refused whatever else is allowed, and whoever the platform tells nothing
of is refused as soon as the answer could hang on it.
"""

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from enum import Enum, auto

from bot.chat.callers import Caller, Kind, Standing


class Refusal(Enum):
    """Why somebody may not speak."""

    DENIED = auto()
    """They, or a group of theirs, were named; or nobody is taken who is not."""
    GUEST = auto()
    EXTERNAL = auto()
    BOT = auto()
    CHANNEL = auto()
    DIRECT = auto()
    UNKNOWN = auto()
    """It hangs on what the platform does not tell just now."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Access:
    """The rules of one workspace: True allows, False denies, and what is not named is neither.

    `guests` and `external` people are taken, `people` at large, `direct` messages, and `everywhere`: channels that are not
    named.
    """

    users: Mapping[str, bool] = field(default_factory=dict)
    groups: Mapping[str, bool] = field(default_factory=dict)
    categories: Mapping[str, bool] = field(default_factory=dict)
    channels: Mapping[str, bool] = field(default_factory=dict)
    guests: bool = False
    external: bool = False
    people: bool = True
    direct: bool = True
    everywhere: bool = True

    def refusal(self, caller: Caller, *, bots: bool = False) -> Refusal | None:
        """Say why a caller may not speak where they are; None when they may. `bots`: bots are answered there."""
        if caller.standing.kind is Kind.BOT and not bots:
            return Refusal.BOT
        return self._refusal_of(caller.user_id, caller.standing) or self._refusal_at(caller)

    def denies(self, user_id: str, groups: Collection[str]) -> bool:
        """Tell whether somebody is denied by name, or a group of theirs is and they are not allowed by name."""
        return not self.users.get(user_id, not any(self.groups.get(group) is False for group in groups))

    def _refusal_of(self, user_id: str, standing: Standing) -> Refusal | None:
        if user_id in self.users:
            return None if self.users[user_id] else Refusal.DENIED
        if self.denies(user_id, standing.groups):
            return Refusal.DENIED
        if not standing.groups_known and False in self.groups.values():
            return Refusal.UNKNOWN
        if standing.groups_known and any(self.groups.get(group) for group in standing.groups):
            return None
        return self._refusal_of_kind(standing.kind) or self._refusal_of_the_unnamed(standing)

    def _refusal_of_kind(self, kind: Kind) -> Refusal | None:
        match kind:
            case Kind.MEMBER | Kind.BOT:
                return None
            case Kind.GUEST:
                return None if self.guests else Refusal.GUEST
            case Kind.EXTERNAL:
                return None if self.external else Refusal.EXTERNAL
            case Kind.UNKNOWN:
                return None if self.guests and self.external else Refusal.UNKNOWN

    def _refusal_of_the_unnamed(self, standing: Standing) -> Refusal | None:
        if self.people:
            return None
        # A group of theirs may be allowed: they are told to try again.
        return Refusal.UNKNOWN if not standing.groups_known and True in self.groups.values() else Refusal.DENIED

    def _refusal_at(self, caller: Caller) -> Refusal | None:
        if caller.direct:
            return None if self.direct else Refusal.DIRECT
        named = self.channels.get(caller.channel, self.categories.get(caller.category, self.everywhere))
        return None if named else Refusal.CHANNEL
