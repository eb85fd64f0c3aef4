"""What people are on a server: payloads of the wire, made into objects by the real discord.py, and what is told by them."""

from typing import Any

import discord
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bot.adapters.discord.standing import of_author, of_caller
from bot.chat.callers import MEMBER, Kind, Standing
from tests.fakes.discord import Channel, FakeDiscord, Message, Role, User
from tests.fakes.discord.interactions import COMMAND, Interaction

pytestmark = pytest.mark.anyio


class World:
    """A Discord that nobody is connected to, and what the library would make of its payloads."""

    def __init__(self) -> None:
        self.discord = FakeDiscord()
        self.home = self.discord.guild("Home")
        self.general = self.home.channel("general")
        self.ada = self.discord.user("ada")

    def author(self, message: Message, *, heard: bool = True) -> Standing | None:
        """Tell what is known of an author: of a message that was `heard` live, or read later."""
        state = self._state()
        channel: Any = state._get_guild_channel(message.json(content=True, event=True))[0]
        return of_author(discord.Message(state=state, channel=channel, data=message.json(content=True, event=heard)))

    def caller(self, user: User, channel: Channel) -> Standing:
        if channel.guild is not None and user.id not in channel.guild.members:
            channel.guild.join(user)
        call = Interaction(self.discord, self.discord.snowflake(), COMMAND, user, channel, {"id": "1", "name": "chat"})
        return of_caller(discord.Interaction(data=call.json(), state=self._state()))

    def _state(self) -> Any:
        client = discord.Client(intents=discord.Intents.none(), max_messages=None)
        state: Any = client._connection
        state.http._HTTPClient__session = None  # an interaction takes it along; nothing is sent here
        state.user = discord.ClientUser(state=state, data=self.discord.bot.json())
        for guild in self.discord.guilds.values():
            state._add_guild_from_data(guild.json())
        return state


@pytest.fixture
def world() -> World:
    return World()


async def test_a_members_groups_are_their_roles_by_id_without_the_one_that_everybody_has(world: World) -> None:
    cooks, waiters = world.home.role("cooks"), world.home.role("waiters")
    world.home.join(world.ada, [cooks, waiters])
    groups = frozenset({str(cooks.id), str(waiters.id)})
    assert world.author(await world.ada.say(world.general, "hello")) == Standing(kind=Kind.MEMBER, groups=groups)
    assert world.caller(world.ada, world.general) == Standing(kind=Kind.MEMBER, groups=groups)


async def test_a_role_that_the_library_has_not_heard_of_counts_as_any_other(world: World) -> None:
    unheard = Role(world.home, world.discord.snowflake(), "banned")
    world.home.join(world.ada, [unheard])
    assert world.caller(world.ada, world.general).groups == {str(unheard.id)}


async def test_a_server_is_its_owners_and_nobody_elses(world: World) -> None:
    elsewhere = world.discord.guild("Elsewhere", owner=world.ada)
    owner = world.home.owner
    assert world.author(await owner.say(world.general, "hello")) == Standing(kind=Kind.MEMBER, owner=True)
    assert world.caller(owner, world.general).owner
    assert not world.caller(world.ada, world.general).owner
    assert world.caller(world.ada, elsewhere.channel("general")).owner


async def test_who_has_not_accepted_the_rules_yet_is_a_guest(world: World) -> None:
    world.home.join(world.ada, pending=True)
    assert world.caller(world.ada, world.general).kind is Kind.GUEST
    assert world.author(await world.ada.say(world.general, "hello")) == Standing(kind=Kind.GUEST)
    world.home.join(world.ada, pending=False)
    assert world.caller(world.ada, world.general).kind is Kind.MEMBER


async def test_a_bot_is_one_whatever_roles_it_has(world: World) -> None:
    weather, role = world.discord.user("weather", bot=True), world.home.role("cooks")
    world.home.join(weather, [role], pending=True)
    told = Standing(kind=Kind.BOT, groups=frozenset({str(role.id)}))
    assert world.author(await weather.say(world.general, "It rains.")) == told
    assert world.caller(weather, world.general) == told
    assert world.caller(weather, world.discord.dm(weather)).kind is Kind.BOT


async def test_in_direct_messages_there_are_neither_roles_nor_owners(world: World) -> None:
    world.home.join(world.home.owner, [world.home.role("cooks")])
    direct = world.discord.dm(world.home.owner)
    said = await world.home.owner.say(direct, "hello")
    assert world.author(said) == world.author(said, heard=False) == MEMBER
    assert world.caller(world.home.owner, direct) == MEMBER


async def test_who_uses_the_bot_by_an_installation_of_their_own_is_external_whatever_they_are_there(world: World) -> None:
    world.home.join(world.ada, [world.home.role("cooks")])
    world.ada.brings_bot = world.home.owner.brings_bot = True
    for who in (world.ada, world.home.owner):
        assert world.caller(who, world.general) == Standing(kind=Kind.EXTERNAL)
        assert world.caller(who, world.discord.dm(who)) == MEMBER


async def test_of_a_message_that_is_read_later_nothing_is_told(world: World) -> None:
    said = await world.ada.say(world.general, "hello")
    assert world.author(said, heard=False) is None


@given(roles=st.sets(st.integers(0, 7)), pending=st.booleans(), bot=st.booleans(), owner=st.booleans())
def test_a_message_and_a_call_tell_the_same(roles: set[int], pending: bool, bot: bool, owner: bool) -> None:
    world = World()
    known = [world.home.role(f"role {number}") for number in range(8)]
    somebody = world.home.owner if owner else world.discord.user("somebody", bot=bot)
    world.home.join(somebody, [known[number] for number in roles], pending=pending)
    said = Message(world.discord.snowflake(), world.general, somebody, "hello")
    assert world.author(said) == world.caller(somebody, world.general)
