"""What members may do in a guild and in a channel."""

from collections.abc import Iterable
from dataclasses import dataclass
from functools import reduce
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from tests.fakes.discord.guilds import Guild
    from tests.fakes.discord.people import Role, User
    from tests.fakes.discord.places import Channel

Json = Any

BITS = {
    name: 1 << place
    for place, name in {
        2: "BAN_MEMBERS",
        3: "ADMINISTRATOR",
        4: "MANAGE_CHANNELS",
        5: "MANAGE_GUILD",
        6: "ADD_REACTIONS",
        10: "VIEW_CHANNEL",
        11: "SEND_MESSAGES",
        13: "MANAGE_MESSAGES",
        14: "EMBED_LINKS",
        15: "ATTACH_FILES",
        16: "READ_MESSAGE_HISTORY",
        17: "MENTION_EVERYONE",
        20: "CONNECT",
        21: "SPEAK",
        28: "MANAGE_ROLES",
        29: "MANAGE_WEBHOOKS",
        31: "USE_APPLICATION_COMMANDS",
        34: "MANAGE_THREADS",
        35: "CREATE_PUBLIC_THREADS",
        36: "CREATE_PRIVATE_THREADS",
        38: "SEND_MESSAGES_IN_THREADS",
        40: "MODERATE_MEMBERS",
    }.items()
}
EVERYTHING = (1 << 53) - 1
MEMBER = (
    "VIEW_CHANNEL",
    "SEND_MESSAGES",
    "SEND_MESSAGES_IN_THREADS",
    "CREATE_PUBLIC_THREADS",
    "READ_MESSAGE_HISTORY",
    "EMBED_LINKS",
    "ATTACH_FILES",
    "ADD_REACTIONS",
    "USE_APPLICATION_COMMANDS",
    "CONNECT",
    "SPEAK",
)
BOT = (*MEMBER, "MENTION_EVERYONE")
"""The worst case: nothing but the bot itself keeps it from pinging everyone."""


def bits(names: Iterable[str]) -> int:
    return reduce(lambda all_bits, name: all_bits | BITS[name], names, 0)


@dataclass(slots=True)
class Overwrite:
    """What a role (kind 0) or a member (kind 1) may do differently in one channel."""

    id: int
    kind: int
    allow: int = 0
    deny: int = 0

    def json(self) -> Json:
        return {"id": str(self.id), "type": self.kind, "allow": str(self.allow), "deny": str(self.deny)}


def in_guild(guild: "Guild", user: "User") -> int:
    if user is guild.owner:
        return EVERYTHING
    granted = reduce(lambda all_bits, role: all_bits | role.permissions, _roles(guild, user), 0)
    return EVERYTHING if granted & BITS["ADMINISTRATOR"] else granted


def in_channel(channel: "Channel", user: "User") -> int:
    """Compute as Discord does: the guild's, then the channel's for everyone, for roles, for the member."""
    if channel.guild is None:
        return EVERYTHING
    granted = in_guild(channel.guild, user)
    if granted == EVERYTHING:
        return granted
    overwrites = channel.ruled_by.overwrites
    roles = [overwrites[role.id] for role in _roles(channel.guild, user) if role.id in overwrites]
    everyone = [overwrite for overwrite in roles if overwrite.id == channel.guild.id]
    others = [overwrite for overwrite in roles if overwrite.id != channel.guild.id]
    own = [overwrites[user.id]] if user.id in overwrites else []
    for stage in (everyone, others, own):
        for overwrite in stage:
            granted &= ~overwrite.deny
        for overwrite in stage:
            granted |= overwrite.allow
    return granted


def _roles(guild: "Guild", user: "User") -> "list[Role]":
    member = guild.members.get(user.id)
    return [guild.everyone, *(member.roles if member is not None else ())]
