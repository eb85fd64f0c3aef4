"""Who may speak and command, where, and which conversation it belongs to. Pure decisions over facts that are handed in."""

from collections.abc import Collection
from dataclasses import dataclass
from enum import StrEnum

from bot.chat.protocol import CommandCall, IncomingMessage, Place
from store import ConversationKey

CONSOLE = "console"
"""The platform of the terminal. Who sits there owns the file and the process, so they are an operator."""


class Trigger(StrEnum):
    """What the bot answers in a channel."""

    MENTION = "mention"
    LISTEN = "listen"
    OFF = "off"


class Scope(StrEnum):
    """Whose a channel's conversation is: each user's own, or everybody's."""

    USER = "user"
    CHANNEL = "channel"


@dataclass(frozen=True, slots=True, kw_only=True)
class Rules:
    """What holds in one channel."""

    trigger: Trigger = Trigger.MENTION
    scope: Scope = Scope.USER


def key_of(message: IncomingMessage, rules: Rules) -> ConversationKey:
    """Name the conversation that a message belongs to (the table of DESIGN §4)."""
    where = message.address
    own = message.place is Place.CHANNEL and rules.scope is Scope.USER
    return ConversationKey(
        platform=where.platform,
        workspace=where.workspace,
        channel=where.channel,
        thread="" if message.place is Place.CHANNEL else where.thread,
        user=message.author_id if own else "",
    )


def concerns_us(message: IncomingMessage, rules: Rules, *, taking_part: bool) -> bool:
    """Tell whether the bot answers a message; `taking_part`: it has a conversation in this thread already."""
    if message.from_bot or rules.trigger is Trigger.OFF:
        return False
    if message.place is Place.DIRECT or message.addressed or rules.trigger is Trigger.LISTEN:
        return True
    return message.place is Place.THREAD and taking_part


def is_operator(call: CommandCall, operators: Collection[str]) -> bool:
    """Tell whether the caller may run operators' commands. An empty list means nobody but who sits at the terminal.

    `operators` are of the forms `discord:<user id>` and `slack:<team id>/<user id>`.
    """
    platform = call.key.platform
    if platform == CONSOLE:
        return True
    name = call.author_id if platform == "discord" else f"{call.key.workspace}/{call.author_id}"
    return f"{platform}:{name}" in operators
