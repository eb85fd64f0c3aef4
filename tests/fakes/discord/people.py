"""People, bots and roles; what people do, they do through `User`."""

from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import datetime
from typing import TYPE_CHECKING, Any

from tests.fakes.discord import doings, interacting
from tests.fakes.discord.files import File

if TYPE_CHECKING:
    from tests.fakes.discord.guilds import Guild
    from tests.fakes.discord.interactions import Interaction
    from tests.fakes.discord.messages import Message
    from tests.fakes.discord.places import Channel
    from tests.fakes.discord.server import FakeDiscord

Json = Any


@dataclass(eq=False, slots=True)
class User:
    """Somebody with an account. Set `takes_dms` to False and the bot can't write to them (50007), and `brings_bot` to True
    and they use the bot everywhere by an installation of their own, whether a guild has invited it or not."""

    discord: "FakeDiscord" = field(repr=False)
    id: int
    name: str
    display_name: str | None = None
    bot: bool = False
    takes_dms: bool = True
    brings_bot: bool = False

    @property
    def mention(self) -> str:
        return f"<@{self.id}>"

    def json(self) -> Json:
        return {
            "id": str(self.id),
            "username": self.name,
            "global_name": self.display_name,
            "discriminator": "0",
            "avatar": None,
            "bot": self.bot,
            "public_flags": 0,
        }

    async def say(
        self,
        channel: "Channel",
        text: str = "",
        *,
        reply_to: "Message | None" = None,
        ping_reply: bool = True,
        attachments: Iterable[File] = (),
        forward: "Message | None" = None,
        webhook: bool = False,
        kind: int = 0,
        nonce: str | None = None,
        sent_at: datetime | None = None,
    ) -> "Message":
        """Write a message; with `sent_at` its id and timestamp are of that moment."""
        return doings.say(
            self,
            channel,
            text,
            reply_to=reply_to,
            ping_reply=ping_reply,
            files=attachments,
            forward=forward,
            webhook=webhook,
            kind=kind,
            nonce=nonce,
            sent_at=sent_at,
        )

    async def edit(self, message: "Message", text: str) -> None:
        doings.edit(message, text)

    async def delete(self, message: "Message") -> None:
        message.channel.remove(message)

    async def post(self, forum: "Channel", title: str, text: str, **saying: Any) -> "Channel":
        """Open a post in a forum; its first message has the thread's id."""
        return doings.post(self, forum, title, text, **saying)

    async def slash(self, channel: "Channel", *names: str, **options: Any) -> "Interaction":
        """Use a slash command; returns at the bot's first response, or when it is too late for one."""
        return await interacting.slash(self, channel, names, options)

    async def autocomplete(
        self, channel: "Channel", *names: str, focused: str, value: Any = "", **others: Any
    ) -> list[Json]:
        """Type into the option `focused`; returns the choices that the bot offers."""
        return await interacting.autocomplete(self, channel, names, focused, value, others)

    async def click(self, message: "Message", button: str, *, values: Iterable[str] = ()) -> "Interaction":
        """Press a button, named by custom id or label, or choose `values` in a select menu."""
        return await interacting.click(self, message, button, list(values))

    async def use_on(self, message: "Message", command: str) -> "Interaction":
        """Use a command of the message's context menu."""
        return await interacting.use_on(self, message, command)

    async def submit(self, interaction: "Interaction", **values: str) -> "Interaction":
        """Fill in the modal that `interaction` opened, by custom ids, and send it."""
        return await interacting.submit(self, interaction, values)


@dataclass(eq=False, slots=True)
class Role:
    guild: "Guild" = field(repr=False)
    id: int
    name: str
    permissions: int = 0
    mentionable: bool = False
    managed_by: User | None = None
    position: int = 1

    @property
    def mention(self) -> str:
        return f"<@&{self.id}>"

    def json(self) -> Json:
        role = {
            "id": str(self.id),
            "name": self.name,
            "color": 0,
            "colors": {"primary_color": 0, "secondary_color": None, "tertiary_color": None},
            "hoist": False,
            "icon": None,
            "unicode_emoji": None,
            "position": self.position,
            "permissions": str(self.permissions),
            "managed": self.managed_by is not None,
            "mentionable": self.mentionable,
            "flags": 0,
        }
        return role | ({"tags": {"bot_id": str(self.managed_by.id)}} if self.managed_by else {})


@dataclass(eq=False, slots=True)
class Member:
    """Somebody in a guild."""

    user: User
    joined_at: datetime
    roles: list[Role] = field(default_factory=list)
    nick: str | None = None
    pending: bool = False
    """Whether they have yet to accept the guild's rules."""

    def json(self, *, with_user: bool = True) -> Json:
        member = {
            "nick": self.nick,
            "avatar": None,
            "roles": [str(role.id) for role in self.roles],
            "joined_at": self.joined_at.isoformat(),
            "deaf": False,
            "mute": False,
            "flags": 0,
            "pending": self.pending,
        }
        return member | ({"user": self.user.json()} if with_user else {})
