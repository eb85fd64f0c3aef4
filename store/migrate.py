"""Brings a store's schema to this program's revision; Alembic is imported only when there is something to do."""

from collections.abc import Callable, Sequence
from pathlib import Path

from store.errors import SchemaTooNew

HEAD = "0007"
"""The newest revision; `tests/store/test_migrations.py` holds it against Alembic's own idea of it."""


def needs_upgrade(revision: str | None, *, place: str) -> bool:
    """Tell whether a store at `revision` (None: nothing there yet) has to be migrated.

    Revisions are numbers of four digits, so that an older program can tell that it is the older one.

    Raises:
        SchemaTooNew: `place` was written by a newer Parley.
    """
    if revision is not None and revision > HEAD:
        raise SchemaTooNew(f"{place} has schema {revision}, this Parley reads up to {HEAD}: install the newer Parley again")
    return revision != HEAD


def upgrade(
    sqlalchemy_url: str,
    *,
    revision: str = "head",
    connect: Callable[[], object] | None = None,
    first: Sequence[str] = ("BEGIN IMMEDIATE",),
) -> None:
    """Run every revision up to `revision` that the store at this URL does not have yet, in one transaction.

    `connect` makes the driver's connection, where the URL can't say all of it. `first` is what the transaction begins with.

    Raises:
        the driver's error, for the engine's own room to translate.
    """
    import sqlalchemy as sa
    from alembic import command
    from alembic.config import Config

    config = Config()
    config.set_main_option("script_location", str(Path(__file__).parent / "migrations").replace("%", "%%"))
    how = {} if connect is None else {"creator": connect}
    engine = sa.create_engine(sqlalchemy_url, poolclass=sa.NullPool, **how)
    if engine.dialect.name == "sqlite":
        # Python's driver begins no transaction for a CREATE or ALTER: a crash would leave half of a migration behind.
        sa.event.listen(engine, "connect", lambda dbapi, _: setattr(dbapi, "isolation_level", None))
    try:
        with engine.begin() as connection:
            for statement in first:
                connection.exec_driver_sql(statement)
            config.attributes["connection"] = connection
            command.upgrade(config, revision)
    except sa.exc.DBAPIError as exc:
        raise exc.orig or exc from exc
    finally:
        engine.dispose()
