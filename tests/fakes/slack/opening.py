"""What people open and look at: the App Home, the agent view, the old assistant view, and Slack's stop button."""

from typing import TYPE_CHECKING, Any

from tests.fakes.slack import saying
from tests.fakes.slack.messages import Message

if TYPE_CHECKING:
    from tests.fakes.slack.people import User
    from tests.fakes.slack.places import Channel

Json = Any


def open_app(user: "User", tab: str, context: "Channel | None" = None) -> None:
    event: Json = {"type": "app_home_opened", "user": user.id, "channel": user.dm.id, "tab": tab}
    if tab == "home" and user.home is not None:
        event["view"] = user.home.json()
    if tab == "messages":
        event["context"] = _entities(context)
    user.slack.dispatch.event(user.team, event)


def look_at(user: "User", channel: "Channel | None") -> None:
    event = {"type": "app_context_changed", "user": user.id, "channel": user.dm.id, "context": _entities(channel)}
    user.slack.dispatch.event(user.team, event)


def ask(user: "User", text: str, thread: Message | None, context: "Channel | None") -> Message:
    message = saying.say(user, user.dm, text, thread=thread, heard=False)
    saying.tell_of_new(message, app_context=_entities(context))
    return message


def _entities(channel: "Channel | None") -> Json:
    if channel is None:
        return {}
    return {"entities": [{"type": "slack#/types/channel_id", "value": channel.id, "team_id": channel.team.id}]}


def open_assistant(user: "User", context: "Channel | None") -> str:
    """Begin a thread of the old assistant view; its root is a message of the app that nobody wrote."""
    slack = user.slack
    root = Message(slack.stamps.new(slack.clock.now()), user.dm, user.team.bot, "New Assistant Thread")
    root.subtype = "assistant_app_thread"
    user.dm.add(root)
    tell_assistant(user, "assistant_thread_started", root.ts, context)
    return root.ts


def tell_assistant(user: "User", kind: str, thread_ts: str, context: "Channel | None") -> None:
    seen = (
        {"channel_id": context.id, "team_id": context.team.id, "enterprise_id": context.team.enterprise} if context else {}
    )
    thread = {"user_id": user.id, "context": seen, "channel_id": user.dm.id, "thread_ts": thread_ts}
    user.slack.dispatch.event(user.team, {"type": kind, "assistant_thread": thread})


def stop(user: "User", thread: Message) -> None:
    """Stop the streams of a thread and tell the app, which has to set the session's status itself."""
    channel = thread.channel
    running = [message for message in channel.thread(thread) if message.streaming]
    for message in running:
        assert message.stream is not None
        message.stream.ended = "stopped_by_user"
    event = {"type": "agent_session_stopped", "channel": channel.id, "thread_ts": thread.root_ts, "user": user.id}
    channel.tell(event | {"streaming_message_ts": [message.ts for message in running]})
