"""What is heard by both transports: each message once, in Slack's order, acknowledged when it is stored and not before."""

import asyncio
import random
from datetime import UTC, datetime, timedelta

import pytest

from bot.chat.policy import Rules, Trigger
from bot.chat.protocol import Address
from store import ConversationKey, StoreUnavailable
from tests.adapters.slack.listening import HTTP, SOCKET, a_store, listening
from tests.fakes.clock import FakeClock
from tests.fakes.slack import FakeSlack, File

pytestmark = pytest.mark.anyio
BOTH = pytest.mark.parametrize("by", [SOCKET, HTTP])
AT_ONCE = (timedelta(), timedelta(), timedelta())


@BOTH
async def test_a_mention_that_comes_as_two_events_each_ten_times_is_one_message(by: str) -> None:
    async with FakeSlack() as slack, a_store() as store, listening(slack, store, by=by) as ear:
        ada = slack.workspace.user("Ada")
        general = slack.workspace.channel("general", ada)
        slack.copies = 10
        await ear.until(lambda: by == HTTP or slack.sockets)
        said = await ada.say(general, f"{slack.workspace.bot.mention} hello")
        await ear.heard(slack)
        assert len(slack.deliveries) == 20
        assert all(delivery.acked for delivery in slack.deliveries)
        (message,) = ear.taken
        assert (message.text, message.author_name, message.message_id) == ("hello", "Ada", said.ts)
        assert message.key == ConversationKey(
            platform="slack", workspace=slack.workspace.id, channel=general.id, thread=said.ts
        )
        assert await ear.history(message) == ["hello"]


@BOTH
async def test_five_messages_shuffled_within_300_ms_are_stored_by_ts(by: str) -> None:
    async with FakeSlack() as slack, a_store() as store, listening(slack, store, by=by) as ear:
        ada = slack.workspace.user("Ada")
        await ear.until(lambda: by == HTTP or slack.sockets)
        await slack.hold_events()
        for number in range(5):
            await ada.say(ada.dm, f"line {number}")
        rng = random.Random(4)
        await slack.release_events(lambda held: rng.sample(held, len(held)))
        await ear.until(lambda: len(ear.taken) == 5)
        assert await ear.history(ear.taken[0]) == [f"line {number}" for number in range(5)]
        await ear.heard(slack)


@BOTH
async def test_nothing_is_acknowledged_before_it_is_stored(by: str) -> None:
    async with (
        FakeSlack(retry_after=AT_ONCE) as slack,
        a_store() as store,
        listening(slack, store, by=by) as ear,
    ):
        slack.ack_limit = timedelta(milliseconds=1500)
        ada = slack.workspace.user("Ada")
        await ear.until(lambda: by == HTTP or slack.sockets)
        ear.failures += [StoreUnavailable("the disk is full")]
        await ada.say(ada.dm, "hello")
        await ear.heard(slack)
        assert [attempt.acked for attempt in slack.attempts] == [False, True]
        assert ear.texts == ["hello"]
        if by == HTTP:
            assert slack.attempts[0].status == 503


@BOTH
async def test_every_event_is_acknowledged_also_one_that_nobody_knows(by: str) -> None:
    async with FakeSlack() as slack, a_store() as store, listening(slack, store, by=by) as ear:
        ada = slack.workspace.user("Ada")
        general = slack.workspace.channel("general", ada)
        await ear.until(lambda: by == HTTP or slack.sockets)
        said = await ada.say(general, "just us")
        await ada.react(said, "tada")
        general.rename("hall")
        general.join(slack.workspace.user("Bob"))
        slack.dispatch.event(slack.workspace, {"type": "made_up_last_week", "answer": 42})
        await ada.say(general, "has joined", subtype="channel_join")
        await ear.heard(slack)
        assert len(slack.deliveries) == 6
        assert all(delivery.acked and len(delivery.attempts) == 1 for delivery in slack.deliveries)
        assert ear.offered == []


async def test_what_goes_on_in_a_channel_without_us_asks_nobody_s_name() -> None:
    async with FakeSlack() as slack, a_store() as store, listening(slack, store) as ear:
        ada = slack.workspace.user("Ada")
        general = slack.workspace.channel("general", ada)
        await ear.until(lambda: slack.sockets)
        root = await ada.say(general, "just us")
        for _ in range(5):
            await ada.say(general, "just us", thread=root)
        await ear.heard(slack)
        assert slack.asked("users.info") == []


async def test_keys_follow_the_place_direct_messages_threads_and_channels() -> None:
    async with FakeSlack() as slack, a_store() as store, listening(slack, store) as ear:
        home = slack.workspace
        ada, us = home.user("Ada"), home.bot
        general = home.channel("general", ada)
        await ear.until(lambda: slack.sockets)
        top = await ada.say(ada.dm, "direct")
        await ada.say(ada.dm, "aside", thread=top)
        root = await ada.say(general, f"{us.mention} in the channel")
        await ear.until(lambda: len(ear.taken) == 3)
        reply = await ada.say(general, "no mention needed", thread=root)
        await ear.until(lambda: len(ear.taken) == 4)
        other = await ada.say(general, "a thread without us")
        await ada.say(general, "nobody asked", thread=other)
        await ada.say(general, f"{us.mention} now you are asked", thread=other)
        await ear.until(lambda: len(ear.taken) == 5)
        await ear.heard(slack)
        found = {message.text: (message.key.channel, message.key.thread, message.key.user) for message in ear.taken}
        assert found == {
            "direct": (ada.dm.id, "", ""),
            "aside": (ada.dm.id, top.ts, ""),
            "in the channel": (general.id, root.ts, ""),
            "no mention needed": (general.id, root.ts, ""),
            "now you are asked": (general.id, other.ts, ""),
        }
        assert {message.key.workspace for message in ear.taken} == {home.id}
        assert await ear.history(ear.taken[3]) == ["in the channel", "no mention needed"]
        assert reply.ts == ear.taken[3].message_id


@BOTH
async def test_in_the_agent_view_every_message_begins_a_conversation_of_its_own(by: str) -> None:
    async with FakeSlack() as slack, a_store() as store, listening(slack, store, by=by) as ear:
        ada = slack.workspace.user("Ada")
        general = slack.workspace.channel("general", ada)
        await ear.until(lambda: by == HTTP or slack.sockets)
        first = await ada.ask("one", context=general)
        second = await ada.ask("two")
        await ada.ask("and one more", thread=first)
        await ear.until(lambda: len(ear.taken) == 3)
        found = {message.text: (message.key.thread, Address.decode(message.address).thread) for message in ear.taken}
        assert found == {
            "one": (first.ts, first.ts),
            "two": (second.ts, second.ts),
            "and one more": (first.ts, first.ts),
        }
        # What is said while we are away is looked for in the view and in both threads.
        assert set(await ear.kept()) == {(ada.dm.id, ""), (ada.dm.id, first.ts), (ada.dm.id, second.ts)}


async def test_inline_channels_have_a_conversation_for_each_person_and_listening_ones_need_no_mention() -> None:
    rules = Rules(trigger=Trigger.LISTEN)
    async with FakeSlack() as slack, a_store() as store, listening(slack, store, rules=rules) as ear:
        ada, bob = slack.workspace.user("Ada"), slack.workspace.user("Bob")
        general = slack.workspace.channel("general", ada, bob)
        await ear.until(lambda: slack.sockets)
        await ada.say(general, "one")
        await bob.say(general, "two")
        await ear.heard(slack)
        assert {(message.text, message.key.user) for message in ear.taken} == {("one", ada.id), ("two", bob.id)}


async def test_an_org_wide_installation_is_one_workspace_of_the_enterprise() -> None:
    async with FakeSlack() as slack, a_store() as store:
        north = slack.team("North", enterprise="E1", org_wide=True)
        south = slack.team("South", enterprise="E1", org_wide=True)
        async with listening(slack, store, token=north.bot_token) as ear:
            ada, bob = north.user("Ada"), south.user("Bob")
            await ear.until(lambda: slack.sockets)
            await ada.say(ada.dm, "from the north")
            await bob.say(bob.dm, "from the south")
            await ear.heard(slack)
            assert {(message.text, message.key.workspace) for message in ear.taken} == {
                ("from the north", "E1"),
                ("from the south", "E1"),
            }


async def test_in_a_channel_shared_with_others_their_messages_belong_to_our_workspace() -> None:
    async with FakeSlack() as slack, a_store() as store, listening(slack, store) as ear:
        home = slack.workspace
        guest = home.user("Grace", external=True)
        shared = home.channel("joint", guest, connected=True)
        await ear.until(lambda: slack.sockets)
        said = await guest.say(shared, f"{home.bot.mention} hello")
        await ear.heard(slack)
        (message,) = ear.taken
        assert (message.key.workspace, message.key.thread, message.author_id) == (home.id, said.ts, guest.id)
        assert guest.team_id != home.id


async def test_another_bot_is_not_answered_and_neither_are_we() -> None:
    async with FakeSlack() as slack, a_store() as store, listening(slack, store) as ear:
        home = slack.workspace
        other, ada = home.user("Jira", bot=True), home.user("Ada")
        general = home.channel("general", other, ada)
        await ear.until(lambda: slack.sockets)
        await other.say(general, f"{home.bot.mention} a ticket")
        slack.post_as_bot(general, f"I am {home.bot.mention}", None, None)
        await ear.heard(slack)
        assert ear.offered == []
        assert all(delivery.acked for delivery in slack.deliveries)


async def test_files_are_offered_with_their_kind_and_size() -> None:
    async with FakeSlack() as slack, a_store() as store, listening(slack, store) as ear:
        ada = slack.workspace.user("Ada")
        await ear.until(lambda: slack.sockets)
        await ada.say(ada.dm, "look", files=[File("notes.txt", b"hello", "text/plain")])
        await ear.until(lambda: ear.taken)
        (file,) = ear.taken[0].attachments
        assert (file.name, file.media_type, file.size) == ("notes.txt", "text/plain", 5)
        assert file.url.startswith(slack.files_url)


async def test_files_of_a_channel_shared_with_others_are_asked_for() -> None:
    async with FakeSlack() as slack, a_store() as store, listening(slack, store) as ear:
        guest = slack.workspace.user("Grace", external=True)
        joint = slack.workspace.channel("joint", guest, connected=True)
        await ear.until(lambda: slack.sockets)
        mention = slack.workspace.bot.mention
        await guest.say(joint, f"{mention} look", files=[File("notes.txt", b"hello", "text/plain")])
        await ear.until(lambda: ear.taken)
        await ear.heard(slack)
        (file,) = ear.taken[0].attachments
        assert (file.name, file.media_type, file.size) == ("notes.txt", "text/plain", 5)
        assert file.url.startswith(slack.files_url)

        slack.fail("files.info", status=429, retry_after=60, times=4)
        await guest.say(joint, f"{mention} and these", files=[File("a.txt", b"a"), File("b.txt", b"b")])
        await ear.until(lambda: len(ear.taken) == 2)
        assert [(file.name, file.url) for file in ear.taken[1].attachments] == [("unnamed", "")] * 2

        hung = [slack.hang("files.info") for _ in range(2)]
        await guest.say(joint, f"{mention} once more", files=[File("c.txt", b"c")])
        await ear.until(lambda: len(ear.taken) == 3)
        assert [(file.name, file.url) for file in ear.taken[2].attachments] == [("unnamed", "")]
        for one in hung:
            one.release()


@BOTH
async def test_who_writes_too_much_is_told_once_however_often_slack_delivers_it(by: str) -> None:
    async with FakeSlack() as slack, a_store() as store, listening(slack, store, by=by, characters=20) as ear:
        ada = slack.workspace.user("Ada")
        general = slack.workspace.channel("general", ada)
        await ear.until(lambda: by == HTTP or slack.sockets)
        slack.copies = 3
        said = await ada.say(general, f"{slack.workspace.bot.mention} " + "long " * 20)
        await ear.heard(slack)
        where = Address(platform="slack", workspace=slack.workspace.id, channel=general.id, thread=said.ts)
        await ear.until(lambda: ear.surface.texts(where))
        await ear.clock.advance(timedelta(seconds=5))
        (told,) = ear.surface.texts(where)
        assert "20" in told
        assert ear.taken == []


@BOTH
async def test_a_closed_door_lets_nobody_in_and_slack_comes_again_to_the_next_process(by: str) -> None:
    clock, second = FakeClock(start=datetime.now(UTC)), timedelta(seconds=1)
    async with FakeSlack(retry_after=[second], ack_limit=second, clock=clock) as slack, a_store() as store:
        ada = slack.workspace.user("Ada")
        async with listening(slack, store, by=by) as ear:
            await ear.until(lambda: by == HTTP or slack.sockets)
            await ear.door.close()
            await ada.say(ada.dm, "hello")
            await ear.until(lambda: slack.attempts and slack.attempts[0].failure)
            assert ear.offered == []
        slack.ack_limit = 10 * second
        async with listening(slack, store, by=by) as ear:
            await ear.until(lambda: by == HTTP or slack.sockets)
            await clock.advance(second)
            await ear.heard(slack)
            assert ear.texts == ["hello"]
            assert [attempt.acked for attempt in slack.attempts] == [False, True]


async def test_what_is_in_hand_is_stored_and_acknowledged_before_the_door_is_shut() -> None:
    async with FakeSlack() as slack, a_store() as store, listening(slack, store) as ear:
        ada = slack.workspace.user("Ada")
        await ear.until(lambda: slack.sockets)
        hung = slack.hang("users.info")
        await ada.say(ada.dm, "hello")
        await ear.until(lambda: slack.asked("users.info"), step=timedelta())
        assert ear.socket is not None
        closing = asyncio.gather(ear.door.close(), ear.socket.close())
        await asyncio.sleep(0)
        assert ear.offered == []
        await ear.until(closing.done)
        hung.release()
        assert ear.texts == ["hello"]
        await ear.heard(slack)
        assert [attempt.acked for attempt in slack.attempts] == [True]


async def test_names_come_from_profiles_once_and_a_mention_is_readable() -> None:
    async with FakeSlack() as slack, a_store() as store, listening(slack, store, by=HTTP) as ear:
        ada = slack.workspace.user("Ada Lovelace", display_name="ada")
        bob = slack.workspace.user("Bob")
        for number in range(3):
            await ada.say(ada.dm, f"ask {bob.mention} {number}")
            await ear.until(lambda number=number: len(ear.taken) == number + 1)
        assert ear.texts == ["ask @Bob 0", "ask @Bob 1", "ask @Bob 2"]
        assert {message.author_name for message in ear.taken} == {"ada"}
        assert len(slack.asked("users.info")) == 2


async def test_names_that_slack_does_not_tell_hold_nothing_up() -> None:
    async with FakeSlack() as slack, a_store() as store, listening(slack, store) as ear:
        ada = slack.workspace.user("Ada")
        await ear.until(lambda: slack.sockets)
        slack.fail("users.info", status=429, retry_after=60, times=10)
        await ada.say(ada.dm, f"hello {slack.workspace.user('Bob').mention}")
        await ear.until(lambda: ear.taken)
        assert (ear.taken[0].text, ear.taken[0].author_name) == ("hello @someone", "someone")


async def test_names_that_take_too_long_hold_nothing_up() -> None:
    async with FakeSlack() as slack, a_store() as store, listening(slack, store) as ear:
        ada = slack.workspace.user("Ada")
        await ear.until(lambda: slack.sockets)
        hung = slack.hang("users.info")
        await ada.say(ada.dm, "hello")
        await ear.until(lambda: ear.taken)
        assert ear.taken[0].author_name == "someone"
        hung.release()
