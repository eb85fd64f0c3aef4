"""What people and the bot do with messages, once it is allowed."""

from collections.abc import Iterable
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from tests.fakes.discord import mentions
from tests.fakes.discord.files import Attachment, File
from tests.fakes.discord.mentions import Ping
from tests.fakes.discord.messages import DEFAULT, REPLY, Message

if TYPE_CHECKING:
    from tests.fakes.discord.people import User
    from tests.fakes.discord.places import Channel, Thread

Json = Any


def say(
    user: "User",
    channel: "Channel",
    text: str,
    *,
    reply_to: Message | None = None,
    ping_reply: bool = True,
    files: Iterable[File] = (),
    forward: Message | None = None,
    webhook: bool = False,
    kind: int = DEFAULT,
    nonce: str | None = None,
    sent_at: datetime | None = None,
    number: int | None = None,
) -> Message:
    """Let a person write."""
    if channel.guild is not None and not webhook and user.id not in channel.guild.members:
        channel.guild.join(user)
    number = number or channel.discord.snowflake(sent_at)
    message = Message(number, channel, user, text, kind, nonce=nonce, webhook=webhook)
    if reply_to is not None:
        message.kind, message.reference = REPLY, reply_to
    message.forwarded = forward
    message.attachments = attach(channel, files)
    allowed = {"parse": ["users", "roles", "everyone"], "replied_user": ping_reply}
    pinged = reply_to.author if reply_to is not None and not reply_to.webhook else None
    message.mentions = mentions.find(text, channel, user, allowed, pinged)
    channel.add(message)
    return message


def send(channel: "Channel", message: Message) -> None:
    """Let the bot write, and write down whom that notifies."""
    channel.discord.pings += [Ping(message, user) for user in mentions.notified(message)]
    channel.add(message)


def edit(message: Message, text: str) -> None:
    """Let a person change what they wrote."""
    changed = mentions.find(text, message.channel, message.author, None, None)
    message.change(at=datetime.now(UTC), content=text, mentions=changed)
    message.channel.tell_of(message, "MESSAGE_UPDATE")


def unfurl(message: Message, url: str) -> None:
    """Let Discord add a link's preview, which is no edit."""
    message.embeds.append({"type": "link", "url": url, "title": "A page", "description": "What the page says."})
    message.channel.tell_of(message, "MESSAGE_UPDATE")


def attach(channel: "Channel", files: Iterable[File]) -> list[Attachment]:
    discord = channel.discord
    return [discord.files.add(Attachment(discord.snowflake(), channel.id, file, discord)) for file in files]


def post(user: "User", forum: "Channel", title: str, text: str, **saying: Any) -> "Thread":
    """Let a person open a post in a forum; its first message has the thread's id."""
    thread = forum.open_thread(title, owner=user)
    say(user, thread, text, number=thread.id, **saying)
    return thread
