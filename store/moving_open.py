"""The two sides of a move by their URLs; drivers are imported only when their engine is asked for."""

from pathlib import Path

from store.errors import StoreDenied
from store.moving import Side
from store.open import place_of_store, require_postgres, sqlite_path


def refuse_in_use(url: str) -> None:
    """Make sure that no Parley runs on the store at `url`. A file's lock says so when it is taken.

    Raises:
        StoreBusy: one does.
        StoreDenied, StoreUnavailable.
    """
    if _path(url) is None:
        from store import postgres_moving

        postgres_moving.refuse_in_use(url)


def refuse_nothing(url: str) -> None:
    """Make sure that there is a store to move from at `url`, before it is opened, which would make one.

    Raises:
        StoreDenied: there is none, or it is no address of a store that stays.
        NotOurs, StoreUnavailable.
    """
    if path := _path(url):
        from store.sqlite_file import Found, look

        if look(path) is Found.NOTHING:
            raise StoreDenied(f"{path} does not exist: there is nothing to move")
        return
    from store.postgres_moving import is_made
    from store.postgres_pool import place_of

    if not is_made(url):
        raise StoreDenied(f"{place_of(url)} has no store in it: there is nothing to move")


def refuse_same(source: str, target: str) -> None:
    """Raise `StoreDenied` when both URLs name the same store; a store that has two names is told by its lock."""
    places = [path.resolve() if (path := _path(url)) else place_of_store(url) for url in (source, target)]
    if places[0] == places[1]:
        raise StoreDenied(f"{places[0]} can't be moved to itself: name another target")


def source_at(url: str) -> Side:
    """Take the store at `url`, which is there and of this schema, to move from it.

    Raises:
        StoreRefused, StoreUnavailable.
    """
    return _side_at(url, source=True)


def target_at(url: str) -> Side:
    """Take what is at `url`, or make an empty store there, to move to it.

    Raises:
        StoreRefused, StoreUnavailable.
    """
    return _side_at(url, source=False)


def _side_at(url: str, *, source: bool) -> Side:
    if path := _path(url):
        from store.sqlite_moving import SqliteSide

        return SqliteSide(path)
    from store.postgres_moving import PostgresSide

    return PostgresSide(url, source=source)


def _path(url: str) -> Path | None:
    """Return the file that a URL names, None for a database."""
    scheme, _, rest = url.partition("://")
    if scheme == "sqlite" and rest.startswith("/") and rest != "/":
        path = sqlite_path(url)
        if path is None:
            raise StoreDenied("a store in memory can't be moved: name a file, as in sqlite:///parley.db")
        return path
    if scheme not in ("postgresql", "postgres"):
        raise StoreDenied("that is not a store's address: use sqlite:///parley.db or postgresql://user:password@host/name")
    require_postgres()
    return None
