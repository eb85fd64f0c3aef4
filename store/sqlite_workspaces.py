"""Workspaces on the SQLite engine: the right to work in one, and erasing all of one that is gone.

Functions on the writing connection, each inside one transaction; times are in microseconds. The laws stand in
`store.protocol`.
"""

import sqlite3

import store.sqlite_sql as sql
from store import sqlite_settings as settings
from store.rows import LAST, time_of
from store.sqlite_turns import take_again
from store.values import Installation

CONVERSATIONS = 2000
"""Conversations, of any workspace, that are looked through at once: a few milliseconds in which nobody else is served."""

LONG_AGO = 0
"""When the conversations of a purged workspace expired: before all others, so that they go first."""


def put_installation(db: sqlite3.Connection, installation: Installation, at: int) -> None:
    """Keep an installation."""
    name = (installation.platform, installation.workspace, installation.user)
    db.execute(sql.PUT_INSTALLATION, (*name, installation.data, at))


def installations(db: sqlite3.Connection, platform: str, workspace: str) -> tuple[Installation, ...]:
    """List the installations of a platform, or of one workspace."""
    return tuple(
        Installation(platform=platform, workspace=workspace, user=user, data=data, at=time_of(at))
        for workspace, user, data, at in db.execute(sql.INSTALLATIONS, (platform, workspace))
    )


def remove_installation(db: sqlite3.Connection, now: int, platform: str, workspace: str, user: str) -> bool:
    """Erase an installation."""
    return db.execute(sql.REMOVE_INSTALLATION, (platform, workspace, user)).rowcount == 1


def clear(db: sqlite3.Connection, platform: str, workspace: str) -> int:
    """Erase what there is of a workspace beside its conversations, and return the last conversation's number."""
    for statement in (sql.CLEAR_INSTALLATIONS, sql.CLEAR_WATERMARKS):
        db.execute(statement, (platform, workspace))
    settings.clear(db, platform, workspace)
    db.execute(sql.CLEAR_NOTES, (f"{platform}/{workspace}/",))
    return int(db.execute("SELECT coalesce(max(id), 0) FROM conversation").fetchone()[0])


def give_up(db: sqlite3.Connection, now: int, platform: str, workspace: str, after: int) -> int:
    """Mark the workspace's conversations among the next `CONVERSATIONS` behind `after` for purging, and end what is open."""
    span = (platform, workspace, after, after + CONVERSATIONS)
    marked = db.execute(sql.GIVE_UP_CONVERSATIONS, (*span, LONG_AGO, now)).rowcount
    if marked:
        for turn_id, conversation_id in db.execute(sql.OVERFULL, span).fetchall():
            take_again(db, turn_id, conversation_id, LAST)
        db.execute(sql.GIVE_UP_TURNS, (*span, now))
    return marked
