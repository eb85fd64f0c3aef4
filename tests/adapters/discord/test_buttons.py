"""Buttons under real answers, on the real discord.py: presses reach their turn, in this run and after a restart."""

import asyncio
import copy

import pytest
from structlog.testing import capture_logs

from bot.chat import words
from bot.llm.protocol import Finish, FinishReason, Usage
from store import StoreUnavailable
from tests.adapters.discord.interactive import InteractiveBot, interactive
from tests.fakes.discord import Channel, Message, User
from tests.fakes.discord.interactions import DEFER_UPDATE
from tests.fakes.discord.messages import EPHEMERAL

pytestmark = pytest.mark.anyio

CUT = ["The first half", Finish(reason=FinishReason.LENGTH, usage=Usage(), model="scripted")]


async def answered(bot: InteractiveBot, user: User, channel: Channel) -> Message:
    """Ask something, and return the finished answer."""
    await bot.hear(await user.say(channel, "Question"))
    await bot.quiet()
    return bot.shown(channel)[-1]


async def growing(bot: InteractiveBot, user: User, channel: Channel) -> Message:
    """Ask something, and return the answer that has begun with "Half"."""
    await bot.hear(await user.say(channel, "Question"))
    await bot.discord.until(lambda: bot.answers(channel) == ["Half"])
    return bot.shown(channel)[-1]


async def test_stop_ends_the_answer_that_is_growing() -> None:
    never = asyncio.Event()
    async with interactive(["Half", never]) as bot:
        ada, general = bot.discord.user("ada"), bot.guild.channel("general")
        press = await ada.click(await growing(bot, ada, general), "Stop")
        await bot.quiet()
        assert bot.answers(general) == ["Half\n\n*(stopped)*"]
        assert [response.kind for response in press.responses] == [DEFER_UPDATE]
        assert press.messages == []


async def test_stop_works_after_the_connection_was_made_anew() -> None:
    never = asyncio.Event()
    async with interactive(["Half", never]) as bot:
        ada, general = bot.discord.user("ada"), bot.guild.channel("general")
        answer = await growing(bot, ada, general)
        await bot.restart()
        await ada.click(answer, "Stop")
        await bot.quiet()
        assert bot.answers(general) == ["Half\n\n*(stopped)*"]


async def test_regenerate_asks_again_also_under_an_answer_of_an_earlier_run() -> None:
    async with interactive("One.", "Two.") as bot:
        ada, general = bot.discord.user("ada"), bot.guild.channel("general")
        answer = await answered(bot, ada, general)
        await bot.restart()
        press = await ada.click(answer, "Regenerate")
        await bot.discord.until(lambda: len(bot.model.prompts) == 2)
        await bot.quiet()
        assert bot.answers(general) == ["Two."]
        assert press.messages == []


async def test_continue_goes_on_where_the_answer_was_cut() -> None:
    async with interactive(CUT, "and the second.") as bot:
        ada, general = bot.discord.user("ada"), bot.guild.channel("general")
        answer = await answered(bot, ada, general)
        await bot.restart()
        await ada.click(answer, "Continue")
        await bot.discord.until(lambda: len(bot.model.prompts) == 2)
        await bot.quiet()
        first, second = bot.shown(general)
        assert first.text.startswith("The first half")
        assert second.text == "and the second."
        assert second.reference is first


async def test_pressing_twice_does_it_once() -> None:
    async with interactive(CUT, "and the second.") as bot:
        ada, general = bot.discord.user("ada"), bot.guild.channel("general")
        answer = await answered(bot, ada, general)
        presses = await asyncio.gather(*(ada.click(answer, "Continue") for _ in range(2)))
        await bot.discord.until(lambda: len(bot.model.prompts) == 2)
        await bot.quiet()
        assert all(press.acknowledged for press in presses)
        assert len(bot.shown(general)) == 2


@pytest.mark.parametrize("label", ["Regenerate", "Continue"])
async def test_a_stranger_is_told_why_nothing_happens(label: str) -> None:
    async with interactive(CUT) as bot:
        ada, bob, general = bot.discord.user("ada"), bot.discord.user("bob"), bot.guild.channel("general")
        answer = await answered(bot, ada, general)
        before = bot.answers(general)
        press = await bob.click(answer, label)
        await bot.discord.until(lambda: press.replies)
        await bot.quiet()
        assert press.replies == [words.NOT_YOURS]
        assert press.messages[0].flags & EPHEMERAL
        assert bot.answers(general) == before


async def test_a_stranger_does_not_stop_an_answer() -> None:
    go_on = asyncio.Event()
    async with interactive(["Half", go_on, " and half."]) as bot:
        ada, bob, general = bot.discord.user("ada"), bot.discord.user("bob"), bot.guild.channel("general")
        press = await bob.click(await growing(bot, ada, general), "Stop")
        await bot.discord.until(lambda: press.replies)
        assert press.replies == [words.NOT_YOURS]
        go_on.set()
        await bot.quiet()
        assert bot.answers(general) == ["Half and half."]


async def test_an_operator_may_press_for_others() -> None:
    async with interactive("One.", "Two.") as bot:
        ada, general = bot.discord.user("ada"), bot.guild.channel("general")
        await bot.olga.click(await answered(bot, ada, general), "Regenerate")
        await bot.discord.until(lambda: len(bot.model.prompts) == 2)
        await bot.quiet()
        assert bot.answers(general) == ["Two."]


async def test_a_button_that_somebody_still_sees_says_that_its_time_is_over() -> None:
    finish = asyncio.Event()
    async with interactive(["Half", finish]) as bot:
        ada, general = bot.discord.user("ada"), bot.guild.channel("general")
        as_ada_sees_it = copy.copy(await growing(bot, ada, general))
        finish.set()
        await bot.quiet()
        press = await ada.click(as_ada_sees_it, "Stop")
        await bot.discord.until(lambda: press.replies)
        assert press.replies == [words.NOTHING_TO_STOP]
        assert press.messages[0].flags & EPHEMERAL


async def test_a_press_that_came_too_late_does_nothing() -> None:
    async with interactive("One.") as bot:
        ada, general = bot.discord.user("ada"), bot.guild.channel("general")
        answer = await answered(bot, ada, general)
        unknown = {"message": "Unknown interaction", "code": 10062}
        bot.discord.fail("POST", "/interactions/**", status=404, body=unknown)
        with capture_logs() as logs:
            pressing = asyncio.create_task(ada.click(answer, "Regenerate"))
            await bot.discord.until(lambda: any(line["event"] == "interaction.dead" for line in logs))
            pressing.cancel()
            await asyncio.wait([pressing])
        await bot.quiet()
        assert len(bot.model.prompts) == 1


async def test_a_store_that_fails_is_told_to_who_presses(monkeypatch) -> None:
    async def failing(turn_id: int) -> None:
        raise StoreUnavailable("the disk is full")

    async with interactive("One.") as bot:
        ada, general = bot.discord.user("ada"), bot.guild.channel("general")
        answer = await answered(bot, ada, general)
        monkeypatch.setattr(bot.store, "facts", failing)
        press = await ada.click(answer, "Regenerate")
        await bot.discord.until(lambda: press.replies)
        assert press.replies == [words.STORE_FAILED]
