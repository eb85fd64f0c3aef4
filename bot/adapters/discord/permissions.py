"""The permissions that the bot needs on Discord's servers, each by the name that people find in Discord's settings."""

import discord

from bot.chat.protocol import Place

NEEDED = {
    "view_channel": "View Channels",
    "send_messages": "Send Messages",
    "send_messages_in_threads": "Send Messages in Threads",
    "create_public_threads": "Create Public Threads",
    "attach_files": "Attach Files",
    "read_message_history": "Read Message History",
}


def invite_url(application_id: int) -> str:
    """Return the link by which the bot is added to a server, with these permissions and no more."""
    return discord.utils.oauth_url(
        application_id,
        permissions=discord.Permissions(**dict.fromkeys(NEEDED, True)),
        scopes=("bot", "applications.commands"),
    )


def may_answer(ours: discord.Permissions, place: Place) -> bool:
    """Tell whether the bot may write in a place of this kind."""
    return ours.send_messages_in_threads if place is Place.THREAD else ours.send_messages


def missing(permissions: discord.Permissions) -> tuple[str, ...]:
    """Return what is needed and not granted, by the names that people see."""
    return tuple(label for name, label in NEEDED.items() if not getattr(permissions, name))
