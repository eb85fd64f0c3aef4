"""Slash commands on the real discord.py: what people see of the table, when a call is acknowledged, and what it answers."""

import asyncio
import dataclasses

import discord
import pytest
from structlog.testing import capture_logs

from bot.adapters.discord.context_menu import NAME
from bot.adapters.discord.slash import SUGGESTING
from bot.chat import words
from bot.chat.commands import TABLE, Group
from store import Role
from tests.adapters.discord.interactive import interactive, key_of
from tests.fakes.discord.interactions import DEFER
from tests.fakes.discord.messages import EPHEMERAL

pytestmark = pytest.mark.anyio


async def test_every_row_of_the_table_can_be_typed() -> None:
    async with interactive() as bot:
        shown = {command["name"]: command for command in bot.discord.commands if command["type"] == 1}
        assert shown.keys() == {group.value for group in Group}
        for group in Group:
            rows = {row.name: row for row in TABLE.values() if row.group is group}
            offered = {option["name"]: option for option in shown[group.value]["options"]}
            assert offered.keys() == rows.keys()
            for name, row in rows.items():
                assert offered[name]["description"].lower() == row.summary.lower()
                assert [option["name"] for option in offered[name]["options"]] == [option.name for option in row.options]


async def test_commands_are_for_servers_and_the_bots_own_direct_messages() -> None:
    async with interactive() as bot:
        for command in bot.discord.commands:
            assert command["contexts"] == [0, 1]
            assert command["integration_types"] == [0]
        hints = {command["name"]: command["default_member_permissions"] for command in bot.discord.commands}
        assert hints == {"chat": None, "parley": discord.Permissions(manage_guild=True).value, NAME: None}


async def test_new_lets_go_of_the_past() -> None:
    async with interactive("Hello Ada.") as bot:
        ada, general = bot.discord.user("ada"), bot.guild.channel("general")
        await bot.hear(await ada.say(general, "I am Ada."))
        await bot.quiet()
        call = await ada.slash(general, "chat", "new")
        await bot.discord.until(lambda: call.replies)
        assert "A new conversation begins here" in call.replies[0]
        assert call.ephemeral
        assert await bot.store.find(key_of(general, ada)) is None


async def test_history_shows_as_many_messages_as_asked() -> None:
    async with interactive("Hello Ada.") as bot:
        ada, general = bot.discord.user("ada"), bot.guild.channel("general")
        await bot.hear(await ada.say(general, "I am Ada."))
        await bot.quiet()
        all_of_it = await ada.slash(general, "chat", "history")
        last = await ada.slash(general, "chat", "history", messages=1)
        await bot.discord.until(lambda: all_of_it.replies and last.replies)
        assert all_of_it.replies == ["ada: I am Ada.\nParley: Hello Ada.\nKept for ever."]
        assert last.replies == ["Parley: Hello Ada.\nKept for ever."]


async def test_discord_offers_only_what_the_table_takes() -> None:
    async with interactive() as bot:
        chat = next(command for command in bot.discord.commands if command["name"] == "chat")
        history = next(option for option in chat["options"] if option["name"] == "history")
        (messages,) = history["options"]
        assert (messages["type"], messages["min_value"], messages["max_value"]) == (4, 1, 50)
        assert messages["required"] is False


async def test_each_place_has_its_own_conversation() -> None:
    async with interactive("In the channel.", "In the thread.", "In private.") as bot:
        ada, general = bot.discord.user("ada"), bot.guild.channel("general")
        starter = await ada.say(general, "Thread?")
        thread = await general.thread_from(starter, "talk")
        private = bot.discord.dm(ada)
        for place, text in ((general, "Channel?"), (thread, "Thread!"), (private, "Private?")):
            await bot.hear(await ada.say(place, text))
            await bot.quiet()
        calls = [await ada.slash(place, "chat", "history") for place in (general, thread, private)]
        await bot.discord.until(lambda: all(call.replies for call in calls))
        assert [call.replies[0].splitlines()[1] for call in calls] == [
            "Parley: In the channel.",
            "Parley: In the thread.",
            "Parley: In private.",
        ]


async def test_an_operators_command_is_to_others_one_that_does_not_exist() -> None:
    async with interactive() as bot:
        ada, general = bot.discord.user("ada"), bot.guild.channel("general")
        theirs = await ada.slash(general, "parley", "status")
        ours = await bot.olga.slash(general, "parley", "status")
        await bot.discord.until(lambda: theirs.replies and ours.replies)
        assert theirs.replies == ["There is no such command; `help` lists them."]
        assert "scripted" in ours.replies[0]
        assert theirs.ephemeral
        assert ours.ephemeral


async def test_a_setting_is_chosen_with_both_options() -> None:
    async with interactive() as bot:
        general = bot.guild.channel("general")
        call = await bot.olga.slash(general, "parley", "channel", setting="trigger", value="listen")
        await bot.discord.until(lambda: call.replies)
        assert "trigger: listen (channel)" in call.replies[0]


async def test_an_option_that_needs_another_one_says_so() -> None:
    async with interactive() as bot:
        call = await bot.olga.slash(bot.guild.channel("general"), "parley", "channel", value="listen")
        await bot.discord.until(lambda: call.replies)
        assert call.replies == [words.option_missing("setting")]


async def test_values_are_suggested_to_operators_while_they_type() -> None:
    async with interactive() as bot:
        general = bot.guild.channel("general")

        async def suggested(typed: str) -> list[str]:
            choices = await bot.olga.autocomplete(
                general, "parley", "channel", focused="value", value=typed, setting="placement"
            )
            return [choice["value"] for choice in choices]

        assert await suggested("") == ["inline", "thread", "default"]
        assert await suggested("th") == ["thread"]
        assert await suggested("nothing") == []


async def test_nothing_is_suggested_to_those_who_may_not() -> None:
    async with interactive() as bot:
        ada, general = bot.discord.user("ada"), bot.guild.channel("general")
        assert await ada.autocomplete(general, "parley", "channel", focused="value", value="", setting="trigger") == []
        assert bot.discord.interactions[-1].acknowledged


async def test_suggestions_that_take_too_long_are_left_out(monkeypatch) -> None:
    async def never(*_: object) -> list[str]:
        await asyncio.Event().wait()
        return []

    async with interactive() as bot:
        monkeypatch.setattr(bot.commands, "suggest", never)
        general = bot.guild.channel("general")
        idle = bot.clock.sleeping
        typing = asyncio.create_task(bot.olga.autocomplete(general, "parley", "channel", focused="value", value="t"))
        await bot.discord.until(lambda: bot.clock.sleeping > idle)
        await bot.clock.advance(SUGGESTING)
        assert await typing == []
        assert bot.discord.interactions[-1].acknowledged


async def test_a_slow_command_is_acknowledged_at_once_and_answered_later(monkeypatch) -> None:
    async with interactive() as bot:
        ada, general = bot.discord.user("ada"), bot.guild.channel("general")
        ready = held_up(monkeypatch, bot.store)
        call = await ada.slash(general, "chat", "stop")
        assert [response.kind for response in call.responses] == [DEFER]
        assert call.responses[0].data["flags"] == EPHEMERAL
        assert call.replies == []
        ready.set()
        await bot.discord.until(lambda: call.replies)
        assert call.replies == ["There is nothing to stop."]
        assert call.ephemeral


async def test_a_long_reply_goes_on_in_further_messages() -> None:
    async with interactive() as bot:
        ada, general = bot.discord.user("ada"), bot.guild.channel("general")
        await tell(bot, general, ada, [f"{number:02} " + "word " * 50 for number in range(20)])
        call = await ada.slash(general, "chat", "history", messages=20)
        await bot.discord.until(lambda: call.replies and call.replies[-1].endswith("Kept for ever."))
        await bot.discord.until(lambda: sum(reply.count("word") for reply in call.replies) == 1000)
        assert len(call.replies) == 3
        assert all(message.flags & EPHEMERAL for message in call.messages)


async def test_a_very_long_reply_is_a_file() -> None:
    async with interactive() as bot:
        ada, general = bot.discord.user("ada"), bot.guild.channel("general")
        await tell(bot, general, ada, [f"{number:02} " + "word " * 58 for number in range(50)])
        call = await ada.slash(general, "chat", "history", messages=50)
        await bot.discord.until(lambda: call.messages[0].attachments)
        assert len(call.messages) == 1
        assert call.ephemeral
        assert call.messages[0].attachments[0].data.count(b"word") == 50 * 58


async def test_a_reply_pings_nobody_and_unfurls_nothing() -> None:
    async with interactive() as bot:
        ada, bob, general = bot.discord.user("ada"), bot.discord.user("bob"), bot.guild.channel("general")
        await tell(bot, general, ada, [f"@everyone {bob.mention} https://example.com"])
        call = await ada.slash(general, "chat", "history")
        await bot.discord.until(lambda: call.replies)
        assert "@everyone" in call.replies[0]
        assert bot.discord.pings == []
        (sent,) = bot.discord.asked("POST", "/webhooks/**")
        assert sent.body["allowed_mentions"]["parse"] == []
        assert sent.body["flags"] & 1 << 2


async def test_a_command_that_came_too_late_is_not_carried_out() -> None:
    async with interactive("Hello Ada.") as bot:
        ada, general = bot.discord.user("ada"), bot.guild.channel("general")
        await bot.hear(await ada.say(general, "I am Ada."))
        await bot.quiet()
        unknown = {"message": "Unknown interaction", "code": 10062}
        bot.discord.fail("POST", "/interactions/**", status=404, body=unknown)
        with capture_logs() as logs:
            ada_tries = asyncio.create_task(ada.slash(general, "chat", "forget"))
            await bot.discord.until(lambda: any(line["event"] == "interaction.dead" for line in logs))
            ada_tries.cancel()
            await asyncio.wait([ada_tries])
        assert await bot.store.find(key_of(general, ada)) is not None
        works = await ada.slash(general, "chat", "forget")
        await bot.discord.until(lambda: works.replies)
        assert await bot.store.find(key_of(general, ada)) is None


async def test_a_call_that_is_delivered_twice_is_carried_out_once(monkeypatch) -> None:
    async with interactive() as bot:
        general, handled = bot.guild.channel("general"), []
        handle = bot.commands.handle

        async def counted(call):
            handled.append(call.name)
            return await handle(call)

        monkeypatch.setattr(bot.commands, "handle", counted)
        bot.discord.send_twice = True
        with capture_logs() as logs:
            call = await bot.olga.slash(general, "parley", "sweep")
            await bot.discord.until(
                lambda: call.replies and any(line["event"] == "interaction.taken_elsewhere" for line in logs)
            )
        assert "interaction.dead" not in [line["event"] for line in logs]
        assert handled == ["parley sweep"]
        assert len(call.replies) == 1


async def test_a_private_reply_that_comes_after_its_time_is_shown_to_nobody(monkeypatch) -> None:
    async with interactive() as bot:
        ada, general = bot.discord.user("ada"), bot.guild.channel("general")
        ready = held_up(monkeypatch, bot.store)
        call = await ada.slash(general, "chat", "history")
        call.expire()
        with capture_logs() as logs:
            ready.set()
            await bot.discord.until(lambda: any(line["event"] == "interaction.not_answered" for line in logs))
        assert call.replies == []
        assert general.texts == []


async def test_a_public_reply_that_comes_after_its_time_goes_to_the_channel(monkeypatch) -> None:
    monkeypatch.setitem(TABLE, "chat stop", dataclasses.replace(TABLE["chat stop"], private=False))
    async with interactive() as bot:
        ada, general = bot.discord.user("ada"), bot.guild.channel("general")
        ready = held_up(monkeypatch, bot.store)
        call = await ada.slash(general, "chat", "stop")
        assert not call.ephemeral
        call.expire()
        ready.set()
        await bot.discord.until(lambda: "There is nothing to stop." in general.texts)


async def test_a_handler_that_breaks_is_told_in_one_sentence(monkeypatch) -> None:
    async def broken(call):
        raise RuntimeError("a bug")

    async with interactive() as bot:
        monkeypatch.setattr(bot.commands, "handle", broken)
        with capture_logs() as logs:
            call = await bot.olga.slash(bot.guild.channel("general"), "chat", "help")
            await bot.discord.until(lambda: call.replies)
        assert call.replies == [words.COMMAND_FAILED]
        assert any(line["event"] == "interaction.failed" and "RuntimeError at" in line["error"] for line in logs)


async def test_a_command_that_is_no_more_says_so() -> None:
    async with interactive() as bot:
        chat = next(command for command in bot.discord.commands if command["name"] == "chat")
        chat["options"].append({"name": "dance", "type": 1, "description": "Gone since", "options": []})
        call = await bot.olga.slash(bot.guild.channel("general"), "chat", "dance")
        assert call.replies == [words.COMMAND_CHANGED]
        assert call.ephemeral


async def tell(bot, channel, user, texts) -> None:
    """Let texts stand in somebody's conversation without asking a model."""
    conversation = await bot.store.get_or_create(key_of(channel, user), at=bot.clock.now())
    for text in texts:
        await bot.store.append(conversation.id, Role.ASSISTANT, text, at=bot.clock.now())


def held_up(monkeypatch, store) -> asyncio.Event:
    """Let the store find no conversation until the event is set."""
    ready, find = asyncio.Event(), store.find

    async def slow(key):
        await ready.wait()
        return await find(key)

    monkeypatch.setattr(store, "find", slow)
    return ready
