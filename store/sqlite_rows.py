"""SQLite's rows as the values of `store.values`, and back."""

import sqlite3
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import store.sqlite_sql as sql
from store.errors import refuse_unstorable
from store.sqlite_seals import open_data, open_persona, open_text, opened_length, seal_of, what_file, what_text
from store.values import (
    LARGE_FILES,
    SMALL_FILE,
    SMALL_FILES,
    TOO_FAR_BACK,
    Answer,
    Attachment,
    Conversation,
    ConversationKey,
    Ending,
    Message,
    MessageName,
    Role,
)

if TYPE_CHECKING:
    from store.sealing import Seal

ROLES = (Role.USER, Role.ASSISTANT)
"""Roles as they are numbered in the file: an answer stands behind the message whose position it shares."""
MICROSECOND = timedelta(microseconds=1)

_ENDINGS = {ending.value: ending for ending in Ending}
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def columns_of(key: ConversationKey) -> tuple[str, str, str, str, str]:
    """Write a key as its columns."""
    return (key.platform, key.workspace, key.channel, key.thread, key.user)


def columns_of_name(name: MessageName) -> tuple[str, str, str, str]:
    """Write a message's name as `sql.SAID` and `sql.POSTED` want it; raises `UnstorableText`, as keys do by themselves."""
    columns = (name.platform, name.workspace, name.channel, name.id)
    for column in columns:
        refuse_unstorable(column)
    return columns


def us_of(moment: datetime) -> int:
    """Write a time as the file has it; a naive one raises `ValueError`."""
    if moment.tzinfo is None:
        raise ValueError("a time without a zone is refused: pass aware UTC")
    return (moment - _EPOCH) // MICROSECOND


def time_of(us: int) -> datetime:
    """Read a time."""
    return _EPOCH + timedelta(microseconds=us)


def conversation_of(db: sqlite3.Connection, row: tuple[Any, ...]) -> Conversation:
    """Read a row of `sql.CONVERSATION`."""
    return Conversation(
        id=row[0],
        key=ConversationKey(platform=row[1], workspace=row[2], channel=row[3], thread=row[4], user=row[5]),
        created_at=time_of(row[6]),
        active_at=time_of(row[7]),
        ended_at=None if row[8] is None else time_of(row[8]),
        expired_at=None if row[9] is None else time_of(row[9]),
        persona=open_persona(db, row[10], row[11], row[0]),
    )


def read_window(db: sqlite3.Connection, conversation_id: int, until: int, role: int, n: int) -> tuple[Message, ...]:
    """Read the last `n` messages before (`until`, `role`), oldest first."""
    files = _WindowFiles(db, conversation_id)
    rows = db.execute(sql.WINDOW, (conversation_id, until, role, n)).fetchall()
    seal = seal_of(db)
    messages = [_message(row, files, seal) for row in rows]
    messages.reverse()
    return tuple(messages)


def read_whole(db: sqlite3.Connection, conversation_id: int, position: int, role: int) -> Message:
    """Read the message at one place of the order, with all its files."""
    row = db.execute(sql.WINDOW, (conversation_id, position, role + 1, 1)).fetchone()
    return _message(row, _AllFiles(db, conversation_id), seal_of(db))


class _WindowFiles:
    """The files of one window, asked for from the newest message backwards: only the first ones are read."""

    __slots__ = ("_conversation_id", "_db", "_large", "_small")

    def __init__(self, db: sqlite3.Connection, conversation_id: int) -> None:
        self._db = db
        self._conversation_id = conversation_id
        self._large, self._small = LARGE_FILES, SMALL_FILES

    def of(self, message_id: int) -> tuple[Attachment, ...]:
        """Read the attachments of a message, in their order."""
        files = []
        rows = self._db.execute(sql.ATTACHMENTS, (message_id,)).fetchall()
        for number, name, media_type, size, url, problem, length in rows:
            data = None
            if length is not None and self._has_room(opened_length(self._db, length)):
                (kept,) = self._db.execute(sql.FILE_DATA, (message_id, number)).fetchone()
                data = open_data(self._db, kept, self._conversation_id, what_file("data", message_id, number))
            elif length is not None:
                problem = TOO_FAR_BACK
            file = Attachment(
                number=number,
                name=open_text(self._db, name, self._conversation_id, what_file("name", message_id, number)),
                media_type=media_type,
                size=size,
                url=open_text(self._db, url, self._conversation_id, what_file("address", message_id, number)),
                data=data,
                problem=problem,
            )
            files.append(file)
        files.reverse()
        return tuple(files)

    def _has_room(self, length: int) -> bool:
        if length > SMALL_FILE:
            self._large -= 1
            return self._large >= 0
        self._small -= 1
        return self._small >= 0


class _AllFiles(_WindowFiles):
    """The files of one message."""

    __slots__ = ()

    def _has_room(self, length: int) -> bool:
        return True


def read_answer(db: sqlite3.Connection, conversation_id: int, until: int, turn: tuple[Any, ...]) -> Answer | None:
    """Read the answer of a turn that is being delivered; `turn` is its row of `sql.NEXT_TURN`."""
    row = db.execute(
        "SELECT text, ending FROM message WHERE conversation_id = ? AND position = ? AND role = 1", (conversation_id, until)
    ).fetchone()
    if row is None or turn[6]:
        return None  # with an error, what stands there is the answer of an earlier try
    text = open_text(db, row[0], conversation_id, what_text(1))
    return Answer(text=text, ending=Ending(row[1]), model=turn[10], prompt_tokens=turn[11], completion_tokens=turn[12])


class _Draft:
    """A message under construction: the fields of `Message` without its guard, which makes 20 of them cost 20 us more.

    `Message` is frozen, and a frozen dataclass pays for each field that its constructor sets. A draft is filled in the plain
    way and becomes a message by its class, which Python allows between classes with the same slots.
    """

    __slots__ = Message.__slots__

    def __init__(
        self,
        id: int,
        conversation_id: int,
        role: int,
        position: int,
        author_id: str,
        author_name: str,
        text: str,
        ending: str,
        turn_id: int | None,
        at: int,
        from_bot: int,
        platform_id: str,
        files: int,
    ) -> None:
        self.id = id
        self.conversation_id = conversation_id
        self.role = ROLES[role]
        self.position = position
        self.author_id = author_id
        self.author_name = author_name
        self.text = text
        self.ending = _ENDINGS[ending]
        self.turn_id = turn_id
        self.at = _EPOCH + timedelta(0, 0, at)
        self.from_bot = from_bot == 1
        self.platform_id = platform_id
        self.attachments: tuple[Attachment, ...] = ()


def _message(row: tuple[Any, ...], files: _WindowFiles, seal: "Seal | None") -> Message:
    draft: Any = _Draft(*row)
    if seal is not None:
        draft.text = seal.open_text(draft.text, row[1], what_text(row[2]))
    if row[-1]:
        draft.attachments = files.of(row[0])
    draft.__class__ = Message
    return draft  # type: ignore[no-any-return]
