"""`chat.*` for whole messages, and reactions."""

from typing import Any

from tests.fakes.slack import blocks as block_kit
from tests.fakes.slack import mrkdwn, saying
from tests.fakes.slack.api import Call, Method, Methods
from tests.fakes.slack.interacting import Ephemeral
from tests.fakes.slack.messages import TOMBSTONE, Message
from tests.fakes.slack.refusals import Refusal
from tests.fakes.slack.stamps import moment_of

Json = Any

TEXT = 40_000
"""More than this is cut off without a word."""
UPDATE_TEXT = 4_000


def post_message(call: Call) -> Json:
    channel = call.writable()
    thread_ts = call.text("thread_ts") or None
    if thread_ts is not None and thread_ts not in channel.by_ts:
        raise Refusal("thread_not_found")
    text, blocks, markdown = _content(call)
    message = Message(
        ts=call.slack.stamps.new(call.slack.clock.now()),
        channel=channel,
        author=call.team.bot,
        text=text[:TEXT],
        thread_ts=channel.by_ts[thread_ts].root_ts if thread_ts else None,
        blocks=blocks,
        metadata=_metadata(call),
        subtype="thread_broadcast" if thread_ts and call.flag("reply_broadcast") else None,
        markdown=markdown,
        truncated=len(text) > TEXT,
    )
    channel.add(message)
    saying.tell_of_new(message)
    plain = call.flag("link_names") or call.text("parse") == "full"
    saying.notify(message, "\n".join([message.text, *block_kit.texts(blocks or [])]), plain=plain)
    # Slack says that it previews media unless told otherwise, and web pages only if asked; clients of it have seen both.
    if call.flag("unfurl_links", True) or call.flag("unfurl_media", True):
        saying.preview(message)
    return {"channel": channel.id, "ts": message.ts, "message": message.json(metadata=True)}


def _content(call: Call, *, most_text: int | None = None) -> tuple[str, list[Json] | None, bool]:
    """Take what a message is to say; the last part tells whether it is Markdown."""
    text, markdown, blocks = call.text("text"), call.text("markdown_text"), call.json("blocks")
    if markdown:
        if text or blocks:
            raise Refusal("markdown_text_conflict")
        if len(markdown) > block_kit.MARKDOWN_TEXT:
            raise Refusal("msg_too_long")
        return markdown, None, True
    if not text and not blocks and not call.json("attachments"):
        raise Refusal("no_text")
    if most_text is not None and len(text) > most_text:
        raise Refusal("msg_too_long")
    return mrkdwn.sent(text), None if blocks is None else block_kit.check(blocks), False


def _metadata(call: Call) -> Json:
    metadata = call.json("metadata")
    if metadata is not None and (not isinstance(metadata, dict) or "event_type" not in metadata):
        raise Refusal("invalid_metadata_format")
    return metadata


def update(call: Call) -> Json:
    channel = call.channel()
    message = call.message(channel)
    if message.author is not call.team.bot or message.subtype == TOMBSTONE:
        raise Refusal("cant_update_message")
    if message.streaming:
        raise Refusal("streaming_state_conflict")
    window = call.slack.edit_window
    if window is not None and call.slack.clock.now() - moment_of(message.ts) > window:
        raise Refusal("edit_window_closed")
    text, blocks, markdown = _content(call, most_text=UPDATE_TEXT)
    if blocks and _rich(message.blocks) and not _rich(blocks):
        raise Refusal("block_mismatch")
    more: dict[str, Any] = {"markdown": markdown}
    # Blocks that are not mentioned stay, so that people go on seeing them; an empty list takes them away.
    if blocks is not None or markdown:
        more["blocks"] = blocks or None
    if message.stream is not None:
        more["stream"] = None
        more["blocks"] = blocks or None
    if call.json("metadata") is not None:
        more["metadata"] = _metadata(call)
    # An update with blocks does not show "(edited)".
    stamp = None if blocks else call.slack.stamps.new(call.slack.clock.now())
    saying.change(message, text, edited_ts=stamp, **more)
    return {"channel": channel.id, "ts": message.ts, "text": message.text, "message": message.json(metadata=True)}


def _rich(blocks: list[Json] | None) -> bool:
    return any(block["type"] == "rich_text" for block in blocks or [])


def delete(call: Call) -> Json:
    channel = call.channel()
    message = call.message(channel)
    if message.author is not call.team.bot or message.streaming:
        raise Refusal("cant_delete_message")
    saying.delete(message)
    return {"channel": channel.id, "ts": message.ts}


def post_ephemeral(call: Call) -> Json:
    channel = call.writable()
    user = call.slack.users.get(call.required("user"))
    if user is None or user not in channel.members:
        raise Refusal("user_not_in_channel")
    text, blocks, _ = _content(call)
    stamp = call.slack.stamps.new(call.slack.clock.now())
    call.slack.ephemerals.append(Ephemeral(user, channel, text, stamp, blocks, call.text("thread_ts") or None))
    return {"message_ts": stamp}


def get_permalink(call: Call) -> Json:
    channel = call.channel(member=False)
    message = call.message(channel, "message_ts")
    path = f"/archives/{channel.id}/p{message.ts.replace('.', '')}"
    return {"channel": channel.id, "permalink": f"https://{call.team.domain}.slack.com{path}"}


def add_reaction(call: Call) -> Json:
    message = call.message(call.channel(), "timestamp")
    name = call.required("name").strip(":")
    if call.team.bot.id in message.reactions.get(name, []):
        raise Refusal("already_reacted")
    saying.react(call.team.bot, message, name)
    return {}


def remove_reaction(call: Call) -> Json:
    message = call.message(call.channel(), "timestamp")
    users = message.reactions.get(call.required("name").strip(":"), [])
    if call.team.bot.id not in users:
        raise Refusal("no_reaction")
    users.remove(call.team.bot.id)
    return {}


METHODS: Methods = {
    "chat.postMessage": Method(post_message, "chat:write"),
    "chat.update": Method(update, "chat:write"),
    "chat.delete": Method(delete, "chat:write"),
    "chat.postEphemeral": Method(post_ephemeral, "chat:write"),
    "chat.getPermalink": Method(get_permalink),
    "reactions.add": Method(add_reaction, "reactions:write"),
    "reactions.remove": Method(remove_reaction, "reactions:write"),
}
