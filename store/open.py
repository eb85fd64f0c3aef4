"""Opens the store that a URL names; drivers are imported only when their engine is asked for."""

from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from importlib.util import find_spec
from pathlib import Path

from store.errors import StoreDenied
from store.protocol import Store


async def open_store(
    url: str,
    *,
    clock: Callable[[], datetime] = lambda: datetime.now(UTC),
    keys: Sequence[bytes] = (),
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> Store:
    """Open `sqlite:///relative.db`, `sqlite:////absolute.db`, `sqlite:///:memory:` or `postgresql://user:password@host/name`,
    made or migrated when needed. Leases are measured by `clock` on SQLite, by the server's on PostgreSQL.

    `keys` are of 32 bytes, the newest first (`store.sealing.key_of` reads them). With keys, texts of messages, names,
    addresses and data of files, and personas are sealed with the first one; what is not, is sealed anew before this returns,
    and `progress` is told how many values are done, and of how many. Then the other keys are needed no more. It may be ended
    at any time; the next opening goes on.

    Raises:
        KeyRefused: without one of the keys that the store may be sealed with; not one byte of it was changed.
        StoreRefused, StoreUnavailable: the message names the place and the remedy, never the URL (it may hold a password).
        ValueError: a key has another length.
    """
    scheme, _, rest = url.partition("://")
    if scheme == "sqlite" and rest.startswith("/") and rest != "/":
        from store.sqlite import SqliteStore

        return await SqliteStore.open(sqlite_path(url), clock=clock, keys=keys, progress=progress)
    if scheme in ("postgresql", "postgres"):
        require_postgres()
        from store.postgres import PostgresStore

        return await PostgresStore.open(url, clock=clock, keys=keys, progress=progress)
    raise StoreDenied(
        "DATABASE_URL is not a store's address: use sqlite:///parley.db or postgresql://user:password@host/name"
    )


def sqlite_path(url: str) -> Path | None:
    """Return the file that a `sqlite:///` URL names, None for `:memory:`."""
    name = url.removeprefix("sqlite:///")
    return None if name == ":memory:" else Path(name)


def has_replicas(url: str) -> bool:
    """Tell whether several processes may work on the store that a URL names at once."""
    return not url.startswith("sqlite:")


def place_of_store(url: str) -> str:
    """Name for people what a URL names: a file, or a server and a database, and neither user nor password.

    Raises:
        StoreDenied: it names nothing, or the driver is not installed.
    """
    if url.startswith("sqlite:"):
        return str(sqlite_path(url) or "memory only")
    require_postgres()
    from store.postgres_pool import place_of

    return place_of(url)


def require_postgres() -> None:
    """Raise `StoreDenied` when PostgreSQL's driver is not installed."""
    if find_spec("psycopg") is None or find_spec("psycopg_pool") is None:
        raise StoreDenied("PostgreSQL's driver is not installed: pip install 'parley[postgres]'")
