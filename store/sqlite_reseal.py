"""Bringing a SQLite store to its newest key before it is served, so that older keys, and what was plain, are needed no more.

The table `seal` says what rows may be sealed with: key by key, and `PLAIN` while what was said before there was a key has
still to be sealed. Each of its rows is proved by a key, so nobody else can enter one. Only when everything is sealed anew,
and what stood there before is gone from the file, do the older rows go; a start that is killed is taken up by the next.
"""

import sqlite3
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import suppress
from functools import partial
from typing import TYPE_CHECKING, Any, cast

from store.errors import StoreDamaged
from store.seals import PERSONA, PLAIN, Values, prove, what_file, what_text
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

Seals = Mapping[int, "Seal"]
"""What the store's rows may be sealed with, by number; that of `PLAIN` only proves that they may be plain."""


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
    proven = await writer.run(partial(_enter, seals=seals, place=place, at=at))
    if len(proven) == 1:
        return
    total: int = await writer.run(lambda db: db.execute(_LEFT, (values_of(db).number,)).fetchone()[0])
    done = 0
    for step in (_messages, _files, _personas):
        last: int | None = 0
        while last is not None:
            sealed, last = await writer.run(partial(step, seals=proven, after=last))
            done += sealed
            if sealed:
                progress(done, total)
    await scrub()
    await writer.run(lambda db: db.execute("DELETE FROM seal WHERE number <> ?", (values_of(db).number,)))


def _enter(db: sqlite3.Connection, *, seals: Sequence["Seal"], place: str, at: int) -> dict[int, "Seal"]:
    proofs: dict[int, str] = dict(db.execute("SELECT number, proof FROM seal").fetchall())
    proven = prove(proofs, seals, place=place)
    newest = seals[0]
    number = next((number for number, seal in proven.items() if seal is newest and number != PLAIN), None)
    if number is None:
        number = max(proofs, default=PLAIN) + 1
        entered = (number,) if proofs else (PLAIN, number)
        for new in entered:
            db.execute("INSERT INTO seal (number, proof, at) VALUES (?, ?, ?)", (new, newest.proof(new), at))
            proven[new] = newest
    sealed = cast(SealedConnection, db)
    sealed.values = Values(newest, number)
    return proven


def _messages(db: sqlite3.Connection, seals: Seals, after: int) -> tuple[int, int | None]:
    rows = db.execute(_MESSAGES, (after, values_of(db).number, ROWS)).fetchall()
    for message_id, conversation_id, role, kept, number in rows:
        what = what_text(role)
        with suppress(StoreDamaged):
            text = _open_text(seals, number, kept, conversation_id, what)
            values = (values_of(db).close_text(text, conversation_id, what), values_of(db).number, message_id)
            db.execute("UPDATE message SET text = ?, sealed = ? WHERE id = ?", values)
    return _done(rows)


def _files(db: sqlite3.Connection, seals: Seals, after: int) -> tuple[int, int | None]:
    kept = values_of(db)
    rows = db.execute(_FILES, (after, kept.number, FILES)).fetchall()
    for row, conversation_id, message_id, file, name, url, data, number in rows:
        named, addressed, filled = (what_file(part, message_id, file) for part in ("name", "address", "data"))
        with suppress(StoreDamaged):
            values = (
                kept.close_text(_open_text(seals, number, name, conversation_id, named), conversation_id, named),
                kept.close_text(_open_text(seals, number, url, conversation_id, addressed), conversation_id, addressed),
                kept.close_data(_open_data(seals, number, data, conversation_id, filled), conversation_id, filled),
                kept.number,
                row,
            )
            db.execute("UPDATE attachment SET name = ?, url = ?, data = ?, sealed = ? WHERE rowid = ?", values)
    return _done(rows)


def _personas(db: sqlite3.Connection, seals: Seals, after: int) -> tuple[int, int | None]:
    rows = db.execute(_PERSONAS, (after, values_of(db).number, ROWS)).fetchall()
    for conversation_id, kept, number in rows:
        with suppress(StoreDamaged):
            persona = _open_text(seals, number, kept, conversation_id, PERSONA)
            values = (*values_of(db).close_persona(persona, conversation_id), conversation_id)
            db.execute("UPDATE conversation SET persona = ?, sealed = ? WHERE id = ?", values)
    return _done(rows)


def _done(rows: Sequence[tuple[Any, ...]]) -> tuple[int, int | None]:
    return len(rows), rows[-1][0] if rows else None


# What is damaged stays as it is: it could not be read before, either, and is no reason to keep the rest from being read.
# What is plain, or names a key that the store does not have, is taken for damaged: it was put there by somebody else.
def _open_text(seals: Seals, number: int, kept: str, conversation_id: int, what: str) -> str:
    seal = _seal(seals, number, conversation_id)
    return kept if number == PLAIN else seal.open_text(kept, conversation_id, what)


def _open_data(seals: Seals, number: int, kept: bytes | None, conversation_id: int, what: str) -> bytes | None:
    seal = _seal(seals, number, conversation_id)
    return kept if number == PLAIN or kept is None else seal.open(kept, conversation_id, what)


def _seal(seals: Seals, number: int, conversation_id: int) -> "Seal":
    if number not in seals:
        raise StoreDamaged(f"conversation {conversation_id} names a key that its store does not have")
    return seals[number]
