"""What becomes of an answer whose question is edited or deleted: it is written anew in place, or taken back."""

import asyncio
from datetime import timedelta

import pytest

from bot.chat.run import RENEWAL
from store import MessageName
from tests.chat.chatting import KITCHEN, PLATFORM, Chat, chatting, until
from tests.chat.dying import cut_short, next_process
from tests.fakes.surface import Fault

pytestmark = pytest.mark.anyio


async def edit(chat: Chat, number: int, text: str) -> None:
    await chat.intake.edited(chat.message(text, position=number))


async def delete(chat: Chat, number: int) -> None:
    await chat.intake.deleted([named(number)])


def named(number: int) -> MessageName:
    return MessageName(platform=PLATFORM, workspace="w", channel="kitchen", id=f"m{number}")


# Edits


async def test_an_edit_before_the_first_text_begins_anew_with_the_new_text() -> None:
    never = asyncio.Event()
    async with chatting([never, "lost"], "Blue.") as chat:
        await chat.say("Which colour has the see?")
        await until(lambda: chat.model.open_streams == 1)
        await edit(chat, 1, "Which colour has the sea?")
        await chat.quiet()
        assert chat.surface.texts(KITCHEN) == ["Blue."]
        assert await chat.history() == [("user", "Which colour has the sea?"), ("assistant", "Blue.")]
        assert chat.model.left_early == 1


async def test_an_edit_while_the_answer_grows_writes_it_anew_in_the_same_message_and_says_nothing_of_it() -> None:
    never = asyncio.Event()
    async with chatting(["I see", never], "Blue.") as chat:
        await chat.say("Which colour has the see?")
        await until(lambda: chat.surface.texts(KITCHEN) == ["I see"])
        await edit(chat, 1, "Which colour has the sea?")
        await chat.quiet()
        (message,) = chat.surface.shown(KITCHEN)
        assert message.text == "Blue."
        assert message.history == ["I see"]
        assert await chat.history() == [("user", "Which colour has the sea?"), ("assistant", "Blue.")]


async def test_an_edit_of_the_last_question_replaces_its_answer_in_place() -> None:
    async with chatting("I see.", "Blue.") as chat:
        await chat.say("Which colour has the see?")
        await chat.quiet()
        await edit(chat, 1, "Which colour has the sea?")
        await chat.quiet()
        assert chat.surface.texts(KITCHEN) == ["Blue."]
        assert await chat.history() == [("user", "Which colour has the sea?"), ("assistant", "Blue.")]


async def test_an_edit_while_the_last_words_are_on_their_way_is_answered_next() -> None:
    gate = asyncio.Event()
    async with chatting("I see.", "Blue.") as chat:
        chat.surface.script("post", gate)
        await chat.say("Which colour has the see?")
        await until(lambda: bool(chat.surface.times("post")))
        await edit(chat, 1, "Which colour has the sea?")
        gate.set()
        await chat.quiet()
        assert chat.surface.texts(KITCHEN) == ["Blue."]
        assert (await chat.history())[-1] == ("assistant", "Blue.")


async def test_an_edit_of_what_waits_does_not_disturb_the_answer_that_grows() -> None:
    go_on = asyncio.Event()
    async with chatting(["First", go_on, " done."], "Second.") as chat:
        await chat.say("One")
        await until(lambda: chat.surface.texts(KITCHEN) == ["First"])
        await chat.say("Tow")
        await edit(chat, 2, "Two")
        await asyncio.sleep(0.02)
        assert chat.model.left_early == 0
        go_on.set()
        await chat.quiet()
        assert chat.surface.texts(KITCHEN) == ["First done.", "Second."]
        assert chat.model.prompts[1][-1].text == "Two"


async def test_any_number_of_edits_costs_no_attempt() -> None:
    async with chatting(*[["I see", asyncio.Event()]] * 8, "Blue.") as chat:
        await chat.say("Colour 0?")
        for number in range(8):
            await until(lambda number=number: len(chat.model.prompts) == number + 1)
            await chat.clock.advance(timedelta(seconds=2))
            await until(lambda: chat.surface.texts(KITCHEN) == ["I see"])
            await edit(chat, 1, f"Colour {number + 1}?")
        await chat.quiet()
        assert chat.surface.texts(KITCHEN) == ["Blue."]
        assert chat.model.prompts[-1][-1].text == "Colour 8?"


async def test_another_process_learns_of_an_edit_when_it_renews_its_lease() -> None:
    never = asyncio.Event()
    async with chatting(["I see", never], "Blue.") as chat:
        await chat.say("Which colour has the see?")
        await until(lambda: chat.surface.texts(KITCHEN) == ["I see"])
        await chat.store.revise(named(1), "Which colour has the sea?")
        await asyncio.sleep(0.02)
        assert chat.surface.texts(KITCHEN) == ["I see"]
        await chat.clock.advance(RENEWAL)
        await chat.quiet()
        assert chat.surface.shown(KITCHEN)[0].history == ["I see"]
        assert chat.surface.texts(KITCHEN) == ["Blue."]


async def test_an_edit_in_the_middle_of_a_crash_is_answered_once_in_the_same_message() -> None:
    async with cut_short("Which colour has the see?", shown="I see") as dead:
        await edit(dead, 1, "Which colour has the sea?")
        async with next_process(dead, "Blue.") as chat:
            await chat.quiet()
            assert chat.surface.texts(KITCHEN) == ["Blue."]
            assert await chat.history() == [("user", "Which colour has the sea?"), ("assistant", "Blue.")]
            chat.model.check_all_used()


# Deletions


async def test_deleting_a_question_takes_its_answer_back() -> None:
    async with chatting("An answer in two parts, if that is long enough. " * 60) as chat:
        await chat.say("Forget this")
        await chat.quiet()
        assert len(chat.surface.shown(KITCHEN)) == 2
        await delete(chat, 1)
        await chat.quiet()
        assert chat.surface.texts(KITCHEN) == []
        assert await chat.history() == []


async def test_deleting_a_question_while_it_is_answered_takes_back_what_is_shown() -> None:
    never = asyncio.Event()
    async with chatting(["Half", never]) as chat:
        await chat.say("Forget this")
        await until(lambda: chat.surface.texts(KITCHEN) == ["Half"])
        await delete(chat, 1)
        await chat.quiet()
        assert chat.surface.texts(KITCHEN) == []
        assert chat.surface.shown(KITCHEN) == []
        assert await chat.history() == []
        assert chat.model.left_early == 1


async def test_deleting_a_question_before_the_first_text_says_nothing() -> None:
    never = asyncio.Event()
    async with chatting([never]) as chat:
        await chat.say("Forget this")
        await until(lambda: chat.model.open_streams == 1)
        await delete(chat, 1)
        await chat.quiet()
        assert chat.surface.times("post") == []
        assert await chat.history() == []


async def test_deleting_an_older_message_does_not_disturb_the_answer_that_grows() -> None:
    go_on = asyncio.Event()
    async with chatting("One.", ["Two", go_on, " done."]) as chat:
        await chat.say("First")
        await chat.quiet()
        await chat.say("Second")
        await chat.clock.advance(timedelta(seconds=2))
        await until(lambda: chat.surface.texts(KITCHEN) == ["One.", "Two"])
        await delete(chat, 1)
        go_on.set()
        await chat.quiet()
        assert chat.surface.texts(KITCHEN) == ["Two done."]
        assert await chat.history() == [("user", "Second"), ("assistant", "Two done.")]


async def test_another_process_learns_of_a_deletion_when_it_renews_its_lease() -> None:
    never = asyncio.Event()
    async with chatting(["Half", never]) as chat:
        await chat.say("Forget this")
        await until(lambda: chat.surface.texts(KITCHEN) == ["Half"])
        await chat.store.retract([named(1)])
        await chat.clock.advance(RENEWAL)
        await chat.quiet()
        assert chat.surface.texts(KITCHEN) == []


async def test_what_a_dead_process_had_shown_of_a_deleted_question_is_taken_back() -> None:
    async with cut_short("Forget this") as dead:
        await delete(dead, 1)
        async with next_process(dead) as chat:
            await chat.quiet()
            assert chat.surface.texts(KITCHEN) == []
            assert chat.model.prompts == []


@pytest.mark.parametrize("fault", [Fault.UNREACHABLE, Fault.ANSWER_LOST, Fault.DELAYED])
async def test_taking_back_ends_whatever_the_platform_says(fault: Fault) -> None:
    async with chatting("An answer.") as chat:
        await chat.say("Forget this")
        await chat.quiet()
        chat.surface.script("delete", *[fault] * 20)
        await delete(chat, 1)
        await chat.quiet()
        status = await chat.store.status()
        assert (status.queued, status.running) == (0, 0)


async def test_an_answer_that_a_moderator_removed_first_is_no_trouble() -> None:
    async with chatting("An answer.") as chat:
        await chat.say("Forget this")
        await chat.quiet()
        chat.surface.remove(KITCHEN, chat.surface.shown(KITCHEN)[0].id)
        await delete(chat, 1)
        await chat.quiet()
        assert chat.surface.texts(KITCHEN) == []
