"""Bringing a SQLite store to its newest key before it is served, so that older keys, and what was plain, are needed no more.

The table `seal` says what rows may be sealed with: key by key, and `PLAIN` while what was said before there was a key has
still to be sealed. Each of its rows is proved by a key, so nobody else can enter one. Only when everything is sealed anew,
and what stood there before is gone from the file, do the older rows go; a start that is killed is taken up by the next.
"""

import sqlite3
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from functools import partial
from typing import TYPE_CHECKING, Any, cast

from store.errors import StoreDamaged
from store.seals import PERSONA, Resealing, what_file, what_text
from store.sqlite_seals import SealedConnection, values_of
from store.sqlite_writer import SqliteWriter

if TYPE_CHECKING:
    from store.sealing import Seal

Progress = Callable[[int, int], None]
"""Is told how many values are sealed anew, and of how many."""

ROWS = 500
"""Messages or personas that are sealed anew in one transaction."""
FILES = 8
"""Files that are sealed anew in one transaction: of pictures of 5 MiB, 40 MiB."""

_LEFT = """
SELECT (SELECT count(*) FROM message WHERE sealed <> ?1) + (SELECT count(*) FROM attachment WHERE sealed <> ?1)
  + (SELECT count(*) FROM conversation WHERE sealed <> ?1 AND persona <> '')"""
_MESSAGES = "SELECT id, conversation_id, role, text, sealed FROM message WHERE id > ? AND sealed <> ? ORDER BY id LIMIT ?"
_PERSONAS = """
SELECT id, persona, sealed FROM conversation WHERE id > ? AND sealed <> ? AND persona <> '' ORDER BY id LIMIT ?"""
_FILES = """
SELECT a.rowid, m.conversation_id, a.message_id, a.number, a.name, a.url, a.data, a.sealed
FROM attachment a CROSS JOIN message m ON m.id = a.message_id
WHERE a.rowid > ? AND a.sealed <> ? ORDER BY a.rowid LIMIT ?"""


async def reseal(
    writer: SqliteWriter,
    seals: Sequence["Seal"],
    *,
    place: str,
    at: int,
    scrub: Callable[[], Awaitable[None]],
    progress: Progress,
) -> None:
    """Let the connection seal with the first of these, and seal anew whatever is not; `scrub` erases what stood there.

    Raises:
        KeyRefused, StoreUnavailable, StoreDamaged.
    """
    anew: Resealing = await writer.run(partial(_enter, seals=seals, place=place, at=at))
    if anew.done:
        return
    total: int = await writer.run(lambda db: db.execute(_LEFT, (values_of(db).number,)).fetchone()[0])
    done = 0
    for step in (_messages, _files, _personas):
        last: int | None = 0
        while last is not None:
            sealed, last = await writer.run(partial(step, anew=anew, after=last))
            done += sealed
            if sealed:
                progress(done, total)
    await scrub()
    await writer.run(lambda db: db.execute("DELETE FROM seal WHERE number <> ?", (values_of(db).number,)))


def _enter(db: sqlite3.Connection, *, seals: Sequence["Seal"], place: str, at: int) -> Resealing:
    proofs: dict[int, str] = dict(db.execute("SELECT number, proof FROM seal").fetchall())
    anew = Resealing.of(proofs, seals, place=place)
    for number, proof in anew.entering.items():
        db.execute("INSERT INTO seal (number, proof, at) VALUES (?, ?, ?)", (number, proof, at))
    sealed = cast(SealedConnection, db)
    sealed.values = anew.values
    return anew


# What is damaged stays as it is: it is no reason to keep the rest from being read.
def _messages(db: sqlite3.Connection, anew: Resealing, after: int) -> tuple[int, int | None]:
    newest = anew.values.number
    rows = db.execute(_MESSAGES, (after, newest, ROWS)).fetchall()
    for message_id, conversation_id, role, kept, number in rows:
        with suppress(StoreDamaged):
            text = anew.text(kept, number, conversation_id, what_text(role))
            db.execute("UPDATE message SET text = ?, sealed = ? WHERE id = ?", (text, newest, message_id))
    return _done(rows)


def _files(db: sqlite3.Connection, anew: Resealing, after: int) -> tuple[int, int | None]:
    newest = anew.values.number
    rows = db.execute(_FILES, (after, newest, FILES)).fetchall()
    for row, conversation_id, message_id, file, name, url, data, number in rows:
        named, addressed, filled = (what_file(part, message_id, file) for part in ("name", "address", "data"))
        with suppress(StoreDamaged):
            values = (
                anew.text(name, number, conversation_id, named),
                anew.text(url, number, conversation_id, addressed),
                anew.data(data, number, conversation_id, filled),
            )
            db.execute(
                "UPDATE attachment SET name = ?, url = ?, data = ?, sealed = ? WHERE rowid = ?", (*values, newest, row)
            )
    return _done(rows)


def _personas(db: sqlite3.Connection, anew: Resealing, after: int) -> tuple[int, int | None]:
    newest = anew.values.number
    rows = db.execute(_PERSONAS, (after, newest, ROWS)).fetchall()
    for conversation_id, kept, number in rows:
        with suppress(StoreDamaged):
            persona = anew.text(kept, number, conversation_id, PERSONA)
            db.execute("UPDATE conversation SET persona = ?, sealed = ? WHERE id = ?", (persona, newest, conversation_id))
    return _done(rows)


def _done(rows: Sequence[tuple[Any, ...]]) -> tuple[int, int | None]:
    return len(rows), rows[-1][0] if rows else None
