"""Bringing a PostgreSQL store to its newest key before it is served: older keys, and what was plain, are needed no more.

The table `seal` says what rows may be sealed with, as it does on SQLite (`store/sqlite_reseal.py`); a start that is killed
is taken up by the next. Several may start at once: the first one that gets the lock does it, the others wait for it and find
nothing to do. While a Parley is connected it is refused. One that is not seen, because a pooler hides it, can do no harm: in
the transaction that enters the new key, all functions go by which stores are used, and those that come back bear the number
of the new key in their names. What was under way in that moment is waited for.
"""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from datetime import timedelta
from typing import TYPE_CHECKING

import psycopg

from store.errors import StoreDamaged
from store.postgres_in_use import connected_as, refuse_connected
from store.postgres_pool import Connection, Row, connected, place_of, translated
from store.postgres_scrubbing import await_older, scrub_tables
from store.postgres_seals import PROOFS
from store.postgres_setup import DROP_FUNCTIONS, NAME, TRY_LOCK, UNWATCHED, WAITING_SECONDS
from store.seals import PERSONA, Resealing, what_file, what_text

if TYPE_CHECKING:
    from store.sealing import Seal

Progress = Callable[[int, int], None]
"""Is told how many values are sealed anew, and of how many."""
Place = tuple[int, ...]
"""Where in a table somebody has come to: the values of its primary key."""

ROWS = 500
"""Messages or personas that are sealed anew in one transaction."""
FILES = 8
"""Files that are sealed anew in one transaction: of pictures of 5 MiB, 40 MiB."""
CALLS = timedelta(seconds=12)
"""How long calls are waited for that were under way: a store gives its own up after 10 s."""

_LEFT = """
SELECT (SELECT count(*) FROM message WHERE sealed <> %(newest)s)
  + (SELECT count(*) FROM attachment WHERE sealed <> %(newest)s)
  + (SELECT count(*) FROM conversation WHERE sealed <> %(newest)s AND persona <> '')"""
_MESSAGES = """
SELECT id, conversation_id, role, text, sealed FROM message WHERE id > %s AND sealed <> %s ORDER BY id LIMIT %s"""
_PERSONAS = """
SELECT id, persona, sealed FROM conversation WHERE id > %s AND sealed <> %s AND persona <> '' ORDER BY id LIMIT %s"""
_FILES = """
SELECT a.message_id, a.number, m.conversation_id, a.name, a.url, a.data, a.sealed
FROM attachment a JOIN message m ON m.id = a.message_id
WHERE (a.message_id, a.number) > (%s, %s) AND a.sealed <> %s ORDER BY a.message_id, a.number LIMIT %s"""
# Only what still has the key that it was read with: whoever lost the lock with a connection undoes nobody's work.
_SEAL_MESSAGES = """
UPDATE message m SET text = n.text, sealed = %s FROM unnest(%s::bigint[], %s::smallint[], %s::text[]) n (id, sealed, text)
WHERE m.id = n.id AND m.sealed = n.sealed"""
_SEAL_PERSONAS = """
UPDATE conversation c SET persona = n.text, sealed = %s
FROM unnest(%s::bigint[], %s::smallint[], %s::text[]) n (id, sealed, text) WHERE c.id = n.id AND c.sealed = n.sealed"""
_SEAL_FILES = """
UPDATE attachment a SET name = n.name, url = n.url, data = n.data, sealed = %s
FROM unnest(%s::bigint[], %s::int[], %s::smallint[], %s::text[], %s::text[], %s::bytea[])
  n (message_id, number, sealed, name, url, data)
WHERE a.message_id = n.message_id AND a.number = n.number AND a.sealed = n.sealed"""


async def reseal(url: str, seals: Sequence["Seal"], *, at: int, progress: Progress) -> None:
    """Seal with the first of these keys whatever is not, in the database at `url`, whose tables are there.

    Raises:
        StoreBusy: a Parley is connected.
        KeyRefused, StoreDenied, StoreUnavailable.
    """
    place = place_of(url)
    try:
        async with (
            connected(url, application_name=NAME) as guard,
            _alone(guard),
            connected(url, application_name=NAME) as db,
        ):
            anew = await _entered(db, url, seals, place=place, at=at)
            if anew.done:
                return
            await await_older(db, place, CALLS)
            await _seal_all(db, anew, progress)
            await scrub_tables(db, place, however_large=True)  # nobody is served who would have to wait
            await db.execute("DELETE FROM seal WHERE number <> %s", (anew.values.number,))
    except psycopg.Error as exc:
        raise translated(exc, place) from exc


@asynccontextmanager
async def _alone(guard: Connection) -> AsyncIterator[None]:
    """Keep others from doing the same, for as long as a transaction lasts that does nothing else."""
    while True:
        async with _begun(guard):
            # Without parameters: the answer to them would be kept open, and with it the state that it was read from.
            cursor = await guard.execute(TRY_LOCK.encode())
            ((ours,),) = await cursor.fetchall()
            if ours:
                yield
                return
        await asyncio.sleep(WAITING_SECONDS)


@asynccontextmanager
async def _begun(db: Connection) -> AsyncIterator[None]:
    async with db.transaction():
        for statement in UNWATCHED:
            await db.execute(statement.encode())
        yield


async def _entered(db: Connection, url: str, seals: Sequence["Seal"], *, place: str, at: int) -> Resealing:
    """Enter the newest key where it is not, and take the functions away from whoever has another one."""
    anew = Resealing.of(dict(await _rows(db, PROOFS)), seals, place=place)
    if anew.done:
        return anew
    await asyncio.to_thread(_refuse_connected, url)
    async with _begun(db):
        await db.execute(DROP_FUNCTIONS.encode())
        for number, proof in anew.entering.items():
            await db.execute("INSERT INTO seal (number, proof, at) VALUES (%s, %s, %s)", (number, proof, at))
    return anew


def _refuse_connected(url: str) -> None:
    with connected_as(NAME, url) as (db, place):
        refuse_connected(db, url, place)


async def _seal_all(db: Connection, anew: Resealing, progress: Progress) -> None:
    ((total,),) = await _rows(db, _LEFT, {"newest": anew.values.number})
    done = 0
    steps: tuple[tuple[Callable[[Connection, Resealing, Place], Awaitable[list[Place]]], Place], ...] = (
        (_messages, (0,)),
        (_files, (0, 0)),
        (_personas, (0,)),
    )
    for step, begin in steps:
        places = [begin]
        while places:
            async with _begun(db):
                places = await step(db, anew, places[-1])
            done += len(places)
            if places:
                progress(done, total)


# Each seals the rows behind a place, and returns the places of those that it has looked at. What is damaged stays as it is:
# it is no reason to keep the rest from being read.
async def _messages(db: Connection, anew: Resealing, after: Place) -> list[Place]:
    rows = await _rows(db, _MESSAGES, (*after, anew.values.number, ROWS))
    sealed = []
    for message_id, conversation_id, role, kept, number in rows:
        with suppress(StoreDamaged):
            sealed.append((message_id, number, anew.text(kept, number, conversation_id, what_text(role))))
    await _write(db, _SEAL_MESSAGES, anew, sealed)
    return [(row[0],) for row in rows]


async def _files(db: Connection, anew: Resealing, after: Place) -> list[Place]:
    rows = await _rows(db, _FILES, (*after, anew.values.number, FILES))
    sealed = []
    for message_id, file, conversation_id, name, address, data, number in rows:
        named, addressed, filled = (what_file(part, message_id, file) for part in ("name", "address", "data"))
        with suppress(StoreDamaged):
            values = (
                anew.text(name, number, conversation_id, named),
                anew.text(address, number, conversation_id, addressed),
                anew.data(data, number, conversation_id, filled),
            )
            sealed.append((message_id, file, number, *values))
    await _write(db, _SEAL_FILES, anew, sealed)
    return [(row[0], row[1]) for row in rows]


async def _personas(db: Connection, anew: Resealing, after: Place) -> list[Place]:
    rows = await _rows(db, _PERSONAS, (*after, anew.values.number, ROWS))
    sealed = []
    for conversation_id, kept, number in rows:
        with suppress(StoreDamaged):
            sealed.append((conversation_id, number, anew.text(kept, number, conversation_id, PERSONA)))
    await _write(db, _SEAL_PERSONAS, anew, sealed)
    return [(row[0],) for row in rows]


async def _write(db: Connection, statement: str, anew: Resealing, rows: Sequence[tuple[object, ...]]) -> None:
    if rows:
        columns = [list(column) for column in zip(*rows, strict=True)]
        await db.execute(statement.encode(), (anew.values.number, *columns), binary=True)


async def _rows(db: Connection, statement: str, parameters: Sequence[object] | Mapping[str, object] = ()) -> list[Row]:
    cursor = await db.execute(statement.encode(), parameters, binary=True)
    return await cursor.fetchall()
