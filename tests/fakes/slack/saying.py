"""What people and the bot do with messages once it is allowed, and the events that tell of it."""

import uuid
from collections.abc import Iterable
from datetime import datetime
from typing import TYPE_CHECKING, Any

from tests.fakes.slack import blocks as block_kit
from tests.fakes.slack import mrkdwn
from tests.fakes.slack.messages import File, Message, Ping, Preview

if TYPE_CHECKING:
    from tests.fakes.slack.people import User
    from tests.fakes.slack.places import Channel

Json = Any


def say(
    user: "User",
    channel: "Channel",
    text: str,
    *,
    thread: Message | str | None = None,
    files: Iterable[File] = (),
    blocks: list[Json] | None = None,
    subtype: str | None = None,
    broadcast: bool = False,
    at: datetime | None = None,
    heard: bool = True,
) -> Message:
    """Let a person, or another app's bot, write."""
    slack = channel.slack
    if user not in channel.members:
        channel.members.append(user)
    uploads = [slack.files.add(user, file) for file in files]
    message = Message(
        ts=slack.stamps.new(slack.clock.now()) if at is None else slack.stamps.at(at),
        channel=channel,
        author=user,
        text=mrkdwn.typed(text),
        thread_ts=thread.root_ts if isinstance(thread, Message) else thread,
        blocks=blocks,
        files=uploads,
        subtype=subtype or ("thread_broadcast" if broadcast else "file_share" if uploads else None),
        client_msg_id=None if user.bot_id else str(uuid.uuid4()),
    )
    channel.add(message)
    if heard:
        tell_of_new(message)
    return message


def tell_of_new(message: Message, **more: Any) -> None:
    """Send `message`, and `app_mention` as an event of its own when the bot is named; `more` is in the events alone."""
    channel = message.channel
    value = message.json() | _origin(message) | more
    channel.tell_of(value | {"event_ts": message.ts})
    if not message.author.bot_id or message.author not in channel.bots:
        named = mrkdwn.users(message.text)
        for bot in channel.bots:
            if bot.id in named:
                mention = {key: item for key, item in value.items() if key != "subtype"} | {"type": "app_mention"}
                channel.tell(mention | {"channel": channel.id, "event_ts": message.ts})


def edit(message: Message, text: str, *, heard: bool = True) -> None:
    """Let a person change what they wrote."""
    slack = message.channel.slack
    change(message, mrkdwn.typed(text), edited_ts=slack.stamps.new(slack.clock.now()), heard=heard)


def change(message: Message, text: str, *, edited_ts: str | None, heard: bool = True, **more: Any) -> None:
    """Let a message be another; without `edited_ts` Slack does not show that it was edited."""
    before = message.json()
    message.history.append(message.text)
    message.text, message.edited_ts = text, edited_ts or message.edited_ts
    for name, value in more.items():
        setattr(message, name, value)
    if heard:
        tell_of_change(message, before)


def unfurl(message: Message, url: str) -> None:
    """Let Slack add a link's preview, which is a change but no edit."""
    before = message.json()
    message.attachments.append({"id": 1, "from_url": url, "original_url": url, "title": "A page", "text": "What it says."})
    tell_of_change(message, before)


def tell_of_change(message: Message, before: Json) -> None:
    channel = message.channel
    event = {"type": "message", "subtype": "message_changed", "hidden": True, "message": message.json() | _origin(message)}
    channel.tell_of(event | {"previous_message": before, "ts": channel.slack.stamps.new(channel.slack.clock.now())})


def delete(message: Message, *, heard: bool = True) -> None:
    """Remove a message; when it has replies, Slack tells of a change into a tombstone instead of a deletion."""
    channel, before = message.channel, message.json()
    stays = channel.remove(message)
    if not heard:
        return
    if stays:
        tell_of_change(message, before)
        return
    event = {"type": "message", "subtype": "message_deleted", "hidden": True, "deleted_ts": message.ts}
    channel.tell_of(event | {"previous_message": before, "ts": channel.slack.stamps.new(channel.slack.clock.now())})


def react(user: "User", message: Message, name: str) -> None:
    message.reactions.setdefault(name, []).append(user.id)
    item = {"type": "message", "channel": message.channel.id, "ts": message.ts}
    event = {"type": "reaction_added", "user": user.id, "reaction": name, "item_user": message.author.id, "item": item}
    message.channel.tell(event)


def notify(message: Message, text: str, *, plain: bool = False) -> None:
    """Write down whom a text of the bot notifies, in whatever part of a message it stands.

    Slack does not say whether the text counts beside blocks, nor whether code does; here both count.
    """
    channel = message.channel
    people = {user for number in mrkdwn.users(text) if (user := channel.slack.users.get(number))}
    for group in mrkdwn.groups(text):
        people |= set(channel.team.groups.get(group, []))
    if mrkdwn.broadcasts(text, plain=plain):
        people |= set(channel.members)
    people = {user for user in people if not user.bot_id}
    channel.slack.pings += [Ping(message, user) for user in sorted(people, key=lambda user: user.id)]


def preview(message: Message) -> None:
    """Write down which links of the bot Slack fetches."""
    everything = [message.text, *block_kit.texts(message.blocks or [])]
    found = dict.fromkeys(url for text in everything for url in mrkdwn.urls(text))
    message.channel.slack.unfurled += [Preview(message, url) for url in found]


def _origin(message: Message) -> Json:
    """What a shared channel adds to tell where somebody is from."""
    if not message.channel.connected:
        return {}
    return {"user_team": message.author.team_id, "source_team": message.author.team_id}
