"""What people do with their conversation: begin anew, stop, ask again, take back, look back, choose a persona, keep it."""

import asyncio
from datetime import timedelta

import pytest

from bot.chat import words_commands as say
from bot.chat.commands import TABLE
from bot.chat.personas import PERSONA_LENGTH
from bot.chat.policy import Rules, Scope
from bot.chat.protocol import Place
from tests.chat.chatting import KITCHEN, chatting, until
from tests.chat.commanding import text_of, type_in
from tests.fakes.clock import START

pytestmark = pytest.mark.anyio

MONTH = Rules(ttl=timedelta(days=30))


async def test_new_lets_the_next_message_begin_without_the_past() -> None:
    async with chatting("Hello Ada.", "Who are you?", rules=MONTH) as chat:
        await chat.say("I am Ada.")
        await chat.quiet()
        assert "30 days" in await text_of(chat, "new")
        await chat.say("Who am I?")
        await chat.quiet()
        assert [message.text for message in chat.model.prompts[1]][-1] == "Who am I?"
        assert "I am Ada." not in str(chat.model.prompts[1])


async def test_new_in_a_thread_does_not_make_the_bot_leave_it() -> None:
    async with chatting("Yes?", "Still here.") as chat:
        await chat.say("bot?", place=Place.THREAD, thread="t")
        await chat.quiet()
        await type_in(chat, "new", thread="t")
        assert (await chat.say("and?", place=Place.THREAD, thread="t", addressed=False)).conversation_id is not None
        await chat.quiet()
        assert "bot?" not in str(chat.model.prompts[1])


async def test_new_stops_what_is_under_way() -> None:
    never = asyncio.Event()
    async with chatting(["Half", never]) as chat:
        await chat.say("Question")
        await until(lambda: chat.surface.texts(KITCHEN) == ["Half"])
        await type_in(chat, "new")
        await chat.quiet()
        assert "stopped" in chat.surface.texts(KITCHEN)[0]


async def test_stop_stops_once_and_then_has_nothing_to_stop() -> None:
    never = asyncio.Event()
    async with chatting(["Half", never]) as chat:
        await chat.say("Question")
        await until(lambda: chat.surface.texts(KITCHEN) == ["Half"])
        assert await text_of(chat, "stop") == say.STOPPED
        await chat.quiet()
        assert await text_of(chat, "stop") == say.NOTHING_TO_STOP


async def test_retry_asks_again_and_says_when_there_is_nothing_to_ask() -> None:
    async with chatting("One.", "Two.") as chat:
        assert await text_of(chat, "retry") == say.NOTHING_TO_ASK
        await chat.say("Question")
        await chat.quiet()
        assert await text_of(chat, "retry") == say.ASKING_AGAIN
        await chat.quiet()
        assert await chat.history() == [("user", "Question"), ("assistant", "Two.")]


async def test_undo_takes_the_last_question_and_its_answer_back_on_the_platform_too() -> None:
    async with chatting("One.", "Two.") as chat:
        for question in ("First", "Second"):
            await chat.say(question)
            await chat.quiet()
        assert await text_of(chat, "undo") == say.TAKEN_BACK
        await chat.quiet()
        assert await chat.history() == [("user", "First"), ("assistant", "One.")]
        assert chat.surface.texts(KITCHEN) == ["One."]


async def test_undo_goes_back_one_question_at_a_time() -> None:
    async with chatting("One.", "Two.") as chat:
        for question in ("First", "Second"):
            await chat.say(question)
            await chat.quiet()
        for _ in range(2):
            assert await text_of(chat, "undo") == say.TAKEN_BACK
            await chat.quiet()
        assert await chat.history() == []
        assert await text_of(chat, "undo") == say.NOTHING_TO_TAKE_BACK


async def test_undo_while_the_answer_is_on_its_way_leaves_nothing_on_the_screen() -> None:
    never = asyncio.Event()
    async with chatting(["Half", never]) as chat:
        await chat.say("Question")
        await until(lambda: chat.surface.texts(KITCHEN) == ["Half"])
        assert await text_of(chat, "undo") == say.TAKEN_BACK
        await chat.quiet()
        assert await chat.history() == []
        assert chat.surface.texts(KITCHEN) == []


async def test_undo_takes_back_nothing_that_others_asked() -> None:
    async with chatting("Hello Ada.", "Hello Bob.", rules=Rules(scope=Scope.CHANNEL)) as chat:
        await chat.say("I am Ada.")
        await chat.quiet()
        await chat.say("I am Bob.", user="bob")
        await chat.quiet()
        assert await text_of(chat, "undo", shared=True) == say.NOTHING_TO_TAKE_BACK
        assert len(await chat.history(user="")) == 4
        assert await text_of(chat, "undo", shared=True, user="bob") == say.TAKEN_BACK
        await chat.quiet()
        assert await chat.history(user="") == [("user", "I am Ada."), ("assistant", "Hello Ada.")]


async def test_what_was_taken_back_is_not_revived_by_redelivery() -> None:
    async with chatting("Hello.") as chat:
        await chat.say("Secret", position=1)
        await chat.quiet()
        await type_in(chat, "undo")
        await chat.quiet()
        await chat.say("Secret", position=1)
        await chat.quiet()
        assert await chat.history() == []


async def test_history_shows_who_said_what_in_order_and_until_when_it_is_kept() -> None:
    async with chatting("Hello\nAda.", rules=MONTH) as chat:
        assert await text_of(chat, "history") == say.NOTHING_SAID
        await chat.say("I am Ada.")
        await chat.quiet()
        *lines, last = (await text_of(chat, "history")).splitlines()
        assert lines == ["Ada: I am Ada.", "Parley: Hello Ada."]
        assert last.startswith(f"Kept until {START + timedelta(days=30):%Y-%m-%d}")
        assert (await text_of(chat, "history 1")).splitlines()[0] == "Parley: Hello Ada."


@pytest.mark.parametrize("argument", ["0", "-1", "51", "many", "9" * 100])
async def test_history_of_an_impossible_length_says_what_is_possible(argument: str) -> None:
    async with chatting() as chat:
        assert "from 1 to 50" in await text_of(chat, f"history {argument}")


async def test_a_persona_is_shown_chosen_and_taken_back() -> None:
    async with chatting("Arr.", "Yes.") as chat:
        assert await text_of(chat, "persona") == say.NO_PERSONA
        assert await text_of(chat, "persona Talk like  a pirate") == say.PERSONA_TAKEN
        assert (await text_of(chat, "persona")).endswith("\nTalk like  a pirate")
        await chat.say("Hello?")
        await chat.quiet()
        assert "pirate" in chat.model.prompts[0][0].text
        assert await text_of(chat, "persona Default") == say.PERSONA_TAKEN_BACK
        assert await text_of(chat, "persona") == say.NO_PERSONA
        await chat.say("Hello?")
        await chat.quiet()
        assert "pirate" not in chat.model.prompts[1][0].text


async def test_a_persona_is_of_one_conversation_and_of_nobody_elses() -> None:
    async with chatting() as chat:
        await type_in(chat, "persona Talk like a pirate")
        assert await text_of(chat, "persona", user="bob") == say.NO_PERSONA
        assert await text_of(chat, "persona", channel="garden") == say.NO_PERSONA
        await type_in(chat, "new")
        assert await text_of(chat, "persona") == say.NO_PERSONA


async def test_a_persona_that_is_too_long_is_refused_with_the_limit() -> None:
    async with chatting() as chat:
        assert f"may have {PERSONA_LENGTH:,}" in await text_of(chat, f"persona {'x' * (PERSONA_LENGTH + 1)}")
        assert await text_of(chat, "persona") == say.NO_PERSONA
        assert await text_of(chat, f"persona {'x' * PERSONA_LENGTH}") == say.PERSONA_TAKEN


async def test_keep_shows_until_when_and_extends_it() -> None:
    async with chatting("Hello.", rules=MONTH) as chat:
        assert await text_of(chat, "keep") == say.NOTHING_SAID
        assert await text_of(chat, "keep longer") == say.NOTHING_SAID
        await chat.say("Hello?")
        await chat.quiet()
        first = await text_of(chat, "keep")
        assert f"{START + timedelta(days=30):%Y-%m-%d}" in first
        await chat.clock.advance(timedelta(days=29))
        assert await text_of(chat, "keep") == first
        extended = f"{chat.clock.now() + timedelta(days=30):%Y-%m-%d}"
        assert extended in await text_of(chat, "keep longer")
        assert extended in await text_of(chat, "keep")


async def test_what_a_channel_chose_for_keeping_is_what_people_are_told() -> None:
    async with chatting("Hello.", rules=MONTH) as chat:
        await chat.say("Hello?")
        await chat.quiet()
        await chat.choose("ttl", "12h", channel="kitchen")
        assert f"{START + timedelta(hours=12):%Y-%m-%d %H}" in await text_of(chat, "keep")
        await chat.choose("ttl", "off", channel="kitchen")
        assert "for ever" in await text_of(chat, "keep")


async def test_usage_shows_what_was_spent_today_against_the_callers_own_limits() -> None:
    async with chatting("Hello.") as chat:
        await chat.choose("limit.user-tokens", "1000")
        await chat.choose("limit.user-turns", "5")
        await chat.choose("limit.workspace-tokens", "77777")
        await chat.say("Hello?")
        await chat.quiet()
        text = await text_of(chat, "usage")
        assert "turns today        1\n" in text
        assert "of 1,000 tokens" in text
        assert "of 5 turns" in text
        assert "77,777" not in text
        assert "in 23 hours" in text
        assert "turns today        0\n" in await text_of(chat, "usage", user="bob")


async def test_every_answer_to_people_is_for_them_alone() -> None:
    assert all(row.private for row in TABLE.values())
