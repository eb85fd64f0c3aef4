"""Where people talk: channels, threads and direct messages."""

from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from tests.fakes.discord import permissions
from tests.fakes.discord.gateway import DIRECT_MESSAGES, GUILD_MESSAGES, GUILDS
from tests.fakes.discord.messages import HAS_THREAD, THREAD_STARTER, Message
from tests.fakes.discord.people import Role, User
from tests.fakes.discord.permissions import Overwrite

if TYPE_CHECKING:
    from tests.fakes.discord.guilds import Guild
    from tests.fakes.discord.server import FakeDiscord

Json = Any

KINDS = {"text": 0, "dm": 1, "voice": 2, "category": 4, "announcement": 5, "thread": 11, "stage": 13, "forum": 15}


@dataclass(eq=False, slots=True)
class Channel:
    """A channel of a guild, or what is much like one: a thread, a DM."""

    discord: "FakeDiscord" = field(repr=False)
    id: int
    name: str
    kind: int
    guild: "Guild | None" = field(default=None, repr=False)
    category: "Channel | None" = None
    overwrites: dict[int, Overwrite] = field(default_factory=dict)
    by_id: dict[int, Message] = field(default_factory=dict, repr=False)
    last_message_id: int | None = None
    typing: list[datetime] = field(default_factory=list)
    """When the bot said that it types."""
    gone: bool = False

    @property
    def mention(self) -> str:
        return f"<#{self.id}>"

    @property
    def messages(self) -> list[Message]:
        """What people see here now, oldest first."""
        now = list(self.by_id.values())  # at one stroke, for readers in other threads
        return sorted(now, key=lambda message: message.id)

    @property
    def texts(self) -> list[str]:
        return [message.text for message in self.messages]

    @property
    def ruled_by(self) -> "Channel":
        """The channel whose permissions hold here."""
        return self

    def deny(self, *names: str, to: User | Role | None = None) -> None:
        """Take permissions away here, from the bot unless `to` says whom; `allow` gives them back."""
        self._rule(to, deny=permissions.bits(names))

    def allow(self, *names: str, to: User | Role | None = None) -> None:
        self._rule(to, allow=permissions.bits(names))

    def may(self, user: User, *names: str) -> bool:
        wanted = permissions.bits(names)
        return permissions.in_channel(self, user) & wanted == wanted

    def add(self, message: Message) -> None:
        """Put a message here and tell the bot's sessions."""
        self.by_id[message.id] = message
        self.last_message_id = max(message.id, self.last_message_id or 0)
        self.tell_of(message, "MESSAGE_CREATE", nonce=True)

    def remove(self, *messages: Message) -> None:
        for message in messages:
            message.deleted = True
            self.by_id.pop(message.id, None)
        where = {"channel_id": str(self.id)} | ({"guild_id": str(self.guild.id)} if self.guild else {})
        if len(messages) == 1:
            self._tell("MESSAGE_DELETE", {"id": str(messages[0].id)} | where)
        else:
            self._tell("MESSAGE_DELETE_BULK", {"ids": [str(message.id) for message in messages]} | where)

    def tell_of(self, message: Message, event: str, *, nonce: bool = False) -> None:
        """Send a message's event as each session may see it."""
        self._tell(event, lambda content: message.json(content=content, event=True, nonce=nonce))

    def _tell(self, event: str, data: Json) -> None:
        if self.may(self.discord.bot, "VIEW_CHANNEL"):
            needs = GUILD_MESSAGES if self.guild is not None else DIRECT_MESSAGES
            self.discord.gateway.dispatch(event, data, guild=self.guild, needs=needs)

    async def thread_from(self, message: Message, name: str) -> "Thread":
        """Start a thread on a message, as its author would."""
        return self.open_thread(name, owner=message.author, message=message)

    async def start_thread(self, name: str, *, by: User | None = None) -> "Thread":
        """Start a thread on its own; the guild's owner does it unless `by` says who."""
        assert self.guild is not None
        return self.open_thread(name, owner=by or self.guild.owner)

    def open_thread(self, name: str, *, owner: User, message: Message | None = None, minutes: int = 1440) -> "Thread":
        """Open a thread; one on a message has its id, and a first system message."""
        assert self.guild is not None
        number = message.id if message is not None else self.discord.snowflake()
        thread = Thread(self.discord, number, name, KINDS["thread"], guild=self.guild, parent=self, owner=owner)
        thread.minutes = minutes
        thread.joined = owner is self.discord.bot
        self.guild.threads[number] = self.discord.channels[number] = thread
        data = thread.json() | {"newly_created": True}
        self.discord.gateway.dispatch("THREAD_CREATE", data, guild=self.guild, needs=GUILDS)
        if message is not None:
            message.flags |= HAS_THREAD
            message.thread = thread
            self.tell_of(message, "MESSAGE_UPDATE")
            number = self.discord.snowflake()
            thread.add(Message(number, thread, message.author, kind=THREAD_STARTER, reference=message))
        return thread

    async def delete(self) -> None:
        """Delete the channel with its threads."""
        assert self.guild is not None
        self.gone = True
        for thread in [thread for thread in self.guild.threads.values() if thread.parent is self]:
            thread.vanish()
        del self.guild.channels[self.id], self.discord.channels[self.id]
        self.discord.gateway.dispatch("CHANNEL_DELETE", self.json(), guild=self.guild, needs=GUILDS)

    def json(self) -> Json:
        channel: Json = {
            "id": str(self.id),
            "type": self.kind,
            "last_message_id": _optional(self.last_message_id),
            "flags": 0,
        }
        if self.guild is None:
            return channel
        return channel | {
            "guild_id": str(self.guild.id),
            "name": self.name,
            "position": 0,
            "nsfw": False,
            "topic": None,
            "rate_limit_per_user": 0,
            "bitrate": 64000,
            "user_limit": 0,
            "parent_id": _optional(self.category.id if self.category else None),
            "permission_overwrites": [overwrite.json() for overwrite in self.overwrites.values()],
            "available_tags": [],
        }

    def _rule(self, target: User | Role | None, *, allow: int = 0, deny: int = 0) -> None:
        target = target or self.discord.bot
        overwrite = self.overwrites.setdefault(target.id, Overwrite(target.id, int(isinstance(target, User))))
        overwrite.allow = (overwrite.allow | allow) & ~deny
        overwrite.deny = (overwrite.deny | deny) & ~allow
        self.discord.gateway.dispatch("CHANNEL_UPDATE", self.json(), guild=self.guild, needs=GUILDS)


@dataclass(eq=False, slots=True)
class Dm(Channel):
    """The direct messages of the bot and one user."""

    user: User | None = None

    def json(self) -> Json:
        assert self.user is not None
        return Channel.json(self) | {"recipients": [self.user.json()]}


@dataclass(eq=False, slots=True)
class Thread(Channel):
    """A public thread, or a post in a forum."""

    parent: Channel | None = None
    owner: User | None = None
    archived: bool = False
    locked: bool = False
    archived_at: datetime = field(default_factory=lambda: datetime.now(UTC))
    minutes: int = 1440
    joined: bool = False
    """Whether the bot is a member."""

    @property
    def ruled_by(self) -> Channel:
        assert self.parent is not None
        return self.parent

    def add(self, message: Message) -> None:
        if self.archived:
            self.set(archived=False)  # writing unarchives, for people and bots alike
        self.joined = self.joined or message.author is self.discord.bot
        Channel.add(self, message)

    async def delete(self) -> None:
        self.vanish()
        fields = ("id", "guild_id", "parent_id", "type")
        data = {name: value for name, value in self.json().items() if name in fields}
        self.discord.gateway.dispatch("THREAD_DELETE", data, guild=self.guild, needs=GUILDS)

    def vanish(self) -> None:
        """Go without a word, as threads do with their channel."""
        assert self.guild is not None
        self.gone = True
        del self.guild.threads[self.id], self.discord.channels[self.id]

    async def archive(self, *, locked: bool = False) -> None:
        self.set(archived=True, locked=locked)

    async def rename(self, name: str) -> None:
        self.set(name=name)

    def set(self, **fields: Any) -> None:
        for name, value in fields.items():
            setattr(self, name, value)
        if "archived" in fields:
            self.archived_at = datetime.now(UTC)
        self.discord.gateway.dispatch("THREAD_UPDATE", self.json(), guild=self.guild, needs=GUILDS)

    def json(self) -> Json:
        assert self.parent is not None
        assert self.owner is not None
        assert self.guild is not None
        member = {"member": self.member_json()} if self.joined else {}
        return {
            "id": str(self.id),
            "guild_id": str(self.guild.id),
            "parent_id": str(self.parent.id),
            "owner_id": str(self.owner.id),
            "name": self.name,
            "type": self.kind,
            "last_message_id": _optional(self.last_message_id),
            "message_count": len(self.by_id),
            "total_message_sent": len(self.by_id),
            "member_count": 1,
            "rate_limit_per_user": 0,
            "flags": 0,
            "applied_tags": [],
            "thread_metadata": {
                "archived": self.archived,
                "locked": self.locked,
                "auto_archive_duration": self.minutes,
                "archive_timestamp": self.archived_at.isoformat(),
                "create_timestamp": self.archived_at.isoformat(),
            },
        } | member

    def member_json(self) -> Json:
        joined_at = self.archived_at.isoformat()
        return {"id": str(self.id), "user_id": str(self.discord.bot.id), "join_timestamp": joined_at, "flags": 0}


def _optional(snowflake: int | None) -> str | None:
    return None if snowflake is None else str(snowflake)
