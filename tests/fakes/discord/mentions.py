"""Who a text mentions, and whom that notifies, by Discord's rules."""

import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

from tests.fakes.discord import permissions, refusals

if TYPE_CHECKING:
    from tests.fakes.discord.messages import Message
    from tests.fakes.discord.people import Role, User
    from tests.fakes.discord.places import Channel

Json = Any

_CODE = re.compile(r"```.*?```|``.*?``|`[^`]*`", re.DOTALL)
_USER = re.compile(r"<@!?(\d+)>")
_ROLE = re.compile(r"<@&(\d+)>")
_EVERYONE = re.compile(r"@(everyone|here)\b")


class Ping(NamedTuple):
    """One person whom one message of the bot notified; `message.silent` tells whether the phone stayed quiet."""

    message: "Message"
    user: "User"


@dataclass(frozen=True, slots=True)
class Mentions:
    """What remains of a text's mentions after `allowed_mentions`."""

    users: "tuple[User, ...]" = ()
    roles: "tuple[Role, ...]" = ()
    everyone: bool = False


def find(text: str, channel: "Channel", author: "User", allowed: Json, replied_to: "User | None") -> Mentions:
    """Find mentions outside code. `allowed` is None when the request had no such key, which allows everything."""
    text = _CODE.sub(" ", text)
    users = [user for user in map(channel.discord.users.get, _ids(_USER, text)) if user is not None]
    roles = []
    everyone = bool(_EVERYONE.search(text)) and channel.guild is not None
    if channel.guild is not None:
        roles = [role for role in map(channel.guild.roles.get, _ids(_ROLE, text)) if role is not None]
        if not permissions.in_channel(channel, author) & permissions.BITS["MENTION_EVERYONE"]:
            everyone = False
            roles = [role for role in roles if role.mentionable]
    if allowed is not None:
        parse = allowed.get("parse") or ()
        everyone = everyone and "everyone" in parse
        users = [user for user in users if "users" in parse or str(user.id) in map(str, allowed.get("users") or ())]
        roles = [role for role in roles if "roles" in parse or str(role.id) in map(str, allowed.get("roles") or ())]
    if replied_to is not None and (allowed is None or allowed.get("replied_user", False)):
        users.append(replied_to)
    return Mentions(tuple(dict.fromkeys(users)), tuple(dict.fromkeys(roles)), everyone)


def notified(message: "Message") -> "list[User]":
    """List the people whom this message notifies; its author is never among them."""
    mentions, guild = message.mentions, message.channel.guild
    people = set(mentions.users)
    if guild is not None:
        members = guild.members.values()
        people = {
            member.user
            for member in members
            if mentions.everyone or member.user in people or set(member.roles) & set(mentions.roles)
        }
    return sorted(people - {message.author}, key=lambda user: user.id)


def check_allowed(allowed: Json) -> None:
    """Refuse what contradicts itself."""
    for kind in ("users", "roles"):
        if allowed and kind in (allowed.get("parse") or ()) and allowed.get(kind):
            raise refusals.invalid_form(
                "allowed_mentions",
                "MESSAGE_ALLOWED_MENTIONS_PARSE_EXCLUSIVE",
                f'parse:["{kind}"] and {kind}: [ids...] are exclusive.',
            )


def _ids(pattern: re.Pattern[str], text: str) -> Iterable[int]:
    return map(int, pattern.findall(text))
