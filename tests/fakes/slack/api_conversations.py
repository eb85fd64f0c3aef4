"""`conversations.*`: where one is, who is there, and what was said."""

from typing import Any

from tests.fakes.slack.api import Call, Method, Methods
from tests.fakes.slack.limits import HISTORY_OF_DISTRIBUTED_APPS
from tests.fakes.slack.messages import Message
from tests.fakes.slack.places import EVENT, Channel
from tests.fakes.slack.refusals import Refusal, missing_scope

Json = Any


def history(call: Call) -> Json:
    """List what stands in the channel itself, the newest first."""
    channel = _readable(call)
    found = [message for message in channel.messages if not message.is_reply or message.subtype == "thread_broadcast"]
    page, more = _page(call, _within(call, found)[::-1], default=100)
    return _answer(call, page, more)


def replies(call: Call) -> Json:
    """List a thread, the oldest first; the root is on every page."""
    channel = _readable(call)
    ts = call.required("ts")
    if ts not in channel.by_ts or (channel.by_ts[ts].deleted and not channel.thread(ts)):
        raise Refusal("thread_not_found")
    root, *rest = channel.thread(channel.by_ts[ts].root_ts)
    page, more = _page(call, _within(call, rest), default=1000, taken=1)
    return _answer(call, [root, *page], more)


def _readable(call: Call) -> Channel:
    channel = call.channel()
    scope = f"{EVENT[channel.kind]}:history"
    if scope not in call.team.scopes:
        raise missing_scope(scope, call.team.scopes)
    return channel


def _within(call: Call, messages: list[Message]) -> list[Message]:
    oldest, latest = float(call.text("oldest", "0")), float(call.text("latest", "inf"))
    if call.flag("inclusive"):
        return [message for message in messages if oldest <= float(message.ts) <= latest]
    return [message for message in messages if oldest < float(message.ts) < latest]


def _page(call: Call, messages: list[Message], *, default: int, taken: int = 0) -> tuple[list[Message], str]:
    """Take one page, and the cursor of the next."""
    limit = min(call.number("limit", default), 1000)
    if call.slack.limits.distributed:
        limit = min(limit, HISTORY_OF_DISTRIBUTED_APPS)
    begin = int(call.text("cursor", "c0").removeprefix("c"))
    end = begin + max(1, limit - taken)
    return messages[begin:end], f"c{end}" if end < len(messages) else ""


def _answer(call: Call, messages: list[Message], cursor: str) -> Json:
    shown = [message.json(metadata=call.flag("include_all_metadata")) for message in messages]
    return {"messages": shown, "has_more": bool(cursor), "response_metadata": {"next_cursor": cursor}}


def info(call: Call) -> Json:
    return {"channel": call.channel(member=False).json(call.team.bot)}


def list_all(call: Call) -> Json:
    kinds = {"public_channel": "public", "private_channel": "private", "im": "im", "mpim": "mpim"}
    wanted = {kinds[name.strip()] for name in call.text("types", "public_channel").split(",")}
    found = [
        channel
        for channel in call.team.channels.values()
        if channel.kind in wanted
        and not channel.deleted
        and (channel.kind == "public" or call.team.bot in channel.members)
        and not (channel.archived and call.flag("exclude_archived"))
    ]
    begin = int(call.text("cursor", "c0").removeprefix("c"))
    end = begin + call.number("limit", 100)
    cursor = f"c{end}" if end < len(found) else ""
    channels = [channel.json(call.team.bot) for channel in found[begin:end]]
    return {"channels": channels, "response_metadata": {"next_cursor": cursor}}


def open_dm(call: Call) -> Json:
    users = [call.slack.users.get(number) for number in call.text("users").split(",") if number]
    if not users or None in users:
        raise Refusal("users_list_not_supplied" if not users else "user_not_found")
    people = [user for user in users if user is not None]
    if len(people) > 1:
        return {"channel": call.team.channel("mpdm", *people, kind="mpim").json(call.team.bot)}
    channel = call.team.dm(people[0])
    return {"channel": channel.json(call.team.bot) if call.flag("return_im") else {"id": channel.id}}


def members(call: Call) -> Json:
    channel = call.channel(member=False)
    begin = int(call.text("cursor", "c0").removeprefix("c"))
    end = begin + call.number("limit", 100)
    cursor = f"c{end}" if end < len(channel.members) else ""
    return {"members": [user.id for user in channel.members[begin:end]], "response_metadata": {"next_cursor": cursor}}


def join(call: Call) -> Json:
    channel = call.channel(member=False)
    if channel.kind != "public":
        raise Refusal("method_not_supported_for_channel_type")
    if channel.archived:
        raise Refusal("is_archived")
    channel.join(call.team.bot)
    return {"channel": channel.json(call.team.bot)}


_READ = "channels:read|groups:read|im:read|mpim:read"

METHODS: Methods = {
    "conversations.history": Method(history),
    "conversations.replies": Method(replies),
    "conversations.info": Method(info, _READ),
    "conversations.list": Method(list_all, _READ),
    "conversations.members": Method(members, _READ),
    "conversations.open": Method(open_dm, "im:write|mpim:write|channels:manage"),
    "conversations.join": Method(join, "channels:join"),
}
