"""Places of a platform where one person each talks to the bot, and all that people ever get to see there."""

from datetime import timedelta
from typing import Protocol, Self

from tests.adapters.slack.showing import text_of
from tests.e2e.bots import Bot
from tests.e2e.zygote import Life
from tests.fakes.discord import Channel as DiscordChannel
from tests.fakes.discord import FakeDiscordThread
from tests.fakes.discord import Message as DiscordMessage
from tests.fakes.discord import User as DiscordUser
from tests.fakes.slack import Channel as SlackChannel
from tests.fakes.slack import FakeSlackThread
from tests.fakes.slack import Message as SlackMessage
from tests.fakes.slack import User as SlackUser
from tests.trials.on_platforms import OnDiscord, OnSlack
from tests.trials.stages import Platform

_CONNECTED = '.connected"'
"""The end of the event that both platforms' adapters log when they hear."""


class Room(Protocol):
    """A channel with one person in it."""

    def say(self, text: str) -> None:
        """Let the person say something to the bot; what follows is said in the conversation that this begins."""

    def retry(self) -> None:
        """Let the person use the command `retry`."""

    def shown(self) -> list[str]:
        """What the bot's messages say now, without their buttons."""

    def ever(self) -> list[str]:
        """Whatever the bot showed here, to anybody, for however short."""


class Rooms(Platform, Protocol):
    """A platform, where a room is opened whenever somebody wants to talk."""

    def room(self, name: str) -> Room:
        """Open a room, with a person of its own."""


class DiscordRoom:
    """A channel of a server."""

    def __init__(self, fake: FakeDiscordThread, channel: DiscordChannel, person: DiscordUser) -> None:
        self._fake, self._channel, self._person = fake, channel, person

    def say(self, text: str) -> None:
        self._fake.do(self._person.say, self._channel, f"{self._fake.bot.mention} {text}")

    def retry(self) -> None:
        self._fake.do(self._person.slash, self._channel, "chat", "retry")

    def shown(self) -> list[str]:
        return [message.text for message in self._messages()]

    def ever(self) -> list[str]:
        said = [text for message in self._messages() for text in (*message.history, message.text)]
        replies = [used.replies for used in list(self._fake.interactions) if used.channel is self._channel]
        return [*said, *(text for reply in replies for text in reply)]

    def _messages(self) -> list[DiscordMessage]:
        return [message for message in list(self._channel.messages) if message.author is self._fake.bot]


class DiscordRooms(OnDiscord):
    """A Discord with one server."""

    def __init__(self) -> None:
        super().__init__(FakeDiscordThread())

    def __enter__(self) -> Self:
        super().__enter__()
        self._home = self._discord.guild("Home")
        return self

    def room(self, name: str) -> DiscordRoom:
        do = self._discord.do
        return DiscordRoom(self._discord, do(self._home.channel, name), do(self._discord.user, f"person of {name}"))


class SlackRoom:
    """A thread of a channel, which the first thing that is said begins."""

    def __init__(self, fake: FakeSlackThread, channel: SlackChannel, person: SlackUser) -> None:
        self._fake, self._channel, self._person = fake, channel, person
        self._root: SlackMessage | None = None

    def say(self, text: str) -> None:
        mention = self._fake.workspace.bot.mention
        said = self._fake.do(self._person.say, self._channel, f"{mention} {text}", thread=self._root)
        self._root = self._root or said

    def retry(self) -> None:
        self.say("!retry")

    def shown(self) -> list[str]:
        return [text_of(message) for message in self._messages()]

    def ever(self) -> list[str]:
        said = [text for message in self._messages() for text in (*message.history, message.text, message.shown)]
        return [*said, *(text for shown in self._person.ephemerals for text in (*shown.history, shown.shown))]

    def _messages(self) -> list[SlackMessage]:
        bot = self._fake.workspace.bot
        return [message for message in list(self._channel.messages) if message.author is bot]


class SlackRooms(OnSlack):
    """A workspace, which delivers again after a second what was not acknowledged."""

    def __init__(self) -> None:
        super().__init__(FakeSlackThread(retry_after=[timedelta(seconds=1)] * 120))

    def room(self, name: str) -> SlackRoom:
        person = self._slack.do(self._slack.workspace.user, f"person of {name}")
        return SlackRoom(self._slack, self._slack.do(self._slack.workspace.channel, name, person), person)


PLATFORMS: dict[str, type[DiscordRooms] | type[SlackRooms]] = {made.name: made for made in (DiscordRooms, SlackRooms)}


def begin(bot: Bot, platform: Rooms, **env: str) -> Life:
    """Start the bot, and wait until it hears what people say from now on."""
    before = bot.errors.count(_CONNECTED)
    life = bot.start(**env)

    def hears() -> bool:
        assert life.read(0.01), f"the bot ended: {bot.errors[-1000:]}"
        return bot.errors.count(_CONNECTED) > before and platform.heard() and platform.quiet()

    platform.until(hears)
    return life
