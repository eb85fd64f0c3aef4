"""People on the SQLite engine: the conversations that they take part in, and what they think of answers.

Functions on the writing connection, each inside one transaction; times are in microseconds. The laws stand in
`store.protocol`.
"""

import sqlite3
from collections.abc import Collection
from typing import Any

import store.sqlite_sql as sql
from store.sqlite_rows import conversation_of
from store.values import MESSAGES_COUNTED, ConversationKey, ConversationSummary, Feedback


def take_part(db: sqlite3.Connection, key: ConversationKey, conversation_id: int, author_id: str) -> None:
    """Note that somebody spoke; a conversation that is one user's says so by its key."""
    if author_id and not key.user:
        db.execute(sql.TAKE_PART, (conversation_id, author_id))


def leave(db: sqlite3.Connection, speakers: Collection[tuple[int, str]]) -> None:
    """Forget of each conversation and author that the author spoke there, unless something that was said is left."""
    db.executemany(sql.LEAVE, speakers)


def conversations_of(
    db: sqlite3.Connection, platform: str, workspace: str, author_id: str, limit: int
) -> tuple[ConversationSummary, ...]:
    """List a person's conversations."""
    rows = db.execute(sql.CONVERSATION + sql.OF_PERSON, (platform, workspace, author_id, limit)).fetchall()
    return tuple(summary_of(db, row) for row in rows)


def summary_of(db: sqlite3.Connection, row: tuple[Any, ...]) -> ConversationSummary:
    """Read a row of `sql.CONVERSATION` for a list."""
    return ConversationSummary(
        conversation=conversation_of(db, row),
        messages=db.execute(sql.COUNT_MESSAGES, (row[0], MESSAGES_COUNTED)).fetchone()[0],
    )


def put_feedback(db: sqlite3.Connection, turn_id: int, user: str, value: Feedback, at: int) -> bool:
    """Keep what somebody thinks of a turn's answer."""
    return db.execute(sql.PUT_FEEDBACK, (turn_id, user, value.value, at)).rowcount == 1


def feedback_of(db: sqlite3.Connection, turn_id: int) -> dict[str, Feedback]:
    """Tell what people think of a turn's answer."""
    return {user: Feedback(value) for user, value in db.execute(sql.FEEDBACK, (turn_id,))}
