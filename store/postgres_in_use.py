"""Whether a PostgreSQL database is in use: a Parley is connected to it, or holds a turn in it.

Connections tell it by their `application_name`: a Parley's is "parley", or what its address says. Whatever works on a
database for a time, and serves nobody, connects as `connected_as` something else. A pooler keeps connections for a while
that look like those of whoever had them last, so through one this may be said of a database that nobody uses any more.
"""

import time
from collections.abc import Iterator
from contextlib import contextmanager

import psycopg
from psycopg.conninfo import conninfo_to_dict

from store.errors import StoreBusy
from store.postgres_pool import connection_options, place_of, translated

Connection = psycopg.Connection[tuple[object, ...]]

GOING_SECONDS = 2.0
"""How long whoever is connected is waited for: a process that has ended stays connected for a moment."""
LOOK_EVERY_SECONDS = 0.05
"""How often it is looked whether somebody still is."""
_CONNECTED = """
SELECT count(*) FROM pg_stat_activity
WHERE datname = current_database() AND application_name = %s AND pid <> pg_backend_pid()"""
_HELD = """
SELECT count(*) FROM conversation WHERE lease_until > (extract(epoch FROM clock_timestamp()) * 1000000)::bigint"""


@contextmanager
def connected_as(name: str, url: str) -> Iterator[tuple[Connection, str]]:
    """Connect to the database at `url` under a name of one's own; yield the connection and what people call the database.

    Raises:
        StoreDenied, StoreUnavailable: also for what the server says within.
    """
    place = place_of(url)
    options = {**connection_options(url), "application_name": name}
    try:
        with psycopg.connect(url, autocommit=True, prepare_threshold=None, **options) as db:
            yield db, place
    except psycopg.Error as exc:
        raise translated(exc, place) from exc


def refuse_connected(db: Connection, url: str, place: str) -> None:
    """Raise `StoreBusy` when a Parley is connected to the database at `url`."""
    name = conninfo_to_dict(url).get("application_name") or "parley"
    until = time.monotonic() + GOING_SECONDS
    while db.execute(_CONNECTED, (name,)).fetchall() != [(0,)]:
        if time.monotonic() > until:
            raise StoreBusy(
                f"{place} is in use by a running Parley: stop all that use it, then try again (naming the server itself in "
                "DATABASE_URL where there is a pooler)"
            )
        time.sleep(LOOK_EVERY_SECONDS)


def refuse_held(db: Connection, place: str) -> None:
    """Raise `StoreBusy` when somebody holds a turn; the tables are there."""
    ((held,),) = db.execute(_HELD).fetchall()
    if held:
        raise StoreBusy(f"{place} has turns that a Parley holds: stop it, or try again in half a minute if it was killed")
