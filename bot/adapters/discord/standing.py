"""What somebody is on a Discord server, by what Discord itself tells of them with an event. Pure.

Roles are told by their ids and without @everyone, which everybody has. Servers as a whole have no guests: those who have not
accepted a server's rules yet are taken for some.
"""

from typing import Any

import discord

from bot.adapters.discord.places import workspace_of
from bot.chat.callers import MEMBER, Kind, Standing

BOT = Standing(kind=Kind.BOT)
EXTERNAL = Standing(kind=Kind.EXTERNAL)


def of_member(member: discord.Member) -> Standing:
    """Tell what a member of a server is there."""
    guild = member.guild
    # The library's `roles` leave out those that it has not cached; here each id counts, one that is denied above all.
    groups = frozenset(str(role) for role in member._roles if role != guild.id)
    kind = Kind.BOT if member.bot else Kind.GUEST if member.pending else Kind.MEMBER
    return Standing(kind=kind, groups=groups, owner=member.id == guild.owner_id)


def of_author(message: discord.Message) -> Standing | None:
    """Tell what a message's author is where it was said; None when Discord did not tell with the message.

    It does with what is heard live, and not with what is read later.
    """
    author = message.author
    if not workspace_of(message.channel):
        return in_private(author)
    return of_member(author) if isinstance(author, discord.Member) and message.guild is not None else None


def of_caller(interaction: discord.Interaction[Any]) -> Standing:
    """Tell what somebody who calls a command or presses a button is there.

    Who brought the bot along to a server that has not invited it is none of ours, and neither is who is no member.
    """
    who = interaction.user
    if interaction.guild_id is None:
        return in_private(who)
    brought_along = interaction.is_user_integration() and not interaction.is_guild_integration()
    if brought_along or not isinstance(who, discord.Member):
        return EXTERNAL
    return of_member(who)


def in_private(user: discord.abc.User) -> Standing:
    """Tell what somebody is in direct messages, where there are neither roles nor owners."""
    return BOT if user.bot else MEMBER
