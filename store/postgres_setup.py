"""Bringing a PostgreSQL database to this program's schema, and its functions onto the server.

Any number of processes may open a database at once: the first one that gets the lock migrates, the others wait for it and
find nothing to do. Functions stand under names with a version, which is the hash of all their text, so programs of different
versions side by side use each its own; what a program's version brings is made once, and the `VERSIONS` made last are kept.
"""

import hashlib
import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, nullcontext
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

import psycopg
from psycopg import sql

from store.errors import NotOurs
from store.governing import ON, PAUSED, WORKSPACE_RUNNING
from store.keeping import TURNS_SHOWN
from store.migrate import needs_upgrade, upgrade
from store.moving_tables import MARKED, refuse_half_moved
from store.postgres_pool import connection_options
from store.postgres_seals import entered, refuse_without_keys
from store.rows import LAST, REDO, RETRACT, STOP, TOLD
from store.seals import Values
from store.tombstones import BARRED, DUE
from store.values import (
    LARGE_FILES,
    MESSAGES_COUNTED,
    RETRACTED,
    SMALL_FILE,
    SMALL_FILES,
    TOO_FAR_BACK,
    TURN_MESSAGES,
)

if TYPE_CHECKING:
    from store.sealing import Seal

ROOMS = (
    "types",
    "locking",
    "windows",
    "accepting",
    "claiming",
    "holding",
    "conversations",
    "notes",
    "settings",
    "accounts",
    "usage",
    "edits",
    "people",
    "places",
    "workspaces",
    "keeping",
    "forgetting",
)
"""The files of functions; the types come first, since the others return them."""
VERSIONS = 5
"""Versions of functions that are kept: an older program that still runs, or is put back, finds its own."""
LOCK = 0x7061726C6579
"""The number of the advisory lock of whoever migrates: "parley" in ASCII."""

_WORDS: dict[str, object] = {
    "STOP": STOP,
    "REDO": REDO,
    "RETRACT": RETRACT,
    "TOLD": TOLD,
    "LAST": LAST,
    "TURN_MESSAGES": TURN_MESSAGES,
    "OVERHEAD": 28,
    "SMALL_FILE": SMALL_FILE,
    "SMALL_FILES": SMALL_FILES,
    "LARGE_FILES": LARGE_FILES,
    "TOO_FAR_BACK": TOO_FAR_BACK,
    "RETRACTED": RETRACTED,
    "PAUSED": PAUSED,
    "ON": ON,
    "WORKSPACE_RUNNING": WORKSPACE_RUNNING,
    "MESSAGES_COUNTED": MESSAGES_COUNTED,
    "TURNS_SHOWN": TURNS_SHOWN,
    "DUE": DUE,
    "BARRED": BARRED,
}
"""What stands for `$WORD` in a function; `$V` is the version."""


def version() -> str:
    """Name this program's functions: 8 hexadecimal digits of the hash of all their text."""
    return hashlib.sha256(_text().encode()).hexdigest()[:8]


def prepare(url: str, place: str, seals: Sequence["Seal"] = (), *, at: int = 0) -> Values:
    """Make or migrate the tables and make the functions, where they are not as they should be, and say how values are closed
    and opened: work for a thread.

    Raises:
        SchemaTooNew, NotOurs, KeyRefused: and nothing is written.
        StoreDenied: a move to it is under way.
        psycopg.Error.
    """
    with psycopg.connect(url, autocommit=True, prepare_threshold=None, **connection_options(url)) as db:
        revision = revision_of(db, place)
        _refuse_half_moved(db, place)
        refuse_without_keys(db, seals, place)
        if needs_upgrade(revision, place=place):
            make_tables(url)
        if not _has_functions(db):
            with _alone(db):
                _make_functions(db)
        with _alone(db) if seals else nullcontext():
            return entered(db, seals, place, at)


@contextmanager
def _alone(db: psycopg.Connection) -> Iterator[None]:
    """Do something in one transaction while nobody else does any of this."""
    with db.transaction():
        for statement in _ALONE:
            db.execute(statement)
        yield


def make_tables(url: str) -> None:
    """Bring the tables at `url` to this program's revision, or make them: others who do the same wait meanwhile.

    Raises:
        psycopg.Error.
    """

    def connect() -> psycopg.Connection:
        return psycopg.connect(url, prepare_threshold=None, **connection_options(url))

    # The lock goes with the transaction; whoever waited for it finds in `alembic_version` that there is nothing left to do.
    upgrade("postgresql+psycopg://", connect=connect, first=_ALONE)


_ALONE = (
    "SET LOCAL statement_timeout = 0",
    "SET LOCAL lock_timeout = 0",
    "SET LOCAL idle_in_transaction_session_timeout = 0",
    f"SELECT pg_advisory_xact_lock({LOCK})",
)
"""A migration takes as long as it takes, and so does the wait for another one's."""


def revision_of(db: psycopg.Connection, place: str) -> str | None:
    """Tell which revision the tables have; None when there are none.

    Raises:
        NotOurs: they are another program's.
    """
    (ours, others) = _first(
        db,
        """SELECT to_regclass('alembic_version') IS NOT NULL,
            to_regclass('conversation') IS NOT NULL OR to_regclass('message') IS NOT NULL""",
    )
    if not ours:
        if others:
            raise NotOurs(_not_ours(place))
        return None
    row = db.execute("SELECT version_num FROM alembic_version").fetchone()
    if row is not None and not re.fullmatch(r"\d{4}", row[0]):
        raise NotOurs(_not_ours(place))
    return None if row is None else str(row[0])


def _refuse_half_moved(db: psycopg.Connection, place: str) -> None:
    (there,) = _first(db, "SELECT to_regclass('note') IS NOT NULL")
    if there:
        refuse_half_moved([str(text) for (text,) in db.execute(MARKED).fetchall()], place)


def _not_ours(place: str) -> str:
    return f"{place} belongs to another program: make a database of its own for Parley"


def _has_functions(db: psycopg.Connection) -> bool:
    # Not by `to_regproc`: a session remembers what was not there, also while it waits for the lock.
    (there,) = _first(db, _THERE, (f"parley_now_{version()}",))
    return bool(there)


def _make_functions(db: psycopg.Connection) -> None:
    if _has_functions(db):
        return
    # They call each other, so they can't all be looked into before they are all there.
    db.execute("SET LOCAL check_function_bodies = off")
    db.execute(_text().replace("$V", version()).encode())
    for (old,) in db.execute(_OLD, (VERSIONS,)).fetchall():
        for kind, name in db.execute(_MADE, {"ending": f"\\_{old}"}).fetchall():
            db.execute(sql.SQL("DROP {} IF EXISTS {} CASCADE").format(sql.SQL(kind), sql.SQL(name)))


_THERE = """
SELECT EXISTS (SELECT 1 FROM pg_proc WHERE proname = %s AND pronamespace = quote_ident(current_schema())::regnamespace)"""
_OLD = """
SELECT right(proname, 8) FROM pg_proc
WHERE proname LIKE 'parley\\_now\\_%%' AND pronamespace = quote_ident(current_schema())::regnamespace
ORDER BY oid DESC OFFSET %s"""
_MADE = """
SELECT 'FUNCTION', oid::regprocedure::text FROM pg_proc
WHERE proname LIKE 'parley\\_%%' || %(ending)s AND pronamespace = quote_ident(current_schema())::regnamespace UNION ALL
SELECT 'TYPE', oid::regtype::text FROM pg_type
WHERE typname LIKE 'parley\\_%%' || %(ending)s AND typtype = 'c'
  AND typnamespace = quote_ident(current_schema())::regnamespace"""


def _first(db: psycopg.Connection, statement: str, parameters: tuple[object, ...] = ()) -> tuple[object, ...]:
    return db.execute(statement.encode(), parameters).fetchall()[0]


@cache
def _text() -> str:
    """Read all functions, with `$V` still in them."""
    here = Path(__file__).parent / "postgres_functions"
    text = "\n".join((here / f"{room}.sql").read_text(encoding="utf-8") for room in ROOMS)
    return re.sub(r"\$([A-Z][A-Z_]+)", lambda word: str(_WORDS[word[1]]), text)
