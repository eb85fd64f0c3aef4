"""SQLite's rows as the values of `store.values`, and back."""

import sqlite3
from typing import TYPE_CHECKING, Any

import store.sqlite_sql as sql
from store.rows import damaged, message_of, time_of
from store.seals import what_file, what_text
from store.sqlite_seals import values_of
from store.sqlite_writer import NO_TEXT
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
)

if TYPE_CHECKING:
    from store.sealing import Seal


def conversation_of(db: sqlite3.Connection, row: tuple[Any, ...]) -> Conversation:
    """Read a row of `sql.CONVERSATION`."""
    return Conversation(
        id=row[0],
        key=ConversationKey(platform=row[1], workspace=row[2], channel=row[3], thread=row[4], user=row[5]),
        created_at=time_of(row[6]),
        active_at=time_of(row[7]),
        ended_at=None if row[8] is None else time_of(row[8]),
        expired_at=None if row[9] is None else time_of(row[9]),
        persona=values_of(db).open_persona(row[10], row[11], row[0]),
    )


def read_window(db: sqlite3.Connection, conversation_id: int, until: int, role: int, n: int) -> tuple[Message, ...]:
    """Read the last `n` messages before (`until`, `role`), oldest first.

    Raises:
        StoreDamaged: one of them can't be read.
    """
    files = _WindowFiles(db, conversation_id)
    try:
        rows = db.execute(sql.WINDOW, (conversation_id, until, role, n)).fetchall()
    except sqlite3.OperationalError as exc:
        if NO_TEXT in str(exc):
            raise damaged(conversation_id) from None  # the driver quotes the text
        raise
    seal = values_of(db).seal
    messages = [_message(row, files, seal) for row in rows]
    messages.reverse()
    return tuple(messages)


def read_whole(db: sqlite3.Connection, conversation_id: int, position: int, role: int) -> Message:
    """Read the message at one place of the order, with all its files."""
    row = db.execute(sql.WINDOW, (conversation_id, position, role + 1, 1)).fetchone()
    return _message(row, _AllFiles(db, conversation_id), values_of(db).seal)


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
            if length is not None and self._has_room(length - values_of(self._db).overhead):
                (kept,) = self._db.execute(sql.FILE_DATA, (message_id, number)).fetchone()
                data = values_of(self._db).open_data(kept, self._conversation_id, what_file("data", message_id, number))
            elif length is not None:
                problem = TOO_FAR_BACK
            file = Attachment(
                number=number,
                name=values_of(self._db).open_text(name, self._conversation_id, what_file("name", message_id, number)),
                media_type=media_type,
                size=size,
                url=values_of(self._db).open_text(url, self._conversation_id, what_file("address", message_id, number)),
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
    text = values_of(db).open_text(row[0], conversation_id, what_text(1))
    return Answer(text=text, ending=Ending(row[1]), model=turn[10], prompt_tokens=turn[11], completion_tokens=turn[12])


def _message(row: tuple[Any, ...], files: _WindowFiles, seal: "Seal | None") -> Message:
    text = row[6] if seal is None else seal.open_text(row[6], row[1], what_text(row[2]))
    return message_of(*row[:6], text, *row[7:12], files.of(row[0]) if row[12] else ())
