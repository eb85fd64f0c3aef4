"""How long conversations are kept on the SQLite engine, as operators and people choose: ended, taken back, extended.

Functions on the writing connection, each inside one transaction; times are in microseconds. The laws stand in
`store.protocol_keeping`.
"""

import sqlite3

import store.sqlite_sql_keeping as keeping
from store.sqlite_conversations import not_found
from store.sqlite_seals import values_of
from store.sqlite_turns import stop


def expire_now(db: sqlite3.Connection, now: int, platform: str, workspace: str, conversation_id: int, at: int) -> bool:
    """End a conversation as if its time were up, with what is open of it."""
    if db.execute(keeping.EXPIRE_NOW, (platform, workspace, conversation_id, at)).rowcount == 0:
        return False
    stop(db, now, conversation_id)
    return True


def restore(db: sqlite3.Connection, platform: str, workspace: str, conversation_id: int, at: int) -> bool:
    """Take back that a conversation expired."""
    return db.execute(keeping.UNEXPIRE, (platform, workspace, conversation_id, at)).rowcount == 1


def extend(db: sqlite3.Connection, conversation_id: int, at: int) -> None:
    """Let a conversation's time begin anew."""
    if db.execute(keeping.EXTEND, (conversation_id, at)).rowcount == 0:
        raise not_found(conversation_id)


def put_persona(db: sqlite3.Connection, now: int, conversation_id: int, persona: str) -> bool:
    """Keep what people chose as the model's persona; tell whether it replaces another one."""
    row = db.execute("SELECT persona FROM conversation WHERE id = ?", (conversation_id,)).fetchone()
    if row is None:
        raise not_found(conversation_id)
    db.execute(keeping.PUT_PERSONA, (conversation_id, *values_of(db).close_persona(persona, conversation_id)))
    return bool(row[0])
