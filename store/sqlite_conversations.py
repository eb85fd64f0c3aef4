"""Conversations on the SQLite engine: made, told something, read, ended, and erased when their time is up.

Functions on the writing connection, each inside one transaction; times are in microseconds. The laws stand in
`store.protocol`.
"""

import sqlite3

import store.sqlite_sql as sql
from store.errors import ConversationNotFound
from store.rows import LAST, ROLES, time_of
from store.seals import what_text
from store.sqlite_places import unmark_purged
from store.sqlite_rows import conversation_of, read_window
from store.sqlite_seals import values_of
from store.values import Conversation, Ending, Message, Role, StoreStatus

Key = tuple[str, str, str, str, str]
"""A `ConversationKey` by its columns."""


def get_or_create(db: sqlite3.Connection, key: Key, at: int) -> Conversation:
    """Return the current conversation of a key, made when there is none."""
    db.execute(sql.GET_OR_CREATE, (*key, at))
    return conversation_of(db, db.execute(sql.CONVERSATION + sql.CURRENT, key).fetchone())


def find(db: sqlite3.Connection, key: Key) -> Conversation | None:
    """Return the current conversation of a key."""
    row = db.execute(sql.CONVERSATION + sql.CURRENT, key).fetchone()
    return conversation_of(db, row) if row else None


def append(db: sqlite3.Connection, conversation_id: int, role: Role, text: str, at: int) -> Message:
    """Put a message that no turn is concerned with behind all others."""
    row = db.execute(sql.NEXT_POSITION, (conversation_id, at)).fetchone()
    if row is None:
        raise not_found(conversation_id)
    said_by = ROLES.index(role)
    kept = values_of(db).close_text(text, conversation_id, what_text(said_by))
    values = (conversation_id, row[0], said_by, 0, "", "", "", kept, Ending.COMPLETE.value, at, 0, 0, values_of(db).number)
    db.execute(sql.ADD_MESSAGE, values)
    return read_window(db, conversation_id, LAST, 0, 1)[0]


def recent(db: sqlite3.Connection, conversation_id: int, n: int) -> tuple[Message, ...]:
    """Return the last `n` messages."""
    messages = read_window(db, conversation_id, LAST, 0, n)
    if not messages:
        _must_exist(db, conversation_id)
    return messages


def end(db: sqlite3.Connection, conversation_id: int, at: int) -> None:
    """Let the key move on."""
    _must_exist(db, conversation_id)
    db.execute("UPDATE conversation SET ended_at = coalesce(ended_at, ?2) WHERE id = ?1", (conversation_id, at))


def delete(db: sqlite3.Connection, conversation_id: int) -> int:
    """Erase a conversation and return how many messages went."""
    gone = db.execute("DELETE FROM message WHERE conversation_id = ?", (conversation_id,)).rowcount
    db.execute("DELETE FROM conversation WHERE id = ?", (conversation_id,))
    return gone


def purge(db: sqlite3.Connection, now: int, before: int, limit: int) -> int:
    """Erase a portion of what has expired."""
    gone = 0
    for statement in (sql.PURGE_MESSAGES, sql.PURGE_TURNS):
        if gone < limit:
            gone += db.execute(statement, (before, limit - gone, now)).rowcount
    if gone < limit:
        places = db.execute(sql.PURGE_CONVERSATIONS, (before, limit - gone, now)).fetchall()
        unmark_purged(db, places, before)
        gone += len(places)
    return gone


def forget_events(db: sqlite3.Connection, before: int, limit: int) -> int:
    """Drop names of deliveries that are old enough."""
    return db.execute(sql.FORGET_EVENTS, (before, limit)).rowcount


def status(db: sqlite3.Connection, place: str) -> StoreStatus:
    """Count what waits and runs."""
    queued, running, oldest = db.execute(sql.COUNT_OPEN).fetchone()
    return StoreStatus(
        engine=f"SQLite {sqlite3.sqlite_version}",
        place=place,
        queued=queued,
        running=running,
        oldest_queued_at=None if oldest is None else time_of(oldest),
    )


def void_leases(db: sqlite3.Connection) -> None:
    """Let go of every conversation that somebody held."""
    db.execute(
        "UPDATE conversation SET lease_until = 0 WHERE id IN (SELECT conversation_id FROM turn WHERE settled_at IS NULL)"
    )


def _must_exist(db: sqlite3.Connection, conversation_id: int) -> None:
    if not db.execute("SELECT 1 FROM conversation WHERE id = ?", (conversation_id,)).fetchone():
        raise not_found(conversation_id)


def not_found(conversation_id: int) -> ConversationNotFound:
    """Say that a conversation is not there."""
    return ConversationNotFound(f"there is no conversation {conversation_id}")
