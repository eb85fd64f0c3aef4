"""Places on the SQLite engine: how far they were read, what is noted of them, and what happens when one is gone.

Functions on the writing connection, each inside one transaction; times are in microseconds. The laws stand in
`store.protocol`.
"""

import sqlite3
from collections.abc import Collection

import store.sqlite_sql as sql
from store.sqlite_turns import settle_queued
from store.values import TurnState, Watermark

Place = tuple[str, str, str, str]
"""Platform, workspace, channel and thread; an absent part of the last two stands for any."""


def close(db: sqlite3.Connection, now: int, place: Place, at: int) -> tuple[int, ...]:
    """End the conversations of a place, and what is queued there; what runs finds out by itself."""
    ended = [conversation_id for (conversation_id,) in db.execute(sql.CLOSE, (*place, at)).fetchall()]
    for (conversation_id,) in db.execute(sql.QUEUED_BELOW, place).fetchall():
        settle_queued(db, now, conversation_id, TurnState.UNDELIVERABLE)
    return tuple(sorted(ended))


def watermarks(db: sqlite3.Connection, platform: str) -> tuple[Watermark, ...]:
    """Tell how far a platform's places were read."""
    return tuple(
        Watermark(workspace=workspace, channel=channel, thread=thread, position=position)
        for workspace, channel, thread, position in db.execute(sql.WATERMARKS, (platform,))
    )


def mark(db: sqlite3.Connection, platform: str, marks: Collection[Watermark], at: int) -> None:
    """Keep how far places were read."""
    rows = [(platform, mark.workspace, mark.channel, mark.thread, mark.position, at) for mark in marks]
    db.executemany(sql.MARK, rows)


def unmark(db: sqlite3.Connection, place: Place) -> None:
    """Forget how far a place was read."""
    db.execute(sql.UNMARK, place)


def unmark_purged(db: sqlite3.Connection, places: Collection[Place], before: int) -> None:
    """Forget how far threads and direct messages were read that were not marked since `before` and where nobody talks.

    Channels of a workspace are few and stay, until they are gone.
    """
    for place in set(places):
        _, workspace, _, thread = place
        if thread or not workspace:
            db.execute(sql.UNMARK_PURGED, (*place, before))


def once(db: sqlite3.Connection, name: str, at: int) -> bool:
    """Tell whether a name is new."""
    return db.execute(sql.SEE_ONE, (f"{name}\x1fo", at)).rowcount == 1


def recall(db: sqlite3.Connection, name: str) -> str:
    """Tell a note."""
    row = db.execute("SELECT text FROM note WHERE name = ?", (name,)).fetchone()
    return row[0] if row else ""


def remember(db: sqlite3.Connection, name: str, note: str) -> None:
    """Keep a note; an empty one is none."""
    if note:
        db.execute(sql.PUT_NOTE, (name, note))
    else:
        db.execute(sql.DROP_NOTE, (name,))
