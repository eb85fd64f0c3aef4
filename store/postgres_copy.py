"""Copies of a PostgreSQL store: backing up while it is in use, examining a copy and restoring one, by PostgreSQL's programs.

A backup is what `pg_dump` writes of Parley's tables. It is written beside its final name, read whole, and only then renamed.
A restore is one transaction, from dropping what is there to putting back its tombstones: it is done or it never was.
`pg_restore` can't do that by itself: tables that the copy does not have would stay, and functions hang on those that it has.
So it only writes the statements, and `psql` carries them out between ours; without our last one nothing is kept.
"""

import os
import re
import subprocess
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from psycopg import sql

from store.errors import NotOurs, StoreBusy, StoreDamaged, StoreDenied, StoreUnavailable
from store.file_names import take_name
from store.migrate import needs_upgrade
from store.postgres_in_use import Connection, connected_as, refuse_connected, refuse_held
from store.postgres_programs import Database, Running, require_programs, running
from store.postgres_setup import DROP_FUNCTIONS, LOCK, revision_of
from store.tombstones import BARRED, DUE

Progress = Callable[[int, int], None]
"""Is told how many bytes are done, and of how many; 0 where nobody knows."""
NAME = "parley copy"
MAGIC = b"PGDMP"
_LOOK_EVERY_SECONDS = 0.1
_BLOCK = 1 << 20
_PLAIN = (
    "--no-owner",
    "--no-privileges",
    "--no-comments",
    "--no-security-labels",
    "--no-publications",
    "--no-subscriptions",
)
"""A copy is of the tables and what is in them; whose they are is the server's own."""

_TABLES = "SELECT tablename FROM pg_tables WHERE schemaname = current_schema() AND tablename = ANY (%s) ORDER BY 1"
_COPIED = re.compile(rb'COPY (?P<schema>"(?:[^"]|"")+"|[a-z0-9_$]+)\."?(?P<table>[a-z_]+)"? \(')

_BEGIN = f"""
SET client_min_messages = warning;
BEGIN;
SET LOCAL lock_timeout = '4s';
SELECT pg_advisory_xact_lock({LOCK});
"""
_KEEP_TOMBSTONES = f"""
CREATE TEMPORARY TABLE parley_kept ON COMMIT DROP AS
  SELECT CASE WHEN starts_with(name, '{DUE}') THEN substr(name, {len(DUE) + 1}) ELSE name END AS name, max(until) AS until,
    max(at) AS at FROM forgotten WHERE NOT starts_with(name, '{BARRED}') GROUP BY 1;
"""  # noqa: S608 - our own words
_PUT_BACK = """
INSERT INTO {forgotten} AS f (name, until, at)
  SELECT CASE WHEN starts_with(s.name, 'key ') THEN '' ELSE {due} END || s.name, s.until, s.at FROM pg_temp.parley_kept s
  WHERE NOT EXISTS (SELECT 1 FROM {forgotten} k WHERE k.name = s.name AND k.until >= s.until)
  ON CONFLICT (name) DO UPDATE SET until = excluded.until WHERE excluded.until > f.until;
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Dump:
    """A whole copy of a Parley store: its schema's revision, the server's schema that it was in (as SQL writes it), how many
    messages are in it, and how many bytes its statements have."""

    path: Path
    revision: str
    schema: str
    messages: int
    size: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """What a copy is restored to: the database's name for people, and whether it holds something."""

    place: str
    holds_something: bool


def back_up(url: str, target: Path, progress: Progress) -> int:
    """Write a consistent copy of the store at `url` to `target` while others may use it; return the messages in it.

    Raises:
        StoreDenied: PostgreSQL's programs are missing or too old, there is no store, or `target` exists or can't be written.
        NotOurs, SchemaTooNew, StoreDamaged, StoreUnavailable.
    """
    require_programs()
    database = Database.at(url)
    with connected_as(NAME, url) as (db, place):
        tables = _tables(db, place)
        if not tables:
            raise StoreDenied(f"{place} holds nothing of Parley: there is nothing to back up; see DATABASE_URL")
        schema = _quoted(db, _schema(db, place))
    if target.exists():
        raise StoreDenied(f"{target} exists already: name a new file")
    draft = target.with_name(target.name + ".part")
    named = [f'--table={schema}."{table}"' for table in tables]
    named += [f'--exclude-table-data={schema}."{table}"' for table in _of_the_moment()]
    try:
        draft.unlink(missing_ok=True)
        os.close(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600))
        arguments = ("--format=custom", f"--file={draft}", "--lock-wait-timeout=4000", *_PLAIN, *named)
        with running("pg_dump", arguments, database) as dumping:
            _await(dumping, draft, progress)
            if dumping.process.returncode:
                raise _not_dumped(dumping.said, place)
        messages = examine(draft).messages
        take_name(draft, target)
    except OSError as exc:
        raise StoreDenied(f"{target} can't be written ({exc.strerror}): name a file in a directory that can be") from exc
    finally:
        draft.unlink(missing_ok=True)
    return messages


def examine(path: Path) -> Dump:
    """Make sure that `path` is a whole copy of a Parley store which this program can read; all of it is read.

    Raises:
        NotOurs, StoreDenied, SchemaTooNew, StoreDamaged.
    """
    require_programs()
    try:
        with path.open("rb") as file:
            begins = file.read(len(MAGIC))
    except FileNotFoundError:
        raise StoreDenied(f"{path} does not exist: name a file that `parley backup` wrote") from None
    except IsADirectoryError:
        raise NotOurs(f"{path} is a directory: name a file that `parley backup` wrote") from None
    except OSError as exc:
        raise StoreDenied(f"{path} can't be read ({exc.strerror}): give this user permission") from exc
    if begins != MAGIC:
        raise NotOurs(f"{path} is no copy of a PostgreSQL database: name a file that `parley backup` wrote from one")
    revision, schema, size = "", "", 0
    rows: Counter[bytes] = Counter()
    table = None
    with _statements(path) as reading:
        for line in reading.output:
            size += len(line)
            if table is None:
                if copied := _COPIED.match(line):
                    table, schema = copied["table"], copied["schema"].decode()
                    rows[table] += 0
            elif line == b"\\.\n":
                table = None
            else:
                rows[table] += 1
                if table == b"alembic_version":
                    revision = line.decode(errors="replace").strip()
        _refuse_damaged(reading, path)
    if not {b"alembic_version", b"conversation", b"message"} <= rows.keys() or not re.fullmatch(r"\d{4}", revision):
        raise NotOurs(f"{path} is a copy of another program's database: name a file that `parley backup` wrote")
    needs_upgrade(revision, place=str(path))
    return Dump(path=path, revision=revision, schema=schema, messages=rows[b"message"], size=size)


def look_at(url: str) -> Target:
    """Say what a copy would replace.

    Raises:
        StoreDenied, StoreUnavailable.
        NotOurs, SchemaTooNew: it may not be replaced.
    """
    with connected_as(NAME, url) as (db, place):
        return Target(place=place, holds_something=any(_has_rows(db, table) for table in _tables(db, place)))


def restore(dump: Dump, url: str, progress: Progress) -> None:
    """Put a copy in the place of all that Parley has in the database at `url`.

    What was erased from what was there stays gone: its tombstones go over, and are applied at the next opening.

    Raises:
        StoreBusy: a Parley is connected, or one holds a turn.
        NotOurs, StoreDenied, SchemaTooNew, StoreDamaged, StoreUnavailable: and nothing is changed.
    """
    require_programs()
    database = Database.at(url)
    with connected_as(NAME, url) as (db, place):
        schema, tables = _schema(db, place), _tables(db, place)
        if dump.schema != _quoted(db, schema):
            raise StoreDenied(
                f"{dump.path} is of a schema named {dump.schema}, and {place} uses {schema}: set search_path in DATABASE_URL"
            )
        refuse_connected(db, url, place)
        if "conversation" in tables:
            refuse_held(db, place)
        before, after = _around(db, tables, schema)
    arguments = ("--no-psqlrc", "--quiet", "--set=ON_ERROR_STOP=1", "--set=VERBOSITY=sqlstate", "--file=-")
    with running("psql", arguments, database, stdin=subprocess.PIPE) as writing, _statements(dump.path) as reading:
        try:
            with writing.input as into:
                into.write(before.encode())
                done = 0
                while block := reading.output.read(_BLOCK):
                    into.write(block)
                    done += len(block)
                    progress(min(done, dump.size), dump.size)
                _refuse_damaged(reading, dump.path)
                into.write(after.encode())
        except BrokenPipeError:
            pass  # it ended, and says why
        if writing.process.wait():
            raise _not_restored(writing.said, place)


def _tables(db: Connection, place: str) -> list[str]:
    """Name the tables of Parley that are there.

    Raises:
        NotOurs, SchemaTooNew.
    """
    from store.schema import metadata, passing  # it takes SQLAlchemy, which nobody needs who opens a store

    revision = revision_of(db, place)
    if revision is None:
        return []
    needs_upgrade(revision, place=place)
    rows = db.execute(_TABLES, ([*metadata.tables, *passing.tables, "alembic_version"],)).fetchall()
    return [str(name) for (name,) in rows]


def _of_the_moment() -> tuple[str, ...]:
    """Name the tables of which a copy has no rows."""
    from store.schema import passing

    return tuple(passing.tables)


def _schema(db: Connection, place: str) -> str:
    ((schema,),) = db.execute("SELECT current_schema()").fetchall()
    if schema is None:
        raise StoreDenied(f"{place} has no schema to make tables in: make one, or name one by search_path in DATABASE_URL")
    return str(schema)


def _quoted(db: Connection, name: str) -> str:
    ((quoted,),) = db.execute("SELECT quote_ident(%s)", (name,)).fetchall()
    return str(quoted)


def _has_rows(db: Connection, table: str) -> bool:
    if table in ("alembic_version", *_of_the_moment()):
        return False
    ((there,),) = db.execute(sql.SQL("SELECT EXISTS (SELECT 1 FROM {})").format(sql.Identifier(table))).fetchall()
    return bool(there)


def _around(db: Connection, tables: list[str], schema: str) -> tuple[str, str]:
    """Write what is carried out before the copy's own statements, and after them: there names need their schema."""
    before, after = _BEGIN, ""
    if "forgotten" in tables:
        forgotten = sql.Identifier(schema, "forgotten")
        before += _KEEP_TOMBSTONES
        after += sql.SQL(_PUT_BACK).format(forgotten=forgotten, due=sql.Literal(DUE)).as_string(db)
    if tables:
        before += DROP_FUNCTIONS
        before += sql.SQL("DROP TABLE {};\n").format(sql.SQL(", ").join(map(sql.Identifier, tables))).as_string(db)
    # Until the server looks at the new tables by itself, it would know nothing of what is in them.
    return before, after + "ANALYZE;\nCOMMIT;\n"


@contextmanager
def _statements(path: Path) -> Iterator[Running]:
    with running("pg_restore", ("--file=-", *_PLAIN, str(path)), stdout=subprocess.PIPE) as reading:
        yield reading


def _await(dumping: Running, draft: Path, progress: Progress) -> None:
    while True:
        try:
            dumping.process.wait(_LOOK_EVERY_SECONDS)
        except subprocess.TimeoutExpired:
            progress(draft.stat().st_size, 0)
        else:
            return


def _refuse_damaged(reading: Running, path: Path) -> None:
    """Wait for `pg_restore` to end, and refuse what it could not read to the end."""
    if not reading.process.wait():
        return
    if "unsupported version" in reading.said:
        raise StoreDenied(f"{path} was written by a newer pg_dump: install PostgreSQL's client programs of that version")
    raise StoreDamaged(f"{path} is damaged: keep it, and restore another copy")


def _not_dumped(said: str, place: str) -> Exception:
    if "server version mismatch" in said:
        return StoreDenied(
            f"pg_dump is older than the server of {place}: install PostgreSQL's client programs of its version"
        )
    if "permission denied" in said:
        return StoreDenied(f"{place} may not be read whole: let its user read all tables of Parley")
    if "No space left" in said:
        return StoreUnavailable(f"the disk is full: nothing was copied of {place}")
    return StoreUnavailable(f"pg_dump failed on {place}: nothing was copied; try again, and look into the server's log")


def _not_restored(said: str, place: str) -> Exception:
    found = re.search(r"(?:ERROR|FATAL): +([0-9A-Z]{5})\b", said)
    state = found[1] if found else ""
    match state:
        case "42501":
            return StoreDenied(f"{place} may not be replaced: let its user make and drop tables in it; nothing was changed")
        case "55P03":
            return StoreBusy(f"{place} is in use: stop all that use it, then restore; nothing was changed")
        case "2BP01":
            return StoreDenied(
                f"{place} has views or functions of others on Parley's tables: drop them; nothing was changed"
            )
        case "":
            return StoreUnavailable(f"{place} was lost in the middle: check the server; nothing was changed")
    return StoreUnavailable(f"{place} does not take the copy ({state}): is it of a newer server? Nothing was changed")
