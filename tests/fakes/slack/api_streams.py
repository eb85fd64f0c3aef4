"""`chat.startStream`, `chat.appendStream` and `chat.stopStream`, with the life and the size that streams have."""

from typing import Any

from tests.fakes.slack import blocks as block_kit
from tests.fakes.slack import refusals, saying
from tests.fakes.slack.api import Call, Method, Methods
from tests.fakes.slack.api_agents import set_session
from tests.fakes.slack.messages import Message, Stream
from tests.fakes.slack.refusals import Refusal

Json = Any

CHUNKS = ("markdown_text", "task_update", "plan_update", "blocks")


def start(call: Call) -> Json:
    channel = call.writable()
    if channel.refuses_streams:
        raise Refusal(channel.refuses_streams)
    recipient = None
    if channel.kind != "im":
        if not call.text("recipient_team_id"):
            raise Refusal("missing_recipient_team_id")
        if not (recipient := call.text("recipient_user_id")):
            raise Refusal("missing_recipient_user_id")
    thread_ts = call.text("thread_ts") or None
    if thread_ts is None and channel.kind == "im":
        raise Refusal("invalid_thread_ts")
    if thread_ts is not None and thread_ts not in channel.by_ts:
        raise Refusal("thread_not_found")
    message = Message(
        ts=call.slack.stamps.new(call.slack.clock.now()),
        channel=channel,
        author=call.team.bot,
        text="",
        thread_ts=channel.by_ts[thread_ts].root_ts if thread_ts else None,
        stream=Stream(call.slack.clock.monotonic(), recipient),
        markdown=True,
    )
    added = _added(call)
    _grow(message, added)
    channel.add(message)
    saying.notify(message, added)
    saying.preview(message)
    saying.tell_of_new(message)
    return {"channel": channel.id, "ts": message.ts}


def append(call: Call) -> Json:
    message = _streaming(call)
    added = _added(call)
    if not added and not call.json("chunks"):
        raise refusals.invalid_arguments("missing required field: markdown_text")
    _grow(message, added)
    saying.notify(message, added)
    return {"channel": message.channel.id, "ts": message.ts}


def stop(call: Call) -> Json:
    message = _streaming(call)
    blocks = call.json("blocks")
    checked = block_kit.check(blocks) if blocks else None
    added, before = _added(call), message.json()
    _grow(message, added)
    saying.notify(message, added)
    message.blocks = checked
    message.metadata = call.json("metadata") or message.metadata
    assert message.stream is not None
    message.stream.ended = "stopped"
    if status := call.text("session_status"):
        set_session(call, message.channel, message.root_ts, status)
    saying.tell_of_change(message, before)
    return {"channel": message.channel.id, "ts": message.ts, "message": message.json(metadata=True)}


def _streaming(call: Call) -> Message:
    message = call.message(call.channel())
    if message.author is not call.team.bot:
        raise Refusal("message_not_owned_by_app")
    appending = call.request.method == "chat.appendStream"
    if not message.streaming:
        # Slack does not say what stopping answers after the person stopped it; this is what it says of every ended stream.
        by_user = message.stream is not None and message.stream.ended == "stopped_by_user"
        raise Refusal("stopped_by_user" if by_user and appending else "message_not_in_streaming_state")
    return message


def _added(call: Call) -> str:
    text, chunks = call.text("markdown_text"), call.json("chunks") or []
    if len(text) > block_kit.MARKDOWN_TEXT:
        raise Refusal("msg_too_long")
    for chunk in chunks:
        if not isinstance(chunk, dict) or chunk.get("type") not in CHUNKS:
            raise Refusal("invalid_chunks")
    return text + "".join(chunk.get("text", "") for chunk in chunks if chunk["type"] == "markdown_text")


def _grow(message: Message, added: str) -> None:
    """Add text, if the whole does not become longer than a streamed message can be."""
    slack, stream = message.channel.slack, message.stream
    assert stream is not None
    size = stream.size + len(added.encode())
    if len(message.text) + len(added) > block_kit.MARKDOWN_TEXT or size > slack.stream_bytes:
        raise Refusal("msg_too_long")
    message.text, stream.size = message.text + added, size
    if stream.first is None and added:
        stream.first = added


METHODS: Methods = {
    "chat.startStream": Method(start, "chat:write"),
    "chat.appendStream": Method(append, "chat:write"),
    "chat.stopStream": Method(stop, "chat:write"),
}
