"""What was said while we were away is read once, within Slack's limits, and goes through the same gate."""

import asyncio
import json
from collections.abc import MutableMapping
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
import structlog

from bot.adapters.slack.gaps import MESSAGES, OLDEST, PACE
from bot.adapters.slack.stamps import position_of
from bot.chat.words import unanswered
from store import Store, StoreUnavailable, Watermark
from tests.adapters.slack.listening import HTTP, SOCKET, Ear, a_store, listening
from tests.fakes.clock import FakeClock
from tests.fakes.recent_surface import RecentSurface
from tests.fakes.slack import FakeSlack

pytestmark = pytest.mark.anyio
SECOND = timedelta(seconds=1)
HISTORY, REPLIES = "conversations.history", "conversations.replies"


def read(slack: FakeSlack) -> int:
    return len(slack.asked(HISTORY)) + len(slack.asked(REPLIES))


async def up(ear: Ear, slack: FakeSlack) -> None:
    await ear.until(lambda: ear.socket is None or slack.sockets)


@pytest.mark.parametrize("by", [SOCKET, HTTP])
async def test_direct_messages_threads_and_mentions_of_the_time_between_two_lives_are_taken_once(by: str) -> None:
    async with FakeSlack(retry_after=[]) as slack, a_store() as store:
        home = slack.workspace
        ada, bob, us = home.user("Ada"), home.user("Bob"), home.bot
        general = home.channel("general", ada, bob)
        async with listening(slack, store, by=by) as ear:
            await up(ear, slack)
            await ada.say(ada.dm, "direct one")
            root = await bob.say(general, f"{us.mention} thread one")
            await ear.until(lambda: len(ear.taken) == 2)
            await ear.heard(slack)
        await ada.say(ada.dm, "direct two", heard=False)
        await bob.say(general, "thread two", thread=root, heard=False)
        await bob.say(general, f"{us.mention} channel two", heard=False)
        await bob.say(general, "not for us", heard=False)
        slack.post_as_bot(general, "an answer", None, root.ts)
        async with listening(slack, store, by=by) as ear:
            await ear.caught_up()
            assert sorted(ear.texts) == ["channel two", "direct two", "thread two"]
            assert {message.author_name for message in ear.taken} == {"Ada", "Bob"}
            times = read(slack)
        async with listening(slack, store, by=by) as ear:
            await ear.caught_up()
            assert ear.taken == []
        assert times == 3
        # A second reading sees three places and the thread that began meanwhile.
        assert read(slack) - times <= 5


async def test_a_fresh_installation_replays_nothing() -> None:
    async with FakeSlack() as slack, a_store() as store:
        ada = slack.workspace.user("Ada")
        await ada.say(ada.dm, "before you came", heard=False)
        async with listening(slack, store) as ear:
            await up(ear, slack)
            await ear.caught_up()
            assert read(slack) == 0
            assert ear.offered == []


async def test_replicas_replay_nothing_either_of_what_was_said_shortly_before_they_came() -> None:
    async with FakeSlack() as slack, a_store() as store:
        ada = slack.workspace.user("Ada")
        await ada.say(ada.dm, "before you came", heard=False)
        async with listening(slack, store, replicated=True) as ear:
            await up(ear, slack)
            await ada.say(ada.dm, "here you are")
            await ear.until(lambda: ear.taken)
        async with listening(slack, store, replicated=True) as ear:
            await ear.caught_up()
            assert ear.taken == []


async def test_a_short_loss_of_the_socket_reads_nothing() -> None:
    async with FakeSlack(retry_after=[timedelta()] * 3) as slack, a_store() as store, listening(slack, store) as ear:
        ada = slack.workspace.user("Ada")
        await up(ear, slack)
        await ada.say(ada.dm, "one")
        await ear.until(lambda: ear.taken)
        await slack.drop_sockets()
        await ear.until(lambda: slack.sockets)
        await ada.say(ada.dm, "two")
        await ear.until(lambda: len(ear.taken) == 2)
        assert read(slack) == 0


async def test_nothing_older_than_six_hours_is_taken() -> None:
    async with FakeSlack(retry_after=[]) as slack, a_store() as store:
        ada, now = slack.workspace.user("Ada"), datetime.now(UTC)
        await store.mark("slack", [marked(slack, ada.dm.id, now - timedelta(days=3))], at=now)
        await ada.say(ada.dm, "yesterday", at=now - timedelta(hours=7), heard=False)
        await ada.say(ada.dm, "this morning", at=now - timedelta(hours=5), heard=False)
        async with listening(slack, store) as ear:
            await up(ear, slack)
            await ear.caught_up()
            assert ear.texts == ["this morning"]


async def test_what_was_said_to_us_before_that_is_told_of_in_one_line_a_place_over_restarts_and_replicas() -> None:
    async with FakeSlack(retry_after=[], limits={HISTORY: 1000}) as slack, a_store() as store:
        home, now = slack.workspace, datetime.now(UTC)
        ada, bob, us = home.user("Ada"), home.user("Bob"), home.bot
        general = home.channel("general", ada, bob)
        for channel in (ada.dm, bob.dm, general):
            await store.mark("slack", [marked(slack, channel.id, now - timedelta(days=9))], at=now)
        await ada.say(ada.dm, "last week", at=now - timedelta(days=8), heard=False)
        await ada.say(ada.dm, "yesterday", at=now - timedelta(hours=20), heard=False)
        await ada.say(ada.dm, "yesterday, too", at=now - timedelta(hours=19), heard=False)
        await ada.say(ada.dm, "this morning", at=now - timedelta(hours=5), heard=False)
        await bob.say(general, "good night, all", at=now - timedelta(hours=12), heard=False)
        await bob.say(general, f"{us.mention} still up?", at=now - timedelta(hours=11), heard=False)
        clock = FakeClock(start=datetime.now(UTC))
        surface = RecentSurface(clock, nonces=False)
        for expected in (["this morning"], []):
            async with (
                listening(slack, store, by=HTTP, clock=clock, surface=surface, replicated=True) as one,
                listening(slack, store, by=HTTP, clock=clock, surface=surface, replicated=True) as another,
            ):
                await one.caught_up()
                await another.caught_up()
                assert one.texts + another.texts == expected
        assert sorted((channel, shown.text) for (_, channel, _), shown in surface.everything()) == sorted(
            [(ada.dm.id, unanswered(2, older_than=OLDEST)), (general.id, unanswered(1, older_than=OLDEST))]
        )


async def test_nobody_is_told_of_an_old_message_that_was_taken_in_in_its_time() -> None:
    async with FakeSlack(retry_after=[]) as slack, a_store() as store:
        ada, now = slack.workspace.user("Ada"), datetime.now(UTC)
        async with listening(slack, store, replicated=True) as ear:
            await up(ear, slack)
            await ada.say(ada.dm, "one", at=now - timedelta(hours=8))
            await ear.until(lambda: ear.taken)
        async with listening(slack, store, replicated=True) as ear:
            await ear.caught_up()
            assert read(slack) > 0, "what lies shortly before a mark is read once more"
            assert list(ear.surface.everything()) == []


def marked(slack: FakeSlack, channel: str, at: datetime, thread: str = "") -> Watermark:
    position = int(at.timestamp() * 1_000_000)
    return Watermark(workspace=slack.workspace.id, channel=channel, thread=thread, position=position)


async def test_of_a_long_history_the_newest_200_are_taken_in_order_on_as_many_pages_as_slack_makes() -> None:
    async with FakeSlack(retry_after=[]) as slack, a_store() as store:
        ada, now = slack.workspace.user("Ada"), datetime.now(UTC)
        await store.mark("slack", [marked(slack, ada.dm.id, now - timedelta(hours=1))], at=now)
        for number in range(MESSAGES + 30):
            await ada.say(ada.dm, f"{number}", heard=False)
        async with listening(slack, store, by=HTTP) as ear:  # no socket falls silent while a busy machine takes its time
            await ear.caught_up()
            assert ear.texts == [f"{number}" for number in range(30, MESSAGES + 30)]


async def test_the_places_used_last_are_read_first_at_40_a_minute() -> None:
    async with FakeSlack(retry_after=[]) as slack, a_store() as store:
        now = datetime.now(UTC)
        people = [slack.workspace.user(f"Person {number}") for number in range(5)]
        for number, person in enumerate(people):
            await store.mark("slack", [marked(slack, person.dm.id, now - timedelta(hours=number + 1))], at=now)
            await person.say(person.dm, f"{number}", heard=False)
        async with listening(slack, store) as ear:
            await up(ear, slack)
            began = ear.clock.monotonic()
            await ear.caught_up()
            assert ear.texts == ["0", "1", "2", "3", "4"]
            assert ear.clock.monotonic() - began >= 4 * PACE


async def test_an_app_that_gets_15_messages_a_minute_reads_the_newest_of_every_place() -> None:
    async with FakeSlack(retry_after=[], limits={HISTORY: 1000}) as slack, a_store() as store:
        now, home = datetime.now(UTC), slack.workspace
        ada, bob = home.user("Ada"), home.user("Bob")
        for number, person in enumerate([ada, bob]):
            await store.mark("slack", [marked(slack, person.dm.id, now - timedelta(hours=number + 1))], at=now)
        for number in range(20):
            await ada.say(ada.dm, f"a{number}", heard=False)
            await bob.say(bob.dm, f"b{number}", heard=False)
        slack.fail(HISTORY, status=429, retry_after=60, times=2)
        async with listening(slack, store, by=HTTP) as ear:
            began = ear.clock.monotonic()
            await ear.caught_up()
            assert sorted(ear.texts) == sorted(f"{who}{number}" for who in "ab" for number in range(5, 20))
            assert ear.clock.monotonic() - began >= timedelta(minutes=2)
            assert [request.body["limit"] for request in slack.asked(HISTORY)] == ["200", "200", "15", "15"]


async def test_a_budget_that_was_used_up_before_us_is_waited_for_once_and_everything_is_read() -> None:
    async with FakeSlack(retry_after=[], limits={HISTORY: 1000}) as slack, a_store() as store:
        now, home = datetime.now(UTC), slack.workspace
        ada = home.user("Ada")
        await store.mark("slack", [marked(slack, ada.dm.id, now - timedelta(hours=1))], at=now)
        for number in range(20):
            await ada.say(ada.dm, f"a{number}", heard=False)
        slack.fail(HISTORY, status=429, retry_after=45)
        async with listening(slack, store, by=HTTP) as ear:
            await ear.caught_up()
            assert len(ear.texts) == 20


async def test_replies_in_a_direct_thread_that_began_meanwhile_are_taken() -> None:
    async with FakeSlack(retry_after=[]) as slack, a_store() as store:
        ada = slack.workspace.user("Ada")
        async with listening(slack, store) as ear:
            await up(ear, slack)
            await ada.say(ada.dm, "one")
            await ear.until(lambda: ear.taken)
        root = await ada.say(ada.dm, "two", heard=False)
        await ada.say(ada.dm, "three", thread=root, heard=False)
        async with listening(slack, store) as ear:
            await up(ear, slack)
            await ear.caught_up()
            assert [(message.text, message.key.thread) for message in ear.taken] == [("two", ""), ("three", root.ts)]


@pytest.mark.parametrize("failure", ["cut", "internal_error"])
async def test_what_fails_is_tried_again_and_nothing_is_taken_twice(failure: str) -> None:
    async with FakeSlack(retry_after=[]) as slack, a_store() as store:
        ada, now = slack.workspace.user("Ada"), datetime.now(UTC)
        await store.mark("slack", [marked(slack, ada.dm.id, now - timedelta(hours=1))], at=now)
        await ada.say(ada.dm, "one", heard=False)
        if failure == "cut":
            slack.fail(HISTORY, cut=True, times=2)
        else:
            slack.fail(HISTORY, error=failure, times=2)
        async with listening(slack, store, by=HTTP) as ear:
            ear.failures += [StoreUnavailable("full")]
            await ear.caught_up()
            assert ear.texts == ["one"]
            assert len(ear.offered) == 2


async def test_a_place_that_we_may_not_read_any_more_is_forgotten() -> None:
    async with FakeSlack(retry_after=[]) as slack, a_store() as store:
        ada, now = slack.workspace.user("Ada"), datetime.now(UTC)
        general = slack.workspace.channel("general", ada, with_bot=False)
        marks = [
            marked(slack, general.id, now),
            marked(slack, "C000000999", now),
            marked(slack, ada.dm.id, now - timedelta(hours=1)),
        ]
        await store.mark("slack", marks, at=now)
        await ada.say(ada.dm, "still here", heard=False)
        async with listening(slack, store, by=HTTP) as ear:
            await ear.caught_up()
            assert ear.texts == ["still here"]
            assert {channel for channel, _ in await ear.kept()} == {ada.dm.id}


async def test_a_token_that_died_forgets_no_place() -> None:
    async with FakeSlack(retry_after=[]) as slack, a_store() as store:
        ada, now = slack.workspace.user("Ada"), datetime.now(UTC)
        await store.mark("slack", [marked(slack, ada.dm.id, now)], at=now)
        slack.fail(HISTORY, error="token_revoked")
        async with listening(slack, store, by=HTTP) as ear:
            await ear.until(lambda: read(slack))
            await ear.clock.advance(SECOND)
            assert list(await ear.kept()) == [(ada.dm.id, "")]


@pytest.mark.parametrize("error", ["missing_scope", "invalid_ts_oldest"])
async def test_a_place_that_can_t_be_read_does_not_keep_the_others_from_it(error: str) -> None:
    async with FakeSlack(retry_after=[]) as slack, a_store() as store:
        ada, bob, now = slack.workspace.user("Ada"), slack.workspace.user("Bob"), datetime.now(UTC)
        for number, person in enumerate([ada, bob]):
            await store.mark("slack", [marked(slack, person.dm.id, now - timedelta(hours=number + 1))], at=now)
            await person.say(person.dm, person.name, heard=False)
        slack.fail(HISTORY, error=error)
        async with listening(slack, store, by=HTTP) as ear:
            await ear.caught_up()
            assert ear.texts == ["Bob"]
            assert {channel for channel, _ in await ear.kept()} == {ada.dm.id, bob.dm.id}


async def test_a_message_that_can_t_be_read_keeps_no_other_from_it() -> None:
    async with FakeSlack() as slack, a_store() as store:
        ada, bob = slack.workspace.user("Ada"), slack.workspace.user("Bob")
        async with listening(slack, store) as ear:
            await ear.until(lambda: slack.sockets)
            for somebody in (bob, ada):
                await somebody.say(somebody.dm, "hello")
                await ear.heard(slack)
            await ear.until(lambda: len(ear.taken) == 2)
        odd = await ada.say(ada.dm, "no reader knows this", heard=False)
        odd.attachments.append({"is_share": True, "files": ["a word"]})
        await ada.say(ada.dm, "after it", heard=False)
        await bob.say(bob.dm, "elsewhere", heard=False)
        async with listening(slack, store) as ear:
            await ear.caught_up()
            assert sorted(ear.texts) == ["after it", "elsewhere"]


async def test_when_slack_drops_events_what_it_dropped_is_read() -> None:
    async with FakeSlack(retry_after=[]) as slack, a_store() as store, listening(slack, store, by=HTTP) as ear:
        home, ada = slack.workspace, slack.workspace.user("Ada")
        await ada.say(ada.dm, "one")
        await ear.until(lambda: ear.taken)
        await ada.say(ada.dm, "two", heard=False)
        told = {"type": "app_rate_limited", "team_id": home.id, "minute_rate_limited": 1, "api_app_id": slack.app_id}
        assert (await slack.send_signed(json.dumps(told).encode()))[0] == 200
        await ear.caught_up()
        assert ear.texts == ["one", "two"]


async def test_marks_stay_before_a_gap_until_it_is_read_whatever_is_heard_meanwhile() -> None:
    async with FakeSlack(retry_after=[]) as slack, a_store() as store:
        ada, now = slack.workspace.user("Ada"), datetime.now(UTC)
        before = marked(slack, ada.dm.id, now - timedelta(hours=1))
        await store.mark("slack", [before], at=now)
        await ada.say(ada.dm, "in the gap", heard=False)
        async with listening(slack, store, by=HTTP) as ear:
            hung = slack.hang(HISTORY)
            await ear.until(lambda: read(slack), step=timedelta())
            live = await ada.say(ada.dm, "live")
            await ear.until(lambda: ear.taken, step=timedelta())
            assert await ear.kept() == {(ada.dm.id, ""): before.position}
            hung.release()
            await ear.caught_up()
            assert await ear.kept() == {(ada.dm.id, ""): position_of(live.ts)}
            assert ear.texts == ["live", "in the gap"]
            assert await ear.history(ear.taken[0]) == ["in the gap", "live"]


async def test_a_message_that_was_not_stored_keeps_the_mark_before_it() -> None:
    async with FakeSlack(retry_after=[]) as slack, a_store() as store, listening(slack, store, by=HTTP) as ear:
        ada = slack.workspace.user("Ada")
        first = await ada.say(ada.dm, "one")
        await ear.until(lambda: ear.taken)
        ear.failures += [StoreUnavailable("full")]
        lost = await ada.say(ada.dm, "two")
        await ear.heard(slack)
        await ada.say(ada.dm, "three")
        await ear.heard(slack)
        assert position_of(first.ts) <= (await ear.kept())[ada.dm.id, ""] < position_of(lost.ts)


async def test_a_gap_is_read_once_and_said_once(store_and_lines: tuple[Store, list[MutableMapping[str, Any]]]) -> None:
    store, lines = store_and_lines
    async with FakeSlack(retry_after=[]) as slack:
        ada, now = slack.workspace.user("Ada"), datetime.now(UTC)
        await store.mark("slack", [marked(slack, ada.dm.id, now - timedelta(hours=1))], at=now)
        await ada.say(ada.dm, "one", heard=False)
        async with listening(slack, store) as ear:
            await ear.caught_up()
            for _ in range(20):
                await ear.clock.advance(SECOND)
                await asyncio.sleep(0)
        (line,) = [line for line in lines if line["event"] == "slack.gap_read"]
        assert (line["places"], line["messages"]) == (1, 1)
        assert read(slack) == 1


@pytest.fixture
async def store_and_lines(anyio_backend: object) -> Any:
    with structlog.testing.capture_logs() as lines:
        async with a_store() as store:
            yield store, lines
