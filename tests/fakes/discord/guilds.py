"""A guild with its channels, roles and members."""

from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from tests.fakes.discord.gateway import GUILDS
from tests.fakes.discord.people import Member, Role, User
from tests.fakes.discord.permissions import bits
from tests.fakes.discord.places import KINDS, Channel, Thread

if TYPE_CHECKING:
    from tests.fakes.discord.server import FakeDiscord

Json = Any


@dataclass(eq=False, slots=True)
class Guild:
    discord: "FakeDiscord" = field(repr=False)
    id: int
    name: str
    owner: User
    members: dict[int, Member] = field(default_factory=dict, repr=False)
    roles: dict[int, Role] = field(default_factory=dict, repr=False)
    channels: dict[int, Channel] = field(default_factory=dict, repr=False)
    threads: dict[int, Thread] = field(default_factory=dict, repr=False)
    unavailable: bool = False
    automod: list[str] = field(default_factory=list)
    """Words for which AutoMod blocks a message of the bot (200000)."""
    threads_full: bool = False
    """Whether there are too many active threads for another (160006)."""

    @property
    def everyone(self) -> Role:
        return self.roles[self.id]

    @property
    def bot_role(self) -> Role:
        """The managed role that Discord made for the bot; people ping it by mistake."""
        return next(role for role in self.roles.values() if role.managed_by is self.discord.bot)

    def channel(self, name: str, *, category: Channel | None = None, kind: str = "text") -> Channel:
        number = self.discord.snowflake()
        channel = Channel(self.discord, number, name, KINDS[kind], guild=self, category=category)
        self.channels[number] = self.discord.channels[number] = channel
        self.discord.gateway.dispatch("CHANNEL_CREATE", channel.json(), guild=self, needs=GUILDS)
        return channel

    def role(
        self, name: str, *, managed_by_bot: bool = False, mentionable: bool = False, permissions: Iterable[str] = ()
    ) -> Role:
        number = self.discord.snowflake()
        manager = self.discord.bot if managed_by_bot else None
        role = Role(self, number, name, bits(permissions), mentionable, manager, position=len(self.roles))
        self.roles[number] = role
        data = {"guild_id": str(self.id), "role": role.json()}
        self.discord.gateway.dispatch("GUILD_ROLE_CREATE", data, guild=self, needs=GUILDS)
        return role

    def join(
        self, user: User, roles: Iterable[Role] = (), *, nick: str | None = None, pending: bool | None = None
    ) -> Member:
        """Let somebody in, or give them these roles; `pending`: they have yet to accept the rules, or have done so."""
        member = self.members.setdefault(user.id, Member(user, datetime.now(UTC)))
        member.roles = list(dict.fromkeys([*member.roles, *roles]))
        member.nick = nick or member.nick
        member.pending = member.pending if pending is None else pending
        return member

    def part(self, user: User) -> None:
        """Let somebody go; without the members intent the bot hears nothing of it."""
        del self.members[user.id]

    async def leave(self) -> None:
        """Remove the bot from the guild."""
        self.discord.guilds.pop(self.id, None)
        for place in (*self.channels.values(), *self.threads.values()):
            self.discord.channels.pop(place.id, None)
            place.gone = True
        self.discord.gateway.dispatch("GUILD_DELETE", {"id": str(self.id)}, guild=self, needs=GUILDS)

    async def outage(self) -> None:
        """Let Discord lose sight of the guild for a while."""
        self.unavailable = True
        data = {"id": str(self.id), "unavailable": True}
        self.discord.gateway.dispatch("GUILD_DELETE", data, guild=self, needs=GUILDS)

    async def recover(self) -> None:
        self.unavailable = False
        self.discord.gateway.dispatch("GUILD_CREATE", self.json(), guild=self, needs=GUILDS)

    def json(self, *, event: bool = True) -> Json:
        guild: Json = {
            "id": str(self.id),
            "name": self.name,
            "icon": None,
            "owner_id": str(self.owner.id),
            "roles": [role.json() for role in self.roles.values()],
            "emojis": [],
            "stickers": [],
            "features": [],
            "afk_timeout": 300,
            "verification_level": 0,
            "default_message_notifications": 0,
            "explicit_content_filter": 0,
            "mfa_level": 0,
            "nsfw_level": 0,
            "premium_tier": 0,
            "system_channel_flags": 0,
            "preferred_locale": "en-US",
        }
        own = self.members[self.discord.bot.id]
        return (
            guild
            if not event
            else guild
            | {
                "channels": [channel.json() for channel in self.channels.values()],
                "threads": [thread.json() for thread in self.threads.values() if not thread.archived],
                "members": [own.json()],
                "member_count": len(self.members),
                "joined_at": own.joined_at.isoformat(),
                "large": False,
                "unavailable": False,
                "voice_states": [],
                "presences": [],
                "stage_instances": [],
                "guild_scheduled_events": [],
                "soundboard_sounds": [],
            }
        )
