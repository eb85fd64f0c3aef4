"""Messages: what they are, what people see of them, and how they look on the wire."""

import mimetypes
from dataclasses import dataclass, field
from datetime import timedelta
from typing import TYPE_CHECKING, Any, NamedTuple

from tests.fakes.slack import blocks as block_kit

if TYPE_CHECKING:
    from tests.fakes.slack.people import User
    from tests.fakes.slack.places import Channel

Json = Any

TOMBSTONE = "tombstone"


class Ping(NamedTuple):
    """One person whom one message of the bot notified."""

    message: "Message"
    user: "User"


class Preview(NamedTuple):
    """A link of the bot that Slack fetched to show what is behind it."""

    message: "Message"
    url: str


@dataclass(frozen=True, slots=True)
class File:
    """What someone uploads. `serve` says how the host behaves when the file is fetched with a good token:

    "ok", "login" (an HTML page with 200, as for a bad token), "slow" (a byte every 50 ms), "endless", "cut" (half of it,
    then the connection breaks), "bomb" (a small gzip body that inflates to 64 MB), "redirect" (to `elsewhere`), "gone" (404)
    or "hang" (no answer). `size` is what Slack says the size is, if that is not the truth; `url` is for a file that is kept
    elsewhere.
    """

    name: str
    data: bytes
    mimetype: str | None = None
    serve: str = "ok"
    elsewhere: str = "http://127.0.0.1:9/elsewhere"
    size: int | None = None
    url: str | None = None


@dataclass(eq=False, slots=True)
class Attachment:
    """A file that hangs on messages."""

    id: str
    file: File
    owner: "User" = field(repr=False)
    url: str = ""
    title: str | None = None
    fetched: int = 0
    """How often somebody got the bytes."""

    @property
    def name(self) -> str:
        return self.file.name

    @property
    def data(self) -> bytes:
        return self.file.data

    @property
    def mimetype(self) -> str:
        return self.file.mimetype or mimetypes.guess_type(self.name)[0] or "application/octet-stream"

    def json(self) -> Json:
        url = self.file.url or self.url
        return {
            "id": self.id,
            "name": self.name,
            "title": self.title or self.name,
            "mimetype": self.mimetype,
            "filetype": self.name.rpartition(".")[2] or "binary",
            "mode": "external" if self.file.url else "hosted",
            "is_external": self.file.url is not None,
            "size": len(self.data) if self.file.size is None else self.file.size,
            "user": self.owner.id,
            "user_team": self.owner.team_id,
            "url_private": url,
            "url_private_download": url.replace("/files-pri/", "/files-pri/download/"),
            "file_access": "visible",
        }

    def bare_json(self) -> Json:
        return {
            "id": self.id,
            "created": 0,
            "timestamp": 0,
            "mode": "file_access",
            "file_access": "check_file_info",
            "user": "",
        }


@dataclass(eq=False, slots=True)
class Stream:
    """What a message has while it is streamed, and after."""

    started: timedelta
    recipient: str | None = None
    first: str | None = None
    """All that people other than the recipient see until the end."""
    size: int = 0
    ended: str | None = None
    """"stopped" (by the bot), "expired" or "stopped_by_user"."""


@dataclass(eq=False, slots=True)
class Message:
    """A message as it is now; `history` has the texts that it had before."""

    ts: str
    channel: "Channel" = field(repr=False)
    author: "User" = field(repr=False)
    text: str
    thread_ts: str | None = None
    blocks: list[Json] | None = None
    """The blocks that were given, None for those that Slack makes of the text."""
    files: list[Attachment] = field(default_factory=list)
    subtype: str | None = None
    metadata: Json = None
    client_msg_id: str | None = None
    edited_ts: str | None = None
    deleted: bool = False
    history: list[str] = field(default_factory=list)
    attachments: list[Json] = field(default_factory=list)
    reactions: dict[str, list[str]] = field(default_factory=dict)
    stream: Stream | None = None
    markdown: bool = False
    """Whether `text` is standard Markdown (streams and `markdown_text`)."""
    truncated: bool = False
    posted: timedelta = timedelta()

    @property
    def root_ts(self) -> str:
        """The thread that it belongs to or would begin."""
        return self.thread_ts or self.ts

    @property
    def is_reply(self) -> bool:
        return self.thread_ts is not None and self.thread_ts != self.ts

    @property
    def replies(self) -> "list[Message]":
        return [message for message in self.channel.thread(self.ts) if message.is_reply]

    @property
    def streaming(self) -> bool:
        """Whether it can still be appended to."""
        if self.stream is None or self.stream.ended is not None:
            return False
        slack = self.channel.slack
        if slack.clock.monotonic() - self.stream.started >= slack.stream_life:
            self.stream.ended = "expired"
        return self.stream.ended is None

    @property
    def shown(self) -> str:
        """What people read: the blocks where there are any, otherwise the text."""
        if self.blocks and not self.stream:
            return "\n".join(block_kit.texts(self.blocks))
        return "\n".join([self.text, *block_kit.texts(self.blocks or [])]) if self.blocks else self.text

    def seen_by(self, user: "User") -> str:
        """What one person reads now: in a channel only the recipient sees a stream grow."""
        if self.streaming and self.stream is not None and self.stream.recipient not in (None, user.id):
            return self.stream.first or ""
        return self.shown

    @property
    def buttons(self) -> list[str]:
        """The action ids of what can be pressed."""
        return [element["action_id"] for element in block_kit.elements_of(self.blocks or [])]

    def json(self, *, metadata: bool = False) -> Json:
        """Write it as Slack writes it in a conversation's history."""
        value: Json = {
            "type": "message",
            "user": self.author.id,
            "text": self.text,
            "ts": self.ts,
            "team": self.author.team_id,
        }
        if self.subtype == TOMBSTONE:
            return value | {"subtype": TOMBSTONE, "user": "USLACKBOT", "hidden": True, "thread_ts": self.ts}
        if self.subtype:
            value["subtype"] = self.subtype
        if self.author.bot_id:
            value |= {"bot_id": self.author.bot_id, "app_id": self.author.app_id, "bot_profile": self.author.bot_profile()}
        if self.client_msg_id:
            value["client_msg_id"] = self.client_msg_id
        value["blocks"] = block_kit.named(self.blocks or []) or (block_kit.rich_text(self.text) if self.text else [])
        if self.stream:
            # Slack keeps a stream's text as rich text before the blocks of its end.
            value["blocks"] = block_kit.rich_text(self.text) + block_kit.named(self.blocks or [])
            value["streaming_state"] = "in_progress" if self.streaming else "completed"
        if self.files:
            # Of what stands in a Slack Connect channel only `files.info` tells more.
            bare = self.channel.connected and self.author is not self.channel.team.bot
            value |= {"files": [file.bare_json() if bare else file.json() for file in self.files], "upload": False}
        if self.attachments:
            value["attachments"] = self.attachments
        if self.edited_ts:
            value["edited"] = {"user": self.author.id, "ts": self.edited_ts}
        if self.reactions:
            named = self.reactions.items()
            value["reactions"] = [{"name": name, "users": users, "count": len(users)} for name, users in named]
        if metadata and self.metadata is not None:
            value["metadata"] = self.metadata
        return value | self._thread_json()

    def _thread_json(self) -> Json:
        if self.is_reply:
            root = self.channel.by_ts.get(self.thread_ts or "")
            return {"thread_ts": self.thread_ts} | ({"parent_user_id": root.author.id} if root else {})
        if replies := self.replies:
            users = list(dict.fromkeys(reply.author.id for reply in replies))
            count = {"reply_count": len(replies), "reply_users_count": len(users), "reply_users": users}
            return {"thread_ts": self.ts, "latest_reply": replies[-1].ts} | count
        return {}
