"""Opens the store that a URL names; drivers are imported only when their engine is asked for."""

from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

from store.errors import StoreDenied
from store.protocol import Store


async def open_store(url: str, *, clock: Callable[[], datetime] = lambda: datetime.now(UTC)) -> Store:
    """Open `sqlite:///relative.db`, `sqlite:////absolute.db` or `sqlite:///:memory:`, made or migrated when needed.

    Raises:
        StoreRefused, StoreUnavailable: the message names the place and the remedy, never the URL (it may hold a password).
    """
    scheme, _, rest = url.partition("://")
    if scheme == "sqlite" and rest.startswith("/") and rest != "/":
        from store.sqlite import SqliteStore

        return await SqliteStore.open(sqlite_path(url), clock=clock)
    if scheme in ("postgresql", "postgres"):
        raise StoreDenied("PostgreSQL is not built yet: set DATABASE_URL=sqlite:///parley.db")
    raise StoreDenied("DATABASE_URL is not a store's address: use sqlite:///parley.db")


def sqlite_path(url: str) -> Path | None:
    """Return the file that a `sqlite:///` URL names, None for `:memory:`."""
    name = url.removeprefix("sqlite:///")
    return None if name == ":memory:" else Path(name)
