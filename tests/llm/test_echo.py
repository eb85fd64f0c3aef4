"""The echo: it says back what was said, and says that it does."""

import pytest

from bot.llm.echo import EchoModel
from bot.llm.protocol import FinishReason, PromptMessage, PromptRole
from tests.llm.asking import ask, finish_of, text_of

pytestmark = pytest.mark.anyio


async def test_it_repeats_the_last_user_message_unchanged_and_in_pieces() -> None:
    said = " Grüße,\n\n  日本\tand `code` "
    prompt = [
        PromptMessage(role=PromptRole.SYSTEM, text="Be brief."),
        PromptMessage(role=PromptRole.USER, text="Before"),
        PromptMessage(role=PromptRole.USER, text=said),
        PromptMessage(role=PromptRole.ASSISTANT, text="After"),
    ]
    deltas = await ask(EchoModel(), prompt)
    assert text_of(deltas) == f"You said: {said}"
    assert len(deltas) > 5
    finish = finish_of(deltas)
    assert (finish.reason, finish.model) == (FinishReason.STOP, "echo")
    assert finish.usage.completion_tokens == len(deltas) - 1


async def test_without_a_user_message_it_still_answers() -> None:
    assert text_of(await ask(EchoModel(), [])) == "Nothing was said yet."


async def test_it_can_be_left_and_closed_twice() -> None:
    model = EchoModel()
    async with model.stream([PromptMessage(role=PromptRole.USER, text="a b c")]) as deltas:
        await anext(deltas)
    await model.aclose()
    await model.aclose()
