"""`chat.*` and `conversations.*` keep Slack's limits and answer with Slack's errors."""

from datetime import UTC, datetime, timedelta
from typing import Any

import aiohttp
import pytest
from slack_sdk.errors import SlackApiError

from tests.fakes.clock import FakeClock
from tests.fakes.slack import FakeSlack, Message
from tests.fakes_slack.bots import bot, client_of

pytestmark = pytest.mark.anyio


async def refused(call: Any) -> str:
    """The error that a call meets."""
    with pytest.raises(SlackApiError) as caught:
        await call
    return str(caught.value.response["error"])


async def test_tokens_are_looked_at() -> None:
    async with FakeSlack() as slack, client_of(slack) as client:
        assert await refused(client.auth_test(token="xoxb-another")) == "invalid_auth"
        assert await refused(client.api_call("auth.test", headers={"Authorization": ""})) == "not_authed"
        assert await refused(client.apps_connections_open(app_token=slack.bot_token)) == "not_allowed_token_type"
        assert await refused(client.auth_test(token=slack.app_token)) == "not_allowed_token_type"
        slack.workspace.scopes.discard("users:read")
        assert await refused(client.users_info(user="U1")) == "missing_scope"
        assert (await client.auth_test())["bot_id"] == slack.workspace.bot.bot_id
        assert (await client.auth_revoke())["revoked"]
        assert await refused(client.auth_test()) == "token_revoked"
        assert await refused(client.api_call("no.such")) == "token_revoked"


async def test_answers_tell_the_scopes() -> None:
    async with FakeSlack() as slack, client_of(slack) as client:
        scopes = (await client.auth_test()).headers["x-oauth-scopes"].split(",")
        assert set(scopes) == slack.workspace.scopes


async def test_what_a_bot_says_can_be_read_and_is_cut_at_forty_thousand() -> None:
    async with FakeSlack() as slack, client_of(slack) as client:
        general = slack.workspace.channel("general")
        await client.chat_postMessage(channel=general.id, text="a < b &amp; <!here>")
        await client.chat_postMessage(channel=general.id, text="x" * 40_001)
        await client.chat_postMessage(channel=general.id, markdown_text="**bold**")
        assert general.texts == ["a &lt; b &amp; <!here>", "x" * 40_000, "**bold**"]
        assert [message.truncated for message in general.messages] == [False, True, False]


@pytest.mark.parametrize(
    ("what", "error"),
    [
        ({"text": ""}, "no_text"),
        ({"markdown_text": "x" * 12_001}, "msg_too_long"),
        ({"markdown_text": "x", "text": "y"}, "markdown_text_conflict"),
        ({"blocks": [{"type": "divider"}] * 51}, "invalid_blocks"),
        ({"blocks": [{"type": "section", "text": {"type": "mrkdwn", "text": "x" * 3_001}}]}, "invalid_blocks"),
        ({"blocks": [{"type": "markdown", "text": "x" * 12_001}]}, "invalid_blocks"),
        ({"blocks": [{"type": "markdown", "text": "x" * 7_000}] * 2}, "msg_blocks_too_long"),
        ({"blocks": [{"type": "nonsense"}]}, "invalid_blocks"),
        ({"text": "x", "thread_ts": "1.000001"}, "thread_not_found"),
        ({"text": "x", "metadata": {"no": "type"}}, "invalid_metadata_format"),
    ],
)
async def test_what_is_too_much_or_wrong_is_refused(what: dict[str, Any], error: str) -> None:
    async with FakeSlack() as slack, client_of(slack) as client:
        general = slack.workspace.channel("general")
        assert await refused(client.api_call("chat.postMessage", json={"channel": general.id} | what)) == error
        assert general.messages == []


async def test_a_bot_writes_only_where_it_is() -> None:
    async with FakeSlack() as slack, client_of(slack) as client:
        far = slack.workspace.channel("far", with_bot=False)
        hidden = slack.workspace.channel("hidden", kind="private", with_bot=False)
        old = slack.workspace.channel("old")
        old.archive()
        assert await refused(client.chat_postMessage(channel=far.id, text="x")) == "not_in_channel"
        assert await refused(client.chat_postMessage(channel=hidden.id, text="x")) == "channel_not_found"
        assert await refused(client.chat_postMessage(channel=old.id, text="x")) == "is_archived"
        await client.conversations_join(channel=far.id)
        await client.chat_postMessage(channel=far.id, text="x")


async def test_updates_have_limits_of_their_own() -> None:
    clock = FakeClock(datetime.now(UTC))
    async with FakeSlack(clock=clock, edit_window=timedelta(hours=1)) as slack, client_of(slack) as client:
        ada = slack.workspace.user("Ada")
        general = slack.workspace.channel("general", ada)
        ts = (await client.chat_postMessage(channel=general.id, text="one", blocks=[markdown("One")]))["ts"]
        theirs = await ada.say(general, "mine")

        def update(ts: str, text: str = "two", **more: Any) -> Any:
            return client.chat_update(channel=general.id, ts=ts, text=text, **more)

        assert await refused(update(ts, "x" * 4_001)) == "msg_too_long"
        assert await refused(update(theirs.ts)) == "cant_update_message"
        assert await refused(update("1.000001")) == "message_not_found"
        await update(ts)
        assert general.messages[0].shown == "One"  # the blocks were not mentioned, and so people go on seeing them
        await update(ts, blocks=[])
        assert (general.messages[0].shown, general.messages[0].history) == ("two", ["one", "two"])
        await clock.advance(timedelta(hours=2))
        assert await refused(update(ts)) == "edit_window_closed"


async def test_a_bot_deletes_only_what_is_its_own() -> None:
    async with FakeSlack() as slack, client_of(slack) as client:
        ada = slack.workspace.user("Ada")
        theirs = await ada.say(ada.dm, "mine")
        ts = (await client.chat_postMessage(channel=ada.id, text="x"))["ts"]
        assert await refused(client.chat_delete(channel=ada.dm.id, ts=theirs.ts)) == "cant_delete_message"
        await client.chat_delete(channel=ada.dm.id, ts=ts)
        assert ada.dm.messages == [theirs]


async def test_calls_are_limited_by_method_and_workspace() -> None:
    clock = FakeClock(datetime.now(UTC))
    async with FakeSlack(clock=clock) as slack, client_of(slack) as client:
        other = slack.team("Other")
        general = slack.workspace.channel("general")
        ts = (await client.chat_postMessage(channel=general.id, text="0"))["ts"]
        for number in range(50):
            await client.chat_update(channel=general.id, ts=ts, text=str(number))
        with pytest.raises(SlackApiError) as caught:
            await client.chat_update(channel=general.id, ts=ts, text="one too many")
        assert caught.value.response.status_code == 429
        assert caught.value.response.headers["Retry-After"] == "60"
        assert [request.method for request in slack.refused] == ["chat.update"]
        await client.chat_postMessage(channel=general.id, text="another method")
        theirs = (await client.chat_postMessage(channel=other.channel("x").id, text="0", token=other.bot_token))["ts"]
        await client.chat_update(channel=next(iter(other.channels)), ts=theirs, text="another team", token=other.bot_token)
        await clock.advance(timedelta(minutes=1))
        await client.chat_update(channel=general.id, ts=ts, text="later")


async def test_history_is_newest_first_and_a_thread_oldest_first() -> None:
    async with FakeSlack() as slack, client_of(slack) as client:
        ada = slack.workspace.user("Ada")
        general = slack.workspace.channel("general", ada)
        root = await ada.say(general, "root", at=datetime(2026, 1, 1, tzinfo=UTC))
        for number in range(3):
            await ada.say(general, f"reply {number}", thread=root)
        await ada.say(general, "last")
        history = await client.conversations_history(channel=general.id)
        assert [message["text"] for message in history["messages"]] == ["last", "root"]
        assert history["messages"][1]["reply_count"] == 3
        page = await client.conversations_replies(channel=general.id, ts=root.ts, limit=2)
        assert [message["text"] for message in page["messages"]] == ["root", "reply 0"]
        assert page["has_more"]
        rest = await client.conversations_replies(
            channel=general.id, ts=root.ts, cursor=page["response_metadata"]["next_cursor"]
        )
        assert [message["text"] for message in rest["messages"]] == ["root", "reply 1", "reply 2"]
        since = await client.conversations_replies(channel=general.id, ts=root.ts, oldest=general.messages[2].ts)
        assert [message["text"] for message in since["messages"]] == ["root", "reply 2"]
        assert await refused(client.conversations_replies(channel=general.id, ts="1.000001")) == "thread_not_found"


async def test_a_commercial_app_reads_fifteen_messages_a_minute() -> None:
    async with FakeSlack(distributed=True) as slack, client_of(slack) as client:
        ada = slack.workspace.user("Ada")
        for number in range(20):
            await ada.say(ada.dm, str(number))
        assert len((await client.conversations_history(channel=ada.dm.id, limit=200))["messages"]) == 15
        assert await refused(client.conversations_history(channel=ada.dm.id)) == "ratelimited"


async def test_metadata_comes_back_when_it_is_asked_for() -> None:
    async with FakeSlack() as slack, client_of(slack) as client:
        general = slack.workspace.channel("general")
        metadata = {"event_type": "parley_turn", "event_payload": {"turn": "7"}}
        await client.chat_postMessage(channel=general.id, text="x", metadata=metadata)
        (plain,) = (await client.conversations_history(channel=general.id))["messages"]
        (full,) = (await client.conversations_history(channel=general.id, include_all_metadata=True))["messages"]
        assert "metadata" not in plain
        assert full["metadata"] == metadata


async def test_who_is_notified_and_what_is_previewed_is_written_down() -> None:
    async with FakeSlack() as slack, client_of(slack) as client:
        ada, bob = slack.workspace.user("Ada"), slack.workspace.user("Bob")
        general = slack.workspace.channel("general", ada, bob)
        group = slack.workspace.group(bob)

        async def pinged(**what: Any) -> list[str]:
            slack.pings.clear()
            await client.chat_postMessage(channel=general.id, unfurl_links=False, unfurl_media=False, **what)
            return [ping.user.name for ping in slack.pings]

        assert await pinged(text="<!channel>") == ["Ada", "Bob"]
        assert await pinged(text=f"hi {ada.mention}") == ["Ada"]
        assert await pinged(text=group) == ["Bob"]
        assert await pinged(text="x", blocks=[markdown(ada.mention)]) == ["Ada"]
        assert await pinged(text="&lt;!channel&gt; @channel @here") == []
        assert await pinged(text="@channel", link_names=True) == ["Ada", "Bob"]
        assert slack.unfurled == []
        await client.chat_postMessage(channel=general.id, text="see https://example.com/x")
        assert [preview.url for preview in slack.unfurled] == ["https://example.com/x"]


async def test_an_answer_can_be_lost_after_the_effect() -> None:
    async with FakeSlack() as slack, client_of(slack) as client:
        general = slack.workspace.channel("general")
        slack.fail("chat.postMessage", cut=True, after_effect=True)
        with pytest.raises(aiohttp.ClientError):
            await client.chat_postMessage(channel=general.id, text="once")
        assert general.texts == ["once"]
        slack.fail("chat.postMessage", cut=True)
        with pytest.raises(aiohttp.ClientError):
            await client.chat_postMessage(channel=general.id, text="never")
        slack.fail("chat.*", status=503)
        with pytest.raises(SlackApiError):
            await client.chat_postMessage(channel=general.id, text="never")
        slack.fail("chat.postMessage", error="internal_error", when=lambda request: request.body["text"] == "bad")
        assert await refused(client.chat_postMessage(channel=general.id, text="bad")) == "internal_error"
        slack.fail("chat.postMessage", status=429, retry_after=7)
        assert await refused(client.chat_postMessage(channel=general.id, text="never")) == "ratelimited"
        assert general.texts == ["once"]
        assert [request.status for request in slack.asked("chat.postMessage")] == [0, 0, 503, 200, 429]


async def test_a_call_hangs_until_it_is_released() -> None:
    async with FakeSlack() as slack, bot(slack) as (_, heard):
        ada = slack.workspace.user("Ada")

        async def answer(event: Any, say: Any) -> None:
            await say("Hi!")

        heard.answer = answer
        fault = slack.hang("chat.postMessage")
        await ada.say(ada.dm, "hello")
        await slack.until(lambda: fault.hits)
        assert len(ada.dm.messages) == 1
        fault.release()
        await slack.until(lambda: ada.dm.texts == ["hello", "Hi!"])


async def test_edits_deletions_previews_and_threads_tell_what_happened() -> None:
    async with FakeSlack() as slack, bot(slack) as (_, heard):
        ada = slack.workspace.user("Ada")
        general = slack.workspace.channel("general", ada)

        async def told() -> Any:
            await slack.until(lambda: slack.quiet and heard)
            (event,) = heard
            heard.clear()
            return event

        said: Message = await ada.say(general, "see https://example.com")
        assert (await told())["text"] == "see <https://example.com>"
        await slack.unfurl(said)
        event = await told()
        assert event["message"]["text"] == event["previous_message"]["text"]
        await ada.edit(said, "see there")
        event = await told()
        assert (event["message"]["text"], event["message"]["edited"]["user"]) == ("see there", ada.id)
        reply = await ada.say(general, "reply", thread=said)
        event = await told()
        assert (event["thread_ts"], event["parent_user_id"]) == (said.ts, ada.id)
        await ada.delete(said)
        event = await told()
        assert (event["subtype"], event["message"]["subtype"]) == ("message_changed", "tombstone")
        await ada.delete(reply)
        event = await told()
        assert (event["subtype"], event["deleted_ts"]) == ("message_deleted", reply.ts)
        assert general.texts == ["This message was deleted."]


async def test_what_the_bot_itself_does_comes_back_as_events() -> None:
    async with FakeSlack() as slack, bot(slack) as (app, heard):
        general = slack.workspace.channel("general")
        ts = (await app.client.chat_postMessage(channel=general.id, text="one"))["ts"]
        await app.client.chat_update(channel=general.id, ts=ts, text="two")
        await slack.until(lambda: len(slack.acks) == 2)
        assert [delivery.event.get("subtype") for delivery in slack.deliveries] == [None, "message_changed"]
        assert heard == []  # Bolt's own middleware kept them away


def markdown(text: str) -> Any:
    return {"type": "markdown", "text": text}
