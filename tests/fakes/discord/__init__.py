"""A Discord on loopback: REST v10, the gateway and the file host over real sockets, with Discord's rules and errors.

In a test, with the real discord.py:

    async with FakeDiscord(window=timedelta(milliseconds=200)) as discord:
        guild = discord.guild("Home")
        general, alice = guild.channel("general"), discord.user("alice")
        with pointed_at(discord):
            client = MyClient(intents=..., guild_ready_timeout=0.05)  # its default waits 2 s before on_ready
            running = asyncio.create_task(client.start(discord.token))
            await discord.until(lambda: discord.gateway.connected)
            await alice.say(general, f"{discord.bot.mention} hello")
            await discord.until(lambda: general.texts[-1] == "Hi!")
            assert discord.pings == []
            await client.close()
            await running

For a bot in a process of its own there is `FakeDiscordThread`; give that process `discord.api_url`, `discord.gateway_url`
and `discord.token`. Builders (`guild`, `channel`, `user`, ...) may be called directly before the bot connects; everything
that does something goes through `discord.do(alice.say, general, "hello")`.

Who does what:

- the world: `discord.guild`, `guild.channel/role/join/leave/outage/recover`, `discord.user`, `discord.dm`, `channel.deny`
- people: `user.say/edit/delete/post/slash/autocomplete/click/use_on/submit`
- what can be seen: `channel.messages/texts/typing`, `message.history/text/labels`, `discord.pings/requests/refused/asked`,
  `discord.identifies/resumes/commands/command_puts/interactions`
- what goes wrong: `discord.fail/hang/drop/invalidate/reconnect/refuse_gateway/pause_events/copies/send_twice/
  deliver_again`, `File(serve=...)`,
  `guild.automod`, `guild.threads_full`, `user.takes_dms`, `discord.indexing`, `interaction.expire()`, `attachment.expire()`
"""

from tests.fakes.discord.files import Attachment, File
from tests.fakes.discord.guilds import Guild
from tests.fakes.discord.interacting import NotOffered
from tests.fakes.discord.interactions import Interaction
from tests.fakes.discord.mentions import Ping
from tests.fakes.discord.messages import Message
from tests.fakes.discord.people import Role, User
from tests.fakes.discord.places import Channel, Dm, Thread
from tests.fakes.discord.pointing import pointed_at
from tests.fakes.discord.server import FakeDiscord
from tests.fakes.discord.threaded import FakeDiscordThread

__all__ = [
    "Attachment",
    "Channel",
    "Dm",
    "FakeDiscord",
    "FakeDiscordThread",
    "File",
    "Guild",
    "Interaction",
    "Message",
    "NotOffered",
    "Ping",
    "Role",
    "Thread",
    "User",
    "pointed_at",
]
