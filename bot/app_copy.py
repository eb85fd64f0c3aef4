"""`parley backup` and `restore`, whichever engine keeps the store."""

from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from store import StoreDenied
from store.open import require_postgres, sqlite_path
from store.sqlite_copy import back_up, examine, look_for_store
from store.sqlite_copy import restore as restore_file

Bar = Callable[[str], AbstractContextManager[Callable[[int, int], None]]]
"""Shows how far something is: given what it is called."""
Ask = Callable[[str, bool], None]
"""Asks whether to go on, and does not return if not; told the question, and whether what is there can be taken back."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Restored:
    """What is where now; `aside` is where that is which was replaced, if it is anywhere."""

    place: str
    messages: int
    aside: Path | None = None


def back_up_store(url: str, path: Path, bar: Bar) -> int:
    """Write a copy of the store at `url` to `path`, a new file; return the messages in it.

    Raises:
        StoreError.
    """
    if not url.startswith("sqlite:"):
        require_postgres()
        from store import postgres_copy as postgres

        with bar("Backing up PostgreSQL") as show:
            return postgres.back_up(url, path, show)
    source = _file(url)
    with bar(f"Backing up {source}") as show:
        return back_up(source, path, show)


def restore_store(url: str, path: Path, ask: Ask, bar: Bar) -> Restored:
    """Put a copy in the store's place; `ask` is called before something is replaced.

    Raises:
        StoreError: nothing was changed.
    """
    if not url.startswith("sqlite:"):
        return _restore_database(url, path, ask, bar)
    target = _file(url)
    messages = examine(path)
    if look_for_store(target):
        ask(f"set {target} aside and put {path} ({messages:,} messages) in its place", True)
    with bar(f"Restoring {target}") as show:
        aside = restore_file(path, target, at=datetime.now(UTC), progress=show)
    return Restored(place=str(target), messages=messages, aside=aside)


def _restore_database(url: str, path: Path, ask: Ask, bar: Bar) -> Restored:
    require_postgres()
    from store import postgres_copy as postgres

    target = postgres.look_at(url)
    with bar(f"Reading {path}"):
        dump = postgres.examine(path)
    if target.holds_something:
        ask(f"erase what {target.place} holds and put {path} ({dump.messages:,} messages) in its place", False)
    with bar("Restoring PostgreSQL") as show:
        postgres.restore(dump, url, show)
    return Restored(place=target.place, messages=dump.messages)


def _file(url: str) -> Path:
    path = sqlite_path(url)
    if path is None:
        raise StoreDenied("DATABASE_URL keeps everything in memory: there is no file to copy")
    return path
