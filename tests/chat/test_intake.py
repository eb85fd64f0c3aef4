"""What is taken in, what is refused and in which words, and that nothing is acknowledged that was not kept."""

import pytest

from bot.chat.intake import Verdict
from bot.chat.policy import Rules, Trigger
from bot.chat.protocol import Place
from store import StoreUnavailable
from tests.chat.chatting import chatting

pytestmark = pytest.mark.anyio


@pytest.mark.parametrize("text", ["", " \n\t", "\u2003"])
async def test_an_empty_message_gets_one_help_line_and_no_model_call(text: str) -> None:
    async with chatting() as chat:
        outcome = await chat.say(text)
        assert outcome.verdict is Verdict.REFUSED
        assert "\n" not in outcome.notice
        assert await chat.history() == []


async def test_a_message_over_the_limit_is_refused_with_the_limit() -> None:
    async with chatting(characters=100) as chat:
        outcome = await chat.say("x" * 101)
        assert outcome.verdict is Verdict.REFUSED
        assert "100" in outcome.notice
        assert await chat.history() == []


@pytest.mark.parametrize("text", ["a\0b", "half \ud83d", "\udcff"])
async def test_what_no_store_can_keep_is_refused_in_words(text: str) -> None:
    async with chatting() as chat:
        outcome = await chat.say(text)
        assert outcome.verdict is Verdict.REFUSED
        assert outcome.notice
        assert await chat.history() == []


async def test_unusual_but_valid_text_comes_back_as_it_was() -> None:
    text = "\u202eright to left\u202c " + "😀" * 1000
    async with chatting(working=False) as chat:
        await chat.say(text)
        assert await chat.history() == [("user", text)]


async def test_a_message_to_others_is_ignored_and_not_kept() -> None:
    async with chatting(working=False) as chat:
        assert (await chat.say("psst", addressed=False)).verdict is Verdict.IGNORED
        assert await chat.history() == []


async def test_a_channel_that_is_listened_to_needs_no_mention() -> None:
    async with chatting(rules=Rules(trigger=Trigger.LISTEN), working=False) as chat:
        assert (await chat.say("anybody?", addressed=False)).verdict is Verdict.TAKEN


async def test_a_thread_is_answered_without_a_mention_once_the_bot_takes_part() -> None:
    async with chatting(working=False) as chat:
        where = {"place": Place.THREAD, "thread": "t"}
        assert (await chat.say("hm", addressed=False, **where)).verdict is Verdict.IGNORED  # type: ignore[arg-type]
        assert (await chat.say("bot?", addressed=True, **where)).verdict is Verdict.TAKEN  # type: ignore[arg-type]
        assert (await chat.say("and?", addressed=False, **where)).verdict is Verdict.TAKEN  # type: ignore[arg-type]


async def test_the_same_message_under_two_events_is_taken_once() -> None:
    async with chatting(working=False) as chat:
        assert (await chat.say("hi", event="Ev1", position=5)).verdict is Verdict.TAKEN
        assert (await chat.say("hi", event="Ev2", position=5)).verdict is Verdict.KNOWN


async def test_a_failing_store_reaches_the_adapter_so_that_nothing_is_acknowledged(monkeypatch) -> None:
    async def full(message: object) -> None:
        raise StoreUnavailable("the disk is full")

    async with chatting(working=False) as chat:
        monkeypatch.setattr(chat.store, "accept", full)
        with pytest.raises(StoreUnavailable):
            await chat.say("hi")
