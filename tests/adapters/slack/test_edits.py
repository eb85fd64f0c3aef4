"""Edits, deletions and losses: what people change in Slack changes here, and what Slack itself changes does not."""

from datetime import timedelta

import pytest
from slack_sdk.web.async_client import AsyncWebClient

from store import ConversationKey, Store, StoreUnavailable
from tests.adapters.slack.listening import HTTP, SOCKET, Ear, a_store, listening
from tests.fakes.slack import FakeSlack, Message
from tests.fakes_slack.bots import client_of

pytestmark = pytest.mark.anyio


async def kept(store: Store, slack: FakeSlack, channel: str, thread: str = "") -> list[str]:
    key = ConversationKey(platform="slack", workspace=slack.workspace.id, channel=channel, thread=thread)
    conversation = await store.find(key)
    return [message.text for message in await store.recent(conversation.id, 100)] if conversation else []


@pytest.mark.parametrize("by", [SOCKET, HTTP])
async def test_an_edit_replaces_what_is_kept(by: str) -> None:
    async with FakeSlack() as slack, a_store() as store, listening(slack, store, by=by) as ear:
        ada = slack.workspace.user("Ada")
        await ear.until(lambda: by == HTTP or slack.sockets)
        said = await ada.say(ada.dm, "hello")
        await ear.until(lambda: ear.taken)
        slack.copies = 3
        await ada.edit(said, "good bye")
        await ear.heard(slack)
        assert await kept(store, slack, ada.dm.id) == ["good bye"]
        assert len(ear.taken) == 1


async def test_an_edit_that_was_not_stored_is_delivered_again() -> None:
    async with FakeSlack(retry_after=[timedelta()]) as slack, a_store() as store, listening(slack, store) as ear:
        slack.ack_limit = timedelta(seconds=1)
        ada = slack.workspace.user("Ada")
        general = slack.workspace.channel("general", ada)
        await ear.until(lambda: slack.sockets)
        said = await ada.say(general, "hello")
        await ear.heard(slack)
        ear.failures += [StoreUnavailable("full")]
        await ada.edit(said, f"{slack.workspace.bot.mention} hello")
        await ear.heard(slack)
        assert ear.texts == ["hello"]


async def test_edits_that_arrive_in_the_wrong_order_leave_the_last_one() -> None:
    async with FakeSlack() as slack, a_store() as store, listening(slack, store) as ear:
        ada = slack.workspace.user("Ada")
        await ear.until(lambda: slack.sockets)
        said = await ada.say(ada.dm, "one")
        await ear.until(lambda: ear.taken)
        await slack.hold_events()
        await ada.edit(said, "two")
        held = slack.dispatch._held or []
        earlier = held.pop()
        await slack.release_events()
        await ada.edit(said, "three")
        await ear.until(lambda: ear.edits == ["three"])
        slack.dispatch._enter(earlier)
        await ear.heard(slack)
        assert await kept(store, slack, ada.dm.id) == ["three"]


async def test_a_mention_that_an_edit_adds_is_taken() -> None:
    async with FakeSlack() as slack, a_store() as store, listening(slack, store) as ear:
        ada = slack.workspace.user("Ada")
        general = slack.workspace.channel("general", ada)
        await ear.until(lambda: slack.sockets)
        said = await ada.say(general, "is anybody there?")
        await ear.heard(slack)
        assert ear.offered == []
        await ada.edit(said, f"{slack.workspace.bot.mention} is anybody there?")
        await ear.heard(slack)
        assert await kept(store, slack, general.id, said.ts) == ["is anybody there?"]
        # Its thread is ours from now on.
        await ada.say(general, "hello?", thread=said)
        await ear.heard(slack)
        assert await kept(store, slack, general.id, said.ts) == ["is anybody there?", "hello?"]


async def test_a_preview_is_no_edit() -> None:
    async with FakeSlack() as slack, a_store() as store, listening(slack, store) as ear:
        ada = slack.workspace.user("Ada")
        await ear.until(lambda: slack.sockets)
        said = await ada.say(ada.dm, "see https://example.com")
        await ear.until(lambda: ear.taken)
        await slack.unfurl(said)
        await ear.heard(slack)
        assert ear.edits == []


async def test_our_own_updates_and_streams_are_no_edits() -> None:
    async with (
        FakeSlack() as slack,
        a_store() as store,
        listening(slack, store) as ear,
        client_of(slack) as client,
    ):
        ada = slack.workspace.user("Ada")
        await ear.until(lambda: slack.sockets)
        said = await ada.say(ada.dm, "hello")
        await ear.until(lambda: ear.taken)
        await grow(client, ada.dm.id, said)
        await ear.heard(slack)
        assert ear.edits == []
        assert ear.texts == ["hello"]
        assert all(delivery.acked for delivery in slack.deliveries)


async def grow(client: AsyncWebClient, channel: str, said: Message) -> None:
    posted = await client.chat_postMessage(channel=channel, text="he", thread_ts=said.ts)
    await client.chat_update(channel=channel, ts=posted["ts"], text="hello to you")
    begun = await client.chat_startStream(channel=channel, thread_ts=said.ts, markdown_text="I")
    await client.chat_stopStream(channel=channel, ts=begun["ts"], markdown_text=" am done")


async def test_a_deleted_message_is_erased() -> None:
    async with FakeSlack() as slack, a_store() as store, listening(slack, store) as ear:
        ada = slack.workspace.user("Ada")
        await ear.until(lambda: slack.sockets)
        said = await ada.say(ada.dm, "hello")
        await ada.say(ada.dm, "still here")
        await ear.until(lambda: len(ear.taken) == 2)
        await ada.delete(said)
        await ear.heard(slack)
        assert await kept(store, slack, ada.dm.id) == ["still here"]


async def test_a_deleted_message_with_replies_leaves_a_tombstone_and_is_erased() -> None:
    async with FakeSlack() as slack, a_store() as store, listening(slack, store) as ear:
        ada = slack.workspace.user("Ada")
        general = slack.workspace.channel("general", ada)
        await ear.until(lambda: slack.sockets)
        said = await ada.say(general, f"{slack.workspace.bot.mention} hello")
        await ear.until(lambda: ear.taken)
        await ada.say(general, "are you there?", thread=said)
        await ear.until(lambda: len(ear.taken) == 2)
        await ada.delete(said)
        await ear.heard(slack)
        assert await kept(store, slack, general.id, said.ts) == ["are you there?"]
        assert ear.edits == []


async def test_a_message_whose_deletion_arrives_first_is_not_taken() -> None:
    async with FakeSlack() as slack, a_store() as store, listening(slack, store) as ear:
        ada = slack.workspace.user("Ada")
        await ear.until(lambda: slack.sockets)
        await slack.hold_events()
        said = await ada.say(ada.dm, "forget it")
        (message,) = slack.dispatch._held or []
        slack.dispatch._held = []
        await ada.delete(said)
        await slack.release_events()
        await ear.heard(slack)
        slack.dispatch._enter(message)
        await ear.heard(slack)
        assert ear.offered == []


async def test_a_message_that_is_deleted_while_it_is_taken_in_is_erased() -> None:
    async with FakeSlack() as slack, a_store() as store, listening(slack, store) as ear:
        ada = slack.workspace.user("Ada")
        await ear.until(lambda: slack.sockets)
        hung = slack.hang("users.info")
        said = await ada.say(ada.dm, "forget it")
        await ear.until(lambda: slack.asked("users.info"), step=timedelta())
        await ada.delete(said)
        await ear.until(lambda: slack.deliveries[-1].acked, step=timedelta())
        hung.release()
        await ear.heard(slack)
        assert await kept(store, slack, ada.dm.id) == []


@pytest.mark.parametrize("place", ["direct", "thread"])
async def test_an_edit_that_arrives_before_its_message_counts(place: str) -> None:
    async with FakeSlack() as slack, a_store() as store, listening(slack, store) as ear:
        ada = slack.workspace.user("Ada")
        general = slack.workspace.channel("general", ada)
        await ear.until(lambda: slack.sockets)
        root = await ada.say(general, f"{slack.workspace.bot.mention} hello")
        await ear.until(lambda: ear.taken)
        await slack.hold_events()
        said = await (ada.say(ada.dm, "one") if place == "direct" else ada.say(general, "one", thread=root))
        (message,) = slack.dispatch._held or []
        slack.dispatch._held = []
        await ada.edit(said, "two")
        await slack.release_events()
        await ear.heard(slack)
        slack.dispatch._enter(message)
        await ear.heard(slack)
        if place == "direct":
            assert await kept(store, slack, ada.dm.id) == ["two"]
        else:
            assert await kept(store, slack, general.id, root.ts) == ["hello", "two"]


@pytest.mark.parametrize("loss", ["archive", "delete", "leave", "kick"])
@pytest.mark.parametrize("kind", ["public", "private"])
async def test_a_channel_that_is_not_for_us_any_more_ends_its_conversations(kind: str, loss: str) -> None:
    async with FakeSlack() as slack, a_store() as store, listening(slack, store) as ear:
        ada, us = slack.workspace.user("Ada"), slack.workspace.bot
        general = slack.workspace.channel("general", ada, kind=kind)
        await ear.until(lambda: slack.sockets)
        said = await ada.say(general, f"{us.mention} hello")
        await ear.until(lambda: ear.taken)
        await ear.heard(slack)
        assert (general.id, said.ts) in await ear.kept()
        match loss:
            case "archive":
                general.archive()
            case "delete":
                general.delete()
            case "leave":
                general.leave(us)
            case "kick":
                general.tell({"type": "member_left_channel", "user": us.id, "channel": general.id})
        await ear.heard(slack)
        assert await kept(store, slack, general.id, said.ts) == []
        assert await ear.kept() == {}
        await still_there(ear, slack)


async def still_there(ear: Ear, slack: FakeSlack) -> None:
    ada = slack.workspace.user("Grace")
    await ada.say(ada.dm, "and you?")
    await ear.until(lambda: "and you?" in ear.texts)


async def test_somebody_else_who_leaves_changes_nothing() -> None:
    async with FakeSlack() as slack, a_store() as store, listening(slack, store) as ear:
        ada, bob = slack.workspace.user("Ada"), slack.workspace.user("Bob")
        general = slack.workspace.channel("general", ada, bob)
        await ear.until(lambda: slack.sockets)
        said = await ada.say(general, f"{slack.workspace.bot.mention} hello")
        await ear.until(lambda: ear.taken)
        general.leave(bob)
        general.rename("hall")
        await ear.heard(slack)
        assert await kept(store, slack, general.id, said.ts) == ["hello"]
