"""Turns that were there whenever the process died: which of them is the reason is found out, and only that is set aside."""

import asyncio
from datetime import timedelta

import pytest

from bot.chat.protocol import Address
from bot.chat.run import ATTEMPTS
from bot.chat.turn_names import tried_alone
from bot.chat.words import TurnError, shown
from store import Claim
from tests.chat.chatting import PLATFORM, Chat, chatting, until

pytestmark = pytest.mark.anyio

PARKED = shown(None, TurnError.PARKED)


async def die(chat: Chat, *, times: int = 1) -> list[Claim]:
    """Let processes claim all that waits, and die; return the claims of the last."""
    claims: list[Claim] = []
    for _ in range(times):
        claims = []
        held = await chat.store.claim(lease=timedelta(hours=1), window=20, platforms=(PLATFORM,))
        while held is not None:
            claims.append(held)
            held = await chat.store.claim(lease=timedelta(hours=1), window=20, platforms=(PLATFORM,))
        await chat.clock.advance(timedelta(hours=2))
    return claims


async def die_trying(chat: Chat, text: str) -> None:
    """Let a process die while the turn that answers `text` was its only suspect."""
    claims = await die(chat)
    (turn,) = [claim.turn for claim in claims if claim.window[-1].text == text]
    assert await chat.store.once(tried_alone(turn), at=chat.clock.now())


def seen(chat: Chat, channel: str) -> list[str]:
    return chat.surface.texts(Address(platform=PLATFORM, workspace="w", channel=channel))


async def test_a_message_that_kills_each_time_is_set_aside_and_told_once_while_others_go_on() -> None:
    async with chatting("Fine.", "Fine.", working=False) as chat:
        await chat.say("poison")
        await die(chat, times=ATTEMPTS - 1)
        await die_trying(chat, "poison")
        await chat.say("harmless", channel="garden")
        chat.task = asyncio.create_task(chat.turns.run())
        await chat.quiet()
        assert (seen(chat, "kitchen"), seen(chat, "garden")) == ([PARKED], ["Fine."])
        await chat.say("and now?")
        await chat.quiet()
        assert seen(chat, "kitchen") == [PARKED, "Fine."]


async def test_messages_that_only_ran_beside_it_are_answered() -> None:
    async with chatting(*["Fine."] * 3, working=False) as chat:
        for number in range(3):
            await chat.say("harmless", channel=f"room{number}")
        await chat.say("poison")
        await die(chat, times=ATTEMPTS - 1)
        await die_trying(chat, "poison")
        chat.task = asyncio.create_task(chat.turns.run())
        await chat.quiet()
        assert seen(chat, "kitchen") == [PARKED]
        assert [seen(chat, f"room{number}") for number in range(3)] == [["Fine."]] * 3


async def test_of_the_suspects_one_asks_the_model_at_a_time_and_whoever_is_none_asks_beside_it() -> None:
    first, second, fresh = asyncio.Event(), asyncio.Event(), asyncio.Event()
    async with chatting([first, "First."], [fresh, "Fresh."], [second, "Second."], working=False) as chat:
        await chat.say("one", channel="hall")
        await chat.say("two", channel="garden")
        await die(chat, times=ATTEMPTS - 1)
        chat.task = asyncio.create_task(chat.turns.run())
        await until(lambda: chat.turns.running == 2 and chat.model.open_streams == 1)
        await chat.say("three")
        await until(lambda: chat.model.open_streams == 2)
        assert chat.model.prompts[1][-1].text == "three"
        first.set()
        await until(lambda: len(chat.model.prompts) == 3)
        second.set()
        fresh.set()
        await chat.quiet()
        assert (seen(chat, "hall"), seen(chat, "garden"), seen(chat, "kitchen")) == (["First."], ["Second."], ["Fresh."])


async def test_two_deaths_with_everything_beside_are_no_reason_to_set_anything_aside() -> None:
    async with chatting("Fine.", working=False) as chat:
        await chat.say("harmless")
        await die(chat, times=ATTEMPTS - 1)
        chat.task = asyncio.create_task(chat.turns.run())
        await chat.quiet()
        assert seen(chat, "kitchen") == ["Fine."]


async def test_retry_gives_what_was_set_aside_all_its_tries_again() -> None:
    async with chatting("Fine after all.", working=False) as chat:
        outcome = await chat.say("poison")
        await die(chat, times=ATTEMPTS - 1)
        await die_trying(chat, "poison")
        chat.task = asyncio.create_task(chat.turns.run())
        await chat.quiet()
        assert seen(chat, "kitchen") == [PARKED]
        assert outcome.conversation_id is not None
        assert await chat.turns.retry(outcome.conversation_id)
        await chat.quiet()
        assert seen(chat, "kitchen") == ["Fine after all."]
