"""A look at a PostgreSQL store from outside, for operators: which server, which schema, whether it can be written."""

from dataclasses import dataclass

import psycopg

from store.migrate import needs_upgrade
from store.postgres_pool import connection_options, place_of, translated
from store.postgres_setup import revision_of

OLDEST = 140000
"""PostgreSQL 14, as servers number themselves: older ones are not maintained any more."""

_ABOUT = """
SELECT current_setting('server_version'), current_setting('server_version_num')::int,
  NOT pg_is_in_recovery() AND current_setting('transaction_read_only') = 'off',
  coalesce(has_schema_privilege(current_schema(), 'CREATE'), false)"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Examined:
    """What was seen. `revision`: of the schema, "" when there is none yet. `remedy`: what to do so that it can be used, ""
    when nothing has to be done."""

    place: str
    server: str
    revision: str
    messages: int
    encrypted: bool
    remedy: str


def examine_database(url: str) -> Examined:
    """Look at the database at `url`; nothing is changed.

    Raises:
        StoreDenied, StoreUnavailable.
        NotOurs, SchemaTooNew.
    """
    place = place_of(url)
    try:
        with psycopg.connect(url, autocommit=True, prepare_threshold=None, **connection_options(url)) as db:
            ((server, number, writable, may_create),) = db.execute(_ABOUT).fetchall()
            revision = revision_of(db, place)
            needs_upgrade(revision, place=place)
            encrypted, tls = False, db.pgconn.ssl_in_use
            messages = 0
            if revision is not None:
                ((messages, encrypted),) = db.execute(
                    "SELECT (SELECT count(*) FROM message), EXISTS (SELECT 1 FROM seal)"
                ).fetchall()
    except psycopg.Error as exc:
        raise translated(exc, place) from exc
    remedy = ""
    if number < OLDEST:
        remedy = f"it is older than PostgreSQL {OLDEST // 10_000}: install a newer server"
    elif not writable:
        remedy = "it is a standby or set to read only: name the primary in DATABASE_URL"
    elif not may_create:
        remedy = "its user may make no tables: GRANT CREATE ON SCHEMA, or let it own the database"
    return Examined(
        place=place,
        server=f"PostgreSQL {server.split()[0]}{' over TLS' if tls else ''}",
        revision=revision or "",
        messages=messages,
        encrypted=encrypted,
        remedy=remedy,
    )
