"""Channels, private ones, direct messages and groups of people."""

import bisect
from dataclasses import dataclass, field
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from tests.fakes.slack.messages import TOMBSTONE, Message

if TYPE_CHECKING:
    from tests.fakes.slack.people import User
    from tests.fakes.slack.server import FakeSlack
    from tests.fakes.slack.teams import Team

Json = Any

PREFIX = {"public": "C", "private": "C", "im": "D", "mpim": "G"}
TYPE = {"public": "channel", "private": "group", "im": "im", "mpim": "mpim"}
"""What an event calls the kind."""
EVENT = {"public": "channels", "private": "groups", "im": "im", "mpim": "mpim"}
"""What a scope and a subscription call the kind."""

STATUS_LIFE = timedelta(minutes=2)


@dataclass(frozen=True, slots=True)
class Status:
    """One call of `assistant.threads.setStatus`."""

    channel: "Channel"
    thread_ts: str
    text: str
    loading_messages: tuple[str, ...]
    at: timedelta


@dataclass(eq=False, slots=True)
class Channel:
    """A conversation. `refuses_streams` is the error of `chat.startStream` here, if any."""

    slack: "FakeSlack" = field(repr=False)
    team: "Team" = field(repr=False)
    id: str
    name: str
    kind: str = "public"
    shared_with: "tuple[Team, ...]" = ()
    connected: bool = False
    """Whether it is a Slack Connect channel."""
    members: "list[User]" = field(default_factory=list)
    archived: bool = False
    deleted: bool = False
    refuses_streams: str | None = None
    topic: str = ""
    by_ts: dict[str, Message] = field(default_factory=dict, repr=False)
    order: list[str] = field(default_factory=list, repr=False)
    threads: dict[str, list[str]] = field(default_factory=dict, repr=False)
    """The `ts` of each thread's messages in order, the root's among them, by that of the root."""

    @property
    def mention(self) -> str:
        return f"<#{self.id}>"

    @property
    def messages(self) -> list[Message]:
        """What can be seen now, replies included, by ts."""
        return self._shown(self.order)

    @property
    def texts(self) -> list[str]:
        return [message.shown for message in self.messages]

    def thread(self, root: Message | str) -> list[Message]:
        """What can be seen of a thread, the root first."""
        return self._shown(self.threads.get(root if isinstance(root, str) else root.root_ts, []))

    def _shown(self, stamps: list[str]) -> list[Message]:
        return [message for ts in list(stamps) if not (message := self.by_ts[ts]).deleted]

    @property
    def bots(self) -> "list[User]":
        """The app's bot users in here; in a shared channel each workspace has its own."""
        teams = (self.team, *self.shared_with)
        return [team.bot for team in teams if team.bot in self.members and not team.uninstalled]

    def status(self, thread: Message | str) -> str:
        """The status line that people see in a thread now."""
        ts = thread if isinstance(thread, str) else thread.root_ts
        for status in reversed(self.slack.statuses):
            if (status.channel, status.thread_ts) == (self, ts):
                later = any(message.author.bot_id and message.posted > status.at for message in self.thread(ts))
                stale = self.slack.clock.monotonic() - status.at >= STATUS_LIFE
                return "" if later or stale else status.text
        return ""

    def add(self, message: Message) -> Message:
        self.by_ts[message.ts] = message  # first: readers in other threads go by `order`
        for stamps in (self.order, self.threads.setdefault(message.root_ts, [])):
            bisect.insort(stamps, message.ts)
        message.posted = self.slack.clock.monotonic()
        return message

    def remove(self, message: Message) -> bool:
        """Remove a message; of one with replies a tombstone stays, and then it returns True."""
        if message.replies:
            message.history.append(message.text)
            message.text, message.subtype, message.blocks, message.files = "This message was deleted.", TOMBSTONE, None, []
            return True
        message.deleted = True
        return False

    def json(self, bot: "User") -> Json:
        """Write it as `conversations.info` does for this bot."""
        value: Json = {
            "id": self.id,
            "name": self.name,
            "is_channel": self.kind == "public",
            "is_group": self.kind == "private",
            "is_im": self.kind == "im",
            "is_mpim": self.kind == "mpim",
            "is_private": self.kind != "public",
            "is_archived": self.archived,
            "is_member": bot in self.members,
            "is_shared": bool(self.shared_with) or self.connected,
            "is_ext_shared": self.connected,
            "is_org_shared": False,
            "is_general": self.name == "general",
            "created": 1_700_000_000,
            "creator": self.members[0].id if self.members else "",
            "context_team_id": self.team.id,
            "topic": {"value": self.topic, "creator": "", "last_set": 0},
            "purpose": {"value": "", "creator": "", "last_set": 0},
            "num_members": len(self.members),
        }
        if self.kind == "im":
            other = next((member.id for member in self.members if member is not bot), "")
            return value | {"user": other, "is_user_deleted": False}
        return value

    # What happens to it

    def join(self, user: "User") -> None:
        if user not in self.members:
            self.members.append(user)
            event = {"type": "member_joined_channel", "user": user.id, "channel": self.id, "team": self.team.id}
            self.tell(event | {"channel_type": self.id[0]})

    def leave(self, user: "User") -> None:
        """Let somebody leave or be removed; of the bot itself Slack tells with another event."""
        if user in self.bots:
            self.tell({"type": "channel_left" if self.kind == "public" else "group_left", "channel": self.id})
        else:
            event = {"type": "member_left_channel", "user": user.id, "channel": self.id}
            self.tell(event | {"channel_type": self.id[0]})
        self.members.remove(user)

    def archive(self) -> None:
        self.archived = True
        self.tell({"type": "channel_archive" if self.kind == "public" else "group_archive", "channel": self.id})

    def unarchive(self) -> None:
        self.archived = False
        self.tell({"type": "channel_unarchive" if self.kind == "public" else "group_unarchive", "channel": self.id})

    def delete(self) -> None:
        self.deleted = True
        self.tell({"type": "channel_deleted" if self.kind == "public" else "group_deleted", "channel": self.id})

    def rename(self, name: str) -> None:
        self.name = name
        kind = "channel_rename" if self.kind == "public" else "group_rename"
        self.tell({"type": kind, "channel": {"id": self.id, "name": name, "created": 1_700_000_000}})

    def tell(self, event: Json, *, subscription: str | None = None) -> None:
        """Send an event to the app, if its bot is in here; one event, however many workspaces share the channel."""
        if bots := self.bots:
            stamp = {"event_ts": self.slack.stamps.new(self.slack.clock.now())}
            self.slack.dispatch.event(bots[0].team, stamp | event, channel=self, subscription=subscription)

    def tell_of(self, event: Json) -> None:
        """Send a `message` event of whatever subtype."""
        self.tell({"channel": self.id, "channel_type": TYPE[self.kind]} | event, subscription=f"message.{EVENT[self.kind]}")
