"""An interaction: what a user started, how long the bot has to answer, and what it answered."""

import asyncio
import secrets
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

from tests.fakes.discord import permissions
from tests.fakes.discord.files import LIMIT
from tests.fakes.discord.messages import EPHEMERAL, Message

if TYPE_CHECKING:
    from tests.fakes.discord.people import User
    from tests.fakes.discord.places import Channel
    from tests.fakes.discord.server import FakeDiscord

Json = Any

COMMAND, COMPONENT, AUTOCOMPLETE, MODAL_SUBMIT = 2, 3, 4, 5
PONG, REPLY, DEFER, DEFER_UPDATE, UPDATE, CHOICES, MODAL = 1, 4, 5, 6, 7, 8, 9


@dataclass(frozen=True, slots=True)
class Response:
    """A call back of the bot: its type, its data, and how long after the start it came."""

    kind: int
    data: Json
    after: timedelta


@dataclass(eq=False, slots=True)
class Interaction:
    discord: "FakeDiscord" = field(repr=False)
    id: int
    kind: int
    user: "User"
    channel: "Channel"
    data: Json
    message: Message | None = None
    """The one whose button was pressed."""
    token: str = field(default_factory=lambda: secrets.token_hex(24))
    started_at: datetime = field(default_factory=lambda: datetime.now(UTC))
    responses: list[Response] = field(default_factory=list)
    messages: list[Message] = field(default_factory=list)
    """What the bot sent as an answer, in order; the first is the original response unless that was an update."""
    failed: bool = False
    """The user sees "The application did not respond"; the token is dead."""
    expired: bool = False
    changed: asyncio.Event = field(default_factory=asyncio.Event, repr=False)

    @property
    def acknowledged(self) -> bool:
        return bool(self.responses)

    @property
    def acknowledged_after(self) -> timedelta | None:
        return self.responses[0].after if self.responses else None

    @property
    def replies(self) -> list[str]:
        """The texts that the user sees now, in order."""
        return [message.text for message in self.messages if not message.deleted and not message.loading]

    @property
    def ephemeral(self) -> bool:
        """Whether only the user sees the first answer."""
        return bool(self.messages and self.messages[0].flags & EPHEMERAL)

    @property
    def choices(self) -> list[Json]:
        """What autocompletion offers, as name and value."""
        return [choice for response in self.responses if response.kind == CHOICES for choice in response.data["choices"]]

    @property
    def modal(self) -> Json:
        """The form that the bot opened, if it did."""
        return next((response.data for response in self.responses if response.kind == MODAL), None)

    @property
    def original(self) -> Message | None:
        """What "@original" means: the first answer, or the message that was updated."""
        if self.responses and self.responses[0].kind in (DEFER_UPDATE, UPDATE):
            return self.message
        return self.messages[0] if self.messages else None

    @property
    def dead(self) -> bool:
        """Whether the token no longer opens anything."""
        return self.failed or self.expired or datetime.now(UTC) - self.started_at > self.discord.interaction_life

    def expire(self) -> None:
        """Let the fifteen minutes of the token be over."""
        self.expired = True

    async def settle(self) -> None:
        """Wait for the first response, or until it is too late for one."""
        limit = self.discord.interaction_limit - (datetime.now(UTC) - self.started_at)
        try:
            await asyncio.wait_for(self.changed.wait(), max(0.0, limit.total_seconds()))
        except TimeoutError:
            self.failed = not self.acknowledged

    def metadata(self) -> Json:
        """Write what a message says of the interaction that it answers."""
        return {
            "id": str(self.id),
            "type": self.kind,
            "user": self.user.json(),
            "authorizing_integration_owners": self.owners(),
            **({"name": self.data["name"]} if "name" in self.data else {}),
        }

    def owners(self) -> Json:
        """Say by whose installation of the bot it was made: the guild's (0), or the user's own (1)."""
        if self.user.brings_bot:
            return {"1": str(self.user.id)}
        return {"0": str(self.channel.guild.id if self.channel.guild else 0)}

    def json(self) -> Json:
        guild, bot = self.channel.guild, self.discord.bot
        allowed = str(permissions.in_channel(self.channel, bot))
        interaction: Json = {
            "id": str(self.id),
            "application_id": str(self.discord.application_id),
            "type": self.kind,
            "data": self.data,
            "channel": self.channel.json(),
            "channel_id": str(self.channel.id),
            "token": self.token,
            "version": 1,
            "locale": "en-US",
            "app_permissions": allowed,
            "entitlements": [],
            "authorizing_integration_owners": self.owners(),
            "context": 0 if guild else 1,
            "attachment_size_limit": LIMIT,
        }
        if self.message is not None:
            interaction["message"] = self.message.json(content=True)
        if guild is None:
            return interaction | {"user": self.user.json()}
        member = guild.members[self.user.id].json() | {"permissions": str(permissions.in_channel(self.channel, self.user))}
        place = {"id": str(guild.id), "locale": "en-US", "features": []}
        return interaction | {"guild_id": str(guild.id), "guild": place, "guild_locale": "en-US", "member": member}
