"""Bringing a PostgreSQL database to this program's schema, and its functions onto the server.

Any number of processes may open a database at once: the first one that gets the lock migrates, the others wait for it and
find nothing to do. Functions stand under names with a version, which is the hash of all their text, so programs of different
versions side by side use each its own; what a program's version brings is made once, and the `VERSIONS` made last are kept.
"""

import hashlib
import re
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
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
from store.postgres_in_use import Connection, connected_as
from store.postgres_pool import connection_options
from store.postgres_seals import refuse_without_keys, values_of
from store.rows import FIRST_ONES, LAST, MICROSECOND, REDO, RETRACT, STOP, TOLD
from store.seals import PLAIN, Values
from store.sharing import BUDGET_KEPT
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
    "sharing",
    "leftovers",
)
"""The files of functions; the types come first, since the others return them."""
VERSIONS = 5
"""Versions of functions that are kept: an older program that still runs, or is put back, finds its own."""
LOCK = 0x7061726C6579
"""The number of the advisory lock of whoever migrates, or seals anew: "parley" in ASCII."""
TRY_LOCK = f"SELECT pg_try_advisory_xact_lock({LOCK})"
WAITING_SECONDS = 0.05
"""How often it is looked whether another one is done."""
UNWATCHED = (
    "SET LOCAL statement_timeout = 0",
    "SET LOCAL lock_timeout = 0",
    "SET LOCAL idle_in_transaction_session_timeout = 0",
)
"""A migration takes as long as it takes, and so does the wait for another one's."""
NAME = "parley start"
"""How a connection is called on which nobody is served yet."""
DROP_FUNCTIONS = """
DO $$ DECLARE made record; BEGIN
  FOR made IN
    SELECT 'FUNCTION' AS kind, oid::regprocedure::text AS name FROM pg_proc
      WHERE proname LIKE 'parley\\_%' AND pronamespace = quote_ident(current_schema())::regnamespace UNION ALL
    SELECT 'TYPE', oid::regtype::text FROM pg_type
      WHERE typname LIKE 'parley\\_%' AND typtype = 'c' AND typnamespace = quote_ident(current_schema())::regnamespace
  LOOP
    EXECUTE format('DROP %s IF EXISTS %s CASCADE', made.kind, made.name);
  END LOOP;
END $$;
"""
"""Drops all versions of them: the next opening makes its own again."""

_WORDS: dict[str, object] = {
    "STOP": STOP,
    "REDO": REDO,
    "RETRACT": RETRACT,
    "TOLD": TOLD,
    "LAST": LAST,
    "TURN_MESSAGES": TURN_MESSAGES,
    "FIRST_ONES": FIRST_ONES,
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
    "BUDGET_KEPT": BUDGET_KEPT // MICROSECOND,
}
"""What stands for `$WORD` in a function; `$V` is the version."""


def version(key: int = PLAIN) -> str:
    """Name this program's functions for a store that is sealed with the key of that number: 8 hexadecimal digits of the hash
    of all their text and of the number. So a program that has another key finds none, whatever it believes."""
    text = f"{_text()}\n-- for the key {key}" if key else _text()
    return hashlib.sha256(text.encode()).hexdigest()[:8]


def prepare(url: str, seals: Sequence["Seal"] = ()) -> Values | None:
    """Make or migrate the tables and make the functions, where they are not as they should be, and say how values are closed
    and opened: work for a thread. None: the database has to be brought to the first of these keys before
    (`store.postgres_reseal`).

    Raises:
        SchemaTooNew, NotOurs, KeyRefused: and nothing is written.
        StoreDenied: the server does not take us, or a move to it is under way.
        StoreUnavailable.
    """
    with connected_as(NAME, url) as (db, place):
        revision = revision_of(db, place)
        _refuse_half_moved(db, place)
        refuse_without_keys(db, seals, place)
        if needs_upgrade(revision, place=place):
            make_tables(url)
        values = values_of(db, seals, place)
        if values is not None and not _has_functions(db, version(values.number)):
            with _alone(db):
                values = values_of(db, seals, place)  # by now
                if values is not None:
                    _make_functions(db, version(values.number))
        return values


@contextmanager
def _alone(db: Connection) -> Iterator[None]:
    """Do something in one transaction while nobody else does any of this."""
    while True:
        with db.transaction():
            for statement in UNWATCHED:
                db.execute(statement)
            # Whoever waited in the server would keep it from scrubbing what is sealed anew meanwhile.
            (ours,) = _first(db, TRY_LOCK)
            if ours:
                yield
                return
        time.sleep(WAITING_SECONDS)


def make_tables(url: str) -> None:
    """Bring the tables at `url` to this program's revision, or make them: others who do the same wait meanwhile.

    Raises:
        psycopg.Error.
    """

    def connect() -> psycopg.Connection:
        return psycopg.connect(url, prepare_threshold=None, **{**connection_options(url), "application_name": NAME})

    # The lock goes with the transaction; whoever waited for it finds in `alembic_version` that there is nothing left to do.
    upgrade("postgresql+psycopg://", connect=connect, first=(*UNWATCHED, f"SELECT pg_advisory_xact_lock({LOCK})"))


def revision_of(db: Connection, place: str) -> str | None:
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
    if row is not None and not re.fullmatch(r"\d{4}", str(row[0])):
        raise NotOurs(_not_ours(place))
    return None if row is None else str(row[0])


def _refuse_half_moved(db: Connection, place: str) -> None:
    (there,) = _first(db, "SELECT to_regclass('note') IS NOT NULL")
    if there:
        refuse_half_moved([str(text) for (text,) in db.execute(MARKED).fetchall()], place)


def _not_ours(place: str) -> str:
    return f"{place} belongs to another program: make a database of its own for Parley"


def _has_functions(db: Connection, ours: str) -> bool:
    # Not by `to_regproc`: a session remembers what was not there, also while it waits for the lock.
    (there,) = _first(db, _THERE, (f"parley_now_{ours}",))
    return bool(there)


def _make_functions(db: Connection, ours: str) -> None:
    if _has_functions(db, ours):
        return
    # They call each other, so they can't all be looked into before they are all there.
    db.execute("SET LOCAL check_function_bodies = off")
    db.execute(_text().replace("$V", ours).encode())
    for (old,) in db.execute(_OLD, (VERSIONS,)).fetchall():
        for kind, name in db.execute(_MADE, {"ending": f"\\_{old}"}).fetchall():
            db.execute(sql.SQL("DROP {} IF EXISTS {} CASCADE").format(sql.SQL(str(kind)), sql.SQL(str(name))))


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


def _first(db: Connection, statement: str, parameters: tuple[object, ...] = ()) -> tuple[object, ...]:
    return db.execute(statement.encode(), parameters).fetchall()[0]


@cache
def _text() -> str:
    """Read all functions, with `$V` still in them."""
    here = Path(__file__).parent / "postgres_functions"
    text = "\n".join((here / f"{room}.sql").read_text(encoding="utf-8") for room in ROOMS)
    return re.sub(r"\$([A-Z][A-Z_]+)", lambda word: str(_WORDS[word[1]]), text)
