"""A message: what people see of it now, what it was before, and how it looks on the wire."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import datetime
from typing import TYPE_CHECKING, Any

from tests.fakes.discord.files import Attachment
from tests.fakes.discord.mentions import Mentions
from tests.fakes.discord.snowflakes import time_of

if TYPE_CHECKING:
    from tests.fakes.discord.people import User
    from tests.fakes.discord.places import Channel, Thread

Json = Any

HAS_THREAD, EPHEMERAL, LOADING, SILENT, COMPONENTS_V2 = 1 << 5, 1 << 6, 1 << 7, 1 << 12, 1 << 15
DEFAULT, REPLY, COMMAND, THREAD_STARTER, CONTEXT_MENU_COMMAND = 0, 19, 20, 21, 23
ANSWERABLE = (DEFAULT, REPLY, COMMAND, CONTEXT_MENU_COMMAND)
"""The kinds that are no system messages."""


@dataclass(eq=False, slots=True)
class Message:
    id: int
    channel: "Channel" = field(repr=False)
    author: "User"
    content: str = ""
    kind: int = DEFAULT
    flags: int = 0
    reference: "Message | None" = None
    forwarded: "Message | None" = None
    attachments: list[Attachment] = field(default_factory=list)
    embeds: list[Json] = field(default_factory=list)
    components: list[Json] = field(default_factory=list)
    mentions: Mentions = field(default_factory=Mentions)
    nonce: str | None = None
    webhook: bool = False
    interaction: Json = None
    """The wire's `interaction_metadata` of an answer to a command."""
    thread: "Thread | None" = None
    edited_at: datetime | None = None
    deleted: bool = False
    history: list[str] = field(default_factory=list)
    """The contents it had before, oldest first."""
    reactions: list[str] = field(default_factory=list)
    """The emojis that the bot has put on it."""

    @property
    def sent_at(self) -> datetime:
        return time_of(self.id)

    @property
    def silent(self) -> bool:
        """Sent without a push notification."""
        return bool(self.flags & SILENT)

    @property
    def loading(self) -> bool:
        """Shown as "thinking..."."""
        return bool(self.flags & LOADING)

    @property
    def text(self) -> str:
        """What people read: the content, or the text of components."""
        return self.content or "\n".join(
            component["content"] for component in walk(self.components) if component.get("type") == 10
        )

    @property
    def buttons(self) -> list[Json]:
        return [component for component in walk(self.components) if component.get("type") == 2]

    @property
    def labels(self) -> list[str]:
        """What its buttons say."""
        return [button.get("label") or button.get("emoji", {}).get("name", "") for button in self.buttons]

    @property
    def url(self) -> str:
        guild = self.channel.guild
        return f"https://discord.com/channels/{guild.id if guild else '@me'}/{self.channel.id}/{self.id}"

    def change(self, *, at: datetime, **fields: Any) -> None:
        """Edit: people see "(edited)", and the old content goes to the history."""
        self.history.append(self.content)
        for name, value in fields.items():
            setattr(self, name, value)
        self.edited_at = at

    def readable_by_bot(self) -> bool:
        """Whether the bot may read it without the message_content intent."""
        bot = self.channel.discord.bot
        return self.author is bot or self.channel.guild is None or bot in self.mentions.users

    def json(self, *, content: bool, event: bool = False, nonce: bool = False, depth: int = 0) -> Json:
        """Write it as the bot gets it; `content` False hides what the intent hides."""
        shown = content or self.readable_by_bot()
        message: Json = {
            "id": str(self.id),
            "channel_id": str(self.channel.id),
            "type": self.kind,
            "author": self.author.json(),
            "content": self.content if shown else "",
            "attachments": [attachment.json() for attachment in self.attachments] if shown else [],
            "embeds": self.embeds if shown else [],
            "components": self.components if shown else [],
            "timestamp": self.sent_at.isoformat(),
            "edited_timestamp": self.edited_at.isoformat() if self.edited_at else None,
            "mentions": [user.json() for user in self.mentions.users],
            "mention_roles": [str(role.id) for role in self.mentions.roles],
            "mention_everyone": self.mentions.everyone,
            "pinned": False,
            "tts": False,
            "flags": self.flags,
        }
        if nonce and self.nonce is not None:
            message["nonce"] = self.nonce
        if self.webhook:
            message["webhook_id"] = str(self.author.id)
        elif self.author.bot:
            message["application_id"] = str(self.author.id)
        if self.interaction is not None:
            message["interaction_metadata"] = self.interaction
        if self.thread is not None:
            message["thread"] = self.thread.json()
        return message | self._reference(content, shown, depth) | (self._place() if event else {})

    def _reference(self, content: bool, shown: bool, depth: int) -> Json:
        target = self.forwarded or self.reference
        if target is None:
            return {}
        guild = target.channel.guild
        where = {"message_id": str(target.id), "channel_id": str(target.channel.id)}
        where |= {"guild_id": str(guild.id)} if guild else {}
        if self.forwarded is not None:
            return {
                "message_reference": where | {"type": 1},
                "message_snapshots": [{"message": _snapshot(target)}] if shown else [],
            }
        fields: Json = {"message_reference": where | {"type": 0}}
        if depth == 0:
            fields["referenced_message"] = None if target.deleted else target.json(content=content, depth=1)
        return fields

    def _place(self) -> Json:
        guild = self.channel.guild
        if guild is None:
            return {"channel_type": 1}
        member = guild.members.get(self.author.id)
        fields: Json = {"guild_id": str(guild.id), "channel_type": self.channel.kind}
        return fields | ({"member": member.json(with_user=False)} if member and not self.webhook else {})


def _snapshot(message: Message) -> Json:
    whole = message.json(content=True)
    fields = ("type", "content", "embeds", "attachments", "timestamp", "edited_timestamp", "flags", "mentions")
    return {name: whole[name] for name in (*fields, "mention_roles", "components")}


def walk(components: list[Json]) -> Iterator[Json]:
    """Visit components and the ones inside them."""
    for component in components:
        yield component
        inner = list(component.get("components") or ())
        inner += [component[name] for name in ("accessory", "component") if component.get(name)]
        yield from walk(inner)
