"""Laws of personas: what the operators say stands, whatever people choose behind it."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bot.app_governing import terms_of
from bot.chat.models import Models
from bot.chat.personas import INTRODUCTION, PERSONA_LENGTH, system_prompt, tokens_of
from tests.chat.chatting import SETTINGS, Chat, chatting

pytestmark = pytest.mark.anyio


async def system_prompts(chat: Chat, *questions: str) -> list[str]:
    """Ask, and tell what the model was told of itself each time."""
    asked = len(chat.model.prompts)
    for question in questions:
        await chat.say(question)
        await chat.quiet()
    return [prompt[0].text for prompt in chat.model.prompts[asked:]]


async def test_the_model_is_told_what_holds_in_the_channel_and_what_people_chose_from_the_next_question_on() -> None:
    async with chatting("1", "2", "3", terms=lambda key: terms_of(chat.rules, Models(chat.model))(key)) as chat:
        await chat.choose("persona", "Be brief.", channel="kitchen")
        assert await system_prompts(chat, "One?") == ["Be brief."]
        conversation = await chat.store.find(chat.key())
        assert conversation is not None
        await chat.store.put_persona(conversation.id, "A pirate.")
        assert await system_prompts(chat, "Two?") == [system_prompt("Be brief.", "A pirate.")]
        await chat.choose("persona", "Be long.", channel="kitchen")
        assert await system_prompts(chat, "Three?") == [system_prompt("Be long.", "A pirate.")]


async def test_what_people_chose_is_paid_from_the_budget_of_the_messages() -> None:
    settings = replace(SETTINGS, history_tokens=tokens_of("A pirate.") + 10)
    async with chatting("1", "2", settings=settings) as chat:
        await system_prompts(chat, "One, which is long enough?")
        conversation = await chat.store.find(chat.key())
        assert conversation is not None
        await chat.store.put_persona(conversation.id, "A pirate.")
        await system_prompts(chat, "Two?")
        assert [message.text for message in chat.model.prompts[1]] == [system_prompt("Be kind.", "A pirate."), "Two?"]


def test_the_operators_persona_stands_alone_where_nothing_is_chosen() -> None:
    assert system_prompt("Be kind.", "") == "Be kind."
    assert system_prompt("Be kind.", " \n ") == "Be kind."
    assert tokens_of("") == 0


def test_what_people_chose_stands_behind_it_and_is_said_to_be_theirs() -> None:
    assert system_prompt("Be kind.", "A pirate.\nShort.") == f"Be kind.\n\n{INTRODUCTION}\n> A pirate.\n> Short."


def test_what_people_chose_stands_alone_where_operators_say_nothing() -> None:
    assert system_prompt("", "A pirate.") == f"{INTRODUCTION}\n> A pirate."


@given(st.text(), st.text())
def test_no_line_of_what_people_chose_can_be_taken_for_the_operators(persona: str, chosen: str) -> None:
    prompt = system_prompt(persona, chosen)
    assert prompt.startswith(persona)
    theirs = prompt.removeprefix(persona).strip("\n")
    assert all(line.startswith("> ") for line in theirs.splitlines()[1:])


@given(st.text(min_size=PERSONA_LENGTH))
def test_a_chosen_persona_takes_a_bounded_part_of_the_prompt(chosen: str) -> None:
    assert tokens_of(chosen) <= tokens_of("\U0001f600" * PERSONA_LENGTH) + PERSONA_LENGTH
