"""REST calls on messages: send, edit, read, delete, react, type."""

import bisect
from datetime import UTC, datetime, timedelta
from typing import Any

from tests.fakes.discord import doings, forms, mentions, refusals
from tests.fakes.discord.files import File
from tests.fakes.discord.messages import ANSWERABLE, REPLY, Message
from tests.fakes.discord.places import Channel, Dm, Thread
from tests.fakes.discord.refusals import Refusal
from tests.fakes.discord.rest import Call, Routes

Json = Any

TALKING = (0, 1, 2, 5, 10, 11, 12, 13)
"""The kinds of channels that hold messages."""


def create(call: Call) -> Json:
    channel = call.channel()
    check_writable(channel, call.body, call.files)
    if (existing := _sent_before(channel, call.body)) is not None:
        return call.show(existing, nonce=True)
    message = compose(channel, call.body, call.files)
    channel.discord.nonces.append(message)
    doings.send(channel, message)
    return call.show(message, nonce=True)


def check_writable(channel: Channel, body: Json, files: list[File]) -> None:
    bot = channel.discord.bot
    if channel.kind not in TALKING:
        raise Refusal(400, 50008, "Cannot send messages in a non-text channel")
    if isinstance(channel, Dm) and channel.user is not None and not channel.user.takes_dms:
        raise Refusal(403, 50007, "Cannot send messages to this user")
    if isinstance(channel, Thread) and channel.archived and channel.locked:
        raise Refusal(400, 160005, "Thread is locked")
    wanted = ["SEND_MESSAGES_IN_THREADS" if isinstance(channel, Thread) else "SEND_MESSAGES"]
    wanted += ["ATTACH_FILES"] * bool(files) + ["EMBED_LINKS"] * bool(body.get("embeds"))
    if not channel.may(bot, *wanted):
        raise refusals.missing_permissions()
    if body.get("message_reference") and not channel.may(bot, "READ_MESSAGE_HISTORY"):
        raise Refusal(403, 160002, "Cannot reply without permission to read message history")


def compose(channel: Channel, body: Json, files: list[File]) -> Message:
    """Make the message that a body describes, or refuse it."""
    forms.check_message(body, files)
    content = (body.get("content") or "").strip()  # as Discord does: no message begins or ends with white space
    if not (content or files or body.get("embeds") or body.get("components")):
        raise refusals.empty_message()
    discord = channel.discord
    message = Message(discord.snowflake(), channel, discord.bot, content, flags=body.get("flags") or 0)
    message.reference = _referenced(channel, body.get("message_reference"))
    if message.reference is not None:
        message.kind = REPLY
    check_automod(channel, content)
    message.embeds = body.get("embeds") or []
    message.components = body.get("components") or []
    message.nonce = str(body["nonce"]) if body.get("nonce") is not None else None
    message.attachments = doings.attach(channel, files)
    replied_to = message.reference.author if message.reference is not None else None
    message.mentions = mentions.find(content, channel, discord.bot, body.get("allowed_mentions"), replied_to)
    return message


def check_automod(channel: Channel, content: str) -> None:
    words = channel.guild.automod if channel.guild is not None else ()
    if any(word.lower() in content.lower() for word in words):
        raise Refusal(400, 200000, "Message was blocked by automatic moderation")


def apply(message: Message, body: Json, files: list[File]) -> None:
    """Edit a message of the bot."""
    forms.check_message(body, files, flags=message.flags)
    fields: dict[str, Any] = {name: body[name] or [] for name in ("embeds", "components") if name in body}
    if "content" in body:
        fields["content"] = (body["content"] or "").strip()
        check_automod(message.channel, fields["content"])
        replied_to = message.reference.author if message.reference is not None else None
        allowed = body.get("allowed_mentions")
        fields["mentions"] = mentions.find(fields["content"], message.channel, message.author, allowed, replied_to)
    if "attachments" in body or files:
        kept = {str(attachment["id"]) for attachment in body.get("attachments") or ()}
        held = [attachment for attachment in message.attachments if "attachments" not in body or str(attachment.id) in kept]
        fields["attachments"] = held + doings.attach(message.channel, files)
    if "flags" in body:
        fields["flags"] = message.flags & ~(1 << 2) | (body["flags"] or 0)
    after = {name: getattr(message, name) for name in ("content", "embeds", "components", "attachments")} | fields
    if not any(after[name] for name in ("content", "embeds", "components", "attachments")):
        raise refusals.empty_message()
    message.change(at=datetime.now(UTC), **fields)


def edit(call: Call) -> Json:
    channel = call.channel()
    message = call.message(channel)
    if message.author is not call.discord.bot:
        raise Refusal(403, 50005, "Cannot edit a message authored by another user")
    if isinstance(channel, Thread) and channel.archived:
        raise Refusal(400, 50083, "Thread is archived")
    apply(message, call.body, call.files)
    channel.tell_of(message, "MESSAGE_UPDATE")
    return call.show(message)


def delete(call: Call) -> None:
    channel = call.channel()
    message = call.message(channel)
    if message.author is not call.discord.bot and not channel.may(call.discord.bot, "MANAGE_MESSAGES"):
        raise refusals.missing_permissions()
    channel.remove(message)


def bulk_delete(call: Call) -> None:
    channel = call.channel("MANAGE_MESSAGES")
    found = [channel.by_id.get(int(number)) for number in call.body["messages"]]
    channel.remove(*(message for message in found if message is not None))


def read(call: Call) -> Json:
    channel = call.channel("READ_MESSAGE_HISTORY")
    return call.show(call.message(channel))


def history(call: Call) -> Json:
    channel = call.channel()
    limit = call.number("limit", 50, 1, 100)
    if not channel.may(call.discord.bot, "READ_MESSAGE_HISTORY"):
        return []
    page = channel.messages
    if "after" in call.web.query:
        page = [message for message in page if message.id > int(call.web.query["after"])][:limit]
    elif "before" in call.web.query:
        page = [message for message in page if message.id < int(call.web.query["before"])][-limit:]
    elif "around" in call.web.query:
        behind = bisect.bisect_left([message.id for message in page], int(call.web.query["around"]))
        page = page[max(behind - limit // 2, 0) :][:limit]
    else:
        page = page[-limit:]
    return [call.show(message) for message in reversed(page)]


def typing(call: Call) -> None:
    channel = call.channel()
    check_writable(channel, {}, [])
    channel.typing.append(datetime.now(UTC))


def react(call: Call) -> None:
    call.message(call.channel("ADD_REACTIONS")).reactions.append(call.web.match_info["emoji"])


def unreact(call: Call) -> None:
    message, emoji = call.message(call.channel()), call.web.match_info["emoji"]
    if emoji in message.reactions:
        message.reactions.remove(emoji)


def _sent_before(channel: Channel, body: Json) -> Message | None:
    """Find what the bot has sent here with this nonce a short while ago."""
    if not body.get("enforce_nonce") or body.get("nonce") is None:
        return None
    since = datetime.now(UTC) - channel.discord.nonce_memory - timedelta(milliseconds=1)
    for message in reversed(channel.discord.nonces):
        same = message.nonce == str(body["nonce"]) and message.channel is channel
        if same and not message.deleted and message.sent_at > since:
            return message
    return None


def _referenced(channel: Channel, reference: Json) -> Message | None:
    if not reference:
        return None
    message = channel.by_id.get(int(reference["message_id"]))
    if message is None:
        if reference.get("fail_if_not_exists", True):
            raise refusals.invalid_form("message_reference", "MESSAGE_REFERENCE_UNKNOWN_MESSAGE", "Unknown message")
        return None
    if message.kind not in ANSWERABLE:
        words = "Cannot reply to a system message"
        raise refusals.invalid_form("message_reference", "REPLIES_CANNOT_REPLY_TO_SYSTEM_MESSAGE", words)
    return message


_MESSAGES = "/channels/{channel_id}/messages"
_MESSAGE = _MESSAGES + "/{message_id}"

ROUTES: Routes = {
    ("GET", _MESSAGES): history,
    ("POST", _MESSAGES): create,
    ("POST", _MESSAGES + "/bulk-delete"): bulk_delete,
    ("GET", _MESSAGE): read,
    ("PATCH", _MESSAGE): edit,
    ("DELETE", _MESSAGE): delete,
    ("PUT", _MESSAGE + "/reactions/{emoji}/@me"): react,
    ("DELETE", _MESSAGE + "/reactions/{emoji}/@me"): unreact,
    ("POST", "/channels/{channel_id}/typing"): typing,
}
