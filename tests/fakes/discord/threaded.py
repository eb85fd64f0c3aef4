"""The fake Discord in a thread of its own, for tests that run the bot as a separate process."""

from typing import Any

from tests.fakes.discord.server import FakeDiscord
from tests.fakes.threaded import FakeInThread


class FakeDiscordThread(FakeInThread):
    """Takes what `FakeDiscord` takes, and has what it has. Read anything directly; what does something goes through `do`:

    with FakeDiscordThread() as discord:
        general = discord.do(discord.do(discord.guild, "Home").channel, "general")
        discord.do(alice.say, general, "hello")
        discord.until(lambda: general.texts[-1] == "Hi!")
    """

    def __init__(self, **options: Any) -> None:
        super().__init__(FakeDiscord(**options))
