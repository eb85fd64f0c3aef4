"""What may happen to a store's file as a whole: looking at it, locking it, making it, restoring it.

A file that is not ours is never written to, not even opened by SQLite, which would lay its journal beside it: the header
alone tells. A new store is made under another name and renamed when it is whole, so that a crash leaves either no file or a
good one.
"""

import fcntl
import os
import sqlite3
from contextlib import closing, suppress
from enum import Enum
from pathlib import Path
from typing import Any
from urllib.parse import quote

from store.errors import NotOurs, StoreBusy, StoreDamaged, StoreDenied, StoreUnavailable
from store.file_names import take_name
from store.migrate import HEAD, needs_upgrade, upgrade
from store.moving_tables import MARKED
from store.sqlite_journal import has_lost_frames
from store.sqlite_writer import translated

APPLICATION_ID = 0x50524C59
""""PRLY" in the header of every file that Parley makes."""

_SQLITE_MAGIC = b"SQLite format 3\0"
_APPLICATION_ID_AT = 68
_HEADER = 100
READ_WHOLE = 256 << 20
"""The largest file that is read from end to end before it is used: 80 MB take 0.4 s, and a restart may take 5 s in all."""


class Found(Enum):
    """What stands at a path."""

    NOTHING = "nothing"
    OURS = "ours"


def look(path: Path) -> Found:
    """Tell what stands at `path`, reading its first 100 bytes at most.

    Raises:
        NotOurs: a directory, an empty file, a text, another program's database.
        StoreDenied: it may not be read.
    """
    try:
        with path.open("rb") as file:
            header = file.read(_HEADER)
    except FileNotFoundError:
        if not path.parent.is_dir():
            raise StoreDenied(f"the directory of {path} does not exist: make it, or name another in DATABASE_URL") from None
        return Found.NOTHING
    except IsADirectoryError:
        raise NotOurs(f"{path} is a directory: name a file in DATABASE_URL") from None
    except OSError as exc:
        raise StoreDenied(f"{path} can't be read ({exc.strerror}): give this user permission") from exc
    if not header:
        raise NotOurs(f"{path} is an empty file, no Parley store: remove it, or name another file in DATABASE_URL")
    if len(header) < _HEADER or not header.startswith(_SQLITE_MAGIC):
        raise NotOurs(f"{path} is not a Parley store: name another file in DATABASE_URL; it was not touched")
    if int.from_bytes(header[_APPLICATION_ID_AT : _APPLICATION_ID_AT + 4]) != APPLICATION_ID:
        raise NotOurs(f"{path} is another program's database: name another file in DATABASE_URL; it was not touched")
    return Found.OURS


class FileLock:
    """The right to write to one store's file, held by one process at a time and let go of when the process ends."""

    def __init__(self, path: Path) -> None:
        """Take the lock of the store at `path`.

        Raises:
            StoreBusy: names the process that holds it.
            StoreDenied: the directory may not be written.
        """
        lock = path.with_name(path.name + ".lock")
        try:
            self._file = os.open(lock, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        except OSError as exc:
            raise StoreDenied(
                f"the directory of {path} can't be written ({exc.strerror}): give this user write permission on it"
            ) from exc
        try:
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            holder = os.read(self._file, 20).decode(errors="replace").strip() or "unknown"
            os.close(self._file)
            raise StoreBusy(
                f"another Parley (process {holder}) has {path} open: stop it, or use PostgreSQL for several processes"
            ) from None
        except OSError as exc:
            os.close(self._file)
            raise StoreDenied(f"{lock} can't be locked ({exc.strerror}): keep the store on a local disk") from exc
        with suppress(OSError):  # only a name for whoever comes next; a full disk is no reason to stay away
            os.ftruncate(self._file, 0)
            os.pwrite(self._file, str(os.getpid()).encode(), 0)

    def release(self) -> None:
        """Let go; the lock file stays, since removing it would race with the next holder."""
        os.close(self._file)


def prepare(path: Path) -> None:
    """Make the file at `path` or bring it to this program's schema; the caller holds its lock.

    Raises:
        SchemaTooNew, StoreDenied, StoreUnavailable, StoreDamaged.
    """
    if look(path) is Found.NOTHING:
        _make(path)
        return
    if not os.access(path, os.W_OK):
        raise StoreDenied(f"{path} may not be written: give this user write permission on it")
    if needs_upgrade(revision_of(path), place=str(path)):
        try:
            upgrade(_sqlalchemy_url(path))
        except sqlite3.Error as exc:
            raise translated(exc, str(path)) from exc


def refuse_damaged(path: Path) -> None:
    """Make sure that the store at `path`, which is ours, is whole; nothing is written: whoever wrote to a damaged file would
    destroy more of it. The caller holds its lock, and does not have it open.

    Of a file larger than `READ_WHOLE` only the journal is looked at.

    Raises:
        StoreDamaged, StoreUnavailable.
    """
    if has_journal(path) and has_lost_frames(path):
        raise StoreDamaged(
            f"{path}-wal is damaged, and what was said last is in it: keep both, and put a copy back with "
            "`parley restore BACKUP`"
        )
    if path.stat().st_size <= READ_WHOLE and _read(path, "PRAGMA integrity_check(1)", live=False) != [("ok",)]:
        raise _damaged(path)


def has_journal(path: Path) -> bool:
    """Tell whether a store was not closed: there is something in its write-ahead log."""
    journal = path.with_name(path.name + "-wal")
    return journal.exists() and journal.stat().st_size > 0


def put_in_place(source: Path, target: Path) -> None:
    """Make `source`, a file beside it and whole, the store at `target`; what stood there is replaced at once."""
    source.chmod(0o600)
    for journal in ("-wal", "-shm"):
        target.with_name(target.name + journal).unlink(missing_ok=True)
    take_name(source, target)


def _make(path: Path) -> None:
    draft = path.with_name(path.name + ".new")
    try:
        draft.unlink(missing_ok=True)
        os.close(os.open(draft, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600))
        upgrade(_sqlalchemy_url(draft))
        with closing(sqlite3.connect(draft)) as db:
            db.execute(f"PRAGMA application_id = {APPLICATION_ID}")
        put_in_place(draft, path)
    except OSError as exc:
        draft.unlink(missing_ok=True)
        raise StoreDenied(f"{path} can't be made ({exc.strerror}): check the directory's permissions and space") from exc
    except sqlite3.Error as exc:
        draft.unlink(missing_ok=True)
        raise translated(exc, str(path)) from exc


def revision_of(path: Path, *, live: bool = False) -> str:
    """Read the revision of the store at `path`, which is ours; nothing is written. `live`: others may be writing to it.

    Raises:
        StoreDamaged, StoreUnavailable.
    """
    rows = _read(path, "SELECT version_num FROM alembic_version", live)
    if rows is None:
        raise StoreDamaged(f"{path} has no schema in it: restore it with `parley restore BACKUP`")
    revision = str(rows[0][0]) if rows else ""
    if len(revision) != len(HEAD) or not revision.isdecimal():
        raise _damaged(path)
    return revision


def proofs_of(path: Path) -> dict[int, str]:
    """Read by what the keys of the store at `path`, which is ours, are known, by their numbers; nothing is written.

    Raises:
        StoreDamaged, StoreUnavailable.
    """
    # A store from before revision 0004 has no such table, and no key.
    return {int(number): str(proof) for number, proof in _read(path, "SELECT number, proof FROM seal", live=False) or ()}


def marks_of(path: Path) -> list[str]:
    """Read from where the store at `path`, which is ours, is half moved here; nothing is written. Mostly it is not.

    Raises:
        StoreDamaged, StoreUnavailable.
    """
    return [str(text) for (text,) in _read(path, MARKED, live=False) or ()]


def _read(path: Path, query: str, live: bool) -> list[tuple[Any, ...]] | None:
    """Return the rows of a query, None when its table is not there."""
    # Without a journal beside it the file is read as it is; opening it in the ordinary way would lay one there before it is
    # known whether it may be written at all. With one, both are read and neither is changed.
    journal = path.with_name(path.name + "-wal")
    options = "mode=ro" if live or (journal.exists() and os.access(path, os.W_OK)) else "mode=ro&immutable=1"
    try:
        with closing(sqlite3.connect(f"{uri_of(path)}?{options}", uri=True)) as db:
            db.text_factory = lambda raw: raw.decode(errors="replace")  # damage need not be valid UTF-8
            return db.execute(query).fetchall()
    except sqlite3.OperationalError as exc:
        if "no such table" in str(exc):
            return None
        raise StoreUnavailable(f"{path} can't be read ({exc}): try again") from exc
    except (sqlite3.DatabaseError, UnicodeDecodeError) as exc:  # the latter where a broken schema is quoted in the error
        raise _damaged(path) from exc


def _damaged(path: Path) -> StoreDamaged:
    return StoreDamaged(f"{path} is damaged: keep it, and put a copy back with `parley restore BACKUP`")


def uri_of(path: Path) -> str:
    """Name a file as SQLite wants it in a URI, to which options can be added."""
    return path.absolute().as_uri()


def _sqlalchemy_url(path: Path) -> str:
    # A path may hold "?", "#" and "%". SQLAlchemy takes one layer of quotes off, SQLite the other.
    return f"sqlite:///{quote(uri_of(path), safe='/:')}?uri=true"
