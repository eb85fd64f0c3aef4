"""A place on a platform, by our names."""

from dataclasses import dataclass

from bot.chat.protocol import Place


@dataclass(frozen=True, slots=True, kw_only=True)
class Where:
    """A direct message, a channel, or a thread and the channel around it.

    `workspace` is "" for Discord's direct messages, `thread` outside of threads. A Discord thread has an id of its own; a
    Slack thread is named by the `ts` of its first message.
    """

    place: Place
    workspace: str
    channel: str
    thread: str = ""
