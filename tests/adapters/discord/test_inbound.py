"""How Discord's messages are read: payloads of the wire, made into messages by the real discord.py, and what they become."""

from datetime import UTC, datetime
from typing import Any

import discord
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bot.adapters.discord.inbound import incoming
from bot.adapters.where import Where
from bot.chat.callers import MEMBER
from bot.chat.protocol import IncomingMessage, Place, Quote
from tests.fakes.discord import Channel, FakeDiscord, File, Message, Thread

pytestmark = pytest.mark.anyio


class World:
    """A Discord that nobody is connected to, and what the library would make of its payloads."""

    def __init__(self) -> None:
        self.discord = FakeDiscord()
        self.bot = self.discord.bot
        self.home = self.discord.guild("Home")
        self.general = self.home.channel("general")
        self.alice = self.discord.user("alice", display_name="Alice")
        self.bob = self.discord.user("bob", display_name="Bob")

    def read(self, message: Message, *, content: bool = True) -> IncomingMessage | None:
        seen = self.seen(message, content=content)
        own = seen.guild.self_role if seen.guild else None
        where = where_of(message.channel)
        return incoming(seen, where, us=self.bot.id, own_roles={own.id} if own else set(), standing=MEMBER, content=content)

    def seen(self, message: Message, *, content: bool = True) -> discord.Message:
        client = discord.Client(intents=discord.Intents.none(), max_messages=None)
        state: Any = client._connection
        state.user = discord.ClientUser(state=state, data=self.bot.json())
        state._add_guild_from_data(self.home.json())
        data = message.json(content=content, event=True)
        channel, _ = state._get_guild_channel(data)
        return discord.Message(state=state, channel=channel, data=data)


def where_of(channel: Channel) -> Where:
    if channel.guild is None:
        return Where(place=Place.DIRECT, workspace="", channel=str(channel.id))
    workspace = str(channel.guild.id)
    if isinstance(channel, Thread):
        assert channel.parent is not None
        return Where(place=Place.THREAD, workspace=workspace, channel=str(channel.parent.id), thread=str(channel.id))
    return Where(place=Place.CHANNEL, workspace=workspace, channel=str(channel.id))


def taken(message: IncomingMessage | None) -> IncomingMessage:
    assert message is not None
    return message


@pytest.fixture
def world() -> World:
    return World()


async def test_a_mention_at_the_beginning_speaks_to_us_and_is_not_part_of_what_is_said(world: World) -> None:
    said = taken(world.read(await world.alice.say(world.general, f"{world.bot.mention}, what is a snowflake?")))
    assert said.addressed
    assert said.text == "what is a snowflake?"


async def test_a_message_carries_who_where_when_and_its_place_in_the_order(world: World) -> None:
    message = await world.alice.say(world.general, f"{world.bot.mention} hello", sent_at=datetime(2026, 1, 2, tzinfo=UTC))
    said = taken(world.read(message))
    assert (said.author_id, said.author_name) == (str(world.alice.id), "Alice")
    assert (said.message_id, said.position, said.event_id) == (str(message.id), message.id, "")
    assert said.sent_at == datetime(2026, 1, 2, tzinfo=UTC)
    assert said.place is Place.CHANNEL
    address = said.address
    assert (address.platform, address.workspace, address.channel) == ("discord", str(world.home.id), str(world.general.id))
    assert (address.thread, address.reply_to) == ("", str(message.id))


async def test_people_are_called_what_the_server_calls_them(world: World) -> None:
    world.home.join(world.alice, nick="The Baker")
    assert taken(world.read(await world.alice.say(world.general, "hello"))).author_name == "The Baker"


async def test_a_mention_at_the_end_is_taken_out_and_one_in_a_sentence_becomes_our_name(world: World) -> None:
    us = world.bot.mention
    assert taken(world.read(await world.alice.say(world.general, f"are you there, {us}"))).text == "are you there"
    assert taken(world.read(await world.alice.say(world.general, f"I think {us} is kind"))).text == "I think @parley is kind"


async def test_a_ping_of_our_managed_role_speaks_to_us(world: World) -> None:
    said = taken(world.read(await world.alice.say(world.general, f"{world.home.bot_role.mention} hello")))
    assert said.addressed
    assert said.text == "hello"


async def test_a_ping_of_another_role_or_of_everyone_does_not(world: World) -> None:
    bakers = world.home.role("bakers", mentionable=True)
    said = taken(world.read(await world.home.owner.say(world.general, f"{bakers.mention} and @everyone, bread!")))
    assert not said.addressed
    assert "@bakers" in said.text


@pytest.mark.parametrize("ping", [True, False])
async def test_a_reply_to_us_answers_our_message_whether_it_pings_or_not(world: World, ping: bool) -> None:
    ours = await world.bot.say(world.general, "Bread is baked.")
    said = taken(world.read(await world.alice.say(world.general, "why?", reply_to=ours, ping_reply=ping)))
    assert said.addressed
    assert said.answers == str(ours.id)
    assert said.quotes == (Quote(author_name="parley", text="Bread is baked."),)
    assert said.text == "why?"


async def test_a_reply_to_somebody_else_quotes_them(world: World) -> None:
    theirs = await world.bob.say(world.general, f"I told {world.alice.mention} so", attachments=[File("proof.png", b"x")])
    said = taken(world.read(await world.alice.say(world.general, f"{world.bot.mention} did he?", reply_to=theirs)))
    assert said.answers == ""
    assert said.quotes == (Quote(author_name="Bob", text="I told @Alice so\n(file: proof.png)"),)
    assert said.files == ()


async def test_a_reply_to_a_deleted_message_quotes_nothing(world: World) -> None:
    theirs = await world.bob.say(world.general, "gone soon")
    await world.bob.delete(theirs)
    assert taken(world.read(await world.alice.say(world.general, "what?", reply_to=theirs))).quotes == ()


async def test_a_forwarded_message_is_quoted_with_its_files_but_without_an_author(world: World) -> None:
    theirs = await world.bob.say(world.general, "see this", attachments=[File("plan.txt", b"1234")])
    direct = world.discord.dm(world.alice)
    said = taken(world.read(await world.alice.say(direct, forward=theirs)))
    assert said.quotes == (Quote(author_name="", text="see this"),)
    assert [(file.name, file.size) for file in said.files] == [("plan.txt", 4)]
    assert said.answers == ""


async def test_a_direct_message_speaks_to_us(world: World) -> None:
    direct = world.discord.dm(world.alice)
    said = taken(world.read(await world.alice.say(direct, "hello")))
    assert said.addressed
    assert said.place is Place.DIRECT
    assert (said.address.workspace, said.address.channel, said.address.thread) == ("", str(direct.id), "")


async def test_a_thread_is_named_by_the_channel_around_it(world: World) -> None:
    thread = await world.general.start_thread("bread")
    said = taken(world.read(await world.alice.say(thread, "hello")))
    assert said.place is Place.THREAD
    assert not said.addressed
    assert (said.address.channel, said.address.thread) == (str(world.general.id), str(thread.id))


async def test_the_first_message_of_a_forum_post_is_a_message_of_its_thread(world: World) -> None:
    thread = await world.alice.post(world.home.channel("help", kind="forum"), "Stuck", f"{world.bot.mention} please help")
    said = taken(world.read(thread.messages[0]))
    assert (said.place, said.address.thread, said.message_id) == (Place.THREAD, str(thread.id), str(thread.id))
    assert said.addressed


async def test_our_own_messages_webhooks_and_system_messages_are_not_heard(world: World) -> None:
    assert world.read(await world.bot.say(world.general, f"{world.bot.mention} hello")) is None
    assert world.read(await world.bob.say(world.general, f"{world.bot.mention} hello", webhook=True)) is None
    for system in (6, 7, 8, 18, 20, 21, 23, 46):
        assert world.read(await world.bob.say(world.general, f"{world.bot.mention} hello", kind=system)) is None


async def test_another_bot_is_heard_and_known_as_one(world: World) -> None:
    robot = world.discord.user("robot", bot=True)
    assert taken(world.read(await robot.say(world.general, f"{world.bot.mention} beep"))).from_bot
    assert not taken(world.read(await world.alice.say(world.general, "hi"))).from_bot


async def test_files_are_offered_with_a_type_even_where_discord_names_none(world: World) -> None:
    files = [File("notes.txt", b"12345", content_type="text/plain; charset=utf-8"), File("what.unknown", b"")]
    message = await world.alice.say(world.general, attachments=files)
    seen = world.seen(message)
    for attachment in seen.attachments:
        attachment.content_type = None if attachment.filename != "notes.txt" else attachment.content_type
    said = taken(incoming(seen, where_of(world.general), us=world.bot.id, own_roles=set(), standing=MEMBER))
    assert [(file.name, file.media_type, file.size) for file in said.files] == [
        ("notes.txt", "text/plain; charset=utf-8", 5),
        ("what.unknown", "application/octet-stream", 0),
    ]
    assert said.files[0].url.startswith("http")


async def test_channels_emojis_and_commands_become_readable(world: World) -> None:
    text = f"see {world.general.mention} <:party:123456789012345678> <a:wave:123456789012345678> </chat new:1234567890>"
    assert taken(world.read(await world.alice.say(world.general, text))).text == "see #general :party: :wave: /chat new"


async def test_what_is_not_known_has_a_readable_name_too(world: World) -> None:
    text = "<@111111111111111111> <@&222222222222222222> <#333333333333333333>"
    said = taken(world.read(await world.alice.say(world.general, text)))
    assert said.text == "@unknown-user @unknown-role #unknown-channel"


async def test_stickers_and_polls_are_described(world: World) -> None:
    message = await world.alice.say(world.general, "look")
    data = message.json(content=True, event=True) | {
        "sticker_items": [{"id": "1", "name": "Wave", "format_type": 1}],
        "poll": {
            "question": {"text": "Rye or wheat?"},
            "answers": [{"answer_id": 1, "poll_media": {"text": "rye"}}, {"answer_id": 2, "poll_media": {"text": "wheat"}}],
            "expiry": "2026-01-02T00:00:00+00:00",
            "allow_multiselect": False,
            "layout_type": 1,
        },
    }
    state: Any = discord.Client(intents=discord.Intents.none())._connection
    channel: Any = discord.PartialMessageable(state=state, id=world.general.id, guild_id=world.home.id)
    seen = discord.Message(state=state, channel=channel, data=data)
    said = taken(incoming(seen, where_of(world.general), us=world.bot.id, own_roles=set(), standing=MEMBER))
    assert said.text == "look\n(sticker: Wave)\n(poll: Rye or wheat? rye / wheat)"


def payload(world: World, **fields: Any) -> Any:
    """Write a message as the wire has it, with what is odd about it."""
    message = Message(world.discord.snowflake(), world.general, world.alice, "look")
    return message.json(content=True, event=True) | fields


def read(world: World, data: Any, channel: Any = None) -> IncomingMessage | None:
    state: Any = discord.Client(intents=discord.Intents.none())._connection
    state._add_guild_from_data(world.home.json())
    known, _ = state._get_guild_channel(data)
    seen = discord.Message(state=state, channel=channel or known, data=data)
    return incoming(seen, where_of(world.general), us=world.bot.id, own_roles={1}, standing=MEMBER)


VOICE = {"id": "5", "filename": "voice-message.ogg", "size": 9, "url": "http://cdn/v", "proxy_url": "", "duration_secs": 2.0}
ELSEWHERE = {"message_id": "7", "channel_id": "8", "guild_id": "9"}


@pytest.mark.parametrize(
    ("fields", "text"),
    [
        ({"content": ""}, ""),
        ({"content": "", "sticker_items": [{"id": "1", "name": "Wave", "format_type": 99}]}, "(sticker: Wave)"),
        ({"content": "", "flags": 1 << 13, "attachments": [VOICE | {"waveform": "AAAA"}]}, ""),
        ({"type": 19, "message_reference": ELSEWHERE | {"type": 0}, "referenced_message": None}, "look"),
        ({"type": 19, "message_reference": ELSEWHERE | {"type": 0}}, "look"),
        ({"message_reference": ELSEWHERE | {"type": 77}}, "look"),
        ({"content": "", "message_reference": ELSEWHERE | {"type": 1}, "message_snapshots": []}, ""),
        ({"content": "", "message_reference": ELSEWHERE | {"type": 1}}, ""),
        ({"mentions": [{"id": "3", "username": "", "discriminator": "0", "avatar": None}], "content": "<@3>"}, "@"),
        ({"author": {"id": "3", "username": "", "discriminator": "0", "avatar": None, "global_name": None}}, "look"),
        ({"embeds": [{"type": "from the future", "title": "x"}], "components": [{"type": 4711}]}, "look"),
        ({"flags": 1 << 60, "activity": {"type": 1, "party_id": "x"}}, "look"),
        ({"content": "\u202enoitcnuf\u202c Z\u0351\u036b\u0343algo " + "\u0300" * 900}, None),
        ({"content": "\x00 \ud800"}, "\x00 \ud800"),
    ],
)
async def test_an_odd_message_is_read_as_far_as_it_goes(world: World, fields: dict[str, Any], text: str | None) -> None:
    said = taken(read(world, payload(world, **fields)))
    assert said.text == (fields["content"] if text is None else text)
    assert isinstance(said.author_name, str)


@pytest.mark.parametrize("kind", [*range(1, 19), *range(20, 47), 4711])
async def test_no_kind_of_system_message_is_heard(world: World, kind: int) -> None:
    assert read(world, payload(world, type=kind)) is None


async def test_a_message_with_the_longest_names_is_read(world: World) -> None:
    author = {"id": "3", "username": "x" * 5000, "discriminator": "0", "avatar": None, "global_name": "\u202e" * 5000}
    files = [VOICE | {"filename": "y" * 5000 + ".txt"}]
    said = taken(read(world, payload(world, author=author, attachments=files)))
    assert said.files[0].name.endswith(".txt")


async def test_without_the_content_intent_what_we_may_not_read_is_not_heard(world: World) -> None:
    assert world.read(await world.alice.say(world.general, "between us"), content=False) is None
    ours = await world.bot.say(world.general, "Bread is baked.")
    silent = await world.alice.say(world.general, "why?", reply_to=ours, ping_reply=False)
    assert world.read(silent, content=False) is None


async def test_without_the_content_intent_we_read_what_is_said_to_us(world: World) -> None:
    us = world.bot.mention
    assert taken(world.read(await world.alice.say(world.general, f"{us} hello"), content=False)).text == "hello"
    assert taken(world.read(await world.alice.say(world.general, us), content=False)).text == ""
    direct = world.discord.dm(world.alice)
    assert taken(world.read(await world.alice.say(direct, "hello"), content=False)).text == "hello"


PIECES = st.lists(
    st.sampled_from(
        [
            "<",
            ">",
            "@",
            "!",
            "&",
            "#",
            "everyone",
            "here",
            "123456789012345678",
            "<@",
            "<@!",
            "<@&",
            " ",
            "a:b:",
            "\n",
            "<@1>",
        ]
    )
    | st.text(max_size=5),
    max_size=15,
).map("".join)


@given(text=PIECES, name=PIECES)
async def test_nothing_that_was_said_can_ping_when_it_is_said_again(text: str, name: str) -> None:
    world = World()
    world.alice.display_name = name or "x"
    message = await world.bob.say(world.general, text)
    quoting = await world.bob.say(world.general, f"<{world.alice.mention}> {text}", reply_to=message)
    said = taken(world.read(quoting))
    for shown in (said.text, *(quote.text for quote in said.quotes)):
        repeated = await world.home.owner.say(world.general, shown)
        assert not repeated.mentions.everyone
        assert repeated.mentions.roles == ()
        assert repeated.mentions.users == ()
