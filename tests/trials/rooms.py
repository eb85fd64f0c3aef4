"""Places of a platform where one person each talks to the bot, and all that people ever get to see there."""

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from datetime import timedelta
from typing import Protocol

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

_CONNECTED = '.connected"'
"""The end of the event that both platforms' adapters log when they hear."""
PATIENCE = timedelta(seconds=90)
"""How long something is waited for that must come; only a trial that fails waits that long."""


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


class Platform(Protocol):
    """A platform that one process of the bot is on."""

    name: str

    @property
    def env(self) -> dict[str, str]:
        """The settings that bring the bot here."""

    def room(self, name: str) -> Room:
        """Open a room, with a person of its own."""

    def heard(self) -> bool:
        """The bot is connected, and nothing is on its way to it."""

    def until(self, holds: Callable[[], object], *, within: timedelta = PATIENCE) -> None:
        """Wait until something holds, and fail if it takes too long."""


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


class DiscordPlatform:
    """A Discord with one server."""

    name = "Discord"

    def __init__(self, fake: FakeDiscordThread) -> None:
        self.fake = fake
        self._home = fake.guild("Home")

    @property
    def env(self) -> dict[str, str]:
        fake = self.fake
        return {
            "DISCORD_TOKEN": fake.token,
            "DISCORD_API_BASE_URL": fake.api_url,
            "DISCORD_GATEWAY_URL": fake.gateway_url,
        }

    def room(self, name: str) -> DiscordRoom:
        channel, person = self.fake.do(self._home.channel, name), self.fake.do(self.fake.user, f"person of {name}")
        return DiscordRoom(self.fake, channel, person)

    def heard(self) -> bool:
        return bool(self.fake.gateway.connected)

    def until(self, holds: Callable[[], object], *, within: timedelta = PATIENCE) -> None:
        self.fake.until(holds, within=within)


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


class SlackPlatform:
    """A workspace, by Socket Mode."""

    name = "Slack"

    def __init__(self, fake: FakeSlackThread) -> None:
        self.fake = fake

    @property
    def env(self) -> dict[str, str]:
        fake = self.fake
        return {
            "SLACK_BOT_TOKEN": fake.bot_token,
            "SLACK_APP_TOKEN": fake.app_token,
            "SLACK_API_BASE_URL": fake.api_url,
        }

    def room(self, name: str) -> SlackRoom:
        person = self.fake.do(self.fake.workspace.user, f"person of {name}")
        return SlackRoom(self.fake, self.fake.do(self.fake.workspace.channel, name, person), person)

    def heard(self) -> bool:
        return bool(self.fake.sockets) and bool(self.fake.quiet)

    def until(self, holds: Callable[[], object], *, within: timedelta = PATIENCE) -> None:
        self.fake.until(holds, within=within)


@contextmanager
def on_discord() -> Iterator[DiscordPlatform]:
    """Open a Discord."""
    with FakeDiscordThread() as fake:
        yield DiscordPlatform(fake)


@contextmanager
def on_slack() -> Iterator[SlackPlatform]:
    """Open a Slack, which delivers again after a second what was not acknowledged."""
    with FakeSlackThread(retry_after=[timedelta(seconds=1)] * 120) as fake:
        yield SlackPlatform(fake)


PLATFORMS: tuple[Callable[[], AbstractContextManager[Platform]], ...] = (on_discord, on_slack)


def begin(bot: Bot, platform: Platform, **env: str) -> Life:
    """Start the bot, and wait until it hears what people say from now on."""
    before = bot.errors.count(_CONNECTED)
    life = bot.start(**env)

    def hears() -> bool:
        assert life.read(0.01), f"the bot ended: {bot.errors[-1000:]}"
        return bot.errors.count(_CONNECTED) > before and platform.heard()

    platform.until(hears)
    return life
