"""Streams live as long and grow as large as Slack's, and people stop them."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from tests.fakes.clock import FakeClock
from tests.fakes.slack import FakeSlack, Message
from tests.fakes_slack.bots import bot, client_of
from tests.fakes_slack.test_messages import refused

pytestmark = pytest.mark.anyio

BUTTONS = {
    "type": "context_actions",
    "elements": [
        {
            "type": "feedback_buttons",
            "action_id": "feedback",
            "positive_button": {"text": {"type": "plain_text", "text": "Good"}, "value": "good"},
            "negative_button": {"text": {"type": "plain_text", "text": "Bad"}, "value": "bad"},
        }
    ],
}


async def streaming(client: Any, root: Message, **more: Any) -> dict[str, str]:
    """Start a stream; returns what names it."""
    started = await client.chat_startStream(channel=root.channel.id, thread_ts=root.ts, **more)
    return {"channel": started["channel"], "ts": started["ts"]}


async def test_a_stream_grows_and_ends_with_blocks_and_metadata() -> None:
    async with FakeSlack() as slack, client_of(slack) as client:
        ada = slack.workspace.user("Ada")
        root = await ada.say(ada.dm, "hello")
        stream = await streaming(client, root, markdown_text="**Hel")
        await client.chat_appendStream(**stream, markdown_text="lo**")
        message = ada.dm.messages[-1]
        assert (message.streaming, message.shown) == (True, "**Hello**")
        assert await refused(client.chat_update(**stream, text="x")) == "streaming_state_conflict"
        assert await refused(client.chat_delete(**stream)) == "cant_delete_message"
        metadata = {"event_type": "parley_turn", "event_payload": {"turn": "7"}}
        await client.chat_stopStream(**stream, markdown_text="!", blocks=[BUTTONS], metadata=metadata)
        assert (message.streaming, message.text, message.buttons) == (False, "**Hello**!", ["feedback"])
        assert message.metadata == metadata
        assert await refused(client.chat_appendStream(**stream, markdown_text="x")) == "message_not_in_streaming_state"
        assert await refused(client.chat_stopStream(**stream)) == "message_not_in_streaming_state"


async def test_the_helper_of_the_sdk_works_with_it() -> None:
    async with FakeSlack() as slack, client_of(slack) as client:
        ada = slack.workspace.user("Ada")
        root = await ada.say(ada.dm, "hello")
        stream = await client.chat_stream(channel=ada.dm.id, thread_ts=root.ts, buffer_size=5)
        for piece in ("Hel", "lo ", "you"):
            await stream.append(markdown_text=piece)
        await stream.stop()
        assert ada.dm.messages[-1].shown == "Hello you"


async def test_a_stream_dies_after_five_minutes_and_can_then_be_updated() -> None:
    clock = FakeClock(datetime.now(UTC))
    async with FakeSlack(clock=clock) as slack, client_of(slack) as client:
        ada = slack.workspace.user("Ada")
        stream = await streaming(client, await ada.say(ada.dm, "hello"), markdown_text="one")
        await clock.advance(timedelta(minutes=4))
        await client.chat_appendStream(**stream, markdown_text=" two")
        await clock.advance(timedelta(minutes=1))
        assert await refused(client.chat_appendStream(**stream, markdown_text="x")) == "message_not_in_streaming_state"
        await client.chat_update(**stream, text="one two three")
        assert ada.dm.texts == ["hello", "one two three"]


async def test_a_stream_has_a_size() -> None:
    async with FakeSlack() as slack, client_of(slack) as client:
        ada = slack.workspace.user("Ada")
        stream = await streaming(client, await ada.say(ada.dm, "hello"), markdown_text="ä" * 4_500)
        assert await refused(client.chat_appendStream(**stream, markdown_text="ä" * 900)) == "msg_too_long"
        await client.chat_appendStream(**stream, markdown_text="ä" * 700)
        assert len(ada.dm.messages[-1].text) == 5_200


async def test_in_a_channel_a_stream_has_a_recipient_who_alone_sees_it_grow() -> None:
    async with FakeSlack() as slack, client_of(slack) as client:
        ada, bob = slack.workspace.user("Ada"), slack.workspace.user("Bob")
        general = slack.workspace.channel("general", ada, bob)
        root = await ada.say(general, "hello")
        team = {"recipient_team_id": slack.workspace.id}
        assert await refused(streaming(client, root)) == "missing_recipient_team_id"
        assert await refused(streaming(client, root, **team)) == "missing_recipient_user_id"
        stream = await streaming(client, root, **team, recipient_user_id=ada.id, markdown_text="one")
        await client.chat_appendStream(**stream, markdown_text=" two")
        message = general.messages[-1]
        assert (message.seen_by(ada), message.seen_by(bob)) == ("one two", "one")
        await client.chat_stopStream(**stream)
        assert message.seen_by(bob) == "one two"
        general.refuses_streams = "channel_type_not_supported"
        assert await refused(streaming(client, root, **team)) == "channel_type_not_supported"


async def test_a_person_stops_a_stream() -> None:
    async with FakeSlack() as slack, bot(slack) as (app, heard):
        ada = slack.workspace.user("Ada")
        root = await ada.say(ada.dm, "hello")
        where = {"channel_id": ada.dm.id, "thread_ts": root.ts}
        await app.client.agents_sessions_setStatus(**where, status="processing", title="Hello")
        stream = await streaming(app.client, root, markdown_text="one")
        await ada.stop(root)
        await slack.until(lambda: heard.of("agent_session_stopped"))
        (event,) = heard.of("agent_session_stopped")
        assert (event["channel"], event["thread_ts"], event["user"]) == (ada.dm.id, root.ts, ada.id)
        assert event["streaming_message_ts"] == [stream["ts"]]
        assert await refused(app.client.chat_appendStream(**stream, markdown_text="x")) == "stopped_by_user"
        assert slack.sessions[ada.dm.id, root.ts].status == "processing"  # that is for the app to change
        await app.client.agents_sessions_setStatus(**where, status="active")
        assert slack.sessions[ada.dm.id, root.ts].status == "active"


async def test_a_session_needs_an_agent_and_warns_of_a_missing_subscription() -> None:
    async with FakeSlack() as slack, client_of(slack) as client:
        ada = slack.workspace.user("Ada")
        where = {"channel_id": ada.dm.id, "thread_ts": (await ada.say(ada.dm, "hello")).ts, "status": "processing"}
        slack.unsubscribed.add("agent_session_stopped")
        assert "missing_agent_session_stopped" in (await client.agents_sessions_setStatus(**where))["warning"]
        slack.workspace.agent = False
        assert await refused(client.agents_sessions_setStatus(**where)) == "not_authorized"


async def test_a_status_line_stands_until_a_message_or_for_two_minutes() -> None:
    clock = FakeClock(datetime.now(UTC))
    async with FakeSlack(clock=clock) as slack, client_of(slack) as client:
        ada = slack.workspace.user("Ada")
        root = await ada.say(ada.dm, "hello")
        where = {"channel_id": ada.dm.id, "thread_ts": root.ts}
        await client.assistant_threads_setStatus(**where, status="is thinking", loading_messages=["Hm"])
        assert ada.dm.status(root) == "is thinking"
        await clock.advance(timedelta(minutes=2))
        assert ada.dm.status(root) == ""
        await client.assistant_threads_setStatus(**where, status="is thinking")
        await clock.advance(timedelta(seconds=1))
        await client.chat_postMessage(channel=ada.dm.id, thread_ts=root.ts, text="Hi!")
        assert ada.dm.status(root) == ""
        too_many = client.assistant_threads_setStatus(**where, status="x", loading_messages=["x"] * 11)
        assert await refused(too_many) == "invalid_arguments"
        await client.assistant_threads_setTitle(**where, title="A talk")
        await client.assistant_threads_setSuggestedPrompts(channel_id=ada.dm.id, prompts=[{"title": "a", "message": "b"}])
        assert slack.titles == {(ada.dm.id, root.ts): "A talk"}
        assert slack.prompts[0].prompts[0]["message"] == "b"


async def test_a_stream_takes_chunks_and_its_end_sets_the_session() -> None:
    async with FakeSlack() as slack, client_of(slack) as client:
        ada = slack.workspace.user("Ada")
        root = await ada.say(ada.dm, "hello")
        stream = await streaming(client, root)
        task = {"type": "task_update", "id": "1", "title": "Looking", "status": "in_progress"}
        await client.chat_appendStream(**stream, chunks=[{"type": "markdown_text", "text": "found"}, task])
        assert await refused(client.chat_appendStream(**stream, chunks=[{"type": "nonsense"}])) == "invalid_chunks"
        await client.chat_stopStream(**stream, session_status="active")
        assert ada.dm.texts == ["hello", "found"]
        assert slack.sessions[ada.dm.id, root.ts].status == "active"
