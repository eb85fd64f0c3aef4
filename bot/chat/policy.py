"""What is answered where, and which conversation it belongs to. Pure decisions over facts that are handed in.

Who may speak stands in `bot.chat.access`, who may command in `bot.chat.authority`.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import timedelta
from enum import StrEnum

from bot.chat.protocol import Address, IncomingMessage, Place
from store import ConversationKey, Message, Role

CONSOLE = "console"
"""The platform of the terminal. Who sits there owns the file and the process, so they are an operator."""

BOT_TURNS = 3
"""Messages of bots that are answered in a row: two bots that answer each other would never end by themselves."""
BOT_WINDOW = 2 * BOT_TURNS
"""The last messages among which so many of people and bots stand: each has one answer behind it at most."""


class Trigger(StrEnum):
    """What the bot answers in a channel."""

    MENTION = "mention"
    LISTEN = "listen"
    OFF = "off"


class Scope(StrEnum):
    """Whose a channel's conversation is: each user's own, or everybody's."""

    USER = "user"
    CHANNEL = "channel"


class Placement(StrEnum):
    """Where a channel's messages are answered: in the channel, or in a thread that begins at the message."""

    INLINE = "inline"
    THREAD = "thread"


@dataclass(frozen=True, slots=True, kw_only=True)
class Rules:
    """What holds in one channel. `bots`: other bots are answered too, up to `BOT_TURNS` in a row.

    `persona` is what the model is told of itself, `model` the one that is asked first, "" for the first there is; `ttl` is
    how long a conversation is kept in which nothing is said, None for ever.
    """

    trigger: Trigger = Trigger.MENTION
    scope: Scope = Scope.USER
    placement: Placement = Placement.INLINE
    bots: bool = False
    persona: str = ""
    model: str = ""
    ttl: timedelta | None = None


def key_of(place: Place, address: Address, author_id: str, rules: Rules, *, message_id: str = "") -> ConversationKey:
    """Name the conversation that a message or a command belongs to (the table of DESIGN §4).

    `message_id` is "" for a command: it begins no thread, and speaks of its author's own conversation in the channel.
    """
    begins_thread = _begins_thread(place, rules) and message_id != ""
    own = place is Place.CHANNEL and rules.scope is Scope.USER and not begins_thread
    thread = "" if place is Place.CHANNEL else address.thread
    return ConversationKey(
        platform=address.platform,
        workspace=address.workspace,
        channel=address.channel,
        thread=message_id if begins_thread else thread,
        user=author_id if own else "",
    )


def address_of(message: IncomingMessage, rules: Rules) -> Address:
    """Say where a message is answered: where it was said, or in the thread that begins at it and has its name."""
    if _begins_thread(message.place, rules):
        return replace(message.address, thread=message.message_id, reply_to=message.message_id)
    return message.address


def _begins_thread(place: Place, rules: Rules) -> bool:
    return place is Place.CHANNEL and rules.placement is Placement.THREAD


def concerns_us(message: IncomingMessage, rules: Rules, *, taking_part: bool) -> bool:
    """Tell whether the bot answers a message; `taking_part`: it has a conversation in this thread already."""
    if rules.trigger is Trigger.OFF or (message.from_bot and not rules.bots):
        return False
    if message.place is Place.DIRECT or message.addressed or rules.trigger is Trigger.LISTEN:
        return True
    return message.place is Place.THREAD and taking_part


def bots_have_had_their_turns(recent: Sequence[Message]) -> bool:
    """Tell from the last `BOT_WINDOW` messages of a conversation whether bots are to wait until a human speaks."""
    heard = [message.from_bot for message in recent if message.role is Role.USER][-BOT_TURNS:]
    return len(heard) == BOT_TURNS and all(heard)
