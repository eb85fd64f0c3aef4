"""The pause: nothing is answered while it lasts, nothing is lost, and everything is answered when it ends."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import timedelta

import pytest

from bot.chat.intake import NOTICES_EVERY, Verdict
from bot.chat.rules import DEFAULT, WATCH
from bot.chat.words_governing import PAUSED_NOTICE
from store import ON, PAUSED, NewMessage
from tests.chat.chatting import KITCHEN, PLATFORM, SETTINGS, Chat, chatting, until
from tests.fakes.clock import FakeClock

pytestmark = pytest.mark.anyio

GARDEN = replace(KITCHEN, channel="garden")


async def idle(chat: Chat) -> None:
    """Wait until no turn is carried out here, without letting more than a second pass."""
    for _ in range(1000):
        if chat.turns.running == 0:
            return
        await chat.clock.advance(timedelta(milliseconds=1))
        await asyncio.sleep(0.001)
    raise AssertionError("it went on for more than a second")


async def test_what_is_said_in_a_pause_is_kept_and_answered_when_it_ends() -> None:
    async with chatting("Hello.") as chat:
        await chat.pause()
        outcome = await chat.say("Hi")
        assert (outcome.verdict, outcome.notice) == (Verdict.TAKEN, PAUSED_NOTICE)
        assert (await chat.say("Are you there?")).notice == ""
        await chat.clock.advance(timedelta(minutes=1))
        assert chat.model.prompts == []
        assert [text for _, text in await chat.history()] == ["Hi", "Are you there?"]
        await chat.resume()
        await chat.quiet()
        assert chat.surface.texts(KITCHEN) == ["Hello."]
        assert [message.text for message in chat.model.prompts[0]] == ["Be kind.", "Hi", "Are you there?"]


async def test_a_channel_is_told_of_the_pause_once_in_ten_minutes() -> None:
    async with chatting(working=False) as chat:
        await chat.pause()
        assert (await chat.say("Hi", user="robot", from_bot=True)).notice == ""
        assert (await chat.say("Hi")).notice == PAUSED_NOTICE
        assert (await chat.say("Hi", user="bob")).notice == ""
        assert (await chat.say("Hi", channel="garden")).notice == PAUSED_NOTICE
        await chat.clock.advance(NOTICES_EVERY)
        assert (await chat.say("Hi again")).notice == PAUSED_NOTICE
        await chat.resume()
        await chat.clock.advance(NOTICES_EVERY)
        assert (await chat.say("And now?")).notice == ""


async def test_a_message_that_comes_twice_is_told_of_no_pause() -> None:
    async with chatting(working=False) as chat:
        await chat.say("Hi", position=1)
        await chat.pause()
        again = await chat.say("Hi", position=1)
        assert (again.verdict, again.notice) == (Verdict.KNOWN, "")


async def test_other_channels_go_on() -> None:
    async with chatting("Hello.") as chat:
        await chat.pause(channel="kitchen")
        await chat.say("Hi")
        await chat.say("Hi", channel="garden")
        await until(lambda: chat.surface.texts(GARDEN) == ["Hello."])
        assert chat.surface.texts(KITCHEN) == []


async def test_an_answer_on_its_way_stops_within_a_second_and_is_marked() -> None:
    never = asyncio.Event()
    async with chatting(["Half", never]) as chat:
        await chat.say("Question")
        await until(lambda: chat.surface.texts(KITCHEN) == ["Half"])
        await chat.pause()
        await chat.clock.advance(timedelta(milliseconds=1))
        await until(lambda: chat.model.open_streams == 0)
        await chat.quiet()  # its mark stands in line with the platform's other edits
        assert chat.surface.texts(KITCHEN)[0].startswith("Half")
        assert "stopped" in chat.surface.texts(KITCHEN)[0]


async def test_a_turn_that_shows_nothing_yet_waits_and_is_answered_when_the_pause_ends() -> None:
    never = asyncio.Event()
    async with chatting([never], "Here I am.") as chat:
        await chat.say("Question")
        await until(lambda: chat.model.open_streams == 1)
        await chat.pause()
        await idle(chat)
        assert chat.model.open_streams == 0
        assert chat.surface.texts(KITCHEN) == []
        await chat.clock.advance(timedelta(minutes=5))
        assert len(chat.model.prompts) == 1
        await chat.resume()
        await chat.quiet()
        assert chat.surface.texts(KITCHEN) == ["Here I am."]
        assert await chat.history() == [("user", "Question"), ("assistant", "Here I am.")]


async def test_pausing_again_and_again_parks_no_message() -> None:
    never = asyncio.Event()
    async with chatting(*[[never]] * 6, "At last.") as chat:
        await chat.say("Question")
        for times in range(1, 7):
            await until(lambda times=times: len(chat.model.prompts) == times and chat.model.open_streams == 1)  # type: ignore[misc]
            await chat.pause()
            await idle(chat)
            await chat.resume()
        await chat.quiet()
        assert chat.surface.texts(KITCHEN) == ["At last."]


async def test_who_stopped_a_turn_is_not_answered_after_the_pause() -> None:
    never = asyncio.Event()
    async with chatting([never]) as chat:
        outcome = await chat.say("Question")
        await until(lambda: chat.model.open_streams == 1)
        assert outcome.conversation_id is not None
        await chat.turns.stop(outcome.conversation_id)
        await chat.pause()
        await idle(chat)
        await chat.resume()
        await chat.quiet()
        assert len(chat.model.prompts) == 1
        assert "Stopped" in chat.surface.texts(KITCHEN)[0]


async def test_a_turn_of_another_channel_is_not_stopped() -> None:
    go_on = asyncio.Event()
    async with chatting(["Half", go_on, " and whole."]) as chat:
        await chat.say("Question")
        await until(lambda: chat.surface.texts(KITCHEN) == ["Half"])
        await chat.pause(channel="garden")
        await chat.choose("trigger", "listen")
        go_on.set()
        await chat.quiet()
        assert chat.surface.texts(KITCHEN) == ["Half and whole."]


async def test_a_pause_that_begins_while_a_turn_is_claimed_is_obeyed(monkeypatch: pytest.MonkeyPatch) -> None:
    async with chatting("Never said.") as chat:
        await until(lambda: chat.clock.sleeping > 0)
        accept_and_claim = chat.store.accept_and_claim

        async def claimed_just_before(message: NewMessage, **parts: object) -> object:
            accepted = await accept_and_claim(message, **parts)  # type: ignore[arg-type]
            await chat.pause()
            return accepted

        monkeypatch.setattr(chat.store, "accept_and_claim", claimed_just_before)
        await chat.say("Question")
        await idle(chat)
        assert chat.model.prompts == []
        status = await chat.store.status()
        assert status.queued + status.running == 1


@asynccontextmanager
async def two_replicas(*steps: object) -> AsyncIterator[tuple[Chat, Chat]]:
    """Two processes on one store; only the first carries out turns, and it follows what the other one changes."""
    clock = FakeClock()
    async with (
        chatting(*steps, clock=clock) as here,
        chatting(store=here.store, clock=clock, working=False) as there,
    ):
        watching = asyncio.create_task(here.rules.watch(clock))
        try:
            yield here, there
        finally:
            watching.cancel()
            await asyncio.wait({watching})


async def test_a_pause_on_one_replica_stops_what_runs_on_another_within_a_second() -> None:
    never = asyncio.Event()
    async with two_replicas(["Half", never]) as (here, there):
        await here.say("Question")
        await until(lambda: here.surface.texts(KITCHEN) == ["Half"])
        await there.pause()
        await here.clock.advance(WATCH)
        await until(lambda: here.model.open_streams == 0)
        await here.quiet()
        assert "stopped" in here.surface.texts(KITCHEN)[0]


async def test_replicas_tell_a_channel_of_the_pause_once_in_ten_minutes() -> None:
    async with two_replicas() as (here, there):
        await there.pause()
        await here.rules.load(PLATFORM)
        told = [await here.say("Hi"), await there.say("Hi", position=9)]
        assert [outcome.verdict for outcome in told] == [Verdict.TAKEN] * 2
        assert [outcome.notice for outcome in told] == [PAUSED_NOTICE, ""]
        await here.clock.advance(NOTICES_EVERY)
        assert (await there.say("Hi again", position=10)).notice == PAUSED_NOTICE


async def test_everything_can_be_paused_at_once() -> None:
    never = asyncio.Event()
    async with two_replicas(["Half", never], "Hello.") as (here, there):
        await here.say("Question")
        await until(lambda: here.surface.texts(KITCHEN) == ["Half"])
        await there.choose(PAUSED, ON, platform="", workspace="")
        await here.clock.advance(WATCH)
        await until(lambda: here.model.open_streams == 0)
        assert (await here.say("Hi", channel="garden")).notice == PAUSED_NOTICE
        await there.choose(PAUSED, DEFAULT, platform="", workspace="")
        await here.quiet()
        assert here.surface.texts(GARDEN) == ["Hello."]


async def test_while_everything_is_paused_nobody_looks_for_work_all_the_time(monkeypatch: pytest.MonkeyPatch) -> None:
    async with chatting() as chat:
        await chat.pause()
        for number in range(5):
            await chat.say("Hi", channel=f"c{number}")
        await until(lambda: chat.clock.sleeping > 0)
        claims, claim = [], chat.store.claim

        async def counted(**parts: object) -> object:
            claims.append(1)
            return await claim(**parts)  # type: ignore[arg-type]

        monkeypatch.setattr(chat.store, "claim", counted)
        for _ in range(20):
            await chat.clock.advance(timedelta(seconds=1))
            await asyncio.sleep(0.005)
        assert 0 < len(claims) <= 11


async def test_no_more_turns_of_a_workspace_run_at_once_than_the_environment_allows() -> None:
    go_on = asyncio.Event()
    steps = [[go_on, "Done."]] * 3
    async with chatting(*steps, settings=replace(SETTINGS, per_workspace=1)) as chat:
        for channel in ("a", "b", "c"):
            await chat.say("Hi", channel=channel)
        await chat.clock.advance(timedelta(seconds=5))
        assert chat.model.open_streams == 1
        go_on.set()
        await chat.quiet()
        assert len(chat.model.prompts) == 3
