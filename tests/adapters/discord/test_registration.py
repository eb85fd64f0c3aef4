"""Telling Discord the commands: once, again when they change, and never at the cost of the start."""

import asyncio
import dataclasses

import pytest
from structlog.testing import capture_logs

from bot.adapters.discord.registration import PATIENCE
from bot.chat.commands import TABLE
from store import StoreUnavailable
from tests.adapters.discord.interactive import interactive
from tests.fakes.discord.forms import command_size

pytestmark = pytest.mark.anyio

COMMANDS = "/applications/*/commands"


async def test_two_starts_tell_discord_once() -> None:
    async with interactive() as bot:
        await bot.restart()
        assert bot.discord.command_puts == 1


async def test_a_changed_table_is_told_again(monkeypatch) -> None:
    async with interactive() as bot:
        monkeypatch.setitem(TABLE, "chat stop", dataclasses.replace(TABLE["chat stop"], summary="stop right there"))
        await bot.restart()
        await bot.restart()
        assert bot.discord.command_puts == 2
        chat = next(command for command in bot.discord.commands if command["name"] == "chat")
        assert "Stop right there" in [option["description"] for option in chat["options"]]


async def test_a_reconnect_tells_nothing() -> None:
    async with interactive() as bot:
        await bot.discord.invalidate()
        await bot.discord.until(lambda: len(bot.discord.identifies) == 2)
        assert bot.discord.command_puts == 1


async def test_what_discord_did_not_take_is_told_at_the_next_start() -> None:
    async with interactive(started=False) as bot:
        bot.discord.fail("PUT", COMMANDS, status=400, body={"message": "no", "code": 50035})
        with capture_logs() as logs:
            await bot.start()
        assert [line["log_level"] for line in logs if line["event"] == "discord.commands_not_registered"] == ["error"]
        assert bot.discord.command_puts == 0
        await bot.restart()
        assert bot.discord.command_puts == 1


async def test_the_daily_limit_is_named() -> None:
    async with interactive(started=False) as bot:
        bot.discord.fail("PUT", COMMANDS, status=429, body={"message": "Max", "code": 30034}, via=False)
        with capture_logs() as logs:
            await bot.start()
        (line,) = [line for line in logs if line["event"] == "discord.commands_not_registered"]
        assert "30034" in line["reason"]
        assert "tomorrow" in line["remedy"]


async def test_a_discord_that_does_not_answer_does_not_keep_the_bot_from_talking() -> None:
    async with interactive(started=False) as bot:
        hanging = bot.discord.hang("PUT", COMMANDS)
        starting = asyncio.create_task(bot.start())
        await bot.discord.until(lambda: bot.discord.asked("PUT", COMMANDS))
        await bot.clock.advance(PATIENCE)
        await starting
        hanging.release()


async def test_a_store_that_fails_does_not_keep_the_bot_from_talking(monkeypatch) -> None:
    async def failing(name: str) -> str:
        raise StoreUnavailable("the disk is full")

    async with interactive(started=False) as bot:
        monkeypatch.setattr(bot.store, "recall", failing)
        await bot.start()
        assert bot.discord.command_puts == 0


async def test_the_table_fits_into_discords_limits() -> None:
    async with interactive() as bot:
        for group in (command for command in bot.discord.commands if command["type"] == 1):
            assert len(group["options"]) <= 25
            assert command_size(group) <= 8000
            for row in group["options"]:
                assert len(row["options"]) <= 25
                for option in row["options"]:
                    assert len(option.get("choices", ())) <= 25
                    assert not (option.get("choices") and option.get("autocomplete"))
                    assert option.get("max_length", 1) <= 6000
