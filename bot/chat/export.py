"""What people take away: everything that is kept of them in a workspace, as archives that anybody can open.

It is read and packed piece by piece, so its size does not matter: an archive holds at most `ARCHIVE` bytes, and a reply some
of them. Where one ends, the next can go on (`Cursor`).
"""

import asyncio
import io
import json
import re
import zipfile
from collections.abc import AsyncGenerator, AsyncIterator, Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Self

from bot.chat.money import format_money
from store import EXPORT_PAGE, USAGE_DAYS, Attachment, Conversation, Days, Message, Store, UsageBy

ARCHIVE = 8 << 20
"""Bytes of one archive: Discord takes files of 10 MiB."""
_ROOM = ARCHIVE - (128 << 10)
"""What an archive holds, counted before it is packed; the rest is for names, and for what packing can't make smaller."""
_ENTRY = 512
"""Bytes counted for each file of an archive besides its data: its name stands in it twice."""
MESSAGES_AT_ONCE = 5
"""Messages that are read at once: with ten pictures of 5 MiB each they are 250 MB."""
LISTED = "conversations.json"

_WRITTEN = re.compile(r"([0-9]{1,18})-([0-9]{1,18})", re.ASCII)
_PLAIN = re.compile(r"[^\w.-]+")

Json = dict[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class Person:
    """Whose data it is, and where."""

    platform: str
    workspace: str
    id: str


@dataclass(frozen=True, slots=True, kw_only=True, order=True)
class Cursor:
    """How far an export came: all is in it up to this message of this conversation, and of those before it."""

    conversation: int = 0
    message: int = 0

    def __str__(self) -> str:
        """Write the cursor as people type it."""
        return f"{self.conversation}-{self.message}"

    @classmethod
    def read(cls, written: str) -> Self | None:
        """Read what `str` wrote; None for anything else."""
        found = _WRITTEN.fullmatch(written)
        return None if found is None else cls(conversation=int(found[1]), message=int(found[2]))


@dataclass(frozen=True, slots=True, kw_only=True)
class Archive:
    """One archive. `conversations` counts those that begin in it. `end`: where the next one goes on, None after the last."""

    data: bytes
    conversations: int
    messages: int
    end: Cursor | None


@dataclass(frozen=True, slots=True, kw_only=True)
class _File:
    """A file that goes into an archive beside the list."""

    name: str
    data: bytes
    picture: bool


class _Box:
    """What goes into the next archive, counted before it is packed."""

    def __init__(self, heading: Json) -> None:
        self.begun = 0
        self.messages = 0
        self._heading = heading
        self._conversations: list[Json] = []
        self._files: list[_File] = []
        self._size = _size(heading)
        self._filled = False

    def open(self, conversation: Json) -> None:
        """Let what is put in from now on belong to a conversation."""
        self._conversations.append(conversation | {"messages": []})
        self._size += _size(conversation)

    @property
    def full(self) -> bool:
        """No further conversation goes in."""
        return self._size > _ROOM

    def takes(self, *pieces: Json | _File) -> bool:
        """Tell whether there is room; in an empty one there always is."""
        return not self._filled or self._size + sum(map(_size, pieces)) <= _ROOM

    def put(self, piece: Json | _File) -> None:
        """Put a message of the open conversation in, or a file."""
        self._size += _size(piece)
        self._filled = True
        if isinstance(piece, _File):
            self._files.append(piece)
        else:
            self._conversations[-1]["messages"].append(piece)
            self.messages += 1

    async def packed(self, *, end: Cursor | None) -> Archive:
        """Make the archive. That takes tenths of a second, in which other people's answers go on."""
        data = await asyncio.to_thread(self._pack)
        return Archive(data=data, conversations=self.begun, messages=self.messages, end=end)

    def _pack(self) -> bytes:
        packed = io.BytesIO()
        with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as archive:
            archive.writestr(LISTED, _written(self._heading | {"conversations": self._conversations}))
            for file in self._files:
                # Pictures are packed already, and would only take time.
                archive.writestr(file.name, file.data, zipfile.ZIP_STORED if file.picture else zipfile.ZIP_DEFLATED)
        return packed.getvalue()


async def archives(
    store: Store,
    person: Person,
    *,
    after: Cursor,
    at: datetime,
    kept_until: Callable[[Conversation], datetime | None],
) -> AsyncGenerator[Archive, None]:
    """Yield what is kept of a person behind `after`, as of `at`; at least one archive, also when that is nothing.

    What belongs to no single conversation stands in each of them.

    Raises:
        StoreUnavailable.
    """
    heading: Json = {
        "person": person.id,
        "platform": person.platform,
        "workspace": person.workspace,
        "exported_at": _iso(at),
        "usage": await _usage(store, person, at),
        "feedback": await _feedback(store, person),
    }
    box, reached = _Box(heading), after
    async for conversation in _conversations(store, person, after):
        begin = after.message if conversation.id == after.conversation else 0
        listed = _listed(conversation, kept_until(conversation))
        if box.full:
            yield await box.packed(end=reached)
            box = _Box(heading)
        box.open(listed)
        box.begun += begin == 0
        async for message in _messages(store, conversation, person, begin):
            pieces = _pieces(message)
            if not box.takes(*pieces):
                yield await box.packed(end=reached)
                box = _Box(heading)
                box.open(listed)
            for piece in pieces:
                if not box.takes(piece):
                    # Its files are more than an archive. It is not reached before its end: who goes on here has it whole.
                    yield await box.packed(end=reached)
                    box = _Box(heading)
                    box.open(listed)
                box.put(piece)
            reached = Cursor(conversation=conversation.id, message=message.id)
        reached = max(reached, Cursor(conversation=conversation.id))
    yield await box.packed(end=None)


async def _usage(store: Store, person: Person, at: datetime) -> list[Json]:
    rows = await store.usage(
        person.platform,
        person.workspace,
        by=UsageBy.DAY,
        days=Days(first=at.date() - timedelta(days=USAGE_DAYS - 1), last=at.date()),
        user=person.id,
        limit=USAGE_DAYS,
    )
    return [
        {
            "day": row.heading,
            "turns": row.turns,
            "prompt_tokens": row.prompt_tokens,
            "completion_tokens": row.completion_tokens,
            "money": format_money(row.money),
        }
        for row in rows
    ]


async def _feedback(store: Store, person: Person) -> list[Json]:
    listed: list[Json] = []
    after: int | None = 0
    while after is not None:
        portion = await store.opinions(person.platform, person.workspace, person.id, after=after)
        listed += [
            {
                "conversation": opinion.conversation_id,
                "turn": opinion.turn_id,
                "value": opinion.value.value,
                "at": _iso(opinion.at),
            }
            for opinion in portion.opinions
        ]
        after = portion.next
    return listed


async def _conversations(store: Store, person: Person, after: Cursor) -> AsyncIterator[Conversation]:
    reached = max(after.conversation - 1, 0)  # the one in which the last archive ended may not be at its end
    while True:
        page = await store.conversations_with(person.platform, person.workspace, person.id, limit=EXPORT_PAGE, after=reached)
        for conversation in page:
            yield conversation
        if len(page) < EXPORT_PAGE:
            return
        reached = page[-1].id


async def _messages(store: Store, conversation: Conversation, person: Person, after: int) -> AsyncIterator[Message]:
    while True:
        page = await store.said_in(conversation.id, person.id, limit=MESSAGES_AT_ONCE, after=after)
        for message in page:
            yield message
        if len(page) < MESSAGES_AT_ONCE:
            return
        after = page[-1].id


def _listed(conversation: Conversation, until: datetime | None) -> Json:
    key = conversation.key
    return {
        "id": conversation.id,
        "channel": key.channel,
        "thread": key.thread,
        "of": key.user,
        "begun_at": _iso(conversation.created_at),
        "active_at": _iso(conversation.active_at),
        "ended_at": _iso(conversation.ended_at),
        "expired_at": _iso(conversation.expired_at),
        "kept_until": _iso(until),
        "persona": conversation.persona,
    }


def _pieces(message: Message) -> list[Json | _File]:
    """Write a message, and behind it the files that go beside the list."""
    files = {
        attachment.number: _File(
            name=_file_name(message, attachment),
            data=attachment.data,
            picture=attachment.media_type.startswith("image/"),
        )
        for attachment in message.attachments
        if attachment.data is not None
    }
    entry: Json = {
        "id": message.id,
        "role": message.role.value,
        "author": message.author_id,
        "author_name": message.author_name,
        "from_bot": message.from_bot,
        "at": _iso(message.at),
        "message_id": message.platform_id,
        "ending": message.ending.value,
        "text": message.text,
        "files": [
            {
                "name": attachment.name,
                "media_type": attachment.media_type,
                "size": attachment.size,
                "url": attachment.url,
                "problem": attachment.problem,
                "kept_as": files[attachment.number].name if attachment.number in files else "",
            }
            for attachment in message.attachments
        ],
    }
    return [entry, *files.values()]


def _file_name(message: Message, attachment: Attachment) -> str:
    """Name a file by its message, so that no two are one, and by its own name, so far as that can't lead out of a folder."""
    plain = _PLAIN.sub("_", attachment.name).strip("._")[-80:] or "file"
    return f"files/{message.id}-{attachment.number}-{plain}"


def _iso(at: datetime | None) -> str | None:
    return None if at is None else at.isoformat()


def _written(value: Json) -> str:
    return json.dumps(value, ensure_ascii=False, indent=2)


def _size(piece: Json | _File) -> int:
    """Count the bytes of a file, or of a part of the list as it is written: indented deeper than alone."""
    if isinstance(piece, _File):
        return len(piece.data) + 2 * len(piece.name.encode()) + _ENTRY
    written = _written(piece)
    return len(written.encode()) + 8 * (written.count("\n") + 2)
