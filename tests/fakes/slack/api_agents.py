"""`assistant.threads.*` and `agents.sessions.*`: status lines, titles, suggested prompts, sessions."""

from dataclasses import dataclass
from typing import Any

from tests.fakes.slack import refusals
from tests.fakes.slack.api import Call, Method, Methods
from tests.fakes.slack.places import Channel, Status
from tests.fakes.slack.refusals import Refusal

Json = Any

_STATUSES = ("active", "processing", "suspended", "closed")
_TITLE = 200
_LOADING_MESSAGES = 10
_STOPPED = "agent_session_stopped"


@dataclass(slots=True)
class Session:
    """An agent session in one thread."""

    channel: Channel
    thread_ts: str
    status: str
    title: str = ""


@dataclass(frozen=True, slots=True)
class Prompts:
    """One call of `assistant.threads.setSuggestedPrompts`; people see the first four."""

    channel: Channel
    thread_ts: str | None
    title: str
    prompts: tuple[Json, ...]


def set_status(call: Call) -> Json:
    channel = call.channel("channel_id")
    thread_ts = _thread(call, channel)
    messages = call.json("loading_messages") or []
    if len(messages) > _LOADING_MESSAGES:
        raise refusals.invalid_arguments(f"no more than {_LOADING_MESSAGES} loading_messages")
    status = Status(channel, thread_ts, call.text("status"), tuple(messages), call.slack.clock.monotonic())
    call.slack.statuses.append(status)
    return {}


def set_title(call: Call) -> Json:
    channel = call.channel("channel_id")
    call.slack.titles[channel.id, _thread(call, channel)] = call.required("title")
    return {}


def set_suggested_prompts(call: Call) -> Json:
    channel = call.channel("channel_id")
    prompts = call.json("prompts")
    if not prompts or not all(prompt.get("title") and prompt.get("message") for prompt in prompts):
        raise refusals.invalid_arguments("prompts need a title and a message")
    thread_ts = _thread(call, channel) if call.text("thread_ts") else None
    call.slack.prompts.append(Prompts(channel, thread_ts, call.text("title"), tuple(prompts)))
    return {}


def set_session_status(call: Call) -> Json:
    channel = call.channel("channel_id")
    session = set_session(call, channel, _thread(call, channel), call.required("status"))
    answer = {"status": session.status, "agent_status": session.status, "title": session.title}
    if _STOPPED in call.slack.unsubscribed:
        answer["warning"] = f"missing_{_STOPPED}_event_subscription"
    return answer


def set_session(call: Call, channel: Channel, thread_ts: str, status: str) -> Session:
    if not call.team.agent:
        raise Refusal("not_authorized")
    if status not in _STATUSES or len(call.text("title")) > _TITLE:
        raise refusals.invalid_arguments("status or title")
    sessions = call.slack.sessions
    if (known := sessions.get((channel.id, thread_ts))) is None:
        known = sessions[channel.id, thread_ts] = Session(channel, thread_ts, status, call.text("title"))
    known.status = status
    return known


def rename_session(call: Call) -> Json:
    channel = call.channel("channel_id")
    session = call.slack.sessions.get((channel.id, _thread(call, channel)))
    if session is None:
        raise Refusal("session_not_found")
    if not 0 < len(call.text("title")) <= _TITLE:
        raise refusals.invalid_arguments("title")
    session.title = call.text("title")
    return {"title": session.title}


def _thread(call: Call, channel: Channel) -> str:
    thread_ts = call.required("thread_ts")
    if thread_ts not in channel.by_ts:
        raise Refusal("thread_not_found")
    return channel.by_ts[thread_ts].root_ts


METHODS: Methods = {
    "assistant.threads.setStatus": Method(set_status, "chat:write|assistant:write"),
    "assistant.threads.setTitle": Method(set_title, "assistant:write"),
    "assistant.threads.setSuggestedPrompts": Method(set_suggested_prompts, "assistant:write"),
    "agents.sessions.setStatus": Method(set_session_status, "chat:write"),
    "agents.sessions.rename": Method(rename_session, "chat:write"),
}
