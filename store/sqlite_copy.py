"""Copies of a store's file: backing up while it is in use, examining one, and restoring one.

A backup is written beside its final name, examined, and only then renamed. A restore examines the backup first and sets the
store that it replaces aside under another name, so nothing is lost by it.
"""

import shutil
import sqlite3
import threading
from collections.abc import Callable
from contextlib import closing
from datetime import datetime
from pathlib import Path

from store import sqlite_ledger as ledgers
from store.errors import StoreDamaged, StoreDenied, StoreUnavailable
from store.migrate import needs_upgrade
from store.sqlite_file import FileLock, Found, look, put_in_place, revision_of, uri_of
from store.sqlite_writer import BUSY_TIMEOUT_MS, translated

Progress = Callable[[int, int], None]
"""Is told how many bytes are done, and of how many."""

_LOOK_EVERY_SECONDS = 0.1
_BLOCK = 4 << 20


def back_up(source: Path, target: Path, progress: Progress) -> int:
    """Write a consistent copy of the store at `source` to `target` while others may use it; return the messages in it.

    Raises:
        StoreDenied: there is no store, or `target` exists or can't be written.
        NotOurs, StoreDamaged, StoreUnavailable.
    """
    if look(source) is Found.NOTHING:
        raise StoreDenied(f"{source} does not exist: there is nothing to back up; see DATABASE_URL")
    if target.exists():
        raise StoreDenied(f"{target} exists already: name a new file")
    draft = target.with_name(target.name + ".part")
    done = threading.Event()
    watcher = threading.Thread(target=_watch, args=(draft, source.stat().st_size, progress, done), daemon=True)
    try:
        draft.unlink(missing_ok=True)
        watcher.start()
        # Reading only: the process that writes is the only one that may checkpoint.
        with closing(sqlite3.connect(f"{uri_of(source)}?mode=ro", uri=True, timeout=BUSY_TIMEOUT_MS / 1000)) as db:
            db.execute("VACUUM INTO ?", (str(draft),))
        messages = examine(draft)
        put_in_place(draft, target)
    except sqlite3.Error as exc:
        raise translated(exc, str(target)) from exc
    except OSError as exc:
        raise StoreDenied(f"{target} can't be written ({exc.strerror}): name a file in a directory that can be") from exc
    finally:
        done.set()
        watcher.join()
        draft.unlink(missing_ok=True)
    return messages


def examine(path: Path, *, live: bool = False) -> int:
    """Make sure that `path` is a whole Parley store which this program can read; return the messages in it.

    `live`: another process may be writing to it.

    Raises:
        NotOurs, StoreDenied, SchemaTooNew, StoreDamaged, StoreUnavailable.
    """
    if look(path) is Found.NOTHING:
        raise StoreDenied(f"{path} does not exist: name a file that `parley backup` wrote")
    needs_upgrade(revision_of(path, live=live), place=str(path))
    options = "mode=ro" if live else "mode=ro&immutable=1"
    try:
        with closing(sqlite3.connect(f"{uri_of(path)}?{options}", uri=True, timeout=BUSY_TIMEOUT_MS / 1000)) as db:
            (verdict,) = db.execute("PRAGMA integrity_check(1)").fetchone()
            (messages,) = db.execute("SELECT count(*) FROM message").fetchone()
    except sqlite3.Error as exc:
        raise translated(exc, str(path)) from exc
    if verdict != "ok":
        raise StoreDamaged(f"{path} is damaged ({verdict}): keep it, and put a copy back with `parley restore BACKUP`")
    return int(messages)


def restore(backup: Path, target: Path, *, at: datetime, progress: Progress) -> Path | None:
    """Make a copy of `backup` the store at `target`; return where the store that was there is now, if there was one.

    What was erased from the store that was there stays gone: the ledger beside it stays, and is applied at the next opening.

    Raises:
        StoreBusy: a Parley has the store open.
        NotOurs, StoreDenied, SchemaTooNew, StoreDamaged: about the backup, or about what stands at `target`.
    """
    examine(backup)
    target = target.resolve()  # a link to a store is that store, with its lock
    there = look_for_store(target)
    lock = FileLock(target)
    draft = target.with_name(target.name + ".new")
    try:
        _copy(backup, draft, progress)
        if there:
            _carry_over(target)
        aside = _set_aside(target, at) if there else None
        put_in_place(draft, target)
    except OSError as exc:
        raise StoreUnavailable(
            f"{target} can't be restored ({exc.strerror}): check the disk; the backup is untouched"
        ) from exc
    finally:
        draft.unlink(missing_ok=True)
        lock.release()
    return aside


def _carry_over(target: Path) -> None:
    """Let the ledger beside a store that is to be replaced know all that was erased from that, if it can be read.

    The ledger stays where it is: whatever is put beside it has that erased when it is opened.
    """
    # Without a journal beside it the file is read as it is; to open it in the ordinary way would lay one there.
    journal = target.with_name(target.name + "-wal")
    options = "mode=ro" if journal.exists() else "mode=ro&immutable=1"
    try:
        with closing(sqlite3.connect(f"{uri_of(target)}?{options}", uri=True)) as db:
            entered = ledgers.entered(db)
    except sqlite3.Error:
        return  # it may be what is to be repaired by this, or older than tombstones; the ledger has them all
    written, _ = ledgers.read(ledgers.beside(target))
    if entered.beyond(written):
        ledgers.replace(ledgers.beside(target), [*written, *entered])


def look_for_store(target: Path) -> bool:
    """Tell whether a store of ours stands there, whole or damaged; anything else that stands there is refused."""
    return look(target) is Found.OURS


def _set_aside(target: Path, at: datetime) -> Path:
    aside = target.with_name(f"{target.name}.replaced-{at:%Y%m%dT%H%M%S}")
    for journal in ("-wal", "-shm", ""):  # the journal goes first: without it the file is older, never mixed up
        part = target.with_name(target.name + journal)
        if part.exists():
            part.rename(aside.with_name(aside.name + journal))
    return aside


def _copy(source: Path, target: Path, progress: Progress) -> None:
    size = source.stat().st_size
    with source.open("rb") as reader, target.open("wb") as writer:
        while block := reader.read(_BLOCK):
            writer.write(block)
            progress(writer.tell(), size)
    shutil.copymode(source, target)


def _watch(path: Path, size: int, progress: Progress, done: threading.Event) -> None:
    while not done.wait(_LOOK_EVERY_SECONDS):
        if path.exists():
            progress(min(path.stat().st_size, size), size)
