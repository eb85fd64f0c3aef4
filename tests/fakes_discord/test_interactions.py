"""The life of an interaction: what the user sees, and how long the bot has."""

from collections.abc import Callable, Coroutine
from datetime import timedelta
from typing import Any

import discord as library
import pytest
from discord import app_commands

from tests.fakes.discord import FakeDiscord, NotOffered
from tests.fakes_discord.clients import Listener, running

pytestmark = pytest.mark.anyio

Do = Callable[[library.Interaction], Coroutine[Any, Any, Any]]


class Commands(Listener):
    """Has commands that do what the test wants done."""

    def __init__(self, do: Do) -> None:
        super().__init__()
        self.taken: dict[str, Any] = {}

        chat = app_commands.Group(name="chat", description="Chats")

        @chat.command(description="Shows what was said")
        async def history(
            interaction: library.Interaction, messages: app_commands.Range[int, 1, 10], of: library.Member | None = None
        ) -> None:
            self.taken = {"messages": messages, "of": of}
            await do(interaction)

        @chat.command(description="Sets the model")
        async def model(interaction: library.Interaction, name: str) -> None:
            await do(interaction)

        @model.autocomplete("name")
        async def names(interaction: library.Interaction, typed: str) -> list[app_commands.Choice[str]]:
            return [app_commands.Choice(name=name, value=name) for name in ("small", "smart", "large") if typed in name]

        async def ask(interaction: library.Interaction, message: library.Message) -> None:
            self.taken = {"message": message}
            await do(interaction)

        self.tree.add_command(chat)
        self.tree.add_command(app_commands.ContextMenu(name="Ask about this", callback=ask))
        self.do = do

    async def on_interaction(self, interaction: library.Interaction) -> None:
        if interaction.type in (library.InteractionType.component, library.InteractionType.modal_submit):
            await self.do(interaction)


async def test_commands_are_registered_once_and_keep_their_ids() -> None:
    async with FakeDiscord() as discord, running(discord, Commands(lambda _: None)) as client:
        assert [command["name"] for command in discord.commands] == ["chat", "Ask about this"]
        ids = [command["id"] for command in discord.commands]
        await client.tree.sync()
        assert ([command["id"] for command in discord.commands], discord.command_puts) == (ids, 2)


async def test_a_slash_command_is_answered_to_its_user_alone() -> None:
    async def do(interaction: library.Interaction) -> None:
        await interaction.response.send_message("only you", ephemeral=True)
        await interaction.followup.send("and more", ephemeral=True)

    async with FakeDiscord() as discord, running(discord, Commands(do)) as client:
        general, alice = discord.guild("Home").channel("general"), discord.user("alice")
        used = await alice.slash(general, "chat", "history", messages=5, of=alice)
        await discord.until(lambda: len(used.replies) == 2)
        assert used.replies == ["only you", "and more"]
        assert used.ephemeral
        assert used.acknowledged_after < timedelta(seconds=1)
        assert general.messages == []
        assert (client.taken["messages"], client.taken["of"].id) == (5, alice.id)
        for options in ({"messages": 11}, {"message": 1}, {}):
            with pytest.raises(NotOffered):
                await alice.slash(general, "chat", "history", **options)


async def test_a_deferred_answer_thinks_first_and_the_first_follow_up_takes_its_place() -> None:
    async def do(interaction: library.Interaction) -> None:
        await interaction.response.defer(thinking=True)
        if interaction.data["options"][0]["options"][0]["value"] == 1:
            await interaction.edit_original_response(content="edited in")
        else:
            await interaction.followup.send("followed up")

    async with FakeDiscord() as discord, running(discord, Commands(do)):
        general, alice = discord.guild("Home").channel("general"), discord.user("alice")
        for number in (1, 2):
            await alice.slash(general, "chat", "history", messages=number)
            await discord.until(lambda: discord.interactions[-1].replies)
        assert general.texts == ["edited in", "followed up"]
        assert [message.edited_at for message in general.messages] == [None, None]
        assert [[response.kind for response in used.responses] for used in discord.interactions] == [[5], [5]]


async def test_too_late_a_response_meets_a_dead_token() -> None:
    errors = []

    async def do(interaction: library.Interaction) -> None:
        await discord.until(lambda: discord.interactions[-1].failed)
        try:
            await interaction.response.send_message("late")
        except library.NotFound as error:
            errors.append(error.code)
        try:
            await interaction.followup.send("late")
        except library.HTTPException as error:
            errors.append(error.code)

    async with FakeDiscord(interaction_limit=timedelta(milliseconds=50)) as discord, running(discord, Commands(do)):
        general, alice = discord.guild("Home").channel("general"), discord.user("alice")
        used = await alice.slash(general, "chat", "history", messages=1)
        assert (used.failed, used.acknowledged, used.replies) == (True, False, [])
        await discord.until(lambda: len(errors) == 2)
        assert errors == [10062, 50027]


async def test_an_interaction_fails_when_nobody_is_there() -> None:
    async with FakeDiscord(interaction_limit=timedelta(milliseconds=20)) as discord:
        general, alice = discord.guild("Home").channel("general"), discord.user("alice")
        discord.commands = [{"id": "1", "name": "ping", "type": 1}]
        assert (await alice.slash(general, "ping")).failed


async def test_after_fifteen_minutes_the_token_is_over() -> None:
    errors = []

    async def do(interaction: library.Interaction) -> None:
        await interaction.response.send_message("now")
        discord.interactions[-1].expire()
        try:
            await interaction.edit_original_response(content="later")
        except library.HTTPException as error:
            errors.append((error.status, error.code))

    async with FakeDiscord() as discord, running(discord, Commands(do)):
        used = await discord.user("alice").slash(discord.guild("Home").channel("general"), "chat", "history", messages=1)
        await discord.until(lambda: errors)
        assert errors == [(401, 50027)]
        assert used.replies == ["now"]


async def test_autocompletion_offers_choices() -> None:
    async with FakeDiscord() as discord, running(discord, Commands(lambda _: None)):
        general, alice = discord.guild("Home").channel("general"), discord.user("alice")
        choices = await alice.autocomplete(general, "chat", "model", focused="name", value="sma")
        assert [choice["value"] for choice in choices] == ["small", "smart"]


async def test_a_context_menu_hands_over_the_message_even_without_the_intent() -> None:
    async def do(interaction: library.Interaction) -> None:
        await interaction.response.send_message("about that")

    async with FakeDiscord(message_content=False) as discord:
        general, alice = discord.guild("Home").channel("general"), discord.user("alice")
        said = await alice.say(general, "what is this?")
        client = Commands(do)
        client._connection._intents = library.Intents(guilds=True, guild_messages=True)
        async with running(discord, client):
            used = await alice.use_on(said, "Ask about this")
            assert used.replies == ["about that"]
            assert client.taken["message"].content == "what is this?"


async def test_a_button_can_change_its_message_or_open_a_form() -> None:
    class Form(library.ui.Modal, title="Why?"):
        reason: library.ui.TextInput = library.ui.TextInput(label="Reason", custom_id="reason")

    async def do(interaction: library.Interaction) -> None:
        if interaction.type is library.InteractionType.modal_submit:
            return
        if interaction.data["custom_id"] == "form":
            await interaction.response.send_modal(Form())
        else:
            await interaction.response.edit_message(content="pressed", view=None)

    async with FakeDiscord() as discord, running(discord, Commands(do)) as client:
        general, alice = discord.guild("Home").channel("general"), discord.user("alice")
        view = library.ui.View(timeout=None)
        view.add_item(library.ui.Button(label="Go", custom_id="go"))
        view.add_item(library.ui.Button(label="Say why", custom_id="form"))
        await client.get_partial_messageable(general.id).send("press", view=view)
        (message,) = general.messages
        assert message.labels == ["Go", "Say why"]
        Form.on_submit = lambda form, interaction: interaction.response.send_message(form.reason.value)  # type: ignore[method-assign]
        opened = await alice.click(message, "form")
        assert opened.modal["title"] == "Why?"
        sent = await alice.submit(opened, reason="because")
        assert sent.replies == ["because"]
        pressed = await alice.click(message, "Go")
        assert (message.text, message.labels, pressed.replies) == ("pressed", [], [])
        with pytest.raises(NotOffered):
            await alice.click(message, "Go")


async def test_interactions_reach_the_bot_in_direct_messages_too() -> None:
    async def do(interaction: library.Interaction) -> None:
        assert isinstance(interaction.user, library.User)
        await interaction.response.send_message("hello you")

    async with FakeDiscord() as discord, running(discord, Commands(do)):
        alice = discord.user("alice")
        assert (await alice.slash(discord.dm(alice), "chat", "history", messages=1)).replies == ["hello you"]
